//! `${VAR}`, `${VAR:-default}` and `${file:/path}` inside text values.
//!
//! After parsing, and only inside values: what a variable holds can never become a key, a list
//! or another section. `$${` is a literal `${`; a `$` before anything else is itself.

use std::path::Path;

use super::diagnostic::{Code, Diagnostic, Source};
use super::node::{Node, Short, Value};
use super::surroundings::Surroundings;

/// Longest value after interpolation, in bytes.
const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Resolves every text value of the tree; what cannot be resolved is reported and left.
pub(super) fn interpolate(
    root: &mut Node,
    source: &Source,
    surroundings: &dyn Surroundings,
) -> Vec<(u32, Diagnostic)> {
    let mut problems = Vec::new();
    root.each(&mut |node| {
        let Value::Text(text) = &node.value else {
            return;
        };
        if !text.contains("${") {
            return;
        }
        match resolve(text, surroundings) {
            Ok(resolved) => {
                node.raw = Some(text.clone());
                node.value = Value::Text(resolved);
            }
            Err(message) => {
                // What is quoted in it is a part of the value.
                let message = if node.veiled && message.contains('`') {
                    "this value has a `${...}` that cannot be read".to_owned()
                } else {
                    message
                };
                let problem = source.diagnose(Code::Interpolation, Some(&node.span), message);
                problems.push((node.id, problem));
            }
        }
    });
    problems
}

/// The text with every `${...}` replaced; the error is a sentence.
fn resolve(text: &str, surroundings: &dyn Surroundings) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = after;
            continue;
        }
        let (expression, after) = after
            .split_once('}')
            .ok_or_else(|| format!("`${{{}` has no closing brace", Short(after)))?;
        out.push_str(before);
        out.push_str(&evaluate(expression, surroundings)?);
        rest = after;
        if out.len() > MAX_VALUE_BYTES {
            return Err("the value is larger than 64 KiB".to_owned());
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn evaluate(expression: &str, surroundings: &dyn Surroundings) -> Result<String, String> {
    if let Some(path) = expression.strip_prefix("file:") {
        return file(path, surroundings);
    }
    let (name, default) = match expression.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (expression, None),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(plain)
    {
        return Err(format!(
            "`${{{}}}` is not ${{NAME}}, ${{NAME:-default}} or ${{file:/path}}",
            Short(expression)
        ));
    }
    let value = surroundings
        .variable(name)
        .map_err(|error| format!("cannot use the environment variable {name}: {error}"))?;
    match (value, default) {
        // Like a shell's `:-`: an empty variable counts as one that is not set.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(format!("the environment variable {name} is not set")),
    }
}

fn file(path: &str, surroundings: &dyn Surroundings) -> Result<String, String> {
    if path.is_empty() {
        return Err("`${file:}` names no file".to_owned());
    }
    let text = surroundings
        .file(Path::new(path))
        .map_err(|error| format!("cannot read the file {}: {error}", Short(path)))?;
    let trimmed = text.strip_suffix('\n').unwrap_or(&text);
    Ok(trimmed.strip_suffix('\r').unwrap_or(trimmed).to_owned())
}
