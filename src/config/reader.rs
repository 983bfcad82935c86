//! From a tree to a spec, gathering every problem on the way.
//!
//! Serde stops at the first error. So the tree is read again and again: each error is noted with
//! its place, the value that caused it is taken out, and the next reading goes on without it,
//! until a reading succeeds. A key that was taken out is not reported as missing as well; the
//! map that needs it is taken out in turn.

use std::collections::{BTreeSet, HashSet};

use serde::de::{DeserializeOwned, Expected, Unexpected};

use super::diagnostic::{Code, Diagnostic, Source};
use super::node::{Entry, Node, Short, Value};
use super::suggest::{did_you_mean, list};
use super::value::Reader;

/// Most problems that are reported of one file.
pub(super) const MAX_PROBLEMS: usize = 100;

/// Shorter texts are in many messages by chance.
const LEAST_TELLING: usize = 4;

/// What reading has found out so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The nodes that later readings pass over.
    pub(super) taken_out: HashSet<u32>,
    /// The sections of the root that stand in for missing ones.
    pub(super) assumed: BTreeSet<&'static str>,
    /// The problems, in the order they were found.
    pub(super) problems: Vec<Problem>,
}

/// Why a value does not fit, and where.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// The required key that a map lacks.
    missing: Option<&'static str>,
    pub(super) place: Option<Place>,
}

/// Where a problem is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The node to take out.
    pub(super) node: u32,
    /// The bytes to point at.
    pub(super) span: std::ops::Range<usize>,
}

/// Reads a spec; nothing when too little of it is usable.
pub(super) fn read<T: DeserializeOwned>(root: &Node, findings: &mut Findings) -> Option<T> {
    while findings.problems.len() < MAX_PROBLEMS {
        let reader = Reader::root(root, findings);
        let problem = match T::deserialize(reader) {
            Ok(spec) => return Some(spec),
            Err(problem) => problem,
        };
        let node = problem.place.as_ref().map_or(root.id, |place| place.node);
        let missing = problem.missing;
        if !missing.is_some_and(|key| was_taken_out(root, node, key, findings)) {
            findings.problems.push(problem);
        }
        match missing {
            // Inserting fails when the stand-in itself is not accepted: then there is no end.
            Some(key) if node == root.id => {
                if !findings.assumed.insert(key) {
                    return None;
                }
            }
            Some(_) | None => {
                if node == root.id || !findings.taken_out.insert(node) {
                    return None;
                }
            }
        }
    }
    None
}

/// Notes every key that a map has twice, and takes the later one out.
pub(super) fn duplicate_keys(root: &Node, findings: &mut Findings) {
    let mut seen = HashSet::new();
    for entry in root.entries() {
        if !seen.insert(entry.key.as_str()) && findings.problems.len() < MAX_PROBLEMS {
            let message = format!("the key `{}` appears twice", Short(&entry.key));
            let problem = Problem::new(Code::DuplicateKey, message);
            let problem = problem.at_key(entry.key_span.clone(), entry.value.id);
            findings.taken_out.insert(entry.value.id);
            findings.problems.push(problem);
        }
        duplicate_keys(&entry.value, findings);
    }
    for item in root.items() {
        duplicate_keys(item, findings);
    }
}

/// Whether the map `node` has `key`, or a misspelling of it, but was not read.
fn was_taken_out(root: &Node, node: u32, key: &str, findings: &Findings) -> bool {
    root.any(&|at| {
        let meant = |entry: &&Entry| {
            findings.taken_out.contains(&entry.value.id)
                && (entry.key == key || did_you_mean(&entry.key, [key]).is_some())
        };
        at.id == node && at.entries().iter().any(|entry| meant(&entry))
    })
}

