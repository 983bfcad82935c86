//! Session ids as clients know them: how they are sealed, and those that a worker has opened, so that
//! a session that goes on pays for its seal once.
//!
//! Held with a route of one view, so that nothing outlives the keys and places of its snapshot: with
//! the next one all of them are opened anew. Only ids that bear our seal are here, so that nobody
//! fills it with rubbish, and none is believed of another caller than it was opened for.

use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;

use http::HeaderValue;

use crate::mcp::{Belongs, SealError, sealed};
use crate::upstream::Endpoint;

use super::generations::Generations;
use super::pipeline::Decided;
use super::session;
use super::worker::Worker;

/// Most ids that are held of a route.
const MOST: usize = 4096;

/// The opened ids of a route.
#[derive(Debug)]
pub(super) struct OpenedIds {
    /// By the hash of the id, which chooses a session's backend too.
    held: Generations<u64, Rc<OpenedId>, BuildHasherDefault<AsItIs>>,
}

/// What a sealed id says.
#[derive(Debug)]
pub(super) struct OpenedId {
    /// The whole of it, in memory of its own: the one that came in keeps all of its head alive.
    pub(super) text: Box<str>,
    owner: Option<Rc<str>>,
    /// The arm and endpoint that it names, if the route has them.
    pub(super) at: Option<(usize, Rc<Endpoint>)>,
    /// The backend's own id.
    pub(super) backend_id: HeaderValue,
}

impl Default for OpenedIds {
    fn default() -> Self {
        let held = Generations::default();
        held.hold_at_most(MOST);
        Self { held }
    }
}

impl OpenedIds {
    /// What this id says to this caller, if it was opened for them before.
    pub(super) fn find(
        &self,
        hash: u64,
        text: &[u8],
        owner: Option<&Rc<str>>,
    ) -> Option<Rc<OpenedId>> {
        let known = self.held.find(&hash)?;
        (same(known.text.as_bytes(), text) && known.owner.as_ref() == owner).then_some(known)
    }

    /// An id was opened.
    pub(super) fn keep(&self, hash: u64, opened: OpenedId) -> Rc<OpenedId> {
        let opened = Rc::new(opened);
        let dropped = self.held.insert(hash, Rc::clone(&opened));
        if dropped > 0 {
            metrics::counter!("switchback_session_ids_forgotten_total").increment(dropped as u64);
        }
        opened
    }
}

impl OpenedId {
    /// What the id `text` says to `owner`.
    pub(super) fn new(
        (text, owner): (&str, Option<&Rc<str>>),
        at: Option<(usize, Rc<Endpoint>)>,
        backend_id: HeaderValue,
    ) -> Self {
        Self {
            text: text.into(),
            owner: owner.cloned(),
            at,
            backend_id,
        }
    }
}

/// Whether two ids are one. Every byte is looked at, so that how long it takes tells nobody how
/// much of a seal they have guessed.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differing = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && differing == 0
}

/// The hash of what is a hash already.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
}

/// The id of a session that a backend has just opened, as its client is to know it.
pub(super) fn seal(worker: &Worker, decided: &Decided, id: &HeaderValue) -> Option<HeaderValue> {
    let route = &decided.route;
    let tags = session::home_tags(route, decided.place, &decided.endpoint)?;
    let key = route.snapshot().session_keys.first()?;
    let belongs = Belongs {
        route: &route.route().belongs,
        owner: decided.owner.as_deref(),
    };
    let sealed = id.to_str().map_err(|_| SealError::Character);
    match sealed.and_then(|id| sealed::seal(key, belongs, tags, id)) {
        Ok(sealed) => HeaderValue::from_str(&sealed).ok(),
        Err(error) => {
            metrics::counter!("switchback_session_ids_refused_total").increment(1);
            if worker.complaints().may(worker.tick()) {
                let (arm, _) = route.arm(decided.place)?;
                let error = &error as &dyn std::error::Error;
                tracing::warn!(route = %route.route().name, backend = %arm.backend, error, "a backend's session id cannot be passed on: its clients have no session");
            }
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(text: &str, owner: Option<&Rc<str>>) -> OpenedId {
        OpenedId::new((text, owner), None, HeaderValue::from_static("id"))
    }

    #[test]
    fn an_id_is_known_by_all_of_its_bytes_and_to_its_owner_alone() {
        let ids = OpenedIds::default();
        let (ann, bob): (Rc<str>, Rc<str>) = ("ann".into(), "bob".into());
        ids.keep(7, opened("sb1.abc.id", Some(&ann)));

        assert!(ids.find(7, b"sb1.abc.id", Some(&ann)).is_some());
        for text in [&b"sb1.abc.i"[..], b"sb1.abc.id2", b"sb1.abd.id", b""] {
            assert!(ids.find(7, text, Some(&ann)).is_none(), "{text:?}");
        }
        for owner in [None, Some(&bob)] {
            assert!(ids.find(7, b"sb1.abc.id", owner).is_none(), "{owner:?}");
        }
        assert!(ids.find(8, b"sb1.abc.id", Some(&ann)).is_none());
    }

    #[test]
    fn no_more_ids_are_held_than_there_may_be() {
        let ids = OpenedIds::default();
        for hash in 0..3 * MOST as u64 {
            ids.keep(hash, opened(&hash.to_string(), None));
        }

        let held = (0..3 * MOST as u64)
            .filter(|hash| ids.find(*hash, hash.to_string().as_bytes(), None).is_some());
        assert!(held.count() <= MOST);
    }
}
