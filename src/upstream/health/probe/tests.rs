//! Checks against servers that answer well, badly, endlessly and not at all.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::upstream::spec::BackendSpec;

use super::*;

/// A server that answers each request on a connection with the next of these texts; the last
/// one is said again and again when `endless`.
async fn server(answers: &[&str], endless: bool) -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(String::new()));
    let answers: Vec<String> = answers.iter().map(|text| (*text).to_owned()).collect();
    let recorder = Arc::clone(&heard);
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut buffer = vec![0; 64 * 1024];
        for answer in &answers {
            let length = socket.read(&mut buffer).await.unwrap_or(0);
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            recorder.lock().unwrap().push_str(&text);
            if socket.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
        if endless {
            while socket.write_all(&[b'x'; 4096]).await.is_ok() {}
        }
    });
    (url, heard)
}

async fn checked(url: &str, health: &str) -> Result<(), String> {
    let json = format!(r#"{{"endpoints":["{url}"]}}"#);
    let backend: BackendSpec = serde_json::from_str(&json).unwrap();
    let spec: HealthSpec = serde_json::from_str(health).unwrap();
    let dial = Dial::new(&backend.endpoints[0], (&backend, None), &Arc::default());
    let probed = probe(&dial, &spec, &HeaderValue::from_static("the-host")).await;
    probed.map_err(|error| error.to_string())
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn an_answer_with_a_fine_status_passes() {
    let (url, heard) = server(&[FINE], false).await;

    assert_eq!(checked(&url, r#"{"path":"/h?x=1"}"#).await, Ok(()));
    let heard = heard.lock().unwrap().to_ascii_lowercase();
    assert!(heard.starts_with("get /h?x=1 http/1.1\r\n"), "{heard}");
    assert!(heard.contains("host: the-host\r\n") && heard.contains("connection: close\r\n"));
}

#[tokio::test]
async fn another_status_fails() {
    for (answer, status) in [("503 Busy", 503), ("404 Not Found", 404)] {
        let (url, _) = server(
            &[&format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n")],
            false,
        )
        .await;

        let expected = Err(format!("the answer has status {status}"));
        assert_eq!(checked(&url, "{}").await, expected);
    }
}

#[tokio::test]
async fn garbage_and_cut_answers_fail() {
    let long_head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    for answer in [
        "",
        "\0\0\0\0\0\0",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
        &long_head,
    ] {
        let (url, _) = server(&[answer], false).await;

        let failed = checked(&url, "{}").await.unwrap_err();
        assert!(failed.starts_with("reading the answer"), "{failed}");
    }
}

#[tokio::test]
async fn an_endless_body_is_read_up_to_a_bound() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n";
    let (url, _) = server(&[head], true).await;

    assert_eq!(checked(&url, r#"{"max_body_bytes":8192}"#).await, Ok(()));
}

#[tokio::test]
async fn silence_fails_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());

    let silent = checked(&url, r#"{"timeout":"50ms"}"#).await;
    let tcp = checked(&url, r#"{"kind":"tcp"}"#).await;
    drop(listener);
    let refused = checked(&url, r#"{"kind":"tcp"}"#).await;

    assert_eq!(silent, Err("no answer within 50ms".to_owned()));
    assert_eq!(tcp, Ok(()));
    assert!(refused.unwrap_err().contains("connecting to endpoint"));
}

fn json(body: &str, more: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{more}Content-Length: {length}\r\n\r\n{body}"
    )
}

const OPENED: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-06-18"}}"#;
const ACCEPTED: &str = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn an_mcp_session_is_opened_pinged_and_ended() {
    let opened = json(OPENED, "Mcp-Session-Id: abc\r\n");
    let pong = json(r#"{"jsonrpc":"2.0","id":2,"result":{}}"#, "");
    let (url, heard) = server(&[&opened, ACCEPTED, &pong, FINE], false).await;

    assert_eq!(checked(&url, r#"{"kind":"mcp"}"#).await, Ok(()));
    let heard = heard.lock().unwrap().clone();
    assert!(heard.contains("DELETE /mcp HTTP/1.1\r\n"), "{heard}");
    assert_eq!(heard.matches("mcp-session-id: abc\r\n").count(), 3);
    assert_eq!(
        heard
            .matches("mcp-protocol-version: 2025-06-18\r\n")
            .count(),
        3
    );
}

#[tokio::test]
async fn an_mcp_error_inside_a_200_fails() {
    let error = json(
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"x"}}"#,
        "",
    );
    let not_mcp = json(r#"{"hello":"world"}"#, "");
    for (answer, kind) in [(&error, "mcp"), (&error, "mcp_discover"), (&not_mcp, "mcp")] {
        let (url, _) = server(&[answer], false).await;

        let failed = checked(&url, &format!(r#"{{"kind":"{kind}"}}"#)).await;
        assert!(failed.unwrap_err().starts_with("the answer to "), "{kind}");
    }
}

#[tokio::test]
async fn discover_may_be_answered_in_an_event_stream_that_stays_open() {
    let begins = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let event = r#"data: {"jsonrpc":"2.0","id":1,"result":{"supportedVersions":[]}}"#;
    let (url, heard) = server(&[&format!("{begins}{event}\n\n"), ""], false).await;

    assert_eq!(checked(&url, r#"{"kind":"mcp_discover"}"#).await, Ok(()));
    assert!(
        heard
            .lock()
            .unwrap()
            .contains("mcp-method: server/discover\r\n")
    );
}

#[tokio::test]
async fn an_endless_answer_to_an_mcp_request_fails() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
    let (url, _) = server(&[head], true).await;

    let failed = checked(&url, r#"{"kind":"mcp"}"#).await;
    assert_eq!(
        failed,
        Err("the answer to initialize is too long".to_owned())
    );
}
