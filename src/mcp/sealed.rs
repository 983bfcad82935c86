//! Session ids as clients see them: the backend's own id behind a seal.
//!
//! `sb1.<seal>.<id>`: the seal is base64url of backend tag, endpoint tag and a message
//! authentication code over version, route, tags and id, and over whoever opened the session where
//! the route knows its callers. Whoever has the key can tell from an id alone which endpoint its
//! session lives on; a client can neither make nor change one, nor use one that it found.
//! The id itself is not hidden, and neither name nor address can be read from the tags.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::model::{BackendName, RouteName};

mod target;

pub use target::{MAX_TARGET_BYTES, OpenedTarget, may_be_sealed_target, open_target, seal_target};

const PREFIX: &str = "sb1.";
const TAG_BYTES: usize = 8;
const CODE_BYTES: usize = 16;
const SEAL_BYTES: usize = 2 * TAG_BYTES + CODE_BYTES;
/// `SEAL_BYTES` in base64 without padding.
const SEAL_CHARS: usize = SEAL_BYTES.div_ceil(3) * 4 - 1;

/// Longest session id of a backend that can be sealed, in bytes.
pub const MAX_ID_BYTES: usize = 1024;
/// Longest sealed id, in bytes.
pub const MAX_SEALED_BYTES: usize = PREFIX.len() + SEAL_CHARS + 1 + MAX_ID_BYTES;

/// What session ids are sealed with: 32 secret bytes. Its `Debug` shows none of them.
#[derive(Clone)]
pub struct SealKey {
    keyed: Hmac<Sha256>,
}

/// A backend as sealed ids name it: a keyed digest of its name.
///
/// The default names no backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BackendTag([u8; TAG_BYTES]);

/// An endpoint as sealed ids name it: a keyed digest of its address.
///
/// The default names no endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EndpointTag([u8; TAG_BYTES]);

/// Why a session id is not sealed, or not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The backend's id is empty or longer than [`MAX_ID_BYTES`].
    #[error("the backend's session id has {length} bytes, not 1 to {MAX_ID_BYTES}")]
    Length {
        /// Its length in bytes.
        length: usize,
    },
    /// The backend's id has a character that is not visible ASCII.
    #[error("the backend's session id has a character that is not visible ASCII")]
    Character,
    /// Not an id that was sealed here: another version, key, route, owner, or no seal at all.
    #[error("the session id bears no seal of ours")]
    Foreign,
}

/// What a session belongs to: its id is good for nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Belongs<'a> {
    /// The route that it was opened on.
    pub route: &'a RouteName,
    /// Who opened it, where the route knows its callers; else it is whoever's who has the id.
    pub owner: Option<&'a str>,
}

/// What a sealed id says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened<'a> {
    /// The backend that opened the session.
    pub backend: BackendTag,
    /// The endpoint that opened it.
    pub endpoint: EndpointTag,
    /// The backend's own id.
    pub id: &'a str,
    /// Which of the keys sealed it: tags made with another key do not compare equal.
    pub key: usize,
}

