//! Behaviour over real sockets, and the plan of the house.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should stop there and say where"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests run on plain threads and measure real time with the real clock"
)]
#![allow(
    clippy::format_push_string,
    clippy::needless_pass_by_value,
    reason = "in a test, short calls are worth an allocation"
)]
#![allow(
    clippy::too_many_lines,
    clippy::wildcard_enum_match_arm,
    clippy::large_stack_arrays,
    reason = "a table of cases is read from top to bottom, and a test names what it expects alone"
)]
#![allow(clippy::print_stdout, reason = "a seed is printed to be used again")]
#![allow(missing_docs, reason = "the names of tests say what they hold")]

mod addresses;
mod admin_doors;
mod alerts;
mod alone;
mod asked;
mod backend_side;
mod blue_green;
mod bodies;
mod callers;
mod caps;
mod changes;
mod checklists;
mod cli;
mod contracts;
mod crowds;
mod descriptors;
mod differential;
mod drain;
mod early;
mod endpoints;
mod fakes;
mod fault_table;
mod faults;
mod floors;
mod forgotten;
mod forwarding;
mod framing;
mod guards;
mod headers;
mod holds;
mod homes;
mod hooks;
mod hostile_backend;
mod hostile_fields;
mod hostile_framing;
mod hostile_h2;
mod hostile_h2_backend;
mod hostile_h2_floods;
mod hostile_h2_heads;
mod hostile_targets;
mod http2_backends;
mod http2_limits;
mod late;
mod leaving;
mod life;
mod lingering;
mod memory;
mod messages;
mod mishaps;
mod negotiation;
mod notices;
mod outcomes;
mod pages;
mod papers;
mod pipelines;
mod promotion;
mod pushed;
mod readings;
mod ready;
mod records;
mod rehoming;
mod reload;
mod replays;
mod retries;
mod rolling;
mod rollouts;
mod rules;
mod schedules;
mod seconds;
mod service;
mod sessions;
mod shadow;
mod shadow_first;
mod shielding;
mod split;
mod sse_asked;
mod sse_calls;
mod sse_contracts;
mod sse_era;
mod sse_homes;
mod sse_moves;
mod state;
mod supply;
mod support;
mod takeover;
mod tls;
mod tls_backends;
mod tokens;
mod tools;
mod unread;
mod verdicts;
mod websocket;
