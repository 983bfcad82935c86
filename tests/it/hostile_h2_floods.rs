//! HTTP/2 clients that send frames for the work that these make, and read nothing.

use crate::support::frames::{Frame, Frames, PREFACE, block, code, flag, kind, request};
use crate::support::hostile::{House, with};

/// Frames that are sent together.
const BATCH: u32 = 200;
/// Most of them that anybody may send before the connection is closed.
const MOST: u32 = 400_000;

/// A flood: its settings, what it begins with, and its n-th step.
struct Flood {
    name: &'static str,
    settings: Vec<u8>,
    first: Vec<u8>,
    step: Box<dyn Fn(u32) -> Vec<u8>>,
}

fn flood(name: &'static str, step: impl Fn(u32) -> Vec<u8> + 'static) -> Flood {
    Flood {
        name,
        settings: Vec::new(),
        first: Vec::new(),
        step: Box::new(step),
    }
}

impl Flood {
    fn after(mut self, first: Vec<u8>) -> Self {
        self.first = first;
        self
    }

    /// From a client that has no room for any answer.
    fn without_room(mut self) -> Self {
        self.settings = vec![0, 4, 0, 0, 0, 0];
        self
    }

    fn hello(&self) -> Vec<u8> {
        let settings = frame(kind::SETTINGS, 0, 0, &self.settings);
        [PREFACE, &settings, &self.first].concat()
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    Frame::new(kind, flags, stream, payload).bytes()
}

/// The n-th stream of a client.
fn nth(n: u32) -> u32 {
    2 * n + 1
}

fn head(stream: u32, flags: u8, method: &str) -> Vec<u8> {
    let block = block(&request(method, "/flood"));
    frame(kind::HEADERS, flags | flag::END_HEADERS, stream, &block)
}

fn get(n: u32) -> Vec<u8> {
    head(nth(n), flag::END_STREAM, "GET")
}

fn post(n: u32) -> Vec<u8> {
    head(nth(n), 0, "POST")
}

fn room(stream: u32, bytes: u32) -> Vec<u8> {
    frame(kind::WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())
}

/// A whole head from these bytes of HPACK, in as many frames as it takes.
fn packed(stream: u32, block: &[u8]) -> Vec<u8> {
    let pieces: Vec<&[u8]> = block.chunks(16_000).collect();
    let mut bytes = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let last = at + 1 == pieces.len();
        let ends = if last { flag::END_HEADERS } else { 0 };
        let (kind, flags) = match at {
            0 => (kind::HEADERS, ends | flag::END_STREAM),
            _ => (kind::CONTINUATION, ends),
        };
        bytes.extend(frame(kind, flags, stream, piece));
    }
    bytes
}

/// A head that puts one field into the table and refers to it again and again, a byte each.
fn bomb(name: &str, references: usize) -> Vec<u8> {
    let mut bytes = vec![0x82, 0x86, 0x41, 1, b'h', 0x44, 6];
    bytes.extend(b"/flood");
    bytes.extend([0x40, name.len() as u8]);
    bytes.extend(name.as_bytes());
    bytes.extend([1, b'a']);
    bytes.extend(vec![0x80 | 0x3E; references]);
    bytes
}

