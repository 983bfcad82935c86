//! Names of fields, as servers write them: most write the same ones in each answer.

use std::cell::RefCell;
use std::fmt;

use http::HeaderName;

/// Places for names; a power of two.
const PLACES: usize = 64;
/// Longest name that is kept, in bytes.
const MAX_BYTES: usize = 64;

/// The names that were read last, each at the one place where it may be. It saves making lower case
/// of a name, looking it up among those that there are, and a copy where it is not among them.
pub(super) struct Names(RefCell<[Option<Known>; PLACES]>);

struct Known {
    written: Box<[u8]>,
    name: HeaderName,
}

impl Names {
    /// The name that is written so; `None` when it is none.
    pub(super) fn read(&self, written: &[u8]) -> Option<HeaderName> {
        let mut places = self.0.borrow_mut();
        let place = places.get_mut(place_of(written)?)?;
        if let Some(known) = place
            && *known.written == *written
        {
            return Some(known.name.clone());
        }
        let name = HeaderName::from_bytes(written).ok()?;
        if written.len() <= MAX_BYTES {
            *place = Some(Known {
                written: written.into(),
                name: name.clone(),
            });
        }
        Some(name)
    }
}

impl Default for Names {
    fn default() -> Self {
        Self(RefCell::new([const { None }; PLACES]))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

fn place_of(written: &[u8]) -> Option<usize> {
    let ends = usize::from(*written.first()?) + 3 * usize::from(*written.last()?);
    Some((ends + 7 * written.len()) % PLACES)
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
}
