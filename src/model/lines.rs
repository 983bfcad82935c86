//! Lines of heads as protocols write them.

use wide::u8x16;

/// Bytes that are looked at together.
const LANES: usize = 16;

/// Where a byte is first. The lines of a head and the names in them are short, and there are many of
/// them: what a search through long texts prepares costs more than going through a line. A long one costs
/// four instructions for sixteen bytes.
#[inline]
pub fn place_of(byte: u8, bytes: &[u8]) -> Option<usize> {
    let (whole, rest) = bytes.as_chunks::<LANES>();
    for (place, lanes) in whole.iter().enumerate() {
        let found = u8x16::from(*lanes).simd_eq(u8x16::splat(byte));
        let found = found.to_bitmask();
        if found != 0 {
            return Some(place * LANES + found.trailing_zeros() as usize);
        }
    }
    let at = rest.iter().position(|other| *other == byte)?;
    Some(bytes.len() - rest.len() + at)
}

/// A value without the space around it, of which there are two kinds (RFC 9110, 5.6.3).
pub fn without_space(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[cfg(test)]
mod tests {
    use memchr::memchr;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_byte_is_found_where_it_is_first(bytes in "[a\n]{0,5}[ab]{0,80}\n?[a\n]{0,20}") {
            for byte in *b"ab\n" {
                prop_assert_eq!(place_of(byte, bytes.as_bytes()), memchr(byte, bytes.as_bytes()));
            }
        }
    }

    #[test]
    fn only_space_around_a_value_is_taken_off() {
        for (value, bare) in [
            ("", ""),
            (" \t ", ""),
            ("x", "x"),
            ("\t x \t y \t", "x \t y"),
            ("\r x", "\r x"),
        ] {
            assert_eq!(
                without_space(value.as_bytes()),
                bare.as_bytes(),
                "{value:?}"
            );
        }
    }
}
