//! The sessions of MCP callers at the shadow: opened like theirs, when a copy first needs one.

use std::rc::Rc;
use std::sync::Arc;

use http::HeaderValue;

use crate::deadline::Deadlines;
use crate::mcp::{Home, Lists, SessionRecord, SessionTable};
use crate::stats::MirrorDrop;
use crate::upstream::{self, Endpoint, Template};

/// A real session that a copy belongs to.
#[derive(Clone, Debug)]
pub struct RealSession {
    /// Its id as the client knows it.
    pub id: Box<str>,
    /// What it was opened with.
    pub record: Arc<SessionRecord>,
}

/// The shadow does not know a session any more: the next copy opens it again.
pub(super) fn forget(endpoint: &Endpoint, sessions: &SessionTable, real: &RealSession) {
    sessions.close(&name(endpoint, real));
}

/// Names a session at the shadow, by endpoint too: another one does not know it.
fn name(endpoint: &Endpoint, real: &RealSession) -> String {
    format!("{}\n{}", endpoint.name(), real.id)
}

/// The session of a caller at the shadow, opened now if it is not there yet.
///
/// # Errors
/// [`MirrorDrop::NoSession`] when the shadow will not open it.
pub(super) async fn session_at(
    endpoint: &Rc<Endpoint>,
    sessions: &SessionTable,
    real: &RealSession,
    template: &Template,
    (deadlines, tick): (&Deadlines, u64),
) -> Result<Option<HeaderValue>, MirrorDrop> {
    let id = name(endpoint, real);
    let session = match sessions.find(&id, tick) {
        Some(session) => session,
        None => sessions.open(&id, SessionRecord::clone(&real.record), tick),
    };
    let _gate = session.gate().lock().await;
    if session.home().is_none() {
        let opened = upstream::open_session(endpoint, session.record(), template, deadlines).await;
        let opened = opened.map_err(|error| {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the shadow opens no session"
            );
            MirrorDrop::NoSession
        })?;
        let id = opened.id.and_then(|id| id.to_str().ok().map(Into::into));
        session.set_home(Home {
            backend: endpoint.backend_name().clone(),
            endpoint: Arc::clone(endpoint.name()),
            id,
            lists: Lists::NONE,
            way: None,
        });
    }
    let home = session.home();
    Ok(home.and_then(|home| {
        home.id
            .as_deref()
            .and_then(|id| HeaderValue::from_str(id).ok())
    }))
}
