//! The machine of a rollout: which stage, how long, and what comes next.
//!
//! [`step`] is the whole of it: a state, an event and the time give the next state and what
//! `control` has to do. Nothing here reads a clock or does I/O, so a whole rollout with its
//! revert runs in a unit test.
//!
//! Invariants: the candidate's share grows only by a stage passed or by `promote`; a finished
//! rollout never starts again; whatever is waited for, a revert goes through; time that a stage spends paused does not count; states keep
//! elapsed times, not instants, so that a restart resumes where it was.
//!
//! Deliberately not here: what the evidence says (`judge`), and carrying actions out (`control`).

mod event;
mod gate;
mod machine;
mod plan;
mod rolling;
mod shadow_report;
pub mod spec;
mod state;

#[cfg(test)]
mod tests;

pub use event::{Action, Event, Finish, Note, Refusal, Report, TrialUse};
pub use gate::{Answer, Ask, Gate};
pub use machine::{Step, step};
pub use plan::{Part, Plan, PlanError, Stage, StageRole};
pub use rolling::{EndpointReport, EndpointState, RollingFinding, RollingReport};
pub use shadow_report::{QUANTILE as SHADOW_QUANTILE, ShadowFinding, ShadowReport};
pub use state::{Phase, State, View};
