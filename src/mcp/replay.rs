//! Opening a recorded session again elsewhere: which bodies to send, and what must come back.
//!
//! `initialize` as the client sent it, `notifications/initialized`, the log level, the
//! subscriptions. The new server must choose the version that the client already speaks.
//! A log level or a subscription that it refuses is passed over: a session with less in it
//! serves its client better than none.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::body::{BodyError, Reply, reply_to};
use super::format::Format;
use super::lists::Lists;
use super::record::SessionRecord;

/// The replay of one record, a request at a time: send [`Replay::request`], hand the answer
/// to [`Replay::accept`], until there is no request left.
#[derive(Debug)]
pub struct Replay {
    record: Arc<SessionRecord>,
    step: Step,
    skipped: usize,
    lists: Lists,
}

/// One request of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplayRequest {
    /// The JSON body to POST.
    pub body: Bytes,
    /// What the answer must be.
    pub answer: ReplayAnswer,
}

/// What the answer to a request of a replay must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayAnswer {
    /// The `initialize` result, whose head may name the new session.
    Session,
    /// Any 2xx answer; its body does not matter.
    Accepted,
    /// A JSON-RPC response. One that is an error is passed over.
    Response,
}

/// Why a session could not be opened again.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The answer has another status than 2xx.
    #[error("the server answered with status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The answer could not be read.
    #[error("reading the server's answer to initialize")]
    Body(#[from] BodyError),
    /// The answer holds no response to `initialize`.
    #[error("the server's answer holds no response to initialize")]
    NoResponse,
    /// The server refuses to open the session.
    #[error("the server answered initialize with an error")]
    Refused,
    /// The server speaks another version than the client was told.
    #[error("the server speaks protocol version {offered}, the session {wanted}")]
    Version {
        /// What the client was told.
        wanted: Box<str>,
        /// What this server chose; `none` when it chose nothing.
        offered: Box<str>,
    },
    /// The record is no `initialize` request.
    #[error("the recorded request is no initialize request")]
    Record,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Initialize,
    Initialized,
    LogLevel,
    Subscribe(usize),
    Done,
}

/// What came back for a request of a replay.
#[derive(Clone, Copy, Debug)]
pub struct ReplayReply<'a> {
    /// The status.
    pub status: u16,
    /// The format that the `Content-Type` names.
    pub format: Option<Format>,
    /// The whole body, or for an event stream the part up to and with its first response.
    pub body: &'a [u8],
}

impl Replay {
    /// A replay of this record, from its start.
    pub fn new(record: Arc<SessionRecord>) -> Self {
        Self {
            record,
            step: Step::Initialize,
            skipped: 0,
            lists: Lists::NONE,
        }
    }

    /// The request to send now; `None` when the session is open again.
    pub fn request(&self) -> Option<ReplayRequest> {
        let (body, answer) = match self.step {
            Step::Initialize => (self.record.initialize().clone(), ReplayAnswer::Session),
            Step::Initialized => (
                Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
                ReplayAnswer::Accepted,
            ),
            Step::LogLevel => (self.record.log_level()?.clone(), ReplayAnswer::Response),
            Step::Subscribe(index) => (self.subscribe(index)?, ReplayAnswer::Response),
            Step::Done => return None,
        };
        Some(ReplayRequest { body, answer })
    }

    /// Takes the answer to [`Replay::request`] and goes on to the next.
    ///
    /// # Errors
    /// [`ReplayError`] when the session cannot be opened on this server.
    pub fn accept(&mut self, reply: ReplayReply<'_>) -> Result<(), ReplayError> {
        let fine = (200..300).contains(&reply.status);
        match self.step {
            Step::Initialize | Step::Initialized if !fine => {
                return Err(ReplayError::Status {
                    status: reply.status,
                });
            }
            Step::Initialize => self.check_opening(reply)?,
            Step::LogLevel | Step::Subscribe(_) if !fine || is_error(reply) => self.skipped += 1,
            Step::Initialized | Step::LogLevel | Step::Subscribe(_) | Step::Done => {}
        }
        self.step = self.following();
        Ok(())
    }

    /// How many wishes the server refused.
    pub fn skipped(&self) -> usize {
        self.skipped
    }

    /// The lists of whose changes the server says that it tells.
    pub fn lists(&self) -> Lists {
        self.lists
    }

    /// The protocol version of the session, for the header of every request after the first.
    pub fn version(&self) -> &str {
        self.record.version()
    }

    fn following(&self) -> Step {
        let subscribe = |index| match self.record.subscriptions().get(index) {
            Some(_) => Step::Subscribe(index),
            None => Step::Done,
        };
        match self.step {
            Step::Initialize => Step::Initialized,
            Step::Initialized if self.record.log_level().is_some() => Step::LogLevel,
            Step::Initialized | Step::LogLevel => subscribe(0),
            Step::Subscribe(index) => subscribe(index + 1),
            Step::Done => Step::Done,
        }
    }

    fn subscribe(&self, index: usize) -> Option<Bytes> {
        let uri = self.record.subscriptions().get(index)?;
        let request = json!({
            "jsonrpc": "2.0",
            "id": format!("switchback-subscribe-{index}"),
            "method": "resources/subscribe",
            "params": { "uri": uri },
        });
        Some(request.to_string().into())
    }

    fn check_opening(&mut self, reply: ReplayReply<'_>) -> Result<(), ReplayError> {
        let request: Value =
            serde_json::from_slice(self.record.initialize()).map_err(|_| ReplayError::Record)?;
        let id = request.get("id").ok_or(ReplayError::Record)?;
        let format = reply.format.ok_or(ReplayError::NoResponse)?;
        let result = match reply_to(Some(id), format, reply.body)? {
            Some(Reply::Result(result)) => result,
            Some(Reply::Error(_)) => return Err(ReplayError::Refused),
            None => return Err(ReplayError::NoResponse),
        };
        let offered = version_of(&result).unwrap_or("none");
        if offered != self.record.version() {
            return Err(ReplayError::Version {
                wanted: self.record.version().into(),
                offered: offered
                    .chars()
                    .take(SessionRecord::VERSION_BYTES)
                    .collect::<String>()
                    .into(),
            });
        }
        self.lists = Lists::declared(&result);
        Ok(())
    }
}

/// The protocol version that a server chose in a complete answer to `initialize`; `None` when
/// the answer holds no such result.
///
/// # Errors
/// [`BodyError`] when the answer is too long or not JSON.
pub fn negotiated_version(format: Format, body: &[u8]) -> Result<Option<Box<str>>, BodyError> {
    Ok(match reply_to(None, format, body)? {
        Some(Reply::Result(result)) => version_of(&result).map(Into::into),
        Some(Reply::Error(_)) | None => None,
    })
}

fn version_of(result: &Value) -> Option<&str> {
    result.get("protocolVersion")?.as_str()
}

fn is_error(reply: ReplayReply<'_>) -> bool {
    let found = reply
        .format
        .map(|format| reply_to(None, format, reply.body));
    !matches!(found, Some(Ok(Some(Reply::Result(_)))))
}

#[cfg(test)]
mod tests;
