//! How a body frames its JSON-RPC messages, told from header text.

/// How a body frames its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON text: a message or a batch.
    Json,
    /// A `text/event-stream` with a message in each event.
    EventStream,
}

impl Format {
    /// The format that a `Content-Type` names; `None` for one that carries no messages.
    pub fn of_content_type(value: &str) -> Option<Self> {
        // As nearly all write it.
        if value == "application/json" {
            return Some(Self::Json);
        }
        let media_type = value.split(';').next().unwrap_or("").trim_ascii();
        if media_type.eq_ignore_ascii_case("application/json") {
            return Some(Self::Json);
        }
        media_type
            .eq_ignore_ascii_case("text/event-stream")
            .then_some(Self::EventStream)
    }
}

/// Whether an `Accept` value names `text/event-stream`, whatever its quality, unless that is 0.
pub fn accepts_event_stream(value: &str) -> bool {
    value.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim_ascii);
        let named = parts
            .next()
            .is_some_and(|media_type| media_type.eq_ignore_ascii_case("text/event-stream"));
        named && !parts.any(is_zero_quality)
    })
}

fn is_zero_quality(parameter: &str) -> bool {
    parameter
        .strip_prefix(['q', 'Q'])
        .and_then(|rest| rest.trim_ascii_start().strip_prefix('='))
        .is_some_and(|quality| {
            let quality = quality.trim_ascii();
            quality.starts_with('0') && quality.bytes().all(|b| matches!(b, b'0' | b'.'))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_case_do_not_hide_a_format() {
        for (value, format) in [
            ("application/json", Some(Format::Json)),
            ("Application/JSON ; charset=utf-8", Some(Format::Json)),
            ("text/event-stream;charset=utf-8", Some(Format::EventStream)),
            (" text/event-stream ", Some(Format::EventStream)),
            ("application/json-seq", None),
            ("application/jsonx", None),
            ("text/plain", None),
            ("text/html; a=application/json", None),
            ("", None),
        ] {
            assert_eq!(Format::of_content_type(value), format, "{value:?}");
        }
    }

    #[test]
    fn an_event_stream_is_accepted_where_it_is_named() {
        for (value, accepted) in [
            ("application/json, text/event-stream", true),
            ("TEXT/EVENT-STREAM;q=0.1", true),
            ("text/event-stream; q=0", false),
            ("text/event-stream;q=0.000, application/json", false),
            ("application/json", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(accepts_event_stream(value), accepted, "{value:?}");
        }
    }
}
