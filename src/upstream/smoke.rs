//! Smoke requests: what a backend answers before it gets any traffic.
//!
//! They run on the control thread, over connections of their own: no call of anybody is held up,
//! and nothing that is asked here is counted as a call or judged. They speak HTTP/1.1, like health
//! checks. Everything is bounded: the time of each request and the bytes of each answer.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::model::BackendName;
use crate::tls::Alpn;

use super::conditions::Conditions;
use super::dial::Dial;
use super::error::UpstreamError;
use super::health::{Ration, read_token};
use super::inspect::{health_token, host_of};

const AGENT: HeaderValue = HeaderValue::from_static(concat!(
    "switchback/",
    env!("CARGO_PKG_VERSION"),
    " (smoke request)"
));
/// Largest head of an answer that is read, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Longest body of an answer that is read, in bytes.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// One request and what it has to be answered with.
#[derive(Clone, Debug)]
pub struct Smoke {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub target: PathAndQuery,
    /// Its fields, but for the host, the token of the backend's health checks and what frames it.
    pub fields: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// The status of the answer.
    pub status: StatusCode,
    /// What the body of the answer contains.
    pub contains: Option<String>,
    /// Longest time for all of it.
    pub timeout: Duration,
}

/// Why a backend does not pass.
#[derive(Debug, thiserror::Error)]
pub enum SmokeError {
    /// No backend has this name, or it has no endpoint.
    #[error("backend `{0}` has no endpoint")]
    Nowhere(BackendName),
    /// The token of its health checks cannot be read.
    #[error("reading the token that says who asks: {0}")]
    Token(#[source] io::Error),
    /// A request was not answered as it has to be.
    #[error("{method} {target} at {endpoint}: {fault}")]
    Failed {
        /// Its method.
        method: Method,
        /// Its path and query.
        target: PathAndQuery,
        /// The endpoint.
        endpoint: String,
        /// What is wrong.
        fault: Fault,
    },
}

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] UpstreamError),
    /// The answer broke off, or is none.
    #[error("reading the answer: {0}")]
    Answer(#[from] hyper::Error),
    /// Another status.
    #[error("answered {0}, not {1}")]
    Status(StatusCode, StatusCode),
    /// The body is without what it has to contain.
    #[error("the answer does not contain what it has to")]
    Body,
    /// The body breaks off or is too long.
    #[error("reading the body: {0}")]
    Broken(Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

/// Sends every request to every endpoint of a backend, one after the other.
///
/// # Errors
/// [`SmokeError`] for the first one that is not answered as it has to be.
pub async fn smoke(
    conditions: &Conditions,
    backend: &BackendName,
    (requests, host): (&[Smoke], Option<&HeaderValue>),
) -> Result<(), SmokeError> {
    let nowhere = || SmokeError::Nowhere(backend.clone());
    let known = conditions.find(backend).ok_or_else(nowhere)?;
    if known.endpoints.is_empty() {
        return Err(nowhere());
    }
    let token = match health_token(conditions, &known) {
        Some((file, name)) => Some(read_token(file, name).await.map_err(SmokeError::Token)?),
        None => None,
    };
    let tls = conditions.tls_of(backend);
    for (url, condition) in &known.endpoints {
        let dial = Dial::new(url, (&known.spec, tls.as_ref()), condition);
        let host = host_of(url, &known, host);
        for request in requests {
            let asked = timeout(
                request.timeout,
                ask(&dial, request, (&host, token.as_ref())),
            );
            let asked = asked.await.unwrap_or(Err(Fault::Timeout(request.timeout)));
            asked.map_err(|fault| SmokeError::Failed {
                method: request.method.clone(),
                target: request.target.clone(),
                endpoint: url.to_string(),
                fault,
            })?;
        }
    }
    Ok(())
}

/// Ends the connection with whoever waits for it.
struct Wire(JoinHandle<()>);

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn ask(
    dial: &Dial,
    asked: &Smoke,
    (host, token): (&HeaderValue, Option<&(HeaderName, HeaderValue)>),
) -> Result<(), Fault> {
    let socket = dial.connect(asked.timeout, Alpn::Http1).await?;
    let (mut requests, wire) = http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(Ration::new(socket, 2 * MAX_BODY_BYTES)))
        .await?;
    let _wire = Wire(tokio::spawn(async {
        // Whoever waits for the answer is told of its end.
        let _ = wire.await;
    }));
    let mut request = Request::new(Full::new(asked.body.clone()));
    *request.method_mut() = asked.method.clone();
    *request.uri_mut() = Uri::from(asked.target.clone());
    let fields = request.headers_mut();
    fields.insert(USER_AGENT, AGENT);
    if let Some((name, value)) = token {
        fields.insert(name, value.clone());
    }
    fields.extend(asked.fields.clone());
    fields.insert(HOST, host.clone());
    fields.insert(CONNECTION, HeaderValue::from_static("close"));
    let answer = requests.send_request(request).await?;
    if answer.status() != asked.status {
        return Err(Fault::Status(answer.status(), asked.status));
    }
    let Some(wanted) = &asked.contains else {
        return Ok(());
    };
    let body = Limited::new(answer.into_body(), MAX_BODY_BYTES).collect();
    let body = body.await.map_err(Fault::Broken)?.to_bytes();
    if contains(&body, wanted.as_bytes()) {
        return Ok(());
    }
    Err(Fault::Body)
}

fn contains(body: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || body.windows(wanted.len()).any(|piece| piece == wanted)
}
