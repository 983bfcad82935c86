//! What a request brings along: its body, its fields, its query. All of it bounded.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, IF_MATCH};
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::json;

use crate::control::Author;
use crate::model::Generation;

use super::api::Asked;
use super::error::Refusal;
use super::wire::{ErrorCode, WHO_FIELD};

/// Largest body.
const BODY_BYTES: usize = 1024 * 1024;
/// Longest wait for a whole body.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Longest text that says who asks.
const WHO_BYTES: usize = 128;

/// Reads the whole body, within its bounds of size and time.
pub(super) async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let too_large = || {
        Refusal::new(
            ErrorCode::TooLarge,
            format!("a body has at most {BODY_BYTES} bytes"),
        )
    };
    if body.size_hint().lower() > BODY_BYTES as u64 {
        return Err(too_large());
    }
    let whole = Limited::new(body, BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIME, whole).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Refusal::new(
            ErrorCode::BadRequest,
            "the body ended before its end",
        )),
        Err(_) => Err(Refusal::new(
            ErrorCode::Timeout,
            format!("the body did not come within {} s", BODY_TIME.as_secs()),
        )),
    }
}

/// Reads a body as JSON. An empty one counts as `{}`.
///
/// Nesting is bounded by the types, none of which contains itself or any value at will, and
/// unknown fields are refused before what is in them is looked at.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.trim_ascii().is_empty() {
        b"{}"
    } else {
        body
    };
    let mut from = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(&mut from).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        let code = match cause.classify() {
            Category::Data => ErrorCode::Invalid,
            Category::Io | Category::Syntax | Category::Eof => ErrorCode::BadRequest,
        };
        Refusal::new(
            code,
            format!("the body is not what this call takes: {cause}"),
        )
        .details(json!({"path": path}))
    })?;
    from.end().map_err(|_| {
        Refusal::new(
            ErrorCode::BadRequest,
            "there is something behind the body's JSON",
        )
    })?;
    Ok(parsed)
}

/// Lets a body through that is labelled as one of `types`.
///
/// Labels that a form of a foreign page could set by itself are never among them.
pub(super) fn require_type(headers: &HeaderMap, types: &[&str]) -> Result<(), Refusal> {
    let label = headers
        .get(CONTENT_TYPE)
        .map_or(b"" as &[u8], HeaderValue::as_bytes);
    let essence = label.split(|byte| *byte == b';').next().unwrap_or_default();
    let named = |name: &&str| essence.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    if types.iter().any(named) {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::UnsupportedMediaType,
        format!("this call takes Content-Type {}", types.join(" or ")),
    ))
}

/// The generation that the asker has seen, if it says so: `"17"`, `17`, or `*` for any.
pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<Generation>, Refusal> {
    let mut fields = headers.get_all(IF_MATCH).iter();
    let Some(field) = fields.next() else {
        return Ok(None);
    };
    let refused = || {
        Refusal::new(
            ErrorCode::BadRequest,
            "If-Match is one generation, such as \"17\", or *",
        )
    };
    let text = field.to_str().map_err(|_| refused())?.trim();
    if fields.next().is_some() {
        return Err(refused());
    }
    if text == "*" {
        return Ok(None);
    }
    let quoted = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let digits = quoted.unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    let generation = digits.parse().map_err(|_| refused())?;
    Ok(Some(Generation(generation)))
}

/// Who asks, and why: the name that the file knows them by; where it knows nobody, the name
/// that they give themselves, else where they ask from.
pub(super) fn author(asked: &Asked<'_>, reason: Option<&str>) -> Result<Author, Refusal> {
    let claimed = claimed(&asked.head.headers)?;
    let who = match (asked.caller.name(), claimed) {
        (Some(name), _) => name.to_owned(),
        (None, Some(claimed)) => claimed.to_owned(),
        (None, None) => format!("api from {}", asked.peer.place()),
    };
    Ok(Author::new(&who, reason))
}

