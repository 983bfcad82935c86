//! Words in, answers out: the command line.
//!
//! Parses, asks (the admin API, or the gateway inside this process), prints, and ends with an
//! exit code that scripts can trust: 0 done or promoted, 1 error, 2 bad usage or config,
//! 3 reverted, 4 timed out, 5 refused. Answers go to stdout, everything else to stderr.
//!
//! It decides nothing about traffic, and knows the gateway only as a stranger does: by `app`,
//! by `config`, and by what goes over the wire.

mod api;
mod args;
mod audit;
mod backend;
mod contract;
mod demo;
mod estimate;
mod failure;
mod history;
mod hook;
mod http;
mod local;
mod metrics;
mod notify;
mod output;
mod replay;
mod rollout;
mod run;
mod secure;
mod sse;
mod state;
mod status;
mod token;
mod tools;
mod wait;
mod why;
mod words;

pub use run::main;
