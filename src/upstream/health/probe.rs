//! One check of one endpoint, over a connection of its own.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONNECTION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::mcp::{self, AnswerScanner, Format};
use crate::model::Outcome;
use crate::tls::Alpn;
use crate::upstream::dial::Dial;
use crate::upstream::error::UpstreamError;
use crate::upstream::spec::{CheckKind, CheckMethod, HealthSpec};
use crate::upstream::{MCP_PROTOCOL_VERSION, MCP_SESSION_ID, format_of};

use super::ration::Ration;
use super::token::read_token;

const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
const AGENT: HeaderValue = HeaderValue::from_static(concat!(
    "switchback/",
    env!("CARGO_PKG_VERSION"),
    " (health check)"
));
const BOTH_FORMATS: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Largest head of an answer that is read, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Most bytes that are read in one check, whatever they are: interim answers, too.
const MAX_CHECK_BYTES: usize = 2 * 1024 * 1024;
/// Longest answer to an MCP request that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

const INITIALIZE: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","#,
    r#""capabilities":{},"clientInfo":{"name":"switchback-health","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}}"#
);
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
const PING: &str = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
const DISCOVER: &str = concat!(
    r#"{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"#,
    r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","#,
    r#""io.modelcontextprotocol/clientCapabilities":{},"#,
    r#""io.modelcontextprotocol/clientInfo":{"name":"switchback-health","version":""#,
    env!("CARGO_PKG_VERSION"),
    r#""}}}}"#
);

/// Why a check fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    /// No connection.
    #[error("{0}{reason}", reason = reason(.0))]
    Connect(#[source] UpstreamError),
    /// The token that the file names cannot be read.
    #[error("reading the token of the check: {0}")]
    Token(#[source] io::Error),
    /// The answer broke off, or is none.
    #[error("reading the answer: {0}")]
    Answer(#[source] hyper::Error),
    /// The answer's status is not one of those that are fine.
    #[error("the answer has status {0}")]
    Status(u16),
    /// The answer to an MCP request is an error, or none.
    #[error("the answer to {method} is {outcome}")]
    Mcp {
        /// The request's method.
        method: &'static str,
        /// What was found.
        outcome: Outcome,
    },
    /// The answer is longer than it may be.
    #[error("the answer to {0} is too long")]
    TooLong(&'static str),
    /// It took too long.
    #[error("no answer within {}", humantime::format_duration(*.0))]
    Timeout(Duration),
}

impl ProbeError {
    /// Whether it says nothing about the endpoint: this process alone is to blame.
    pub(super) fn is_own(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_own(),
            Self::Token(_) => true,
            Self::Answer(_)
            | Self::Status(_)
            | Self::Mcp { .. }
            | Self::TooLong(_)
            | Self::Timeout(_) => false,
        }
    }
}

fn reason(error: &UpstreamError) -> String {
    use std::error::Error;
    error
        .source()
        .map_or(String::new(), |source| format!(": {source}"))
}

/// Checks an endpoint once.
///
/// # Errors
/// [`ProbeError`], why it fails.
pub(super) async fn probe(
    dial: &Dial,
    spec: &HealthSpec,
    host: &HeaderValue,
) -> Result<(), ProbeError> {
    let asked = async {
        match spec.kind {
            CheckKind::Tcp => dial
                .connect(spec.timeout, Alpn::Http1)
                .await
                .map(drop)
                .map_err(ProbeError::Connect),
            CheckKind::Http => http(&mut Talk::begin(dial, spec, host).await?, spec).await,
            CheckKind::Mcp => session(&mut Talk::begin(dial, spec, host).await?).await,
            CheckKind::McpDiscover => discover(&mut Talk::begin(dial, spec, host).await?).await,
        }
    };
    timeout(spec.timeout, asked)
        .await
        .unwrap_or(Err(ProbeError::Timeout(spec.timeout)))
}

/// An HTTP connection of a check.
struct Talk {
    requests: SendRequest<Full<Bytes>>,
    wire: JoinHandle<()>,
    path: String,
    host: HeaderValue,
    token: Option<(HeaderName, HeaderValue)>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.wire.abort();
    }
}

impl Talk {
    async fn begin(dial: &Dial, spec: &HealthSpec, host: &HeaderValue) -> Result<Self, ProbeError> {
        let token = match spec.token_file.clone() {
            Some(file) => {
                let token = read_token(file, spec.token_field()).await;
                Some(token.map_err(ProbeError::Token)?)
            }
            None => None,
        };
        let socket = dial
            .connect(spec.timeout, Alpn::Http1)
            .await
            .map_err(ProbeError::Connect)?;
        let (requests, wire) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(Ration::new(socket, MAX_CHECK_BYTES)))
            .await
            .map_err(ProbeError::Answer)?;
        let wire = tokio::spawn(async {
            // Whoever waits for the answer is told of its end.
            let _ = wire.await;
        });
        Ok(Self {
            requests,
            wire,
            path: spec.path().to_owned(),
            host: host.clone(),
            token,
        })
    }

    fn request(&self, method: Method, body: &'static str) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::from_static(body.as_bytes())));
        *request.method_mut() = method;
        // A path of the file has been checked there.
        *request.uri_mut() = self.path.parse().unwrap_or_default();
        let fields = request.headers_mut();
        fields.insert(HOST, self.host.clone());
        fields.insert(USER_AGENT, AGENT);
        if let Some((name, value)) = &self.token {
            fields.insert(name, value.clone());
        }
        request
    }

    async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ProbeError> {
        self.requests.ready().await.map_err(ProbeError::Answer)?;
        self.requests
            .send_request(request)
            .await
            .map_err(ProbeError::Answer)
    }

    /// Posts a message and reads the answer, which is to hold a response if `wants` one.
    async fn post(
        &mut self,
        body: &'static str,
        fields: &[(HeaderName, HeaderValue)],
        wants: Option<&'static str>,
    ) -> Result<(Response<()>, Vec<u8>), ProbeError> {
        let mut request = self.request(Method::POST, body);
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        request.headers_mut().insert(ACCEPT, BOTH_FORMATS);
        for (name, value) in fields {
            request.headers_mut().insert(name, value.clone());
        }
        let (head, body) = self.send(request).await?.into_parts();
        let status = head.status.as_u16();
        if !head.status.is_success() {
            return Err(ProbeError::Status(status));
        }
        let format = format_of(&head.headers);
        let bytes = read(body, format, wants).await?;
        Ok((Response::from_parts(head, ()), bytes))
    }
}

