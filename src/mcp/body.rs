//! The messages of a complete, bounded answer, for the few that are read whole.

use serde_json::Value;

use super::events::{EventKind, EventReader, EventSink};
use super::format::Format;

/// Largest answer that is read whole, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Why an answer could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than [`MAX_BODY_BYTES`].
    #[error("the answer has {length} bytes, more than {MAX_BODY_BYTES}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// It is not JSON where it should be.
    #[error("the answer is not JSON")]
    Json(#[source] serde_json::Error),
}

/// The result or error of a response.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    Result(Value),
    Error(Value),
}

/// Finds the response to the request `id`, which is compared as JSON, in a complete answer.
///
/// # Errors
/// [`BodyError`] when the answer is too long or not JSON.
pub(super) fn reply_to(
    id: Option<&Value>,
    format: Format,
    body: &[u8],
) -> Result<Option<Reply>, BodyError> {
    for text in texts(format, body)? {
        let value = serde_json::from_slice(&text).map_err(BodyError::Json)?;
        let messages = if let Value::Array(messages) = value {
            messages
        } else {
            vec![value]
        };
        for message in messages {
            if let Some(reply) = reply(message, id) {
                return Ok(Some(reply));
            }
        }
    }
    Ok(None)
}

fn reply(mut message: Value, id: Option<&Value>) -> Option<Reply> {
    let members = message.as_object_mut()?;
    let ours = id.is_none() || members.get("id") == id;
    if !ours || members.get("method").is_some_and(|m| !m.is_null()) {
        return None;
    }
    if let Some(error) = members.swap_remove("error").filter(|e| !e.is_null()) {
        return Some(Reply::Error(error));
    }
    members.swap_remove("result").map(Reply::Result)
}

/// The JSON texts of an answer.
fn texts(format: Format, body: &[u8]) -> Result<Vec<Vec<u8>>, BodyError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(BodyError::TooLong { length: body.len() });
    }
    let mut texts = Texts::default();
    match format {
        Format::Json => {
            let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
            texts.data(body);
            texts.dispatch(EventKind::Message);
        }
        Format::EventStream => EventReader::new().feed(body, &mut texts),
    }
    Ok(texts.done)
}

#[derive(Default)]
struct Texts {
    current: Vec<u8>,
    done: Vec<Vec<u8>>,
}

impl EventSink for Texts {
    fn data(&mut self, piece: &[u8]) {
        self.current.extend_from_slice(piece);
    }

    fn dispatch(&mut self, kind: EventKind) {
        let text = std::mem::take(&mut self.current);
        if kind == EventKind::Message && !text.trim_ascii().is_empty() {
            self.done.push(text);
        }
    }
}