/// The name that the asker gives.
pub(super) fn claimed(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let Some(field) = headers.get(WHO_FIELD) else {
        return Ok(None);
    };
    let printable = |text: &&str| {
        !text.trim().is_empty() && text.len() <= WHO_BYTES && !text.contains(char::is_control)
    };
    let claimed = field.to_str().ok().filter(printable).ok_or_else(|| {
        Refusal::new(
            ErrorCode::BadRequest,
            format!("{WHO_FIELD} is 1 to {WHO_BYTES} printable ASCII characters"),
        )
    })?;
    Ok(Some(claimed))
}

#[cfg(test)]
mod tests {
    use crate::admin::wire::{ActBody, WeightsBody};

    use super::*;

    fn fields(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn generations_are_read_quoted_and_bare() {
        let read = |values: &[&str]| if_match(&fields("if-match", values)).map_err(|r| r.code());
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["*"]), Ok(None));
        assert_eq!(read(&["\"17\""]), Ok(Some(Generation(17))));
        assert_eq!(read(&[" 17 "]), Ok(Some(Generation(17))));
        for bad in [
            "",
            "\"\"",
            "W/\"17\"",
            "+17",
            "17, 18",
            "\"17",
            "99999999999999999999",
            "é",
        ] {
            assert_eq!(read(&[bad]), Err(ErrorCode::BadRequest), "{bad}");
        }
        assert_eq!(read(&["17", "17"]), Err(ErrorCode::BadRequest));
    }

    #[test]
    fn only_labels_that_no_form_can_set_are_taken() {
        let takes = |label: &str| {
            require_type(&fields("content-type", &[label]), &["application/json"]).is_ok()
        };
        assert!(takes("application/json") && takes("Application/JSON; charset=utf-8"));
        for label in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonp",
            "",
            "text/plain; application/json",
        ] {
            assert!(!takes(label), "{label}");
        }
        assert!(require_type(&HeaderMap::new(), &["application/json"]).is_err());
    }

    #[test]
    fn bodies_that_say_too_much_or_too_little_are_refused() {
        let code = |body: &str| {
            parse::<WeightsBody>(body.as_bytes())
                .map_err(|r| r.code())
                .err()
        };
        assert_eq!(code(r#"{"weights": {"a": 1}}"#), None);
        for body in [
            r#"{"weights": {"a": 1}, "extra": 1}"#,
            r#"{"weights": {"a": 1, "a": 2}}"#,
            r#"{"weights": {"a b": 1}}"#,
            r#"{"weights": {"a": -1}}"#,
            r#"{"weights": {"a": 1.5}}"#,
            "{}",
            "[]",
        ] {
            assert_eq!(code(body), Some(ErrorCode::Invalid), "{body}");
        }
        for body in ["{", "{\"weights\": {}} {}", "nonsense", "\u{feff}{}"] {
            assert_eq!(code(body), Some(ErrorCode::BadRequest), "{body}");
        }
        assert_eq!(parse::<ActBody>(b" "), Ok(ActBody::default()));
    }

    #[test]
    fn deep_nesting_is_refused_without_a_fall() {
        for open in ["[", "{\"a\":", "{\"weights\":"] {
            assert!(parse::<WeightsBody>(open.repeat(100_000).as_bytes()).is_err());
        }
    }

    #[test]
    fn an_asker_may_give_a_name_that_can_be_shown() {
        let name = |values: &[&str]| {
            let headers = fields(WHO_FIELD, values);
            claimed(&headers).map(|name| name.map(str::to_owned))
        };
        assert_eq!(name(&[]).unwrap(), None);
        assert_eq!(name(&["ci/main"]).unwrap().unwrap(), "ci/main");
        for bad in ["", "a\tb", "é", &"x".repeat(129)] {
            assert!(name(&[bad]).is_err(), "{bad}");
        }
    }
}
