//! Connections, and streams, that are over while their clients are still there.

use std::time::{Duration, Instant};

use crate::support::PATIENCE;
use crate::support::backend::Backend;
use crate::support::frames::{Frame, Frames, Reply, code, flag, kind, request};
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::h2_backend::H2Backend;
use crate::support::hostile::House;
use crate::support::routes::route_with;

/// A request that is refused, behind which nothing is read as one.
const REFUSED: &str = "GET /#x HTTP/1.1\r\nHost: h\r\n\r\n";

/// More than a client may send before it is given more room, on a stream and on a connection.
const UPLOAD_BYTES: usize = 400_000;

fn wait_for_hit(gateway: &Gateway, limit: &str) {
    let until = Instant::now() + PATIENCE;
    while hits(gateway, limit) == 0 {
        assert!(Instant::now() < until, "nobody ran into {limit}");
        pass(Duration::from_millis(10));
    }
}

fn hits(gateway: &Gateway, limit: &str) -> u64 {
    let line = format!("switchback_limits_hit_total{{limit=\"{limit}\"}} ");
    let page = gateway.admin.text("/metrics");
    let hit = page.lines().find_map(|l| l.strip_prefix(&line));
    hit.map_or(0, |number| number.parse().unwrap())
}

/// A gateway that refuses bodies of more than a hundred bytes.
fn strict(backend: &Backend, limits: &str) -> Gateway {
    let config = route_with("http", &[("v1", &backend.url(), 1)], &["max_body: 100"]);
    Gateway::start_with_workers(1, &format!("{config}limits: {{ {limits} }}\n"))
}

/// Begins an upload that is too long, and reads the answer to it.
fn refused(client: &mut Frames, stream: u32) -> Reply {
    let mut fields = request("POST", "/");
    fields.push((b"content-length".to_vec(), UPLOAD_BYTES.to_string().into()));
    client.head(stream, &fields, 0);
    client.reply(stream)
}

/// Sends a body as far as there is room for it, which was told with the answer; returns what is left, and the code of a reset.
fn upload(client: &mut Frames, stream: u32, length: usize) -> (usize, Option<u32>) {
    let (mut left, mut room) = (length, [4 * 65_536, 65_536]);
    while left > 0 {
        let piece = left.min(16_384).min(room[0].min(room[1]));
        if piece > 0 {
            (left, room) = (left - piece, room.map(|bytes| bytes - piece));
            let flags = if left == 0 { flag::END_STREAM } else { 0 };
            client.data(stream, vec![b'x'; piece], flags);
            continue;
        }
        let frame = client.read().expect("a connection that goes on");
        let number = || u32::from_be_bytes(frame.payload[..4].try_into().unwrap());
        match frame.kind {
            kind::RST_STREAM => return (left, Some(number())),
            kind::WINDOW_UPDATE => room[usize::from(frame.stream != 0)] += number() as usize,
            _ => {}
        }
    }
    (left, None)
}

/// Whether a stream is reset before the other side answers a ping.
fn is_reset(client: &mut Frames, stream: u32) -> bool {
    client.send(&Frame::new(kind::PING, 0, 0, [7; 8]));
    let frames = std::iter::from_fn(|| client.read());
    let mut before = frames.take_while(|f| f.kind != kind::PING || f.flags & flag::ACK == 0);
    before.any(|f| (f.kind, f.stream) == (kind::RST_STREAM, stream))
}

#[test]
fn who_stays_is_not_waited_for_for_ever() {
    let house = House::with("limits: { linger: 200ms }\n");
    let mut client = house.gateway.connect();

    client.write(REFUSED);

    assert_eq!(client.read("GET").status, 400);
    wait_for_hit(&house.gateway, "linger");
}

#[test]
fn who_goes_on_sending_gets_the_answer_and_is_cut_off_at_the_bound() {
    let house = House::with("limits: { linger: 1m, linger_bytes: 100000 }\n");
    let mut client = house.gateway.connect();

    client.write(REFUSED);
    client.write(vec![b'x'; 50_000]);
    assert_eq!(client.read("GET").status, 400);
    client.write_as_far_as_taken(vec![b'x'; 4_000_000]);

    wait_for_hit(&house.gateway, "linger_bytes");
}

