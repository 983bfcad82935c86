//! The same bytes, read by the gateway and by the strict reading beside it: what the backend gets
//! must be what the strict reading says, request by request, and nothing else.

use super::hostile::{House, LAST, answers};
use super::strict::{self, Message, Reading};

/// Seeds the mutations, when set: the number that a failed run has printed.
const SEED: &str = "SWITCHBACK_SEED";

/// Sends this many mutated requests through a gateway; how many reached the backend.
pub fn run(requests: usize) -> usize {
    let seed = std::env::var(SEED).map_or(0x5eed, |seed| seed.parse().expect("a number"));
    println!("{SEED}={seed}");
    let house = House::new();
    let mut random = Random(seed);
    (0..requests)
        .map(|number| {
            let mut bytes = random.pick(&ORIGINALS).replace('~', "\r\n").into_bytes();
            for _ in 0..random.below(4) {
                mutate(&mut bytes, &mut random);
            }
            check(
                &house,
                &bytes,
                &format!("request {number} of {SEED}={seed}"),
            )
        })
        .sum()
}

/// Requests that are sound; `~` ends a line.
const ORIGINALS: [&str; 10] = [
    "GET /a HTTP/1.1~Host: h~~",
    "GET /a?b=c HTTP/1.1~Host: h:80~Accept: */*~~",
    "POST /a HTTP/1.1~Host: h~Content-Length: 5~~hello",
    "POST /a HTTP/1.1~Host: h~Transfer-Encoding: chunked~~5~hello~0~~",
    "POST /a HTTP/1.1~Host: h~Transfer-Encoding: chunked~~2;x=y~he~3~llo~0~X-Sum: 1~~",
    "PUT /a HTTP/1.1~Host: h~Content-Length: 44~~GET /smuggled HTTP/1.1~Host: h~X: 1234567~~~",
    "GET http://b/a HTTP/1.1~Host: a~~",
    "GET /1 HTTP/1.1~Host: h~~POST /2 HTTP/1.1~Host: h~Content-Length: 2~~okGET /3 HTTP/1.1~Host: h~~",
    "GET /a HTTP/1.0~Host: h~Connection: keep-alive~~",
    "DELETE /a/b HTTP/1.1~Host: h~Connection: X-A, keep-alive~X-A: b~Cookie: c=d~~",
];

/// What mutations put in: pieces that some reader somewhere takes for something else.
const PIECES: [&str; 64] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    " ",
    "\t",
    "\u{b}",
    "\u{c}",
    ":",
    ";",
    ",",
    "#",
    "?",
    "/",
    "\\",
    "..",
    "/../",
    "%2e",
    "%2f",
    "%00",
    "*",
    "@",
    "\"",
    "0",
    "1",
    "5",
    "+",
    "-",
    "0x",
    "_",
    "é",
    "\u{a0}",
    "\r\n\r\n",
    "\n\n",
    "\r\n ",
    "\r\n\t",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Content-Length: 6\r\n",
    "content-length:5\r\n",
    "Content-Length: 5, 5\r\n",
    "Content-Length : 5\r\n",
    "Content_Length: 5\r\n",
    "Transfer-Encoding: chunked\r\n",
    "transfer-encoding:CHUNKED\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding: gzip, chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Transfer-Encoding:\u{b}chunked\r\n",
    "Transfer_Encoding: chunked\r\n",
    "Host: i\r\n",
    "Host:\r\n",
    "Host: a b\r\n",
    "Connection: close\r\n",
    "Connection: content-length\r\n",
    "Upgrade: h2c\r\n",
    "Expect: 100-continue\r\n",
    "X: y\r\n",
    "0\r\n\r\n",
    "5\r\nhello\r\n",
    "HTTP/1.0",
    "HTTP/1.1",
    "http://h/",
    "chunked",
];

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let until = (at + 1 + random.below(3)).min(bytes.len());
    match random.below(8) {
        0 => drop(bytes.drain(at..until)),
        1 => {
            let copied = bytes[at..until].to_vec();
            bytes.splice(at..at, copied);
        }
        2 | 3 => drop(bytes.splice(at..at, random.pick(&PIECES).bytes())),
        4 => drop(bytes.splice(at..until, random.pick(&PIECES).bytes())),
        5 => {
            let (begin, _) = a_line(bytes, random);
            bytes.splice(begin..begin, random.pick(&PIECES).bytes());
        }
        6 => {
            let (begin, end) = a_line(bytes, random);
            let line = bytes[begin..end].to_vec();
            bytes.splice(begin..begin, line);
        }
        _ => {
            for byte in &mut bytes[at..until] {
                *byte = match random.below(3) {
                    0 => byte.to_ascii_uppercase(),
                    1 => *byte ^ 1 << random.below(8),
                    _ => random.below(256) as u8,
                };
            }
        }
    }
}

/// Where some line begins and where it ends.
fn a_line(bytes: &[u8], random: &mut Random) -> (usize, usize) {
    let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    let mut starts: Vec<usize> = ends.map(|(at, _)| at + 1).collect();
    starts.insert(0, 0);
    let line = random.below(starts.len());
    let end = starts.get(line + 1).copied().unwrap_or(bytes.len());
    (starts[line], end)
}

/// Both readings of the same bytes; how many requests reached the backend.
fn check(house: &House, bytes: &[u8], which: &str) -> usize {
    let shown = bytes.escape_ascii().to_string();
    let whole = [bytes, LAST.as_bytes()].concat();
    let (expected, rest) = strict::read_all(&whole);
    let _shown = ShownOnPanic(format!("{which}: {shown}"));
    let mut raw = house.gateway.connect();
    raw.write_as_far_as_taken(&whole);
    let mut got = Vec::new();
    // Where the last request was swallowed as somebody's body, nobody says that it was the last.
    let stays_open = rest.is_none() && !expected.last().is_some_and(Message::is_last);
    if stays_open || rest == Some(Reading::Partial) {
        // What is whole is answered; then the client leaves, perhaps in the middle of the rest.
        let mut left = expected.len();
        while left > 0 {
            let Ok(answer) = raw.try_read("GET") else {
                break;
            };
            left -= usize::from(answer.status >= 200);
            got.push(answer.status);
        }
        raw.try_finish_writing();
    }
    got.extend(
        answers(&raw.read_to_close())
            .iter()
            .map(|answer| answer.status),
    );
    got.retain(|status| *status >= 200);
    let (seen, _) = house.mirror.take();

    let same = |(one, two): (&Message, &Message)| says(one) == says(two);
    assert!(
        seen.len() <= expected.len() && seen.iter().zip(&expected).all(same),
        "{which}: {shown}\nthe backend got {seen:#?}\ninstead of {expected:#?}"
    );
    let fine = got.iter().take_while(|status| **status == 200).count();
    assert_eq!(
        fine,
        seen.len(),
        "{which}: {shown}\nanswers {got:?}, backend {seen:#?}"
    );
    if seen.len() < expected.len() {
        // Sound by the letter, refused by choice: that ends the connection.
        assert!(
            matches!(got[fine..], [400 | 405 | 417]),
            "{which}: {shown}\nanswers {got:?} to {expected:#?}, then {rest:?}"
        );
    }
    seen.len()
}

/// Says which bytes a test stopped at, where that was only noticed further down.
struct ShownOnPanic(String);

impl Drop for ShownOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

/// What a request says: its method, host and target, and its body.
fn says(message: &Message) -> (&str, String, String, &[u8]) {
    (
        &message.method,
        message.host(),
        message.path(),
        &message.body,
    )
}

/// Numbers without end from a seed (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}
