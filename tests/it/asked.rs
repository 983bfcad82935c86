//! What servers ask the client of a session that has lived at more than one of them.

use serde_json::{Value, json};

use crate::support::backend::Request;
use crate::support::client::Raw;
use crate::support::fake_mcp::FakeMcp;
use crate::support::gateway::Gateway;
use crate::support::house::house;
use crate::support::mcp_client::McpClient;
use crate::support::routes::{ABSENT, ruled};

/// A call that has asked its client, and has no answer yet; and the id of its question.
fn asking(client: &McpClient, id: u64) -> (Raw, Value) {
    let call = json!({
        "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": "ask", "arguments": {} },
    });
    let mut under_way = client.post_aside(&call);
    assert_eq!(under_way.read_head("POST").status, 200);
    let question = message(&mut under_way);
    assert_eq!(question["method"], "elicitation/create");
    (under_way, question["id"].clone())
}

/// The message that a stream says next.
fn message(stream: &mut Raw) -> Value {
    let said = stream.read_until("}\n\n");
    let mut data = said.lines().filter_map(|line| line.strip_prefix("data: "));
    serde_json::from_str(data.next_back().unwrap()).unwrap()
}

fn answer(id: &Value, said: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": { "said": said } })
}

/// What a server was answered, in order.
fn answers(server: &FakeMcp) -> Vec<Value> {
    let seen = server.backend.requests();
    let posted = seen.iter().filter(|request| request.method == "POST");
    let messages = posted.map(Request::json);
    let answers = messages.filter(|it| it.is_array() || it.get("method").is_none());
    answers.collect()
}

#[test]
fn each_server_hears_what_it_asked_and_nothing_else() {
    for new_first in [false, true] {
        let house = house((1, 0), "");
        let (mut client, path) = house.at_candidate();
        let (mut old, old_id) = asking(&client, 9);
        house.revert(&path);
        let (mut new, new_id) = asking(&client, 10);
        assert_eq!(old_id, 0, "what the first home asks passes as it is");
        assert_ne!(new_id, old_id);

        let mut both = [(&old_id, "the old one"), (&new_id, "the new one")];
        if new_first {
            both.reverse();
        }
        for (id, said) in both {
            assert_eq!(client.post(&answer(id, said)).status, 202);
        }

        old.read_until("the old one");
        new.read_until("the new one");
        let zero = json!(0);
        assert_eq!(answers(&house.v2), [answer(&zero, "the old one")]);
        assert_eq!(answers(&house.v1), [answer(&zero, "the new one")]);
    }
}

#[test]
fn homes_between_the_first_and_the_last_hear_what_they_asked() {
    let house = house((1, 0), "drain: 0s");
    let (mut client, path) = house.at_candidate();
    house.revert(&path);
    let (mut between, id) = asking(&client, 9);
    house.shift(0, 1);
    house.wait_for_standing(0, "drained");
    let (mut last, last_id) = asking(&client, 10);
    assert_ne!(last_id, id);

    assert_eq!(client.post(&answer(&id, "to the one")).status, 202);
    assert_eq!(client.post(&answer(&last_id, "to the other")).status, 202);

    between.read_until("to the one");
    last.read_until("to the other");
}

#[test]
fn answers_in_one_batch_go_each_to_its_server() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    let (mut old, old_id) = asking(&client, 9);
    house.revert(&path);
    let (mut new, new_id) = asking(&client, 10);

    let both = json!([
        answer(&old_id, "the old one"),
        answer(&new_id, "the new one")
    ]);
    assert_eq!(client.post(&both).status, 202);

    old.read_until("the old one");
    let left = house.v1.backend.wait_for("the rest of the batch", |seen| {
        let posted = seen.iter().filter(|request| request.method == "POST");
        posted.map(Request::json).find(Value::is_array)
    });
    assert_eq!(left, json!([answer(&json!(0), "the new one")]));
    // The fake knows no batches.
    assert_eq!(client.post(&answer(&new_id, "again")).status, 202);
    drop(new.read_until("result"));
}

#[test]
fn words_of_progress_go_to_whoever_wants_to_hear_of_it() {
    let house = house((1, 0), "");
    let (mut client, path) = house.at_candidate();
    house.revert(&path);
    let mut stream = client.listen();
    stream.read_until("open");
    let home = house.v1.sessions().pop().unwrap();
    let asked = json!({
        "jsonrpc": "2.0", "id": 5, "method": "roots/list",
        "params": { "_meta": { "progressToken": 7 } },
    });
    house.v1.push(&home, &asked);
    let heard = message(&mut stream);
    let token = &heard["params"]["_meta"]["progressToken"];
    assert!(token.is_string() && heard["id"].is_string(), "{heard}");

    let progress = |token: &Value| {
        json!({
            "jsonrpc": "2.0", "method": "notifications/progress",
            "params": { "progressToken": token, "progress": 1 },
        })
    };
    assert_eq!(client.post(&progress(token)).status, 202);
    // Nobody at home has asked under this one.
    assert_eq!(client.post(&progress(&json!(7))).status, 202);

    let told = |seen: &[Request]| {
        let posted = seen.iter().filter(|request| request.method == "POST");
        let messages = posted.map(Request::json);
        let told = messages.filter(|it| it["method"] == "notifications/progress");
        told.collect::<Vec<_>>()
    };
    let at_first = house.v2.backend.wait_for("the first home's", |seen| {
        let told = told(seen);
        (!told.is_empty()).then_some(told)
    });
    assert_eq!(at_first, [progress(&json!(7))]);
    let at_home = told(&house.v1.backend.requests());
    assert_eq!(at_home, [progress(&json!(7))]);
}

/// What the rule takes goes to a backend that has no share of the route itself.
fn led() -> (FakeMcp, FakeMcp, Gateway) {
    let (v1, v2) = (FakeMcp::start("v1"), FakeMcp::start("v2"));
    let rule = "method: tools/call, name: [ask]";
    let gateway = Gateway::start(&ruled(&v1.url(), &v2.url(), rule, (ABSENT, 1)));
    (v1, v2, gateway)
}

#[test]
fn a_call_that_a_rule_leads_elsewhere_hears_what_it_asked_there() {
    let (v1, v2, gateway) = led();
    let mut client = McpClient::open(gateway.address, "/mcp");
    let (mut under_way, id) = asking(&client, 9);
    assert!(id.is_string(), "{id}");

    assert_eq!(client.post(&answer(&id, "by all means")).status, 202);

    under_way.read_until("by all means");
    assert_eq!(answers(&v1), [] as [Value; 0]);
    assert_eq!(answers(&v2), [answer(&json!(0), "by all means")]);
}
