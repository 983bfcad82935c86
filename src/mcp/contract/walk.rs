//! Two JSON schemas, walked side by side.
//!
//! What callers give (`Input`) must still be accepted; what they get (`Output`) must still be
//! what was promised. What the walk does not understand is told as unclear when it changed,
//! and never guessed.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::change::Found;
use super::rule::Rule;
use super::schema;

/// Deepest nesting that is looked into; `serde_json` itself reads no deeper than twice this.
const MAX_DEPTH: usize = 64;
/// Longest chain of references that leads to a schema.
const MAX_HOPS: usize = 16;
/// Most changes that are told of one schema; the rest would be no news.
const MAX_FOUND: usize = 1_000;

/// Which way values go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the client to the server.
    Input,
    /// From the server to the client.
    Output,
}

/// One walk over two schemas.
pub(super) struct Walk<'a, 'b> {
    pub(super) direction: Direction,
    roots: (&'a Value, &'a Value),
    budget: &'b mut usize,
    /// References that are being followed, of both sides.
    followed: Vec<(&'a Value, &'a Value)>,
    found: Vec<Found>,
}

/// A schema of each side.
pub(super) type Pair<'a> = (&'a Value, &'a Value);
/// The members of a schema of each side.
pub(super) type Members<'a> = (&'a Map<String, Value>, &'a Map<String, Value>);

/// A schema that takes anything.
static ANYTHING: Value = Value::Bool(true);

impl<'a, 'b> Walk<'a, 'b> {
    pub(super) fn new(direction: Direction, roots: Pair<'a>, budget: &'b mut usize) -> Self {
        Self {
            direction,
            roots,
            budget,
            followed: Vec::new(),
            found: Vec::new(),
        }
    }

    pub(super) fn compare(&mut self) {
        if self.roots.0 != self.roots.1 {
            self.schemas(self.roots, "", 0);
        }
    }

    pub(super) fn into_found(self) -> Vec<Found> {
        self.found
    }

    /// Tells a change by the rule for what callers give, or the one for what they get.
    pub(super) fn tell(&mut self, place: &str, rules: (Rule, Rule)) {
        self.tell_with(place, rules, (None, None));
    }

    pub(super) fn tell_with(
        &mut self,
        place: &str,
        (input, output): (Rule, Rule),
        (stable, candidate): (Option<&Value>, Option<&Value>),
    ) {
        let rule = match self.direction {
            Direction::Input => input,
            Direction::Output => output,
        };
        let place = match (self.direction, place) {
            (Direction::Input, place) => place.to_owned(),
            (Direction::Output, "") => "result".to_owned(),
            (Direction::Output, place) => format!("result.{place}"),
        };
        if self.found.len() < MAX_FOUND {
            let found = Found::new(rule).at(&place);
            self.found.push(found.says(stable, candidate));
        }
    }

    pub(super) fn unclear(&mut self, place: &str, sides: (Option<&Value>, Option<&Value>)) {
        self.tell_with(place, (Rule::SchemaUnclear, Rule::SchemaUnclear), sides);
    }

    fn schemas(&mut self, (stable, candidate): Pair<'a>, place: &str, depth: usize) {
        let Some(left) = self.budget.checked_sub(1).filter(|_| depth < MAX_DEPTH) else {
            if stable != candidate {
                self.unclear(place, (None, None));
            }
            return;
        };
        *self.budget = left;
        let refers = |side: &Value| side.get("$ref").is_some();
        if refers(stable) || refers(candidate) {
            return self.follow((stable, candidate), place, depth);
        }
        match (stable, candidate) {
            (Value::Bool(false), Value::Bool(false)) => {}
            (_, Value::Bool(false)) => {
                self.tell(place, (Rule::TypeNarrowed, Rule::ResultPromised));
            }
            (Value::Bool(false), _) => {
                self.tell(place, (Rule::TypeWidened, Rule::ResultTypeChanged));
            }
            (stable, candidate) => match (members(stable), members(candidate)) {
                (Some(old), Some(new)) => {
                    self.alternatives((stable, candidate), (old, new), place, depth);
                }
                _ if stable == candidate => {}
                _ => self.unclear(place, (Some(stable), Some(candidate))),
            },
        }
    }

