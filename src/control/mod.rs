//! The single writer: every weight, rollout and config, whoever asks, changes through here.
//!
//! One actor owns what is desired. Commands come in through [`ControlHandle`], evidence through
//! the trials that workers write to, and snapshots, status and events go out.
//!
//! Invariants:
//! - A change is persisted, then published, then told. A *revert* is published first and
//!   persisted right after: it waits for no disk, not even for one that hangs under another
//!   change. A change that a revert of the same route overtakes is dropped with
//!   [`ControlError::Conflict`], and what is on disk ends up equal to what is published.
//! - A command that fails has changed nothing (but see [`ControlError::Store`] for a revert).
//! - The file owns topology and policy; weights, rollouts and pauses live in the store. A
//!   reload or a restart changes a weight only where the file's own weight changed since it
//!   was last seen, never under a running rollout, and says so.
//! - Store gone, file broken: traffic flows on by the last snapshot, and the status says so.
//!
//! How it is started: [`open`] on any thread (it blocks on the disk) gives the actor, its handle
//! and the [`crate::proxy::snapshot::SnapshotCell`] of the workers; then
//! `control.run(shutdown).await` on the control thread's runtime, until `shutdown` is done.
//! [`ControlHandle::reload`] is what a changed file and SIGHUP call.
//!
//! Deliberately not here: what the evidence says (`judge`), what comes next in a rollout
//! (`rollout`), how bytes get to disk (`store`), watching files and signals (`app`).

mod actor;
mod adopt;
mod author;
mod blueprint;
mod calendar;
mod certificates;
mod change;
mod checklist;
mod command;
mod commands;
mod commit;
mod contract;
mod deciding;
mod desired;
mod drains;
mod errands;
mod error;
mod estimate;
mod event;
mod event_kind;
mod event_log;
mod evidence;
mod fitness;
mod gates;
mod ground;
mod handle;
mod handover;
mod history;
mod hook_log;
mod keys;
mod ledger;
mod loads;
mod manual;
mod metrics;
mod open;
mod past;
mod picture;
mod pinned;
mod reload;
mod reverts;
mod rolling;
mod scribe;
mod sessions;
mod shadowing;
mod shares;
mod sponsor;
mod standby;
mod status;
mod steps;
#[cfg(test)]
mod tests;
mod timed;
mod timestamp;
mod tool_record;
mod tool_spans;
mod tools;
mod windows;
mod wish;
mod writer;

pub use crate::mcp::contract::{Change, Severity};
pub use actor::Control;
pub use author::Author;
pub use calendar::Closed;
pub use certificates::Certificates;
pub use checklist::{ItemRecord, ItemState};
pub use command::{
    ActOnRollout, Changed, CheckItem, Cooldown, HistoryFilter, Punctuality, Recipe, RevertRoute,
    RolloutAction, SetWeights, StartRollout,
};
pub use contract::{Acceptance, AskContract, ContractReport, ContractResult};
pub use error::ControlError;
pub use estimate::{AskEstimate, Estimate, Mark};
pub use event::{Event, What};
pub use fitness::{CheckStatus, EndpointStatus, FitnessStatus};
pub use handle::ControlHandle;
pub use keys::KeysStatus;
pub use metrics::{PushMetrics, Pushed, PushedValue, ValueProblem, Whose, WrongValue};
pub use open::{ControlOptions, Opened, open};
pub use past::{RolloutFilter, Rollouts};
pub use reload::ReloadReport;
pub use sponsor::sponsor;
pub use status::{
    ArmStanding, ArmStatus, AuthStatus, BackendStatus, CallNumbers, CallerNumbers, ConfigStatus,
    GateStatus, LatencyNumbers, PendingFile, RolloutPhase, RolloutStatus, RouteStatus,
    SessionNumbers, ShadowStatus, Status, StoreHealth, WishStatus,
};
pub use timestamp::Timestamp;
pub use tool_record::{ToolArm, ToolRecord, ToolsRecord, ToolsSince};
pub use tools::{ToolStatus, ToolsStatus};
