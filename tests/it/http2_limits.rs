//! HTTP/2 clients that do much and ask for little, and that do not read what they asked for.

use std::time::Duration;

use crate::support::backend::Backend;
use crate::support::exchange::Exchange;
use crate::support::frames::{Frame, Frames, code, flag, kind, request};
use crate::support::gate::pass;
use crate::support::gateway::Gateway;
use crate::support::routes::through;

fn gateway(backend: &Backend, limits: &str) -> Gateway {
    let config = through(&backend.url());
    Gateway::start_with_workers(1, &format!("{config}limits: {{ {limits} }}\n"))
}

fn hits(gateway: &Gateway, limit: &str) -> u64 {
    let line = format!("switchback_limits_hit_total{{limit=\"{limit}\"}} ");
    let page = gateway.admin.text("/metrics");
    let hit = page.lines().find_map(|l| l.strip_prefix(&line));
    hit.expect("a known limit").parse().unwrap()
}

fn ping() -> Frame {
    Frame::new(kind::PING, 0, 0, [7; 8])
}

/// More room for what is to be read, on a stream or (0) on the connection.
fn room(stream: u32, bytes: u32) -> Frame {
    Frame::new(kind::WINDOW_UPDATE, 0, stream, bytes.to_be_bytes())
}

/// A connection whose streams have no room for an answer.
fn without_room(gateway: &Gateway) -> Frames {
    let mut client = Frames::connect(gateway.address);
    client.send(&Frame::new(kind::SETTINGS, 0, 0, [0, 4, 0, 0, 0, 0]));
    client
}

#[test]
fn who_floods_with_what_brings_nothing_forward_is_told_to_calm_down() {
    let backend = Backend::fixed(200, "fine");
    let gateway = gateway(&backend, "http2_control_frames: 50");
    let floods: [(&str, Vec<Frame>); 6] = [
        ("ping", vec![ping()]),
        ("settings", vec![Frame::new(kind::SETTINGS, 0, 0, [])]),
        ("priority", vec![Frame::new(kind::PRIORITY, 0, 1, [0; 5])]),
        ("room", vec![room(0, 1)]),
        ("unknown", vec![Frame::new(200, 0, 0, [0; 100])]),
        ("long unknown", vec![Frame::new(201, 0, 0, [0; 16_384])]),
    ];

    for (round, (name, frames)) in floods.iter().enumerate() {
        let mut client = Frames::connect(gateway.address);
        for frame in frames.iter().cycle().take(60) {
            client.send(frame);
        }

        assert_eq!(
            client.read_to_close(),
            Some(code::ENHANCE_YOUR_CALM),
            "{name}"
        );
        assert_eq!(hits(&gateway, "http2_control_frames"), round as u64 + 1);
    }
    assert_eq!(gateway.get("/").status, 200);
}

#[test]
fn empty_pieces_of_a_body_are_a_flood_too() {
    let backend = Backend::fixed(200, "fine");
    let gateway = gateway(&backend, "http2_control_frames: 50");
    let mut client = Frames::connect(gateway.address);

    client.head(1, &request("POST", "/"), 0);
    for _ in 0..60 {
        client.data(1, "", 0);
    }

    assert_eq!(client.read_to_close(), Some(code::ENHANCE_YOUR_CALM));
}

#[test]
fn streams_that_are_taken_back_at_once_reach_no_backend_and_end_the_connection() {
    let backend = Backend::fixed(200, "fine");
    let gateway = gateway(&backend, "http2_resets: 10");
    let mut client = Frames::connect(gateway.address);

    let head = |stream| {
        let block = crate::support::frames::block(&request("GET", "/"));
        let flags = flag::END_HEADERS | flag::END_STREAM;
        Frame::new(kind::HEADERS, flags, stream, block).bytes()
    };
    let reset = |stream| Frame::new(kind::RST_STREAM, 0, stream, [0, 0, 0, 8]).bytes();
    let flood: Vec<u8> = (0..200u32)
        .flat_map(|n| [head(2 * n + 1), reset(2 * n + 1)].concat())
        .collect();
    client.write(flood);

    assert_eq!(client.read_to_close(), Some(code::ENHANCE_YOUR_CALM));
    assert!(
        backend.requests().len() <= 2,
        "{}",
        backend.requests().len()
    );
}

