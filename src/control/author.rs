//! Who asks for a change, and why.

use serde::{Deserialize, Serialize};

/// Longest kept `who`, in bytes.
const WHO_MAX_BYTES: usize = 128;
/// Longest kept reason, in bytes.
const REASON_MAX_BYTES: usize = 1024;

/// Who asks for a change, and why; kept in the history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// A person, a pipeline, or a part of this process: `file`, `judge`, `plan`, `control`.
    pub who: String,
    /// Why, in their words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Author {
    /// An author; texts are cut to 128 and 1,024 bytes, and characters that could deceive a
    /// terminal or a log (control characters, changes of direction) become spaces.
    pub fn new(who: &str, reason: Option<&str>) -> Self {
        Self {
            who: plain(who, WHO_MAX_BYTES),
            reason: reason
                .map(|reason| plain(reason, REASON_MAX_BYTES))
                .filter(|reason| !reason.is_empty()),
        }
    }
}

fn plain(text: &str, most_bytes: usize) -> String {
    let mut plain = String::new();
    for c in text.trim().chars() {
        if plain.len() + c.len_utf8() > most_bytes {
            break;
        }
        let deceives = c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        plain.push(if deceives { ' ' } else { c });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_cannot_break_a_line() {
        let author = Author::new(&"é".repeat(100), Some("a\r\nb\u{1b}[31m\u{202e}c"));

        assert_eq!(author.who, "é".repeat(64));
        assert_eq!(author.reason.as_deref(), Some("a  b [31m c"));
        assert_eq!(Author::new("ci", Some(" \n")).reason, None);
    }
}
