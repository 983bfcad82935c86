//! HTTP/1 requests whose end two readers could see in different places.

use crate::support::hostile::{House, LAST, request};

/// Lines of which each makes two lengths, none, or one that is not to be read.
const LENGTHS: [&str; 26] = [
    "+5",
    "-5",
    "0x5",
    "1_0",
    "5e0",
    "5Z",
    "5.0",
    "5,6",
    "5, 5",
    "\"5\"",
    "5\0",
    "\0",
    "",
    " ",
    "5 5",
    "5;",
    ";5",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "18446744073709551621",
    "9999999999999999999999999999999999999999",
    "\u{b}5",
    "5\u{c}",
    "\u{a0}5",
    "٥",
];

/// Codings that are not exactly `chunked`.
const CODINGS: [&str; 24] = [
    "xchunked",
    ", chunked",
    "chunked,",
    ",chunked,",
    "chunked, identity",
    "identity, chunked",
    "identity",
    "gzip",
    "gzip, chunked",
    "chunked, chunked",
    "chunked;q=1",
    "\"chunked\"",
    "'chunked'",
    "\u{b}chunked",
    "chunked\u{b}",
    "\u{a0}chunked",
    "chunked\0",
    "\0chunked",
    "chunk",
    "",
    "chunked chunked",
    "chunked\rX: y",
    "\u{c}chunked",
    "chu\tnked",
];

const CHUNKS: &str = "5\r\nhello\r\n0\r\n\r\n";

#[test]
fn a_length_that_is_no_number_is_refused() {
    let house = House::new();

    for length in LENGTHS {
        house.refuses(
            request("POST", &format!("Content-Length: {length}\r\n"), "hello"),
            &[400],
        );
    }
}

#[test]
fn two_lengths_are_refused_and_two_equal_ones_are_one() {
    let house = House::new();

    for (one, two) in [
        ("5", "6"),
        ("6", "5"),
        ("", "5"),
        ("5", ""),
        ("5", "+5"),
        ("5", "5x"),
        ("0", "5"),
    ] {
        for name in ["Content-Length", "content-length", "CONTENT-LENGTH"] {
            let lines = format!("Content-Length: {one}\r\nX: y\r\n{name}: {two}\r\n");
            house.refuses(request("POST", &lines, "hello"), &[400]);
        }
    }
    for lines in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length:5\r\n",
    ] {
        let seen = house.forwards(request("POST", lines, "hello"));
        assert_eq!(
            (seen.get("content-length").as_deref(), &seen.body[..]),
            (Some("5"), &b"hello"[..])
        );
    }
}

#[test]
fn a_length_beside_chunks_is_refused_in_any_order_and_spelling() {
    let house = House::new();

    for length in [
        "Content-Length: 5",
        "content-length:0",
        "CONTENT-LENGTH: 15",
        "Content-Length: 5x",
    ] {
        for coding in [
            "Transfer-Encoding: chunked",
            "transfer-encoding:CHUNKED",
            "TRANSFER-ENCODING:\tchunked ",
        ] {
            for method in ["POST", "GET", "DELETE"] {
                house.refuses(
                    request(method, &format!("{length}\r\n{coding}\r\n"), CHUNKS),
                    &[400],
                );
                house.refuses(
                    request(method, &format!("{coding}\r\n{length}\r\n"), CHUNKS),
                    &[400],
                );
                let between = format!("{length}\r\nX: y\r\n{coding}\r\n{length}\r\n");
                house.refuses(request(method, &between, CHUNKS), &[400]);
            }
        }
    }
}

#[test]
fn a_coding_other_than_chunked_alone_is_refused() {
    let house = House::new();

    for coding in CODINGS {
        for body in [CHUNKS, "", "hello"] {
            house.refuses(
                request("POST", &format!("Transfer-Encoding: {coding}\r\n"), body),
                &[400],
            );
        }
        let twice = format!("Transfer-Encoding: chunked\r\nTransfer-Encoding: {coding}\r\n");
        house.refuses(request("POST", &twice, CHUNKS), &[400]);
        let twice = format!("Transfer-Encoding: {coding}\r\nTransfer-Encoding: chunked\r\n");
        house.refuses(request("POST", &twice, CHUNKS), &[400]);
    }
    house.refuses(
        request(
            "POST",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            CHUNKS,
        ),
        &[400],
    );
}

