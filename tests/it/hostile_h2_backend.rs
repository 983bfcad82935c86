//! HTTP/2 backends that do what no honest server does: a cut is seen to be one, nothing that may
//! have had effects goes twice, and no flood keeps a worker from its other clients.

use crate::support::frames::{Frame, code, flag, kind};
use crate::support::gateway::Gateway;
use crate::support::h2_script::{H2Script, Line};

const REFUSED_STREAM: u32 = 7;
const INTERNAL_ERROR: u32 = 2;

fn before(backend: &H2Script) -> Gateway {
    let url = backend.url();
    Gateway::start_with_workers(
        1,
        &format!(
            "backends: {{ only: {{ endpoints: [\"{url}\"], http2: true }} }}\n\
             routes: [{{ name: all, split: {{ only: 1 }}, response_head_timeout: 2s }}]\n"
        ),
    )
}

/// The status of one request, and whether its answer is whole.
fn ask(gateway: &Gateway, method: &str) -> (u16, bool) {
    let mut raw = gateway.connect();
    let body: &[u8] = if method == "POST" { b"x" } else { b"" };
    raw.send(method, "/", &[("connection", "close")], body);
    let status = raw.read_head(method).status;
    loop {
        match raw.try_read_piece() {
            Ok(Some(_)) => {}
            Ok(None) => return (status, true),
            Err(_) => return (status, false),
        }
    }
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let page = gateway.admin.text("/metrics");
    let mut lines = page.lines();
    let line = lines.find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.map_or(0, |value| value.parse().unwrap())
}

#[test]
fn half_a_body_is_seen_to_be_cut_whatever_code_it_is_reset_with() {
    const CODES: [u32; 5] = [code::NO_ERROR, code::CANCEL, INTERNAL_ERROR, 7, 99];
    let backend = H2Script::start(|line, number| {
        line.head(&[(":status", "200")], 0);
        line.data("half", 0);
        line.reset(CODES[number]);
    });
    let gateway = before(&backend);

    for code in CODES {
        assert_eq!(ask(&gateway, "POST"), (200, false), "{code}");
    }
}

#[test]
fn an_answer_that_is_whole_stays_whole_when_the_rest_of_the_request_is_not_wanted() {
    let backend = H2Script::start(|line, _| {
        line.fine();
        line.reset(code::NO_ERROR);
    });
    let gateway = before(&backend);

    for _ in 0..20 {
        assert_eq!(ask(&gateway, "POST"), (200, true));
    }
}

#[test]
fn what_comes_for_answers_that_nobody_wants_any_more_harms_no_others() {
    const AFTER: usize = 60;
    let backend = H2Script::start(|line, number| {
        line.head(&[(":status", "200")], 0);
        line.data("half", 0);
        if let Some(before) = number.checked_sub(AFTER) {
            line.send(kind::DATA, 0, 2 * before as u32 + 1, *b"late");
        }
    });
    let gateway = before(&backend);
    let mut stays = gateway.connect();
    stays.send("GET", "/", &[], b"");
    assert_eq!(stays.read_head("GET").status, 200);

    for _ in 0..1200 {
        let mut leaves = gateway.connect();
        leaves.send("GET", "/", &[], b"");
        assert_eq!(leaves.read_head("GET").status, 200);
    }

    assert_eq!(backend.seen().connections, 1);
}

#[test]
fn heads_that_no_server_sends_are_502() {
    type Fields = &'static [(&'static str, &'static str)];
    const HEADS: &[Fields] = &[
        &[(":status", "099")],
        &[(":status", "600")],
        &[(":status", "1000")],
        &[(":status", "abc")],
        &[(":status", "")],
        &[("x", "y")],
        &[(":status", "200"), (":status", "201")],
        &[("x", "y"), (":status", "200")],
        &[(":status", "200"), ("connection", "close")],
        &[(":status", "200"), ("transfer-encoding", "chunked")],
        &[(":status", "200"), ("upgrade", "h2c")],
        &[(":status", "200"), ("X-Upper", "y")],
        &[(":status", "200"), ("x", "a\r\nset-cookie: evil")],
        &[(":status", "200"), ("x", "a\0b")],
        &[(":status", "200"), ("a b", "y")],
        &[
            (":status", "200"),
            ("content-length", "4"),
            ("content-length", "5"),
        ],
        &[(":status", "200"), ("content-length", "+4")],
        &[(":status", "200"), ("content-length", "4, 4")],
    ];
    let backend = H2Script::start(|line, number| {
        // Between two of them an honest one, on whatever connection there is.
        match HEADS.get(number / 2) {
            Some(fields) if number.is_multiple_of(2) => {
                line.head(fields, 0);
                line.data("evil", flag::END_STREAM);
            }
            _ => line.fine(),
        }
    });
    let gateway = before(&backend);

    for fields in HEADS {
        assert_eq!(ask(&gateway, "POST"), (502, true), "{fields:?}");
        assert_eq!(ask(&gateway, "POST"), (200, true), "after {fields:?}");
    }
}

