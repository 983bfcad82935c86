//! A small client of the admin API.

use std::net::SocketAddr;

use serde_json::Value;

use super::PATIENCE;
use super::client::{self, Answer, Raw};
use super::gate::pass;

/// Where the admin API is.
#[derive(Clone, Copy, Debug)]
pub struct Admin(pub SocketAddr);

impl Admin {
    /// The JSON behind `GET path`, which must be answered 200.
    pub fn get(self, path: &str) -> Value {
        let answer = client::get(self.0, path);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// The text behind `GET path`, which must be answered 200.
    pub fn text(self, path: &str) -> String {
        let answer = client::get(self.0, path);
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.text()
    }

    /// One request with a JSON body, whatever the answer.
    pub fn ask(self, method: &str, path: &str, fields: &[(&str, &str)], body: &Value) -> Answer {
        let mut fields = fields.to_vec();
        fields.push(("content-type", "application/json"));
        client::ask(self.0, method, path, &fields, body.to_string().as_bytes())
    }

    /// `POST path`, which must be answered 2xx; null when the answer has no body.
    pub fn post(self, path: &str, body: &Value) -> Value {
        accepted("POST", path, &self.ask("POST", path, &[], body))
    }

    /// `PUT path`, which must be answered 2xx.
    pub fn put(self, path: &str, body: &Value) -> Value {
        accepted("PUT", path, &self.ask("PUT", path, &[], body))
    }

    /// Looks at `GET path` until `fact` finds what it wants there.
    pub fn wait_for<R>(self, path: &str, mut fact: impl FnMut(&Value) -> Option<R>) -> R {
        let until = std::time::Instant::now() + PATIENCE;
        loop {
            let seen = self.get(path);
            if let Some(found) = fact(&seen) {
                return found;
            }
            assert!(
                std::time::Instant::now() < until,
                "waited {PATIENCE:?} in vain; GET {path} last said {seen:#}"
            );
            pass(std::time::Duration::from_millis(20));
        }
    }

    /// The event stream, past its head.
    pub fn events(self) -> Events {
        let mut stream = Raw::connect(self.0);
        stream.send("GET", "/v1/events", &[("accept", "text/event-stream")], b"");
        let head = stream.read_head("GET");
        assert_eq!(head.status, 200);
        Events {
            stream,
            text: String::new(),
        }
    }
}

fn accepted(method: &str, path: &str, answer: &Answer) -> Value {
    assert!(
        (200..300).contains(&answer.status),
        "{method} {path}: {} {}",
        answer.status,
        answer.text()
    );
    if answer.body.is_empty() {
        return Value::Null;
    }
    answer.json()
}

/// Events of the gateway as they happen.
pub struct Events {
    stream: Raw,
    text: String,
}

impl Events {
    /// The data of the next event.
    pub fn next(&mut self) -> Value {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let event: String = self.text.drain(..end + 2).collect();
                let data: Vec<&str> = event
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .map(str::trim_start)
                    .collect();
                if !data.is_empty() {
                    return serde_json::from_str(&data.join("\n")).expect("events carry JSON");
                }
                continue;
            }
            let piece = self.stream.read_piece().expect("the stream goes on");
            self.text.push_str(&String::from_utf8_lossy(&piece));
        }
    }

    /// The first event from now on in which `fact` finds what it wants.
    pub fn find<R>(&mut self, mut fact: impl FnMut(&Value) -> Option<R>) -> R {
        loop {
            if let Some(found) = fact(&self.next()) {
                return found;
            }
        }
    }
}
