//! Bounds: of bodies, heads, waits and connections.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::admin::wire::ErrorCode;

use super::Fixture;

#[tokio::test]
async fn a_body_over_its_bound_is_refused() {
    let api = Fixture::start();
    let large = format!(r#"{{"reason": "{}"}}"#, "x".repeat(1024 * 1024));

    let answer = api.send("POST /v1/config/reload", &large).await;

    assert_eq!(answer.code(), ErrorCode::TooLarge);
    assert_eq!(answer.headers["connection"], "close");
}

#[tokio::test]
async fn a_body_nested_deep_is_refused_without_a_fall() {
    let api = Fixture::start();
    let deep = format!(r#"{{"weights": {}"#, "[".repeat(100_000));

    let answer = api.send("PUT /v1/routes/search/weights", &deep).await;

    assert!(answer.status.is_client_error(), "{answer:?}");
}

/// What comes back, and after how long, when only `sent` is ever sent.
async fn left_alone(sent: &str) -> (String, Duration) {
    let api = Fixture::start();
    let mut stream = api.connect().await;
    stream.write_all(sent.as_bytes()).await.unwrap();
    let start = Instant::now();
    let mut got = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut got).await;
    (String::from_utf8_lossy(&got).into_owned(), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_given_up() {
    for sent in ["", "GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let (_, took) = left_alone(sent).await;

        assert!(
            took <= Duration::from_secs(20),
            "{sent:?} was held for {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let head = "POST /v1/config/reload HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";

    let (got, took) = left_alone(head).await;

    assert!(got.starts_with("HTTP/1.1 408"), "{got}");
    assert!(took <= Duration::from_secs(20), "held for {took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_given_up() {
    let (got, took) = left_alone("GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;

    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    assert!(took <= Duration::from_secs(40), "held for {took:?}");
}

#[tokio::test]
async fn a_head_over_its_bound_is_refused() {
    for many in [
        format!("X: {}\r\n", "x".repeat(40_000)),
        "X: 1\r\n".repeat(200),
    ] {
        let api = Fixture::start();
        let mut stream = api.connect().await;
        let head = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{many}\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut got = Vec::new();

        let _ = stream.read_to_end(&mut got).await;

        let got = String::from_utf8_lossy(&got);
        assert!(got.is_empty() || got.starts_with("HTTP/1.1 431"), "{got}");
    }
}

#[tokio::test]
async fn connections_over_their_bound_are_closed_at_once() {
    let api = Fixture::start();
    let mut held = Vec::new();
    for _ in 0..128 {
        let mut stream = api.connect().await;
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        held.push(stream);
    }

    let mut more = api.connect().await;
    let mut got = Vec::new();
    let _ = more.read_to_end(&mut got).await;

    assert!(got.is_empty());
}
