//! Every rollout there was, and the verdict on each for programs that steer by it.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::client;
use crate::support::gateway::Gateway;
use crate::support::routes::route_with;

/// A judge that is soon content.
const QUICK: &str = "plans:\n  quick:\n    stages: [{ percent: 50, for: 0s }]\n    inconclusive: advance\n    \
     judge: { min_requests: 20, errors: { cap: 0.5 }, latency: { margin: 50, pass_margin: 100 } }\n";

struct House {
    v2: Backend,
    _v1: Backend,
    gateway: Gateway,
}

fn house() -> House {
    let (v1, v2) = (Backend::fixed(200, "v1"), Backend::fixed(200, "v2"));
    let arms = [("v1", &*v1.url(), 100), ("v2", &*v2.url(), 0)];
    let gateway = Gateway::start(&(route_with("http", &arms, &[]) + QUICK));
    House {
        v2,
        _v1: v1,
        gateway,
    }
}

impl House {
    fn start(&self) -> String {
        let wanted =
            json!({ "to": "v2", "force": true, "stages": [{ "percent": 50, "for": "1h" }] });
        let rollout = self.gateway.admin.post("/v1/routes/all/rollouts", &wanted);
        rollout["id"].as_str().expect("an id").to_owned()
    }

    fn act(&self, id: &str, action: &str) -> u16 {
        let path = format!("/v1/rollouts/{id}/{action}");
        let answer = self.gateway.admin.ask("POST", &path, &[], &json!({}));
        answer.status
    }

    fn list(&self, query: &str) -> Vec<(String, String)> {
        let all = self.gateway.admin.get(&format!("/v1/rollouts{query}"));
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let each = all["rollouts"].as_array().expect("rollouts").iter();
        each.map(|it| (text(&it["id"]), text(&it["state"])))
            .collect()
    }

    fn verdict(&self, path: &str) -> (u16, Value) {
        let answer = client::get(self.gateway.admin.0, path);
        (answer.status, answer.json())
    }

