//! What happened, counted: per worker, per route and backend, merged by addition when read.
//!
//! Every counter has one writer, the worker that owns its shard, and any number of readers:
//! writing is a plain load and store, no lock and no atomic read-modify-write. A histogram's
//! relative error is below 1 % from 1 µs to over an hour. Sums of shards are sums of calls,
//! so a worker, a stage and a fleet add up the same way.
//!
//! Deliberately not here: names of metrics (`telemetry`) and what a number means (`judge`).

mod assigned;
mod calls;
mod counter;
mod earlier;
mod gate;
mod histogram;
mod incident;
mod mirror;
mod mirror_trial;
mod registry;
mod sessions;
mod strangers;
mod tool_counts;
mod tools;
mod trial;
mod turn;
mod window;

pub use assigned::Assigned;
pub use calls::{CallStats, CallSummary};
pub use counter::{Counter, Gauge};
pub use earlier::EarlierTools;
pub use gate::{AuthResult, GateKey, GateStats};
pub use histogram::{Histogram, Latencies};
pub use incident::{About, CallId, Incident, Wrong};
pub use mirror::{Comparison, MirrorDrop, MirrorStats};
pub use mirror_trial::MirrorTrial;
pub use registry::{CallKey, Registry, Traffic};
pub use sessions::{Listening, SessionStats};
pub use tool_counts::{ToolCounts, ToolShards};
pub use tools::{ToolBoard, ToolSum};
pub use trial::{ArmCounts, BadCall, LIMITS, Marks, Trial, TrialArm};
pub use turn::Turn;
pub use window::{TrialWindow, WINDOWS, WindowCounts, WindowNumber};