#[test]
fn an_upload_over_http2_that_is_refused_may_be_sent_to_its_end() {
    let backend = Backend::fixed(200, "fine");
    let gateway = strict(&backend, "linger: 1m");

    for _ in 0..2 {
        let mut client = Frames::connect(gateway.address);
        let reply = refused(&mut client, 1);
        assert_eq!((reply.status, reply.ended), (Some(413), true));
        assert_eq!(upload(&mut client, 1, UPLOAD_BYTES), (0, None));

        assert!(!is_reset(&mut client, 1), "it is over, not taken back");
        assert_eq!(client.ask(3, &request("GET", "/"), b"").status, Some(200));
    }
    assert_eq!(hits(&gateway, "linger") + hits(&gateway, "linger_bytes"), 0);
}

#[test]
fn a_stream_that_is_answered_waits_so_long_for_its_client_and_no_longer() {
    let backend = Backend::fixed(200, "fine");
    let gateway = strict(&backend, "linger: 200ms");
    let mut client = Frames::connect(gateway.address);

    assert_eq!(refused(&mut client, 1).status, Some(413));
    let reset = client.reply(1).reset;

    assert_eq!(reset, Some(code::NO_ERROR));
    assert_eq!(hits(&gateway, "linger"), 1);
    assert_eq!(client.ask(3, &request("GET", "/"), b"").status, Some(200));
}

#[test]
fn a_stream_that_is_answered_takes_so_much_of_its_client_and_no_more() {
    let backend = Backend::fixed(200, "fine");
    let gateway = strict(&backend, "linger: 1m, linger_bytes: 100000");
    let mut client = Frames::connect(gateway.address);

    assert_eq!(refused(&mut client, 1).status, Some(413));
    let (left, reset) = upload(&mut client, 1, UPLOAD_BYTES);

    assert_eq!(reset, Some(code::NO_ERROR));
    assert!((1..UPLOAD_BYTES - 100_000).contains(&left), "{left} left");
    assert_eq!(hits(&gateway, "linger_bytes"), 1);
    assert_eq!(client.ask(3, &request("GET", "/"), b"").status, Some(200));
}

/// A gateway before a backend that speaks HTTP/2.
fn before(backend: &H2Backend) -> Gateway {
    let config = format!(
        "backends:\n  v1:\n    http2: true\n    http2_connections: 1\n    endpoints: [\"{}\"]\n\
         routes: [{{ name: all, match: {{ path: / }}, protocol: http, split: {{ v1: 1 }} }}]\n\
         limits: {{ linger: 1m }}\n",
        backend.url()
    );
    Gateway::start_with_workers(1, &config)
}

#[test]
fn an_upload_that_a_backend_over_http2_answers_early_may_be_sent_to_its_end() {
    let backend = H2Backend::start(None, 100);
    let gateway = before(&backend);

    for _ in 0..20 {
        let mut client = Frames::connect(gateway.address);
        client.head(1, &request("POST", "/early"), 0);
        let reply = client.reply(1);
        assert_eq!((reply.status, reply.ended), (Some(200), true));

        assert_eq!(upload(&mut client, 1, UPLOAD_BYTES), (0, None));
        assert!(!is_reset(&mut client, 1), "it is over, not taken back");
    }
}