    /// Looks behind references; what refers to itself is looked at once.
    fn follow(&mut self, pair: Pair<'a>, place: &str, depth: usize) {
        let (old, new) = (resolve(self.roots.0, pair.0), resolve(self.roots.1, pair.1));
        let (Some(old), Some(new)) = (old, new) else {
            if pair.0 != pair.1 {
                self.unclear(place, (pair.0.get("$ref"), pair.1.get("$ref")));
            }
            return;
        };
        if let (Some(before), Some(after)) = (members(pair.0), members(pair.1)) {
            schema::texts_and_default(self, (before, after), place);
        }
        let seen =
            |(one, other): &(&Value, &Value)| std::ptr::eq(*one, old) && std::ptr::eq(*other, new);
        if self.followed.iter().any(seen) {
            return;
        }
        self.followed.push((old, new));
        self.schemas((old, new), place, depth + 1);
        self.followed.pop();
    }

    fn alternatives(&mut self, pair: Pair<'a>, members: Members<'a>, place: &str, depth: usize) {
        let (old, new) = (alternatives(members.0), alternatives(members.1));
        match (old, new) {
            (None, None) => self.plain(members, place, depth),
            (Some(old), Some(new)) => {
                self.plain(members, place, depth);
                self.each_alternative(&old, &new, (place, depth));
            }
            (Some(old), None) if is_bare(members.0) => {
                schema::texts_and_default(self, members, place);
                self.each_alternative(&old, &[pair.1], (place, depth));
            }
            (None, Some(new)) if is_bare(members.1) => {
                schema::texts_and_default(self, members, place);
                self.each_alternative(&[pair.0], &new, (place, depth));
            }
            (Some(_), None) | (None, Some(_)) => {
                self.plain(members, place, depth);
                self.unclear(place, (None, None));
            }
        }
    }

    /// Every alternative of the side that values come from must fit one of the other side.
    fn each_alternative(&mut self, old: &[&'a Value], new: &[&'a Value], at: (&str, usize)) {
        let (place, depth) = at;
        let homeless: Vec<_> = match self.direction {
            Direction::Input => old
                .iter()
                .filter(|old| !new.iter().any(|new| self.fits((old, new), depth)))
                .copied()
                .collect(),
            Direction::Output => new
                .iter()
                .filter(|new| !old.iter().any(|old| self.fits((old, new), depth)))
                .copied()
                .collect(),
        };
        match (homeless.as_slice(), old, new) {
            ([], _, _) if old.len() == new.len() => {}
            ([], _, _) => {
                let more = old.len() < new.len();
                let (input, output) = if more {
                    (Rule::TypeWidened, Rule::ResultAdded)
                } else {
                    (Rule::TypeWidened, Rule::ResultPromised)
                };
                self.tell(place, (input, output));
            }
            ([_], [old], [new]) => self.schemas((old, new), place, depth + 1),
            (homeless, _, _) => {
                for lost in homeless {
                    let sides = match self.direction {
                        Direction::Input => (Some(*lost), None),
                        Direction::Output => (None, Some(*lost)),
                    };
                    let rules = (Rule::TypeNarrowed, Rule::ResultTypeChanged);
                    self.tell_with(place, rules, sides);
                }
            }
        }
    }

    /// Whether one schema can stand for another without harm.
    fn fits(&mut self, pair: Pair<'a>, depth: usize) -> bool {
        let mut inner = Walk {
            direction: self.direction,
            roots: self.roots,
            budget: &mut *self.budget,
            followed: self.followed.clone(),
            found: Vec::new(),
        };
        inner.schemas(pair, "", depth + 1);
        let harmless = |found: &Found| found.rule.severity() <= super::rule::Severity::Compatible;
        inner.found.iter().all(harmless)
    }

    /// Schemas without alternatives, or what stands beside them.
    fn plain(&mut self, members: Members<'a>, place: &str, depth: usize) {
        schema::texts_and_default(self, members, place);
        if schema::types(self, members, place) == schema::Types::Apart {
            // Nothing else of a value of another type can be compared.
            return;
        }
        schema::values(self, members, place);
        schema::bounds(self, members, place);
        schema::others(self, members, place);
        self.properties(members, place, depth);
        self.unknown_members(members, place, depth);
        let items = |side: &'a Map<String, Value>| side.get("items");
        let (old, new) = (items(members.0), items(members.1));
        if old.is_some() || new.is_some() {
            let place = format!("{place}[]");
            let pair = (old.unwrap_or(&ANYTHING), new.unwrap_or(&ANYTHING));
            self.schemas(pair, &place, depth + 1);
        }
    }

