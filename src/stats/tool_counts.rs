//! One worker's way to the counts of tools.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::model::BackendName;

use super::calls::CallStats;
use super::strangers::Strangers;
use super::tools::ToolBoard;

/// Longest name of a tool with counts of its own, in bytes: what the protocol recommends.
const NAME_BYTES: usize = 128;

/// The counts of a route by tool as one worker finds them: by one look into a table of its own.
#[derive(Debug)]
pub struct ToolCounts {
    board: Arc<ToolBoard>,
    worker: usize,
    backends: Rc<[BackendName]>,
    /// The board's edition that the names below are of.
    seen: Cell<u64>,
    /// Whether the board takes more names.
    has_room: Cell<bool>,
    known: RefCell<HashMap<Arc<str>, Rc<ToolShards>>>,
    other: Rc<ToolShards>,
    strangers: RefCell<Strangers>,
}

/// A worker's counts of one tool, by the place of the backend.
#[derive(Debug)]
pub struct ToolShards {
    board: Arc<ToolBoard>,
    worker: usize,
    tool: Option<Arc<str>>,
    backends: Rc<[BackendName]>,
    shards: Box<[OnceCell<Arc<CallStats>>]>,
}

impl ToolCounts {
    /// The counts of a worker; places are those of `backends`.
    pub fn new(board: Arc<ToolBoard>, worker: usize, backends: Rc<[BackendName]>) -> Self {
        Self {
            other: Rc::new(ToolShards::new(&board, worker, None, &backends)),
            board,
            worker,
            backends,
            seen: Cell::new(u64::MAX),
            has_room: Cell::new(true),
            known: RefCell::default(),
            strangers: RefCell::default(),
        }
    }

    /// The counts of a tool: its own, or those of all that have none. Nothing stands for a name
    /// that is not known, or too long to be.
    pub fn of(&self, tool: Option<&str>) -> Rc<ToolShards> {
        if self.seen.get() != self.board.edition() {
            self.renew();
        }
        let Some(tool) = tool else {
            return Rc::clone(&self.other);
        };
        if let Some(known) = self.known(tool) {
            return known;
        }
        self.stranger(tool)
    }

    fn known(&self, tool: &str) -> Option<Rc<ToolShards>> {
        self.known.borrow().get(tool).map(Rc::clone)
    }

    /// A name without counts of its own, so far.
    fn stranger(&self, tool: &str) -> Rc<ToolShards> {
        if is_plain(tool) {
            if self.has_room.get() && self.board.enter(tool) {
                self.renew();
                if let Some(known) = self.known(tool) {
                    return known;
                }
            }
            self.strangers.borrow_mut().add(tool);
        }
        Rc::clone(&self.other)
    }

    /// Tells the board which other names were called. To be done every few seconds.
    pub fn report(&self) {
        let mut strangers = self.strangers.borrow_mut();
        if !strangers.is_empty() {
            self.board.nominate(strangers.take());
        }
    }

    /// Takes the names over that have counts of their own now.
    fn renew(&self) {
        // The edition first: what changes in between is then taken over once more.
        self.seen.set(self.board.edition());
        let (names, has_room) = self.board.names();
        self.has_room.set(has_room);
        let mut known = self.known.borrow_mut();
        // One that went and came back meanwhile has other counts now, and is another text.
        known.retain(|name, _| {
            let at = names.binary_search(name).ok();
            let now = at.and_then(|at| names.get(at));
            now.is_some_and(|now| Arc::ptr_eq(now, name))
        });
        for name in names {
            known.entry(name).or_insert_with_key(|name| {
                let tool = Some(Arc::clone(name));
                let shards = ToolShards::new(&self.board, self.worker, tool, &self.backends);
                Rc::new(shards)
            });
        }
    }
}

impl ToolShards {
    fn new(
        board: &Arc<ToolBoard>,
        worker: usize,
        tool: Option<Arc<str>>,
        backends: &Rc<[BackendName]>,
    ) -> Self {
        Self {
            board: Arc::clone(board),
            worker,
            tool,
            shards: backends.iter().map(|_| OnceCell::new()).collect(),
            backends: Rc::clone(backends),
        }
    }

    /// The tool; nothing for all that have no counts of their own.
    pub fn tool(&self) -> Option<&str> {
        self.tool.as_deref()
    }

    /// The counts of calls that the backend at this place answers.
    pub fn at(&self, place: usize) -> Option<Arc<CallStats>> {
        let (shard, backend) = (self.shards.get(place)?, self.backends.get(place)?);
        let shard = shard.get_or_init(|| self.board.shard(self.worker, self.tool(), backend));
        Some(Arc::clone(shard))
    }
}

/// Letters, as Unicode has it, that are shown as a blank or not at all: the fillers of Hangul.
const BLANK_LETTERS: [char; 4] = ['\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}'];

/// Whether a name may be shown as it is: letters and digits of any script and ASCII punctuation, so
/// that it can neither steer a terminal nor look like nothing. `_other` is ours.
fn is_plain(name: &str) -> bool {
    let is_letter = |c: char| c.is_alphanumeric() && !BLANK_LETTERS.contains(&c);
    let shown = |c: char| c.is_ascii_graphic() || is_letter(c);
    (1..=NAME_BYTES).contains(&name.len()) && name != "_other" && name.chars().all(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_can_be_shown_have_counts() {
        for name in [
            "search",
            "a.b/c-d:e",
            "суп",
            "検索",
            "x\"}\\",
            &"n".repeat(128),
        ] {
            assert!(is_plain(name), "{name}");
        }
        for name in [
            "",
            "_other",
            "a b",
            "a\nb",
            "\x1b[31m",
            "a\u{202e}b",
            "\u{200b}",
            "a\u{7f}",
            "\u{3164}",
            "a\u{115f}",
            &"n".repeat(129),
        ] {
            assert!(!is_plain(name), "{name:?}");
        }
    }
}