#[test]
fn a_backend_over_http2_that_answers_and_reads_no_more_is_sent_no_more() {
    // Room for one stream: what is left of the last would keep the next one out.
    let backend = H2Backend::start(None, 1);
    let gateway = before(&backend);
    let taken_back = |count| backend.wait_for("streams taken back", |log| log.taken_back == count);

    for number in 1..=5 {
        let mut client = Frames::connect(gateway.address);
        client.head(1, &request("POST", "/deaf"), 0);
        let reply = client.reply(1);
        assert_eq!((reply.status, reply.ended), (Some(200), true));
        taken_back(2 * number - 1);
        assert_eq!(upload(&mut client, 1, UPLOAD_BYTES), (0, None));
        assert!(!is_reset(&mut client, 1), "it is over, not taken back");

        let mut client = gateway.connect();
        client.write("POST /deaf HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
        client.write([b'x'; 100_000]);
        assert_eq!(client.read("POST").text(), "hello");
        taken_back(2 * number);
    }
    assert_eq!(gateway.get("/").text(), "hello");
}

#[test]
fn what_a_backend_over_http2_has_no_room_for_is_taken_back_though_its_client_has_sent_it_all() {
    // Room for one stream, and for less than is sent.
    let backend = H2Backend::start(None, 1);
    let gateway = before(&backend);

    for number in 1..=5 {
        let mut client = gateway.connect();
        client.send("POST", "/deaf", &[], &[b'x'; 100_000]);
        assert_eq!(client.read("POST").text(), "hello");
        backend.wait_for("streams taken back", |log| log.taken_back == number);
        assert_eq!(gateway.get("/").text(), "hello");
    }
}

#[test]
fn who_leaves_while_a_backend_over_http2_reads_no_more_is_taken_back_there() {
    let backend = H2Backend::start(None, 100);
    let gateway = before(&backend);
    for number in 1..=5 {
        let mut client = Frames::connect(gateway.address);
        client.head(1, &request("POST", "/deaf/long"), 0);
        let data = [b'x'; 16_000];
        (0..4).for_each(|_| assert!(client.data(1, data, 0)));
        // The backend has answered, and there is room for more.
        let (mut is_answered, mut has_room) = (false, false);
        while !(is_answered && has_room) {
            let frame = client.read().expect("a connection that goes on");
            is_answered |= frame.kind == kind::HEADERS;
            has_room |= (frame.kind, frame.stream) == (kind::WINDOW_UPDATE, 1);
        }
        // More than the backend takes.
        (0..2).for_each(|_| assert!(client.data(1, data, 0)));
        assert!(!is_reset(&mut client, 1));

        client.send(&Frame::new(
            kind::RST_STREAM,
            0,
            1,
            code::CANCEL.to_be_bytes(),
        ));

        backend.wait_for("streams taken back", |log| log.taken_back == number);
    }
}

#[test]
fn an_upload_in_short_pieces_that_a_backend_does_not_read_harms_no_others() {
    const PIECE: [u8; 20] = [b'x'; 20];
    let backend = H2Backend::start(None, 100);
    let gateway = before(&backend);
    let mut client = Frames::connect(gateway.address);
    client.head(1, &request("POST", "/deaf/long"), 0);

    // As much as the backend takes, and nearly half of that.
    let mut room = 65_536;
    for _ in 0..(65_536 + 30_000) / PIECE.len() {
        while room < PIECE.len() {
            let frame = client.read().expect("a connection that goes on");
            if (frame.kind, frame.stream) == (kind::WINDOW_UPDATE, 1) {
                room += u32::from_be_bytes(frame.payload[..4].try_into().unwrap()) as usize;
            }
        }
        room -= PIECE.len();
        assert!(client.data(1, PIECE, 0));
    }

    assert!(!is_reset(&mut client, 1));
    assert_eq!(client.ask(3, &request("GET", "/"), b"").status, Some(200));
}

#[test]
fn the_time_of_a_client_that_still_sends_begins_when_its_answer_is_written() {
    let backend = Backend::fixed(200, "fine");
    let gateway = strict(&backend, "linger: 1s");
    let mut client = Frames::connect(gateway.address);
    // No room for an answer's body, for longer than the time.
    client.send(&Frame::new(kind::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]));
    let mut fields = request("POST", "/");
    fields.push((b"content-length".to_vec(), UPLOAD_BYTES.to_string().into()));
    client.head(1, &fields, 0);
    let head = std::iter::from_fn(|| client.read()).find(|frame| frame.kind == kind::HEADERS);
    assert!(head.is_some());
    pass(Duration::from_millis(1500));

    client.send(&Frame::new(kind::WINDOW_UPDATE, 0, 1, [0, 1, 0, 0]));
    let reply = client.reply(1);

    assert!(reply.ended && reply.reset.is_none(), "{reply:?}");
    assert!(!is_reset(&mut client, 1), "it has all of its time");
    assert_eq!(client.reply(1).reset, Some(code::NO_ERROR));
}

#[test]
fn as_much_as_may_be_sent_is_no_more_than_that() {
    let backend = Backend::fixed(200, "fine");
    let gateway = strict(&backend, "linger: 1m, linger_bytes: 400000");
    let mut client = Frames::connect(gateway.address);

    assert_eq!(refused(&mut client, 1).status, Some(413));
    assert_eq!(upload(&mut client, 1, UPLOAD_BYTES), (0, None));

    assert!(!is_reset(&mut client, 1));
    assert_eq!(hits(&gateway, "linger_bytes"), 0);
}

#[test]
fn an_answer_to_head_has_no_body_whoever_gives_it() {
    let backend = Backend::fixed(200, "fine");
    let gateway = strict(&backend, "linger: 1s");
    let mut client = Frames::connect(gateway.address);

    // From the backend, and refused: its body would be longer than it may.
    let told = client.ask(1, &request("HEAD", "/"), b"");
    let refused = client.ask(3, &request("HEAD", "/"), &[b'x'; 200]);

    for (reply, status) in [(told, 200), (refused, 413)] {
        assert_eq!((reply.status, reply.ended), (Some(status), true));
        assert!(reply.body.is_empty(), "{reply:?}");
    }
}
