//! The API over real sockets, in front of a real control with a real store.

mod access;
mod audit;
mod bounds;
mod calls;
mod defence;
mod documents;
mod streams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config;
use crate::control::{self, Certificates, ControlOptions, Opened};
use crate::telemetry::Metrics;

use super::wire::{ErrorCode, ErrorReply};
use super::{AdminListener, Deps, Readiness, Wire, serve};

const CONFIG: &str = r#"
listeners: [{ address: "127.0.0.1:0" }]
backends:
  search-v1: { endpoints: ["http://127.0.0.1:3001"] }
  search-v2: { endpoints: ["http://127.0.0.1:3002"] }
routes:
  - name: search
    match: { path: /mcp }
    protocol: mcp
    split: { search-v1: 100, search-v2: 0 }
    shadow: { backend: search-v2, percent: 10 }
    plan: careful
  - name: other
    split: { search-v1: 1 }
plans:
  careful: { stages: [{ percent: 5, for: 5m }, { percent: 50, for: 5m }] }
  asked: { stages: [{ percent: 5, for: 5m }], judge: { metrics: [{ name: liked, kind: yes_no }] } }
"#;

/// A running API.
struct Fixture {
    address: SocketAddr,
    readiness: Readiness,
    file: PathBuf,
    stop: watch::Sender<bool>,
    served: JoinHandle<std::io::Result<()>>,
    _folder: TempDir,
}

/// An answer that has come whole.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json<T: DeserializeOwned>(&self) -> T {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a refusal, which has the one shape of all of them.
    fn code(&self) -> ErrorCode {
        assert_eq!(self.headers["content-type"], "application/json", "{self:?}");
        let reply: ErrorReply = self.json();
        assert!(!reply.error.message.is_empty());
        assert_eq!(super::error::status(reply.error.code), self.status);
        reply.error.code
    }
}

impl Fixture {
    fn start() -> Self {
        Self::with(CONFIG)
    }

    /// The same by another file.
    fn with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("switchback.yaml");
        std::fs::write(&file, config).unwrap();
        let registry = Arc::default();
        let options = ControlOptions {
            config: config::load(&file).unwrap(),
            workers: 1,
            registry: Arc::clone(&registry),
            certificates: Certificates::default(),
            conditions: Arc::default(),
            sessions: Arc::default(),
            bonds: Default::default(),
        };
        let Opened {
            control, handle, ..
        } = control::open(&options).unwrap();
        let (stop, stopping) = watch::channel(false);
        tokio::spawn(control.run(until(stopping.clone())));
        let listener = AdminListener::bind(&"127.0.0.1:0".parse().unwrap(), Wire::Clear).unwrap();
        let address = listener.address().port().unwrap();
        let readiness = Readiness::starting();
        let deps = Deps {
            control: handle,
            readiness: readiness.clone(),
            notifiers: crate::notify::Notifiers::default(),
            alarms: crate::notify::Alarms::default(),
            metrics: Metrics::new(registry),
            tls: None,
        };
        readiness.ready();
        Self {
            address,
            readiness,
            file,
            stop,
            served: tokio::spawn(serve(listener, deps, until(stopping))),
            _folder: folder,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Asks, on a connection of its own, and gives the answer's head and body.
    async fn ask(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        let io = TokioIo::new(self.connect().await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    async fn call(&self, line: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if !fields.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", self.address.to_string());
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        let response = self.ask(request).await;
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(&format!("GET {path}"), &[], "").await
    }

    async fn ask_as(&self, token: &str, line: &str, body: &str) -> Answer {
        let token = format!("Bearer {token}");
        let fields = [
            ("content-type", "application/json"),
            ("authorization", token.as_str()),
        ];
        self.call(line, &fields, body).await
    }

    async fn send(&self, line: &str, body: &str) -> Answer {
        let fields = [("content-type", "application/json")];
        self.call(line, &fields, body).await
    }
}

async fn until(mut stopping: watch::Receiver<bool>) {
    drop(stopping.wait_for(|stopping| *stopping).await);
}
