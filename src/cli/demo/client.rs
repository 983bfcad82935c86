//! A small MCP client of the session era: what an agent speaks.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::server::{PATH, VERSION_FIELD};
use crate::cli::http::{Connection, HttpError, Origin};
use crate::cli::sse;

/// The revision that is asked for.
const REVISION: &str = "2025-06-18";
/// Longest wait for an answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Longest answer.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The server does not know the session any more. Most SDKs never get over it.
    #[error("the session is lost")]
    SessionLost,
    /// An answer with another status than was hoped for.
    #[error("status {status}")]
    Status {
        /// The status.
        status: StatusCode,
    },
    /// A JSON-RPC error.
    #[error("JSON-RPC error {code}")]
    Rpc {
        /// Its code.
        code: i64,
    },
    /// An answer that is not JSON-RPC, or that ended without a response.
    #[error("an answer without a response in it")]
    NoResponse,
    /// No answer.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// What a tool call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ToolResult {
    /// The version that says it answered.
    pub(super) version: Option<String>,
    /// Whether it is a failure inside a fine answer.
    pub(super) is_error: bool,
}

/// One MCP session over one connection, which is made again when it breaks.
#[derive(Debug)]
pub(super) struct Client {
    origin: Origin,
    connection: Option<Connection>,
    session: Option<HeaderValue>,
    version: Option<String>,
    next_id: u64,
}

impl Client {
    /// Opens a session: `initialize`, `notifications/initialized`, `tools/list`.
    ///
    /// # Errors
    /// What went wrong with the first of them that failed.
    pub(super) async fn open(origin: &Origin) -> Result<Self, CallError> {
        let mut client = Self {
            origin: origin.clone(),
            connection: None,
            session: None,
            version: None,
            next_id: 1,
        };
        let parameters = json!({
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": { "name": "demo-agent", "version": env!("CARGO_PKG_VERSION") },
        });
        let hello = client.call("initialize", parameters).await?;
        client.version = hello
            .pointer("/serverInfo/version")
            .and_then(Value::as_str)
            .map(str::to_owned);
        client.notify("notifications/initialized").await?;
        client.call("tools/list", json!({})).await?;
        Ok(client)
    }

    /// The version that opened the session.
    pub(super) fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Calls a tool.
    ///
    /// # Errors
    /// Anything but a result; a result may still say `isError`.
    pub(super) async fn call_tool(
        &mut self,
        name: &str,
        arguments: Value,
    ) -> Result<ToolResult, CallError> {
        let parameters = json!({ "name": name, "arguments": arguments });
        let result = self.call("tools/call", parameters).await?;
        let version = result
            .pointer("/structuredContent")
            .and_then(|content| content.get(VERSION_FIELD))
            .and_then(Value::as_str)
            .map(str::to_owned);
        let is_error = result.get("isError").and_then(Value::as_bool) == Some(true);
        Ok(ToolResult { version, is_error })
    }

    /// Ends the session, as a good client does.
    pub(super) async fn close(mut self) {
        let request = self.request(Method::DELETE, Bytes::new());
        // The session is over for us whatever the server says.
        let _ = self.exchange(request).await;
    }

    /// Follows the session's own stream until it ends. Agents with a stream notice a lost
    /// session even while they are quiet.
    ///
    /// # Errors
    /// Anything but a stream that is opened.
    pub(super) fn stream(&self) -> impl Future<Output = Result<(), CallError>> + Send + use<> {
        let request = self.request(Method::GET, Bytes::new());
        let (origin, session) = (self.origin.clone(), self.session.clone());
        async move {
            let mut connection = Connection::open(&origin).await?;
            let response = connection.send(request, LIMIT).await?;
            fine(&response, session.as_ref())?;
            let mut body = response.into_body();
            while connection.next_chunk(&mut body).await?.is_some() {}
            Ok(())
        }
    }

    /// Goes on with a session that no server knows.
    #[cfg(test)]
    pub(super) fn forge_session(&mut self) {
        self.session = Some(HeaderValue::from_static("forged"));
    }

    async fn call(&mut self, method: &str, parameters: Value) -> Result<Value, CallError> {
        let id = self.next_id;
        self.next_id += 1;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters });
        let request = self.request(Method::POST, message.to_string().into());
        let response = self.exchange(request).await?;
        if let Some(session) = response.headers().get(SESSION) {
            self.session = Some(session.clone());
        }
        let mut answer = self.read_response(response, id).await?;
        if let Some(code) = answer.pointer("/error/code").and_then(Value::as_i64) {
            return Err(CallError::Rpc { code });
        }
        answer
            .get_mut("result")
            .map(Value::take)
            .ok_or(CallError::NoResponse)
    }

    async fn notify(&mut self, method: &str) -> Result<(), CallError> {
        let message = json!({ "jsonrpc": "2.0", "method": method });
        let request = self.request(Method::POST, message.to_string().into());
        let response = self.exchange(request).await?;
        self.drain(response.into_body()).await
    }

    /// Sends a request over the open connection, else over a new one.
    async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, CallError> {
        let mut connection = match self.connection.take().filter(Connection::is_open) {
            Some(connection) => connection,
            None => Connection::open(&self.origin).await?,
        };
        let response = connection.send(request, LIMIT).await?;
        self.connection = Some(connection);
        fine(&response, self.session.as_ref())?;
        Ok(response)
    }

    /// The JSON-RPC response with this id, out of JSON or an event stream.
    async fn read_response(
        &mut self,
        response: Response<Incoming>,
        id: u64,
    ) -> Result<Value, CallError> {
        let streamed = response
            .headers()
            .get(CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let body = response.into_body();
        let Some(connection) = &self.connection else {
            return Err(CallError::NoResponse);
        };
        let bytes = connection.read(body, MAX_ANSWER_BYTES, LIMIT).await?;
        if !streamed {
            return serde_json::from_slice(&bytes).map_err(|_| CallError::NoResponse);
        }
        sse::Reader::default()
            .feed(&bytes)
            .into_iter()
            .filter_map(|event| serde_json::from_str::<Value>(&event.data).ok())
            .find(|message| message.get("id").and_then(Value::as_u64) == Some(id))
            .ok_or(CallError::NoResponse)
    }

    async fn drain(&mut self, body: Incoming) -> Result<(), CallError> {
        if let Some(connection) = &self.connection {
            connection.read(body, MAX_ANSWER_BYTES, LIMIT).await?;
        }
        Ok(())
    }

    fn request(&self, method: Method, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = http::Uri::from_static(PATH);
        let fields = request.headers_mut();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        if let Some(session) = &self.session {
            fields.insert(SESSION, session.clone());
            fields.insert(PROTOCOL, HeaderValue::from_static(REVISION));
        }
        request
    }
}

/// Whether an answer may be read; 404 means a lost session only where there is one.
fn fine(response: &Response<Incoming>, session: Option<&HeaderValue>) -> Result<(), CallError> {
    match response.status() {
        StatusCode::NOT_FOUND if session.is_some() => Err(CallError::SessionLost),
        status if status.is_success() => Ok(()),
        status => Err(CallError::Status { status }),
    }
}
