//! Waiting, against a scripted admin API on a real socket.

use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::*;
use crate::cli::args::{Cli, Globals};

fn output() -> Output {
    use clap::Parser;
    let Globals { admin, .. } = Cli::parse_from(["switchback", "schema"]).globals;
    Output::new(&Globals {
        token: None,
        token_file: None,
        admin,
        ca: None,
        cert: None,
        key: None,
        json: true,
        no_color: true,
    })
}

fn rollout(state: &str) -> serde_json::Value {
    json!({
        "id": "r-3", "route": "search", "stable": "v1", "candidate": "v2", "state": state,
        "percent": 5.0, "stage": 1, "stages": [], "stage_elapsed_seconds": 1.0,
        "started_at": "2026-11-21T04:31:27Z", "who": "ci", "message": ""
    })
}

/// An admin API without a stream that gives these answers, the last one for ever.
async fn api(answers: &[(u16, serde_json::Value)]) -> Api {
    let answers: &'static Mutex<Vec<_>> = Box::leak(Box::new(Mutex::new(answers.to_vec())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let answer = service_fn(move |request: Request<_>| async move {
                let (status, body) = if request.uri().path() == "/v1/events" {
                    (404, json!({}))
                } else {
                    let mut left = answers.lock().unwrap();
                    if left.len() > 1 {
                        left.remove(0)
                    } else {
                        left[0].clone()
                    }
                };
                let body = Full::<Bytes>::from(body.to_string());
                Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer),
            );
        }
    });
    Api::new(address.into())
}

async fn wait(answers: &[(u16, serde_json::Value)], timeout: Option<Duration>) -> Exit {
    let api = api(answers).await;
    match until_over(&api, RolloutId(3), timeout, output()).await {
        Ok(exit) => exit,
        Err(failure) => failure.exit,
    }
}

#[tokio::test]
async fn the_exit_code_says_how_it_ended() {
    for (state, exit) in [
        ("promoted", Exit::Done),
        ("reverted", Exit::Reverted),
        ("aborted", Exit::Error),
    ] {
        assert_eq!(wait(&[(200, rollout(state))], None).await, exit, "{state}");
    }
}

#[tokio::test]
async fn without_a_stream_it_asks_again() {
    let answers = [(200, rollout("running")), (200, rollout("reverted"))];

    assert_eq!(wait(&answers, None).await, Exit::Reverted);
}

#[tokio::test]
async fn a_wait_is_bounded() {
    let answers = [(200, rollout("extended"))];

    assert_eq!(
        wait(&answers, Some(Duration::from_millis(20))).await,
        Exit::TimedOut
    );
}

#[tokio::test]
async fn a_refusal_has_its_own_code_and_a_stranger_does_not() {
    let refusal = json!({ "error": { "code": "not_found", "message": "no rollout r-3" } });

    assert_eq!(wait(&[(404, refusal)], None).await, Exit::Refused);
    assert_eq!(wait(&[(404, json!("what?"))], None).await, Exit::Error);
}

#[tokio::test]
async fn a_gateway_that_hangs_does_not_make_the_wait_longer() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = Api::new(silent.local_addr().unwrap().into());
    let began = Instant::now();

    let waited = until_over(
        &api,
        RolloutId(3),
        Some(Duration::from_millis(20)),
        output(),
    )
    .await;

    assert_eq!(waited, Ok(Exit::TimedOut));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}
