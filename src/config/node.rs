//! A file as a small tree of values, each with its place: the same for YAML, JSON and TOML.

use std::fmt;
use std::ops::Range;

/// One value of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Unique in its tree once it is numbered; tells nodes apart.
    pub(super) id: u32,
    /// The bytes of the file that hold it; of a map or list perhaps only the start.
    pub(super) span: Range<usize>,
    /// What it is.
    pub(super) value: Value,
    /// The text as it was written, when the value comes from `${...}` in it.
    pub(super) raw: Option<String>,
    /// Whether it is a secret, so that neither words nor drawings may have it.
    pub(super) veiled: bool,
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Stands in for a required section that is missing or unusable, so that the rest of the
    /// file is still looked at: an empty map or list, as needed.
    Assumed,
}

/// One entry of a map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Range<usize>,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn new(value: Value, span: Range<usize>) -> Self {
        Self {
            id: 0,
            span,
            value,
            raw: None,
            veiled: false,
        }
    }

    /// Gives every node of the tree its own id.
    pub(super) fn number(&mut self) {
        let mut next = 0;
        self.each(&mut |node| {
            node.id = next;
            next += 1;
        });
    }

    /// Visits the node and everything below it.
    pub(super) fn each(&mut self, visit: &mut impl FnMut(&mut Self)) {
        visit(self);
        match &mut self.value {
            Value::List(items) => items.iter_mut().for_each(|item| item.each(visit)),
            Value::Map(entries) => entries.iter_mut().for_each(|e| e.value.each(visit)),
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Assumed => {}
        }
    }

    /// Whether `told` holds for the node or anything below it.
    pub(super) fn any(&self, told: &impl Fn(&Self) -> bool) -> bool {
        told(self)
            || match &self.value {
                Value::List(items) => items.iter().any(|item| item.any(told)),
                Value::Map(entries) => entries.iter().any(|e| e.value.any(told)),
                Value::Null
                | Value::Bool(_)
                | Value::Int(_)
                | Value::Float(_)
                | Value::Text(_)
                | Value::Assumed => false,
            }
    }

    /// The entry of a map by its key; the first one, should there be two.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entries of a map; none of anything else.
    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::List(_)
            | Value::Assumed => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(items) => items,
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Map(_)
            | Value::Assumed => &[],
        }
    }

    /// Where to point for this node: a map by its first key, a list by its first item.
    pub(super) fn place(&self) -> Range<usize> {
        match &self.value {
            Value::Map(entries) => entries.first().map(|entry| entry.key_span.clone()),
            Value::List(items) => items.first().map(Self::place),
            Value::Null
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Assumed => None,
        }
        .unwrap_or_else(|| self.span.clone())
    }

    /// What the node is, in words for a message; never what `${...}` gave, and no secret.
    pub(super) fn describe(&self) -> String {
        if self.veiled {
            return "a value that is not shown".to_owned();
        }
        if let Some(raw) = &self.raw {
            return format!("the value of `{raw}`");
        }
        match &self.value {
            Value::Null | Value::Assumed => "nothing".to_owned(),
            Value::Bool(value) => format!("`{value}`"),
            Value::Int(number) => format!("the number {number}"),
            // With its point, which is what is wrong with it.
            Value::Float(number) => format!("the number {number:?}"),
            Value::Text(text) => format!("the text `{}`", Short(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }
}

/// A text cut to what fits a message, without control characters.
pub(super) struct Short<'a>(pub(super) &'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 60;
        for c in self.0.chars().take(LONGEST) {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        if self.0.chars().nth(LONGEST).is_some() {
            f.write_str("...")?;
        }
        Ok(())
    }
}

/// A step from a node to one below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    /// The steps of a path such as `stages[1].percent`, as a room's own checks give it.
    pub(super) fn parse(path: &str) -> Vec<Self> {
        let mut steps = Vec::new();
        for part in path.split(['.', '[']).filter(|part| !part.is_empty()) {
            let index = part.strip_suffix(']').and_then(|n| n.parse().ok());
            steps.push(index.map_or_else(|| Self::Key(part.to_owned()), Self::Index));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_keys_and_indexes() {
        let key = |key: &str| Step::Key(key.to_owned());

        assert_eq!(
            Step::parse("stages[1].percent"),
            [key("stages"), Step::Index(1), key("percent")]
        );
        assert_eq!(Step::parse("judge.alpha"), [key("judge"), key("alpha")]);
        assert_eq!(Step::parse(""), []);
    }

    #[test]
    fn control_characters_never_reach_a_message() {
        assert_eq!(Short("a\u{1b}[31mb\n").to_string(), "a\\u{1b}[31mb\\n");
        assert_eq!(Short(&"x".repeat(70)).to_string().len(), 63);
    }
}
