//! Backends that fail in every way that a machine on a network can: what callers get, what the
//! statistics say, and that nobody else waits.

use serde_json::Value;

use crate::support::backend::{Backend, Exchange};
use crate::support::gateway::Gateway;
use crate::support::routes::route_with;

/// How a caller sees an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// A whole answer with this status.
    Whole(u16),
    /// A beginning, and then a cut that cannot be taken for an end.
    Cut,
}

/// A fault, what callers see of it, and what is counted.
struct Fault {
    name: &'static str,
    script: fn(&mut Exchange),
    seen: Seen,
    outcome: &'static str,
}

const HEAD: &str = "HTTP/1.1 200 Fine\r\ncontent-type: text/plain\r\n";

const FAULTS: &[Fault] = &[
    Fault {
        name: "a reset instead of an answer",
        script: Exchange::reset,
        seen: Seen::Whole(502),
        outcome: "broken",
    },
    Fault {
        name: "a close instead of an answer",
        script: Exchange::cut,
        seen: Seen::Whole(502),
        outcome: "broken",
    },
    Fault {
        name: "silence",
        script: |exchange| {
            exchange.wait_for_close();
            exchange.cut();
        },
        seen: Seen::Whole(504),
        outcome: "timeout",
    },
    Fault {
        name: "half a head, then silence",
        script: |exchange| {
            exchange.raw(HEAD);
            exchange.wait_for_close();
            exchange.cut();
        },
        seen: Seen::Whole(504),
        outcome: "timeout",
    },
    Fault {
        name: "half a head, then a close",
        script: |exchange| {
            exchange.raw(HEAD);
            exchange.cut();
        },
        seen: Seen::Whole(502),
        outcome: "broken",
    },
    Fault {
        name: "noise",
        script: |exchange| {
            exchange.raw([0, 159, 146, 150, 13, 10, 13, 10]);
            exchange.cut();
        },
        seen: Seen::Whole(502),
        outcome: "server_error",
    },
    Fault {
        name: "another protocol",
        script: |exchange| {
            exchange.raw("ICY 200 OK\r\n\r\nmusic");
            exchange.cut();
        },
        seen: Seen::Whole(502),
        outcome: "server_error",
    },
    Fault {
        name: "half a body, then a reset",
        script: |exchange| {
            exchange.raw(format!("{HEAD}content-length: 10\r\n\r\nhalf"));
            exchange.reset();
        },
        seen: Seen::Cut,
        outcome: "broken",
    },
    Fault {
        name: "half a body, then silence",
        script: |exchange| {
            exchange.raw(format!("{HEAD}content-length: 10\r\n\r\nhalf"));
            exchange.wait_for_close();
            exchange.cut();
        },
        seen: Seen::Cut,
        outcome: "timeout",
    },
    Fault {
        name: "half a chunk, then a close",
        script: |exchange| {
            exchange.raw(format!("{HEAD}transfer-encoding: chunked\r\n\r\n8\r\nhalf"));
            exchange.cut();
        },
        seen: Seen::Cut,
        outcome: "broken",
    },
    Fault {
        name: "a chunk whose size is none",
        script: |exchange| {
            exchange.raw(format!(
                "{HEAD}transfer-encoding: chunked\r\n\r\nZZ\r\nhalf\r\n0\r\n\r\n"
            ));
            exchange.cut();
        },
        seen: Seen::Cut,
        outcome: "broken",
    },
    Fault {
        name: "interim answers without end",
        script: |exchange| {
            while !exchange.is_closed() {
                exchange.raw("HTTP/1.1 102 Wait\r\n\r\n".repeat(100));
            }
        },
        seen: Seen::Whole(502),
        outcome: "broken",
    },
    Fault {
        name: "fields without end",
        script: |exchange| {
            exchange.raw(HEAD);
            while !exchange.is_closed() {
                exchange.raw("x: y\r\n".repeat(1000));
            }
        },
        seen: Seen::Whole(502),
        outcome: "server_error",
    },
    Fault {
        name: "an error of its own",
        script: |exchange| exchange.answer(503, &[], "busy"),
        seen: Seen::Whole(503),
        outcome: "server_error",
    },
];

/// What one caller sees.
fn ask(gateway: &Gateway, method: &str) -> Seen {
    let mut raw = gateway.connect();
    raw.send(method, "/", &[], b"");
    let answer = raw.read_head(method);
    loop {
        match raw.try_read_piece() {
            Ok(Some(_)) => {}
            Ok(None) => return Seen::Whole(answer.status),
            Err(_) => return Seen::Cut,
        }
    }
}

/// What was counted of the only arm, without what is zero.
fn counted(gateway: &Gateway, calls: u64) -> Vec<(String, u64)> {
    gateway.admin.wait_for("/v1/routes/all", |seen: &Value| {
        let outcomes = seen["arms"][0]["calls"]["outcomes"].as_object()?;
        let outcomes = outcomes.iter();
        let some: Vec<_> = outcomes
            .filter_map(|(name, count)| Some((name.clone(), count.as_u64()?)))
            .filter(|(_, count)| *count > 0)
            .collect();
        let sum: u64 = some.iter().map(|(_, count)| count).sum();
        (sum == calls).then_some(some)
    })
}

#[test]
fn each_fault_of_a_backend_is_seen_and_counted_as_what_it_is() {
    let mut wrong = Vec::new();
    for fault in FAULTS {
        let script = fault.script;
        let backend = Backend::start(move |exchange| {
            exchange.read_body();
            script(exchange);
        });
        let more = ["response_head_timeout: 1s", "idle_timeout: 1s"];
        let config = route_with("http", &[("only", &backend.url(), 1)], &more);
        let gateway = Gateway::start_with_workers(1, &config);

        // A POST may have had an effect, so what is seen is the fault and no second try.
        let seen = ask(&gateway, "POST");
        let counted = counted(&gateway, 1);

        let expected = vec![(fault.outcome.to_owned(), 1)];
        if seen != fault.seen || counted != expected {
            wrong.push(format!("{}: {seen:?}, {counted:?}", fault.name));
        }
        backend.wait_for_open_connections(1);
        backend.change(|exchange| exchange.answer(200, &[], "well again"));
        if ask(&gateway, "POST") != Seen::Whole(200) {
            wrong.push(format!("{}: does not recover", fault.name));
        }
    }

    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
