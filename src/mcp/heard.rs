//! The ids of events that a session's client may have heard at its new home.
//!
//! A client that takes a stream up again names the last event that it heard. One of the old home
//! would mean nothing to the new one, or something else; so it has to be known whose it is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use memchr::memchr2;
use xxhash_rust::xxh3::xxh3_64;

/// The latest ids of events, as hashes.
///
/// The lock is one session's, and only of a re-homed one: nobody waits for it but its own streams.
#[derive(Debug, Default)]
pub struct HeardIds(Mutex<VecDeque<u64>>);

impl HeardIds {
    /// How many ids are known. A client is at most as many events behind as are on their way to it.
    pub const MOST: usize = 256;

    fn put(&self, id: &[u8]) {
        let mut ids = self.ids();
        if ids.len() == Self::MOST {
            ids.pop_front();
        }
        ids.push_back(xxh3_64(id));
    }

    /// Whether this is one of them.
    pub fn has(&self, id: &[u8]) -> bool {
        self.ids().contains(&xxh3_64(id))
    }

    fn ids(&self) -> MutexGuard<'_, VecDeque<u64>> {
        // A list of hashes is one whatever happened to whoever held the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds the ids in one event stream. Feed it every byte in order, unpacked.
#[derive(Debug)]
pub struct IdReader {
    heard: Arc<HeardIds>,
    at: At,
    id: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// So many bytes of `id:` have come.
    Name(usize),
    /// Where one space is passed over.
    Space,
    Value,
    /// In a line that is of no interest.
    Other,
}

/// Longest id that is known, in bytes.
const MAX_ID_BYTES: usize = 1024;

impl IdReader {
    /// A reader of a stream whose ids are noted here.
    pub fn new(heard: Arc<HeardIds>) -> Self {
        Self {
            heard,
            at: At::Name(0),
            id: Vec::new(),
        }
    }

    /// Reads on.
    pub fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((byte, tail)) = rest.split_first() {
            rest = match self.at {
                At::Name(came) => {
                    self.name(came, *byte);
                    tail
                }
                At::Space => {
                    self.at = At::Value;
                    if *byte == b' ' { tail } else { rest }
                }
                At::Value | At::Other => self.line(rest),
            };
        }
    }

    fn name(&mut self, came: usize, byte: u8) {
        self.at = match byte {
            b'\r' | b'\n' => At::Name(0),
            b':' if came == 2 => At::Space,
            _ if b"id".get(came) == Some(&byte) => At::Name(came + 1),
            _ => At::Other,
        };
    }

    /// The rest of a line, as far as it is here.
    fn line<'a>(&mut self, rest: &'a [u8]) -> &'a [u8] {
        let end = memchr2(b'\r', b'\n', rest);
        let (piece, tail) = rest.split_at(end.unwrap_or(rest.len()));
        if self.at == At::Value {
            let room = (MAX_ID_BYTES + 1).saturating_sub(self.id.len());
            self.id
                .extend_from_slice(piece.get(..room).unwrap_or(piece));
        }
        if end.is_some() {
            if self.at == At::Value && self.id.len() <= MAX_ID_BYTES {
                self.heard.put(&self.id);
            }
            self.id.clear();
            self.at = At::Name(0);
        }
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(stream: &str, size: usize) -> Arc<HeardIds> {
        let heard = Arc::<HeardIds>::default();
        let mut reader = IdReader::new(Arc::clone(&heard));
        stream
            .as_bytes()
            .chunks(size)
            .for_each(|piece| reader.feed(piece));
        heard
    }

    #[test]
    fn ids_are_found_however_lines_end_and_pieces_are_cut() {
        let stream =
            "id: a-1\ndata: {}\n\ndata: id: no\r\nid:b\r\n\r\nidx: no\rid:  c\r\r: id: no\n";
        for size in 1..20 {
            let heard = heard(stream, size);
            for (id, known) in [("a-1", true), ("b", true), (" c", true), ("no", false)] {
                assert_eq!(heard.has(id.as_bytes()), known, "{id} in pieces of {size}");
            }
            assert_eq!(heard.ids().len(), 3);
        }
    }

    #[test]
    fn the_latest_ids_are_known_and_none_without_bound() {
        let ids: Vec<_> = (0..1000).map(|n| format!("id: {n}\n\n")).collect();
        let long = format!("id: {}\n", "x".repeat(MAX_ID_BYTES + 1));

        let heard = heard(&(ids.concat() + &long + "id: unfinished"), 7);

        assert_eq!(heard.ids().len(), HeardIds::MOST);
        assert!(heard.has(b"999") && !heard.has(b"1") && !heard.has(b"unfinished"));
    }
}
