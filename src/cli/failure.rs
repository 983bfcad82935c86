//! How a verb ends: exit codes, and what is said when it fails.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// How a verb ends, for the shell that called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, or promoted.
    Done,
    /// Something failed.
    Error,
    /// The command line or the config file is wrong.
    Usage,
    /// The rollout was reverted.
    Reverted,
    /// The wait was over before the rollout was.
    TimedOut,
    /// The gateway refused.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Exit {
    /// The number that the shell sees.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Reverted => 3,
            Self::TimedOut => 4,
            Self::Refused => 5,
        }
    }
}

/// What went wrong, why, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    what: String,
    why: Option<String>,
    mend: Option<String>,
}

impl Failure {
    /// A failure that ends the process with `exit`.
    pub(super) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self {
            exit,
            what: what.into(),
            why: None,
            mend: None,
        }
    }

    /// Adds the causes, from the nearest to the deepest.
    #[must_use]
    pub(super) fn because(mut self, error: &(dyn Error + 'static)) -> Self {
        let mut words = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause {
            words = format!("{words}: {deeper}");
            cause = deeper.source();
        }
        self.why = Some(words);
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub(super) fn mend(mut self, hint: impl Into<String>) -> Self {
        self.mend = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\n  why: {why}")?;
        }
        if let Some(mend) = &self.mend {
            write!(f, "\n  try: {mend}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_how_to_mend_it() {
        let error = "x".parse::<u8>().unwrap_err();

        let failure = Failure::new(Exit::Refused, "cannot shift")
            .because(&error)
            .mend("read it");

        assert_eq!(
            failure.to_string(),
            "error: cannot shift\n  why: invalid digit found in string\n  try: read it"
        );
    }

    #[test]
    fn exit_codes_are_what_the_docs_promise() {
        use Exit::{Done, Error, Refused, Reverted, TimedOut, Usage};

        assert_eq!(
            [Done, Error, Usage, Reverted, TimedOut, Refused].map(Exit::code),
            [0, 1, 2, 3, 4, 5]
        );
    }
}
