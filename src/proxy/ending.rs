//! Ends, at their servers, sessions that were opened in the name of others which are gone.
//!
//! A client ends the session that it knows, and what was opened in its name hears of that. Where it just
//! stays away, or its session is lost, nobody else tells these servers. It is done beside the traffic, a
//! few at a time, without the client's credentials, and nobody waits for it: what cannot be ended is left
//! to its server's own time-out, and counted.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::HeaderValue;
use http::StatusCode;
use http::header::{HOST, HeaderMap};
use http::uri::PathAndQuery;
use tokio::task::spawn_local;

use crate::mcp::{Ending, Fate};
use crate::upstream::{self, Template};

use super::session;
use super::worker::Worker;

/// Most that one worker is ending at once.
const AT_ONCE: usize = 4;
/// Longest wait for a server's answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Those that a worker is ending.
#[derive(Debug, Default)]
pub(super) struct UnderWay {
    /// Held by each.
    token: Rc<()>,
    is_stopped: Cell<bool>,
}

impl UnderWay {
    /// No more are begun: the process is about to end, and what it forgets from now on the next one
    /// may know.
    pub(super) fn stop(&self) {
        self.is_stopped.set(true);
    }
}

/// Begins to end what is to be ended, as far as there is room for it.
pub(super) fn begin(worker: &Rc<Worker>) {
    let UnderWay { token, is_stopped } = worker.endings();
    if is_stopped.get() {
        return;
    }
    let room = (AT_ONCE + 1).saturating_sub(Rc::strong_count(token));
    for ending in worker.sessions().endings().take(room) {
        let (worker, token) = (Rc::clone(worker), Rc::clone(token));
        spawn_local(async move {
            let fate = end(&worker, &ending).await.unwrap_or(Fate::Left);
            worker.sessions().endings().settle(fate);
            drop(token);
        });
    }
}

/// Asks its server to end it. Nothing where that is gone, or is not known how to be asked.
async fn end(worker: &Worker, ending: &Ending) -> Option<Fate> {
    let Ending { route, home, .. } = ending;
    let route = worker.view().named(route)?;
    let (_, endpoint) = session::home_at(&route, home)?;
    let way = home.way.as_ref().filter(|_| !endpoint.is_dead())?;
    let mut fields = HeaderMap::new();
    if let Some(host) = &way.host {
        fields.insert(HOST, HeaderValue::from_str(host).ok()?);
    }
    let template = Template {
        target: PathAndQuery::try_from(&*way.path).ok()?,
        fields,
        patience: PATIENCE,
    };
    let id = session::field_of(home.id.as_deref()).ok()?;
    let named = (&*ending.version, id.as_ref());
    let ended = upstream::end_session(&endpoint, named, &template, worker.deadlines()).await;
    let status = ended.ok()?;
    let is_over = status.is_success() || status == StatusCode::NOT_FOUND;
    Some(if is_over { Fate::Ended } else { Fate::Left })
}
