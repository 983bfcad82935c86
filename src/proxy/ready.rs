//! Keeps connections ready at the endpoints that new traffic goes to.

use std::rc::Rc;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::upstream::{Endpoint, ReadyAttempt};

use super::view::ArmView;
use super::worker::Worker;

/// Most connections that one worker is making ready at once.
const AT_ONCE: usize = 16;

/// Makes what is wished for, one connection at a time for each endpoint; never ends.
pub(super) async fn keep(worker: Rc<Worker>) {
    // Dropped, it ends what is under way.
    let mut making = JoinSet::new();
    loop {
        // Both lose nothing when the other is first.
        tokio::select! {
            () = worker.pools().wished() => {}
            Some(_) = making.join_next() => {}
        }
        let (view, now) = (worker.view(), Instant::now());
        for endpoint in view.ready() {
            if making.len() >= AT_ONCE {
                break;
            }
            if let Some(attempt) = ReadyAttempt::begin(endpoint, now) {
                making.spawn_local(attempt.make());
            }
        }
    }
}

/// Those endpoints of an arm that take new traffic and are to have connections ready.
pub(super) fn of_arm(arm: &ArmView) -> impl Iterator<Item = &Rc<Endpoint>> {
    let takers = arm.takers().unwrap_or(&arm.endpoints);
    takers.iter().filter(|endpoint| endpoint.keeps_ready())
}
