//! The open streams of MCP sessions on one worker, where a revert finds them.

use std::cell::RefCell;
use std::rc::Rc;

use slab::Slab;

use crate::model::{BackendName, RouteName};
use crate::upstream::Pace;

use super::snapshot::{Snapshot, Standing};

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
}

/// A stream's place on the list; leaves it when dropped.
#[derive(Debug)]
pub(super) struct StreamEntry {
    streams: Streams,
    key: usize,
}

impl Streams {
    /// A session's stream has opened.
    pub(super) fn enter(
        &self,
        route: &RouteName,
        backend: &BackendName,
        pace: &Rc<Pace>,
    ) -> StreamEntry {
        let stream = Stream {
            route: route.clone(),
            backend: backend.clone(),
            pace: Rc::clone(pace),
        };
        StreamEntry {
            key: self.open.borrow_mut().insert(stream),
            streams: self.clone(),
        }
    }

    /// Ends the streams to backends that were reverted, or are gone: their clients open them
    /// again and are let in at the session's new home.
    pub(super) fn end_homeless(&self, snapshot: &Snapshot) {
        for (_, stream) in self.open.borrow().iter() {
            let route = snapshot
                .routes
                .iter()
                .find(|route| route.name == stream.route);
            let arm =
                route.and_then(|route| route.arms.iter().find(|arm| arm.backend == stream.backend));
            if arm.is_none_or(|arm| arm.standing == Standing::Reverted) {
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
