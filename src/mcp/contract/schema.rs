//! The rules for what a schema says of a value itself: its type, its values, its bounds.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::rule::Rule;
use super::walk::{Direction, Members, Walk};

/// Every type that JSON has; a whole number is a number.
const TYPES: [&str; 7] = [
    "array", "boolean", "integer", "null", "number", "object", "string",
];

/// Bounds that are tighter when they are higher.
const LOWER_BOUNDS: [&str; 5] = [
    "minimum",
    "exclusiveMinimum",
    "minLength",
    "minItems",
    "minProperties",
];

/// Bounds that are tighter when they are lower.
const UPPER_BOUNDS: [&str; 5] = [
    "maximum",
    "exclusiveMaximum",
    "maxLength",
    "maxItems",
    "maxProperties",
];

/// Demands that are met or not.
const DEMANDS: [&str; 6] = [
    "pattern",
    "format",
    "multipleOf",
    "uniqueItems",
    "contentEncoding",
    "contentMediaType",
];

/// Keywords whose change is told, but not judged.
const UNCLEAR: [&str; 16] = [
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "patternProperties",
    "propertyNames",
    "contains",
    "minContains",
    "maxContains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "prefixItems",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Whether a keyword is for people only, or decides about no value.
pub(super) fn is_text(key: &str) -> bool {
    matches!(
        key,
        "title" | "description" | "default" | "examples" | "deprecated" | "$comment"
    )
}

/// Words, and what happens when a value is left out.
pub(super) fn texts_and_default(walk: &mut Walk<'_, '_>, (old, new): Members<'_>, place: &str) {
    for key in ["title", "description"] {
        if old.get(key) != new.get(key) {
            let place = if place.is_empty() {
                format!("({key})")
            } else {
                format!("{place} ({key})")
            };
            walk.tell(&place, (Rule::TextChanged, Rule::TextChanged));
        }
    }
    // What is left out of an answer is the server's own affair.
    if walk.direction == Direction::Output {
        return;
    }
    let sides = (old.get("default"), new.get("default"));
    let rule = match sides {
        (None, Some(_)) => Rule::DefaultAdded,
        (before, after) if before != after => Rule::DefaultChanged,
        _ => return,
    };
    walk.tell_with(place, (rule, rule), sides);
}

/// What came of comparing types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Types {
    /// There are values that both sides know.
    Common,
    /// There is none.
    Apart,
}

pub(super) fn types(walk: &mut Walk<'_, '_>, (old, new): Members<'_>, place: &str) -> Types {
    let (before, after) = (types_of(old), types_of(new));
    let lost = before.iter().any(|one| !takes(&after, one));
    let gained = after.iter().any(|one| !takes(&before, one));
    let sides = (old.get("type"), new.get("type"));
    let narrowed = (Rule::TypeNarrowed, Rule::ResultPromised);
    let widened = (Rule::TypeWidened, Rule::ResultTypeChanged);
    let rules = match (lost, gained) {
        (false, false) => return Types::Common,
        (true, false) => narrowed,
        (false, true) => widened,
        (true, true) => (narrowed.0, widened.1),
    };
    walk.tell_with(place, rules, sides);
    let common =
        before.iter().any(|one| takes(&after, one)) || after.iter().any(|one| takes(&before, one));
    if common { Types::Common } else { Types::Apart }
}

fn takes(types: &BTreeSet<&str>, one: &str) -> bool {
    types.contains(one) || (one == "integer" && types.contains("number"))
}