impl Problem {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            missing: None,
            place: None,
        }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A value of another type than the one that belongs there.
    pub(super) fn wrong_type(expected: &str, found: &Node) -> Self {
        let message = format!("expected {expected}, found {}", found.describe());
        Self::new(Code::WrongType, message)
    }

    /// Says where the problem is, unless something deeper has.
    pub(super) fn at(mut self, node: &Node) -> Self {
        if self.place.is_none() {
            self.about(node);
            self.place = Some(Place {
                node: node.id,
                span: node.place(),
            });
        }
        self
    }

    /// Says that the problem is with a key; its value is taken out.
    pub(super) fn at_key(mut self, span: std::ops::Range<usize>, node: u32) -> Self {
        self.place.get_or_insert(Place { node, span });
        self
    }

    /// Says where the problem that a check found is, without what `${...}` gave.
    pub(super) fn found_at(mut self, node: &Node, span: std::ops::Range<usize>) -> Self {
        if node.veiled {
            self.hide(node);
        } else if let Value::Text(text) = &node.value {
            self.message = match &node.raw {
                Some(raw) => without(&self.message, text, raw),
                None => briefly(&self.message, text),
            };
        }
        self.place = Some(Place {
            node: node.id,
            span,
        });
        self
    }

    /// Keeps a value that must not be shown out of the words.
    fn hide(&mut self, node: &Node) {
        if let Some((expected, _)) = self.message.split_once(", found ") {
            self.message = format!("{expected}, found {}", node.describe());
        }
        let told = match &node.value {
            Value::Text(text) => tells(&self.message, text),
            Value::Int(number) => tells(&self.message, &number.to_string()),
            Value::Null
            | Value::Bool(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Assumed => false,
        };
        if told {
            "the value is not valid here".clone_into(&mut self.message);
        }
    }

    /// The problem as it is told.
    pub(super) fn into_diagnostic(self, source: &Source) -> Diagnostic {
        let span = self.place.map(|place| place.span);
        let mut diagnostic = source.diagnose(self.code, span.as_ref(), self.message);
        diagnostic.hint = self.hint;
        diagnostic
    }

    /// Names the value where the message does not, and keeps what `${...}` gave out of it.
    fn about(&mut self, node: &Node) {
        if node.veiled {
            return self.hide(node);
        }
        let Value::Text(text) = &node.value else {
            return;
        };
        if self.code != Code::InvalidValue {
            return;
        }
        if let Some(raw) = &node.raw {
            self.message = without(&self.message, text, raw);
        } else if !text.is_empty() {
            let short = Short(text).to_string();
            self.message = briefly(&self.message, text);
            if !self.message.contains(&short) {
                self.message = format!("`{short}`: {}", self.message);
            }
        }
        self.in_our_words(node);
    }

    /// What the standard library and others say of a text, said for whoever wrote the file.
    fn in_our_words(&mut self, node: &Node) {
        let (what, hint) = if self.message.contains("socket address") {
            (
                "an address to listen on",
                "an IP address and a port, such as 127.0.0.1:8080 or [::]:8080",
            )
        } else if self.message.contains("invalid IP address") {
            ("a network", "such as 10.0.0.0/8, 192.0.2.7/32 or fd00::/8")
        } else {
            return;
        };
        self.message = format!("{} is not {what}", node.describe());
        self.hint = Some(hint.to_owned());
    }
}

/// A message that shows a value as far as anybody wants to see it.
fn briefly(message: &str, text: &str) -> String {
    if text.is_empty() {
        return message.to_owned();
    }
    message.replace(text, &Short(text).to_string())
}

/// Whether a message has a secret in it, whole or as far as it fits.
fn tells(message: &str, secret: &str) -> bool {
    let short = Short(secret).to_string();
    let quoted = [format!("`{short}`"), format!("\"{secret}\"")];
    quoted.iter().any(|quoted| message.contains(quoted))
        || (secret.len() >= LEAST_TELLING && message.contains(secret))
}

/// A message that names what was written, `raw`, in place of what it stands for.
fn without(message: &str, secret: &str, raw: &str) -> String {
    let quoted = format!("`{secret}`");
    let rewritten = message.replace(&quoted, &format!("the value of `{raw}`"));
    if !message.contains(secret) {
        return message.to_owned();
    }
    // Longer values may have been cut by whoever wrote the message.
    if secret.is_empty() || (!rewritten.contains(secret) && rewritten != message) {
        return rewritten;
    }
    format!("the value of `{raw}` is not valid here")
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl serde::de::Error for Problem {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::new(Code::InvalidValue, message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let message = format!("expected {expected}, found {found}");
        Self::new(Code::WrongType, message)
    }

    fn unknown_field(field: &str, known: &'static [&'static str]) -> Self {
        let problem = Self::new(Code::UnknownKey, format!("unknown key `{}`", Short(field)));
        match did_you_mean(field, known.iter().copied()) {
            Some(hint) => problem.with_hint(hint),
            None => problem.with_hint(format!("the keys here are {}", list(known))),
        }
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let message = format!("`{}` is not one of {}", Short(variant), list(known));
        let problem = Self::new(Code::InvalidValue, message);
        match did_you_mean(variant, known.iter().copied()) {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        }
    }

    fn missing_field(field: &'static str) -> Self {
        let mut problem = Self::new(Code::MissingKey, format!("missing key `{field}`"));
        problem.missing = Some(field);
        problem
    }
}
