//! For tests: JSON-RPC documents at random, and what they mean by another reading.

use std::fmt::{self, Write as _};

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::model::Outcome;

/// A JSON value that keeps members as they came, doubles included.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Doc {
    Null,
    Bool(bool),
    /// As text when made here, as read when parsed.
    Number(String),
    Text(String),
    Array(Vec<Doc>),
    Object(Vec<(String, Doc)>),
}

/// A small generator for how a document is written; the documents themselves are proptest's.
pub(super) struct Style(u64);

impl Style {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

impl Doc {
    /// The document as text, with blanks and escapes by `style`; never with a carriage return.
    pub(super) fn write(&self, style: &mut Style) -> String {
        let mut out = String::new();
        self.write_to(&mut out, style);
        out
    }

    fn write_to(&self, out: &mut String, style: &mut Style) {
        blank(out, style);
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(yes) => out.push_str(if *yes { "true" } else { "false" }),
            Self::Number(text) => out.push_str(text),
            Self::Text(text) => write_text(text, out, style),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_to(out, style);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    blank(out, style);
                    write_text(name, out, style);
                    blank(out, style);
                    out.push(':');
                    value.write_to(out, style);
                }
                out.push('}');
            }
        }
        blank(out, style);
    }
}

fn blank(out: &mut String, style: &mut Style) {
    out.push_str(["", "", "", " ", "\n", "\t ", "  "][style.below(7) as usize]);
}