    fn calls(&self) {
        let mut raw = self.gateway.connect();
        for _ in 0..50 {
            raw.ask("GET", "/", &[], b"");
        }
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let each = expected.iter();
    each.map(|(id, state)| ((*id).to_owned(), (*state).to_owned()))
        .collect()
}

#[test]
fn every_rollout_is_listed_and_shown_and_waited_for_also_after_a_restart() {
    let mut house = house();
    for action in ["revert", "abort"] {
        let id = house.start();
        assert_eq!(house.act(&id, action), 200);
    }
    house.start();
    house.gateway.kill();
    house.gateway.start_again();

    let all = pairs(&[("r-3", "warmup"), ("r-2", "aborted"), ("r-1", "reverted")]);
    let mut listed = house.list("");
    // The first stage may have begun.
    listed[0].1 = "warmup".to_owned();
    assert_eq!(listed, all);
    assert_eq!(house.list("?before=r-3&limit=1"), all[1..2]);
    assert_eq!(house.list("?state=reverted"), all[2..]);
    assert_eq!(house.list("?route=all&before=r-2"), all[2..]);
    assert_eq!(house.list("?route=other"), []);
    for bad in ["?state=gone", "?before=7", "?limit=0", "?colour=red"] {
        let path = format!("/v1/rollouts{bad}");
        assert_eq!(house.verdict(&path).0, 422, "{bad}");
    }

    let first = house.gateway.admin.get("/v1/rollouts/r-1");
    assert_eq!(first["revert_reason"], "manual", "{first:#}");
    assert_eq!(first["stages"][0]["percent"], 50.0);
    assert!(first["ended_at"].is_string() && first["percent"] == 0.0);
    assert_eq!(house.act("r-1", "pause"), 409, "it is over");
    assert_eq!(house.act("r-9", "pause"), 404);
    let cli = |words: &[&str]| house.gateway.cli(words);
    for (id, code) in [("r-1", 3), ("r-2", 1), ("r-9", 5)] {
        let waited = cli(&["rollout", "wait", id, "--timeout", "30s"]);
        assert_eq!(waited.code, Some(code), "{id}: {waited:?}");
    }
    let listed = cli(&["rollout", "list", "--state", "aborted"]);
    assert!(
        listed.stdout.contains("r-2") && !listed.stdout.contains("r-1"),
        "{listed:?}"
    );
}

#[test]
fn a_verdict_is_a_status_that_other_tools_can_steer_by() {
    let house = house();
    let path = "/v1/routes/all/verdict";
    let (status, none) = house.verdict(path);
    assert_eq!(
        (status, &none["verdict"]),
        (425, &json!("early")),
        "{none:#}"
    );
    assert!(none.get("rollout").is_none());

    let id = house.start();
    let (status, early) = house.verdict(path);
    assert_eq!((status, &early["rollout"]), (425, &json!(id)), "{early:#}");
    let (status, _) = house.verdict(&format!("{path}?ok=pass,early"));
    assert_eq!(status, 200);
    house
        .v2
        .change(|exchange| exchange.answer(500, &[], "broken"));
    house
        .gateway
        .admin
        .wait_for(&format!("/v1/rollouts/{id}"), |seen| {
            house.calls();
            (seen["state"] == "reverted").then_some(())
        });

    let (status, fail) = house.verdict(path);
    assert_eq!((status, &fail["fail"]), (417, &json!(true)), "{fail:#}");
    assert_eq!(fail["decision"], "revert");
    assert!(fail["evidence"].as_f64() >= fail["revert_at"].as_f64());
    assert_eq!(house.verdict(&format!("{path}?ok=fail")).0, 200);
    assert_eq!(
        house.verdict(&format!("{path}?to=v1")).0,
        425,
        "no rollout to it"
    );
    assert_eq!(
        house.verdict(&format!("/v1/rollouts/{id}/verdict")),
        (417, fail)
    );
    for bad in ["?ok=", "?ok=yes", "?to=a%00b", "?colour=red"] {
        assert_eq!(house.verdict(&format!("{path}{bad}")).0, 422, "{bad}");
    }
    assert_eq!(house.verdict("/v1/routes/none/verdict").0, 404);

    house.v2.change(|exchange| exchange.answer(200, &[], "v2"));
    let quick = json!({ "to": "v2", "plan": "quick", "force": true });
    house.gateway.admin.post("/v1/routes/all/rollouts", &quick);
    house.gateway.admin.wait_for("/v1/routes/all", |seen| {
        house.calls();
        (seen["rollout"]["state"] == "promoted").then_some(())
    });
    let (status, pass) = house.verdict(path);
    assert_eq!((status, &pass["pass"]), (200, &json!(true)), "{pass:#}");
    assert_eq!(house.verdict(&format!("/v1/rollouts/{id}/verdict")).0, 417);
}

/// The values of every `url` in a text of YAML, wherever it stands.
fn urls(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(url) if name == "url" => into.push(url.to_owned()),
                    _ => urls(value, into),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| urls(value, into)),
        _ => {}
    }
}

