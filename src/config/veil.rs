//! What a file holds and nobody may be shown: secrets that somebody wrote into it.
//!
//! They belong into the environment or a file of their own, and still they are written here, most
//! likely by who then makes a mistake beside one. A diagnostic goes to logs, to the admin API and
//! into tickets, so neither its words nor its drawing may have them.

use std::ops::Range;
use std::sync::Arc;

use super::diagnostic::Source;
use super::load::Format;
use super::node::{Entry, Node, Value};
use super::suggest::did_you_mean;
use super::syntax;

/// Keys under which secrets stand, and keys that were meant to be one of them.
const SECRETS: [&str; 5] = ["tokens", "token", "secret", "sha256", "password"];
/// Another one, too much like keys that hold none for its misspellings to be looked for.
const SESSION_KEYS: &str = "session_keys";
/// Where a secret URL may stand, in a text that has no tree.
const POSTED: &str = "url";
/// What else a token has.
const PLAIN: [&str; 4] = ["name", "role", "routes", "expires"];
/// Sections in which a `url` is as good as a secret.
const POSTING: [&str; 2] = ["notifiers", "hooks"];
/// What in these only says where a secret is.
const SOURCES: [&str; 2] = ["secret_file", "secret_env"];
/// What stands in for a byte that is not shown.
const COVER: u8 = b'*';

/// Whether a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Open,
    /// In a section that says where something is posted to.
    Posting,
    Secret,
}

/// Marks the values that are not to be shown.
pub(super) fn mark(root: &mut Node) {
    walk(root, Place::Open);
}

fn walk(node: &mut Node, place: Place) {
    match &mut node.value {
        Value::Map(entries) => {
            for entry in entries {
                let place = below(place, entry);
                walk(&mut entry.value, place);
            }
        }
        Value::List(items) => items.iter_mut().for_each(|item| walk(item, place)),
        Value::Text(text) => {
            node.veiled = (place == Place::Secret && !is_reference(text)) || has_userinfo(text);
        }
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Assumed => {
            node.veiled = place == Place::Secret;
        }
    }
}

fn below(place: Place, entry: &Entry) -> Place {
    let key = entry.key.as_str();
    if place == Place::Secret && PLAIN.contains(&key) {
        return Place::Open;
    }
    let is_url = place == Place::Posting && key == "url";
    let is_secret = SECRETS.contains(&key) || key == SESSION_KEYS || is_url;
    if place == Place::Posting && SOURCES.contains(&key) {
        return Place::Posting;
    }
    if place == Place::Secret || is_secret || did_you_mean(key, SECRETS).is_some() {
        return Place::Secret;
    }
    if place == Place::Posting || POSTING.contains(&key) {
        return Place::Posting;
    }
    Place::Open
}

/// Whether a text only names where the secret is. A default would be one itself.
fn is_reference(text: &str) -> bool {
    let inside = text.strip_prefix("${").and_then(|it| it.strip_suffix('}'));
    let is_name = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    inside.is_some_and(|it| match it.strip_prefix("file:") {
        Some(path) => !path.contains(['{', '}']),
        None => is_name(it),
    })
}

/// Whether a text is a URL with somebody's password in it.
fn has_userinfo(text: &str) -> bool {
    let rest = text.split_once("://").map(|(_, rest)| rest);
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    authority.is_some_and(|authority| authority.contains('@'))
}

/// The text of a file as it may be drawn: every byte in its place, and secrets covered.
pub(super) fn cover(source: &Source, format: Format) -> Arc<str> {
    let text = source.text();
    let mut bytes = text.as_bytes().to_vec();
    for span in spans(source, format) {
        let covered = bytes.get_mut(span).unwrap_or_default();
        for byte in covered.iter_mut().filter(|it| !it.is_ascii_whitespace()) {
            *byte = COVER;
        }
    }
    // Spans begin and end between characters, so this is text again; else nothing is drawn.
    String::from_utf8(bytes).unwrap_or_default().into()
}

fn spans(source: &Source, format: Format) -> Vec<Range<usize>> {
    let Ok(mut root) = syntax::read(source, format) else {
        return near_words(source.text());
    };
    mark(&mut root);
    let mut spans = Vec::new();
    root.each(&mut |node| {
        if node.veiled {
            spans.push(node.span.clone());
        }
    });
    spans
}

/// Where secrets may be in a text that has no tree: what stands behind their keys, and on the
/// lines below that are further in, or that belong to a quote that begins there.
fn near_words(text: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    // How far in the line with the last key is.
    let mut within: Option<usize> = None;
    let mut quote: Option<&str> = None;
    for line in text.split_inclusive('\n') {
        let end = start + line.len();
        let depth = line.len() - line.trim_start().len();
        let is_blank = line.trim().is_empty();
        spans.extend(userinfos(line).map(|it| start + it.start..start + it.end));
        if let Some(mark) = quote {
            spans.push(start..end);
            quote = Some(mark).filter(|mark| !line.contains(mark));
        } else if let Some(at) = behind_a_key(line) {
            spans.push(start + at..end);
            within = Some(depth);
            let rest = line.get(at..).unwrap_or_default();
            let opens = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|mark| {
                let value = rest.trim_start_matches([':', '=', ' ', '"', '\'']);
                rest.contains(mark) && !value.contains(mark)
            });
            quote = opens;
        } else if within.is_some_and(|key| depth > key) || (is_blank && within.is_some()) {
            spans.push(start..end);
        } else {
            within = None;
        }
        start = end;
    }
    spans
}

