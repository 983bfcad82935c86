//! The key that pins a caller to a backend.

use std::net::IpAddr;

use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue};
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
    /// Whom the caller's token stands for, or the credentials themselves where nobody checks them.
    Principal,
    /// The client's address.
    ClientAddress,
}

/// Where the key of a request comes from that belongs to no session, after the route's own
/// sources: every such request has one.
const OF_REQUESTS: [KeySource; 2] = [KeySource::Principal, KeySource::ClientAddress];

/// Who asks, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The fields of the request.
    pub headers: &'a HeaderMap,
    /// The client's address.
    pub client: IpAddr,
    /// Whom the caller's token stands for, where the route checks tokens.
    pub owner: Option<&'a str>,
    /// The claims of the token that somebody wants to know.
    pub claims: &'a [(Box<str>, HeaderValue)],
}

/// The key of a request that belongs to no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerKey {
    /// Chooses the backend, as every key does.
    pub key: u64,
    /// Names the caller whatever rollout is on: their backend is held by it.
    pub caller: u64,
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
            StickySpec::Principal => Some(KeySource::Principal),
            StickySpec::ClientAddress => Some(KeySource::ClientAddress),
        };
        Self {
            sources: sticky.iter().filter_map(source).collect(),
            seed,
        }
    }

    /// The hash of the first key that the request has, when nothing is known of its caller.
    pub fn of_request(&self, headers: &HeaderMap, client: IpAddr) -> Option<u64> {
        self.of_caller(&Caller {
            headers,
            client,
            owner: None,
            claims: &[],
        })
    }

    /// The hash of the first key that the request has.
    pub fn of_caller(&self, caller: &Caller<'_>) -> Option<u64> {
        let hash = |key: &[u8]| self.hash(key);
        self.sources
            .iter()
            .find_map(|source| source.read(caller, hash))
    }

    /// The key of a request that belongs to no session, from the route's sources, else from who
    /// the caller is, else from the client's address. `scope` tells routes apart.
    pub fn of_request_alone(&self, caller: &Caller<'_>, scope: u64) -> Option<CallerKey> {
        let both = |key: &[u8]| CallerKey {
            key: self.hash(key),
            caller: xxh3_64_with_seed(key, scope),
        };
        let mut sources = self.sources.iter().chain(&OF_REQUESTS);
        sources.find_map(|source| source.read(caller, both))
    }

    /// Whether a key may come from a field of this name, in lower case.
    pub fn read_field(&self, name: &str) -> bool {
        self.sources.iter().any(|source| match source {
            KeySource::Header(read) => read.as_str() == name,
            KeySource::Cookie(_) => name == "cookie",
            KeySource::Principal => name == "authorization",
            KeySource::Claim(_) | KeySource::ClientAddress => false,
        })
    }

    /// The hash of a key that is already known, such as a session's id.
    pub fn hash(&self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.seed)
    }
}

impl KeySource {
    /// What is made of the key, if the request has one of this source.
    fn read<R>(&self, caller: &Caller<'_>, make: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let Caller {
            headers,
            client,
            owner,
            claims,
        } = caller;
        match self {
            Self::Header(name) => headers.get(name).map(|value| make(value.as_bytes())),
            Self::Cookie(name) => cookie(headers, name).map(make),
            Self::Claim(name) => {
                let claim = claims.iter().find(|(known, _)| known == name);
                claim.map(|(_, value)| make(value.as_bytes()))
            }
            Self::Principal => match owner {
                Some(owner) => Some(make(owner.as_bytes())),
                None => headers
                    .get(AUTHORIZATION)
                    .map(|value| make(value.as_bytes())),
            },
            Self::ClientAddress => Some(match client {
                IpAddr::V4(v4) => make(&v4.octets()),
                IpAddr::V6(v6) => make(&v6.octets()),
            }),
        }
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
    fn a_request_without_session_goes_by_its_own_sources_then_by_who_asks() {
        let keys = Keys::new(&[StickySpec::Header("x-user".into())], 1);
        let of = |fields: &[(&'static str, &str)], owner| {
            let headers = headers(fields);
            let caller = Caller {
                headers: &headers,
                client: CLIENT,
                owner,
                claims: &[],
            };
            keys.of_request_alone(&caller, 5).map(|key| key.key)
        };

        let all = [("x-user", "ann"), ("authorization", "Bearer t")];
        assert_eq!(of(&all, Some("me")), Some(keys.hash(b"ann")));
        assert_eq!(of(&all[1..], Some("me")), Some(keys.hash(b"me")));
        assert_eq!(of(&all[1..], None), Some(keys.hash(b"Bearer t")));
        assert_eq!(of(&[], None), Some(keys.hash(&[127, 0, 0, 1])));
    }

    #[test]
    fn a_caller_keeps_their_name_through_rollouts_and_has_another_on_each_route() {
        let fields = headers(&[]);
        let caller = Caller {
            headers: &fields,
            client: CLIENT,
            owner: Some("me"),
            claims: &[],
        };
        let of = |seed, scope| {
            let keys = Keys::new(&[], seed).of_request_alone(&caller, scope);
            keys.unwrap().caller
        };

        assert_eq!(of(1, 5), of(2, 5));
        assert_ne!(of(1, 5), of(1, 6));
    }

    #[test]
    fn cookies_are_found_in_every_field() {
        let fields = headers(&[("cookie", "a=1"), ("cookie", "sid=x=y")]);

        assert_eq!(cookie(&fields, "sid"), Some(&b"x=y"[..]));
    }
}
