//! A request to a backend: what HTTP says of it, and what is told of who asks.

use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use http::Request;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::body::RequestBody;

const FOR: &str = "x-forwarded-for";
const HOST: &str = "x-forwarded-host";
const PROTO: &str = "x-forwarded-proto";
/// The client's address, as proxies tell it.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static(FOR);
/// The host that the client asked for.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static(HOST);
/// The scheme that the client used.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static(PROTO);

/// A request to a backend. What is told of the client may stand beside its fields: to put three more into
/// the map costs each request as much as to write seven. So the map of the request alone may lack
/// three of its fields; whoever makes another request of this one takes all of them.
#[derive(Debug)]
pub struct Outgoing {
    request: Request<RequestBody>,
    told: Option<Told>,
}

/// Who asks over a connection, and how: the same for all of its requests.
#[derive(Debug)]
pub struct Asker {
    address: HeaderValue,
    scheme: HeaderValue,
    /// Both as lines of a head.
    lines: Vec<u8>,
}

/// What a backend is told of who asks, and for which host.
#[derive(Clone, Debug)]
pub struct Told {
    asker: Rc<Asker>,
    host: HeaderValue,
}

impl Asker {
    /// Who asks from this address, by this scheme.
    pub fn new(address: HeaderValue, scheme: HeaderValue) -> Self {
        let mut lines = Vec::new();
        write_field(FOR, &address, &mut lines);
        write_field(PROTO, &scheme, &mut lines);
        Self {
            address,
            scheme,
            lines,
        }
    }

    /// The address.
    pub fn address(&self) -> &HeaderValue {
        &self.address
    }

    /// The scheme.
    pub fn scheme(&self) -> &HeaderValue {
        &self.scheme
    }
}

impl Told {
    /// That `asker` asks for this host.
    pub fn new(asker: &Rc<Asker>, host: &HeaderValue) -> Self {
        Self {
            asker: Rc::clone(asker),
            host: host.clone(),
        }
    }

    /// The fields that say it.
    pub(super) fn fields(&self) -> [(&'static str, &HeaderValue); 3] {
        let Asker {
            address, scheme, ..
        } = &*self.asker;
        [(FOR, address), (PROTO, scheme), (HOST, &self.host)]
    }

    /// Writes it as lines of a head.
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.asker.lines);
        write_field(HOST, &self.host, into);
    }

    /// Puts it among the fields of a request.
    pub fn put_into(&self, fields: &mut HeaderMap) {
        for (name, value) in self.fields() {
            fields.insert(name, value.clone());
        }
    }
}

impl Outgoing {
    /// A request, and what is told beside its fields.
    pub fn new(request: Request<RequestBody>, told: Option<Told>) -> Self {
        Self { request, told }
    }

    /// What is told beside the fields.
    pub(super) fn told(&self) -> Option<&Told> {
        self.told.as_ref()
    }

    /// All fields, those in which something is told of the client among them.
    pub(super) fn fields(&self) -> HeaderMap {
        let mut fields = self.headers().clone();
        if let Some(told) = &self.told {
            told.put_into(&mut fields);
        }
        fields
    }

    /// Takes the request out, with all its fields.
    pub fn take(&mut self) -> Request<RequestBody> {
        if let Some(told) = self.told.take() {
            told.put_into(self.headers_mut());
        }
        std::mem::take(&mut self.request)
    }
}

/// Writes a field as a line of a head.
#[inline]
pub(super) fn write_field(name: &str, value: &HeaderValue, into: &mut Vec<u8>) {
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(value.as_bytes());
    into.extend_from_slice(b"\r\n");
}

impl From<Request<RequestBody>> for Outgoing {
    fn from(request: Request<RequestBody>) -> Self {
        Self::new(request, None)
    }
}

impl Deref for Outgoing {
    type Target = Request<RequestBody>;

    fn deref(&self) -> &Request<RequestBody> {
        &self.request
    }
}

impl DerefMut for Outgoing {
    fn deref_mut(&mut self) -> &mut Request<RequestBody> {
        &mut self.request
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::upstream::Kept;

    fn outgoing() -> Outgoing {
        let request = Request::builder().header("accept", "x");
        let asker = Asker::new(
            HeaderValue::from_static("1.2.3.4"),
            HeaderValue::from_static("https"),
        );
        let told = Told::new(&Rc::new(asker), &HeaderValue::from_static("h:81"));
        let body = RequestBody::whole(Bytes::from_static(b"body"));
        Outgoing::new(request.body(body).unwrap(), Some(told))
    }

    #[test]
    fn the_same_is_told_however_it_is_written() {
        let mut lines = Vec::new();
        outgoing().told().unwrap().write(&mut lines);
        let expected = [
            ("accept", "x"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-host", "h:81"),
            ("x-forwarded-proto", "https"),
        ];

        let of_lines =
            "x-forwarded-for: 1.2.3.4\r\nx-forwarded-proto: https\r\nx-forwarded-host: h:81\r\n";
        assert_eq!(std::str::from_utf8(&lines), Ok(of_lines));
        for fields in [
            outgoing().fields(),
            outgoing().take().headers().clone(),
            Kept::of(&outgoing()).unwrap().restore().fields(),
        ] {
            let mut told: Vec<_> = fields
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect();
            told.sort_unstable();
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn what_was_taken_out_is_told_once() {
        let mut outgoing = outgoing();

        let taken = outgoing.take();
        outgoing = taken.into();

        assert!(outgoing.told().is_none());
        assert_eq!(outgoing.fields().len(), 4);
    }
}
