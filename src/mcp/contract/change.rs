//! One change, and all of them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rule::{Part, Rule, Severity};

/// Most changes that are kept one by one; all are counted.
const MAX_CHANGES: usize = 500;
/// Longest kept name or place, in bytes.
const MAX_NAME_BYTES: usize = 256;
/// Longest kept text of what a side says, in bytes.
const MAX_TEXT_BYTES: usize = 160;

/// What a client of the stable version would notice on the candidate. All texts are cut, and
/// without characters that could deceive a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// How bad it is.
    pub severity: Severity,
    /// By which rule.
    pub rule: Rule,
    /// What it is about.
    pub part: Part,
    /// The name of that: a tool, a URI, a revision; empty for the server.
    pub name: String,
    /// The place inside, such as `filter.tags[]`; empty for the whole.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub place: String,
    /// What stable says there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// What the candidate says there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.part.as_str())?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        if self.place.is_empty() {
            write!(f, " {}", self.rule.what())?;
        } else {
            write!(f, ": {} at {}", self.rule.what(), self.place)?;
        }
        match (&self.stable, &self.candidate) {
            (Some(stable), Some(candidate)) => write!(f, " ({stable} -> {candidate})"),
            (Some(stable), None) => write!(f, " (was {stable})"),
            (None, Some(candidate)) => write!(f, " (now {candidate})"),
            (None, None) => Ok(()),
        }
    }
}

/// How many changes there are of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Breaking ones.
    pub breaking: u64,
    /// Risky ones.
    pub risky: u64,
    /// Compatible ones.
    pub compatible: u64,
    /// Words alone.
    pub info: u64,
}

impl Counts {
    /// The worst severity there is; `None` when nothing changed.
    pub fn worst(self) -> Option<Severity> {
        let mut all = Severity::WORST_FIRST.into_iter();
        all.find(|severity| self.of(*severity) > 0)
    }

    /// How many of one severity.
    pub fn of(self, severity: Severity) -> u64 {
        match severity {
            Severity::Breaking => self.breaking,
            Severity::Risky => self.risky,
            Severity::Compatible => self.compatible,
            Severity::Info => self.info,
        }
    }

    /// How many in all.
    pub fn total(self) -> u64 {
        self.breaking + self.risky + self.compatible + self.info
    }

    fn note(&mut self, severity: Severity) {
        let slot = match severity {
            Severity::Breaking => &mut self.breaking,
            Severity::Risky => &mut self.risky,
            Severity::Compatible => &mut self.compatible,
            Severity::Info => &mut self.info,
        };
        *slot += 1;
    }
}

/// All changes between two versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comparison {
    /// How many there are.
    pub counts: Counts,
    /// The worst 500 of them, the worst first.
    pub changes: Vec<Change>,
}

impl Comparison {
    pub(super) fn note(&mut self, part: Part, name: &str, found: Found) {
        let severity = found.rule.severity();
        self.counts.note(severity);
        let change = Change {
            severity,
            rule: found.rule,
            part,
            name: plain(name, MAX_NAME_BYTES),
            place: plain(&found.place, MAX_NAME_BYTES),
            stable: found.stable,
            candidate: found.candidate,
        };
        if self.changes.len() < 2 * MAX_CHANGES {
            self.changes.push(change);
        } else {
            self.settle();
            self.changes.push(change);
        }
    }

    /// The worst first, and no more than are kept.
    pub(super) fn settle(&mut self) {
        self.changes.sort_by(|a, b| {
            let worst_first = b.severity.cmp(&a.severity);
            worst_first.then_with(|| (a.part, &a.name).cmp(&(b.part, &b.name)))
        });
        self.changes.truncate(MAX_CHANGES);
    }

    /// The same with at most so many changes.
    #[must_use]
    pub fn cut(mut self, most: usize) -> Self {
        self.changes.truncate(most);
        self
    }
}

/// A change before it is known what it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) rule: Rule,
    place: String,
    stable: Option<String>,
    candidate: Option<String>,
}

impl Found {
    pub(super) fn new(rule: Rule) -> Self {
        Self {
            rule,
            place: String::new(),
            stable: None,
            candidate: None,
        }
    }

    pub(super) fn at(mut self, place: &str) -> Self {
        place.clone_into(&mut self.place);
        self
    }

    /// What both sides say.
    pub(super) fn says(mut self, stable: Option<&Value>, candidate: Option<&Value>) -> Self {
        self.stable = stable.map(shown);
        self.candidate = candidate.map(shown);
        self
    }
}

/// A value as people read it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => plain(text, MAX_TEXT_BYTES),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            plain(&value.to_string(), MAX_TEXT_BYTES)
        }
    }
}

/// A text that fits, without what could deceive a terminal or a log.
pub(super) fn plain(text: &str, most_bytes: usize) -> String {
    const CUT: char = '…';
    let mut plain = String::new();
    for c in text.chars() {
        if plain.len() + c.len_utf8() + CUT.len_utf8() > most_bytes {
            plain.push(CUT);
            break;
        }
        let deceives = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        plain.push(if deceives { ' ' } else { c });
    }
    plain
}
