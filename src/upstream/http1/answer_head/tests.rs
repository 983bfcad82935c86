//! Heads of answers, held against what another reader makes of the same bytes.

use proptest::prelude::*;

use super::*;

/// The version of a head, its code, its fields by name, and how long it is.
type Read = (u8, u16, Vec<(String, Vec<u8>)>, usize);

fn sorted((version, code, mut fields, length): Read) -> Read {
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    (version, code, fields, length)
}

/// What httparse makes of it, which takes codes below 100, too.
fn httparses(bytes: &[u8]) -> Option<Read> {
    let mut room = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut room);
    let Ok(httparse::Status::Complete(length)) = head.parse(bytes) else {
        return None;
    };
    let field = |field: &httparse::Header<'_>| (field.name.to_lowercase(), field.value.to_vec());
    let fields = head.headers.iter().map(field).collect();
    let code = head.code.filter(|code| *code >= 100)?;
    Some(sorted((head.version?, code, fields, length)))
}

/// What is made of it here.
fn ours(bytes: &[u8]) -> Option<Read> {
    // A line that is kept, as from the third time on, says what it said the first time.
    let lines = Lines::default();
    let read = [None, Some(&lines), Some(&lines), Some(&lines)];
    let [first, others @ ..] = read.map(|lines| with_lines(bytes, lines));
    assert!(others.iter().all(|other| *other == first));
    first.map(|(read, _)| read)
}

/// The same, and what its fields say of the connection.
fn with_lines(bytes: &[u8], lines: Option<&Lines>) -> Option<(Read, String)> {
    let all = bytes.len();
    let mut bytes = Bytes::copy_from_slice(bytes);
    skip_empty_lines(&mut bytes);
    let skipped = all - bytes.len();
    let (line, begin) = line(&bytes, 0)?;
    let (version, code) = status(line).ok()?;
    let mut map = HeaderMap::new();
    let (said, length) = fields((&bytes, begin), lines, &mut map).ok()??;
    let said = format!("{said:?}");
    let field = |(name, value): (&HeaderName, &HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().to_vec())
    };
    let fields = map.iter().map(field).collect();
    let version = u8::from(version == Version::HTTP_11);
    let read = sorted((version, code.as_u16(), fields, skipped + length));
    Some((read, said))
}

/// Pieces that heads are made of, and some that they are not.
const PIECES: [&str; 33] = [
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.0 404\r\n",
    "HTTP/1.1 999 \t x\n",
    "HTTP/1.1 099 X\r\n",
    "HTTP/1.1  200 OK\r\n",
    "HTTP/2.0 200 OK\r\n",
    "HTTP/1.1 20",
    "\r\n",
    "\n",
    "\r",
    "a: b\r\n",
    "A-Long-Name:\t value of it \t\r\n",
    "A-Long-Name: d\u{e9}j\u{e0} vu\r\n",
    "Content-Length: 7\r\n",
    "Connection: close, x\r\n",
    "x:\r\n",
    "x: \u{e9}\r\n",
    "x: a\u{7f}b\r\n",
    "x: a\0b\r\n",
    "x: a\rb\r\n",
    "x: a\r\r\n",
    ": empty\r\n",
    " folded\r\n",
    "space : x\r\n",
    "\"quoted\": x\r\n",
    "Content-Length: 12\r\n",
    "x: y: z\n",
    "name",
    ":",
    " ",
    "value",
    "HTTP/1.1 200\t\r\n",
    "HTTP/1.1 200OK\r\n",
];

proptest! {
    #[test]
    fn a_head_is_read_as_by_another_reader(pieces in prop::collection::vec(0..PIECES.len(), 0..9), whole: bool) {
        let mut head: String = if whole { PIECES[0].to_owned() } else { String::new() };
        head.extend(pieces.iter().map(|piece| PIECES[*piece]));
        head.push_str("\r\n\r\n");

        prop_assert_eq!(ours(head.as_bytes()), httparses(head.as_bytes()));
    }

    #[test]
    fn any_bytes_are_read_as_by_another_reader(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        place in 0..60usize,
    ) {
        let mut head = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-type: text/plain; a=b\r\n\r\n".to_vec();
        for (at, byte) in bytes.iter().enumerate().filter(|(_, byte)| **byte < 200) {
            let at = (place + at * 7) % head.len();
            if byte % 16 == 0 {
                head[at] = byte / 2;
            }
        }

        prop_assert_eq!(ours(&head), httparses(&head));
    }
}

#[test]
fn what_is_about_the_connection_alone_goes_no_further() {
    let left = |lines: &str| {
        let head = format!("HTTP/1.1 200 OK\r\n{lines}x: y\r\n\r\n");
        let (_, _, fields, _) = ours(head.as_bytes())?;
        let mut names: Vec<_> = fields.into_iter().map(|(name, _)| name).collect();
        names.retain(|name| name != "x");
        Some(names.join(" "))
    };

    for nothing in [
        "Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n",
        "connection: Close\r\nconnection: keep-alive , close\r\n",
        "Transfer-Encoding: chunked\r\n",
    ] {
        assert_eq!(left(nothing).as_deref(), Some(""), "{nothing:?}");
    }
    // They name others, which are taken out where the answer is passed on.
    assert_eq!(
        left("connection: upgrade\r\n").as_deref(),
        Some("connection")
    );
    assert_eq!(
        left("connection: close, x\r\n").as_deref(),
        Some("connection")
    );
    assert_eq!(left("connection: \r\n").as_deref(), Some("connection"));
    for wrong in [
        "connection: close\0\r\n",
        "keep-alive: \x7f\r\n",
        "transfer-encoding: chunked\x01\r\n",
    ] {
        assert_eq!(left(wrong), None, "{wrong:?}");
    }
    let many = "connection: close\r\n".repeat(MAX_FIELDS);
    assert_eq!(left(&many), None);
}

/// Whether bytes are the beginning of a head, for the other reader and here.
fn may_go_on(bytes: &[u8]) -> (bool, bool) {
    let mut room = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let theirs = httparse::Response::new(&mut room).parse(bytes).is_ok();
    let mut bytes = Bytes::copy_from_slice(bytes);
    skip_empty_lines(&mut bytes);
    let ours = bytes.is_empty() || read(&bytes, (&Method::HEAD, &Scratch::default())).is_ok();
    (theirs, ours)
}

#[test]
fn what_cannot_become_a_head_is_told_from_one_that_has_not_come() {
    let head = b"\r\n\nHTTP/1.1 204 No\tContent\r\nserver: x\r\nempty:\r\n\r\n";
    for cut in 0..=head.len() {
        assert_eq!(may_go_on(&head[..cut]), (true, true), "{cut}");
        for other in [b'\0', b'\r', b' ', b'x', b':', b'9', b'"', 0x7f] {
            let spoilt = [&head[..cut], &[other][..]].concat();
            let (theirs, ours) = may_go_on(&spoilt);
            // The other one takes codes that there are not.
            assert!(
                theirs == ours || spoilt.starts_with(b"\r\n\nHTTP/1.1 0"),
                "{spoilt:?}"
            );
        }
    }
}
