//! SIGTERM under load: every request is counted, and none is lost.

use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::backend::Backend;
use crate::support::client::{self, Raw};
use crate::support::exchange::Exchange;
use crate::support::gate::Gate;
use crate::support::gateway::Gateway;
use crate::support::load::Load;
use crate::support::routes::through;

/// Long answers and streams of each kind: over HTTP/1.1 and HTTP/2.
const EACH: usize = 15;

/// Answers `/long` and `/events` in two halves with the gate in between, and all else at once.
fn halves(gate: &Gate) -> impl Fn(&mut Exchange) + Send + Sync + 'static {
    let gate = gate.clone();
    move |exchange| {
        exchange.read_body();
        let kind = match exchange.request.target.as_str() {
            "/long" => "application/octet-stream",
            "/events" => "text/event-stream",
            _ => return exchange.answer(200, &[], "short"),
        };
        exchange.begin(200, &[("content-type", kind)]);
        exchange.chunk("data: first\n\n");
        gate.wait();
        exchange.chunk("data: last\n\n");
        exchange.end();
    }
}

fn begin(gateway: &Gateway, target: &str) -> Raw {
    let mut raw = gateway.connect();
    raw.send("GET", target, &[], b"");
    assert_eq!(raw.read_head("GET").status, 200);
    raw.read_until("first\n\n");
    raw
}

/// The rest of an answer: `Err` when it is cut.
fn rest(mut raw: Raw) -> io::Result<String> {
    let mut text = String::new();
    while let Some(piece) = raw.try_read_piece()? {
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    Ok(text)
}

/// Streams on one HTTP/2 connection, read to their ends; `begun` is opened when all have begun.
fn over_http2(
    gateway: &Gateway,
    target: &'static str,
    count: usize,
    begun: &Gate,
) -> JoinHandle<Vec<Result<String, String>>> {
    let (address, begun) = (gateway.address, begun.clone());
    let read = async move {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut client, connection) = h2::client::handshake(socket).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut bodies = Vec::new();
        for _ in 0..count {
            client = client.ready().await.unwrap();
            let request = http::Request::get(format!("http://{address}{target}"));
            let (answer, _) = client
                .send_request(request.body(()).unwrap(), true)
                .unwrap();
            let mut body = answer.await.unwrap().into_body();
            body.data().await.unwrap().unwrap();
            bodies.push(body);
        }
        begun.open();
        let mut read = Vec::new();
        for mut body in bodies {
            let mut text = Ok(String::new());
            while let (Ok(text_so_far), Some(piece)) = (&mut text, body.data().await) {
                match piece {
                    Ok(piece) => {
                        text_so_far.push_str(&String::from_utf8_lossy(&piece));
                        let _unused = body.flow_control().release_capacity(piece.len());
                    }
                    Err(error) => text = Err(error.to_string()),
                }
            }
            read.push(text);
        }
        drop(client);
        // Closed by the gateway after its GOAWAY, not by an error.
        driver.await.unwrap().unwrap();
        read
    };
    thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(read)
    })
}

#[test]
fn a_drain_under_load_loses_no_request_and_lets_sixty_long_ones_finish() {
    let gate = Gate::new();
    let backend = Backend::start(halves(&gate));
    let mut gateway = Gateway::start(&through(&backend.url()));
    let mut long = Vec::new();
    for target in ["/long", "/events"] {
        long.extend((0..EACH).map(|_| begin(&gateway, target)));
    }
    let begun = [Gate::new(), Gate::new()];
    let multiplexed = [
        over_http2(&gateway, "/long", EACH, &begun[0]),
        over_http2(&gateway, "/events", EACH, &begun[1]),
    ];
    begun.iter().for_each(Gate::wait);
    let load = Load::start(gateway.address, 16, Duration::from_millis(2));
    load.wait_for_more(300);

    gateway.signal("TERM");
    load.wait_until_refused();
    gate.open();
    assert!(gateway.wait().success());

    let tally = load.stop();
    assert_eq!(tally.lost, Vec::<String>::new());
    for answer in long {
        assert_eq!(rest(answer).unwrap(), "data: last\n\n");
    }
    for answers in multiplexed {
        for answer in answers.join().unwrap() {
            assert_eq!(answer.unwrap(), "data: last\n\n");
        }
    }
}

