//! Who may ask what: every path, every method, every kind of caller.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "most calls need nothing special here"
)]

use http::Method;

use crate::access::Role;
use crate::admin::endpoints::{Call, ENDPOINTS, Endpoint, Needs, Takes};
use crate::admin::wire::{ErrorCode, HistoryBody, RolloutAction, RolloutBody};

use super::{CONFIG, Fixture};

pub(super) const VIEWER: &str = "viewer-0123456789abcdef";
pub(super) const DEPLOYER: &str = "deployer-0123456789abcdef";
const REPORTER: &str = "reporter-0123456789abcdef";
const STRANGER: &str = "stranger-0123456789abcdef";
pub(super) const ADMIN: &str = "admin-0123456789abcdef";
const EXPIRED: &str = "expired-0123456789abcdef";

/// The file with everybody in it, and with bounds that this many calls do not reach.
pub(super) fn file() -> String {
    format!(
        "{CONFIG}
admin:
  failures: {{ per_address: 100000, total: 1000000 }}
  tokens:
    - {{ name: vera, role: viewer, secret: {VIEWER} }}
    - {{ name: rita, role: reporter, secret: {REPORTER}, routes: [sea*] }}
    - {{ name: dora, role: deployer, secret: {DEPLOYER}, routes: [sea*] }}
    - {{ name: dirk, role: deployer, secret: {STRANGER}, routes: [other] }}
    - {{ name: adam, role: admin, secret: {ADMIN} }}
    - {{ name: olga, role: admin, secret: {EXPIRED}, expires: 2020-01-01T00:00:00Z }}
"
    )
}

/// Fields of callers who are not let in.
const NOT_LET_IN: &[(&str, &[&str])] = &[
    ("none", &[]),
    ("empty", &[""]),
    ("no scheme", &[ADMIN]),
    ("another scheme", &["Basic YWRhbTphZGFt"]),
    ("no token", &["Bearer "]),
    (
        "two tokens",
        &["Bearer admin-0123456789abcdef admin-0123456789abcdef"],
    ),
    (
        "twice",
        &[
            "Bearer admin-0123456789abcdef",
            "Bearer admin-0123456789abcdef",
        ],
    ),
    ("wrong", &["Bearer admin-0123456789abcdeg"]),
    ("shorter", &["Bearer admin-0123456789abcde"]),
    ("longer", &["Bearer admin-0123456789abcdeff"]),
    ("expired", &["Bearer expired-0123456789abcdef"]),
];

const KNOWN: [(&str, Role); 5] = [
    (VIEWER, Role::Viewer),
    (REPORTER, Role::Reporter),
    (DEPLOYER, Role::Deployer),
    (STRANGER, Role::Deployer),
    (ADMIN, Role::Admin),
];

const METHODS: [&str; 8] = [
    "GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE",
];

const PUSH: &str = r#"{"route": "search", "values": [{"metric": "liked", "backend": "search-v2", "value": true}]}"#;

/// A call of this endpoint that is fine but for who makes it.
fn fine(endpoint: &Endpoint, rollout: &str) -> (String, &'static str) {
    let path = endpoint
        .path
        .replace("{route}", "search")
        .replace("{backend}", "search-v1")
        .replace("{id}", rollout)
        .replace("/estimate", "/estimate?to=search-v2");
    let body = match endpoint.call {
        Call::SetWeights => r#"{"weights": {"search-v2": 0}}"#,
        Call::RevertRoute => r#"{"to": "search-v1"}"#,
        Call::StartRollout => r#"{"to": "search-v2", "force": true}"#,
        Call::PushMetrics => PUSH,
        _ => "",
    };
    (path, body)
}

/// Puts things in a state in which the call can be done, and gives the rollout's id.
async fn prepare(api: &Fixture, call: Call) -> String {
    let rollout = |answer: super::Answer| answer.json::<RolloutBody>().id.to_string();
    let start = r#"{"to": "search-v2", "force": true}"#;
    let stable = r#"{"weights": {"search-v1": 100, "search-v2": 0}}"#;
    // Refused while a rollout runs, which is fine too.
    api.ask_as(ADMIN, "PUT /v1/routes/search/weights", stable)
        .await;
    let latest = api
        .ask_as(ADMIN, "POST /v1/routes/search/rollouts", start)
        .await;
    let id = if latest.status == 201 {
        rollout(latest)
    } else {
        // One runs already.
        let all = api.ask_as(ADMIN, "GET /v1/rollouts", "").await;
        all.json::<crate::admin::wire::RolloutsBody>().rollouts[0]
            .id
            .to_string()
    };
    let act = async |action: &str| {
        let line = format!("POST /v1/rollouts/{id}/{action}");
        api.ask_as(ADMIN, &line, "").await;
    };
    match call {
        Call::Act(RolloutAction::Resume) => act("pause").await,
        Call::SetWeights | Call::StartRollout => act("abort").await,
        _ => act("resume").await,
    }
    id
}

