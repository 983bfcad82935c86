//! The end of a `subscriptions/listen` stream that ends here: said in the protocol's own words.
//!
//! A client that hears them listens anew; one whose stream just ends may take it for a fault.

use bytes::Bytes;

use crate::mcp::{self, Kind, Method, RequestId};

use super::pipeline::Subject;

/// What is said at the end of such a stream.
#[derive(Debug)]
pub(super) struct Farewell {
    id: RequestId,
    /// The last bytes that have passed.
    tail: [u8; 4],
    said: bool,
}

impl Farewell {
    /// The end of the stream that this request asks for, if it asks for one.
    pub(super) fn of(subject: &Subject) -> Option<Box<Self>> {
        let facts = subject.facts.as_ref()?;
        let listens = facts.kind == Kind::Request && facts.method == Method::SubscriptionsListen;
        let id = facts.id.clone().filter(|_| listens)?;
        Some(Box::new(Self {
            id,
            tail: *b"\n\n\n\n",
            said: false,
        }))
    }

    /// The next bytes of the stream pass.
    pub(super) fn pass(&mut self, piece: &[u8]) {
        for byte in piece.iter().skip(piece.len().saturating_sub(4)) {
            let [_, rest @ ..] = self.tail;
            let [a, b, c] = rest;
            self.tail = [a, b, c, *byte];
        }
    }

    /// Whether the last event was said, after which there is nothing more.
    pub(super) fn is_said(&self) -> bool {
        self.said
    }

    /// The last event; nothing inside another one, which it would be taken for a part of.
    pub(super) fn words(&mut self) -> Option<Bytes> {
        let blank_lines: [&[u8]; 3] = [b"\n\n", b"\r\r", b"\n\r\n"];
        let between = blank_lines.iter().any(|end| self.tail.ends_with(end));
        self.said = between;
        between.then(|| Bytes::from(mcp::end_of_listening(&self.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_stands_between_others() {
        for (passed, said) in [
            (&[][..], true),
            (&[": hi\n\n"][..], true),
            (&["data: 1\r\n\r", "\n"][..], true),
            (&["data: 1\r", "\r"][..], true),
            (&["data: 1\r\n"][..], false),
            (&["data: 1\n\n", "data"][..], false),
            (&["data: 1\n"][..], false),
        ] {
            let id = RequestId::Text("l".into());
            let mut farewell = Farewell {
                id,
                tail: *b"\n\n\n\n",
                said: false,
            };
            for piece in passed {
                farewell.pass(piece.as_bytes());
            }

            assert_eq!(farewell.words().is_some(), said, "{passed:?}");
        }
    }
}
