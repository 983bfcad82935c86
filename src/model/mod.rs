//! The words every room shares: names, weights, outcomes, reasons and identities.
//!
//! Plain values that are valid by construction ("parse at the edge, then trust"). No I/O,
//! no clock, and no import of any other room.

mod admin_address;
mod digits;
pub mod duration_text;
mod id;
mod limit;
mod lines;
mod name;
pub mod number_or_text;
mod outcome;
mod problems;
mod reason;
mod role;
mod weight;

pub use admin_address::{AdminAddress, AdminAddressError};
pub use digits::digits;
pub use id::{Generation, RolloutId, RolloutIdError};
pub use limit::Limit;
pub use lines::{place_of, without_space};
pub use name::{
    AlertName, BackendName, HookName, ItemName, MetricName, NameError, NotifierName, PlanName,
    RouteName, TokenName, WindowName,
};
pub use outcome::{Outcome, OutcomeSet};
pub use problems::Problems;
pub use reason::RevertReason;
pub use role::Role;
pub use weight::{Percent, PercentError, Weight, WeightError};