/// Streams that the gateway is made to reset (CVE-2025-8671).
fn made_to_reset() -> Vec<Flood> {
    let too_long = with("POST", &[("content-length", "9")]);
    let of_length = move |n: u32, bytes: &[u8]| {
        let head = frame(kind::HEADERS, flag::END_HEADERS, nth(n), &block(&too_long));
        [head, frame(kind::DATA, flag::END_STREAM, nth(n), bytes)].concat()
    };
    let malformed = block(&with("GET", &[("connection", "close")]));
    let itself = |stream: u32| [&stream.to_be_bytes()[..], &[0]].concat();
    vec![
        flood("no room", |n| [get(n), room(nth(n), 0)].concat()),
        flood("no room, open", |n| [post(n), room(nth(n), 0)].concat()),
        flood("too much room", |n| {
            [get(n), room(nth(n), 0x7fff_ffff)].concat()
        }),
        flood("too much room, open", |n| {
            [post(n), room(nth(n), 0x7fff_ffff)].concat()
        }),
        flood("data behind the end", |n| {
            [get(n), frame(kind::DATA, flag::END_STREAM, nth(n), b"x")].concat()
        }),
        flood("a second head", |n| [get(n), get(n)].concat()),
        flood("a short body", {
            let of_length = of_length.clone();
            move |n| of_length(n, b"x")
        }),
        flood("a long body", move |n| of_length(n, &[b'x'; 20])),
        flood("malformed", move |n| {
            let flags = flag::END_HEADERS | flag::END_STREAM;
            frame(kind::HEADERS, flags, nth(n), &malformed)
        }),
        flood("of itself", move |n| {
            [get(n), frame(kind::PRIORITY, 0, nth(n), &itself(nth(n)))].concat()
        }),
        flood("trailers without end", |n| {
            let trailers = block(&[("x", "y")]);
            let trailers = frame(kind::HEADERS, flag::END_HEADERS, nth(n), &trailers);
            [post(n), trailers].concat()
        }),
    ]
}

fn of_resets() -> Vec<Flood> {
    let cancel = |n: u32| frame(kind::RST_STREAM, 0, nth(n), &code::CANCEL.to_be_bytes());
    vec![
        flood("rapid resets", move |n| [get(n), cancel(n)].concat()),
        flood("rapid resets, open", move |n| [post(n), cancel(n)].concat()),
        flood("resets of one stream", move |_| cancel(0)).after(get(0)),
    ]
}

fn of_heads() -> Vec<Flood> {
    let long = block(&[("x", "y".repeat(16_000))]);
    let open = || frame(kind::HEADERS, 0, 1, &block(&request("GET", "/flood")));
    let next = |payload: Vec<u8>| move |_| frame(kind::CONTINUATION, 0, 1, &payload);
    vec![
        flood("long continuations", next(long)).after(open()),
        flood("empty continuations", next(Vec::new())).after(open()),
        flood("short continuations", next(vec![0x80 | 0x3E])).after(open()),
        flood("thousands of fields", |n| packed(nth(n), &bomb("a", 4000))).without_room(),
        flood("thousands of crumbs", |n| {
            packed(nth(n), &bomb("cookie", 8000))
        })
        .without_room(),
        flood("a field too many", |n| packed(nth(n), &bomb("a", 101))).without_room(),
        flood("as many crumbs as may be", |n| {
            packed(nth(n), &bomb("cookie", 90))
        })
        .without_room(),
        flood("a head in 20 frames", |n| {
            packed(nth(n), &bomb("a", 300_000))
        }),
    ]
}

fn of_control_frames() -> Vec<Flood> {
    let many: Vec<u8> = [0, 4, 0, 0, 0xff, 0xff].repeat(2000);
    let priority = |n: u32| [&0_u32.to_be_bytes()[..], &[n as u8]].concat();
    vec![
        flood("settings", |_| frame(kind::SETTINGS, 0, 0, b"")),
        flood("many settings", move |_| frame(kind::SETTINGS, 0, 0, &many)),
        flood("pings", |_| frame(kind::PING, 0, 0, b"12345678")),
        flood("answers to pings", |_| {
            frame(kind::PING, flag::ACK, 0, b"12345678")
        }),
        flood("priorities", move |n| {
            frame(kind::PRIORITY, 0, nth(n % 1000), &priority(n))
        }),
        flood("unknown", |_| frame(0x55, 0xff, 0, &[b'x'; 100])),
        flood("empty and unknown", |_| frame(0x55, 0, 0, b"")),
        flood("room for all", |_| room(0, 1)),
        flood("room for one", |_| room(1, 1)).after(get(0)),
    ]
}

