//! Where sessions live: by name, as the file has them.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::{BackendName, RouteName};

use super::lists::Lists;

/// Where a re-homed session lives. By name and not by tag, so that it outlives the key that
/// sealed the session's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The backend.
    pub backend: BackendName,
    /// The endpoint, as `http://host:port`.
    pub endpoint: Arc<str>,
    /// The session's id there; `None` when that server opened none.
    pub id: Option<Box<str>>,
    /// The lists that may differ there from what the session's client knows.
    pub lists: Lists,
    /// How it was asked to open the session; nothing of one that ends by itself.
    pub way: Option<Box<Way>>,
}

/// How a server was asked for a session, and so how it is asked to end it when its client is gone.
/// No credentials: these are the client's, and are not kept, nor is a query, where some stand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// The path.
    pub path: Box<str>,
    /// The host that it was asked as.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Box<str>>,
}

impl Way {
    /// Longest path that is kept, in bytes.
    const PATH_BYTES: usize = 2048;
    /// Longest host, in bytes.
    const HOST_BYTES: usize = 300;

    /// A way of these, unless one is too long to be kept.
    pub fn new(path: &str, host: Option<&str>) -> Option<Self> {
        let is_short = path.len() <= Self::PATH_BYTES
            && host.is_none_or(|host| host.len() <= Self::HOST_BYTES);
        is_short.then(|| Self {
            path: path.into(),
            host: host.map(Into::into),
        })
    }
}

/// Where a session was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The route.
    pub route: RouteName,
    /// The backend.
    pub backend: BackendName,
    /// It is a stream of its own (HTTP+SSE), which is counted while that is open, and not here.
    pub is_stream: bool,
    /// A number for whoever opened it, the same for all of theirs; 0 for nobody in particular.
    pub owner: u64,
}
