//! The fakes are real on the wire: they are tested against each other, without the gateway.

use std::io;
use std::net::TcpListener;

use crate::support::backend::{Backend, fed};
use crate::support::client::{self, Raw};
use crate::support::fake_mcp::{FakeMcp, Mood, Wire};
use crate::support::mcp_client::McpClient;
use crate::support::ports::reserve;

#[test]
fn a_backend_records_what_it_was_asked_to_the_letter() {
    let backend = Backend::fixed(200, "hello");
    let mut raw = Raw::connect(backend.address);

    let answer = raw.ask("POST", "/a?b", &[("X-Odd-Case", "1, 2")], b"body");
    let again = raw.ask("HEAD", "/c", &[], b"");

    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    assert_eq!((again.status, again.body.len()), (200, 0));
    let requests = backend.requests();
    assert_eq!(requests[0].target, "/a?b");
    assert_eq!(requests[0].text(), "body");
    assert!(
        requests[0]
            .fields
            .0
            .contains(&("X-Odd-Case".into(), "1, 2".into()))
    );
    assert_eq!((requests[1].connection, backend.connections()), (0, 1));
}

#[test]
fn a_fed_answer_arrives_piece_by_piece_and_may_be_cut() {
    let (feeder, script) = fed("text/event-stream");
    let backend = Backend::start(script);
    let mut raw = Raw::connect(backend.address);
    raw.send("GET", "/", &[], b"");
    raw.read_head("GET");

    feeder.event("one");
    assert_eq!(raw.read_until("\n\n"), "data: one\n\n");
    feeder.event("two");
    assert_eq!(raw.read_until("\n\n"), "data: two\n\n");
    feeder.cut();

    let broken = raw.try_read_piece().unwrap_err();
    assert_eq!(broken.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_stopped_backend_refuses_and_can_come_back() {
    let mut backend = Backend::fixed(200, "first");
    let address = backend.address;
    let mut raw = Raw::connect(address);
    raw.ask("GET", "/", &[], b"");

    backend.stop();

    assert!(raw.is_closed());
    assert!(Raw::try_connect(address).is_err());
    let _second = Backend::start_at(address, |exchange| exchange.answer(200, &[], "second"));
    assert_eq!(client::get(address, "/").text(), "second");
}

#[test]
fn a_reserved_port_refuses_until_somebody_listens() {
    let port = reserve();

    assert!(Raw::try_connect(port.address).is_err());
    let listener = TcpListener::bind(port.address).expect("a reserved port can be bound");
    assert!(Raw::try_connect(port.address).is_ok());
    drop(listener);
}

#[test]
fn the_fake_mcp_server_keeps_sessions_apart() {
    for wire in [Wire::Json, Wire::Events] {
        let server = FakeMcp::start("v1");
        server.set_wire(wire);
        let mut one = McpClient::open(server.backend.address, "/mcp");
        let mut two = McpClient::open(server.backend.address, "/mcp");

        assert_eq!(one.call_text("counter"), "1");
        assert_eq!(one.call_text("counter"), "2");
        assert_eq!(two.call_text("counter"), "1");
        assert_eq!(two.call_text("whoami"), "v1");
        assert_eq!(server.initializes(), 2);

        assert_eq!(one.delete().status, 200);
        let (answer, _) = one.request("ping", serde_json::json!({}));
        assert_eq!(answer.status, 404);
    }
}

#[test]
fn the_fake_mcp_server_fails_as_it_is_told() {
    let server = FakeMcp::start("v2");
    let mut client = McpClient::open(server.backend.address, "/mcp");
    let work = serde_json::json!({ "name": "work", "arguments": {} });

    server.set_mood(Mood::ToolError);
    assert_eq!(client.call("work")["isError"], true);
    server.set_mood(Mood::RpcError(-32603));
    assert_eq!(
        client.request("tools/call", work.clone()).1["error"]["code"],
        -32603
    );
    server.set_mood(Mood::Status(503));
    assert_eq!(client.request("tools/call", work).0.status, 503);
    assert_eq!(server.calls(), 3);
}

#[test]
fn the_fake_mcp_server_pushes_on_its_get_stream() {
    let server = FakeMcp::start("v1");
    let mut client = McpClient::open(server.backend.address, "/mcp");
    let mut stream = client.listen();
    server.wait_for_streams(1);

    let note = serde_json::json!({ "jsonrpc": "2.0", "method": "notifications/message" });
    server.push(&client.session, &note);

    assert!(stream.read_until("}\n\n").contains("notifications/message"));
    client.delete();
    server.wait_for_streams(0);
}