fn write_text(text: &str, out: &mut String, style: &mut Style) {
    out.push('"');
    for character in text.chars() {
        if style.below(8) == 0 {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
            continue;
        }
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => drop(write!(out, "\\u{:04X}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

struct DocVisitor;

impl<'de> Visitor<'de> for DocVisitor {
    type Value = Doc;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Doc, E> {
        Ok(Doc::Null)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Doc, E> {
        Ok(Doc::Bool(yes))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Doc, E> {
        Ok(Doc::Number(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Doc, E> {
        Ok(Doc::Number(number.to_string()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Doc, E> {
        Ok(Doc::Number(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Doc, E> {
        Ok(Doc::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Doc, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Doc::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Doc, A::Error> {
        let mut all = Vec::new();
        while let Some(member) = members.next_entry()? {
            all.push(member);
        }
        Ok(Doc::Object(all))
    }
}

impl<'de> Deserialize<'de> for Doc {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(DocVisitor)
    }
}

/// What `serde_json` makes of some bytes.
pub(super) enum Reading {
    Document(Doc),
    Malformed,
    /// Where the two readers differ on purpose: range of numbers, halves of surrogate
    /// pairs, UTF-8.
    Differs,
}

/// Reads these bytes with `serde_json`.
pub(super) fn parse(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Reading::Differs;
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match serde_json::from_str::<Doc>(text) {
        Ok(doc) => Reading::Document(doc),
        Err(error) => {
            let message = error.to_string();
            let differs = [
                "recursion",
                "out of range",
                "surrogate",
                "end of hex escape",
            ];
            if differs.iter().any(|part| message.contains(part)) {
                return Reading::Differs;
            }
            Reading::Malformed
        }
    }
}

/// How many responses a document holds, and the worst of their outcomes.
pub(super) fn judge(doc: &Doc) -> (u32, Option<Outcome>) {
    let messages = match doc {
        Doc::Array(items) => items.as_slice(),
        Doc::Null | Doc::Bool(_) | Doc::Number(_) | Doc::Text(_) | Doc::Object(_) => {
            std::slice::from_ref(doc)
        }
    };
    let outcomes: Vec<_> = messages.iter().filter_map(outcome).collect();
    let worst = outcomes.iter().copied().max_by_key(|o| rank(*o));
    (outcomes.len() as u32, worst)
}

fn rank(outcome: Outcome) -> usize {
    [
        Outcome::Success,
        Outcome::MethodNotFound,
        Outcome::CallerError,
        Outcome::ToolError,
        Outcome::ProtocolError,
    ]
    .into_iter()
    .position(|o| o == outcome)
    .unwrap()
}

fn outcome(message: &Doc) -> Option<Outcome> {
    let Doc::Object(members) = message else {
        return None;
    };
    if last(members, "method").is_some_and(|v| *v != Doc::Null) {
        return None;
    }
    let result = last(members, "result").map(|result| {
        if matches!(result, Doc::Object(inner) if last(inner, "isError") == Some(&Doc::Bool(true)))
        {
            Outcome::ToolError
        } else {
            Outcome::Success
        }
    });
    let error = last(members, "error").and_then(error);
    result.into_iter().chain(error).max_by_key(|o| rank(*o))
}

/// Of members with the same name the last one counts.
fn last<'a>(members: &'a [(String, Doc)], name: &str) -> Option<&'a Doc> {
    members.iter().rfind(|m| m.0 == name).map(|m| &m.1)
}

fn error(value: &Doc) -> Option<Outcome> {
    let members = match value {
        Doc::Null => return None,
        Doc::Object(members) => members,
        Doc::Bool(_) | Doc::Number(_) | Doc::Text(_) | Doc::Array(_) => {
            return Some(Outcome::ProtocolError);
        }
    };
    let Some(Doc::Number(text)) = last(members, "code") else {
        return Some(Outcome::ProtocolError);
    };
    Some(match text.parse::<f64>().unwrap() {
        -32601.0 => Outcome::MethodNotFound,
        -32700.0 | -32600.0 | -32602.0 => Outcome::CallerError,
        _ => Outcome::ProtocolError,
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(vec![
            "result", "error", "method", "id", "isError", "code", "params", "name", "jsonrpc",
            "message", "iserror", "Result",
        ])
        .prop_map(str::to_owned),
        1 => "[a-z\"\\\\{}é😀]{0,20}",
    ]
}

fn scalar() -> impl Strategy<Value = Doc> {
    prop_oneof![
        1 => Just(Doc::Null),
        3 => any::<bool>().prop_map(Doc::Bool),
        4 => prop::sample::select(vec![
            "-32601", "-32602", "-32600", "-32700", "-32603", "-32000", "0", "-0", "1e3", "1E+2",
            "-3.2601e4", "-32601.0", "-32601.5", "12345678901234567890", "0.5", "-327000e-1",
        ])
        .prop_map(|n| Doc::Number(n.to_owned())),
        2 => "[a-z\"\\\\{}\\[\\]:,é😀\n]{0,12}".prop_map(Doc::Text),
    ]
}

/// Any document, with the names of JSON-RPC in likely and unlikely places.
pub(super) fn docs() -> impl Strategy<Value = Doc> {
    let any_value = scalar().prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            1 => prop::collection::vec(inner.clone(), 0..4).prop_map(Doc::Array),
            3 => prop::collection::vec((name(), inner), 0..5).prop_map(Doc::Object),
        ]
    });
    let message = prop::collection::vec((name(), any_value.clone()), 0..6)
        .prop_map(Doc::Object)
        .boxed();
    prop_oneof![
        4 => message.clone(),
        2 => prop::collection::vec(prop_oneof![4 => message, 1 => any_value.clone()], 0..4)
            .prop_map(Doc::Array),
        1 => any_value,
    ]
}

/// The bytes cut into chunks at places that `seed` chooses.
pub(super) fn chunks(bytes: &[u8], seed: u64) -> Vec<&[u8]> {
    let mut style = Style::new(seed);
    let longest = 1 + style.below(12) as usize;
    let mut rest = bytes;
    let mut found = Vec::new();
    while !rest.is_empty() {
        let length = (style.below(longest as u64 + 1) as usize).min(rest.len());
        let (chunk, tail) = rest.split_at(length);
        found.push(chunk);
        rest = tail;
    }
    found
}

/// The text with up to four bytes changed, dropped, doubled or cut off.
pub(super) fn mutate(text: &str, seed: u64) -> Vec<u8> {
    const BYTES: &[u8] = b"{}[]\":,\\u0123eE+-.truefalsn \n\t\x00\x1f\xff\xef\xbb\xbf";
    let mut style = Style::new(seed);
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=style.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = style.below(bytes.len() as u64) as usize;
        let byte = BYTES[style.below(BYTES.len() as u64) as usize];
        match style.below(5) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, bytes[at]),
            _ => bytes.truncate(at),
        }
    }
    bytes
}
