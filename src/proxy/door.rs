//! Who comes in: a place for each connection, and what happens when there is none.

use std::net::IpAddr;
use std::rc::Rc;

use crate::deadline::TICK;
use crate::model::Limit;

use super::places::Guest;
use super::worker::Worker;

/// A connection's place among all that may be open. Free again when dropped.
#[derive(Debug)]
pub(super) struct Place(Rc<Worker>);

impl Place {
    /// Takes a place, and waits until there is one: meanwhile whoever else comes waits in the
    /// system's queue, which costs this process nothing. Idle connections are closed for it.
    pub(super) async fn find(worker: &Rc<Worker>) -> Self {
        let caps = worker.caps();
        if !caps.connections.take() {
            Limit::Connections.hit();
            let _waiting = worker.shared().caps.wait();
            loop {
                worker.make_room();
                // Somebody may leave another worker, which nobody tells this one.
                let _ = tokio::time::timeout(TICK, caps.left.notified()).await;
                if caps.connections.take() {
                    break;
                }
            }
        }
        Self(Rc::clone(worker))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let caps = self.0.caps();
        caps.connections.give();
        caps.left.notify_one();
    }
}

/// A place among all requests that may be under way. Free again when dropped.
#[derive(Debug)]
pub(super) struct Turn(Rc<Worker>);

impl Turn {
    /// Takes a place, if one is free.
    pub(super) fn take(worker: &Rc<Worker>) -> Option<Self> {
        if worker.caps().requests.take() {
            return Some(Self(Rc::clone(worker)));
        }
        Limit::Requests.hit();
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.caps().requests.give();
    }
}

/// Lets a client in, unless it has as many connections as it may have.
pub(super) fn let_in(worker: &Worker, client: IpAddr) -> Option<Guest> {
    let guest = worker.shared().caps.let_in(client);
    if guest.is_none() {
        Limit::ConnectionsPerClient.hit();
    }
    guest
}
