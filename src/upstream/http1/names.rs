//! Names of fields, as servers write them: most write the same ones in each answer.

use std::cell::RefCell;
use std::fmt;

use http::HeaderName;

/// Groups of names; a power of two.
const GROUPS: usize = 32;
/// Names of a group.
const NAMES: usize = 4;
/// Longest name that is kept, in bytes.
const MAX_BYTES: usize = 64;

/// The names that were read last, each in the one group where it may be. With one name to a group, two of
/// the ten that a server writes in each answer would soon drive each other out. It saves making lower
/// case of a name, looking it up among those that there are, and a copy where it is not among them.
pub(super) struct Names(RefCell<[[Option<Known>; NAMES]; GROUPS]>);

struct Known {
    written: Box<[u8]>,
    name: HeaderName,
}

impl Names {
    /// The name that is written so; `None` when it is none.
    pub(super) fn read(&self, written: &[u8]) -> Option<HeaderName> {
        let mut groups = self.0.borrow_mut();
        let group = groups.get_mut(group_of(written)?)?;
        let mut known = group.iter().flatten();
        if let Some(known) = known.find(|known| *known.written == *written) {
            return Some(known.name.clone());
        }
        let name = HeaderName::from_bytes(written).ok()?;
        if written.len() <= MAX_BYTES {
            // The oldest makes room.
            group.rotate_right(1);
            let [first, ..] = group;
            *first = Some(Known {
                written: written.into(),
                name: name.clone(),
            });
        }
        Some(name)
    }
}

impl Default for Names {
    fn default() -> Self {
        Self(RefCell::new([const { [const { None }; NAMES] }; GROUPS]))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

fn group_of(written: &[u8]) -> Option<usize> {
    let at = |place: usize| written.get(place).copied().map(usize::from);
    let last = at(written.len().checked_sub(1)?)?;
    let sum = 5 * at(0)? + 13 * at(written.len() / 2)? + 11 * last;
    Some((sum + 7 * written.len()) % GROUPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_the_same_however_often_it_is_read_and_whatever_was_before() {
        let names = Names::default();
        let written = |n: u32| match n % 3 {
            0 => format!("X-Field-{}", n % 97),
            1 => format!("x-{}", "y".repeat((n % 90) as usize)),
            _ => "Content-Type".to_owned(),
        };

        for n in 0..5_000 {
            let written = written(n);
            let read = names.read(written.as_bytes());
            assert_eq!(read, HeaderName::from_bytes(written.as_bytes()).ok());
        }
        assert_eq!((names.read(b""), names.read(b"a b")), (None, None));
    }

    #[test]
    fn the_names_that_servers_write_in_each_answer_stay() {
        let usual = "Server Date Content-Type Content-Length Last-Modified Connection ETag \
            Accept-Ranges Keep-Alive Transfer-Encoding Cache-Control Vary X-Powered-By Set-Cookie \
            Mcp-Session-Id Access-Control-Allow-Origin Access-Control-Expose-Headers";
        let servers = [usual.to_owned(), usual.to_ascii_lowercase()];
        let names = Names::default();
        let written = || servers.iter().flat_map(|usual| usual.split_whitespace());

        for written in written() {
            names.read(written.as_bytes());
        }

        let known = names.0.borrow();
        let known: Vec<_> = known.iter().flatten().flatten().collect();
        assert_eq!(known.len(), written().count());
    }
}
