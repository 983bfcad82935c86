//! A visit to one endpoint: the sessions that are opened there, and what is asked in them.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::mcp::contract::{Answered, Contract, Era, Part, Question};
use crate::mcp::{AnswerScanner, BodyError, Format, MAX_BODY_BYTES, Revision};
use crate::tls::Alpn;
use crate::upstream::dial::Dial;
use crate::upstream::health::Ration;
use crate::upstream::{MCP_PROTOCOL_VERSION, MCP_SESSION_ID, format_of};

use super::elder::{self, Elder};
use super::error::InspectError;
use super::{FAREWELL, Inspection};

const MCP_METHOD: HeaderName = HeaderName::from_static("mcp-method");
const AGENT: HeaderValue = HeaderValue::from_static(concat!(
    "switchback/",
    env!("CARGO_PKG_VERSION"),
    " (contract check)"
));
const BOTH_FORMATS: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Largest head of an answer that is read, in bytes.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// What a server says of a list that it does not have.
const METHOD_NOT_FOUND: i64 = -32601;

/// Visits an endpoint, and leaves in good order.
pub(super) async fn visit(
    dial: Dial,
    (host, token): (HeaderValue, Option<(HeaderName, HeaderValue)>),
    how: &Inspection,
) -> Result<Contract, InspectError> {
    let mut visit = Visit {
        dial,
        host,
        token,
        how,
        line: None,
        session: None,
        elder: None,
        contract: Contract::default(),
    };
    let looked = timeout(how.timeout, visit.look()).await;
    // Also when it took too long: a session that nobody ends costs the server memory.
    let _ = timeout(FAREWELL, visit.end()).await;
    looked.unwrap_or(Err(InspectError::Timeout(how.timeout)))?;
    Ok(visit.contract)
}

/// A visit to one endpoint.
struct Visit<'a> {
    dial: Dial,
    host: HeaderValue,
    token: Option<(HeaderName, HeaderValue)>,
    how: &'a Inspection,
    /// A connection whose last answer was read to its end.
    line: Option<Line>,
    /// The open session: its revision, and its id if the server gave one.
    session: Option<(HeaderValue, Option<HeaderValue>)>,
    /// The stream of the session, where that is one over HTTP+SSE.
    elder: Option<Elder>,
    contract: Contract,
}

/// A connection.
pub(super) struct Line {
    requests: SendRequest<Full<Bytes>>,
    wire: JoinHandle<()>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.wire.abort();
    }
}

