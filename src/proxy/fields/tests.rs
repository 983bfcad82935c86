//! Which fields pass, and which stay.

use proptest::prelude::*;

use crate::split::spec::StickySpec;

use super::*;

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&str, &str)| {
        (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())
    };
    let mut map = HeaderMap::new();
    for (name, value) in fields.iter().map(pair) {
        map.append(name, value);
    }
    map
}

fn keys() -> Keys {
    Keys::new(&[StickySpec::Header("X-User-Id".to_owned())], 0)
}

/// What a backend gets of the fields of anybody.
fn sent(mut fields: HeaderMap) -> HeaderMap {
    take_out(&mut fields, Side::Request(Word::Doubted, &keys()));
    fields
}

fn names(fields: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn fields_of_one_connection_stay_here() {
    let passed = sent(map(&[
        ("connection", "close, X-Private"),
        ("x-private", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("upgrade", "h2c"),
        ("http2-settings", "x"),
        ("transfer-encoding", "chunked"),
        ("proxy-authorization", "x"),
        ("proxy-connection", "keep-alive"),
        ("trailer", "x"),
        ("accept", "*/*"),
    ]));

    assert_eq!(names(&passed), ["accept"]);
}

#[test]
fn what_is_told_to_pass_at_one_look_would_pass_at_the_second() {
    let looked_at = ["x-own", "te", "x-real-ip", "expect", "connection", "range"];
    let of_others = [
        "accept",
        "accept-encoding",
        "accept-language",
        "accept-ranges",
        "access-control-allow-origin",
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-language",
        "content-length",
        "content-security-policy",
        "content-type",
        "cookie",
        "date",
        "dnt",
        "etag",
        "expires",
        "host",
        "if-modified-since",
        "if-none-match",
        "last-modified",
        "link",
        "location",
        "origin",
        "pragma",
        "range",
        "referer",
        "server",
        "set-cookie",
        "strict-transport-security",
        "upgrade-insecure-requests",
        "user-agent",
        "vary",
        "via",
        "x-content-type-options",
        "x-frame-options",
    ];

    for name in looked_at.into_iter().chain(of_others) {
        for side in [
            Side::Response,
            Side::Request(Word::Believed, &keys()),
            Side::Request(Word::Doubted, &keys()),
        ] {
            let passes = passes(&name.parse().unwrap());
            assert_eq!(passes, of_others.contains(&name), "{name}");
            assert!(!passes || !side.keeps_out(name), "{name}");
        }
    }
}

#[test]
fn connection_cannot_take_away_what_others_rely_on() {
    let passed = sent(map(&[
        ("connection", "authorization, mcp-session-id"),
        ("authorization", "a"),
        ("mcp-session-id", "s"),
    ]));

    assert_eq!(names(&passed), ["authorization", "mcp-session-id"]);
}

#[test]
fn aliases_with_underscores_are_dropped() {
    let passed = sent(map(&[
        ("mcp_session_id", "evil"),
        ("x_forwarded_for", "1"),
        ("x_y", "ok"),
    ]));

    assert_eq!(names(&passed), ["x_y"]);
}

/// All names by which proxies tell who asked.
fn forwarding() -> Vec<String> {
    let with_x = X_FORWARDING.iter().map(|name| format!("x-{name}"));
    with_x.chain(FORWARDING.map(String::from)).collect()
}

#[test]
fn no_name_with_underscores_stands_for_one_that_is_relied_on_or_kept_out() {
    let forwarding = forwarding();
    let forwarding = forwarding.iter().map(String::as_str);
    let names = RELIED_ON.into_iter().chain(forwarding);
    let more = [
        "transfer-encoding",
        "proxy-connection",
        "x-forwarded-any",
        "x-user-id",
    ];
    for name in names.chain(more).filter(|name| name.contains('-')) {
        let dashes = name.match_indices('-').count();
        for bits in 1..1_u32 << dashes {
            let mut dash = 0;
            let alias: String = name
                .chars()
                .map(|c| {
                    dash += u32::from(c == '-');
                    let turned = c == '-' && bits >> (dash - 1) & 1 == 1;
                    if turned { '_' } else { c }
                })
                .collect();
            assert!(sent(map(&[(&alias, "evil")])).is_empty(), "{alias}");
        }
    }
}

#[test]
fn what_proxies_tell_is_believed_of_trusted_ones_alone() {
    let told = || {
        let names = forwarding();
        let all = names.iter().map(|name| (name.as_str(), "evil"));
        map(&all.chain([("x-forwarded-port", "1")]).collect::<Vec<_>>())
    };
    let mut believed = told();
    take_out(&mut believed, Side::Request(Word::Believed, &keys()));

    assert!(sent(told()).is_empty());
    assert_eq!(believed.len(), forwarding().len());
    assert!(!believed.contains_key("forwarded"));
}

#[test]
fn nobody_writes_what_is_ours() {
    let ours = || map(&[("x-switchback-shadow", "true"), ("x-switchback_x", "y")]);
    let mut answer = map(&[("x-switchback-shadow", "true")]);
    take_out(&mut answer, Side::Response);

    assert!(sent(ours()).is_empty() && answer.is_empty());
}

proptest! {
    #[test]
    fn nothing_of_one_connection_passes_and_nothing_else_is_lost(
        names in prop::collection::vec("[a-z]{1,3}(-[a-z]{1,3})?|te|upgrade|keep-alive|cookie|x-user-id", 0..12),
        options in prop::collection::vec("[a-z]{1,3}(-[a-z]{1,3})?|cookie|x-user-id|close|;|\"", 0..6),
    ) {
        let mut fields = HeaderMap::new();
        for name in &names {
            fields.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("v"));
        }
        let option = options.join(" , ");
        fields.append(CONNECTION, option.parse().unwrap());

        let passed = sent(fields);

        for name in &names {
            let kept = ["cookie", "x-user-id"].contains(&name.as_str());
            let out = !kept && (is_of_one_connection(name) || options.contains(name));
            prop_assert_eq!(passed.contains_key(name.as_str()), !out, "{}", name);
        }
        prop_assert!(!passed.contains_key(CONNECTION));
    }
}

#[test]
fn repeated_fields_keep_all_their_values_in_order() {
    let mut passed = map(&[("set-cookie", "a"), ("set-cookie", "b")]);
    take_out(&mut passed, Side::Response);

    assert_eq!(
        passed.get_all("set-cookie").iter().collect::<Vec<_>>(),
        ["a", "b"]
    );
}

#[test]
fn a_length_is_kept_only_when_it_is_the_bodys() {
    let kept = |lengths: &[&str], body| {
        let pairs: Vec<_> = lengths
            .iter()
            .map(|length| ("content-length", *length))
            .collect();
        let mut fields = map(&pairs);
        check_length(&mut fields, body);
        fields.len()
    };

    assert_eq!(kept(&["5"], Some(5)), 1);
    assert_eq!(kept(&["5"], Some(6)), 0);
    assert_eq!(kept(&["5"], None), 0);
    assert_eq!(kept(&["5", "5"], Some(5)), 0);
    assert_eq!(kept(&["05"], Some(5)), 0);
    assert_eq!(kept(&["0"], Some(0)), 1);
    assert_eq!(kept(&["+5"], Some(5)), 0);
    assert_eq!(kept(&["5, 5"], Some(5)), 0);
}

#[test]
fn cookie_crumbs_become_one_field() {
    let mut fields = map(&[("cookie", "a=1"), ("cookie", "b=2; c=3")]);
    join_cookies(&mut fields);

    assert_eq!(
        fields.get_all(COOKIE).iter().collect::<Vec<_>>(),
        ["a=1; b=2; c=3"]
    );
}
