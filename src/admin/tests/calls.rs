//! Each endpoint: asked well, asked badly, asked for what is not there.

use crate::admin::endpoints::{Call, ENDPOINTS, Verb};
use crate::admin::wire::{
    ArmBody, BackendBody, ConfigBody, ConfigCheckBody, ErrorCode, ErrorReply, HistoryBody,
    ReloadBody, RolloutBody, RolloutState, RolloutsBody, RouteBody, RoutesBody, StatusBody,
    WeightsReply,
};
use crate::model::RolloutId;

use super::Fixture;

fn weights(arms: &[ArmBody]) -> Vec<(&str, u32)> {
    let each = arms.iter();
    each.map(|arm| (arm.backend.as_str(), arm.weight)).collect()
}

#[tokio::test]
async fn everything_can_be_looked_at() {
    let api = Fixture::start();
    let started = api
        .send("POST /v1/routes/search/rollouts", r#"{"to": "search-v2"}"#)
        .await;
    assert_eq!(started.status, 201, "{started:?}");

    for endpoint in ENDPOINTS {
        let named = endpoint.path.replace("{route}", "search");
        let path = named
            .replace("{backend}", "search-v2")
            .replace("{id}", "r-1")
            .replace("/estimate", "/estimate?to=search-v2");
        // A stream does not end, and it is too early for a verdict.
        let special = matches!(
            endpoint.call,
            Call::Events | Call::Verdict | Call::RouteVerdict
        );
        if endpoint.verb != Verb::Get || special {
            continue;
        }
        let whole = api.get(&path).await;
        assert_eq!(whole.status, 200, "{path}: {whole:?}");
        assert_eq!(whole.headers["cache-control"], "no-store");
        let head = api.call(&format!("HEAD {path}"), &[], "").await;
        assert_eq!(
            (head.status, head.text.as_str()),
            (whole.status, ""),
            "{path}"
        );
    }
}

#[tokio::test]
async fn status_and_routes_say_who_gets_what() {
    let api = Fixture::start();

    let status: StatusBody = api.get("/v1/status").await.json();
    let routes: RoutesBody = api.get("/v1/routes").await.json();
    let route = api.get("/v1/routes/search").await;
    let backend: BackendBody = api.get("/v1/backends/search-v2").await.json();

    assert!(
        status.store.healthy && status.warnings.is_empty(),
        "{status:?}"
    );
    assert_eq!(status.routes, routes.routes);
    let tag = format!("\"{}\"", routes.generation);
    assert_eq!(route.headers["etag"], tag.as_str());
    let route: RouteBody = route.json();
    assert_eq!(weights(&route.arms), [("search-v1", 100), ("search-v2", 0)]);
    assert!((route.arms[0].percent - 100.0).abs() < 1e-9);
    assert_eq!(route.shadow.unwrap().backend.as_str(), "search-v2");
    assert_eq!(backend.endpoints, ["http://127.0.0.1:3002"]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_in_one_shape() {
    let api = Fixture::start();
    for path in [
        "/v1",
        "/v1/",
        "/v1/routes/",
        "/v1/routes/none",
        "/v1/routes/a%20b",
        "/v1/backends/none",
        "/v1/rollouts/r-9",
        "/v1/rollouts/9",
        "/v1/rollouts/r-9/verdict",
        "/nothing",
        "/v1/status/x",
        "/v1/routes/search/weights/x",
        "//v1/status",
        "/V1/status",
    ] {
        let answer = api.get(path).await;

        assert_eq!(
            (answer.status.as_u16(), answer.code()),
            (404, ErrorCode::NotFound),
            "{path}"
        );
    }
    for (path, body) in [
        ("/v1/routes/none/rollouts", r#"{"to": "search-v2"}"#),
        ("/v1/routes/a b/rollouts", r#"{"to": "search-v2"}"#),
        ("/v1/rollouts/r-9/pause", ""),
        ("/v1/rollouts/x/revert", ""),
    ] {
        let line = format!("POST {}", path.replace(' ', "%20"));
        let answer = api.send(&line, body).await;
        assert_eq!(answer.code(), ErrorCode::NotFound, "{path}");
    }
}

#[tokio::test]
async fn a_method_that_a_path_lacks_is_refused_with_those_it_has() {
    let api = Fixture::start();
    for (line, allow) in [
        ("POST /v1/status", "GET, HEAD"),
        ("DELETE /v1/routes/search", "GET, HEAD"),
        ("GET /v1/routes/search/weights", "PUT"),
        ("GET /v1/config/reload", "POST"),
        ("OPTIONS /v1/routes/search/weights", "PUT"),
        ("BREW /", "GET, HEAD"),
    ] {
        let answer = api.call(line, &[], "").await;

        assert_eq!(answer.code(), ErrorCode::MethodNotAllowed, "{line}");
        assert_eq!(answer.headers["allow"], allow, "{line}");
    }
}

#[tokio::test]
async fn weights_are_shifted_and_remembered() {
    let api = Fixture::start();
    let body = r#"{"weights": {"search-v2": 25}, "reason": "taste"}"#;
    let fields = [
        ("content-type", "application/json; charset=utf-8"),
        ("x-switchback-who", "ann"),
    ];

    let answer = api
        .call("PUT /v1/routes/search/weights", &fields, body)
        .await;

    let reply: WeightsReply = answer.json();
    assert_eq!(
        weights(&reply.route.arms),
        [("search-v1", 100), ("search-v2", 25)]
    );
    assert_eq!(
        answer.headers["etag"],
        format!("\"{}\"", reply.generation).as_str()
    );
    let history: HistoryBody = api.get("/v1/history?route=search&limit=1").await.json();
    let event = &history.events[0];
    assert_eq!(
        (event.kind.as_str(), event.who.as_str()),
        ("weights_changed", "ann")
    );
    assert_eq!(event.reason.as_deref(), Some("taste"));
    assert_eq!(event.details["to"]["search-v2"], 25);
    assert_eq!(event.generation, reply.generation);
}

#[tokio::test]
async fn weights_that_cannot_be_are_refused_and_change_nothing() {
    let api = Fixture::start();
    let before: RouteBody = api.get("/v1/routes/search").await.json();
    for (body, code) in [
        (r#"{"weights": {"nobody": 1}}"#, ErrorCode::Invalid),
        (r#"{"weights": {"search-v1": 0}}"#, ErrorCode::Invalid),
        (r#"{"weights": {"search-v1": 1000001}}"#, ErrorCode::Invalid),
        (r#"{"weights": {"search-v1": "1"}}"#, ErrorCode::Invalid),
        (r#"{"weights": {}, "more": 1}"#, ErrorCode::Invalid),
        (r#"{"weights": {"search-v1": 1}"#, ErrorCode::BadRequest),
    ] {
        let answer = api.send("PUT /v1/routes/search/weights", body).await;
        assert_eq!(answer.code(), code, "{body}");
    }

    let after: RouteBody = api.get("/v1/routes/search").await.json();
    assert_eq!(
        (after.generation, after.arms),
        (before.generation, before.arms)
    );
}

#[tokio::test]
async fn of_many_deployers_with_the_same_generation_one_wins() {
    let api = Fixture::start();
    let route: RouteBody = api.get("/v1/routes/search").await.json();
    let seen = route.generation.to_string();
    let fields = [
        ("content-type", "application/json"),
        ("if-match", seen.as_str()),
    ];
    let put = |share: u32| {
        let (api, fields) = (&api, &fields);
        async move {
            let body = format!(r#"{{"weights": {{"search-v2": {share}}}}}"#);
            api.call("PUT /v1/routes/search/weights", fields, &body)
                .await
        }
    };

    let answers = tokio::join!(put(1), put(2), put(3), put(4), put(5), put(6));

    let answers = <[_; 6]>::from(answers);
    let won = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(won, 1, "{answers:?}");
    let now: RouteBody = api.get("/v1/routes/search").await.json();
    for lost in answers.iter().filter(|answer| answer.status != 200) {
        assert_eq!(lost.code(), ErrorCode::GenerationMismatch);
        let reply: ErrorReply = lost.json();
        assert_eq!(reply.error.details.unwrap()["generation"], now.generation.0);
    }
}

#[tokio::test]
async fn a_rollout_is_started_steered_and_ended() {
    let api = Fixture::start();
    let start =
        r#"{"to": "search-v2", "stages": [{"percent": 10, "for": "1h"}], "reason": "release 2"}"#;
    let started = api.send("POST /v1/routes/search/rollouts", start).await;
    assert_eq!(started.status, 201, "{started:?}");
    let rollout: RolloutBody = started.json();
    assert_eq!(rollout.reason.as_deref(), Some("release 2"));
    assert_eq!(
        (rollout.stages.len(), rollout.stages[0].for_seconds as u64),
        (1, 3600)
    );
    let path = |action: &str| format!("POST /v1/rollouts/{}/{action}", rollout.id);
    let again = api.send("POST /v1/routes/search/rollouts", start).await;
    assert_eq!(again.code(), ErrorCode::Conflict);
    let shifted = api
        .send(
            "PUT /v1/routes/search/weights",
            r#"{"weights": {"search-v2": 9}}"#,
        )
        .await;
    assert_eq!(shifted.code(), ErrorCode::Conflict);
    let early = api.send(&path("approve"), "").await;
    assert_eq!(early.code(), ErrorCode::Conflict);

    let paused: RolloutBody = api.send(&path("pause"), "").await.json();
    assert_eq!(paused.state, RolloutState::Paused);
    let resumed: RolloutBody = api.send(&path("resume"), "{}").await.json();
    assert_eq!(resumed.state, RolloutState::Running);
    let reverted: RolloutBody = api
        .send(&path("revert"), r#"{"reason": "bad"}"#)
        .await
        .json();
    assert_eq!(reverted.state, RolloutState::Reverted);
    assert_eq!(
        api.send(&path("resume"), "").await.code(),
        ErrorCode::Conflict
    );

    let route: RouteBody = api.get("/v1/routes/search").await.json();
    assert_eq!(route.arms[1].weight, 0, "{route:?}");
    let cooling = api.send("POST /v1/routes/search/rollouts", start).await;
    assert_eq!(cooling.code(), ErrorCode::TooMany);
    let forced = r#"{"to": "search-v2", "force": true}"#;
    let forced = api.send("POST /v1/routes/search/rollouts", forced).await;
    assert_eq!(forced.status, 201, "{forced:?}");
    let all: RolloutsBody = api.get("/v1/rollouts").await.json();
    let ids = all.rollouts.iter().map(|rollout| rollout.id);
    assert_eq!(ids.collect::<Vec<_>>(), [2, 1].map(RolloutId));
}

#[tokio::test]
async fn rollouts_that_cannot_be_are_refused() {
    let api = Fixture::start();
    for body in [
        r#"{"to": "search-v1"}"#,
        r#"{"to": "nobody"}"#,
        r#"{"to": "search-v2", "plan": "none"}"#,
        r#"{"to": "search-v2", "plan": "careful", "stages": []}"#,
        r#"{"to": "search-v2", "stages": []}"#,
        r#"{"to": "search-v2", "stages": [{"percent": 101, "for": "1m"}]}"#,
        r#"{"to": "search-v2", "stages": [{"percent": 5, "for": "soon"}]}"#,
        r#"{"to": "search-v2", "stages": [{"percent": 50, "for": "1m"}, {"percent": 5, "for": "1m"}]}"#,
        r#"{"to": "search v2"}"#,
        "{}",
    ] {
        let answer = api.send("POST /v1/routes/search/rollouts", body).await;
        assert_eq!(answer.code(), ErrorCode::Invalid, "{body}");
    }
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_seen_everywhere() {
    let api = Fixture::start();
    let fine: ReloadBody = api.send("POST /v1/config/reload", "").await.json();
    assert!(!fine.changed);
    std::fs::write(&api.file, "listeners: []\nnonsense: 1\n").unwrap();

    let refused = api.send("POST /v1/config/reload", "").await;

    assert_eq!(refused.code(), ErrorCode::InvalidConfig);
    let reply: ErrorReply = refused.json();
    assert!(
        !reply.error.details.unwrap()["diagnostics"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    let status: StatusBody = api.get("/v1/status").await.json();
    assert!(!status.config.refused.is_empty() && !status.warnings.is_empty());
    let config: ConfigBody = api.get("/v1/config").await.json();
    assert_eq!(config.config["routes"][0]["name"], "search");
    let metrics = api.get("/metrics").await.text;
    assert!(metrics.contains("\nswitchback_config_last_reload_success 0\n"));
}

#[tokio::test]
async fn texts_are_checked_without_being_put_in_force() {
    let api = Fixture::start();
    let check = async |label: &str, text: &str| {
        let fields = [("content-type", label)];
        api.call("POST /v1/config/check", &fields, text).await
    };

    let on_disk: ConfigCheckBody = check("application/json", "").await.json();
    let good: ConfigCheckBody = check("application/yaml", super::CONFIG).await.json();
    let bad: ConfigCheckBody = check("application/yaml", "routes: 7").await.json();
    let not_toml: ConfigCheckBody = check("application/toml", super::CONFIG).await.json();

    assert!(on_disk.valid && good.valid, "{on_disk:?} {good:?}");
    assert!(!bad.valid && !bad.diagnostics.is_empty() && bad.rendered.is_some());
    assert!(!not_toml.valid);
    assert_eq!(
        check("text/plain", "").await.code(),
        ErrorCode::UnsupportedMediaType
    );
}

#[tokio::test]
async fn probes_follow_the_process_through_its_life() {
    let api = Fixture::start();
    assert_eq!(api.get("/readyz").await.text, "ok\n");

    api.readiness.draining();

    let ready = api.get("/readyz").await;
    assert_eq!(ready.code(), ErrorCode::Unavailable);
    assert_eq!(api.get("/livez").await.status, 200);
    assert_eq!(api.get("/startupz").await.status, 200);
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused() {
    let api = Fixture::start();
    for query in [
        "limit=0",
        "limit=x",
        "rollout=7",
        "colour=red",
        "route=a&route=b",
    ] {
        let answer = api.get(&format!("/v1/history?{query}")).await;
        assert_eq!(answer.code(), ErrorCode::Invalid, "{query}");
    }
}
