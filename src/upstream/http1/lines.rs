//! Fields of answers, as servers write them: most lines are the same in each answer.

use std::cell::RefCell;
use std::fmt;

use http::header::SET_COOKIE;
use http::{HeaderName, HeaderValue};
use xxhash_rust::xxh3::xxh3_64;

use crate::upstream::open::MCP_SESSION_ID;

use super::names::Names;

/// Groups of lines; a power of two.
const GROUPS: usize = 32;
/// Lines of a group.
const LINES: usize = 4;
/// Longest line that is kept, in bytes.
const MAX_BYTES: usize = 512;
/// Bytes of a line that are looked at together.
const WORD_BYTES: usize = 8;

/// The lines that were read last, each in the one group where it may be, with what they say. Such a line is
/// read by comparing it: it need not be searched for its name, looked at byte by byte, nor held by its value.
///
/// A line is kept when it comes for the second time, so that one which is never the same costs no copy.
/// Cookies and ids of sessions are not kept, since they are somebody's; and whoever reads a head asks only for
/// lines that say nothing to himself.
#[derive(Default)]
pub(super) struct Lines {
    names: Names,
    /// Empty until there is something to keep.
    groups: RefCell<Vec<Group>>,
}

#[derive(Default)]
struct Group {
    known: [Option<Known>; LINES],
    /// Hashes of the lines that came last and were not kept then.
    seen: [u64; LINES],
}

struct Known {
    print: u64,
    line: Box<[u8]>,
    name: HeaderName,
    value: HeaderValue,
}

impl Lines {
    /// The names that were read last.
    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// What a line says, if it is kept.
    pub(super) fn read(&self, line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
        let print = print_of(line)?;
        let groups = self.groups.borrow();
        let mut known = groups.get(group_of(print))?.known.iter().flatten();
        let known = known.find(|known| known.print == print && *known.line == *line)?;
        Some((known.name.clone(), known.value.clone()))
    }

    /// Takes note of what a line says that was not kept.
    pub(super) fn note(&self, line: &[u8], (name, value): (&HeaderName, &HeaderValue)) {
        if line.len() > MAX_BYTES || [SET_COOKIE, MCP_SESSION_ID].contains(name) {
            return;
        }
        let Some(print) = print_of(line) else { return };
        let mut groups = self.groups.borrow_mut();
        if groups.is_empty() {
            groups.resize_with(GROUPS, Group::default);
        }
        let Some(group) = groups.get_mut(group_of(print)) else {
            return;
        };
        // All of it: lines with the same print would have each other kept.
        let hash = xxh3_64(line);
        if !group.seen.contains(&hash) {
            group.seen.rotate_right(1);
            let [first, ..] = &mut group.seen;
            *first = hash;
            return;
        }
        // A copy: the value that was read holds all of its answer.
        let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) else {
            return;
        };
        // The oldest makes room.
        group.known.rotate_right(1);
        let [first, ..] = &mut group.known;
        *first = Some(Known {
            print,
            line: line.into(),
            name: name.clone(),
            value,
        });
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").finish_non_exhaustive()
    }
}

/// What two lines that are there side by side seldom have in common: their length, and their first, middle and
/// last bytes. `None` for those that are too short to be worth it.
fn print_of(line: &[u8]) -> Option<u64> {
    let begin = line.first_chunk::<WORD_BYTES>()?;
    let middle = line.get((line.len() - WORD_BYTES) / 2..)?;
    let middle = middle.first_chunk::<WORD_BYTES>()?;
    let end = line.last_chunk::<WORD_BYTES>()?;
    let mixed = u64::from_le_bytes(*begin)
        ^ u64::from_le_bytes(*middle).rotate_left(21)
        ^ u64::from_le_bytes(*end).rotate_left(42)
        ^ line.len() as u64;
    // The odd number next to 2^64 over the golden ratio: each bit has its say in the upper ones (Knuth, The Art
    // of Computer Programming, 6.4).
    Some(mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// The group where a line with this print is.
fn group_of(print: u64) -> usize {
    (print >> (u64::BITS - GROUPS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(line: &str) -> (HeaderName, HeaderValue) {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse().unwrap(), value.parse().unwrap())
    }

    fn come(lines: &Lines, line: &str) -> Option<(HeaderName, HeaderValue)> {
        let read = lines.read(line.as_bytes());
        if read.is_none() {
            let (name, value) = field(line);
            lines.note(line.as_bytes(), (&name, &value));
        }
        read
    }

    #[test]
    fn a_line_that_comes_again_says_what_it_said_whatever_was_between() {
        let lines = Lines::default();
        let mut read = 0;
        for n in 0..20_000_usize {
            let line = match n % 4 {
                0 => "Server: nginx".to_owned(),
                1 => format!("date: {}", n / 1_000),
                2 => format!("x-{}: {}", n % 7, "y".repeat(n % 11)),
                _ => format!("etag: {n}"),
            };
            if let Some(known) = come(&lines, &line) {
                assert_eq!(known, field(&line));
                read += 1;
            }
        }
        assert!(read > 9_500, "{read}");
    }

    #[test]
    fn lines_that_servers_write_in_each_answer_stay() {
        let lines = Lines::default();
        let usual: Vec<_> = (0..12)
            .map(|n| format!("x-field-{n}: of a server"))
            .chain((0..12).map(|n| format!("Vary: what-{n}")))
            .collect();
        for _ in 0..3 {
            for line in &usual {
                come(&lines, line);
            }
        }

        assert!(usual.iter().all(|line| come(&lines, line).is_some()));
    }

    #[test]
    fn what_is_somebodys_or_of_no_use_is_not_kept() {
        let lines = Lines::default();
        let long = format!("x-long: {}", "y".repeat(MAX_BYTES));
        let others = [
            "set-cookie: a=b; path=/",
            "Mcp-Session-Id: 7e1c9a52",
            "a: b",
            &long,
        ];
        for line in others.repeat(4) {
            assert_eq!(come(&lines, line), None, "{line}");
        }
    }

    #[test]
    fn a_line_that_comes_once_is_not_kept() {
        let lines = Lines::default();
        for n in 0..5_000 {
            let policy =
                format!("csp: default-src 'self'; script-src 'nonce-{n:010}' 'strict-dynamic'; x");
            for line in [format!("etag: \"{n}\""), policy] {
                assert_eq!(come(&lines, &line), None);
            }
        }

        let groups = lines.groups.borrow();
        let kept = groups.iter().flat_map(|group| &group.known).flatten();
        assert_eq!(kept.count(), 0);
    }
}