/// The types that a schema takes: those that it names, else those of its values, else all.
fn types_of(schema: &Map<String, Value>) -> BTreeSet<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => return BTreeSet::from([one.as_str()]),
        Some(Value::Array(some)) => return some.iter().filter_map(Value::as_str).collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {}
    }
    match values_of(schema) {
        Some(values) => values.iter().map(|value| type_of(value)).collect(),
        None => BTreeSet::from(TYPES),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The only values that a schema takes, if it names them.
fn values_of(schema: &Map<String, Value>) -> Option<Vec<&Value>> {
    if let Some(Value::Array(some)) = schema.get("enum") {
        return Some(some.iter().collect());
    }
    schema.get("const").map(|one| vec![one])
}

pub(super) fn values(walk: &mut Walk<'_, '_>, (old, new): Members<'_>, place: &str) {
    /// Most values that are compared one by one.
    const MOST: usize = 1_000;
    let (before, after) = (values_of(old), values_of(new));
    let narrowed = (Rule::EnumNarrowed, Rule::ResultPromised);
    let widened = (Rule::EnumWidened, Rule::ResultWidened);
    let (before, after) = match (before, after) {
        (None, None) => return,
        (None, Some(_)) => return walk.tell(place, narrowed),
        (Some(_), None) => return walk.tell(place, widened),
        (Some(before), Some(after)) => (before, after),
    };
    if before.len().max(after.len()) > MOST {
        if before != after {
            walk.unclear(place, (None, None));
        }
        return;
    }
    let lost: Vec<_> = before.iter().filter(|one| !after.contains(one)).collect();
    let gained: Vec<_> = after.iter().filter(|one| !before.contains(one)).collect();
    let as_array =
        |some: &[&&Value]| Value::Array(some.iter().map(|one| (**one).clone()).collect());
    if !lost.is_empty() {
        walk.tell_with(place, narrowed, (Some(&as_array(&lost)), None));
    }
    if !gained.is_empty() {
        walk.tell_with(place, widened, (None, Some(&as_array(&gained))));
    }
}

/// Which way a bound moved.
enum Moved {
    Tighter,
    Looser,
}

pub(super) fn bounds(walk: &mut Walk<'_, '_>, (old, new): Members<'_>, place: &str) {
    let lower = LOWER_BOUNDS.iter().map(|key| (*key, true));
    let upper = UPPER_BOUNDS.iter().map(|key| (*key, false));
    for (key, higher_is_tighter) in lower.chain(upper) {
        let sides = (old.get(key), new.get(key));
        let moved = match sides {
            (before, after) if before == after => continue,
            (None, Some(_)) => Moved::Tighter,
            (Some(_), None) => Moved::Looser,
            (Some(before), Some(after)) => match (before.as_f64(), after.as_f64()) {
                (Some(before), Some(after)) if (after > before) == higher_is_tighter => {
                    Moved::Tighter
                }
                (Some(_), Some(_)) => Moved::Looser,
                _ => {
                    walk.unclear(&named(place, key), sides);
                    continue;
                }
            },
            (None, None) => continue,
        };
        tell_bound(walk, &named(place, key), (moved, sides));
    }
    for key in DEMANDS {
        let sides = (said(old, key), said(new, key));
        let moved = match sides {
            (before, after) if before == after => continue,
            (Some(_), None) => Moved::Looser,
            (None | Some(_), _) => Moved::Tighter,
        };
        // Another demand in place of one is both: some values were lost, and some gained.
        let other = walk.direction == Direction::Output && sides.0.is_some();
        let moved = if other { Moved::Looser } else { moved };
        tell_bound(walk, &named(place, key), (moved, sides));
    }
}

fn said<'a>(schema: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    schema
        .get(key)
        .filter(|value| **value != Value::Bool(false))
}

fn tell_bound(
    walk: &mut Walk<'_, '_>,
    place: &str,
    (moved, sides): (Moved, (Option<&Value>, Option<&Value>)),
) {
    let rules = match moved {
        Moved::Tighter => (Rule::BoundsTightened, Rule::ResultPromised),
        Moved::Looser => (Rule::BoundsLoosened, Rule::ResultWidened),
    };
    walk.tell_with(place, rules, sides);
}

/// What is not understood, and has changed.
pub(super) fn others(walk: &mut Walk<'_, '_>, (old, new): Members<'_>, place: &str) {
    for key in UNCLEAR {
        let sides = (old.get(key), new.get(key));
        if sides.0 != sides.1 {
            walk.unclear(&named(place, key), sides);
        }
    }
}

fn named(place: &str, key: &str) -> String {
    if place.is_empty() {
        format!("({key})")
    } else {
        format!("{place} ({key})")
    }
}
