//! What holds for every request to the API whatever, as a check over bytes: for the fuzz target
//! and the tests.

use http::header::IF_MATCH;
use http::{HeaderMap, HeaderValue};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::control::Author;

use super::body::{claimed, if_match, parse};
use super::wire::{ActBody, StartRolloutBody, WHO_FIELD, WeightsBody};

/// A body is what the call takes, and then says the same when it is written out, or is refused.
/// The first line stands for the fields that say who asks and what was seen.
pub fn body(input: &[u8]) {
    let mut halves = input.splitn(2, |byte| *byte == b'\n');
    let field = HeaderValue::from_bytes(halves.next().unwrap_or_default());
    let body = halves.next().unwrap_or_default();
    says_the_same::<WeightsBody>(body);
    says_the_same::<StartRolloutBody>(body);
    says_the_same::<ActBody>(body);

    let Ok(field) = field else {
        return;
    };
    let mut fields = HeaderMap::new();
    fields.insert(IF_MATCH, field.clone());
    fields.insert(WHO_FIELD, field);
    let _known_or_refused = if_match(&fields);
    let reason = std::str::from_utf8(body).ok();
    if let Ok(Some(who)) = claimed(&fields) {
        let author = Author::new(who, reason);
        // What is said of who it was must not be able to break a line of a log.
        assert!(!author.who.contains(char::is_control), "{author:?}");
    }
}

fn says_the_same<T: DeserializeOwned + Serialize + PartialEq>(body: &[u8]) {
    if let Ok(parsed) = parse::<T>(body) {
        let written = serde_json::to_vec(&parsed).unwrap_or_default();
        let again = parse::<T>(&written);
        assert!(
            again.is_ok_and(|again| again == parsed),
            "{}",
            written.escape_ascii()
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What bodies are made of, good and bad.
    const PIECES: &[&str] = &[
        "\"17\"",
        "*",
        "ci/main",
        "\n",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\u0000",
        "\u{202e}",
        "1e400",
        "-1",
        "0.5",
        "{\"weights\":{\"a\":1,\"b\":2}}",
        "\"weights\":{",
        "\"a\":1",
        "\"reason\":\"why\"",
        "\"to\":\"v2\"",
        "\"stages\":[{\"percent\":10,\"for\":\"5m\"}]",
        "\"percent\":1e-7",
        "\"for\":\"1ns\"",
        "\"approve\":true",
        "\"force\":true",
        "\"plan\":\"p\"",
        "null",
        "\u{1b}[0m",
    ];

    proptest! {
        #[test]
        fn a_body_is_taken_in_one_reading_or_refused(
            some in prop::collection::vec(prop::sample::select(PIECES), 0..20),
        ) {
            body(some.concat().as_bytes());
        }
    }
}
