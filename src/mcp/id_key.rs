//! The id of a JSON-RPC message as one number, the same for each way to write it.
//!
//! A server may read an id and write it in another way: `1`, `1.0` and `1e0` are one number to all of them. Most
//! read numbers as doubles, some (Python's) read whole ones exactly. To both, whole numbers below 10^15 are what
//! they say, whatever their spelling; for all others it is what a double says, so that an id finds its answer
//! even when it has lost digits on its way. Two requests whose ids differ in those digits alone are then taken
//! for one, as most clients and servers take them.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::answer::RequestId;

/// What ids are hashed with that are numbers, those that are texts, and numbers that no double holds.
const NUMBER: u64 = 1;
const TEXT: u64 = 2;
const BEYOND: u64 = 3;

/// A hash of an id. A text is never a number, whatever it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IdKey(u64);

impl IdKey {
    /// Of an id that is a text, without its escapes.
    pub(super) fn of_text(text: &[u8]) -> Self {
        Self(xxh3_64_with_seed(text, TEXT))
    }

    /// Of an id that is a number, as it is written.
    pub(super) fn of_number(text: &[u8]) -> Self {
        let number = std::str::from_utf8(text).ok();
        let number = number.and_then(|text| text.parse::<f64>().ok());
        match number {
            // Nothing is added but the sign of a zero, which is no part of its value.
            Some(number) if number.is_finite() => Self(xxh3_64_with_seed(
                &(number + 0.0).to_bits().to_le_bytes(),
                NUMBER,
            )),
            Some(_) | None => Self(xxh3_64_with_seed(text, BEYOND)),
        }
    }

    /// Of an id.
    pub(super) fn of(id: &RequestId) -> Self {
        match id {
            RequestId::Number(text) => Self::of_number(text.as_bytes()),
            RequestId::Text(text) => Self::of_text(text.as_bytes()),
        }
    }

    /// The hash.
    pub(super) fn number(self) -> u64 {
        self.0
    }
}

impl RequestId {
    /// The id in a number, the same for each spelling of it.
    pub fn key(&self) -> u64 {
        IdKey::of(self).number()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(text: &str) -> IdKey {
        IdKey::of_number(text.as_bytes())
    }

    /// Spellings of a whole number.
    fn spellings(number: i64) -> [String; 5] {
        [
            format!("{number}"),
            format!("{number}.0"),
            format!("{number}.00"),
            format!("{number}0e-1"),
            format!("{:e}", number as f64),
        ]
    }

    #[test]
    fn a_number_has_one_key_and_a_text_another() {
        for (one, other) in [
            ("0", "-0"),
            ("0", "-0.0e7"),
            ("10", "1e1"),
            ("0.5", "5e-1"),
            ("9007199254740993", "9007199254740992"),
            ("1e300", "10e299"),
        ] {
            assert_eq!(key(one), key(other), "{one} {other}");
        }
        for (one, other) in [("1", "2"), ("1", "1.5"), ("1", "-1"), ("1e400", "1e401")] {
            assert_ne!(key(one), key(other), "{one} {other}");
        }
        assert_ne!(key("1"), IdKey::of_text(b"1"));
        assert_eq!(RequestId::Number("7.0".into()).key(), key("7").number());
        assert_eq!(
            RequestId::Text("7".into()).key(),
            IdKey::of_text(b"7").number()
        );
    }

    proptest! {
        #[test]
        fn whole_numbers_are_told_apart_by_their_value_alone(
            one in -999_999_999_999_999i64..1_000_000_000_000_000,
            other in prop_oneof![Just(None), (-999_999_999_999_999i64..1_000_000_000_000_000).prop_map(Some)],
        ) {
            let other = other.unwrap_or(one.wrapping_add(1));
            for spelling in spellings(one) {
                prop_assert_eq!(key(&spelling), key(&one.to_string()), "{}", spelling);
                prop_assert_eq!(key(&spelling) == key(&other.to_string()), one == other);
            }
        }

        /// What has been read by serde_json or a browser and written again is the same id.
        #[test]
        fn a_number_that_went_through_a_double_keeps_its_key(
            number in prop_oneof![any::<f64>(), any::<i64>().prop_map(|n| n as f64), -1e6f64..1e6],
        ) {
            prop_assume!(number.is_finite());
            let written = serde_json::to_string(&number).unwrap();
            let read: f64 = serde_json::from_str(&written).unwrap();

            prop_assert_eq!(key(&written), key(&format!("{read:e}")));
            prop_assert_eq!(key(&written), key(&serde_json::to_string(&read).unwrap()));
        }

        #[test]
        fn whatever_is_hashed_nothing_breaks(text in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(IdKey::of_number(&text), IdKey::of_number(&text));
        }
    }
}
