//! What a page from elsewhere, open in an operator's browser, gets: nothing.

use crate::admin::wire::{ErrorCode, RouteBody};

use super::Fixture;
use super::access::{VIEWER, file};

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
async fn a_page_that_the_file_lists_may_ask_and_read_and_no_other_may() {
    let dashboard = "https://dash.example";
    let api = Fixture::with(&file().replace(
        "admin:\n",
        &format!("admin:\n  origins: [\"{dashboard}\"]\n"),
    ));
    let preflight = |origin| {
        [
            ("origin", origin),
            ("access-control-request-method", "PUT"),
            (
                "access-control-request-headers",
                "authorization,content-type",
            ),
        ]
    };

    // No token: a browser sends none with a preflight. What is asked for tells nothing.
    for path in ["/v1/routes/search/weights", "/v1/audit", "/nothing"] {
        let answer = api
            .call(&format!("OPTIONS {path}"), &preflight(dashboard), "")
            .await;
        assert_eq!(answer.status, 204, "{path}");
        let told = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
        assert_eq!(told("access-control-allow-origin"), dashboard);
        assert!(told("access-control-allow-methods").contains("PUT"));
        assert!(told("access-control-allow-headers").contains("authorization"));
        assert_eq!(told("vary"), "origin");
        assert!(
            !answer
                .headers
                .contains_key("access-control-allow-credentials")
        );
    }
    for evil in ["https://evil.example", "http://dash.example", "null"] {
        let answer = api.call("OPTIONS /v1/status", &preflight(evil), "").await;
        assert_eq!(answer.code(), ErrorCode::ForeignOrigin, "{evil}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
    let twice = [("origin", dashboard), ("origin", "https://evil.example")];
    let answer = api.call("OPTIONS /v1/status", &twice, "").await;
    assert_eq!(answer.code(), ErrorCode::ForeignOrigin);

    // The call itself takes a token like any other; the page may read either answer.
    let asks = |token: &str| {
        [
            ("origin", dashboard.to_owned()),
            ("authorization", format!("Bearer {token}")),
        ]
    };
    for (token, status) in [("wrong", 401), (VIEWER, 200)] {
        let fields = asks(token);
        let fields = fields
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let answer = api.call("GET /v1/status", &fields, "").await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers["access-control-allow-origin"], dashboard);
    }
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