#[test]
fn streams_past_the_deadline_end_as_they_should_and_the_process_in_time() {
    let gate = Gate::new();
    let backend = Backend::start(halves(&gate));
    let body = through(&backend.url()) + "limits: { drain: 500ms, drain_idle: 0s }\n";
    let mut gateway = Gateway::start(&body);
    let streams: Vec<Raw> = (0..10).map(|_| begin(&gateway, "/events")).collect();
    let begun = Gate::new();
    let multiplexed = over_http2(&gateway, "/events", 10, &begun);
    begun.wait();

    let told = Instant::now();
    gateway.signal("TERM");
    assert!(gateway.wait().success());

    let took = told.elapsed();
    assert!(took < Duration::from_millis(1500) * 2, "{took:?}");
    for stream in streams {
        assert_eq!(rest(stream).unwrap(), "");
    }
    for stream in multiplexed.join().unwrap() {
        assert_eq!(stream.unwrap(), "");
    }
    gateway.wait_for_line("streams ended");
    gate.open();
}

#[test]
fn the_delay_is_for_load_balancers_and_everything_goes_on_in_it() {
    let backend = Backend::fixed(200, "fine");
    let body = through(&backend.url()) + "limits: { drain_delay: 10m }\n";
    let mut gateway = Gateway::start(&body);
    let mut kept = gateway.connect();
    kept.ask("GET", "/", &[], b"");

    gateway.signal("TERM");
    gateway.wait_for_line("draining");

    let admin = gateway.admin.0;
    let ready = client::get(admin, "/readyz").status;
    assert_eq!((ready, client::get(admin, "/livez").status), (503, 200));
    assert_eq!(gateway.get("/").status, 200, "new connections are taken");
    let answer = kept.ask("GET", "/", &[], b"");
    assert_eq!(answer.fields.get("connection"), None);
    gateway.signal("TERM");
    assert!(
        gateway.wait().success(),
        "the second signal ends it at once"
    );
}

#[test]
fn an_idle_connection_is_told_to_leave_before_it_is_closed() {
    let backend = Backend::fixed(200, "fine");
    let body = through(&backend.url()) + "limits: { drain_idle: 1h }\n";
    let mut gateway = Gateway::start(&body);
    let mut idle = gateway.connect();
    idle.ask("GET", "/", &[], b"");
    let mut silent = gateway.connect();

    gateway.signal("TERM");
    gateway.wait_until_refused();

    for raw in [&mut idle, &mut silent] {
        let answer = raw.ask("GET", "/", &[], b"");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.fields.get("connection"), Some("close"));
        assert!(raw.is_closed());
    }
    assert!(gateway.wait().success());
}

#[test]
fn who_is_let_in_by_a_drain_is_told_to_leave_with_the_first_answer() {
    let gate = Gate::default();
    let backend = Backend::start(halves(&gate));
    let body = through(&backend.url()) + "limits: { drain_idle: 1h, connections: 1 }\n";
    let mut gateway = Gateway::start(&body);
    // It has the only place, and keeps it: whoever else comes waits at the door.
    let long = begin(&gateway, "/long");
    let mut waiting: Vec<_> = (0..10).map(|_| gateway.connect()).collect();

    gateway.signal("TERM");
    gateway.wait_until_refused();

    for raw in &mut waiting {
        let answer = raw.ask("GET", "/", &[], b"");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.fields.get("connection"), Some("close"));
        assert!(raw.is_closed());
    }
    gate.open();
    assert_eq!(rest(long).unwrap(), "data: last\n\n");
    assert!(gateway.wait().success());
}
