//! Message URLs of HTTP+SSE sessions (2024-11-05) as clients see them: where the server wants its
//! messages, hidden behind a seal.
//!
//! `sb1.<text>`: the text is base64url of backend tag, endpoint tag, a message authentication code
//! and the target, enciphered. The code is over all that the code of a session id is over, under a
//! name of its own, so that neither passes for the other. It is also what the cipher begins with
//! (a synthetic initialization vector, as in RFC 5297): without the key the target cannot be read, so
//! nobody can send to it around the seal, and two targets are never enciphered alike.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::Mac as _;
use subtle::ConstantTimeEq as _;

use super::{
    BackendTag, Belongs, CODE_BYTES, EndpointTag, PREFIX, SEAL_BYTES, SealError, SealKey,
    TAG_BYTES, first,
};

/// Longest target that can be sealed, in bytes.
pub const MAX_TARGET_BYTES: usize = 4096;
/// Longest sealed target, in bytes.
const MAX_SEALED_BYTES: usize = PREFIX.len() + (SEAL_BYTES + MAX_TARGET_BYTES).div_ceil(3) * 4;

/// What a sealed message URL says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenedTarget {
    /// The backend that gave it.
    pub backend: BackendTag,
    /// The endpoint that gave it.
    pub endpoint: EndpointTag,
    /// The path and query that the backend takes the session's messages at.
    pub target: String,
    /// Which of the keys sealed it: tags made with another key do not compare equal.
    pub key: usize,
}

