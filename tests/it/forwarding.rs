//! What backends are told and callers get back: heads, their fields, and what is refused.

use crate::support::backend::{Backend, Request};
use crate::support::client::{self, Raw};
use crate::support::gateway::Gateway;
use crate::support::routes::{route, through};

fn house() -> (Backend, Gateway) {
    house_with("")
}

fn house_with(more: &str) -> (Backend, Gateway) {
    let backend = Backend::fixed(200, "fine");
    let gateway = Gateway::start(&(through(&backend.url()) + more));
    (backend, gateway)
}

/// The request that the backend got last.
fn last(backend: &Backend) -> Request {
    backend.requests().pop().expect("a request arrived")
}

/// What the backend gets of a GET with these fields.
fn told(backend: &Backend, gateway: &Gateway, fields: &[(&str, &str)]) -> Request {
    let answer = gateway.connect().ask("GET", "/", fields, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    last(backend)
}

#[test]
fn method_target_and_body_arrive_to_the_letter() {
    let (backend, gateway) = house();
    let body: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let target = "/a%20b;c=d//e%2Fé?q=%C3%A9&x=1&x=2&empty=&/../".replace('é', "%c3");

    for method in ["PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"] {
        let answer = gateway.connect().ask(method, &target, &[], &body);

        assert_eq!(answer.status, 200);
        let seen = last(&backend);
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            (method, target.as_str())
        );
        assert_eq!(seen.body, body);
        assert_eq!(seen.fields.get("content-length"), Some("5000"));
    }
}

#[test]
fn fields_of_one_message_are_in_no_other() {
    let (backend, gateway) = house();
    backend.change(|exchange| {
        exchange.read_body();
        let count: usize = exchange.request.target[1..].parse().unwrap();
        let names: Vec<_> = (0..count).map(|n| format!("x-{count}-{n}")).collect();
        let mut fields: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
        fields.extend(fields.last().copied());
        exchange.answer(200, &fields, "fine");
    });
    let mut clients = [gateway.connect(), gateway.connect()];

    for round in 0..60_usize {
        let (client, count) = (&mut clients[round % 2], [0, 1, 5, 12, 13, 40][round % 6]);
        let own = format!("x-own-{round}");
        let fields: Vec<_> = (0..count / 2).map(|_| (own.as_str(), "1")).collect();

        let answer = client.ask("GET", &format!("/{count}"), &fields, b"");

        let theirs = |(name, _): &&(String, String)| name.starts_with("x-");
        let came = answer.fields.0.iter().filter(theirs).count();
        assert_eq!(came, count + usize::from(count > 0), "{:?}", answer.fields);
        let sent = last(&backend).fields;
        let ours = |(name, _): &&(String, String)| name.starts_with("x-own-");
        assert_eq!(sent.0.iter().filter(ours).count(), count / 2, "{sent:?}");
        assert_eq!(sent.count(&own), count / 2, "{sent:?}");
    }
}

#[test]
fn status_fields_and_body_come_back_to_the_letter() {
    let (backend, gateway) = house();
    let body: Vec<u8> = (0..=255).rev().cycle().take(3000).collect();
    let sent = body.clone();
    backend.change(move |exchange| {
        let fields = [
            ("set-cookie", "a=1; Path=/"),
            ("x-odd", "  \"caf\u{e9}\" "),
            ("set-cookie", "b=2"),
            ("content-encoding", "x-nothing"),
        ];
        exchange.answer(418, &fields, &sent);
    });

    let answer = gateway.get("/");

    assert_eq!((answer.status, answer.body), (418, body));
    let cookies: Vec<_> = answer.fields.all("set-cookie").collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2"]);
    assert_eq!(answer.fields.get("x-odd"), Some("\"caf\u{e9}\""));
    assert_eq!(answer.fields.get("content-encoding"), Some("x-nothing"));
    assert_eq!(answer.fields.get("content-length"), Some("3000"));
}

#[test]
fn the_host_is_kept_as_the_client_wrote_it() {
    let (backend, gateway) = house();

    let seen = told(&backend, &gateway, &[("host", "Shop.Example:8443")]);

    let hosts: Vec<_> = seen.fields.all("host").collect();
    assert_eq!(hosts, ["Shop.Example:8443"]);
}

