//! Letting go of the state for another process, and taking it back.
//!
//! While the state is away nothing is changed here: commands are refused, rollouts take no step
//! forward. A revert still comes into force at once; whoever has the state then comes to the same
//! verdict, and if the state comes back, what is in force here is written to it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::store::StoreError;

use super::actor::Control;
use super::command::Reply;
use super::commands::refuse;
use super::error::ControlError;

/// Time between attempts to take the state back from a process that has not let go of it.
const RETRY_EVERY: Duration = Duration::from_millis(500);

/// Where the state is.
#[derive(Debug, Default)]
pub(super) enum Handover {
    /// Here.
    #[default]
    Here,
    /// Here, until what is under way is on disk.
    Asked(Reply<()>),
    /// Being let go of.
    Releasing(oneshot::Receiver<()>, Reply<()>),
    /// With another process; wanted back at the time given.
    Away(Option<Instant>),
    /// Being taken back.
    Returning(oneshot::Receiver<Result<(), StoreError>>),
}

/// What has become of a handover.
#[derive(Debug)]
pub(super) enum Progress {
    /// The state is let go of; not when the store has died.
    Released(bool),
    /// The state is back, or still with somebody else; `None` when the store did not say.
    Returned(Option<Result<(), StoreError>>),
    /// It is time to ask for it again.
    Due,
}

impl Handover {
    /// Whether another process has the state, or is about to.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Self::Here)
    }

    /// Whether nothing can be written.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::Here | Self::Asked(_) => false,
            Self::Releasing(..) | Self::Away(_) | Self::Returning(_) => true,
        }
    }

    /// Waits for what comes next; for ever when nothing does.
    pub(super) async fn progress(&mut self) -> Progress {
        match self {
            Self::Releasing(released, _) => Progress::Released(released.await.is_ok()),
            Self::Returning(returned) => Progress::Returned(returned.await.ok()),
            Self::Away(Some(at)) => {
                tokio::time::sleep_until(*at).await;
                Progress::Due
            }
            Self::Here | Self::Asked(_) | Self::Away(None) => std::future::pending().await,
        }
    }
}

impl Control {
    /// Lets go of the state as soon as what is under way is on disk.
    pub(super) fn begin_handover(&mut self, reply: Reply<()>) {
        if self.handover.is_on() {
            // Whoever asked may have left.
            let _ = reply.send(Err(ControlError::Busy));
            return;
        }
        self.handover = Handover::Asked(reply);
        let error = self.handed_over();
        for command in std::mem::take(&mut self.queue) {
            refuse(command, error.clone());
        }
        // A running rollout goes on from the evidence so far.
        self.ledger.dirty |= !self.evidence.is_empty();
    }

    /// Nothing is under way any more.
    pub(super) fn release(&mut self) {
        match std::mem::take(&mut self.handover) {
            Handover::Asked(reply) => {
                self.write_tables();
                self.handover = Handover::Releasing(self.ledger.store.release(), reply);
            }
            other @ (Handover::Here
            | Handover::Releasing(..)
            | Handover::Away(_)
            | Handover::Returning(_)) => self.handover = other,
        }
    }

    /// Takes the state back, wherever the handover is.
    pub(super) fn take_back(&mut self) {
        match std::mem::take(&mut self.handover) {
            Handover::Here | Handover::Asked(_) => {}
            Handover::Releasing(..) | Handover::Away(_) => {
                self.handover = Handover::Returning(self.ledger.store.reclaim());
            }
            Handover::Returning(returned) => self.handover = Handover::Returning(returned),
        }
    }

    /// The store has answered, or it is time to ask it again.
    pub(super) fn handover_goes_on(&mut self, progress: Progress) {
        match (std::mem::take(&mut self.handover), progress) {
            (Handover::Releasing(_, reply), Progress::Released(true)) => {
                tracing::info!("the state is let go of for another process");
                self.handover = Handover::Away(None);
                // Whoever asked takes it back when this is not heard.
                let _ = reply.send(Ok(()));
            }
            (Handover::Releasing(_, reply), Progress::Released(false)) => {
                let _ = reply.send(Err(ControlError::Stopped));
            }
            (Handover::Returning(_), Progress::Returned(Some(Ok(())))) => {
                tracing::info!("the state is back");
                self.keeper.writer().forget_disk();
                for scribe in &mut self.scribes {
                    scribe.writer().forget_disk();
                }
                self.ledger.dirty = true;
            }
            (Handover::Returning(_), Progress::Returned(failed)) => {
                if let Some(Err(error)) = failed {
                    self.sicken(&Arc::new(error));
                }
                self.handover = Handover::Away(Some(Instant::now() + RETRY_EVERY));
            }
            (other, _) => {
                self.handover = other;
                self.take_back();
            }
        }
        self.show();
    }

    /// Why nothing can be changed.
    pub(super) fn handed_over(&self) -> ControlError {
        let path = self.ledger.store.path().to_owned();
        ControlError::Store(Arc::new(StoreError::HandedOver { path }))
    }
}
