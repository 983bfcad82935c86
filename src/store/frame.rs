//! How a value is written: with what it is, how old it is, and a sum over all of it.
//!
//! The database has sums of its own over its pages, but does not look at them when it reads.
//! A frame tells whether its value is sound, and can be found in a file whose pages make no
//! sense any more: that is what [`scan`] does.

use memchr::memmem;
use xxhash_rust::xxh3::Xxh3Default;

/// How every frame begins. Not text, so that no state or event has it in it.
const MAGIC: &[u8; 4] = b"\xF5sb\x02";
/// Magic, kind, number, commit, length, sum.
const HEAD: usize = 4 + 1 + 8 + 8 + 4 + 8;

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The key that session ids are sealed with.
    SealKey = 1,
    /// The state; its number is that of the last event before it.
    State = 2,
    /// An event; its number is its sequence number.
    Event = 3,
    /// A client's session; its number is a digest of its id.
    Session = 4,
    /// A batch of the journal of callers.
    Callers = 5,
    /// A batch of the journal of ties.
    Ties = 6,
}

/// A sound value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) kind: Kind,
    /// Tells values of a kind apart.
    pub(super) number: u64,
    /// Which commit wrote it; of two with the same number the later one is right.
    pub(super) commit: u64,
    pub(super) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The bytes to write.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + self.payload.len());
        bytes.extend(MAGIC);
        bytes.push(self.kind as u8);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.commit.to_le_bytes());
        // A value of 4 GiB fails the sum instead of being cut; nothing writes one.
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        bytes.extend(length.to_le_bytes());
        bytes.extend(self.sum().to_le_bytes());
        bytes.extend(self.payload);
        bytes
    }

    /// Reads a frame at the beginning of `bytes`; `None` when it is not sound.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC.as_slice())?;
        let (kind, rest) = rest.split_first()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (commit, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (sum, rest) = rest.split_first_chunk()?;
        let frame = Self {
            kind: Kind::of(*kind)?,
            number: u64::from_le_bytes(*number),
            commit: u64::from_le_bytes(*commit),
            payload: rest.get(..u32::from_le_bytes(*length) as usize)?,
        };
        (frame.sum() == u64::from_le_bytes(*sum)).then_some(frame)
    }

    /// Reads a frame of this kind, which is all that `bytes` hold.
    pub(super) fn read_whole(bytes: &'a [u8], kind: Kind) -> Option<Self> {
        let frame = Self::read(bytes)?;
        (frame.kind == kind && bytes.len() == HEAD + frame.payload.len()).then_some(frame)
    }

    fn sum(&self) -> u64 {
        let mut sum = Xxh3Default::new();
        sum.update(&[self.kind as u8]);
        sum.update(&self.number.to_le_bytes());
        sum.update(&self.commit.to_le_bytes());
        sum.update(self.payload);
        sum.digest()
    }
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        let known = [
            Self::SealKey,
            Self::State,
            Self::Event,
            Self::Session,
            Self::Callers,
            Self::Ties,
        ];
        known.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// Every sound frame in a file, whatever is between them.
pub(super) fn scan(bytes: &[u8]) -> impl Iterator<Item = Frame<'_>> {
    memmem::find_iter(bytes, MAGIC).filter_map(|at| Frame::read(bytes.get(at..)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(payload: &[u8]) -> Frame<'_> {
        Frame {
            kind: Kind::Event,
            number: 7,
            commit: 9,
            payload,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = frame(b"an event").to_bytes();

        assert_eq!(
            Frame::read_whole(&bytes, Kind::Event),
            Some(frame(b"an event"))
        );
        assert_eq!(Frame::read_whole(&bytes, Kind::State), None);
    }

    proptest! {
        #[test]
        fn one_wrong_byte_is_noticed(
            payload in prop::collection::vec(any::<u8>(), 0..40),
            at in any::<prop::sample::Index>(),
            flip in 1u8..,
        ) {
            let mut bytes = frame(&payload).to_bytes();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;

            prop_assert_eq!(Frame::read_whole(&bytes, Kind::Event), None);
        }

        #[test]
        fn frames_are_found_between_anything(
            noise in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 3),
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 2),
        ) {
            let mut file = noise[0].clone();
            for (payload, noise) in payloads.iter().zip(&noise[1..]) {
                file.extend(frame(payload).to_bytes());
                file.extend(noise);
            }

            let found: Vec<_> = scan(&file).map(|frame| frame.payload.to_vec()).collect();

            prop_assert_eq!(found, payloads);
        }

        #[test]
        fn no_bytes_make_reading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let whole = [MAGIC.as_slice(), &bytes].concat();

            let _unused = Frame::read(&whole);
            prop_assert!(scan(&whole).count() <= whole.len());
        }
    }
}
