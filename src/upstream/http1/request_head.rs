//! How the head of a request is written.

use std::io::Write;

use http::header::{CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use http_body::Body;

use crate::upstream::body::RequestBody;
use crate::upstream::framing;
use crate::upstream::outgoing::{Outgoing, write_field};

/// How a request says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// After so many bytes.
    Length(u64),
    /// In chunks, the last one empty.
    Chunked,
}

impl Framing {
    /// What the body itself says, whatever its fields do.
    pub(super) fn of(body: &RequestBody) -> Self {
        body.size_hint().exact().map_or(Self::Chunked, Self::Length)
    }
}

/// Writes the head of a request (RFC 9112, 3). Where its body ends is written from the body alone;
/// an empty one has a length where its fields say so.
pub(super) fn write(request: &Outgoing, framing: Framing, into: &mut Vec<u8>) {
    let target = request.uri().path_and_query();
    into.extend_from_slice(request.method().as_str().as_bytes());
    into.push(b' ');
    into.extend_from_slice(target.map_or("/", |target| target.as_str()).as_bytes());
    into.extend_from_slice(b" HTTP/1.1\r\n");
    let mut is_said = framing == Framing::Length(0);
    for (name, value) in request.headers() {
        if *name == TRANSFER_ENCODING {
            continue;
        }
        if *name == CONTENT_LENGTH {
            if !says(value, framing) {
                continue;
            }
            is_said = true;
        }
        write_field(name.as_str(), value, into);
    }
    if let Some(told) = request.told() {
        told.write(into);
    }
    match framing {
        _ if is_said => {}
        Framing::Length(length) => {
            // Writing to a vector does not fail.
            let _ = write!(into, "content-length: {length}\r\n");
        }
        Framing::Chunked => into.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    into.extend_from_slice(b"\r\n");
}

/// Whether a length is the one that the body has.
fn says(value: &HeaderValue, framing: Framing) -> bool {
    let said = framing::number(value.as_bytes());
    said.is_some_and(|said| framing == Framing::Length(said))
}
