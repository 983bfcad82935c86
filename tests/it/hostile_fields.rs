//! HTTP/1 fields that two readers could take for different ones.

use crate::support::hostile::{House, request};

/// A GET whose request line is this one.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: h\r\n\r\n")
}

fn get(lines: &str) -> String {
    request("GET", lines, "")
}

#[test]
fn lines_that_are_no_fields_are_refused() {
    let house = House::new();

    for lines in [
        "X: 1\r\n folded\r\n",
        "X: 1\r\n\tfolded\r\n",
        "X:\r\n 1\r\n",
        " X: 1\r\n",
        "\tX: 1\r\n",
        "X : 1\r\n",
        "X\t: 1\r\n",
        "X\u{a0}: 1\r\n",
        "X(A): 1\r\n",
        "X\u{ef}: 1\r\n",
        "X\"Y\": 1\r\n",
        "X/Y: 1\r\n",
        "X,Y: 1\r\n",
        "X@Y: 1\r\n",
        "[X]: 1\r\n",
        ": 1\r\n",
        " : 1\r\n",
        "X\r\n",
        "X 1\r\n",
        "X=1\r\n",
        "X\0: 1\r\n",
        "X\u{7f}: 1\r\n",
        "X: 1\n",
        "X: 1\nY: 2\r\n",
        "X: 1\rY: 2\r\n",
        "X: 1\r\rGET /y HTTP/1.1\r\n",
        "\rX: 1\r\n",
        "\nX: 1\r\n",
    ] {
        house.refuses(get(lines), &[400]);
        house.refuses(get(&format!("A: b\r\n{lines}C: d\r\n")), &[400]);
    }
}

#[test]
fn control_bytes_in_values_are_refused_one_and_all() {
    let house = House::new();

    for byte in (0..=0x1f_u8)
        .chain([0x7f])
        .filter(|byte| !b"\t\n".contains(byte))
    {
        for value in [&b"a%b"[..], b"%b", b"a%"] {
            let value: Vec<u8> = value
                .iter()
                .map(|b| if *b == b'%' { byte } else { *b })
                .collect();
            if value.last() == Some(&b'\r') {
                continue;
            }
            let mut text = b"GET /x HTTP/1.1\r\nHost: h\r\nX: ".to_vec();
            text.extend(value);
            text.extend(b"\r\n\r\n");
            house.refuses(text, &[400]);
        }
    }
}

#[test]
fn heads_beyond_their_bounds_are_refused() {
    let house = House::new();

    house.refuses(get(&format!("X: {}\r\n", "y".repeat(300_000))), &[431]);
    house.refuses(get(&format!("{}: y\r\n", "X".repeat(300_000))), &[431]);
    house.refuses(get(&"X: y\r\n".repeat(20_000)), &[431]);
    house.refuses(get(&"X: y\r\n".repeat(101)), &[431]);
    house.refuses(
        line(&format!("GET /{} HTTP/1.1", "x".repeat(300_000))),
        &[431],
    );
    house.refuses(
        line(&format!("{} /x HTTP/1.1", "G".repeat(300_000))),
        &[431],
    );
}

#[test]
fn the_bounds_of_a_head_are_kept_to_the_byte_and_the_field_and_counted() {
    let house = House::with("limits: { request_head_bytes: 8192, request_fields: 10 }\n");
    let of_bytes = |bytes: usize| {
        let rest = get("X: \r\n").len();
        get(&format!("X: {}\r\n", "y".repeat(bytes - rest)))
    };
    let of_fields = |fields: usize| get(&"X: y\r\n".repeat(fields - 1));

    for text in [of_bytes(8192), of_fields(10)] {
        house.forwards(&text);
        house.forwards(format!("\r\n{}", get("")));
    }
    for text in [
        of_bytes(8193),
        of_bytes(8200),
        of_bytes(16_000),
        of_bytes(300_000),
        of_fields(11),
        of_fields(100),
        "\r\n".repeat(5000) + &get(""),
        format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(8192)),
    ] {
        house.refuses(&text, &[431]);
    }
    let text = of_bytes(8193);
    for cut in [1, 20, 8000, 8191, 8192] {
        let came = house.hold(&[&text[..cut], &text[cut..]]);
        let statuses: Vec<u16> = came.answers.iter().map(|a| a.status).collect();
        assert_eq!(statuses, [431], "{cut}");
        assert!(came.messages.is_empty(), "{cut}");
    }
    assert_eq!(house.count("limits_hit_total{limit=\"request_fields\"}"), 2);
    assert_eq!(
        house.count("limits_hit_total{limit=\"request_head_bytes\"}"),
        6 + 5
    );
}

#[test]
fn whatever_is_refused_for_what_it_is_is_counted_once() {
    let house = House::new();
    let refused = [
        line("GET /#x HTTP/1.1"),
        line("GET /a/../b HTTP/1.1"),
        line("TRACE / HTTP/1.1"),
        line("GET / HTTP/3.0"),
        get("X : y\r\n"),
        get("Host: i\r\n"),
        "\u{16}\u{3}\u{1}\r\n\r\n".to_owned(),
        request("POST", "Content-Length: 5x\r\n", ""),
        request("POST", "Transfer-Encoding: chunked\r\n", "x\r\n"),
    ];

    for text in &refused {
        house.hold(&[text]);
    }

    assert_eq!(house.count("malformed_requests_total"), refused.len());
}

