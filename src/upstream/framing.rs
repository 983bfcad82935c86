//! Whether the head of an answer says one thing about where the answer ends, and of what kind
//! it is. hyper looks at what it needs; who stands behind us may need something else.

use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::{Response, StatusCode};

use crate::model;

/// Most digits of a length: more than any has that can be counted to.
const MAX_DIGITS: usize = 19;

/// What the fields of an answer say about where it ends, one after the other.
#[derive(Debug, Default)]
pub(super) struct Said<'a> {
    is_chunked: bool,
    /// The first length, as it is written and as a number.
    length: Option<(&'a [u8], Option<u64>)>,
    /// A length or a coding is none, or is not what was said before.
    is_unclear: bool,
}

impl<'a> Said<'a> {
    /// A `Content-Length` says this.
    pub(super) fn length(&mut self, digits: &'a [u8]) {
        if let Some((first, _)) = self.length {
            self.is_unclear |= first != digits;
            return;
        }
        let length = number(digits);
        self.is_unclear |= length.is_none();
        self.length = Some((digits, length));
    }

    /// A `Transfer-Encoding` says this.
    pub(super) fn coding(&mut self, coding: &[u8]) {
        self.is_unclear |= self.is_chunked || !coding.eq_ignore_ascii_case(b"chunked");
        self.is_chunked = true;
    }

    /// Whether an answer's head can be passed on: a status that there is (RFC 9110, 15), no coding but
    /// `chunked` alone, and either that or lengths which are one and the same number (RFC 9112, 6.3).
    pub(super) fn is_sound(&self, status: StatusCode) -> bool {
        let says_both = self.is_chunked && self.length.is_some();
        status.as_u16() < 600 && !self.is_unclear && !says_both
    }

    /// Whether the body comes in chunks, of a head that is sound.
    pub(super) fn is_chunked(&self) -> bool {
        self.is_chunked
    }

    /// How long the body is, of a head that is sound.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.length.and_then(|(_, length)| length)
    }
}

/// The same of a head that was read by somebody else.
pub(super) fn is_sound<B>(answer: &Response<B>) -> bool {
    let mut said = Said::default();
    for length in answer.headers().get_all(CONTENT_LENGTH) {
        said.length(length.as_bytes());
    }
    for coding in answer.headers().get_all(TRANSFER_ENCODING) {
        said.coding(coding.as_bytes());
    }
    said.is_sound(answer.status())
}

/// A length.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    let is_short = digits.len() <= MAX_DIGITS;
    is_short.then(|| model::digits(digits)).flatten()
}

/// Whether an answer switches to the protocol that the request asked for (RFC 9110, 7.8).
pub(super) fn switches_to(fields: &HeaderMap, protocol: &str) -> bool {
    let mut named = fields.get_all(UPGRADE).iter();
    let is_it = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(protocol.as_bytes());
    named.next().is_some_and(is_it) && named.next().is_none() && lists_upgrade(fields)
}

/// Whether `Connection` says that `Upgrade` is meant for the next server.
pub fn lists_upgrade(fields: &HeaderMap) -> bool {
    let values = fields.get_all(CONNECTION).iter();
    let mut options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(status: u16, fields: &[(&str, &str)]) -> bool {
        let mut answer = Response::builder().status(status);
        for (name, value) in fields {
            answer = answer.header(*name, *value);
        }
        is_sound(&answer.body(()).unwrap())
    }

    #[test]
    fn an_answer_has_one_length_or_chunks_and_a_status_that_there_is() {
        let length = |value| ("content-length", value);
        let coding = |value| ("transfer-encoding", value);
        assert!(sound(200, &[]) && sound(599, &[length("0")]));
        assert!(sound(200, &[length("5"), length("5")]) && sound(200, &[coding("Chunked")]));

        assert!(!sound(600, &[]) && !sound(999, &[length("5")]));
        for fields in [
            &[length("5"), length("6")][..],
            &[length("5, 5")],
            &[length("+5")],
            &[length("")],
            &[length("5"), coding("chunked")],
            &[coding("gzip, chunked")],
            &[coding("identity")],
            &[coding("chunked"), coding("chunked")],
        ] {
            assert!(!sound(200, fields), "{fields:?}");
        }
    }

    #[test]
    fn a_switch_names_the_protocol_that_was_asked_for() {
        let switches = |fields: &[(&'static str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(*name, value.parse().unwrap());
            }
            switches_to(&map, "websocket")
        };
        let up = ("connection", "keep-alive, Upgrade");

        assert!(switches(&[up, ("upgrade", "WebSocket")]));
        assert!(!switches(&[("upgrade", "websocket")]));
        assert!(!switches(&[up]) && !switches(&[up, ("upgrade", "h2c")]));
        assert!(!switches(&[up, ("upgrade", "websocket, h2c")]));
        assert!(!switches(&[
            up,
            ("upgrade", "websocket"),
            ("upgrade", "websocket")
        ]));
    }
}
