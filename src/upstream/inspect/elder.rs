//! A session over HTTP+SSE (2024-11-05): an event stream whose first event names the URL that takes
//! what is asked, and on which the answers come.

use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::mcp::contract::{Answered, Question};
use crate::mcp::{self, BodyError, FirstEvent, Format, MAX_BODY_BYTES};
use crate::upstream::{format_of, host_and_port, is_packed};

use super::error::InspectError;
use super::visit::Line;

/// What an error says of the request for the stream.
pub(super) const STREAM: &str = "GET";

/// A session's stream. Dropped it is closed, which ends the session.
pub(super) struct Elder {
    _line: Line,
    body: Incoming,
    /// What has come and was not read yet.
    begun: BytesMut,
    /// Where the server takes messages.
    target: PathAndQuery,
}

/// Where an event stream comes from: what it may say that its server's own names are.
pub(super) struct From<'a> {
    /// The path of the stream.
    pub(super) path: &'a str,
    /// The endpoint, as `http://host:port`.
    pub(super) endpoint: &'a str,
    /// The host that it was asked for.
    pub(super) host: &'a HeaderValue,
}

/// Whether an answer is an event stream that can be read.
pub(super) fn is_stream(fields: &HeaderMap) -> bool {
    format_of(fields) == Some(Format::EventStream) && !is_packed(fields)
}

impl Elder {
    /// Waits for the event that names the URL for messages.
    pub(super) async fn begin(
        (line, body): (Line, Incoming),
        from: &From<'_>,
    ) -> Result<Self, InspectError> {
        let mut begun = Self {
            _line: line,
            body,
            begun: BytesMut::new(),
            target: PathAndQuery::from_static("/"),
        };
        let event = begun.event(STREAM).await?;
        let named = match mcp::first_event(&event) {
            Ok((FirstEvent::Endpoint(data), _)) => from.resolve(&data),
            Ok((FirstEvent::Other, _)) | Err(_) => None,
        };
        begun.target = named.ok_or(InspectError::NoEndpoint)?;
        Ok(begun)
    }

    /// Where the server takes messages.
    pub(super) fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// Reads the stream to the answer to a question; tells how long the events up to it were.
    pub(super) async fn answer(
        &mut self,
        question: &Question,
    ) -> Result<(Answered, usize), InspectError> {
        let method = question.method;
        let mut length = 0;
        loop {
            let event = self.event(method).await?;
            length += event.len();
            if length > MAX_BODY_BYTES {
                let source = BodyError::TooLong { length };
                return Err(InspectError::Body { method, source });
            }
            let found = question.result(Format::EventStream, &event);
            if let Some(answer) = found.map_err(|source| InspectError::Body { method, source })? {
                return Ok((answer, length));
            }
        }
    }

    /// The next event, as it came.
    async fn event(&mut self, method: &'static str) -> Result<Bytes, InspectError> {
        loop {
            match mcp::first_event(&self.begun) {
                Ok((_, of)) => return Ok(self.begun.split_to(of.end).freeze()),
                Err(complete) => drop(self.begun.split_to(complete)),
            }
            let frame = self.body.frame().await;
            let frame = frame.ok_or(InspectError::NoResponse(method))?;
            let frame = frame.map_err(|source| InspectError::Wire { method, source })?;
            let piece = frame.into_data().unwrap_or_default();
            let length = self.begun.len() + piece.len();
            if length > MAX_BODY_BYTES {
                let source = BodyError::TooLong { length };
                return Err(InspectError::Body { method, source });
            }
            self.begun.extend_from_slice(&piece);
        }
    }
}

impl From<'_> {
    /// Where messages go, as the data of an `endpoint` event says.
    fn resolve(&self, data: &str) -> Option<PathAndQuery> {
        let endpoint = self.endpoint.split_once("://").map(|(_, rest)| rest);
        let own = [endpoint, self.host.to_str().ok()].map(|own| own.and_then(host_and_port));
        let is_own = |named: &str| {
            let named = host_and_port(named);
            named.is_some() && own.contains(&named)
        };
        mcp::resolve(self.path, data, is_own)?.try_into().ok()
    }
}
