//! Why the gateway does not start.

use std::io;
use std::net::SocketAddr;

use crate::admin::ListenError;
use crate::config::Diagnostics;
use crate::control::ControlError;
use crate::listener::BindError;
use crate::store::StoreError;
use crate::telemetry::LogError;

use super::handover::HandoverError;

/// Why the gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The log cannot be written, or its filter is not one.
    #[error("starting the log")]
    Log(#[from] LogError),
    /// The file has errors.
    #[error("the config file is not valid")]
    Config(#[source] Diagnostics),
    /// The file cannot be watched.
    #[error("watching the config file")]
    Watch(#[source] io::Error),
    /// The state folder cannot be used.
    #[error("opening the state")]
    State(#[source] ControlError),
    /// The damaged state file cannot be replaced.
    #[error("recovering the state")]
    Recover(#[source] StoreError),
    /// The process that is in charge stays in charge.
    #[error("taking over from the process that runs")]
    Handover(#[from] HandoverError),
    /// A socket that somebody else has bound cannot be used.
    #[error("using a listening socket that is there already")]
    Sockets(#[source] io::Error),
    /// The service manager has sockets that the file does not name.
    #[error(
        "the service manager listens on {}, which is no address of a listener or of the admin API",
        strays.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    StraySockets {
        /// Their addresses.
        strays: Vec<SocketAddr>,
    },
    /// No successor can be started.
    #[error("starting a successor")]
    Successor(#[source] io::Error),
    /// Workers kept ending by themselves.
    #[error("workers kept ending by themselves, see the log")]
    Workers,
    /// A listener's address cannot be bound.
    #[error("opening a listener")]
    Listener(#[from] BindError),
    /// The admin API's address cannot be used.
    #[error("opening the admin API")]
    Admin(#[from] ListenError),
    /// A thread or its runtime could not be started.
    #[error("starting thread {name}")]
    Thread {
        /// The thread.
        name: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Signals cannot be listened for.
    #[error("listening for signals")]
    Signals(#[source] io::Error),
    /// The system's source of randomness failed.
    #[error("reading random bytes")]
    Random(#[source] io::Error),
}
