//! Switchback: a layer-7 reverse proxy that ships a new version of a server safely.
//!
//! `ARCHITECTURE.md` has the plan of the house: two wings, one ground, one writer.

pub mod access;
pub mod admin;
pub mod app;
pub mod calendar;
pub mod cli;
pub mod config;
pub mod control;
pub mod deadline;
pub mod filewatch;
pub mod hooks;
pub mod judge;
pub mod listener;
pub mod mcp;
pub mod model;
pub mod notify;
pub mod proxy;
pub mod rollout;
pub mod routing;
pub mod shadow;
pub mod split;
pub mod stats;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod upstream;
