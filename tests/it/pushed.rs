//! Metrics that applications push, and what the judge makes of them.

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::{self, Gateway};
use crate::support::routes::route;

struct House {
    _backends: [Backend; 3],
    gateway: Gateway,
}

const PLAN: &str = "plans:
  asked:
    stages: [{ percent: 50, for: 1h }]
    judge:
      metrics:
        - { name: liked, kind: yes_no, worse: lower }
        - { name: tokens, kind: number }
  later:
    stages: [{ percent: 50, for: 1h }]
    warmup: 1h
    judge: { metrics: [{ name: tokens, kind: number }] }
  rated:
    stages: [{ percent: 50, for: 1h }]
    judge: { metrics: [{ name: liked, kind: number, worse: lower }] }
";

impl House {
    fn new() -> Self {
        let backends = [(); 3].map(|()| Backend::fixed(200, "fine"));
        let [v1, v2, other] = &backends;
        let arms = [
            ("v1", &*v1.url(), 100),
            ("v2", &*v2.url(), 0),
            ("v3", &*other.url(), 0),
        ];
        let gateway = Gateway::start_with_workers(1, &(route("http", &arms) + PLAN));
        Self {
            _backends: backends,
            gateway,
        }
    }

    fn start(&self, plan: &Value) -> String {
        let rollout = self.gateway.admin.post("/v1/routes/all/rollouts", plan);
        format!("/v1/rollouts/{}", rollout["id"].as_str().expect("an id"))
    }

    /// A rollout by the plan that has metrics.
    fn begun() -> (Self, String) {
        let house = Self::new();
        let rollout = house.start(&json!({ "to": "v2", "plan": "asked" }));
        (house, rollout)
    }

    /// What became of a push: status and body.
    fn push(&self, values: &Value) -> (u16, Value) {
        let body = json!({ "route": "all", "values": values });
        let answer = self.gateway.admin.ask("POST", "/v1/metrics", &[], &body);
        (answer.status, answer.json())
    }
}

fn value(metric: &str, backend: &str, value: &Value) -> Value {
    json!({ "metric": metric, "backend": backend, "value": value })
}

#[test]
fn answers_that_are_liked_less_revert_for_that_reason() {
    let (house, rollout) = House::begun();
    let values: Vec<Value> = (0..30)
        .flat_map(|_| {
            [
                value("liked", "v1", &json!(true)),
                value("liked", "v2", &json!(false)),
            ]
        })
        .collect();

    let seen = house.gateway.admin.wait_for(&rollout, |seen| {
        let (status, answer) = house.push(&json!(values));
        assert_eq!(status, 200, "{answer}");
        (seen["state"] == "reverted").then(|| seen.clone())
    });

    assert_eq!(seen["revert_reason"], "metric_degraded", "{seen:#}");
    let liked = &seen["verdict"]["record"]["metrics"][0];
    assert_eq!(liked["name"], "liked");
    assert_eq!(
        (&liked["stable"]["mean"], &liked["candidate"]["mean"]),
        (&json!(1.0), &json!(0.0))
    );
    let why = house.gateway.admin.get(&format!("{rollout}/why"));
    let lines = why["lines"].as_array().expect("lines");
    let told = lines
        .iter()
        .any(|line| line.as_str().unwrap().starts_with("metric liked: "));
    assert!(told, "{lines:#?}");
}

#[test]
fn numbers_that_are_larger_revert_and_equal_ones_do_not() {
    let (house, rollout) = House::begun();
    let push = |of_v2: f64| {
        let each = (0..25).flat_map(|n| {
            let tokens = 100.0 + f64::from(n);
            [("v1", tokens), ("v2", tokens * of_v2)]
                .map(|(backend, tokens)| value("tokens", backend, &json!(tokens)))
        });
        let (status, answer) = house.push(&each.collect());
        // A rollout that is over by now waits for nothing more.
        assert_eq!(status, 200, "{answer}");
    };
    // Until windows of values alike have been weighed.
    let before = house.gateway.admin.wait_for(&rollout, |seen| {
        push(1.0);
        let tokens = seen["verdict"]["record"]["metrics"][1].clone();
        (tokens["stable"]["bad"].as_u64() > Some(100)).then_some(tokens)
    });
    assert!(before["e_value"].as_f64() < Some(5.0), "{before}");

    let seen = house.gateway.admin.wait_for(&rollout, |seen| {
        push(3.0);
        (seen["state"] == "reverted").then(|| seen.clone())
    });

    assert_eq!(seen["revert_reason"], "metric_degraded");
}

#[test]
fn a_request_id_finds_the_version_that_answered() {
    let (house, rollout) = House::begun();
    let mut raw = house.gateway.connect();
    for number in 0..40 {
        let id = format!("call-{number}");
        raw.ask("GET", "/", &[("x-request-id", &id)], b"");
    }
    let values = (0..40).map(|number| {
        let id = format!("call-{number}");
        json!({ "metric": "tokens", "request_id": id, "value": 7 })
    });

    let (status, answer) = house.push(&values.collect());

    assert_eq!(
        (status, answer),
        (200, json!({ "counted": 40, "unjudged": 0 }))
    );
    let tokens = house.gateway.admin.wait_for(&rollout, |seen| {
        let tokens = &seen["verdict"]["record"]["metrics"][1];
        let of = |arm: &str| tokens[arm]["values"].as_u64().unwrap_or(0);
        (of("stable") + of("candidate") == 40).then(|| (of("stable"), of("candidate")))
    });
    let calls = house.gateway.admin.get("/v1/status");
    assert!(tokens.0 > 0 && tokens.1 > 0, "{tokens:?} {calls}");
}

