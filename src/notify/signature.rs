//! How a receiver knows that it is us: HMAC-SHA256 over the moment and the body.

use std::fmt::Write;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The field that carries the signature.
pub const SIGNATURE: &str = "x-switchback-signature";

/// The value of [`SIGNATURE`]: `t=SECONDS,v1=HEX`, where the second is the HMAC-SHA256, by the
/// secret, of `SECONDS`, a dot, and the body as it is sent. The moment is inside, so that a
/// receiver can refuse what is old.
pub fn sign(secret: &[u8], seconds: u64, body: &[u8]) -> String {
    let mut text = format!("t={seconds},v1=");
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
        return text;
    };
    mac.update(seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    for byte in mac.finalize().into_bytes() {
        // Writing to a `String` never fails.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_the_one_that_others_compute() {
        // printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac switchback-secret
        let signed = sign(b"switchback-secret", 1_700_000_000, br#"{"a":1}"#);

        assert_eq!(
            signed,
            "t=1700000000,v1=7c2120d2e0610377f664e035502324297f16216d6a7fe5861fff77a178b2d658"
        );
    }

    #[test]
    fn another_moment_body_or_secret_is_another_signature() {
        let one = sign(b"secret", 1, b"body");

        for other in [
            sign(b"secret", 2, b"body"),
            sign(b"secret", 1, b"bodies"),
            sign(b"sekret", 1, b"body"),
        ] {
            assert_ne!(one, other);
        }
    }
}
