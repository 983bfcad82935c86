//! What is kept of a request so that it can be sent once more.

use std::rc::Rc;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Uri};

use super::body::RequestBody;
use super::late_body::LateBody;
use super::outgoing::{Outgoing, Told};

/// Whether a request may reach a server twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeats {
    /// It may have effects: only what came back unsent is sent again.
    Unsent,
    /// It changes nothing (RFC 9110, 9.2.1), so that a connection that breaks costs it nothing.
    Safe,
}

/// A request as it was about to be sent, as small as it goes: a second map of fields would cost every
/// request more than the few that need it are worth.
#[derive(Debug)]
pub struct Kept {
    method: Method,
    uri: Uri,
    /// Each field's name and value, behind the lengths of both.
    fields: Vec<u8>,
    body: KeptBody,
}

/// The same of its body alone.
#[derive(Debug)]
pub(super) enum KeptBody {
    /// It is here.
    Whole(Bytes),
    /// It may still be on its way.
    Late(Rc<LateBody>),
}

/// Bytes of the lengths of a field.
const LENGTHS: usize = size_of::<u64>();
/// Bytes for an ordinary head, so that the buffer is made once.
const USUAL_BYTES: usize = 512;

impl Kept {
    /// What is needed to send `request` again; `None` when its body is only passing through.
    pub fn of(request: &Outgoing) -> Option<Self> {
        let body = KeptBody::of(request.body())?;
        let mut fields = Vec::with_capacity(USUAL_BYTES);
        let told = request.told().map(Told::fields).into_iter().flatten();
        let own = request.headers().iter();
        let own = own.map(|(name, value)| (name.as_str(), value));
        for (name, value) in own.chain(told) {
            put(&mut fields, name.as_bytes(), value.as_bytes())?;
        }
        Some(Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            fields,
            body,
        })
    }

    /// Whether the request is still here as a whole: a body may turn out to be too long to be kept.
    pub fn is_whole(&self) -> bool {
        self.body.is_whole()
    }

    /// The request again. Only where it is whole: what carried it before gets no more of its body.
    pub fn restore(self) -> Outgoing {
        let mut request = Request::new(self.body.restore());
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        *request.headers_mut() = read(Bytes::from(self.fields));
        request.into()
    }
}

impl KeptBody {
    /// What is needed to send a body again; `None` when it is only passing through.
    pub(super) fn of(body: &RequestBody) -> Option<Self> {
        match body {
            RequestBody::Empty | RequestBody::Whole(None) => Some(Self::Whole(Bytes::new())),
            RequestBody::Whole(Some(bytes)) => Some(Self::Whole(bytes.clone())),
            RequestBody::Late(reading) if reading.body().is_kept() => {
                Some(Self::Late(Rc::clone(reading.body())))
            }
            RequestBody::Upgrade(_) | RequestBody::Upload(_) | RequestBody::Late(_) => None,
        }
    }

    /// Whether all of it is still here.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Late(body) => body.is_kept(),
        }
    }

    /// The body again.
    pub(super) fn restore(self) -> RequestBody {
        match self {
            Self::Whole(bytes) => RequestBody::whole(bytes),
            Self::Late(body) => RequestBody::Late(body.read()),
        }
    }
}

fn put(fields: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Option<()> {
    let length = |text: &[u8]| u32::try_from(text.len()).ok();
    let lengths = u64::from(length(name)?) << 32 | u64::from(length(value)?);
    fields.extend_from_slice(&lengths.to_ne_bytes());
    fields.extend_from_slice(name);
    fields.extend_from_slice(value);
    Some(())
}

/// The next field's name and value.
fn take(fields: &mut Bytes) -> Option<(Bytes, Bytes)> {
    let lengths = u64::from_ne_bytes(fields.get(..LENGTHS)?.try_into().ok()?);
    let (name, value) = ((lengths >> 32) as usize, lengths as u32 as usize);
    if fields.len() < LENGTHS + name + value {
        return None;
    }
    let name = fields.split_to(LENGTHS + name).slice(LENGTHS..);
    Some((name, fields.split_to(value)))
}

/// The fields that [`put`] wrote; they were valid then, and are looked at again all the same.
fn read(mut fields: Bytes) -> HeaderMap {
    let mut map = HeaderMap::new();
    while let Some((name, value)) = take(&mut fields) {
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(&name),
            HeaderValue::from_maybe_shared(value),
        ) {
            map.append(name, value);
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: RequestBody) -> Outgoing {
        Request::builder()
            .method(Method::GET)
            .uri("/a?b")
            .header("accept", "x")
            .header("accept", "")
            .header("x-own", HeaderValue::from_bytes(b"caf\xc3\xa9").unwrap())
            .body(body)
            .unwrap()
            .into()
    }

    #[test]
    fn what_is_kept_is_the_whole_request() {
        let sent = request(RequestBody::whole(Bytes::from_static(b"hello")));

        let again = Kept::of(&sent).unwrap().restore();

        assert_eq!(again.method(), Method::GET);
        assert_eq!(again.uri(), "/a?b");
        assert_eq!(again.headers(), sent.headers());
        assert!(
            matches!(again.body(), RequestBody::Whole(Some(bytes)) if bytes == "hello"),
            "the body is kept"
        );
    }

    #[test]
    fn an_empty_body_stays_empty() {
        let again = Kept::of(&request(RequestBody::Empty)).unwrap().restore();

        assert!(matches!(again.body(), RequestBody::Empty));
    }
}