fn of_data() -> Vec<Flood> {
    let data = |flags, payload: &'static [u8]| move |_| frame(kind::DATA, flags, 1, payload);
    vec![
        flood("empty data", data(0, b"")).after(post(0)),
        flood("short data", data(0, b"x")).after(post(0)),
        flood("padding alone", data(flag::PADDED, b"\x04\0\0\0\0")).after(post(0)),
        flood("data behind the end", data(0, b"xxxxxxxxxxxxxxxxxxxxxxxx")).after(get(0)),
    ]
}

/// Each is cut off, though it reads nothing; hardly anything of it reaches the backend, and others
/// are answered all the while.
fn are_cut_off(floods: Vec<Flood>) {
    let house = House::new();

    for flood in floods {
        let name = flood.name;
        let before = limits_hit(&house);
        let mut abuser = Frames::connect_silently(house.gateway.address);
        let mut sent = 0;
        let mut goes_on = abuser.write(flood.hello());
        while goes_on {
            assert!(sent < MOST, "{name}: goes on after {sent}");
            let batch: Vec<u8> = (sent..sent + BATCH).flat_map(|n| (flood.step)(n)).collect();
            sent += BATCH;
            goes_on = abuser.write(batch);
            if sent % (BATCH * 10) == 0 {
                assert_eq!(house.gateway.get("/other").status, 200, "{name}");
            }
        }
        drop(abuser);

        assert_eq!(house.gateway.get("/other").status, 200, "{name}");
        let (whole, broken) = house.mirror.take();
        let came = broken.len() + whole.iter().filter(|m| m.target == "/flood").count();
        assert!(came * 100 <= sent as usize, "{name}: {came} of {sent}");
        assert!(limits_hit(&house) > before, "{name} is not counted");
    }
    assert_eq!(house.count("panics_total"), 0);
}

/// How often anybody ran into anything that a flood can run into.
fn limits_hit(house: &House) -> usize {
    [
        "limits_hit_total{limit=\"http2_control_frames\"}",
        "limits_hit_total{limit=\"http2_resets\"}",
        "malformed_requests_total",
    ]
    .iter()
    .map(|name| house.count(name))
    .sum()
}

#[test]
fn who_makes_the_gateway_reset_streams_is_cut_off() {
    are_cut_off(made_to_reset());
}

#[test]
fn who_resets_streams_is_cut_off() {
    are_cut_off(of_resets());
}

#[test]
fn heads_without_end_or_measure_are_cut_off() {
    are_cut_off(of_heads());
}

#[test]
fn frames_that_bring_nothing_forward_are_cut_off() {
    are_cut_off(of_control_frames());
}

#[test]
fn bodies_that_bring_nothing_forward_are_cut_off() {
    are_cut_off(of_data());
}

#[test]
fn who_makes_the_gateway_reset_streams_is_told_within_the_budget() {
    const FRAMES: u32 = 50;
    let house = House::with(&format!("limits: {{ http2_control_frames: {FRAMES} }}\n"));

    for flood in made_to_reset() {
        let mut abuser = Frames::connect_silently(house.gateway.address);
        abuser.write(flood.hello());
        // Each stream takes two frames, or one.
        let sent: Vec<u8> = (0..=FRAMES).flat_map(|n| (flood.step)(n)).collect();
        abuser.write(sent);

        let told = abuser.read_to_close();

        let told = told.unwrap_or_else(|| panic!("{} is not told", flood.name));
        let fits = matches!(
            told,
            code::PROTOCOL_ERROR | code::STREAM_CLOSED | code::ENHANCE_YOUR_CALM
        );
        assert!(fits, "{}: {told}", flood.name);
    }
    let (whole, broken) = house.mirror.take();
    assert!(whole.len() + broken.len() <= FRAMES as usize / 2);
}