#[test]
fn a_coding_whose_line_is_none_is_refused() {
    let house = House::new();

    for lines in [
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "\tTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding:\r\n\tchunked\r\n",
        "Transfer-\r\nEncoding: chunked\r\n",
        "Transfer\r\n-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\n\rTransfer-Encoding: chunked\r\n",
        "X: y\r\rTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\n",
        "Transfer-Encoding\0: chunked\r\n",
        "Transfer-Encoding\u{a0}: chunked\r\n",
        "Transfer-Encoding chunked\r\n",
        "Transfer-Encoding; chunked\r\n",
        "\u{b}Transfer-Encoding: chunked\r\n",
    ] {
        house.refuses(request("POST", lines, CHUNKS), &[400]);
    }
}

#[test]
fn a_name_that_is_almost_one_of_framing_frames_nothing_here_and_stays_here() {
    let house = House::new();

    for lines in ["Transfer_Encoding: chunked\r\n", "Content_Length: 5\r\n"] {
        let seen = house.forwards(request("POST", lines, ""));
        assert!(!seen.head.windows(1).any(|byte| byte == b"_"), "{seen:?}");
        assert!(seen.body.is_empty());
    }
}

#[test]
fn chunks_in_an_old_version_are_refused() {
    let house = House::new();

    for lines in ["", "Connection: keep-alive\r\n", "Content-Length: 5\r\n"] {
        for coding in ["chunked", "identity", "gzip, chunked"] {
            let head = format!(
                "POST / HTTP/1.0\r\nHost: h\r\n{lines}Transfer-Encoding: {coding}\r\n\r\n{CHUNKS}"
            );
            house.refuses(head, &[400]);
        }
    }
}

#[test]
fn a_body_in_faulty_chunks_is_never_whole() {
    let house = House::new();

    for chunks in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0_5\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5word\r\nhello\r\n0\r\n\r\n",
        "5 word\r\nhello\r\n0\r\n\r\n",
        "8000000000000000\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "5\r\nhelloworld\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "5\r\r;a\r\nhello\r\n0\r\n\r\n",
        "5;a\0b\r\nhello\r\n0\r\n\r\n",
        "5;\u{7f}\r\nhello\r\n0\r\n\r\n",
        "2;\nxx\r\nok\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\nX\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: \0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: a\n\r\n",
        "zz\r\nhello\r\n0\r\n\r\n",
        "５\r\nhello\r\n0\r\n\r\n",
    ] {
        house.cuts(request("POST", "Transfer-Encoding: chunked\r\n", chunks));
    }
}

#[test]
fn chunks_without_end_are_bounded() {
    let house = House::new();
    let chunked = "Transfer-Encoding: chunked\r\n";

    house.cuts(request(
        "POST",
        chunked,
        &format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(200_000)),
    ));
    house.cuts(request(
        "POST",
        chunked,
        &format!("1;{}\r\nx\r\n", "y".repeat(4096)).repeat(300),
    ));
    house.cuts(request(
        "POST",
        chunked,
        &format!("0\r\nX: {}\r\n\r\n", "y".repeat(300_000)),
    ));
    house.cuts(request(
        "POST",
        chunked,
        &format!("0\r\n{}\r\n", "X: y\r\n".repeat(20_000)),
    ));
}

#[test]
fn chunks_of_an_unusual_but_sound_kind_are_forwarded_without_their_extensions() {
    let house = House::new();

    for chunks in [
        CHUNKS,
        "5;a\r\nhello\r\n0\r\n\r\n",
        "5;a=b;c=\"d;e\"\r\nhello\r\n0;z\r\n\r\n",
        "5 ; a = b\r\nhello\r\n0\r\n\r\n",
        "005\r\nhello\r\n000\r\n\r\n",
        "1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nX-Sum: 1\r\nContent-Length: 99\r\nTransfer-Encoding: x\r\nHost: evil\r\n\r\n",
    ] {
        for coding in ["chunked", "Chunked", "CHUNKED", "\tchunked  "] {
            let seen = house.forwards(request(
                "POST",
                &format!("Transfer-Encoding: {coding}\r\n"),
                chunks,
            ));
            assert_eq!(seen.body, b"hello", "{chunks:?}");
            assert_eq!(seen.get("transfer-encoding").as_deref(), Some("chunked"));
            assert_eq!(
                (seen.host().as_str(), seen.all("content-length").len()),
                ("h", 0)
            );
            assert!(seen.all("x-sum").is_empty());
        }
    }
}

#[test]
fn a_request_is_the_same_however_its_bytes_come() {
    let house = House::new();
    let sized = request("POST", "Content-Length: 5\r\n", "hello");
    let chunked = request(
        "POST",
        "Transfer-Encoding: chunked\r\n",
        "2\r\nhe\r\n3;x\r\nllo\r\n0\r\nA: b\r\n\r\n",
    );

    for text in [sized, chunked] {
        for cut in 1..text.len() {
            let (one, two) = text.split_at(cut);
            let came = house.hold(&[one, two, LAST]);
            assert_eq!(came.messages.len(), 2, "{one:?} {two:?} {came:?}");
            assert_eq!(came.messages[0].body, b"hello");
            assert_eq!(came.messages[1].target, "/last");
        }
    }
}

