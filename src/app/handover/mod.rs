//! One process after another without a moment in between.
//!
//! A process that runs answers on a socket in its state folder. A new one (`serve --takeover`)
//! asks there for the listening sockets, gets copies of them, gets ready, asks for the state,
//! opens it, takes traffic, and says so; then the old one drains and ends. Until the old one
//! has answered that last word it is in charge: whatever fails before (a bad file, a port that is
//! taken, a kill, silence) leaves it as it was, and the new one ends.
//!
//! | new | old |
//! |---|---|
//! | hello | sockets |
//! | prepared | (writes what is left, lets go of the state) released |
//! | (opens the state, takes traffic) serving | yours |
//!
//! Only the same user may ask. Deliberately not here: the state, which is on the disk between
//! the two, and open connections, which end where they began.

mod message;
mod new;
mod old;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use new::Predecessor;
pub(super) use old::{Doorbell, give};

/// Name of the socket in the state folder.
const SOCKET: &str = "handover.sock";
/// Longest wait for the other process's next word.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a process was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// The conversation broke.
    #[error("{tried} the other process")]
    Io {
        /// What was tried, such as `asking`.
        tried: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The other process does not want to.
    #[error("the other process refused: {why}")]
    Refused {
        /// Why.
        why: String,
    },
    /// The other process said something that makes no sense here.
    #[error("the other process said `{said}` where `{expected}` was expected")]
    Unexpected {
        /// What it said.
        said: &'static str,
        /// What it should have said.
        expected: &'static str,
    },
    /// Somebody else's process asked.
    #[error("a process of another user (uid {uid}) asked to take over")]
    Stranger {
        /// The user.
        uid: u32,
    },
    /// The state could not be let go of.
    #[error("letting go of the state")]
    State(#[source] crate::control::ControlError),
}

impl HandoverError {
    fn io(tried: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { tried, source }
    }
}

/// A path to the socket `name` in `folder` that is short enough for the system (108 bytes): a long
/// one leads through `open`, a descriptor of the folder.
fn short_path(folder: &Path, name: &str) -> io::Result<(PathBuf, Option<std::fs::File>)> {
    const LONGEST: usize = 100;
    let path = folder.join(name);
    if path.as_os_str().len() <= LONGEST || !cfg!(target_os = "linux") {
        return Ok((path, None));
    }
    let open = std::fs::File::open(folder)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&open);
    Ok((
        PathBuf::from(format!("/proc/self/fd/{number}/{name}")),
        Some(open),
    ))
}
