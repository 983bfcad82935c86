//! The admin API: how people, pipelines and probes look at the gateway and steer it.
//!
//! HTTP/1.1 on a listener of its own, on loopback unless it speaks TLS, served on control's thread, so that it answers
//! while the workers are busy. It changes things only through control. One table
//! (`endpoints`) drives the router, the OpenAPI document and the home page; one place
//! (`error`) turns what went wrong into a status and a body.
//!
//! Invariants: a page from elsewhere, open in an operator's browser, gets nothing (`guard`);
//! every body, head, wait and reader is bounded; a reader who does not keep up costs control
//! nothing.
//!
//! Deliberately not here: what tokens and scopes are (`access`), and what is on the page of
//! metrics about calls (`telemetry`).

mod api;
mod audit;
mod body;
mod calls;
mod change;
mod cors;
mod door;
mod endpoints;
mod error;
mod events;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod home;
mod hook;
mod listen;
mod metrics;
mod notices;
mod openapi;
mod peer;
mod pushes;
mod query;
mod read;
mod readiness;
mod record;
mod render;
mod render_checklist;
mod render_contract;
mod render_estimate;
mod render_fitness;
mod render_gate;
mod render_replay;
mod render_rollout;
mod render_tools;
mod render_verdict;
mod render_why;
mod reply;
mod server;
mod shapes;
mod stall;
#[cfg(test)]
mod tests;
pub mod wire;

pub use api::Deps;
pub use listen::{AdminListener, ListenError, Wire};
pub use notices::notice;
pub use readiness::Readiness;
pub use server::serve;
