//! HTTP/2 heads that no honest client sends.

use crate::support::frames::{Frames, flag, request};
use crate::support::hostile::{House, Lines, list, refuses_h2, with};

#[test]
fn pseudo_fields_missing_repeated_late_or_unknown_are_refused() {
    let house = House::new();
    let (method, scheme): (&[u8], &[u8]) = (b":method", b":scheme");
    let (authority, path): (&[u8], &[u8]) = (b":authority", b":path");

    let cases: [Lines<'_>; 17] = [
        &[(scheme, b"http"), (authority, b"h"), (path, b"/x")],
        &[(method, b"GET"), (authority, b"h"), (path, b"/x")],
        &[(method, b"GET"), (scheme, b"http"), (authority, b"h")],
        &[(method, b"GET"), (scheme, b"http"), (path, b"/x")],
        &[],
        &[
            (method, b"GET"),
            (method, b"GET"),
            (scheme, b"http"),
            (authority, b"h"),
            (path, b"/x"),
        ],
        &[
            (method, b"GET"),
            (method, b"POST"),
            (scheme, b"http"),
            (authority, b"h"),
            (path, b"/x"),
        ],
        &[
            (method, b"GET"),
            (scheme, b"http"),
            (scheme, b"https"),
            (authority, b"h"),
            (path, b"/x"),
        ],
        &[
            (method, b"GET"),
            (scheme, b"http"),
            (authority, b"h"),
            (authority, b"i"),
            (path, b"/x"),
        ],
        &[
            (method, b"GET"),
            (scheme, b"http"),
            (authority, b"h"),
            (path, b"/x"),
            (path, b"/y"),
        ],
        &[
            (method, b"GET"),
            (scheme, b"http"),
            (authority, b"h"),
            (b"a", b"b"),
            (path, b"/x"),
        ],
        &[
            (b"a", b"b"),
            (method, b"GET"),
            (scheme, b"http"),
            (authority, b"h"),
            (path, b"/x"),
        ],
        &[
            (method, b"GET"),
            (scheme, b"http"),
            (authority, b"h"),
            (path, b"/x"),
            (b":evil", b"x"),
        ],
        &[
            (method, b"GET"),
            (scheme, b"http"),
            (authority, b"h"),
            (path, b"/x"),
            (b":status", b"200"),
        ],
        &[
            (method, b"GET"),
            (scheme, b"http"),
            (authority, b"h"),
            (path, b"/x"),
            (b":protocol", b"websocket"),
        ],
        &[
            (method, b"CONNECT"),
            (b":protocol", b"websocket"),
            (scheme, b"http"),
            (authority, b"h"),
            (path, b"/x"),
        ],
        &[(method, b"CONNECT"), (authority, b"h:443")],
    ];
    for fields in cases {
        refuses_h2(&house, &list(fields), b"");
    }
}

#[test]
fn pseudo_fields_that_would_split_a_request_line_are_refused() {
    let house = House::new();
    let bad: [(&str, &[&str]); 4] = [
        (
            ":method",
            &[
                "",
                "GET / HTTP/1.1\r\nX: y",
                "G T",
                "GET\0",
                "GET\r\n",
                "G\tT",
                "CONNECT",
                "TRACE",
                "G:T",
                "G\u{e9}T",
            ],
        ),
        (
            ":scheme",
            &[
                "",
                "ftp",
                "file",
                "http://evil/",
                "http\r\n",
                "ht tp",
                "http ",
                "\0",
                "javascript",
            ],
        ),
        (
            ":authority",
            &[
                "",
                "a b",
                "a@b",
                "a/b",
                "a\r\nX: y",
                "a\0",
                "a,b",
                "a:b",
                "a?b",
                "a#b",
                "a\\b",
                "[::1",
                "a:99999",
                "\u{e9}",
                "%61",
                " a",
                "a ",
            ],
        ),
        (
            ":path",
            &[
                "",
                "x",
                "*",
                "/x HTTP/1.1\r\nX: y",
                "/x y",
                "/x\r\n",
                "/x\0",
                "/x\ty",
                "http://h/x",
                "/\u{e9}",
                "/../x",
                "/%2e%2e/x",
                "/a/..;/b",
                "/a%00",
                "\\x",
                "?x",
                " /x",
            ],
        ),
    ];
    for (name, values) in bad {
        for value in values {
            let mut fields = request("GET", "/x");
            let place = fields
                .iter()
                .position(|(n, _)| n == name.as_bytes())
                .unwrap();
            fields[place].1 = value.as_bytes().to_vec();
            refuses_h2(&house, &fields, b"");
        }
    }
}

#[test]
fn names_and_values_that_http_2_has_not_are_refused() {
    let house = House::new();

    for name in [
        &b"X-Upper"[..],
        b"x:y",
        b"x y",
        b"x\r\ny",
        b"x\ny",
        b"x\0",
        b"",
        b" x",
        b"x ",
        b"x\xef",
        b"x\x7f",
        b"x(y)",
        b"x\"",
        b"\"x",
        b"x\t",
        b"\xc3\xa9",
        b"x:",
        b"host ",
        b"transfer-encoding ",
        b"transfer-encoding\0",
    ] {
        refuses_h2(&house, &with("GET", &[(name, "v")]), b"");
    }
    for value in [
        &b"a\r\nb"[..],
        b"a\nb",
        b"a\rb",
        b"a\0b",
        b"\r",
        b"\n",
        b"\0",
        b"a\x01b",
        b"a\x7fb",
        b"a\x0bb",
        b" a",
        b"a ",
        b"\ta",
        b"a\t",
        b" ",
        b"a\r\n\r\nGET /evil HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        refuses_h2(&house, &with("GET", &[("x", value)]), b"");
        refuses_h2(&house, &with("GET", &[("cookie", value)]), b"");
    }
}

#[test]
fn fields_of_a_connection_are_refused() {
    let house = House::new();

    for (name, value) in [
        ("connection", "close"),
        ("connection", "keep-alive"),
        ("connection", "x-a"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("te", "chunked"),
    ] {
        refuses_h2(&house, &with("POST", &[(name, value)]), b"body");
    }
}

#[test]
fn a_length_that_is_not_the_bodys_is_refused() {
    let house = House::new();

    for lengths in [
        &["3"][..],
        &["5"],
        &["0"],
        &["400"],
        &["+4"],
        &["-4"],
        &["4x"],
        &["0x4"],
        &["4, 4"],
        &["4,5"],
        &["4.0"],
        &[""],
        &["4", "4"],
        &["4", "5"],
        &["5", "4"],
        &["18446744073709551620"],
    ] {
        let pairs: Vec<_> = lengths
            .iter()
            .map(|length| ("content-length", *length))
            .collect();
        refuses_h2(&house, &with("POST", &pairs), b"body");
    }
    refuses_h2(&house, &with("GET", &[("content-length", "4")]), b"");
    let mut client = Frames::connect(house.gateway.address);
    client.head(1, &with("POST", &[("content-length", "8")]), 0);
    client.data(1, "body", 0);
    client.data(1, "body", 0);
    client.data(1, "evil", flag::END_STREAM);
    assert!(client.reply(1).is_refused());
    assert!(house.mirror.take().0.is_empty());
}
