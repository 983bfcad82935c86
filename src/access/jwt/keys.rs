//! An issuer's keys: which can be used, and where the latest ones are found.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use crate::access::spec::AlgorithmSpec;

use super::json;

/// Longest set of keys that is read, in bytes.
pub const MAX_KEYS_BYTES: usize = 1024 * 1024;
/// Most keys of a set.
const MAX_KEYS: usize = 256;
/// Levels of JSON that a set of keys may have.
const DEPTH: u8 = 6;

/// Why a set of keys is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is longer than [`MAX_KEYS_BYTES`].
    #[error("the set of keys is longer than 1 MiB")]
    TooLong,
    /// It is not what RFC 7517 has: an object with a list of keys.
    #[error("this is not a set of keys: an object with a list `keys`")]
    Form,
    /// It has more keys than any issuer needs.
    #[error("the set has more than 256 keys")]
    TooMany,
}

/// The keys of an issuer that tokens can be checked with.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    /// Keys of the set that cannot be used: of another kind, too short, for something else.
    unusable: usize,
    digest: [u8; 32],
}

#[derive(Debug)]
struct Key {
    id: Option<Box<str>>,
    kind: Kind,
    algorithm: Option<AlgorithmSpec>,
    material: DecodingKey,
}

/// What a key can sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeySet {
    /// Reads a set of keys (RFC 7517). Keys that cannot be used are left out: symmetric and private
    /// ones, those for encryption, RSA below 2,048 bits.
    ///
    /// # Errors
    /// [`KeySetError`] when it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() > MAX_KEYS_BYTES {
            return Err(KeySetError::TooLong);
        }
        let document = json::object(bytes, DEPTH).ok_or(KeySetError::Form)?;
        let Some(Value::Array(listed)) = document.get("keys") else {
            return Err(KeySetError::Form);
        };
        if listed.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let keys: Vec<Key> = listed.iter().filter_map(Key::read).collect();
        Ok(Self {
            unusable: listed.len() - keys.len(),
            keys,
            digest: Sha256::digest(bytes).into(),
        })
    }

    /// How many keys can be used.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key can be used.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys of the set cannot be used.
    pub fn unusable(&self) -> usize {
        self.unusable
    }

    /// The key for a token: the one that it names, of the kind that its algorithm needs. A
    /// token that names none has a key only if no other fits as well, so that nobody makes
    /// us try them all.
    pub(super) fn find(&self, id: Option<&str>, algorithm: AlgorithmSpec) -> Option<&DecodingKey> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| key.fits(algorithm) && (id.is_none() || key.id.as_deref() == id));
        let found = fitting.next()?;
        fitting.next().is_none().then_some(&found.material)
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let Value::Object(members) = value else {
            return None;
        };
        let signs = match members.get("use") {
            None => true,
            Some(purpose) => purpose == "sig",
        };
        let verifies = match members.get("key_ops") {
            None => true,
            Some(Value::Array(operations)) => operations.iter().any(|o| o == "verify"),
            Some(_) => false,
        };
        if !signs || !verifies || members.contains_key("d") || members.contains_key("k") {
            return None;
        }
        let algorithm = match members.get("alg") {
            None => None,
            Some(name) => Some(AlgorithmSpec::named(name.as_str()?)?),
        };
        let id = match members.get("kid") {
            None => None,
            Some(id) => Some(id.as_str()?.into()),
        };
        let (kind, material) = material(members)?;
        Some(Self {
            id,
            kind,
            algorithm,
            material,
        })
    }

    fn fits(&self, algorithm: AlgorithmSpec) -> bool {
        self.kind == kind_for(algorithm)
            && self.algorithm.is_none_or(|only_for| only_for == algorithm)
    }
}

fn material(members: &Map<String, Value>) -> Option<(Kind, DecodingKey)> {
    let text = |name: &str| members.get(name)?.as_str();
    let part = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let curve = || text("crv");
    match text("kty")? {
        "RSA" => {
            let (n, e) = (part("n")?, part("e")?);
            let leading = n.iter().position(|byte| *byte != 0)?;
            let n = n.get(leading..)?;
            let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
            let sound = (2048..=8192).contains(&bits) && (1..=8).contains(&e.len());
            sound.then(|| (Kind::Rsa, DecodingKey::from_rsa_raw_components(n, &e)))
        }
        "EC" => {
            let (kind, length) = match curve()? {
                "P-256" => (Kind::P256, 32),
                "P-384" => (Kind::P384, 48),
                _ => return None,
            };
            let (x, y) = (part("x")?, part("y")?);
            if x.len() != length || y.len() != length {
                return None;
            }
            let key = DecodingKey::from_ec_der(&[&[4], &x[..], &y[..]].concat());
            Some((kind, key))
        }
        "OKP" if curve()? == "Ed25519" => {
            let x = part("x")?;
            (x.len() == 32).then(|| (Kind::Ed25519, DecodingKey::from_ed_der(&x)))
        }
        _ => None,
    }
}

fn kind_for(algorithm: AlgorithmSpec) -> Kind {
    use AlgorithmSpec as A;
    match algorithm {
        A::RS256 | A::RS384 | A::RS512 | A::PS256 | A::PS384 | A::PS512 => Kind::Rsa,
        A::ES256 => Kind::P256,
        A::ES384 => Kind::P384,
        A::EdDSA => Kind::Ed25519,
    }
}

/// Where the latest keys of an issuer are. Control writes, workers read without a lock.
#[derive(Debug, Default)]
pub struct KeyCell {
    keys: ArcSwapOption<KeySet>,
    wanted: Notify,
}

impl KeyCell {
    /// Puts keys in force; says whether they are others than before. The same ones stay the same
    /// in memory, so that what was checked with them stays checked.
    pub fn put(&self, keys: KeySet) -> bool {
        let same = |now: &Arc<KeySet>| now.digest == keys.digest;
        if self.keys.load().as_ref().is_some_and(same) {
            return false;
        }
        self.keys.store(Some(Arc::new(keys)));
        true
    }

    /// The keys in force; nothing before the first were read.
    pub fn get(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full()
    }

    /// A token names a key that is not known: the keys should be read again. Costs nothing when
    /// it is said often.
    pub fn want(&self) {
        self.wanted.notify_one();
    }

    /// Waits until somebody wants the keys to be read again.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }
}