/// Reads a body to its end, or an event stream to its first response.
async fn read(
    mut body: Incoming,
    format: Option<Format>,
    wants: Option<&'static str>,
) -> Result<Vec<u8>, ProbeError> {
    let mut bytes = Vec::new();
    let Some(method) = wants else {
        // What accepts a notification may be anything, and may never end.
        return match format {
            Some(Format::EventStream) => Ok(bytes),
            Some(Format::Json) | None => up_to(&mut body, MAX_ANSWER_BYTES).await.map(|()| bytes),
        };
    };
    let mut scanner = AnswerScanner::new(format.unwrap_or(Format::Json));
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(ProbeError::Answer)?.into_data() else {
            continue;
        };
        if bytes.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(ProbeError::TooLong(method));
        }
        scanner.feed(&piece);
        bytes.extend_from_slice(&piece);
        if format == Some(Format::EventStream) && scanner.response_seen() {
            break;
        }
    }
    let outcome = scanner.outcome();
    if outcome == Outcome::Success {
        Ok(bytes)
    } else {
        Err(ProbeError::Mcp { method, outcome })
    }
}

/// Reads a body to its end, or so much of it.
async fn up_to(body: &mut Incoming, most_bytes: usize) -> Result<(), ProbeError> {
    let mut left_bytes = most_bytes;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(ProbeError::Answer)?;
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left_bytes.checked_sub(length) {
            Some(left) if left > 0 => left_bytes = left,
            Some(_) | None => break,
        }
    }
    Ok(())
}

async fn http(talk: &mut Talk, spec: &HealthSpec) -> Result<(), ProbeError> {
    let method = match spec.method {
        CheckMethod::Get => Method::GET,
        CheckMethod::Head => Method::HEAD,
    };
    let mut request = talk.request(method, "");
    request
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    let (head, mut body) = talk.send(request).await?.into_parts();
    let status = head.status.as_u16();
    if !spec.statuses.iter().any(|range| range.contains(status)) {
        return Err(ProbeError::Status(status));
    }
    if spec.max_body_bytes == 0 {
        return Ok(());
    }
    up_to(&mut body, spec.max_body_bytes).await
}

/// Opens a session, asks for a `ping` in it, and ends it.
async fn session(talk: &mut Talk) -> Result<(), ProbeError> {
    let (head, body) = talk.post(INITIALIZE, &[], Some("initialize")).await?;
    let format = format_of(head.headers()).unwrap_or(Format::Json);
    let version = mcp::negotiated_version(format, &body).ok().flatten();
    let version = version.and_then(|version| HeaderValue::from_str(&version).ok());
    let mut fields: Vec<_> = version
        .map(|version| (MCP_PROTOCOL_VERSION, version))
        .into_iter()
        .collect();
    let id = head.headers().get(MCP_SESSION_ID).cloned();
    fields.extend(id.clone().map(|id| (MCP_SESSION_ID, id)));
    let pinged = async {
        talk.post(INITIALIZED, &fields, None).await?;
        talk.post(PING, &fields, Some("ping")).await
    };
    let pinged = pinged.await;
    if id.is_some() {
        let mut request = talk.request(Method::DELETE, "");
        for (name, value) in fields {
            request.headers_mut().insert(name, value);
        }
        // A server may well refuse to end sessions.
        let _ = talk.send(request).await;
    }
    pinged.map(drop)
}

async fn discover(talk: &mut Talk) -> Result<(), ProbeError> {
    let fields = [
        (MCP_PROTOCOL_VERSION, HeaderValue::from_static("2026-07-28")),
        (MCP_METHOD, HeaderValue::from_static("server/discover")),
    ];
    let asked = talk.post(DISCOVER, &fields, Some("server/discover")).await;
    asked.map(drop)
}

#[cfg(test)]
mod tests;
