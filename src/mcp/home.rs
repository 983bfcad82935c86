//! Where sessions live: by name, as the file has them.

use std::sync::Arc;

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
