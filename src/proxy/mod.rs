//! One request, in order.
//!
//! `pipeline` is the page to read first. A request lives on one worker from accept to last byte
//! and keeps the snapshot that it started with.

mod alone;
mod answer;
mod asked;
mod attempt;
mod auth;
mod behind;
mod bonds;
mod branch;
mod call;
mod catalogues;
mod choice;
mod client;
mod complaints;
mod counted;
mod crowd;
mod door;
mod ending;
mod error;
mod fallback;
mod farewell;
mod fields;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod generations;
mod guard;
mod head;
mod hops;
mod http2;
mod late;
mod lost;
mod manner;
mod metadata;
mod mirrored;
mod pages;
mod peek;
mod pipeline;
mod places;
mod ready;
mod rehome;
mod relay;
mod request;
mod respond;
mod retry;
mod revive;
mod rooms;
mod rules;
mod seals;
mod serve;
mod session;
mod shield;
pub mod snapshot;
pub mod spec;
mod sse;
mod streams;
mod tokens;
mod upgrade;
mod view;
mod watch;
mod worker;

pub use bonds::Bonds;
pub use catalogues::Catalogues;
pub use crowd::Crowd;
pub use places::{CapSizes, Caps};
pub use sse::LiveSessions;
pub use worker::{Phase, Shared, WorkerOptions, run};
