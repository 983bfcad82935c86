//! The open event streams of one worker, where a revert and the worker's end find them.

use std::cell::RefCell;
use std::rc::Rc;

use slab::Slab;

use crate::model::{BackendName, RouteName};
use crate::upstream::Pace;

use super::snapshot::Snapshot;

/// The open streams of one worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Streams {
    open: Rc<RefCell<Slab<Stream>>>,
}

#[derive(Debug)]
struct Stream {
    route: RouteName,
    backend: BackendName,
    pace: Rc<Pace>,
    kind: Kind,
}

/// Whose a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An MCP session's, which follows it to a new home.
    Session,
    /// One of an MCP request without session, whose client asks for another one.
    Alone,
    /// Any other: no revert cuts it.
    Plain,
}

/// A stream's place on the list; leaves it when dropped.
#[derive(Debug)]
pub(super) struct StreamEntry {
    streams: Streams,
    key: usize,
}

impl Streams {
    /// A stream has opened.
    pub(super) fn enter(
        &self,
        (route, backend): (&RouteName, &BackendName),
        pace: &Rc<Pace>,
        kind: Kind,
    ) -> StreamEntry {
        let stream = Stream {
            route: route.clone(),
            backend: backend.clone(),
            pace: Rc::clone(pace),
            kind,
        };
        StreamEntry {
            key: self.open.borrow_mut().insert(stream),
            streams: self.clone(),
        }
    }

    /// Ends every stream, since the worker is about to end; tells how many there are.
    pub(super) fn end_all(&self) -> usize {
        let open = self.open.borrow();
        for (_, stream) in open.iter() {
            stream.pace.end();
        }
        open.len()
    }

    /// Ends the streams of MCP callers to backends that were reverted, or are gone: their clients
    /// open them again and are let in where they belong now.
    pub(super) fn end_homeless(&self, snapshot: &Snapshot) {
        let open = self.open.borrow();
        let of_callers = open.iter().filter(|(_, s)| s.kind != Kind::Plain);
        for (_, stream) in of_callers {
            let route = snapshot
                .routes
                .iter()
                .find(|route| route.name == stream.route);
            let arm =
                route.and_then(|route| route.arms.iter().find(|arm| arm.backend == stream.backend));
            if arm.is_none_or(|arm| !arm.standing.may_stay()) {
                stream.pace.end();
            }
        }
    }
}

impl Drop for StreamEntry {
    fn drop(&mut self) {
        self.streams.open.borrow_mut().try_remove(self.key);
    }
}
