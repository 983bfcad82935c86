//! Is the candidate worse? Arithmetic over evidence.
//!
//! The judge bets, on every bad or slow call, on whose it was. Its wealth is a supermartingale
//! as long as the candidate is no worse than was agreed, whatever happens to both arms
//! together, so it may look after every call and still reverts a tolerable candidate with
//! probability `alpha` at most over a whole rollout. `docs/judge.md` has the formulas.
//!
//! Invariants: nothing here reads a clock, draws a number or does I/O; every number stays
//! finite whatever the evidence; weighing a batch allocates nothing.
//!
//! Deliberately not here: when a stage is over and what follows a verdict (`rollout`), and how
//! evidence is gathered (`stats::Trial`).

mod bets;
mod deciding;
#[cfg(test)]
mod draws;
mod estimate;
mod guards;
mod keys;
mod metrics;
mod pass;
mod share;
pub mod spec;
mod tape;
mod terms;
mod thresholds;
mod trial;
mod verdict;

#[cfg(test)]
mod tests;

pub use deciding::DecidingOutcome;
pub use estimate::{StageEstimate, Today, estimate};
pub use guards::{Guard, GuardRecord};
pub use metrics::{Metric, MetricArmRecord, MetricRecord, Observation, Value};
pub use pass::calls_to_pass;
pub use share::Share;
pub use tape::{Recording, Tape};
pub use terms::{CheckWeights, Terms, TermsError};
pub use thresholds::{Baseline, Limits, QUANTILES};
pub use trial::{Batch, Judge};
pub use verdict::{
    ArmRecord, ArmTook, ErrorsRecord, HoldReason, LatencyRecord, QuantileRecord, Record, StageTime,
    TookRecord, Verdict,
};
