//! What is known of a request's body.

use xxhash_rust::xxh3::xxh3_64;

use super::answer::RequestId;
use super::method::Method;
use super::tie::Tie;

/// What is known of a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestFacts {
    /// What the body is.
    pub kind: Kind,
    /// The method of a request or notification; [`Method::Other`] for anything else.
    pub method: Method,
    /// A hash of the name of a method that is not known, when it is at most [`RequestFacts::URI_BYTES`]
    /// long.
    pub other_method: Option<u64>,
    /// The id of a request, when it is a number or a text of at most
    /// [`RequestId::MAX_BYTES`].
    pub id: Option<RequestId>,
    /// The tool that a `tools/call` names, when it is at most [`RequestFacts::TOOL_BYTES`] long.
    pub tool: Option<Box<str>>,
    /// The protocol version that an `initialize` asks for.
    pub protocol_version: Option<Box<str>>,
    /// The resource that a `resources/subscribe` or `resources/unsubscribe` names.
    pub uri: Option<Box<str>>,
    /// What else `Mcp-Name` repeats: the prompt of a `prompts/get`, the resource of a
    /// `resources/read`, the task that is asked about.
    pub named: Option<Box<str>>,
    /// The protocol version that a request claims for itself in its `_meta`.
    pub claimed: Option<Box<str>>,
    /// The request that a `notifications/cancelled` takes back.
    pub cancels: Option<Box<RequestId>>,
    /// What ties the request to the server that it got a value from before.
    pub tie: Option<Tie>,
    /// The messages of a batch, in order; empty for a single message.
    pub members: Vec<RequestFacts>,
}

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A message with method and id: it will be answered.
    Request,
    /// A message with a method and without id.
    Notification,
    /// The client's answer to a request of the server's.
    Response,
    /// An array of messages.
    Batch,
}

impl RequestFacts {
    /// Longest tool name that is kept, in bytes.
    pub const TOOL_BYTES: usize = 256;
    /// Longest resource URI that is kept, in bytes.
    pub const URI_BYTES: usize = 2048;
    /// Most messages of a batch that are looked at.
    pub const BATCH: usize = 64;

    /// Whether this is the name of the method, as far as that can be told.
    pub fn is_method(&self, name: &[u8]) -> bool {
        let method = Method::parse(name);
        let same = |other: u64| other == Self::method_hash(name);
        method == self.method && (method != Method::Other || self.other_method.is_none_or(same))
    }

    /// What [`RequestFacts::other_method`] is made with.
    pub(super) fn method_hash(name: &[u8]) -> u64 {
        xxh3_64(name)
    }

    /// What `Mcp-Name` is to repeat, if the method has anything of the kind.
    pub fn mirrored_name(&self) -> Option<&str> {
        self.tool.as_deref().or(self.named.as_deref())
    }

    /// Whether the body asks for a session to be opened.
    pub fn opens_session(&self) -> bool {
        self.kind == Kind::Request && self.method == Method::Initialize
    }

    /// Whether the body holds a request, so that an answer is a call's outcome.
    pub fn expects_answer(&self) -> bool {
        self.requests() > 0
    }

    /// How many requests the body holds: each has a response of its own.
    pub fn requests(&self) -> u32 {
        match self.kind {
            Kind::Request => 1,
            Kind::Notification | Kind::Response => 0,
            Kind::Batch => self.members.iter().map(Self::requests).sum(),
        }
    }

    /// Facts of this kind and nothing else.
    pub(super) fn bare(kind: Kind) -> Self {
        Self {
            kind,
            method: Method::Other,
            other_method: None,
            id: None,
            tool: None,
            protocol_version: None,
            uri: None,
            named: None,
            claimed: None,
            cancels: None,
            tie: None,
            members: Vec::new(),
        }
    }
}