impl Visit<'_> {
    async fn look(&mut self) -> Result<(), InspectError> {
        let newest = Revision::V2025November;
        let opened = self.open(newest).await;
        let unopened = match opened {
            Ok(revision) => {
                let era = Era::Session(revision);
                self.lists(&era).await?;
                self.end().await;
                None
            }
            Err(error) if error.is_refusal() => {
                // It may have named a session all the same.
                self.end().await;
                Some(error)
            }
            Err(error) => return Err(error),
        };
        match self.discover().await {
            Ok(()) if unopened.is_some() => self.lists(&Era::Stateless).await?,
            Ok(()) => {}
            Err(error) if error.is_refusal() => {
                if let Some(unopened) = unopened {
                    return self.look_over_event_stream(unopened).await;
                }
            }
            Err(error) => return Err(error),
        }
        self.elder_revisions(newest).await
    }

    /// Asks a server that would not have a session by POST whether it has an event stream.
    async fn look_over_event_stream(&mut self, unopened: InspectError) -> Result<(), InspectError> {
        if !unopened.may_be_elder() {
            return Err(unopened);
        }
        let mut request = self.request(Method::GET, Bytes::new());
        request.headers_mut().insert(ACCEPT, EVENTS);
        let mut line = self.connect(elder::STREAM).await?;
        let answer = line.requests.send_request(request).await;
        let answer = answer.map_err(|source| InspectError::Wire {
            method: elder::STREAM,
            source,
        })?;
        let is_stream = answer.status().is_success() && elder::is_stream(answer.headers());
        if !is_stream {
            // What it says to a POST says more.
            return Err(unopened);
        }
        let from = elder::From {
            path: self.how.target.path(),
            endpoint: self.dial.name(),
            host: &self.host,
        };
        let begun = Elder::begin((line, answer.into_body()), &from).await?;
        self.elder = Some(begun);
        let revision = self.open(Revision::V2024November).await?;
        self.lists(&Era::Session(revision)).await?;
        self.contract.over_event_stream();
        Ok(())
    }

    /// Opens a session and takes what the server says of itself.
    async fn open(&mut self, revision: Revision) -> Result<String, InspectError> {
        let question = Question::initialize(revision);
        let (id, result) = self.ask(&question).await?;
        let mut opened = std::mem::take(&mut self.contract);
        let said = opened.open(question.method, &result);
        self.contract = opened;
        let agreed = said?.ok_or(InspectError::NoResponse(question.method))?;
        let text = HeaderValue::from_str(&agreed);
        let text = text.map_err(|_| InspectError::NoResponse(question.method))?;
        self.session = Some((text, id));
        let body = Bytes::from_static(Question::INITIALIZED.as_bytes());
        // A server that takes no such word may well take the questions.
        let (_, body) = self
            .post("notifications/initialized", body)
            .await?
            .into_parts();
        self.forget(body).await;
        Ok(agreed)
    }

    /// Asks which revisions without sessions there are.
    async fn discover(&mut self) -> Result<(), InspectError> {
        let question = Question::discover();
        let (_, result) = self.ask(&question).await?;
        if self.contract.revisions().next().is_none() {
            self.contract.open(question.method, &result)?;
            return Ok(());
        }
        let mut other = Contract::default();
        other.open(question.method, &result)?;
        for revision in other.revisions() {
            self.contract.speaks(revision);
        }
        Ok(())
    }

    /// Asks which older revisions the server agrees to; each takes a session.
    async fn elder_revisions(&mut self, newest: Revision) -> Result<(), InspectError> {
        let known: Vec<_> = self.contract.revisions().map(str::to_owned).collect();
        let elder = Revision::ALL.into_iter().filter(|one| *one < newest);
        for revision in elder.filter(|one| !known.iter().any(|known| known == one.as_str())) {
            let before = self.contract.clone();
            let opened = self.open(revision).await;
            self.end().await;
            self.contract = before;
            match opened {
                Ok(agreed) => self.contract.speaks(&agreed),
                Err(error) if error.is_refusal() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn lists(&mut self, era: &Era) -> Result<(), InspectError> {
        for part in Part::LISTED {
            if self.contract.has(part) {
                self.list(part, era).await?;
            }
        }
        Ok(())
    }

    async fn list(&mut self, part: Part, era: &Era) -> Result<(), InspectError> {
        let mut cursor: Option<String> = None;
        loop {
            let question = Question::list(part, cursor.as_deref(), era);
            let result = match self.ask(&question).await {
                Ok((_, result)) => result,
                Err(InspectError::Refused { code, .. }) if code == METHOD_NOT_FOUND => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            cursor = self.contract.page(part, &result, &self.how.bounds)?;
            if cursor.is_none() {
                return Ok(());
            }
        }
    }

    /// Ends the open session. A server may well refuse to.
    async fn end(&mut self) {
        // The end of its stream is that of its session.
        self.elder = None;
        let Some((revision, Some(id))) = self.session.take() else {
            return;
        };
        let mut request = self.request(Method::DELETE, Bytes::new());
        request.headers_mut().insert(MCP_PROTOCOL_VERSION, revision);
        request.headers_mut().insert(MCP_SESSION_ID, id);
        if let Ok(response) = self.send("DELETE", request).await {
            self.forget(response.into_body()).await;
        }
    }

    /// Asks, and finds the result in the answer; the answer's head may name a session.
    async fn ask(
        &mut self,
        question: &Question,
    ) -> Result<(Option<HeaderValue>, Value), InspectError> {
        let method = question.method;
        let response = self
            .post(method, Bytes::from(question.body.clone()))
            .await?;
        let status = response.status().as_u16();
        if self.elder.is_some() && (200..300).contains(&status) {
            self.forget(response.into_body()).await;
            return Ok((None, self.answer_of_stream(question).await?));
        }
        let id = response.headers().get(MCP_SESSION_ID).cloned();
        if let (Some(revision), Some(id)) = (&question.opens, &id) {
            // Whatever else the answer says: what was opened is ended.
            let revision = HeaderValue::from_static(revision.as_str());
            self.session = Some((revision, Some(id.clone())));
        }
        let format = format_of(response.headers());
        if matches!(status, 401 | 403) {
            return Err(InspectError::Unauthorized { method, status });
        }
        // What an error says is told with its status, which is what servers agree on.
        if !(200..300).contains(&status) {
            self.forget(response.into_body()).await;
            return Err(InspectError::Status { method, status });
        }
        let format = format.ok_or(InspectError::NoResponse(method))?;
        let bytes = self.read(method, format, response.into_body()).await?;
        self.contract.weigh(bytes.len(), &self.how.bounds)?;
        let found = question.result(format, &bytes);
        let found = found.map_err(|source| InspectError::Body { method, source })?;
        let answer = found.ok_or(InspectError::NoResponse(method))?;
        Ok((id, result_of(method, answer)?))
    }

    /// The result of what was asked over HTTP+SSE.
    async fn answer_of_stream(&mut self, question: &Question) -> Result<Value, InspectError> {
        let method = question.method;
        let elder = self.elder.as_mut();
        let elder = elder.ok_or(InspectError::NoResponse(method))?;
        let (answer, bytes) = elder.answer(question).await?;
        self.contract.weigh(bytes, &self.how.bounds)?;
        result_of(method, answer)
    }

    /// Reads a JSON body to its end, or an event stream to its first response.
    async fn read(
        &mut self,
        method: &'static str,
        format: Format,
        mut body: Incoming,
    ) -> Result<Vec<u8>, InspectError> {
        let mut bytes = Vec::new();
        let mut scanner = AnswerScanner::new(format);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|source| {
                self.line = None;
                InspectError::Wire { method, source }
            })?;
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            let length = bytes.len() + piece.len();
            if length > MAX_BODY_BYTES {
                self.line = None;
                let source = BodyError::TooLong { length };
                return Err(InspectError::Body { method, source });
            }
            bytes.extend_from_slice(&piece);
            if format == Format::EventStream {
                scanner.feed(&piece);
                if scanner.response_seen() {
                    // What may come behind it is not waited for.
                    self.line = None;
                    break;
                }
            }
        }
        Ok(bytes)
    }

    /// Reads a short body that does not matter, so that its connection can be used again.
    async fn forget(&mut self, mut body: Incoming) {
        let mut left: usize = 4096;
        loop {
            let frame = timeout(Duration::from_millis(50), body.frame()).await;
            let length = match frame {
                Ok(None) => return,
                Ok(Some(Ok(frame))) => frame.data_ref().map_or(0, Bytes::len),
                Ok(Some(Err(_))) | Err(_) => usize::MAX,
            };
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => break,
            }
        }
        self.line = None;
    }

    async fn post(
        &mut self,
        method: &'static str,
        body: Bytes,
    ) -> Result<Response<Incoming>, InspectError> {
        let mut request = self.request(Method::POST, body);
        let fields = request.headers_mut();
        fields.insert(CONTENT_TYPE, JSON);
        fields.insert(ACCEPT, BOTH_FORMATS);
        if let Some(elder) = &self.elder {
            *request.uri_mut() = Uri::from(elder.target().clone());
            return self.send(method, request).await;
        }
        match &self.session {
            Some((revision, id)) => {
                fields.insert(MCP_PROTOCOL_VERSION, revision.clone());
                if let Some(id) = id {
                    fields.insert(MCP_SESSION_ID, id.clone());
                }
            }
            None if method != "initialize" => {
                let revision = HeaderValue::from_static(Revision::V2026July.as_str());
                fields.insert(MCP_PROTOCOL_VERSION, revision);
                fields.insert(MCP_METHOD, HeaderValue::from_static(method));
            }
            None => {}
        }
        self.send(method, request).await
    }

    fn request(&self, method: Method, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from(self.how.target.clone());
        let fields = request.headers_mut();
        if let Some((name, value)) = &self.token {
            fields.insert(name, value.clone());
        }
        fields.insert(HOST, self.host.clone());
        fields.insert(USER_AGENT, AGENT);
        request
    }

    /// Sends over the connection that is there, else over a new one. What is asked here changes
    /// nothing, so that it is sent again when an old connection was dead.
    async fn send(
        &mut self,
        method: &'static str,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, InspectError> {
        if let Some(line) = &mut self.line
            && line.requests.ready().await.is_ok()
            && let Ok(response) = line.requests.send_request(request.clone()).await
        {
            return Ok(response);
        }
        self.line = None;
        let mut line = self.connect(method).await?;
        let sent = line.requests.send_request(request).await;
        let response = sent.map_err(|source| InspectError::Wire { method, source })?;
        self.line = Some(line);
        Ok(response)
    }

    async fn connect(&self, method: &'static str) -> Result<Line, InspectError> {
        let socket = self.dial.connect(self.how.timeout, Alpn::Http1).await;
        let socket = socket.map_err(InspectError::Connect)?;
        // Heads and interim answers are bytes, too.
        let most_bytes = self.how.bounds.bytes.saturating_add(MAX_BODY_BYTES);
        let (requests, wire) = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(Ration::new(socket, most_bytes)))
            .await
            .map_err(|source| InspectError::Wire { method, source })?;
        let wire = tokio::spawn(async {
            // Whoever waits for the answer is told of its end.
            let _ = wire.await;
        });
        Ok(Line { requests, wire })
    }
}

fn result_of(method: &'static str, answer: Answered) -> Result<Value, InspectError> {
    answer.map_err(|(code, words)| InspectError::Refused {
        method,
        code,
        words,
    })
}