#[test]
fn fields_of_the_clients_connection_stay_out() {
    let (backend, gateway) = house();

    let seen = told(
        &backend,
        &gateway,
        &[
            ("connection", "keep-alive, X-Secret-Hop"),
            ("x-secret-hop", "1"),
            ("keep-alive", "timeout=9"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic eDp5"),
            ("trailer", "x-sum"),
            ("x-kept", "yes"),
        ],
    );

    for gone in [
        "x-secret-hop",
        "keep-alive",
        "te",
        "upgrade",
        "http2-settings",
        "proxy-connection",
        "proxy-authorization",
        "trailer",
    ] {
        assert_eq!(seen.fields.get(gone), None, "{gone}");
    }
    assert_eq!(seen.fields.get("x-kept"), Some("yes"));
}

#[test]
fn fields_of_the_backends_connection_stay_out() {
    let (backend, gateway) = house();
    backend.change(|exchange| {
        let fields = [
            ("connection", "x-inner, keep-alive"),
            ("x-inner", "1"),
            ("keep-alive", "timeout=9"),
            ("proxy-authenticate", "Basic"),
            ("upgrade", "websocket"),
            ("x-kept", "yes"),
        ];
        exchange.answer(200, &fields, "fine");
    });

    let answer = gateway.connect().ask("GET", "/", &[], b"");

    for gone in ["x-inner", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert_eq!(answer.fields.get(gone), None, "{gone}");
    }
    assert_eq!(answer.fields.get("x-kept"), Some("yes"));
}

#[test]
fn connection_cannot_take_away_what_backends_rely_on() {
    let (backend, gateway) = house();
    let relied_on = [
        ("mcp-session-id", "one"),
        ("mcp-protocol-version", "2025-11-25"),
        ("authorization", "Bearer x"),
        ("cookie", "a=1"),
    ];
    let names = relied_on.map(|(name, _)| name).join(", ") + ", host, x-forwarded-for";
    let mut fields = vec![("connection", names.as_str())];
    fields.extend(relied_on);

    let seen = told(&backend, &gateway, &fields);

    for (name, value) in relied_on {
        assert_eq!(seen.fields.get(name), Some(value), "{name}");
    }
    assert_eq!(seen.fields.get("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.fields.count("host"), 1);
}

#[test]
fn names_with_underscores_do_not_pass_for_fields_that_are_relied_on() {
    let (backend, gateway) = house();

    let seen = told(
        &backend,
        &gateway,
        &[
            ("mcp_session_id", "forged"),
            ("X_Forwarded_For", "6.6.6.6"),
            ("content_length", "7"),
            ("x_own", "yes"),
        ],
    );

    for gone in ["mcp_session_id", "x_forwarded_for", "content_length"] {
        assert_eq!(seen.fields.get(gone), None, "{gone}");
    }
    assert_eq!(seen.fields.get("x_own"), Some("yes"));
}

const FORGED: [(&str, &str); 4] = [
    ("host", "shop.example"),
    ("x-forwarded-for", "6.6.6.6"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "elsewhere.example"),
];

fn forwarding_fields(seen: &Request) -> [Vec<&str>; 3] {
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
        .map(|name| seen.fields.all(name).collect())
}

#[test]
fn forged_forwarding_fields_are_replaced() {
    let (backend, gateway) = house();

    let seen = told(&backend, &gateway, &FORGED);

    let expected = [vec!["127.0.0.1"], vec!["http"], vec!["shop.example"]];
    assert_eq!(forwarding_fields(&seen), expected);
}

#[test]
fn a_trusted_proxys_forwarding_fields_are_believed_and_extended() {
    let (backend, gateway) = house_with("forwarding: { trusted_proxies: [\"127.0.0.0/8\"] }\n");

    let seen = told(&backend, &gateway, &FORGED);

    let expected = [
        vec!["6.6.6.6, 127.0.0.1"],
        vec!["https"],
        vec!["elsewhere.example"],
    ];
    assert_eq!(forwarding_fields(&seen), expected);
}

#[test]
fn without_forwarding_fields_none_get_through() {
    let (backend, gateway) = house_with("forwarding: { x_forwarded: false }\n");

    let seen = told(&backend, &gateway, &FORGED);

    assert_eq!(forwarding_fields(&seen), [const { Vec::<&str>::new() }; 3]);
}

#[test]
fn via_is_written_only_where_it_is_wanted() {
    let (backend, gateway) = house();
    assert_eq!(told(&backend, &gateway, &[]).fields.get("via"), None);

    let (backend, gateway) = house_with("forwarding: { via: true }\n");
    let seen = told(&backend, &gateway, &[("via", "1.0 first")]);
    let chain: Vec<_> = seen.fields.all("via").flat_map(|v| v.split(", ")).collect();
    assert_eq!(chain, ["1.0 first", "1.1 switchback"]);
}

#[test]
fn what_could_be_understood_in_two_ways_is_refused_and_goes_nowhere() {
    let (backend, gateway) = house();
    let refused = [
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n", 400),
        ("GET / HTTP/1.1\r\nx-no: host\r\n", 400),
        ("GET / HTTP/1.1\r\nhost:\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a b\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: user@a\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a/b\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a, b\r\n", 400),
        ("GET /a/../b HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET /a/%2e%2E/b HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET /a/..%2fb HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET /a/. HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET /a%00 HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET * HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET a HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET ftp://a/b HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET http://u@a/b HTTP/1.1\r\nhost: a\r\n", 400),
        ("GET /\u{e9} HTTP/1.1\r\nhost: a\r\n", 400),
        ("CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n", 405),
        ("TRACE / HTTP/1.1\r\nhost: a\r\n", 405),
        ("GET / HTTP/1.1\r\nhost: a\r\n folded: x\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx y: 1\r\n", 400),
        ("GET / HTTP/1.1\r\nhost : a\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n", 400),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n",
            400,
        ),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: +1\r\n", 400),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n",
            400,
        ),
    ];

    for (head, status) in refused {
        let mut raw = gateway.connect();
        raw.write(format!("{head}\r\n"));
        assert_eq!(raw.read("GET").status, status, "{head}");
        assert!(raw.is_closed(), "{head}");
    }
    assert_eq!(backend.requests().len(), 0);
}

#[test]
fn a_whole_address_as_target_names_the_host() {
    let (backend, gateway) = house();
    let mut raw = gateway.connect();

    raw.write("GET http://inner.example:81/x?y HTTP/1.1\r\nhost: outer.example\r\n\r\n");

    assert_eq!(raw.read("GET").status, 200);
    let seen = last(&backend);
    assert_eq!(seen.target, "/x?y");
    assert_eq!(
        seen.fields.all("host").collect::<Vec<_>>(),
        ["inner.example:81"]
    );
}

#[test]
fn an_unknown_route_is_404_and_goes_nowhere() {
    let backend = Backend::fixed(200, "fine");
    let config = route("http", &[("only", &backend.url(), 1)]) + "    match: { path: /api }\n";
    let gateway = Gateway::start(&config);

    for (target, status) in [
        ("/api", 200),
        ("/api/x", 200),
        ("/api?x", 200),
        ("/apis", 404),
        ("/", 404),
        ("/API", 404),
    ] {
        assert_eq!(gateway.get(target).status, status, "{target}");
    }
    assert_eq!(backend.requests().len(), 3);
}

#[test]
fn an_empty_post_says_that_it_is_empty() {
    let (backend, gateway) = house();

    let mut raw = gateway.connect();
    assert_eq!(
        raw.ask("POST", "/", &[("content-length", "0")], b"").status,
        200
    );
    assert_eq!(raw.ask("PUT", "/", &[], b"").status, 200);
    assert_eq!(raw.ask("GET", "/", &[], b"").status, 200);

    let seen = backend.requests();
    let lengths: Vec<_> = seen
        .iter()
        .map(|r| r.fields.get("content-length"))
        .collect();
    assert_eq!(lengths, [Some("0"), Some("0"), None]);
    assert!(
        seen.iter()
            .all(|r| r.fields.get("transfer-encoding").is_none())
    );
}

#[test]
fn answers_without_bodies_keep_what_they_say_of_them() {
    let (backend, gateway) = house();
    backend.change(|exchange| match exchange.request.target.as_str() {
        "/not-modified" => exchange.answer(304, &[("etag", "\"1\""), ("content-length", "77")], ""),
        "/no-content" => exchange.answer(204, &[("x-kept", "yes")], ""),
        _ => exchange.answer(200, &[], "seven b"),
    });
    let mut raw = gateway.connect();

    let head = raw.ask("HEAD", "/", &[], b"");
    let not_modified = raw.ask("GET", "/not-modified", &[], b"");
    let no_content = raw.ask("GET", "/no-content", &[], b"");
    let whole = raw.ask("GET", "/", &[], b"");

    assert_eq!(
        (head.status, head.fields.get("content-length")),
        (200, Some("7"))
    );
    assert_eq!(not_modified.status, 304);
    assert_eq!(not_modified.fields.get("etag"), Some("\"1\""));
    assert_eq!(no_content.status, 204);
    assert_eq!(no_content.fields.get("content-length"), None);
    assert_eq!(no_content.fields.get("transfer-encoding"), None);
    assert_eq!(whole.text(), "seven b");
}

#[test]
fn an_old_client_gets_an_answer_that_it_understands() {
    let (backend, gateway) = house();
    backend.change(|exchange| {
        exchange.begin(200, &[]);
        exchange.chunk("in ");
        exchange.chunk("chunks");
        exchange.end();
    });
    let mut raw = gateway.connect();

    raw.write("GET / HTTP/1.0\r\nhost: a\r\n\r\n");

    let answer = raw.read("GET");
    assert_eq!(answer.fields.get("transfer-encoding"), None);
    assert_eq!(answer.text(), "in chunks");
    assert_eq!(last(&backend).version, "HTTP/1.1");
}

#[test]
fn a_client_that_says_close_is_answered_once() {
    let (backend, gateway) = house();
    let mut raw: Raw = gateway.connect();

    raw.write(
        "GET /1 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n\
         GET /2 HTTP/1.1\r\nhost: a\r\n\r\n",
    );

    assert_eq!(raw.read("GET").status, 200);
    assert!(raw.is_closed());
    assert_eq!(client::get(gateway.address, "/3").status, 200);
    let targets: Vec<_> = backend.requests().into_iter().map(|r| r.target).collect();
    assert_eq!(targets, ["/1", "/3"]);
}