#[tokio::test]
async fn whoever_is_not_let_in_gets_the_same_answer_everywhere() {
    let api = Fixture::with(&file());
    let mut paths: Vec<_> = ENDPOINTS.iter().map(|it| fine(it, "r-1").0).collect();
    paths.push("/v1/nothing".to_owned());
    paths.dedup();
    for path in paths {
        for method in METHODS {
            for (kind, values) in NOT_LET_IN {
                let mut fields: Vec<_> = values.iter().map(|it| ("authorization", *it)).collect();
                fields.push(("content-type", "application/json"));
                let free = ["/livez", "/readyz", "/startupz", "/metrics"].contains(&path.as_str())
                    && ["GET", "HEAD"].contains(&method);

                let answer = api.call(&format!("{method} {path}"), &fields, "").await;

                let about = format!("{method} {path}, {kind}");
                if free {
                    assert_eq!(answer.status, 200, "{about}");
                    continue;
                }
                assert_eq!(answer.status, 401, "{about}");
                let challenge = answer.headers["www-authenticate"].to_str().unwrap();
                assert!(challenge.starts_with("Bearer"), "{about}");
                if method != "HEAD" {
                    assert_eq!(answer.code(), ErrorCode::Unauthorized, "{about}");
                }
                assert!(!answer.text.contains("0123456789"), "{}", answer.text);
            }
        }
    }
}

#[tokio::test]
async fn every_call_is_for_those_whose_role_and_scope_allow_it() {
    let api = Fixture::with(&file());
    for endpoint in ENDPOINTS {
        for (token, role) in KNOWN {
            let id = prepare(&api, endpoint.call).await;
            let (path, body) = fine(endpoint, &id);
            let verb = endpoint.verb.as_str();
            let about = format!("{verb} {path} as {role} {token}");
            let scoped = [Role::Reporter, Role::Deployer].map(Needs::Role);
            let changes_a_route = scoped.contains(&endpoint.needs);
            let needed = match endpoint.needs {
                Needs::Nothing | Needs::ViewerFromAfar => Role::Viewer,
                Needs::Role(role) => role,
            };
            if endpoint.call == Call::Events {
                continue;
            }

            let fields = [
                ("authorization", &*format!("Bearer {token}")),
                ("content-type", content_type(endpoint)),
            ];
            let answer = api.call(&format!("{verb} {path}"), &fields, body).await;

            if role < needed {
                assert_eq!(answer.status, 403, "{about}");
                assert_eq!(answer.code(), ErrorCode::Forbidden, "{about}");
            } else if changes_a_route && token == STRANGER {
                assert_eq!(answer.status, 403, "{about}");
                assert_eq!(answer.code(), ErrorCode::OutOfScope, "{about}");
            } else {
                let not_yet = match endpoint.call {
                    // Nothing waits for a yes, and what a verdict is depends on what came before.
                    Call::Act(RolloutAction::Approve) => vec![409],
                    // Its plan has no checklist.
                    Call::CheckItem => vec![422, 400],
                    Call::Verdict | Call::RouteVerdict => vec![417, 425],
                    // The file names nobody who is told or asked anything.
                    Call::TestNotifier | Call::TestHook => vec![404],
                    _ => Vec::new(),
                };
                let done = answer.status.is_success() || not_yet.contains(&answer.status.as_u16());
                assert!(done, "{about}: {answer:?}");
            }
        }
    }
}

fn content_type(endpoint: &Endpoint) -> &'static str {
    match endpoint.takes {
        Takes::File => "application/yaml",
        Takes::Json(_) | Takes::Told(_) | Takes::Nothing => "application/json",
    }
}

#[tokio::test]
async fn a_path_without_the_method_is_told_to_those_who_are_let_in() {
    let api = Fixture::with(&file());
    for endpoint in ENDPOINTS {
        let (path, _) = fine(endpoint, "r-1");
        let has = |method: &str| {
            ENDPOINTS.iter().any(|other| {
                let verb = other.verb.as_str();
                other.path == endpoint.path && (verb == method || (verb, method) == ("GET", "HEAD"))
            })
        };
        for method in METHODS.iter().filter(|method| !has(method)) {
            for (token, _) in KNOWN {
                let answer = api.ask_as(token, &format!("{method} {path}"), "").await;

                assert_eq!(answer.status, 405, "{method} {path}");
            }
        }
    }
    assert_eq!(api.ask_as(VIEWER, "GET /v1/nothing", "").await.status, 404);
    assert!(METHODS.iter().all(|name| name.parse::<Method>().is_ok()));
}

#[tokio::test]
async fn what_is_done_is_put_down_to_whoever_was_let_in() {
    let api = Fixture::with(&file());
    let fields = [
        ("authorization", &*format!("Bearer {DEPLOYER}")),
        ("content-type", "application/json"),
        ("x-switchback-who", "the pope"),
    ];
    let body = r#"{"weights": {"search-v2": 7}, "reason": "first taste"}"#;

    let done = api
        .call("PUT /v1/routes/search/weights", &fields, body)
        .await;

    assert_eq!(done.status, 200, "{done:?}");
    let history: HistoryBody = api.ask_as(VIEWER, "GET /v1/history", "").await.json();
    assert_eq!(history.events[0].who, "dora");
}

