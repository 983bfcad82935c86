//! Lines that cannot be forged: whatever a request, a backend or a file brought along, one
//! event stays one line and no character of it commands a terminal.

use std::fmt;
use std::io::{self, Write};

/// Escapes what is written to it, one event a call.
///
/// Control characters and marks that change the direction of text become `\u` and four hex
/// digits, which JSON reads back as the same character. A newline at the end of an event stays.
pub(super) struct Escaping<W: Write> {
    inner: W,
}

impl<W: Write> Escaping<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner }
    }
}

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = match text.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (text.as_ref(), ""),
        };
        let mut safe = String::with_capacity(text.len());
        for c in line.chars() {
            push(&mut safe, c);
        }
        safe.push_str(end);
        self.inner.write_all(safe.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn push(safe: &mut String, c: char) {
    if is_unsafe(c) {
        // All of them are below U+10000, so four digits always do; a `String` always has room.
        let _ = fmt::Write::write_fmt(safe, format_args!("\\u{:04x}", u32::from(c)));
    } else {
        safe.push(c);
    }
}

fn is_unsafe(c: char) -> bool {
    let turns_text =
        matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks_lines = matches!(c, '\u{2028}' | '\u{2029}');
    c.is_control() || turns_text || breaks_lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escape(text: &str) -> String {
        let mut out = Vec::new();
        Escaping::new(&mut out).write_all(text.as_bytes()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_event_stays_one_line() {
        assert_eq!(escape("a\r\nb\n"), "a\\u000d\\u000ab\n");
        assert_eq!(
            escape("\u{1b}[2J\u{202e}x\u{9b}\n"),
            "\\u001b[2J\\u202ex\\u009b\n"
        );
    }

    #[test]
    fn ordinary_text_is_untouched() {
        assert_eq!(escape("čau, 世界 🦀 \"q\" \\\n"), "čau, 世界 🦀 \"q\" \\\n");
    }

    proptest! {
        #[test]
        fn nothing_that_commands_a_terminal_gets_through(text in any::<String>()) {
            let line = escape(&(text + "\n"));

            prop_assert!(!line.trim_end_matches('\n').chars().any(is_unsafe));
        }

        #[test]
        fn json_reads_the_same_after_escaping(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();

            let back: String = serde_json::from_str(&escape(&json)).unwrap();

            prop_assert_eq!(back, text);
        }
    }
}
