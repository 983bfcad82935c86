//! What a server is asked, word by word, and how its answer is found.

use serde_json::{Map, Value, json};

use crate::mcp::body::{BodyError, Reply, reply_to};
use crate::mcp::format::Format;
use crate::mcp::revision::Revision;

use super::read::list_of;
use super::rule::Part;

/// How a server is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Era {
    /// In a session of this revision.
    Session(String),
    /// Without sessions: each request says all there is to know.
    Stateless,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its method, which the era without sessions repeats in a header.
    pub method: &'static str,
    /// The JSON body to POST.
    pub body: String,
    /// The revision in which it opens a session, if it does.
    pub opens: Option<Revision>,
    id: u64,
}

/// What a server answered: a result, or the code and words of an error.
pub type Answered = Result<Value, (i64, String)>;

impl Question {
    /// Opens a session, in this revision if the server agrees.
    pub fn initialize(revision: Revision) -> Self {
        let params = json!({
            "protocolVersion": revision.as_str(),
            "capabilities": {},
            "clientInfo": client(),
        });
        Self {
            opens: Some(revision),
            ..Self::new("initialize", 1, &params)
        }
    }

    /// Asks what the server is, without a session.
    pub fn discover() -> Self {
        Self::new("server/discover", 1, &json!({ "_meta": meta() }))
    }

    /// Asks for a page of a list: the one of the cursor, else the first.
    pub fn list(part: Part, cursor: Option<&str>, era: &Era) -> Self {
        let mut params = Map::new();
        if let Some(cursor) = cursor {
            params.insert("cursor".to_owned(), cursor.into());
        }
        if *era == Era::Stateless {
            params.insert("_meta".to_owned(), meta());
        }
        Self::new(list_of(part).0, 2, &params.into())
    }

    /// The last word of opening a session.
    pub const INITIALIZED: &'static str =
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

    fn new(method: &'static str, id: u64, params: &Value) -> Self {
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        Self {
            method,
            body: body.to_string(),
            opens: None,
            id,
        }
    }

    /// The result in a complete answer, or the code and words of an error; `None` without any.
    ///
    /// # Errors
    /// [`BodyError`] when the answer is too long or not JSON.
    pub fn result(&self, format: Format, body: &[u8]) -> Result<Option<Answered>, BodyError> {
        let id = Value::from(self.id);
        Ok(reply_to(Some(&id), format, body)?.map(|reply| match reply {
            Reply::Result(result) => Ok(result),
            Reply::Error(error) => {
                let code = error.get("code").and_then(Value::as_i64);
                let words = error.get("message").and_then(Value::as_str);
                let words = super::change::plain(words.unwrap_or(""), 200);
                Err((code.unwrap_or(0), words))
            }
        }))
    }
}

fn client() -> Value {
    json!({ "name": "switchback-contract", "version": env!("CARGO_PKG_VERSION") })
}

/// What each request says of itself where there are no sessions.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": Revision::V2026July.as_str(),
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": client(),
    })
}
