//! One entry as one line that nothing in it can break.

use std::fmt::Write;

use crate::admin::wire::AuditEntryBody;

/// Longest text of an entry, in characters.
const TEXT_MAX: usize = 256;
/// Longest reason.
const REASON_MAX: usize = 1024;
/// Longest `before` or `after`, as JSON; longer ones are left out.
const STANDING_MAX_BYTES: usize = 16 * 1024;

/// An entry that is to be written.
#[derive(Clone, Debug)]
pub(in crate::admin) struct Line(AuditEntryBody);

impl Line {
    /// The entry with its texts cut to their bounds.
    pub(in crate::admin) fn new(mut entry: AuditEntryBody) -> Self {
        for text in [
            &mut entry.who,
            &mut entry.source,
            &mut entry.method,
            &mut entry.path,
        ] {
            cut(text, TEXT_MAX);
        }
        for text in [&mut entry.claimed, &mut entry.target]
            .into_iter()
            .flatten()
        {
            cut(text, TEXT_MAX);
        }
        if let Some(reason) = &mut entry.reason {
            cut(reason, REASON_MAX);
        }
        for standing in [&mut entry.before, &mut entry.after] {
            let fits = |it: &serde_json::Value| it.to_string().len() <= STANDING_MAX_BYTES;
            *standing = standing.take().filter(fits);
        }
        Self(entry)
    }

    /// The line with its number and its end.
    pub(super) fn text(&self, sequence: u64) -> String {
        let entry = AuditEntryBody {
            sequence,
            ..self.0.clone()
        };
        let json = serde_json::to_string(&entry).unwrap_or_else(|error| {
            tracing::error!(%error, "an entry of the audit log has no JSON form");
            format!("{{\"sequence\":{sequence}}}")
        });
        let mut line = String::with_capacity(json.len() + 1);
        json.chars().for_each(|c| push(&mut line, c));
        line.push('\n');
        line
    }
}

/// Everything but plain ASCII stands only inside texts of JSON, where an escape means the same.
fn push(line: &mut String, c: char) {
    if c.is_ascii() && !c.is_ascii_control() {
        line.push(c);
        return;
    }
    let mut units = [0; 2];
    for unit in c.encode_utf16(&mut units) {
        // Writing to a `String` never fails.
        let _ = write!(line, "\\u{unit:04x}");
    }
}

fn cut(text: &mut String, most: usize) {
    if let Some((at, _)) = text.char_indices().nth(most) {
        text.truncate(at);
    }
}

#[cfg(test)]
pub(super) fn entry(target: &str) -> AuditEntryBody {
    AuditEntryBody {
        sequence: 0,
        at: "2026-11-21T04:31:27Z".to_owned(),
        who: "ci".to_owned(),
        role: None,
        source: "127.0.0.1:5".to_owned(),
        claimed: None,
        method: "PUT".to_owned(),
        path: "/v1/routes/{route}/weights".to_owned(),
        target: Some(target.to_owned()),
        before: None,
        after: None,
        status: Some(200),
        code: None,
        reason: None,
        omitted: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_call_brings_stays_on_its_line(target in any::<String>()) {
            let line = Line::new(entry(&target)).text(7);

            prop_assert!(line.is_ascii());
            prop_assert_eq!(line.find(|c: char| c.is_control()), Some(line.len() - 1));
            let read: AuditEntryBody = serde_json::from_str(&line).unwrap();
            let kept: String = target.chars().take(TEXT_MAX).collect();
            prop_assert_eq!(read.target.unwrap(), kept);
            prop_assert_eq!(read.sequence, 7);
        }
    }

    #[test]
    fn terminals_and_readers_of_lines_see_through_nothing() {
        let line = Line::new(entry("a\r\nb\u{1b}[31m\u{202e}\u{85}\u{7f}😀")).text(1);

        assert!(
            line.contains(r"a\r\nb\u001b[31m\u202e\u0085\u007f\ud83d\ude00"),
            "{line}"
        );
    }

    #[test]
    fn texts_are_bounded() {
        let long = Line::new(AuditEntryBody {
            reason: Some("x".repeat(1_000_000)),
            before: Some(serde_json::json!("x".repeat(1_000_000))),
            ..entry(&"é".repeat(1_000_000))
        });

        assert!(long.text(1).len() < 4_000);
    }
}
