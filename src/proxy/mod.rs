//! One request, in order.
//!
//! `pipeline` is the page to read first. A request lives on one worker from accept to last byte
//! and keeps the snapshot that it started with.

mod answer;
mod call;
mod client;
mod error;
mod fields;
mod head;
mod pipeline;
mod respond;
mod serve;
pub mod snapshot;
pub mod spec;
mod view;
mod worker;

pub use worker::{Phase, WorkerOptions, run};