#[test]
fn a_fault_is_one_however_its_bytes_come() {
    let house = House::new();
    let text = "GET /#x HTTP/1.1\r\nHost: h\r\n\r\n";

    for cut in 1..text.len() {
        let came = house.hold(&[&text[..cut], &text[cut..]]);
        assert_eq!(came.answers.len(), 1, "{came:?}");
        assert_eq!(came.answers[0].status, 400);
        assert!(came.messages.is_empty());
    }
}

#[test]
fn a_body_that_breaks_off_closes_the_backends_connection_and_nobody_gets_it() {
    let house = House::new();

    for text in [
        request("POST", "Content-Length: 500\r\n", &"x".repeat(40)),
        request("POST", "Transfer-Encoding: chunked\r\n", "1f4\r\nxxxx"),
        request("POST", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"),
        request(
            "POST",
            "Transfer-Encoding: chunked\r\n",
            "5\r\nhello\r\n0\r\n",
        ),
    ] {
        let came = house.send(&[&text]);
        assert!(came.messages.is_empty(), "{came:?}");
        house.mirror.wait_for_open(0);
        assert_eq!(house.gateway.get("/next").text(), "fine");
        let whole = house.mirror.take().0;
        assert!(whole.iter().all(|m| m.target == "/next"), "{whole:?}");
    }
}

#[test]
fn bodies_that_nobody_read_are_never_read_as_requests() {
    let house = House::new();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

    for method in ["TRACE", "POST"] {
        for big in [0, 100_000] {
            let body = format!("{smuggled}{}", "x".repeat(big));
            let (host, status) = match method {
                "POST" => ("bad host", 400),
                _ => ("h", 405),
            };
            let text = format!(
                "{method} /x HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            let came = house.hold(&[&text, LAST]);
            assert_eq!(came.answers.len(), 1, "{came:?}");
            assert_eq!(came.answers[0].status, status, "{came:?}");
            assert!(came.messages.is_empty(), "{came:?}");
        }
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_up_to_the_first_that_is_none() {
    let house = House::new();
    let fine = "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n";

    let both = house.hold(&[fine, LAST]);
    assert_eq!(
        both.messages
            .iter()
            .map(|m| m.target.as_str())
            .collect::<Vec<_>>(),
        ["/1", "/last"]
    );

    for garbage in [
        "garbage\r\n\r\n",
        "GET /2\r\n\r\n",
        "\0\0\0",
        "GET /2 HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
    ] {
        let came = house.hold(&[&format!("{fine}{garbage}{LAST}")]);
        let statuses: Vec<u16> = came.answers.iter().map(|a| a.status).collect();
        assert_eq!(statuses, [200, 400], "{garbage:?}");
        assert_eq!(came.messages.len(), 1, "{garbage:?}");
    }

    let came = house.hold(&[&format!("{LAST}{fine}")]);
    assert_eq!(
        (came.answers.len(), came.messages.len()),
        (1, 1),
        "{came:?}"
    );
}

#[test]
fn expectations_other_than_to_go_on_are_refused() {
    let house = House::new();

    for expect in [
        "y 100-continue",
        "100-continue, x",
        "200-ok",
        "x",
        "100-continue;x",
        "\"100-continue\"",
        "",
    ] {
        let lines = format!("Expect: {expect}\r\nContent-Length: 5\r\n");
        house.refuses(request("POST", &lines, "hello"), &[417]);
    }
    house.refuses(
        request(
            "POST",
            "Expect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n",
            "hello",
        ),
        &[417],
    );
    house.refuses(
        request(
            "POST",
            "Expect: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n",
            "hello",
        ),
        &[417],
    );
}

#[test]
fn who_expects_to_be_told_to_go_on_is_told_and_the_backend_is_not_asked() {
    let house = House::new();

    for expect in ["100-continue", "100-Continue"] {
        let lines = format!("Expect: {expect}\r\nContent-Length: 5\r\n");
        let came = house.hold(&[&request("POST", &lines, "hello"), LAST]);
        let finals = came.answers.iter().filter(|a| a.status == 200).count();
        assert_eq!((finals, came.messages.len()), (2, 2), "{came:?}");
        assert_eq!(came.messages[0].body, b"hello");
        assert!(came.messages[0].all("expect").is_empty());
    }
    let seen = house.forwards(request("GET", "Expect: 100-continue\r\n", ""));
    assert!(seen.all("expect").is_empty());
}