#[test]
fn fields_of_the_clients_connection_stay_here() {
    let house = House::new();

    for (lines, kept) in [
        ("Connection: X-Strip-Me\r\nX-Strip-Me: 1\r\n", ""),
        (
            "Connection: x-strip-me , keep-alive\r\nX-Strip-Me: 1\r\nX-Strip-Me: 2\r\n",
            "",
        ),
        (
            "Connection: close-not, ,, X-A\r\nConnection: X-B\r\nX-A: 1\r\nX-B: 1\r\n",
            "",
        ),
        (
            "Connection: Mcp-Session-Id, Authorization, Cookie\r\nMcp-Session-Id: s\r\nAuthorization: a\r\nCookie: c\r\n",
            "authorization cookie mcp-session-id",
        ),
        (
            "Connection: X-Forwarded-For, X-Forwarded-Host, Host\r\n",
            "",
        ),
        (
            "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\n",
            "",
        ),
        ("TE: trailers\r\nConnection: TE\r\nTrailer: X-Sum\r\n", ""),
        (
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            "",
        ),
        ("Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n", ""),
        ("Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n", ""),
        ("HTTP2-Settings: x\r\n", ""),
    ] {
        let seen = house.forwards(get(lines));
        let names: Vec<&str> = seen.fields.iter().map(|(n, _)| n.as_str()).collect();
        let ours = [
            "host",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
        ];
        let mut others: Vec<&str> = names
            .iter()
            .copied()
            .filter(|n| !ours.contains(n))
            .collect();
        others.sort_unstable();
        assert_eq!(others.join(" "), kept, "{lines:?}");
        assert_eq!(names.len() - others.len(), 4, "{lines:?}: {names:?}");
    }
    let listed =
        "Connection: Content-Length, Content-Type\r\nContent-Type: text/x\r\nContent-Length: 5\r\n";
    let seen = house.forwards(request("POST", listed, "hello"));
    assert_eq!(
        (seen.body.as_slice(), seen.get("content-type").as_deref()),
        (&b"hello"[..], Some("text/x"))
    );
}

#[test]
fn what_imitates_a_field_that_is_relied_on_stays_here() {
    let house = House::new();

    for name in [
        "Mcp_Session_Id",
        "mcp-session_id",
        "MCP_SESSION-ID",
        "X_Forwarded_For",
        "X-Forwarded_For",
        "X_Real_Ip",
        "Content_Length",
        "Transfer_Encoding",
        "Content-Length_",
        "Accept_Encoding",
        "X_Switchback_Shadow",
        "X-Switchback-Shadow",
        "X-Switchback-Who",
        "Forwarded",
        "X-Real-IP",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Forwarded-Anything",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Client-IP",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Original-Host",
        "Proxy_Connection",
        "Last_Event_Id",
        "Mcp.Session.Id",
        "X~Forwarded~For",
        "Proxy",
        "Client-Cert",
        "Client-Cert-Chain",
        "Client_Cert",
        "Client-IP",
        "X-Forwarded",
        "X-Scheme",
        "Front-End-Https",
    ] {
        let seen = house.forwards(get(&format!("{name}: evil\r\n")));
        let evil = seen.fields.iter().any(|(_, value)| value == b"evil");
        assert_eq!(evil, name.ends_with('_'), "{name}");
    }
    for name in [
        "X_Custom",
        "A_B-C",
        "X.Custom",
        "X-Real",
        "Forwarded-X",
        "X-Original-Filename",
    ] {
        let seen = house.forwards(get(&format!("{name}: fine\r\n")));
        assert_eq!(
            seen.get(&name.to_ascii_lowercase()).as_deref(),
            Some("fine"),
            "{name}"
        );
    }
}

#[test]
fn forwarding_fields_say_what_is_known_whatever_the_client_says() {
    let house = House::new();

    for lines in [
        "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil\r\nX-Forwarded-Proto: https\r\n",
        "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-FORWARDED-HOST: evil\r\n",
    ] {
        let seen = house.forwards(get(lines));
        assert_eq!(seen.get("x-forwarded-for").as_deref(), Some("127.0.0.1"));
        assert_eq!(seen.get("x-forwarded-host").as_deref(), Some("h"));
        assert_eq!(seen.get("x-forwarded-proto").as_deref(), Some("http"));
    }
}

#[test]
fn the_head_that_a_backend_gets_is_this_one_to_the_byte() {
    let house = House::new();

    let seen = house.forwards(
        "POST /a?b HTTP/1.1\r\nHOST: h\r\nX-One:  1\t\r\nx-two:2\r\nX-ONE: 3\r\nX-Text: caf\u{e9} \"q\"\r\n\
         Connection: keep-alive\r\nContent-Length: 005\r\n\r\nhello",
    );

    assert_eq!(
        String::from_utf8(seen.head).unwrap(),
        "POST /a?b HTTP/1.1\r\nhost: h\r\nx-one: 1\r\nx-one: 3\r\nx-two: 2\r\nx-text: caf\u{e9} \"q\"\r\n\
         x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\n\
         x-forwarded-host: h\r\ncontent-length: 5\r\n\r\n"
    );
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let house = House::new();

    let came =
        house.hold(&["GET /x HTTP/1.0\r\nHost: h\r\n\r\nGET /y HTTP/1.0\r\nHost: h\r\n\r\n"]);
    assert_eq!(
        (came.answers.len(), came.messages.len()),
        (1, 1),
        "{came:?}"
    );
    house.refuses("GET /x HTTP/1.0\r\n\r\n", &[400]);
}
