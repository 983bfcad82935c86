//! Health checks, name lookups, and the look at what the calls say: what happens to endpoints
//! away from the request path. Runs on the control thread, never on a worker's.

mod check;
mod checks;
mod keeper;
mod machine;
mod once;
mod probe;
mod ration;
mod report;
mod token;
mod watch;

pub(super) use check::Question;
pub(super) use checks::Checks;
pub use keeper::keep;
pub(super) use machine::Conclusion;
pub use once::look_at;
pub(super) use ration::Ration;
pub use report::{CheckReport, HealthReport, HealthState};
pub(super) use token::read_token;
