//! Secrets: made, measured, and kept as nothing but a hash.

use std::fmt::{self, Write};
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// Shortest secret, in characters.
pub(super) const SECRET_MIN: usize = 20;
/// Longest secret, in characters.
pub(super) const SECRET_MAX: usize = 512;
/// Least that a secret's characters must say, in bits, by how often each of them comes.
const BITS_MIN: f64 = 60.0;
/// What a token of [`mint`] begins with, so that a search for leaked ones finds it.
const PREFIX: &str = "swb_";
/// Random bytes of such a token.
const MINTED_BYTES: usize = 32;

/// A secret as far as this process remembers it: its SHA-256.
///
/// Secrets have many random bits, so that one round of a fast hash is enough: there is no
/// dictionary to try. Deliberately without `PartialEq` on texts, `Serialize` and `Display`.
#[derive(Clone, Copy, Eq)]
pub struct Secret([u8; 32]);

/// Why a text is no secret to be relied on. Never says the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Fewer characters than could not be guessed.
    #[error(
        "a secret has at least {SECRET_MIN} characters, and this one has {length}; `switchback token new` makes a good one"
    )]
    Short {
        /// How many it has.
        length: usize,
    },
    /// More than a field of a request is to carry.
    #[error("a secret has at most {SECRET_MAX} characters, and this one has {length}")]
    Long {
        /// How many it has.
        length: usize,
    },
    /// A character that a bearer token cannot have.
    #[error(
        "a secret has letters, digits and `-._~+/=` only; is there a line end or a space at its end?"
    )]
    Character,
    /// Too few different characters.
    #[error("the secret is too easy to guess; `switchback token new` makes a good one")]
    Weak,
    /// A hash that is none.
    #[error("not a SHA-256, which is 64 hexadecimal digits; `switchback token new` prints one")]
    Hash,
}

impl Secret {
    /// The secret that a text is, if it is a good one.
    ///
    /// # Errors
    /// [`SecretError`] when it is too short, too long, too plain, or cannot be a bearer token.
    pub fn of(text: &str) -> Result<Self, SecretError> {
        let length = text.chars().count();
        if !is_token(text) {
            return Err(SecretError::Character);
        }
        if length < SECRET_MIN {
            return Err(SecretError::Short { length });
        }
        if length > SECRET_MAX {
            return Err(SecretError::Long { length });
        }
        if bits(text) < BITS_MIN {
            return Err(SecretError::Weak);
        }
        Ok(Self::presented(text))
    }

    /// What a caller presents, good or not, to be compared with what is granted.
    pub fn presented(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// The hash, for telling whether a config says anything new; it goes nowhere else.
    pub fn hash(&self) -> &[u8; 32] {
        &self.0
    }

    /// The hash as a config file names it.
    pub fn to_hex(self) -> String {
        self.0.iter().fold(String::new(), |mut hex, byte| {
            // Writing to a `String` never fails.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

/// Whether a text can be a bearer token at all: the characters of RFC 6750.
pub(super) fn is_token(text: &str) -> bool {
    let plain = |b: u8| {
        b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
    };
    !text.is_empty() && text.bytes().all(plain)
}

/// How much a text says at most, judged by how often each of its bytes comes.
fn bits(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let length = text.len() as f64;
    let each = counts.iter().filter(|count| **count > 0);
    each.map(|count| {
        let count = f64::from(*count);
        -count * (count / length).log2()
    })
    .sum()
}

/// A new token: `swb_` and 256 random bits.
///
/// # Errors
/// When the system's source of randomness fails.
pub fn mint() -> Result<String, getrandom::Error> {
    let mut random = [0; MINTED_BYTES];
    getrandom::fill(&mut random)?;
    Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

impl FromStr for Secret {
    type Err = SecretError;

    /// Reads a hash: 64 hexadecimal digits.
    fn from_str(hex: &str) -> Result<Self, SecretError> {
        let mut hash = [0; 32];
        if hex.len() != 64 || !hex.is_ascii() {
            return Err(SecretError::Hash);
        }
        for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let digit = |at: usize| {
                let digit = digits.get(at).copied().unwrap_or(b'x');
                char::from(digit).to_digit(16).ok_or(SecretError::Hash)
            };
            *byte = (digit(0)? * 16 + digit(1)?) as u8;
        }
        Ok(Self(hash))
    }
}

impl ConstantTimeEq for Secret {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.0.ct_eq(&other.0)
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.ct_eq(other).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_token_is_good_and_never_the_same() {
        let (one, two) = (mint().unwrap(), mint().unwrap());

        assert_ne!(one, two);
        assert!(one.starts_with(PREFIX) && Secret::of(&one).is_ok());
        assert_eq!(Secret::of(&one).unwrap(), Secret::presented(&one));
        let by_hash: Secret = Secret::of(&one).unwrap().to_hex().parse().unwrap();
        assert_eq!(by_hash, Secret::presented(&one));
    }

    #[test]
    fn what_could_be_guessed_or_not_be_sent_is_refused() {
        for (text, expected) in [
            ("", SecretError::Character),
            ("short", SecretError::Short { length: 5 }),
            ("0123456789abcdefghi", SecretError::Short { length: 19 }),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", SecretError::Weak),
            ("abababababababababababababababab", SecretError::Weak),
            ("0123456789abcdefghijk\n", SecretError::Character),
            ("0123456789 abcdefghijk", SecretError::Character),
            ("0123456789abcdefghijké", SecretError::Character),
        ] {
            assert_eq!(Secret::of(text), Err(expected), "{text:?}");
        }
        let long = "0123456789abcdef".repeat(33);
        assert_eq!(Secret::of(&long), Err(SecretError::Long { length: 528 }));
        assert!(Secret::of("0123456789abcdefghij").is_ok());
    }

    #[test]
    fn only_a_whole_hash_is_a_hash() {
        let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

        assert_eq!(hash.parse::<Secret>().unwrap(), Secret::presented(""));
        for bad in [
            "",
            "e3",
            &hash[1..],
            &hash.replace('e', "g"),
            &"é".repeat(32),
        ] {
            assert_eq!(bad.parse::<Secret>(), Err(SecretError::Hash), "{bad}");
        }
    }

    #[test]
    fn a_secret_does_not_say_itself() {
        let text = "hunter2-hunter2-hunter2";
        let secret = Secret::presented(text);

        let shown = format!("{secret:?} {:?}", Secret::of("hunter2"));

        assert!(!shown.contains("hunter2") && !shown.contains(&secret.to_hex()[..8]));
    }
}
