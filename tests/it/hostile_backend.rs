//! Backends that answer what no honest server does: the client gets 502, or sees that an answer
//! was cut; and what a backend said too much goes to nobody.

use crate::support::frames::{Frames, request};
use crate::support::hostile::{House, answers};
use crate::support::mirror::Reply;

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

/// What the next request is answered with, and the one behind it on the same connection.
fn told(house: &House, method: &str, answer: impl AsRef<[u8]>) -> Vec<(u16, Vec<u8>)> {
    house
        .mirror
        .answer_next(Reply::Close(answer.as_ref().to_vec()));
    let mut raw = house.gateway.connect();
    raw.write(format!("{method} /x HTTP/1.1\r\nHost: h\r\n\r\n"));
    raw.write_as_far_as_taken("GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    let bytes = raw.read_to_close();
    house.mirror.take();
    answers(&bytes)
        .into_iter()
        .map(|a| (a.status, a.body))
        .collect()
}

fn is_502(house: &House, answer: impl AsRef<[u8]>) {
    let shown =
        String::from_utf8_lossy(answer.as_ref())[..answer.as_ref().len().min(200)].to_owned();
    let came = told(house, "POST", answer);
    let statuses: Vec<u16> = came.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [502, 200], "{shown:?}");
    assert_eq!(came[1].1, b"fine", "{shown:?}");
}

#[test]
fn status_lines_that_are_none_are_502() {
    let house = House::new();

    for line in [
        "HTTP/1.1 099 X",
        "HTTP/1.1 2000 X",
        "HTTP/1.1 abc X",
        "HTTP/1.1 20 X",
        "HTTP/1.1  200 X",
        "HTTP/1.1 600 X",
        "HTTP/1.1 999 X",
        "HTTP/1.1 -20 X",
        "HTTP/1.1 +200 X",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/2.0 200 OK",
        "HTTP/2 200 OK",
        "HTTP/0.9 200 OK",
        "HTTP/1.2 200 OK",
        "HTTP/1.10 200 OK",
        "ICY 200 OK",
        "http/1.1 200 OK",
        "HTTP 200 OK",
        "200 OK",
        "noise",
        "\0",
        "<html>",
        "HTTP/1.1 200 a\0b",
        "HTTP/1.1 200 a\rb",
        "HTTP/1.1 200 a\u{7f}b",
        "HTTP/1.1 200\tOK",
        "SSH-2.0-OpenSSH",
        "\u{16}\u{3}\u{1}",
    ] {
        is_502(&house, format!("{line}\r\ncontent-length: 4\r\n\r\nevil"));
    }
    is_502(&house, "");
    is_502(&house, "<html>no head at all</html>");
}

#[test]
fn answers_of_two_lengths_are_502() {
    let house = House::new();

    for lines in [
        "content-length: 4\r\ncontent-length: 5\r\n",
        "content-length: 2x\r\n",
        "content-length: -4\r\n",
        "content-length: +4\r\n",
        "content-length: 0x4\r\n",
        "content-length: 4, 5\r\n",
        "content-length: 4, 4\r\n",
        "content-length:\r\n",
        "content-length: 4 4\r\n",
        "content-length: 18446744073709551616\r\n",
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 4\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, gzip\r\n",
        "transfer-encoding: identity\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding:\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
    ] {
        is_502(
            &house,
            format!("HTTP/1.1 200 OK\r\n{lines}\r\n4\r\nevil\r\n0\r\n\r\n"),
        );
    }
    is_502(
        &house,
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nevil\r\n0\r\n\r\n",
    );
    for lines in [
        "content-length: 4, 5\r\n",
        "content-length: x\r\n",
        "content-length: 4\r\ncontent-length: 5\r\n",
    ] {
        let came = told(&house, "HEAD", format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
        assert_eq!(came[0].0, 502, "{lines:?}");
    }
}

#[test]
fn fields_that_are_none_are_502() {
    let house = House::new();

    for lines in [
        "X: a\0b\r\n",
        "X: a\rb\r\n",
        "X: a\u{7f}b\r\n",
        "X: a\u{1}b\r\n",
        "X : a\r\n",
        "X\r\n",
        ": a\r\n",
        "X(): a\r\n",
        "X: a\r\n folded\r\n",
        " X: a\r\n",
        "X\0: a\r\n",
        "X: a\r\rSet-Cookie: evil\r\n",
    ] {
        is_502(
            &house,
            format!("HTTP/1.1 200 OK\r\n{lines}content-length: 4\r\n\r\nevil"),
        );
    }
    is_502(
        &house,
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(2 << 20)),
    );
    is_502(
        &house,
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(20_000)),
    );
    is_502(
        &house,
        format!("HTTP/1.1 200 {}\r\n\r\n", "y".repeat(2 << 20)),
    );
}

#[test]
fn interim_answers_are_dropped_and_bounded() {
    let house = House::new();
    let interim =
        |line: &str, count: usize| format!("HTTP/1.1 {line}\r\nLink: </x>\r\n\r\n").repeat(count);

    for (line, count) in [
        ("100 Continue", 1),
        ("102 Processing", 100),
        ("103 Early Hints", 1000),
        ("199 X", 3),
    ] {
        let came = told(&house, "POST", interim(line, count) + FINE);
        assert_eq!(came[0], (200, b"fine".to_vec()), "{line}");
    }
    is_502(&house, interim("102 Processing", 20_000) + FINE);
    is_502(&house, interim("100 Continue", 1));
    is_502(
        &house,
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    );
    is_502(
        &house,
        interim("100 Continue", 2) + "HTTP/1.1 101 X\r\n\r\n",
    );
}