#[test]
fn a_block_of_fields_that_never_ends_is_given_up() {
    let backend = Backend::fixed(200, "fine");
    let gateway = gateway(&backend, "request_head: 300ms");
    let mut client = Frames::connect(gateway.address);

    let block = crate::support::frames::block(&request("GET", "/"));
    client.send(&Frame::new(kind::HEADERS, flag::END_STREAM, 1, block));

    // Nothing may come between the parts of a block, an acknowledgement neither.
    while client.read().is_some() {}
    assert_eq!(hits(&gateway, "request_head"), 1);
}

#[test]
fn a_stream_that_is_not_read_ends_alone_whatever_else_the_client_does() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.begin(200, &[]);
        for _ in 0..64 {
            exchange.chunk([b'x'; 16384]);
        }
        exchange.end();
    });
    let gateway = gateway(&backend, "client_read: 1s");
    let mut client = without_room(&gateway);

    client.head(1, &request("GET", "/"), flag::END_STREAM);
    client.head(3, &request("GET", "/"), flag::END_STREAM);
    let mut reset = None;
    let mut read = 0;
    while reset.is_none() || read < 64 * 16384 {
        client.send(&room(3, 65_536));
        client.send(&room(0, 65_536));
        client.send(&ping());
        pass(Duration::from_millis(50));
        while let Some(frame) = client.read() {
            if frame.kind == kind::DATA && frame.stream == 3 {
                read += frame.payload.len();
            }
            if frame.kind == kind::RST_STREAM {
                assert_eq!(frame.stream, 1);
                reset = Some(frame.payload);
            }
            if frame.kind == kind::PING {
                break;
            }
        }
    }

    assert_eq!(reset, Some(vec![0, 0, 0, code::CANCEL as u8]));
    assert_eq!(read, 64 * 16384);
    assert_eq!(hits(&gateway, "client_read"), 1);
    backend.wait_for_open_connections(1);
}

#[test]
fn a_short_answer_that_has_no_room_is_given_up_too() {
    let backend = Backend::fixed(200, "short");
    let gateway = gateway(&backend, "client_read: 1s");
    let mut client = without_room(&gateway);

    client.head(1, &request("GET", "/"), flag::END_STREAM);

    let reply = client.reply(1);
    assert_eq!((reply.status, reply.reset), (Some(200), Some(code::CANCEL)));
}

#[test]
fn room_byte_by_byte_is_too_slow() {
    let backend = Backend::fixed(200, &"x".repeat(10_000));
    let gateway = gateway(&backend, "client_read: 1s, read_rate: 1000");
    let mut client = without_room(&gateway);

    client.head(1, &request("GET", "/"), flag::END_STREAM);
    while hits(&gateway, "read_rate") == 0 {
        client.send(&room(1, 1));
        pass(Duration::from_millis(20));
    }

    let reply = client.reply(1);
    assert_eq!((reply.ended, reply.reset), (false, Some(code::CANCEL)));
}

#[test]
fn a_connection_that_has_asked_nothing_yet_is_not_late() {
    let backend = Backend::fixed(200, "fine");
    let gateway = gateway(&backend, "request_head: 200ms");
    let mut client = Frames::connect(gateway.address);

    pass(Duration::from_millis(800));

    let reply = client.ask(1, &request("GET", "/"), b"");
    assert_eq!((reply.status, reply.ended), (Some(200), true));
}