#[tokio::test]
async fn a_scope_follows_a_rollout_to_its_route() {
    let api = Fixture::with(&file());
    let id = prepare(&api, Call::Act(RolloutAction::Pause)).await;

    for (line, expected) in [
        (
            format!("POST /v1/rollouts/{id}/pause"),
            ErrorCode::OutOfScope,
        ),
        (
            "POST /v1/rollouts/r-999/pause".to_owned(),
            ErrorCode::NotFound,
        ),
        ("POST /v1/rollouts/x/pause".to_owned(), ErrorCode::NotFound),
        (
            "POST /v1/routes/sea%72ch/rollouts".to_owned(),
            ErrorCode::OutOfScope,
        ),
    ] {
        let answer = api.ask_as(STRANGER, &line, r#"{"to": "search-v2"}"#).await;
        assert_eq!(answer.code(), expected, "{line}");
    }
    let answer = api
        .ask_as(STRANGER, &format!("GET /v1/rollouts/{id}"), "")
        .await;
    assert_eq!(answer.status, 200, "a scope bounds changes, not looking");
}

#[tokio::test]
async fn tokens_come_and_go_with_the_file() {
    let api = Fixture::with(&file());
    let renewed = file().replace(VIEWER, "viewer-fedcba9876543210");
    std::fs::write(&api.file, renewed).unwrap();

    let reloaded = api.ask_as(ADMIN, "POST /v1/config/reload", "").await;

    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    assert!(reloaded.text.contains("\"changed\":true"), "{reloaded:?}");
    assert_eq!(api.ask_as(VIEWER, "GET /v1/status", "").await.status, 401);
    let new = api
        .ask_as("viewer-fedcba9876543210", "GET /v1/status", "")
        .await;
    assert_eq!(new.status, 200);
}

#[tokio::test]
async fn a_secret_is_nowhere_in_what_the_api_says() {
    let api = Fixture::with(&file());
    std::fs::write(&api.file, file().replace("role: viewer", "role: nobody")).unwrap();
    api.ask_as(ADMIN, "POST /v1/config/reload", "").await;

    for path in [
        "/v1/config",
        "/v1/status",
        "/v1/history",
        "/metrics",
        "/openapi.json",
    ] {
        let answer = api.ask_as(ADMIN, &format!("GET {path}"), "").await;

        assert_eq!(answer.status, 200, "{path}");
        for (token, _) in KNOWN {
            let hash = crate::access::Secret::presented(token).to_hex();
            assert!(!answer.text.contains(token), "{path}");
            assert!(!answer.text.contains(&hash[..16]), "{path}");
        }
    }
}

#[tokio::test]
async fn too_many_failures_are_told_to_wait_and_lock_nobody_out() {
    let few = file().replace("per_address: 100000", "per_address: 3");
    let api = Fixture::with(&few);
    for _ in 0..3 {
        let answer = api
            .ask_as("wrong-0123456789abcdef", "GET /v1/status", "")
            .await;
        assert_eq!(answer.status, 401);
    }

    let limited = api
        .ask_as("wrong-0123456789abcdef", "GET /v1/status", "")
        .await;

    assert_eq!(limited.code(), ErrorCode::TooMany);
    let wait: u64 = limited.headers["retry-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(limited.headers["connection"], "close");
    assert_eq!(api.ask_as(VIEWER, "GET /v1/status", "").await.status, 200);
    let again = api.get("/v1/status").await;
    assert_eq!(again.status, 429, "a success resets nothing");
    let page = api.get("/metrics").await.text;
    assert!(page.contains("switchback_admin_auth_failures_total{reason=\"wrong\"}"));
}

#[tokio::test]
async fn a_reader_of_events_leaves_with_their_token() {
    use http_body_util::{BodyExt, Full};
    let api = Fixture::with(&file());
    let request = http::Request::get("/v1/events")
        .header("host", "localhost")
        .header("authorization", format!("Bearer {VIEWER}"))
        .body(Full::<bytes::Bytes>::default())
        .unwrap();
    let response = api.ask(request).await;
    assert_eq!(response.status(), 200);
    let renewed = file().replace(VIEWER, "viewer-fedcba9876543210");
    std::fs::write(&api.file, renewed).unwrap();

    let reloaded = api.ask_as(ADMIN, "POST /v1/config/reload", "").await;

    assert_eq!(reloaded.status, 200);
    let told = response.into_body().collect().await.unwrap().to_bytes();
    let told = String::from_utf8_lossy(&told);
    assert!(!told.contains("config_reloaded"), "{told}");
}

#[tokio::test]
async fn networks_that_are_denied_are_not_even_listened_to() {
    let api = Fixture::with(&format!("{CONFIG}\nadmin: {{ deny: [127.0.0.0/8] }}\n"));
    let mut stream = api.connect().await;
    let mut got = Vec::new();

    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut got).await;

    assert!(got.is_empty());
}
