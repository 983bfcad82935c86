//! What a page from elsewhere, open in an operator's browser, gets: nothing.

use crate::admin::wire::{ErrorCode, RouteBody};

use super::Fixture;

const PUT: &str = "PUT /v1/routes/search/weights";
const BODY: &str = r#"{"weights": {"search-v2": 50}}"#;

#[tokio::test]
async fn foreign_pages_get_nothing_whatever_they_send() {
    let api = Fixture::start();
    let own = format!("http://{}", api.address);
    let json = ("content-type", "application/json");
    let form = ("content-type", "text/plain");
    let evil = ("origin", "http://evil.example");
    let own = ("origin", own.as_str());
    for (line, fields, refused) in [
        ("GET /v1/status", vec![], None),
        ("GET /v1/status", vec![own], None),
        ("GET /v1/status", vec![evil], Some(ErrorCode::ForeignOrigin)),
        (PUT, vec![json], None),
        (PUT, vec![json, own], None),
        (PUT, vec![json, evil], Some(ErrorCode::ForeignOrigin)),
        (PUT, vec![form], Some(ErrorCode::UnsupportedMediaType)),
        (PUT, vec![form, own], Some(ErrorCode::UnsupportedMediaType)),
        (PUT, vec![form, evil], Some(ErrorCode::ForeignOrigin)),
    ] {
        let body = if line == PUT { BODY } else { "" };

        let answer = api.call(line, &fields, body).await;

        match refused {
            None => assert_eq!(answer.status, 200, "{line} {fields:?}"),
            Some(code) => assert_eq!(answer.code(), code, "{line} {fields:?}"),
        }
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn a_name_bent_to_loopback_gets_nothing() {
    let api = Fixture::start();
    for host in [
        "evil.example",
        "evil.example:9900",
        "192.0.2.1",
        "user@127.0.0.1",
    ] {
        let answer = api.call("GET /v1/status", &[("host", host)], "").await;
        assert_eq!(answer.code(), ErrorCode::ForeignHost, "{host}");
        let fields = [("host", host), ("content-type", "application/json")];
        let answer = api.call(PUT, &fields, BODY).await;
        assert_eq!(answer.code(), ErrorCode::ForeignHost, "{host}");
    }

    let route: RouteBody = api.get("/v1/routes/search").await.json();
    assert_eq!(route.arms[1].weight, 0);
}

#[tokio::test]
async fn a_preflight_is_not_answered_with_leave() {
    let api = Fixture::start();
    let fields = [
        ("origin", "http://evil.example"),
        ("access-control-request-method", "PUT"),
    ];

    let answer = api
        .call("OPTIONS /v1/routes/search/weights", &fields, "")
        .await;

    assert_eq!(answer.code(), ErrorCode::ForeignOrigin);
}