/// Whether a text looks like a sealed target, of whoever's seal.
pub fn may_be_sealed_target(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Seals the path and query at which an endpoint of a backend takes the messages of a session. The
/// text is made of letters, digits, `-`, `_` and `.`, fit for a query.
///
/// # Errors
/// [`SealError::Length`] for an empty target, and for one that is too long.
pub fn seal_target(
    key: &SealKey,
    belongs: Belongs<'_>,
    (backend, endpoint): (BackendTag, EndpointTag),
    target: &str,
) -> Result<String, SealError> {
    if target.is_empty() || target.len() > MAX_TARGET_BYTES {
        return Err(SealError::Length {
            length: target.len(),
        });
    }
    let mut bytes = [backend.0, endpoint.0].concat();
    let code = key.target_code(belongs, &bytes, target.as_bytes());
    bytes.extend_from_slice(&code);
    bytes.extend(key.ciphered(&code, target.as_bytes()));
    let mut sealed = PREFIX.to_owned();
    URL_SAFE_NO_PAD.encode_string(&bytes, &mut sealed);
    Ok(sealed)
}

/// Opens what was sealed for this route and owner with one of `keys`, the current one first.
///
/// # Errors
/// [`SealError::Foreign`] for everything that was not.
pub fn open_target(
    keys: &[SealKey],
    belongs: Belongs<'_>,
    sealed: &str,
) -> Result<OpenedTarget, SealError> {
    if sealed.len() > MAX_SEALED_BYTES {
        return Err(SealError::Foreign);
    }
    let text = sealed.strip_prefix(PREFIX).ok_or(SealError::Foreign)?;
    // The decoder refuses stray bits in the last character, so a target has one spelling.
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let bytes = bytes.ok_or(SealError::Foreign)?;
    let parts = bytes
        .split_at_checked(2 * TAG_BYTES)
        .and_then(|(tags, rest)| {
            let (code, hidden) = rest.split_at_checked(CODE_BYTES)?;
            Some((tags, code, hidden))
        });
    let (tags, code, hidden) = parts.ok_or(SealError::Foreign)?;
    let opened = keys.iter().enumerate().find_map(|(place, key)| {
        let target = key.ciphered(code, hidden);
        let ours = key.target_code(belongs, tags, &target);
        bool::from(ours.ct_eq(code)).then_some((place, target))
    });
    let (key, target) = opened.ok_or(SealError::Foreign)?;
    let (backend, endpoint) = tags.split_at(TAG_BYTES);
    Ok(OpenedTarget {
        backend: BackendTag(first(backend)),
        endpoint: EndpointTag(first(endpoint)),
        target: String::from_utf8(target).map_err(|_| SealError::Foreign)?,
        key,
    })
}

impl SealKey {
    fn target_code(&self, belongs: Belongs<'_>, tags: &[u8], target: &[u8]) -> [u8; CODE_BYTES] {
        let Belongs { route, owner } = belongs;
        let mut mac = self.keyed.clone();
        mac.update(b"message url\0");
        // Lengths first, so that no two different inputs are the same bytes.
        mac.update(&[u8::from(owner.is_some())]);
        for part in [owner.unwrap_or_default(), route.as_str()] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.update(tags);
        mac.update(target);
        first(&mac.finalize().into_bytes())
    }

    /// A text under the key stream that this code begins; done twice it is the text again.
    fn ciphered(&self, code: &[u8], text: &[u8]) -> Vec<u8> {
        let mut ciphered = Vec::with_capacity(text.len());
        for (number, block) in (0_u64..).zip(text.chunks(32)) {
            let mut mac = self.keyed.clone();
            mac.update(b"key stream\0");
            mac.update(&number.to_be_bytes());
            mac.update(code);
            let stream = mac.finalize().into_bytes();
            ciphered.extend(block.iter().zip(stream).map(|(byte, mask)| byte ^ mask));
        }
        ciphered
    }
}

#[cfg(test)]
mod tests {
    use crate::model::RouteName;

    use super::*;

    const TARGET: &str = "/prefix/messages/?session_id=0123456789abcdef0123456789abcdef&more=1";

    fn route(name: &str) -> RouteName {
        name.parse().unwrap()
    }

    fn home(key: &SealKey) -> (BackendTag, EndpointTag) {
        let backend = key.backend_tag(&"v2".parse().unwrap());
        (backend, key.endpoint_tag("http://127.0.0.1:1"))
    }

    fn belongs<'a>(route: &'a RouteName, owner: Option<&'a str>) -> Belongs<'a> {
        Belongs { route, owner }
    }

    #[test]
    fn what_was_sealed_opens_with_its_key_among_others_and_cannot_be_read_without() {
        let (old, new) = (SealKey::new(&[1; 32]), SealKey::new(&[2; 32]));
        let route = route("r");

        let sealed = seal_target(&old, belongs(&route, None), home(&old), TARGET).unwrap();
        let opened = open_target(&[new.clone(), old.clone()], belongs(&route, None), &sealed);

        let opened = opened.unwrap();
        assert_eq!((opened.target.as_str(), opened.key), (TARGET, 1));
        assert_eq!((opened.backend, opened.endpoint), home(&old));
        assert!(may_be_sealed_target(&sealed));
        let bytes = URL_SAFE_NO_PAD.decode(&sealed[PREFIX.len()..]).unwrap();
        assert!(!bytes.windows(8).any(|part| part == b"messages"));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        assert!(sealed.bytes().all(plain), "{sealed}");
        assert!(open_target(&[new], belongs(&route, None), &sealed).is_err());
    }

    #[test]
    fn for_another_route_or_owner_it_is_foreign() {
        let key = SealKey::new(&[7; 32]);
        let (here, there) = (route("r"), route("s"));
        let sealed = seal_target(&key, belongs(&here, Some("ann")), home(&key), TARGET).unwrap();
        let keys = [key];

        for (route, owner) in [
            (&there, Some("ann")),
            (&here, Some("bob")),
            (&here, None),
            (&here, Some("")),
        ] {
            let opened = open_target(&keys, belongs(route, owner), &sealed);
            assert_eq!(opened, Err(SealError::Foreign), "{route} {owner:?}");
        }
        assert!(open_target(&keys, belongs(&here, Some("ann")), &sealed).is_ok());
    }

    #[test]
    fn what_was_changed_cut_or_lengthened_anywhere_is_foreign() {
        let key = SealKey::new(&[7; 32]);
        let route = route("r");
        let sealed = seal_target(&key, belongs(&route, None), home(&key), TARGET).unwrap();
        let keys = [key];
        let opens = |text: &str| open_target(&keys, belongs(&route, None), text).is_ok();
        assert!(opens(&sealed));

        for at in 0..sealed.len() {
            assert!(!opens(&sealed[..at]), "cut at {at}");
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(!opens(&String::from_utf8(changed).unwrap()), "at {at}");
        }
        for longer in [
            format!("{sealed}A"),
            format!("{sealed}="),
            format!("A{sealed}"),
        ] {
            assert!(!opens(&longer), "{longer}");
        }
    }

    #[test]
    fn a_session_id_is_no_message_url_nor_the_other_way_round() {
        let key = SealKey::new(&[7; 32]);
        let route = route("r");
        let id = crate::mcp::sealed::seal(&key, belongs(&route, None), home(&key), "abc").unwrap();
        let url = seal_target(&key, belongs(&route, None), home(&key), TARGET).unwrap();
        let keys = [key];

        assert!(open_target(&keys, belongs(&route, None), &id).is_err());
        assert!(crate::mcp::sealed::open(&keys, belongs(&route, None), &url).is_err());
    }

    #[test]
    fn targets_are_bounded() {
        let key = SealKey::new(&[7; 32]);
        let route = route("r");
        let long = "/".repeat(MAX_TARGET_BYTES);

        let sealed = seal_target(&key, belongs(&route, None), home(&key), &long).unwrap();
        let longer = seal_target(
            &key,
            belongs(&route, None),
            home(&key),
            &(long.clone() + "/"),
        );

        let opened = open_target(std::slice::from_ref(&key), belongs(&route, None), &sealed);
        assert_eq!(opened.unwrap().target, long);
        assert!(matches!(longer, Err(SealError::Length { .. })));
        let longer = format!("{sealed}{}", "A".repeat(8));
        assert!(open_target(&[key], belongs(&route, None), &longer).is_err());
    }
}
