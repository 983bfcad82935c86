//! How HTTP/2 is written to an HTTP/1 backend, and what of it is not.

use crate::support::frames::{Frame, Frames, block, flag, kind, request};
use crate::support::hostile::{House, list, refuses_h2, with};

#[test]
fn an_ordinary_request_arrives_as_http_1() {
    let house = House::new();
    let mut client = Frames::connect(house.gateway.address);

    let fields = with(
        "POST",
        &[
            ("accept", "*/*"),
            ("te", "trailers"),
            ("content-length", "4"),
        ],
    );
    let reply = client.ask(1, &fields, b"body");

    assert_eq!(
        (reply.status, reply.body.as_slice()),
        (Some(200), &b"fine"[..])
    );
    let (seen, broken) = house.mirror.take();
    assert_eq!((seen.len(), broken.len()), (1, 0));
    let mut lines: Vec<_> = std::str::from_utf8(&seen[0].head)
        .unwrap()
        .trim_end()
        .split("\r\n")
        .collect();
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        [
            "POST /x HTTP/1.1",
            "accept: */*",
            "content-length: 4",
            "host: h",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: h",
            "x-forwarded-proto: http",
        ]
    );
    assert_eq!(seen[0].body, b"body");
}

#[test]
fn a_body_without_length_arrives_whole_and_framed_once() {
    let house = House::new();
    let mut client = Frames::connect(house.gateway.address);

    for (at, method) in ["POST", "GET", "DELETE"].into_iter().enumerate() {
        let reply = client.ask(at as u32 * 2 + 1, &with::<&str, &str>(method, &[]), b"body");
        assert_eq!(reply.status, Some(200), "{method}");
    }
    for seen in house.mirror.take().0 {
        assert_eq!(seen.body, b"body", "{seen:?}");
        let framing = (
            seen.all("content-length").len(),
            seen.all("transfer-encoding").len(),
        );
        assert!(matches!(framing, (1, 0) | (0, 1)), "{seen:?}");
    }
}

#[test]
fn one_host_is_routed_by_and_sent() {
    let house = House::new();

    for hosts in [
        &["i"][..],
        &["h", "h"],
        &["h", "i"],
        &["h:80"],
        &["h."],
        &[""],
        &["a b"],
    ] {
        let pairs: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        refuses_h2(&house, &with("GET", &pairs), b"");
    }
    for host in ["h", "H"] {
        let mut client = Frames::connect(house.gateway.address);
        assert_eq!(
            client.ask(1, &with("GET", &[("host", host)]), b"").status,
            Some(200)
        );
        assert_eq!(house.mirror.take().0[0].get("host").as_deref(), Some("h"));
    }
    let without = list(&[
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/x"),
        (b"host", b"field"),
    ]);
    let mut client = Frames::connect(house.gateway.address);
    assert_eq!(client.ask(1, &without, b"").status, Some(200));
    assert_eq!(
        house.mirror.take().0[0].get("host").as_deref(),
        Some("field")
    );
}

#[test]
fn cookie_crumbs_are_joined_and_counted() {
    let house = House::new();
    let mut client = Frames::connect(house.gateway.address);

    client.ask(
        1,
        &with(
            "GET",
            &[
                ("cookie", "a=1"),
                ("x", "y"),
                ("cookie", "b=2; c=3"),
                ("cookie", "d"),
            ],
        ),
        b"",
    );
    assert_eq!(
        house.mirror.take().0[0].get("cookie").as_deref(),
        Some("a=1; b=2; c=3; d")
    );

    refuses_h2(&house, &with("GET", &vec![("cookie", "a"); 200]), b"");
    refuses_h2(&house, &with("GET", &vec![("x", ""); 200]), b"");
    refuses_h2(&house, &with("GET", &[("x", "y".repeat(100_000))]), b"");
}

#[test]
fn trailers_never_become_fields() {
    let house = House::new();

    for trailer in [
        ("x-sum", "1"),
        ("content-length", "99"),
        ("host", "evil"),
        ("authorization", "evil"),
    ] {
        let mut client = Frames::connect(house.gateway.address);
        client.head(1, &with::<&str, &str>("POST", &[]), 0);
        client.data(1, "body", 0);
        client.head(1, &[trailer], flag::END_STREAM);
        let reply = client.reply(1);
        let (seen, _) = house.mirror.take();
        let evil = seen
            .iter()
            .any(|m| m.fields.iter().any(|(_, v)| v == b"evil" || v == b"99"));
        assert!(
            !evil && (reply.is_refused() || seen[0].body == b"body"),
            "{reply:?} {seen:?}"
        );
    }
    for bad in [("X", "y"), ("x", "a\r\nb"), ("connection", "close")] {
        let mut client = Frames::connect(house.gateway.address);
        client.head(1, &with::<&str, &str>("POST", &[]), 0);
        client.data(1, "body", 0);
        client.head(1, &[bad], flag::END_STREAM);
        assert!(client.reply(1).is_refused(), "{bad:?}");
        assert!(house.mirror.take().0.is_empty(), "{bad:?}");
    }
}

#[test]
fn what_imitates_relied_on_fields_stays_here_in_http_2_too() {
    let house = House::new();

    for name in [
        "mcp_session_id",
        "x_forwarded_for",
        "transfer_encoding",
        "x-switchback-shadow",
        "x-real-ip",
        "forwarded",
        "expect",
    ] {
        let mut client = Frames::connect(house.gateway.address);
        let value = if name == "expect" {
            "100-continue"
        } else {
            "evil"
        };
        assert_eq!(
            client.ask(1, &with("GET", &[(name, value)]), b"").status,
            Some(200)
        );
        let (seen, _) = house.mirror.take();
        assert!(
            !seen[0].fields.iter().any(|(_, v)| v == value.as_bytes()),
            "{name}: {seen:?}"
        );
    }
    refuses_h2(&house, &with("POST", &[("expect", "x")]), b"body");
}

#[test]
fn a_head_in_pieces_is_the_same_head() {
    let house = House::new();
    let fields = block(&with("GET", &[("x", "y")]));

    for cut in [1, 7, fields.len() / 2, fields.len() - 1] {
        let mut client = Frames::connect(house.gateway.address);
        client.send(&Frame::new(
            kind::HEADERS,
            flag::END_STREAM,
            1,
            &fields[..cut],
        ));
        client.send(&Frame::new(
            kind::CONTINUATION,
            flag::END_HEADERS,
            1,
            &fields[cut..],
        ));
        assert_eq!(client.reply(1).status, Some(200), "{cut}");
        assert_eq!(house.mirror.take().0[0].get("x").as_deref(), Some("y"));
    }
}

#[test]
fn a_request_that_is_reset_inside_its_body_is_never_whole_at_the_backend() {
    let house = House::new();
    let mut client = Frames::connect(house.gateway.address);

    client.head(1, &with("POST", &[("content-length", "8")]), 0);
    client.data(1, "body", 0);
    client.send(&Frame::new(kind::RST_STREAM, 0, 1, 8_u32.to_be_bytes()));
    assert_eq!(client.ask(3, &request("GET", "/y"), b"").status, Some(200));

    house.mirror.wait_for_open(1);
    let whole = house.mirror.take().0;
    assert!(whole.iter().all(|m| m.target == "/y"), "{whole:?}");
}