/// What stands between `://` and `@` in a line.
fn userinfos(line: &str) -> impl Iterator<Item = Range<usize>> {
    line.match_indices("://").filter_map(move |(at, mark)| {
        let start = at + mark.len();
        let rest = line.get(start..)?;
        let end = rest
            .find(['/', '?', '#', '"', '\'', ' '])
            .unwrap_or(rest.len());
        let length = rest.get(..end)?.rfind('@')?;
        Some(start..start + length)
    })
}

/// Where in a line the first key of a secret ends.
fn behind_a_key(line: &str) -> Option<usize> {
    let lower = line.to_ascii_lowercase();
    let words = SECRETS.iter().chain([&SESSION_KEYS, &POSTED]);
    let ends = words.filter_map(|word| {
        let at = lower.find(word)? + word.len();
        Some(at)
    });
    ends.min()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn drawn(text: &str, name: &str) -> String {
        let path = Path::new(name);
        cover(&Source::new(path, text), Format::of(path)).to_string()
    }

    #[test]
    fn secrets_are_covered_and_nothing_moves() {
        let text = "admin:
  hosts: [a]
  tokens:
    - { name: ci, role: viewer, secret: hunter-é }
    - name: b
      sekret: |
        hunter one
        hunter two
      secret: \"hunter
        three\"
      sha256: ${HASH}
    - hunter-four
  token: 17
backends: { a: { endpoints: [\"http://u:hunter@a:1\", \"http://b:1/u@x\"] } }
";
        let drawn = drawn(text, "a.yaml");

        assert_eq!(drawn.len(), text.len());
        assert!(
            !drawn.contains("hunter") && !drawn.contains("17"),
            "{drawn}"
        );
        for kept in ["name: ci, role: viewer, secret: *", "${HASH}", "b:1/u@x"] {
            assert!(drawn.contains(kept), "{kept}: {drawn}");
        }
        assert_eq!(drawn.lines().count(), text.lines().count());
    }

    #[test]
    fn secrets_of_a_file_that_cannot_be_read_are_covered_too() {
        for (name, text) in [
            ("a.yaml", "a:\n  secret: hunter1\n   role: x: y\nb: plain\n"),
            (
                "a.yaml",
                "a: {\n  secret: >-\n    hunter1\n\n    hunter2\nb: plain\n",
            ),
            ("a.yaml", "a: [{ Secret: hunter1, b: {\nb: plain\n"),
            ("a.yaml", "a: {\n secret: \"hunter1\nhunter2\"\nb: plain\n"),
            (
                "a.json",
                "{\"tokens\":\n  [\"hunter1\"],,\n\"b\": \"plain\"\n",
            ),
            (
                "a.json",
                "{\n  \"secret\":\n    \"hunter1\",\n  \"b\": plain\n",
            ),
            ("a.toml", "secret = \"\"\"\nhunter1\n\"\"\"\nb = plain\n"),
            ("a.toml", "secret = \"hunter1\"\nb = plain\n"),
            (
                "a.toml",
                "[[admin.tokens]]\npassword = 'hunter1\nb = plain\n",
            ),
        ] {
            let drawn = drawn(text, name);

            assert!(!drawn.contains("hunter"), "{drawn}");
            assert_eq!(drawn.len(), text.len());
            assert!(
                drawn.contains("plain") || text.contains("'hunter"),
                "{drawn}"
            );
        }
    }

    #[test]
    fn no_word_about_a_secret_has_it() {
        for token in [
            "{ name: a, role: viewer, secret: hunter1 }",
            "{ name: a, role: viewer, secret: 1234567 }",
            "{ name: a, role: viewer, secret: \"hunter-${X \" }",
            "{ name: a, role: viewer, secret: hunter-${X }",
            "{ name: a, role: viewer, secret: \"${hunter!}\" }",
            "{ name: a, role: viewer, secret: \"${X:-hunter}\" }",
            "{ name: a, role: viewer, secret: [hunter1] }",
            "{ name: a, role: viewer, sha256: hunter1 }",
            "{ name: a, role: viewer, sekret: hunter1-hunter1-hunter1 }",
            "hunter1-hunter1-hunter1",
        ] {
            let text = format!(
                "listeners: []\nadmin: {{ tokens: [{token}] }}\nbackends: {{ a: {{ endpoints: [\"http://u:hunter1@a:1\"] }} }}\nroutes: []\n"
            );
            let path = Path::new("a.yaml");
            let problems = crate::config::parse(path, &text, &crate::config::Process::new("."));
            let problems = problems.unwrap_err();
            let told = format!("{problems} {problems:?} {:?}", serde_json::json!(problems));

            assert!(
                !told.contains("hunter") && !told.contains("1234567"),
                "{told}"
            );
            assert!(!problems.is_empty());
        }
    }
}