#[test]
fn what_stands_behind_an_answer_is_given_to_nobody() {
    let house = House::new();
    let evil = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";

    for (method, answer) in [
        ("GET", format!("{FINE}{evil}")),
        ("GET", format!("HTTP/1.1 204 No\r\n\r\n{evil}")),
        (
            "GET",
            format!("HTTP/1.1 304 No\r\ncontent-length: 44\r\n\r\n{evil}"),
        ),
        (
            "GET",
            format!("HTTP/1.1 204 No\r\ncontent-length: 4\r\n\r\nevil{evil}"),
        ),
        (
            "GET",
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{evil}"),
        ),
        (
            "HEAD",
            format!("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil{evil}"),
        ),
    ] {
        for _ in 0..5 {
            house
                .mirror
                .answer_next(Reply::Stay(answer.clone().into_bytes()));
            let (mut one, mut two) = (house.gateway.connect(), house.gateway.connect());
            let first = one.ask(method, "/x", &[], b"");
            assert!(first.status < 400 && first.text() != "evil", "{answer:?}");
            for raw in [&mut two, &mut one] {
                assert_eq!(
                    raw.ask("POST", "/y", &[], b"z").text(),
                    "fine",
                    "{answer:?}"
                );
            }
        }
    }
}

#[test]
fn an_answer_without_body_has_no_length_that_says_otherwise() {
    let house = House::new();

    house.mirror.answer_next(Reply::Stay(
        b"HTTP/1.1 204 No\r\ncontent-length: 4\r\n\r\n".to_vec(),
    ));
    let answer = house.gateway.connect().ask("GET", "/x", &[], b"");
    assert_eq!(
        (answer.status, answer.fields.get("content-length")),
        (204, None)
    );

    house.mirror.answer_next(Reply::Stay(
        b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n".to_vec(),
    ));
    let answer = house.gateway.connect().ask("HEAD", "/x", &[], b"");
    assert_eq!(
        (answer.status, answer.fields.get("content-length")),
        (200, Some("40"))
    );
}

#[test]
fn a_body_that_breaks_after_the_head_is_seen_to_be_cut() {
    let house = House::new();
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nwell\r\n";

    for answer in [
        format!("{chunked}ZZ\r\nevil\r\n0\r\n\r\n"),
        format!("{chunked}4\r\nevilX\r\n0\r\n\r\n"),
        format!("{chunked}4\nevil\r\n0\r\n\r\n"),
        format!("{chunked}-4\r\nevil\r\n0\r\n\r\n"),
        format!("{chunked}fffffffffffffffff\r\nevil\r\n0\r\n\r\n"),
        format!("{chunked}40\r\nhalf"),
        chunked.to_owned(),
        "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\nwell".to_owned(),
    ] {
        house
            .mirror
            .answer_next(Reply::Close(answer.clone().into_bytes()));
        let mut raw = house.gateway.connect();
        raw.send("GET", "/x", &[], b"");
        let head = raw.try_read_head("GET");
        assert!(head.is_ok_and(|head| head.status == 200), "{answer:?}");
        let mut read = Vec::new();
        let cut = loop {
            match raw.try_read_piece() {
                Ok(Some(piece)) => read.extend(piece),
                Ok(None) => break false,
                Err(_) => break true,
            }
        };
        assert!(
            cut,
            "{answer:?} looks whole: {:?}",
            String::from_utf8_lossy(&read)
        );

        house
            .mirror
            .answer_next(Reply::Close(answer.clone().into_bytes()));
        let mut client = Frames::connect(house.gateway.address);
        let reply = client.ask(1, &request("GET", "/x"), b"");
        assert!(
            !reply.ended && reply.reset.is_some(),
            "{answer:?}: {reply:?}"
        );
    }
}

#[test]
fn fields_of_the_backends_connection_stay_there() {
    let house = House::new();
    let lines = "Connection: keep-alive, X-Inner\r\nKeep-Alive: timeout=5\r\nX-Inner: 1\r\nUpgrade: h2c\r\n\
                 Proxy-Authenticate: Basic\r\nTrailer: X\r\nTE: x\r\nX-Switchback-Shadow: 1\r\nX-Kept: 1\r\n";

    house.mirror.answer_next(Reply::Stay(
        format!("HTTP/1.1 200 OK\r\n{lines}content-length: 0\r\n\r\n").into_bytes(),
    ));
    let answer = house.gateway.connect().ask("GET", "/x", &[], b"");

    let mut names: Vec<String> = answer
        .fields
        .0
        .iter()
        .map(|(n, _)| n.to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "x-kept"]);
}

#[test]
fn trailers_of_answers_are_never_taken_for_fields() {
    let house = House::new();
    let answer = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\
                  Content-Length: 9\r\nSet-Cookie: evil\r\nX-Sum: 1\r\n\r\n";

    house
        .mirror
        .answer_next(Reply::Stay(answer.as_bytes().to_vec()));
    let mut raw = house.gateway.connect();
    let came = raw.ask("GET", "/x", &[("te", "trailers")], b"");
    assert_eq!(
        (came.text().as_str(), came.fields.get("set-cookie")),
        ("fine", None)
    );
    assert_eq!(raw.ask("GET", "/y", &[], b"").text(), "fine");
}
