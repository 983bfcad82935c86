//! Logs and metrics: how the process tells the world about itself.
//!
//! Three things, each apart: the log (`tracing`, written by a thread of its own so that a
//! stuck terminal stops nobody), process-wide counters (the `metrics` facade, for what happens
//! anywhere in the code), and the page that Prometheus reads, which sums the workers' shards
//! when it is asked. Labels come from the config file and from closed sets in the code, never
//! from requests; the one exception are the tools of MCP routes, a bounded number of checked names.
//!
//! Deliberately not here: what is counted about calls (`stats`) and the state of rollouts,
//! which `admin` adds to the page from control's status.

mod calls;
mod copies;
mod counters;
mod escape;
mod gates;
mod log;
mod metrics;
mod numbers;
mod page;
mod panics;
mod process;
mod reverts;
mod sessions;
#[cfg(test)]
pub(crate) mod strict;
#[cfg(test)]
mod tests;
mod tools;

pub use counters::{Counters, describe_counter, describe_gauge};
pub use log::{Log, LogError, LogFormat};
pub use metrics::Metrics;
pub use page::{Kind, Page};
pub use panics::count_panics;