#[test]
fn a_body_of_another_length_than_the_head_says_is_cut() {
    let backend = H2Script::start(|line, number| {
        let length = if number.is_multiple_of(2) { "2" } else { "10" };
        line.head(&[(":status", "200"), ("content-length", length)], 0);
        line.data("four", flag::END_STREAM);
    });
    let gateway = before(&backend);

    for _ in 0..4 {
        assert_eq!(ask(&gateway, "POST"), (200, false));
    }
}

/// A script that says the same for as long as anybody takes it.
fn floods(frame: fn(u32) -> Frame) -> impl Fn(&mut Line, usize) + Send + Sync {
    move |line, number| {
        if number > 0 {
            return line.fine();
        }
        let many = frame(line.stream).bytes().repeat(100);
        while line.write(&many) {}
    }
}

#[test]
fn what_brings_no_answer_forward_comes_to_an_end() {
    // `:status: 103` as a literal whose name is in the static table.
    let interim = |stream| Frame::new(kind::HEADERS, flag::END_HEADERS, stream, *b"\x08\x03103");
    let floods = [
        H2Script::start(floods(interim)),
        H2Script::start(floods(|_| Frame::new(kind::PING, 0, 0, *b"12345678"))),
        H2Script::start(floods(|_| Frame::new(kind::SETTINGS, 0, 0, []))),
        H2Script::start(floods(|_| {
            Frame::new(kind::WINDOW_UPDATE, 0, 0, [0, 0, 0, 1])
        })),
        H2Script::start(floods(|_| Frame::new(200, 0, 0, vec![0; 4096]))),
    ];
    for (place, backend) in floods.iter().enumerate() {
        let gateway = before(backend);

        assert_eq!(ask(&gateway, "POST"), (502, true), "{place}");
        assert_eq!(ask(&gateway, "POST"), (200, true), "{place}");
        assert_eq!(metric(&gateway, "switchback_upstream_floods_total"), 1);
        assert_eq!(backend.seen().connections, 2, "{place}");
    }
}

#[test]
fn some_interim_answers_are_nothing_out_of_the_ordinary() {
    let backend = H2Script::start(|line, _| {
        for _ in 0..500 {
            line.head(&[(":status", "103"), ("link", "</x>")], 0);
        }
        line.fine();
    });
    let gateway = before(&backend);

    assert_eq!(ask(&gateway, "POST"), (200, true));
}

#[test]
fn a_get_survives_a_connection_that_ends_under_it_and_a_post_is_not_repeated() {
    // Each connection answers once, and is closed by the next request.
    let backend = H2Script::start(|line, _| {
        if line.stream == 1 {
            line.fine();
        } else {
            line.close();
        }
    });
    let gateway = before(&backend);

    assert_eq!(ask(&gateway, "GET"), (200, true));
    for _ in 0..20 {
        assert_eq!(ask(&gateway, "GET"), (200, true));
    }
    let requests = backend.seen().requests;
    assert_eq!(ask(&gateway, "POST"), (502, true));
    assert_eq!(backend.seen().requests, requests + 1);
}

#[test]
fn what_an_endpoint_may_have_looked_at_is_sent_once() {
    let backend = H2Script::start(|line, number| {
        let this = line.stream;
        match number {
            0 => {
                line.go_away(this, code::NO_ERROR);
            }
            1 => {
                line.go_away(this, INTERNAL_ERROR);
            }
            2 => {
                line.go_away(u32::MAX >> 1, code::NO_ERROR);
            }
            3 => {
                line.reset(code::CANCEL);
                return;
            }
            _ => {}
        }
        line.close();
    });
    let gateway = before(&backend);

    for sent in 1..=5 {
        assert_eq!(ask(&gateway, "POST"), (502, true));
        assert_eq!(backend.seen().requests, sent);
    }
}

#[test]
fn an_endpoint_that_refuses_everything_is_not_asked_twice_for_long() {
    let backend = H2Script::start(|line, _| {
        line.reset(REFUSED_STREAM);
    });
    let gateway = before(&backend);

    for _ in 0..20 {
        assert_eq!(ask(&gateway, "GET"), (502, true));
    }

    assert_eq!(backend.seen().requests, 21, "one was repeated");
}

#[test]
fn an_endpoint_without_room_for_streams_costs_no_more_than_the_wait() {
    let backend = H2Script::start_with(vec![(3, 0)], |line, _| line.fine());
    let gateway = before(&backend);

    // The first one may be sent before its settings are known.
    let statuses: Vec<u16> = (0..3).map(|_| ask(&gateway, "GET").0).collect();

    assert!(statuses.contains(&504), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 504].contains(status)));
}