#[test]
fn the_snippets_for_other_tools_are_answered_as_they_say() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/integrations.md"));
    let page = page.expect("the page");
    let mut asked = Vec::new();
    for snippet in page.split("```yaml\n").skip(1) {
        let text = snippet.split("```").next().expect("an end");
        let parsed: Value = serde_saphyr::from_str(text).expect("YAML");
        let is_flagger = parsed.get("analysis").is_some();
        let mut found = Vec::new();
        urls(&parsed, &mut found);
        assert!(!found.is_empty(), "{text}");
        asked.extend(found.into_iter().map(|url| (is_flagger, url)));
    }
    let house = house();
    let (status, seen) = house.verdict("/v1/routes/all/verdict");
    assert_eq!((status, &seen["verdict"]), (425, &json!("early")));

    for (is_flagger, url) in asked {
        let target = url
            .strip_prefix("http://switchback.example:9900")
            .expect("the gateway");
        let target = target.replace("search-v2", "v2");
        let target = target.replace("{{args.candidate}}", "v2");
        let target = target.replace("/search/", "/all/");
        let answer = if is_flagger {
            let told = json!({ "name": "search", "namespace": "shop", "phase": "Progressing",
                "checksum": "85d557f47b", "metadata": { "test": "all" } });
            house.gateway.admin.ask("POST", &target, &[], &told)
        } else {
            client::get(house.gateway.admin.0, &target)
        };
        let early_is_fine = target.contains("early");
        let expected = if early_is_fine { 200 } else { 425 };
        assert_eq!(answer.status, expected, "{target}: {}", answer.text());
        assert_eq!(answer.json()["verdict"], "early");
    }
    assert_eq!(house.list(""), [], "asking starts nothing");
}

#[test]
fn a_reverted_rollout_tells_why_in_numbers_and_in_words() {
    let house = house();
    house
        .v2
        .change(|exchange| exchange.answer(500, &[], "broken"));
    let id = house.start();
    house
        .gateway
        .admin
        .wait_for(&format!("/v1/rollouts/{id}"), |seen| {
            house.calls();
            (seen["state"] == "reverted").then_some(())
        });

    // The event gets to disk a moment after the way back.
    let path = format!("/v1/rollouts/{id}/why");
    let why = house.gateway.admin.wait_for(&path, |seen| {
        seen.get("decided").is_some().then(|| seen.clone())
    });
    assert_eq!(why["decided"]["kind"], "rollout_reverted", "{why:#}");
    assert!(why["actuation_us"].is_u64());
    assert_eq!(why["rollout"]["verdict"]["decision"], "revert");
    assert_eq!(
        why["decided"]["details"]["verdict"], why["rollout"]["verdict"]["record"],
        "one record"
    );
    let said = house.gateway.cli(&["why", "all"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for line in why["lines"].as_array().expect("lines") {
        let line = line.as_str().expect("text");
        assert!(said.stdout.contains(line), "{line}\n{}", said.stdout);
    }
    assert!(said.stdout.contains("error_rate_high"), "{}", said.stdout);
    assert_eq!(house.gateway.cli(&["why", "r-9"]).code, Some(5));
}

#[test]
fn a_rollout_is_estimated_before_it_starts() {
    let house = house();
    for _ in 0..4 {
        house.calls();
    }
    let words = [
        "rollout",
        "start",
        "all",
        "--to",
        "v2",
        "--stages",
        "5,50",
        "--stage-duration",
        "5m",
    ];
    let dry: Vec<&str> = words
        .iter()
        .copied()
        .chain(["--dry-run", "--json"])
        .collect();

    let said = house.gateway.cli(&dry);

    assert_eq!(said.code, Some(0), "{said:?}");
    let told: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(told["stages"].as_array().map(Vec::len), Some(2), "{told:#}");
    assert!(told["calls_per_second"].as_f64() > Some(0.0));
    let first = &told["stages"][0];
    assert_eq!(
        (&first["stage"], &first["percent"]),
        (&json!(1), &json!(5.0))
    );
    assert!(first["calls"].as_f64() > Some(0.0), "{told:#}");
    assert_eq!(house.list(""), [], "nothing was started");
    let text = house.gateway.cli(&dry[..dry.len() - 1]);
    assert!(text.stdout.contains("REVERTS ERRORS FROM"), "{text:?}");
    for (query, status) in [
        ("", 422),
        ("?to=v9", 422),
        ("?to=v1&stages=x", 422),
        ("?to=v2&plan=quick", 200),
    ] {
        let path = format!("/v1/routes/all/estimate{query}");
        assert_eq!(house.verdict(&path).0, status, "{query}");
    }
}