impl SealKey {
    /// A key of these secret bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        // Keys of any length are accepted by the algorithm; the fixed length here is ours.
        let mut block = [0; 64];
        for (slot, byte) in block.iter_mut().zip(secret) {
            *slot = *byte;
        }
        Self {
            keyed: Hmac::new(&block.into()),
        }
    }

    /// How ids sealed with this key name a backend.
    pub fn backend_tag(&self, backend: &BackendName) -> BackendTag {
        BackendTag(self.digest(b"backend\0", backend.as_str().as_bytes()))
    }

    /// How ids sealed with this key name an endpoint, by its address as text.
    pub fn endpoint_tag(&self, address: &str) -> EndpointTag {
        EndpointTag(self.digest(b"endpoint\0", address.as_bytes()))
    }

    /// A secret number for a route: what keeps hashes of what its callers brought from being told by
    /// whoever finds them written down.
    pub fn scope(&self, route: &RouteName) -> u64 {
        u64::from_le_bytes(self.digest(b"scope\0", route.as_str().as_bytes()))
    }

    fn digest<const N: usize>(&self, subject: &[u8], text: &[u8]) -> [u8; N] {
        let mut mac = self.keyed.clone();
        mac.update(subject);
        mac.update(text);
        first(&mac.finalize().into_bytes())
    }

    fn code(&self, belongs: Belongs<'_>, tags: &[u8], id: &str) -> [u8; CODE_BYTES] {
        let Belongs { route, owner } = belongs;
        let mut mac = self.keyed.clone();
        // Lengths first, so that no two different inputs are the same bytes.
        if let Some(owner) = owner {
            mac.update(b"owner\0");
            mac.update(&(owner.len() as u64).to_be_bytes());
            mac.update(owner.as_bytes());
        }
        mac.update(PREFIX.as_bytes());
        mac.update(&(route.as_str().len() as u64).to_be_bytes());
        mac.update(route.as_str().as_bytes());
        mac.update(tags);
        mac.update(id.as_bytes());
        first(&mac.finalize().into_bytes())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(secret)")
    }
}

fn first<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut start = [0; N];
    for (slot, byte) in start.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    start
}

/// Seals the id of a session that an endpoint of a backend opened. The text is visible ASCII of
/// at most [`MAX_SEALED_BYTES`], fit for a header.
///
/// # Errors
/// [`SealError::Length`] and [`SealError::Character`] for an id that no header should carry.
pub fn seal(
    key: &SealKey,
    belongs: Belongs<'_>,
    home: (BackendTag, EndpointTag),
    id: &str,
) -> Result<String, SealError> {
    if id.is_empty() || id.len() > MAX_ID_BYTES {
        return Err(SealError::Length { length: id.len() });
    }
    if !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SealError::Character);
    }
    let mut bytes = [home.0.0, home.1.0].concat();
    let code = key.code(belongs, &bytes, id);
    bytes.extend_from_slice(&code);
    let mut sealed = String::with_capacity(PREFIX.len() + SEAL_CHARS + 1 + id.len());
    sealed.push_str(PREFIX);
    URL_SAFE_NO_PAD.encode_string(&bytes, &mut sealed);
    sealed.push('.');
    sealed.push_str(id);
    Ok(sealed)
}

/// Opens an id that was sealed for this route and owner with one of `keys`, the current one first.
///
/// # Errors
/// [`SealError::Foreign`] for everything that was not.
pub fn open<'a>(
    keys: &[SealKey],
    belongs: Belongs<'_>,
    sealed: &'a str,
) -> Result<Opened<'a>, SealError> {
    let (seal, id) = split(sealed).ok_or(SealError::Foreign)?;
    let (tags, code) = seal.split_at(2 * TAG_BYTES);
    let (backend, endpoint) = tags.split_at(TAG_BYTES);
    let key = keys
        .iter()
        .position(|key| bool::from(key.code(belongs, tags, id).ct_eq(code)))
        .ok_or(SealError::Foreign)?;
    Ok(Opened {
        backend: BackendTag(first(backend)),
        endpoint: EndpointTag(first(endpoint)),
        id,
        key,
    })
}

fn split(sealed: &str) -> Option<([u8; SEAL_BYTES], &str)> {
    if sealed.len() > MAX_SEALED_BYTES {
        return None;
    }
    let (seal, id) = sealed.strip_prefix(PREFIX)?.split_at_checked(SEAL_CHARS)?;
    // Room for the decoder's own estimate of the length, which rounds up.
    let mut bytes = [0; SEAL_BYTES.next_multiple_of(3)];
    // The decoder refuses stray bits in the last character, so a seal has one spelling.
    let length = URL_SAFE_NO_PAD.decode_slice(seal, &mut bytes).ok()?;
    let id = id.strip_prefix('.')?;
    (length == SEAL_BYTES && !id.is_empty()).then_some((first(&bytes), id))
}

#[cfg(test)]
mod tests;
