//! What servers ask the client of a session over HTTP+SSE that has lived at more than one of them.

use serde_json::{Value, json};

use crate::support::backend::Request;
use crate::support::fake_sse::{FakeSse, SseClient};
use crate::support::house::{SseHouse, hang, sse_house};

const DROPPED: &str = "switchback_answers_dropped_total";

/// Every stream of a server asks its client something, under the id 0.
fn ask(server: &FakeSse) {
    let question = json!({
        "jsonrpc": "2.0", "id": 0, "method": "roots/list",
        "params": { "_meta": { "progressToken": 7 } },
    });
    server.write(&format!("event: message\ndata: {question}\n\n"));
}

/// The next message on a stream that has this method.
fn heard(client: &mut SseClient, method: &str) -> Value {
    loop {
        let (_, data) = client.next_event().expect("a message, not the end");
        let message: Value = serde_json::from_str(&data).expect("a message");
        if message["method"] == method {
            return message;
        }
    }
}

fn answer(id: &Value, said: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": { "said": said } })
}

/// What a server was answered, in order.
fn answers(server: &FakeSse) -> Vec<Value> {
    let seen = server.backend.requests();
    let posted = seen.iter().filter(|request| request.method == "POST");
    let messages = posted.map(Request::json);
    messages.filter(|it| it.get("method").is_none()).collect()
}

/// A session that was asked by the candidate, and by stable since it moved there; a call is
/// under way at the candidate still. And the ids of both questions.
fn asked_by_both() -> (SseHouse, SseClient, [Value; 2]) {
    let house = sse_house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    client.begin("tools/call", hang());
    house.v2.wait_for_hanging(1);
    ask(&house.v2);
    let old = heard(&mut client, "roots/list");
    house.revert(&path);
    heard(&mut client, "notifications/tools/list_changed");
    ask(&house.v1);
    let new = heard(&mut client, "roots/list");
    assert_eq!(old["id"], 0, "what the first home asks passes as it is");
    let token = &new["params"]["_meta"]["progressToken"];
    assert!(new["id"].is_string() && token.is_string(), "{new}");
    (house, client, [old["id"].clone(), new["id"].clone()])
}

#[test]
fn each_server_hears_what_it_asked_and_nothing_else() {
    for new_first in [false, true] {
        let (house, mut client, [old, new]) = asked_by_both();

        let mut both = [(&old, "the old one"), (&new, "the new one")];
        if new_first {
            both.reverse();
        }
        for (id, said) in both {
            assert_eq!(client.post(&answer(id, said)).status, 202);
        }

        house.v2.wait_for_message("the old one");
        house.v1.wait_for_message("the new one");
        let zero = json!(0);
        assert_eq!(answers(&house.v2), [answer(&zero, "the old one")]);
        assert_eq!(answers(&house.v1), [answer(&zero, "the new one")]);
    }
}

#[test]
fn words_of_progress_go_to_whoever_wants_to_hear_of_it() {
    let (house, mut client, [_, new]) = asked_by_both();
    let token = new.as_str().unwrap().replace("-n0", "-n7");
    let progress = |token: Value| {
        json!({
            "jsonrpc": "2.0", "method": "notifications/progress",
            "params": { "progressToken": token, "progress": 1 },
        })
    };

    assert_eq!(client.post(&progress(json!(token))).status, 202);
    assert_eq!(client.post(&progress(json!(8))).status, 202);

    house.v1.wait_for_message("\"progressToken\":7");
    house.v2.wait_for_message("\"progressToken\":8");
}

#[test]
fn nobody_else_hears_what_a_server_asked_that_is_gone() {
    let (house, mut client, [old, new]) = asked_by_both();
    house.v2.answer_hanging();
    house.v2.wait_for_streams(0);

    assert_eq!(client.post(&answer(&old, "too late")).status, 202);
    assert_eq!(client.post(&answer(&new, "in time")).status, 202);

    house.v1.wait_for_message("in time");
    assert_eq!(answers(&house.v1), [answer(&json!(0), "in time")]);
    assert_eq!(answers(&house.v2), [] as [Value; 0]);
    house.wait_for_metric(DROPPED, 1);
}
