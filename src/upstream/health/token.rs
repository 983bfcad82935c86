//! The token that says who asks, in health checks and contract checks: from a file that somebody
//! else renews.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};

/// Longest token, in bytes.
const MAX_BYTES: u64 = 4096;

/// The field that carries the token of a file.
///
/// # Errors
/// When its file cannot be read, or has no token in it.
pub(in crate::upstream) async fn read_token(
    file: PathBuf,
    name: HeaderName,
) -> io::Result<(HeaderName, HeaderValue)> {
    // A disk may be slow, and this thread has more to do.
    let text = tokio::task::spawn_blocking(move || text_of(&file)).await;
    let text = text.map_err(io::Error::other)??;
    value(&name, &text).map(|value| (name, value))
}

fn text_of(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn value(name: &HeaderName, text: &str) -> io::Result<HeaderValue> {
    let token = text.trim();
    let wrong = |message| io::Error::new(io::ErrorKind::InvalidData, message);
    if token.is_empty() || text.len() as u64 > MAX_BYTES {
        return Err(wrong("it has from 1 to 4,096 bytes"));
    }
    let value = if *name == AUTHORIZATION {
        HeaderValue::try_from(format!("Bearer {token}"))
    } else {
        HeaderValue::try_from(token)
    };
    let mut value = value.map_err(|_| wrong("it is no value of a field"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_bearers_or_a_value_of_its_own() {
        let key = HeaderName::from_static("x-api-key");

        assert_eq!(value(&AUTHORIZATION, "abc\n").unwrap(), "Bearer abc");
        assert_eq!(value(&key, " abc\r\n").unwrap(), "abc");
        assert!(value(&key, "abc").unwrap().is_sensitive());
        for bad in ["", "\n", "a\nb", "a\0"] {
            assert!(value(&key, bad).is_err(), "{bad:?}");
        }
        assert!(value(&key, &"x".repeat(5000)).is_err());
    }
}
