//! Numbers, times and tables as people read them.

use unicode_width::UnicodeWidthStr;

use crate::admin::wire::{CallersBody, SessionsBody};

/// `12345` as `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut words = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}

/// A percent with as many digits as say something: `5%`, `12.5%`, `0.04%`.
pub(super) fn percent(percent: f64) -> String {
    if percent > 0.0 && percent < 0.1 {
        return format!("{percent:.2}%");
    }
    let words = format!("{percent:.1}");
    format!("{}%", words.strip_suffix(".0").unwrap_or(&words))
}

/// A latency: `0.8 ms`, `42 ms`, `1.25 s`.
pub(super) fn latency(ms: f64) -> String {
    if ms < 10.0 {
        return format!("{ms:.1} ms");
    }
    if ms < 1000.0 {
        return format!("{ms:.0} ms");
    }
    format!("{:.2} s", ms / 1000.0)
}

/// The same, or a dash for nothing.
pub(super) fn latency_or_dash(ms: Option<f64>) -> String {
    ms.map_or_else(|| "-".to_owned(), latency)
}

/// A span of time by its two largest units: `45s`, `2m 05s`, `3h 20m`, `2d 4h`.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    let (days, hours, minutes, rest) = (
        whole / 86400,
        whole / 3600 % 24,
        whole / 60 % 60,
        whole % 60,
    );
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest}s"),
        (0, 0, _) if rest == 0 => format!("{minutes}m"),
        (0, 0, _) => format!("{minutes}m {rest:02}s"),
        (0, _, _) => format!("{hours}h {minutes:02}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// A moment without its date's decoration: `2026-11-21 04:31:27`.
pub(super) fn moment(rfc3339: &str) -> String {
    let whole_seconds: String = rfc3339.chars().take(19).collect();
    whole_seconds.replacen('T', " ", 1)
}

/// Evidence that may be tiny or huge: `0.42`, `12`, `3.1e9`.
pub(super) fn evidence(number: f64) -> String {
    match number {
        n if !n.is_finite() => "beyond measure".to_owned(),
        n if n >= 1e6 => format!("{n:.1e}"),
        n if n >= 10.0 => count(n.round() as u64),
        n => format!("{n:.2}"),
    }
}

/// A bar of `width` places, filled to `percent`, in steps of an eighth of a place.
pub(super) fn bar(percent: f64, width: usize) -> String {
    const PARTS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    let eighths = (percent.clamp(0.0, 100.0) / 100.0 * width as f64 * 8.0).round() as usize;
    let mut bar = "█".repeat(eighths / 8);
    if let Some(part) = PARTS.get(eighths % 8).filter(|part| **part != ' ') {
        bar.push(*part);
    }
    let missing = width - bar.chars().count();
    bar.extend(std::iter::repeat_n('·', missing));
    bar
}

/// On which side a column's cells lean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lean {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Rows with aligned columns, as wide as a terminal shows them: letters of Chinese, Japanese and Korean take two places.
#[derive(Debug)]
pub(super) struct Table {
    leans: Vec<Lean>,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    cells: Vec<String>,
    /// Lines that follow, as they are.
    under: String,
}

impl Table {
    /// A table with these heads of columns.
    pub(super) fn new(columns: &[(&str, Lean)]) -> Self {
        let mut table = Self {
            leans: columns.iter().map(|(_, lean)| *lean).collect(),
            rows: Vec::new(),
        };
        table.row(columns.iter().map(|(head, _)| (*head).to_owned()));
        table
    }

    /// Adds a row; a cell for each column.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(Row {
            cells: cells.into_iter().collect(),
            under: String::new(),
        });
    }

    /// Puts lines of their own under the last row.
    pub(super) fn under(&mut self, lines: &str) {
        if let Some(row) = self.rows.last_mut() {
            row.under.push_str(lines);
        }
    }

    /// The lines, each with this much in front.
    pub(super) fn render(&self, indent: &str) -> String {
        let widths: Vec<usize> = (0..self.leans.len())
            .map(|column| {
                let cells = self.rows.iter().filter_map(|row| row.cells.get(column));
                cells.map(|cell| cell.width()).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for ((cell, width), lean) in row.cells.iter().zip(&widths).zip(&self.leans) {
                let padding = " ".repeat(width.saturating_sub(cell.width()));
                match lean {
                    Lean::Left => line.extend([cell, padding.as_str(), "  "]),
                    Lean::Right => line.extend([padding.as_str(), cell, "  "]),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
            text.push_str(&row.under);
        }
        text
    }
}

/// MCP sessions, such as `12 open, 3 re-homed`.
pub(super) fn sessions(sessions: &SessionsBody) -> String {
    counts(&[
        (sessions.open, "open"),
        (sessions.draining, "draining"),
        (sessions.rehomed, "re-homed"),
        (sessions.lost, "lost"),
    ])
}

/// Callers of MCP without sessions, such as `12 held, 3 listening`.
pub(super) fn callers(callers: &CallersBody) -> String {
    counts(&[
        (callers.held, "held"),
        (callers.draining, "draining"),
        (callers.listening, "listening"),
    ])
}

/// What there is of each kind.
fn counts(counts: &[(u64, &str)]) -> String {
    let said = counts.iter().filter(|(number, _)| *number > 0);
    let said: Vec<String> = said
        .map(|(number, word)| format!("{} {word}", count(*number)))
        .collect();
    match said.as_slice() {
        [] => "none".to_owned(),
        said => said.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_like_a_person_wrote_them() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0.0, 0.04, 5.0, 12.5, 100.0].map(percent),
            ["0%", "0.04%", "5%", "12.5%", "100%"]
        );
        assert_eq!(
            [0.84, 42.3, 1250.0].map(latency),
            ["0.8 ms", "42 ms", "1.25 s"]
        );
        assert_eq!(
            [0.2, 45.0, 120.0, 125.0, 12_000.0, 190_000.0].map(span),
            ["0s", "45s", "2m", "2m 05s", "3h 20m", "2d 4h"]
        );
        assert_eq!(
            [0.42, 12.4, 1234.0, 3.14e9, f64::INFINITY].map(evidence),
            ["0.42", "12", "1,234", "3.1e9", "beyond measure"]
        );
        assert_eq!(moment("2026-11-21T04:31:27.123Z"), "2026-11-21 04:31:27");
    }

    #[test]
    fn a_bar_always_has_its_width() {
        for tenth in -10..=1010 {
            assert_eq!(bar(f64::from(tenth) / 10.0, 20).chars().count(), 20);
        }
        assert_eq!(bar(50.0, 4), "██··");
    }

    #[test]
    fn wide_letters_and_marks_do_not_move_the_columns() {
        let mut table = Table::new(&[("TOOL", Lean::Left), ("CALLS", Lean::Right)]);
        for tool in ["検索", "검색하다", "cafe\u{301}", "find"] {
            table.row([tool.to_owned(), "1".to_owned()]);
        }

        assert_eq!(
            table.render(""),
            "TOOL      CALLS\n検索          1\n검색하다      1\ncafe\u{301}          1\nfind          1\n"
        );
    }

    #[test]
    fn columns_are_aligned_to_their_side() {
        let mut table = Table::new(&[("NAME", Lean::Left), ("CALLS", Lean::Right)]);
        table.row(["search-v1".to_owned(), "1".to_owned()]);
        table.row(["ö".to_owned(), "12,345".to_owned()]);

        assert_eq!(
            table.render("  "),
            "  NAME        CALLS\n  search-v1       1\n  ö          12,345\n"
        );
    }
}