#[test]
fn a_head_that_does_not_end_is_late_wherever_it_breaks_off() {
    let backend = Backend::fixed(200, "fine");
    let gateway = gateway(&backend, "request_head: 200ms");
    let fields = crate::support::frames::block(&request("GET", "/"));
    let whole = Frame::new(
        kind::HEADERS,
        flag::END_STREAM | flag::END_HEADERS,
        1,
        fields.clone(),
    );
    let open = Frame::new(kind::HEADERS, flag::END_STREAM, 1, fields);
    let bytes = whole.bytes();

    for (cut, limit) in [
        (open.bytes(), 1),
        (bytes[..9].to_vec(), 2),
        (bytes[..12].to_vec(), 3),
        (bytes[..bytes.len() - 1].to_vec(), 4),
    ] {
        let mut client = Frames::connect(gateway.address);
        client.write(cut);

        // Nothing is acknowledged: no other frame may come inside a head.
        let told = std::iter::from_fn(|| client.read()).filter(|frame| frame.kind == kind::GOAWAY);
        assert_eq!(told.count(), 1);
        assert_eq!(hits(&gateway, "request_head"), limit);
    }
}

#[test]
fn pings_keep_no_idle_connection_open() {
    let backend = Backend::fixed(200, "fine");
    let gateway = gateway(&backend, "keep_alive: 1s");
    let mut client = Frames::connect(gateway.address);
    client.ask(1, &request("GET", "/"), b"");

    let mut goaway = None;
    while goaway.is_none() {
        client.send(&ping());
        while let Some(frame) = client.read() {
            if frame.kind == kind::GOAWAY {
                goaway = Some(frame.payload);
            }
            if matches!(frame.kind, kind::PING | kind::GOAWAY) {
                break;
            }
        }
        pass(Duration::from_millis(20));
    }

    // The last stream that was looked at, and no error.
    assert_eq!(goaway, Some(vec![0, 0, 0, 1, 0, 0, 0, 0]));
    assert_eq!(hits(&gateway, "request_head"), 0);
}

#[test]
fn two_hundred_streams_that_are_given_up_are_given_up_at_the_backend() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        exchange.wait_for_close();
    });
    let gateway = gateway(&backend, "http2_resets: 1000");
    let mut clients: Vec<Frames> = (0..4).map(|_| Frames::connect(gateway.address)).collect();
    for client in &mut clients {
        for stream in (1..100).step_by(2) {
            client.head(stream, &request("GET", "/"), flag::END_STREAM);
        }
    }
    backend.wait_for_requests(200);

    for client in &mut clients {
        for stream in (1..100).step_by(2) {
            client.send(&Frame::new(kind::RST_STREAM, 0, stream, [0, 0, 0, 8]));
        }
    }

    backend.wait_for_open_connections(0);
    for client in &mut clients {
        client.send(&ping());
        let alive = std::iter::from_fn(|| client.read()).any(|frame| frame.kind == kind::PING);
        assert!(alive, "a client may change its mind");
    }
}

#[test]
fn bodies_and_answers_of_any_size_pass_whole() {
    let backend = Backend::start(|exchange: &mut Exchange| {
        let body = exchange.read_body().to_vec();
        exchange.answer(200, &[], body);
    });
    let gateway = gateway(&backend, "drain: 1s");
    let body = vec![b'y'; 60_000];

    for stream in [1, 3] {
        let mut client = Frames::connect(gateway.address);
        client.head(stream, &request("POST", "/"), 0);
        for piece in body.chunks(10_000) {
            client.data(stream, piece, 0);
        }
        client.data(stream, "", flag::END_STREAM);
        let reply = client.reply(stream);

        assert_eq!((reply.status, reply.ended), (Some(200), true));
        assert!(reply.body == body);
    }
}

#[test]
fn a_body_that_stalls_or_is_too_long_is_answered_over_http2_too() {
    let backend = Backend::fixed(200, "fine");
    let config = crate::support::routes::route_with(
        "http",
        &[("v1", &backend.url(), 1)],
        &["max_body: 100"],
    );
    let gateway = Gateway::start(&format!("{config}limits: {{ body_stall: 300ms }}\n"));
    let mut client = Frames::connect(gateway.address);

    client.head(1, &request("POST", "/"), 0);
    client.data(1, "abc", 0);
    assert_eq!(client.reply(1).status, Some(408));
    client.head(3, &request("POST", "/"), 0);
    client.data(3, [b'x'; 101], 0);
    assert_eq!(client.reply(3).status, Some(413));

    assert_eq!(client.ask(5, &request("GET", "/"), b"").status, Some(200));
}
