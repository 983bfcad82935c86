//! The one place that writes to stdout and stderr.
//!
//! A reader that goes away (`| head`) is no error: what it did not want is not written.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::args::Globals;
use super::failure::{Exit, Failure};

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    /// As the command line and the environment say.
    pub(super) fn new(globals: &Globals) -> Self {
        let refused =
            globals.no_color || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            json: globals.json,
            colour: !refused && io::stdout().is_terminal(),
        }
    }

    /// Whether programs read along.
    pub(super) fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person may be shown colours.
    pub(super) fn has_colour(self) -> bool {
        self.colour
    }

    /// Answers a verb: `value` for programs, else what `text` makes of it for people.
    ///
    /// # Errors
    /// When stdout cannot be written, other than by its reader going away.
    pub(super) fn answer<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        if !self.json {
            return self.text(&text(value));
        }
        let json = serde_json::to_string_pretty(value).map_err(|error| {
            Failure::new(Exit::Error, "cannot write the answer as JSON").because(&error)
        })?;
        self.text(&json)
    }

    /// Writes text and ends it with a line break.
    ///
    /// # Errors
    /// When stdout cannot be written, other than by its reader going away.
    #[expect(
        clippy::unused_self,
        reason = "what may write to stdout holds an Output"
    )]
    pub(super) fn text(self, text: &str) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout
            .write_all(text.trim_end_matches('\n').as_bytes())
            .and_then(|()| stdout.write_all(b"\n"))
            .and_then(|()| stdout.flush());
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new(Exit::Error, "cannot write to stdout").because(&error))
            }
            _ => Ok(()),
        }
    }

    /// Tells a person something beside the answer.
    #[expect(
        clippy::unused_self,
        reason = "what may write to stderr holds an Output"
    )]
    pub(super) fn note(self, text: &str) {
        // There is nobody left to tell when stderr is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}