#[test]
fn a_push_with_anything_wrong_is_refused_as_a_whole_and_says_where() {
    let (house, rollout) = House::begun();
    let fine = value("liked", "v2", &json!(true));
    let wrong = [
        value("likd", "v2", &json!(true)),
        value("liked", "v9", &json!(true)),
        value("liked", "v2", &json!(0.5)),
        value("tokens", "v2", &json!(-1)),
        json!({ "metric": "tokens", "request_id": "long-ago", "value": 7 }),
    ];
    let mut values = vec![fine.clone()];
    values.extend(wrong);

    let (status, answer) = house.push(&json!(values));

    assert_eq!(
        (status, &answer["error"]["code"]),
        (422, &json!("invalid")),
        "{answer}"
    );
    let problems = answer["error"]["details"]["values"]
        .as_array()
        .expect("problems");
    let places: Vec<_> = problems
        .iter()
        .map(|it| it["index"].as_u64().unwrap())
        .collect();
    assert_eq!(places, [1, 2, 3, 4, 5]);
    let counted = house.gateway.admin.text("/metrics");
    for reason in ["metric", "backend", "value", "request"] {
        let line =
            format!("switchback_pushed_values_refused_total{{route=\"all\",reason=\"{reason}\"}}");
        assert!(counted.contains(&line), "{reason}");
    }
    assert!(
        !counted.contains("switchback_pushed_values_total{route"),
        "nothing was taken in"
    );

    for wrong in [
        json!([]),
        json!(vec![fine.clone(); 1001]),
        json!([{ "metric": "liked", "value": true }]),
        json!([{ "metric": "liked", "backend": "v2", "request_id": "a", "value": true }]),
        json!([{ "metric": "liked", "request_id": "a b", "value": true }]),
        json!([{ "metric": "liked", "backend": "v2", "value": true, "key": "" }]),
        json!([{ "metric": "liked", "backend": "v2", "value": "yes" }]),
    ] {
        let (status, answer) = house.push(&wrong);
        assert_eq!(status, 422, "{answer}");
    }
    assert_eq!(house.push(&json!([fine])).0, 200);
    let values = house.gateway.admin.wait_for(&rollout, |seen| {
        let liked = &seen["verdict"]["record"]["metrics"][0];
        liked["candidate"]["values"]
            .as_u64()
            .filter(|values| *values > 0)
    });
    assert_eq!(values, 1);
}

#[test]
fn what_no_judge_waits_for_is_no_fault_of_the_application() {
    let house = House::new();
    let mine = [
        value("liked", "v2", &json!(true)),
        value("tokens", "v1", &json!(5)),
    ];
    let unjudged = |values: &Value| {
        let (status, answer) = house.push(values);
        assert_eq!(status, 200, "{answer}");
        answer
    };
    assert_eq!(
        unjudged(&json!(mine)),
        json!({ "counted": 0, "unjudged": 2 })
    );
    let rated = json!([value("liked", "v2", &json!(4.5))]);
    assert_eq!(
        unjudged(&rated)["unjudged"],
        1,
        "one plan takes it for a number"
    );

    house.start(&json!({ "to": "v2", "stages": [{ "percent": 50, "for": "1h" }] }));
    assert_eq!(
        unjudged(&json!(mine)),
        json!({ "counted": 0, "unjudged": 2 })
    );

    let aborted = house.gateway.admin.get("/v1/rollouts")["rollouts"][0]["id"].clone();
    let path = format!("/v1/rollouts/{}/abort", aborted.as_str().unwrap());
    house.gateway.admin.post(&path, &json!({}));
    house.start(&json!({ "to": "v2", "plan": "asked" }));
    let both = json!([mine[0], value("liked", "v3", &json!(true))]);
    assert_eq!(unjudged(&both), json!({ "counted": 1, "unjudged": 1 }));
}

#[test]
fn requests_before_the_first_judged_stage_are_no_fault_of_the_application_either() {
    let house = House::new();
    let by_id = json!([{ "metric": "tokens", "request_id": "call-1", "value": 7 }]);
    let unjudged = (200, json!({ "counted": 0, "unjudged": 1 }));
    assert_eq!(house.push(&by_id), unjudged, "no rollout");

    house.start(&json!({ "to": "v2", "plan": "later" }));

    assert_eq!(house.push(&by_id), unjudged, "in the warm-up");
}

#[test]
fn the_command_line_pushes_too() {
    let (house, rollout) = House::begun();
    let admin = format!("http://{}", house.gateway.admin.0);
    let run = |words: &[&str]| {
        let words: Vec<&str> = words.iter().copied().chain(["--admin", &admin]).collect();
        gateway::run(&words, house.gateway.folder())
    };

    let pushed = run(&[
        "metrics",
        "push",
        "all",
        "liked=no",
        "tokens=812",
        "--backend",
        "v2",
        "--caller",
        "user-17",
    ]);
    let refused = run(&["metrics", "push", "all", "tokens=many", "--backend", "v2"]);
    let unknown = run(&[
        "metrics",
        "push",
        "all",
        "tokens=8",
        "--request-id",
        "nobody",
    ]);

    assert_eq!(pushed.status.code(), Some(0), "{pushed:?}");
    assert_eq!(
        String::from_utf8_lossy(&pushed.stdout),
        "2 values taken in\n"
    );
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(unknown.status.code(), Some(5), "{unknown:?}");
    let said = String::from_utf8_lossy(&unknown.stderr);
    assert!(said.contains("`nobody`"), "it says which: {said}");
    let mean = house.gateway.admin.wait_for(&rollout, |seen| {
        seen["verdict"]["record"]["metrics"][1]["candidate"]["mean"].as_f64()
    });
    assert!((mean - 812.0).abs() < 1e-9);
}