    fn properties(&mut self, members: Members<'a>, place: &str, depth: usize) {
        let (old, new) = (Properties::of(members.0), Properties::of(members.1));
        let names: BTreeSet<&str> = old.names().chain(new.names()).collect();
        for name in names {
            let inside = if place.is_empty() {
                name.to_owned()
            } else {
                format!("{place}.{name}")
            };
            let sides = (old.get(name), new.get(name));
            let required = (old.requires(name), new.requires(name));
            self.presence(sides, required, (&inside, old.closed));
            if let (Some(old), Some(new)) = sides {
                self.schemas((old, new), &inside, depth + 1);
            }
        }
    }

    /// A property is there, or has to be there, on one side alone.
    fn presence(
        &mut self,
        sides: (Option<&Value>, Option<&Value>),
        required: (bool, bool),
        (place, was_closed): (&str, bool),
    ) {
        let rules = match (sides, required) {
            ((Some(_), None), (true, false)) => (Rule::ArgumentLost, Rule::ResultLost),
            ((Some(_), None), (false, false)) => (Rule::ArgumentLost, Rule::ResultUnsure),
            (_, (false, true)) if sides.0.is_none() && was_closed => {
                (Rule::ArgumentRequired, Rule::ResultUnexpected)
            }
            (_, (false, true)) => (Rule::ArgumentRequired, Rule::ResultPromised),
            (_, (true, false)) => (Rule::ArgumentOptional, Rule::ResultLost),
            ((None, Some(_)), (false, false)) if was_closed => {
                (Rule::ArgumentAdded, Rule::ResultUnexpected)
            }
            ((None, Some(_)), (false, false)) => (Rule::ArgumentAdded, Rule::ResultAdded),
            _ => return,
        };
        self.tell(place, rules);
    }

    fn unknown_members(&mut self, members: Members<'a>, place: &str, depth: usize) {
        let of = |side: &'a Map<String, Value>| side.get("additionalProperties");
        let (old, new) = (of(members.0), of(members.1));
        let closed = |side: Option<&Value>| side == Some(&Value::Bool(false));
        match (closed(old), closed(new)) {
            (true, true) => {}
            (false, true) => {
                let rules = (Rule::UnknownRefused, Rule::ResultPromised);
                self.tell(place, rules);
            }
            (true, false) => self.tell(place, (Rule::UnknownAccepted, Rule::ResultWidened)),
            (false, false) => {
                let place = format!("{place}.*");
                let pair = (old.unwrap_or(&ANYTHING), new.unwrap_or(&ANYTHING));
                self.schemas(pair, place.trim_start_matches('.'), depth + 1);
            }
        }
    }
}

/// The properties of a schema.
struct Properties<'a> {
    schemas: Option<&'a Map<String, Value>>,
    required: BTreeSet<&'a str>,
    /// Whether it refuses all others.
    closed: bool,
}

impl<'a> Properties<'a> {
    fn of(schema: &'a Map<String, Value>) -> Self {
        let required = schema.get("required").and_then(Value::as_array);
        let required = required.into_iter().flatten().filter_map(Value::as_str);
        Self {
            schemas: schema.get("properties").and_then(Value::as_object),
            required: required.collect(),
            closed: schema.get("additionalProperties") == Some(&Value::Bool(false)),
        }
    }

    fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        let schemas = self.schemas.into_iter().flat_map(Map::keys);
        schemas
            .map(String::as_str)
            .chain(self.required.iter().copied())
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.schemas?.get(name)
    }

    fn requires(&self, name: &str) -> bool {
        self.required.contains(name)
    }
}

/// The members of a schema; those of one that takes anything are none.
fn members(schema: &Value) -> Option<&Map<String, Value>> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    match schema {
        Value::Object(members) => Some(members),
        Value::Bool(true) => Some(&NONE),
        Value::Bool(false)
        | Value::Null
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_) => None,
    }
}

/// The alternatives that a schema names.
fn alternatives(schema: &Map<String, Value>) -> Option<Vec<&Value>> {
    let all = schema.get("anyOf").or_else(|| schema.get("oneOf"))?;
    Some(all.as_array()?.iter().collect())
}

/// Whether a schema says nothing but its alternatives.
fn is_bare(schema: &Map<String, Value>) -> bool {
    let mut keys = schema.keys();
    keys.all(|key| matches!(key.as_str(), "anyOf" | "oneOf") || schema::is_text(key))
}

/// The schema behind a reference, or the schema itself.
fn resolve<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Value> {
    let mut at = schema;
    for _ in 0..MAX_HOPS {
        let Some(reference) = at.get("$ref") else {
            return Some(at);
        };
        let pointer = reference.as_str()?.strip_prefix('#')?;
        at = root.pointer(pointer)?;
    }
    None
}
