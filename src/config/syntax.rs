//! From the text of a file to its tree: YAML, JSON and TOML.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Code, Diagnostic, Source};
use super::load::Format;
use super::node::{Entry, Node, Value};

/// Most values that a file may hold: ten thousand routes are 150,000 and nearly a mebibyte.
const MAX_NODES: usize = 250_000;
/// Most values that its aliases may stand for, each counted as often as it is used.
const MAX_ALIASED: usize = 100_000;
/// Deepest nesting; the deepest field of a config is at six.
const MAX_DEPTH: usize = 32;

/// Reads a file into its tree.
///
/// # Errors
/// What keeps the text from being well-formed; TOML may have more than one problem.
pub(super) fn read(source: &Source, format: Format) -> Result<Node, Vec<Diagnostic>> {
    let mut root = match format {
        Format::Yaml => read_yaml(source)?,
        Format::Json => read_json(source)?,
        Format::Toml => read_toml(source)?,
    };
    root.number();
    Ok(root)
}

fn read_yaml(source: &Source) -> Result<Node, Vec<Diagnostic>> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_depth: MAX_DEPTH,
            max_documents: 1,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_ALIASED },
        // Every entry comes through, so that all duplicates are reported, not only the first.
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        merge_keys: MergeKeyPolicy::Error,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        strict_booleans: true,
        with_snippet: false,
    };
    let Yaml(node) = serde_saphyr::from_str_with_options(source.text(), options)
        .map_err(|error| vec![yaml_problem(source, &error)])?;
    Ok(node)
}

fn yaml_problem(source: &Source, error: &serde_saphyr::Error) -> Diagnostic {
    let span = error.location().map(|location| {
        if location.span().byte_offset().is_some() {
            return bytes_of(&location);
        }
        let start = source.offset(location.line() as usize, location.column() as usize);
        start..start
    });
    let message = yaml_message(error.without_snippet());
    let mut problem = source.diagnose(Code::Syntax, span.as_ref(), &message);
    problem.hint = yaml_hint(&message).map(str::to_owned);
    problem
}

/// What most often is behind what a reader of YAML says.
fn yaml_hint(message: &str) -> Option<&'static str> {
    let hints = [
        (
            "mapping values are not allowed",
            "is a space missing after a colon, here or on the line before? text with a colon in it goes in quotes",
        ),
        ("tabs disallowed", "indent with spaces"),
        ("found a tab", "indent with spaces"),
        (
            "did not find expected",
            "lines that belong together begin in the same column",
        ),
        (
            "unknown anchor",
            "`*name` stands for what `&name` marks before it",
        ),
        ("string scalar", "a key is a plain word"),
    ];
    hints
        .iter()
        .find(|(said, _)| message.contains(said))
        .map(|(_, hint)| *hint)
}

fn yaml_message(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error;
    use serde_saphyr::budget::BudgetBreach;

    if let Error::Budget { breach, .. } = error {
        if matches!(breach, BudgetBreach::Documents { .. }) {
            return "the file has more than one document".to_owned();
        }
        if matches!(breach, BudgetBreach::Depth { .. }) {
            return format!("nested deeper than {MAX_DEPTH} levels");
        }
        return "the file has too many values, aliases or comments".to_owned();
    }
    if matches!(error, Error::MergeKeyNotAllowed { .. }) {
        return "merge keys (`<<`) are not supported: write the keys out".to_owned();
    }
    let text = error.to_string();
    if text.starts_with("recursion limit") {
        return format!("nested deeper than {MAX_DEPTH} levels");
    }
    if text.starts_with("recursive references") {
        return "an alias stands for something that it is part of".to_owned();
    }
    if text.starts_with("alias replay limit") {
        return format!("aliases make this file larger than {MAX_ALIASED} values");
    }
    // The place is told apart from the message.
    let message = text.split(" at line ").next();
    message.unwrap_or_default().to_owned()
}

fn bytes_of(location: &serde_saphyr::Location) -> Range<usize> {
    let span = location.span();
    let start = span.byte_offset().unwrap_or(0);
    let length = span.byte_len().unwrap_or(0);
    start as usize..(start + length) as usize
}

/// A node as YAML's reader gives it.
struct Yaml(Node);

impl<'de> Deserialize<'de> for Yaml {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = serde_saphyr::Spanned::<YamlValue>::deserialize(from)?;
        let node = Node::new(spanned.value.0, bytes_of(&spanned.defined));
        Ok(Self(node))
    }
}

struct YamlValue(Value);

impl<'de> Deserialize<'de> for YamlValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(YamlVisitor).map(Self)
    }
}

struct YamlVisitor;

impl<'de> Visitor<'de> for YamlVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Int(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Int(number.into()))
    }

    fn visit_i128<E>(self, number: i128) -> Result<Value, E> {
        Ok(Value::Int(number))
    }

    fn visit_u128<E>(self, number: u128) -> Result<Value, E> {
        Ok(Value::Int(i128::try_from(number).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Yaml(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<serde_saphyr::Spanned<String>>()? {
            let Yaml(value) = map.next_value()?;
            entries.push(Entry {
                key_span: bytes_of(&key.defined),
                key: key.value,
                value,
            });
        }
        Ok(Value::Map(entries))
    }
}

/// JSON is YAML, but YAML is not JSON: a strict reader first, then the one that knows places.
fn read_json(source: &Source) -> Result<Node, Vec<Diagnostic>> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(source.text()) {
        let text = error.to_string();
        let message = text.split(" at line ").next().unwrap_or_default();
        let start = source.offset(error.line(), error.column());
        let mut problem = source.diagnose(Code::Syntax, Some(&(start..start)), message);
        problem.hint = json_hint(source, start).map(str::to_owned);
        return Err(vec![problem]);
    }
    read_yaml(source)
}

fn json_hint(source: &Source, at: usize) -> Option<&'static str> {
    if !source.text().trim_start().starts_with(['{', '[']) {
        return Some("a file that ends in .json is JSON; name it .yaml if it is YAML");
    }
    let comment = source.text().get(at..)?.starts_with(['/', '#']);
    comment.then_some("JSON has no comments")
}

fn read_toml(source: &Source) -> Result<Node, Vec<Diagnostic>> {
    let (table, errors) = DeTable::parse_recoverable(source.text());
    if errors.is_empty() {
        let span = table.span();
        return toml_node(DeValue::Table(table.into_inner()), span, MAX_DEPTH)
            .map_err(|span| vec![source.diagnose(Code::Syntax, Some(&span), "nested too deeply")]);
    }
    let problems = errors.iter().map(|error| {
        let code = if error.message().contains("duplicate key") {
            Code::DuplicateKey
        } else {
            Code::Syntax
        };
        source.diagnose(code, error.span().as_ref(), error.message())
    });
    Err(problems.collect())
}

fn toml_node(value: DeValue<'_>, span: Range<usize>, depth: usize) -> Result<Node, Range<usize>> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(span);
    };
    let value = match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(Value::Int(i128::MAX), Value::Int),
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(parsed) if parsed.is_finite() => Value::Float(parsed),
            Ok(_) | Err(_) => Value::Text(number.as_str().to_owned()),
        },
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| {
                let span = item.span();
                toml_node(item.into_inner(), span, depth)
            });
            Value::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => {
            let entries = table.into_iter().map(|(key, value)| {
                let span = value.span();
                Ok(Entry {
                    key_span: key.span(),
                    key: key.into_inner().into_owned(),
                    value: toml_node(value.into_inner(), span, depth)?,
                })
            });
            Value::Map(entries.collect::<Result<_, Range<usize>>>()?)
        }
    };
    Ok(Node::new(value, span))
}
