//! Who changed what, written down: one line of JSON a call, in a file that only grows.
//!
//! A line is written when the call has its answer, and what it says is what became of it. The
//! answer to a call that changed something waits until its line is on disk, for two seconds at
//! most. The change itself does not wait: a revert that waited for a log would let a full disk
//! keep a bad version in place. So a line that cannot be written does not undo, refuse or delay
//! what it is about; it is an alarm instead (`switchback_audit_lost_total`,
//! `switchback_audit_healthy`, a warning in the status, an error in the log), and the history in
//! the state store has who did it all the same.
//!
//! Invariants: a line has only ASCII and no control characters, whatever the call brought along;
//! its texts are bounded; the file belongs to one thread, behind a bounded queue.

mod file;
mod line;
mod pages;
mod thread;

pub(super) use line::Line;
pub(super) use pages::{Page, read};
pub(super) use thread::{Audit, Keep, Kept, Rules, describe};
