//! The key that pins a caller to a backend.

use std::net::IpAddr;

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::spec::StickySpec;

/// Where a key comes from, ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A request header.
    Header(HeaderName),
    /// A cookie.
    Cookie(Box<str>),
    /// A claim of the caller's token.
    Claim(Box<str>),
    /// The client's address.
    ClientAddress,
}

/// The sources of a route in order, and the seed of its latest rollout.
#[derive(Clone, Debug)]
pub struct Keys {
    sources: Box<[KeySource]>,
    seed: u64,
}

impl Keys {
    /// The sources of a route. A header whose name is not one is left out; `config` has
    /// refused it.
    pub fn new(sticky: &[StickySpec], seed: u64) -> Self {
        let source = |spec: &StickySpec| match spec {
            StickySpec::Header(name) => name.parse().ok().map(KeySource::Header),
            StickySpec::Cookie(name) => Some(KeySource::Cookie(name.as_str().into())),
            StickySpec::Claim(name) => Some(KeySource::Claim(name.as_str().into())),
            StickySpec::ClientAddress => Some(KeySource::ClientAddress),
        };
        Self {
            sources: sticky.iter().filter_map(source).collect(),
            seed,
        }
    }

    /// The hash of the first key that the request has, when nothing is known of its caller.
    pub fn of_request(&self, headers: &HeaderMap, client: IpAddr) -> Option<u64> {
        self.of_caller(headers, client, &[])
    }

    /// The hash of the first key that the request has, of whose caller these claims are known.
    pub fn of_caller(
        &self,
        headers: &HeaderMap,
        client: IpAddr,
        claims: &[(Box<str>, HeaderValue)],
    ) -> Option<u64> {
        self.sources.iter().find_map(|source| match source {
            KeySource::Header(name) => headers.get(name).map(|value| self.hash(value.as_bytes())),
            KeySource::Cookie(name) => cookie(headers, name).map(|value| self.hash(value)),
            KeySource::Claim(name) => {
                let mut claims = claims.iter();
                let claim = claims.find(|(known, _)| known == name);
                claim.map(|(_, value)| self.hash(value.as_bytes()))
            }
            KeySource::ClientAddress => Some(match client {
                IpAddr::V4(v4) => self.hash(&v4.octets()),
                IpAddr::V6(v6) => self.hash(&v6.octets()),
            }),
        })
    }

    /// Whether a key may come from a field of this name, in lower case.
    pub fn read_field(&self, name: &str) -> bool {
        self.sources.iter().any(|source| match source {
            KeySource::Header(read) => read.as_str() == name,
            KeySource::Cookie(_) => name == "cookie",
            KeySource::Claim(_) | KeySource::ClientAddress => false,
        })
    }

    /// The hash of a key that is already known, such as a session's id.
    pub fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed)
    }
}

/// The value of a cookie, from one or several `Cookie` fields.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let fields = headers.get_all(COOKIE).iter();
    let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| {
        let pair = pair.trim_ascii();
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (pair.get(..at)?, pair.get(at + 1..)?);
        (key == name.as_bytes()).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect()
    }

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_first_source_that_the_request_has_is_used() {
        let keys = Keys::new(
            &[
                StickySpec::Header("x-user".into()),
                StickySpec::Cookie("sid".into()),
                StickySpec::ClientAddress,
            ],
            1,
        );
        let of = |fields| keys.of_request(&headers(fields), CLIENT);

        assert_eq!(
            of(&[("x-user", "ann"), ("cookie", "sid=7")]),
            Some(keys.hash(b"ann"))
        );
        assert_eq!(of(&[("cookie", "a=b; sid=7")]), Some(keys.hash(b"7")));
        assert_eq!(
            of(&[("cookie", "xsid=7; sidx=8; sid")]),
            Some(keys.hash(&[127, 0, 0, 1]))
        );
    }

    #[test]
    fn without_a_source_there_is_no_key() {
        assert_eq!(
            Keys::new(&[], 1).of_request(&headers(&[("x-user", "ann")]), CLIENT),
            None
        );
    }

    #[test]
    fn cookies_are_found_in_every_field() {
        let fields = headers(&[("cookie", "a=1"), ("cookie", "sid=x=y")]);

        assert_eq!(cookie(&fields, "sid"), Some(&b"x=y"[..]));
    }
}
