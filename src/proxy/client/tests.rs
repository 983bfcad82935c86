//! Whom a chain of proxies is believed about.

use super::*;

fn forwarding(trusted: &[&str], client_field: ClientFieldSpec) -> Forwarding {
    Forwarding::new(&ForwardingSpec {
        trusted_proxies: trusted.iter().map(|net| net.parse().unwrap()).collect(),
        client_field,
        ..ForwardingSpec::default()
    })
}

fn plain() -> Forwarding {
    forwarding(&["10.0.0.0/8"], ClientFieldSpec::XForwardedFor)
}

fn standard() -> Forwarding {
    forwarding(&["10.0.0.0/8"], ClientFieldSpec::Forwarded)
}

fn came(name: &HeaderName, values: &[&str]) -> HeaderMap {
    let values = values.iter().map(|value| value.parse().unwrap());
    values.map(|value| (name.clone(), value)).collect()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn at(text: &str) -> Client {
    Client::At(ip(text))
}

fn beyond(text: &str) -> Client {
    Client::Beyond(ip(text))
}

#[test]
fn nobody_is_believed_by_default() {
    let forwarding = forwarding(&[], ClientFieldSpec::default());
    let fields = came(&X_FORWARDED_FOR, &["1.1.1.1"]);

    assert_eq!(forwarding.client(ip("9.9.9.9"), &fields), at("9.9.9.9"));
}

#[test]
fn the_nearest_untrusted_address_is_the_client() {
    for (peer, chain, client) in [
        ("11.0.0.1", &["1.1.1.1"][..], at("11.0.0.1")),
        ("10.0.0.1", &[], at("10.0.0.1")),
        ("10.0.0.1", &["6.6.6.6, 1.1.1.1, 10.2.2.2"], at("1.1.1.1")),
        (
            "10.0.0.1",
            &["6.6.6.6", "1.1.1.1", "10.2.2.2"],
            at("1.1.1.1"),
        ),
        ("::ffff:10.0.0.1", &["1.1.1.1"], at("1.1.1.1")),
        ("10.0.0.1", &["1.1.1.1, ::ffff:10.2.2.2"], at("1.1.1.1")),
        ("10.0.0.1", &["::ffff:1.1.1.1"], at("1.1.1.1")),
        ("10.0.0.1", &["6.6.6.6, 10.3.3.3, 10.2.2.2"], at("6.6.6.6")),
        ("10.0.0.1", &["10.3.3.3, 10.2.2.2"], at("10.3.3.3")),
        ("10.0.0.1", &["1.1.1.1:443"], at("1.1.1.1")),
        ("10.0.0.1", &["[2001:db8::1]:443"], at("2001:db8::1")),
        ("10.0.0.1", &["2001:db8::1"], at("2001:db8::1")),
        ("10.0.0.1", &["1.1.1.1,, ,10.2.2.2,"], at("1.1.1.1")),
        ("10.0.0.1", &["rubbish, 1.1.1.1"], at("1.1.1.1")),
    ] {
        let fields = came(&X_FORWARDED_FOR, chain);

        assert_eq!(
            plain().client(ip(peer), &fields),
            client,
            "{peer} {chain:?}"
        );
    }
}

#[test]
fn what_a_proxy_writes_and_nobody_can_read_hides_the_client() {
    for chain in [
        "rubbish, 10.2.2.2",
        "1.1.1.1, unknown, 10.2.2.2",
        "127.0.0.1 , 1.2.3, 10.2.2.2",
        "1.1.1.1%eth0, 10.2.2.2",
        "1.1.1.1:, 10.2.2.2",
        "1.1.1.1:99999, 10.2.2.2",
        "1.1.1.1:+44, 10.2.2.2",
        "[1.1.1.1], 10.2.2.2",
        "\"1.1.1.1\", 10.2.2.2",
        "01.1.1.1, 10.2.2.2",
        "\u{b}1.1.1.1, 10.2.2.2",
    ] {
        let Ok(value) = HeaderValue::from_str(chain) else {
            continue;
        };
        let fields = HeaderMap::from_iter([(X_FORWARDED_FOR, value)]);

        let client = plain().client(ip("10.0.0.1"), &fields);

        assert_eq!(client, beyond("10.2.2.2"), "{chain}");
    }
}

#[test]
fn a_chain_that_is_too_long_hides_the_client() {
    let hops = |count: usize| vec!["10.1.1.1"; count].join(",");
    let seen = |chain: &str| plain().client(ip("10.0.0.1"), &came(&X_FORWARDED_FOR, &[chain]));

    assert_eq!(seen(&format!("1.1.1.1,{}", hops(31))), at("1.1.1.1"));
    assert_eq!(seen(&format!("1.1.1.1,{}", hops(32))), beyond("10.1.1.1"));
    assert_eq!(
        seen(&format!("1.1.1.1{}", ",".repeat(40))),
        beyond("10.0.0.1")
    );
}

#[test]
fn the_standard_field_is_read_where_the_file_says_so() {
    for (chain, client) in [
        (&["for=1.1.1.1"][..], at("1.1.1.1")),
        (&["For=\"1.1.1.1:80\";proto=https;by=_gw"], at("1.1.1.1")),
        (&["by=_x;FOR=\"[2001:db8::1]:80\""], at("2001:db8::1")),
        (&["for=\"[2001:db8::1]\""], at("2001:db8::1")),
        (&["for=6.6.6.6, for=1.1.1.1, for=10.2.2.2"], at("1.1.1.1")),
        (
            &["for=6.6.6.6", "for=1.1.1.1 , for=10.2.2.2"],
            at("1.1.1.1"),
        ),
        (&["for=\"6.6.6.6, for=1.1.1.1"], at("1.1.1.1")),
        (&["for=10.9.9.9;host=\"a,b\", for=1.1.1.1"], at("1.1.1.1")),
    ] {
        let client_seen = standard().client(ip("10.0.0.1"), &came(&FORWARDED, chain));

        assert_eq!(client_seen, client, "{chain:?}");
    }
}

#[test]
fn an_element_that_says_nothing_certain_hides_the_client() {
    for element in [
        "for=unknown",
        "for=_hidden",
        "by=1.1.1.1",
        "proto=https",
        "for=1.1.1.1;for=2.2.2.2",
        "for=2001:db8::1",
        "for=\"2001:db8::1\"",
        "for=\"1.1.1.1",
        "for=1.1.1.1\"",
        "for=1.1.1.1;host=\"a",
        "for=1.1.1.1;host=a b",
        "for=1.1.1.1;host",
        "for =1.1.1.1",
        "for= 1.1.1.1",
        "for=[::1]",
        "for=\"1.1.1\\.1\"",
        "1.1.1.1",
        "host=\"x, for=1.1.1.1\"",
        "host=\"x,for=1.1.1.1;y=\\\"a\\\"\"",
    ] {
        let seen = standard().client(ip("10.0.0.1"), &came(&FORWARDED, &[element]));

        assert_eq!(seen, beyond("10.0.0.1"), "{element}");
    }
}

#[test]
fn only_the_field_that_proxies_write_is_looked_at() {
    let mut fields = came(&X_FORWARDED_FOR, &["1.1.1.1"]);
    fields.insert(FORWARDED, "for=6.6.6.6".parse().unwrap());

    assert_eq!(plain().client(ip("10.0.0.1"), &fields), at("1.1.1.1"));
    assert_eq!(standard().client(ip("10.0.0.1"), &fields), at("6.6.6.6"));
}

fn written(forwarding: &Forwarding, peer: &str, fields: &HeaderMap) -> HeaderMap {
    let mut sent = HeaderMap::new();
    let host = HeaderValue::from_static("h");
    let peer = Peer::new(ip(peer), "http");
    let told = forwarding.write(&peer, forwarding.believed(&peer, fields), &host, &mut sent);
    if let Some(told) = told {
        told.put_into(&mut sent);
    }
    sent
}

#[test]
fn the_chain_is_extended_for_trusted_peers_and_replaced_for_others() {
    let fields = came(&X_FORWARDED_FOR, &["1.1.1.1"]);
    let chain = |peer| written(&plain(), peer, &fields)[X_FORWARDED_FOR].clone();

    assert_eq!(chain("10.0.0.1"), "1.1.1.1, 10.0.0.1");
    assert_eq!(chain("11.0.0.1"), "11.0.0.1");
}

#[test]
fn the_standard_field_is_passed_on_only_where_proxies_write_it() {
    let fields = came(&FORWARDED, &["for=1.1.1.1", "for=10.2.2.2"]);

    let sent = written(&standard(), "10.0.0.1", &fields);
    assert_eq!(sent[FORWARDED], "for=1.1.1.1, for=10.2.2.2, for=10.0.0.1");
    for (forwarding, peer) in [(standard(), "11.0.0.1"), (plain(), "10.0.0.1")] {
        assert!(!written(&forwarding, peer, &fields).contains_key(FORWARDED));
    }
}
