//! What makes a token good: its form, its signature, then what it says.
//!
//! Only the signature is left to a library. What a token says is read here, since that takes a stricter
//! reading (no name twice, nothing of a wrong type) and the time as an argument.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, crypto};
use serde_json::{Map, Value};

use crate::access::spec::{AlgorithmSpec, JwtSpec};

use super::json;
use super::keys::KeySet;

/// Longest token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// Longest header of a token, in bytes as they are sent.
const MAX_HEADER_BYTES: usize = 4 * 1024;
/// Levels of JSON in a header.
const HEADER_DEPTH: u8 = 4;
/// Levels of JSON in what a token claims.
const CLAIMS_DEPTH: u8 = 16;

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token, or what it says cannot be read in one way only.
    #[error("the token is malformed")]
    Malformed,
    /// It is signed in a way that is not accepted, or not at all.
    #[error("the token's algorithm is not accepted")]
    Algorithm,
    /// No key that is known fits.
    #[error("no key fits the token")]
    UnknownKey,
    /// The signature is not that of the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// Somebody else issued it.
    #[error("the token is from another issuer")]
    Issuer,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// A claim that is asked for is missing, another, or of no use.
    #[error("a claim of the token is not accepted")]
    Claim,
    /// It does not reach as far as is asked for.
    #[error("the token's scope is not enough")]
    Scope,
}

/// What makes a token good for one route.
#[derive(Clone, Debug)]
pub struct Checker {
    spec: JwtSpec,
    /// Claims that somebody wants to know.
    wanted: Vec<Box<str>>,
}

/// A token that was believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// When it stops to be, in seconds since 1970, leeway included.
    pub until: u64,
    /// Whom it stands for: issuer and subject, or issuer and client where it names no subject.
    /// Two tokens of one caller have the same, and no two callers do.
    pub owner: Box<str>,
    /// The claims that are wanted, as text, in the order in which they were asked for; nothing
    /// for one that the token does not have.
    pub claims: Vec<Option<Box<str>>>,
}

/// What a token's header says.
struct Header<'a> {
    algorithm: AlgorithmSpec,
    key: Option<&'a str>,
}

impl Checker {
    /// The checker of a route, which also tells the claims `wanted`.
    pub fn new(spec: &JwtSpec, wanted: Vec<Box<str>>) -> Self {
        Self {
            spec: spec.clone(),
            wanted,
        }
    }

    /// Whether a token is good at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// [`TokenError`] when it is not.
    pub fn check(&self, token: &str, keys: &KeySet, now: u64) -> Result<Verified, TokenError> {
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = message.split_once('.').ok_or(TokenError::Malformed)?;
        let sizes = token.len() <= MAX_TOKEN_BYTES && header.len() <= MAX_HEADER_BYTES;
        if !sizes || claims.contains('.') || signature.is_empty() {
            return Err(TokenError::Malformed);
        }
        let header = decoded(header, HEADER_DEPTH)?;
        let header = self.header(&header)?;
        let key = keys.find(header.key, header.algorithm);
        let key = key.ok_or(TokenError::UnknownKey)?;
        // The key decides what the signature may be, the token's own word only picks among that.
        match crypto::verify(signature, message.as_bytes(), key, header.algorithm.into()) {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(TokenError::Signature),
        }
        // Nothing that a stranger wrote is read beyond here.
        let claims = decoded(claims, CLAIMS_DEPTH)?;
        self.claims(&claims, now)
    }

    fn header<'a>(&self, header: &'a Map<String, Value>) -> Result<Header<'a>, TokenError> {
        let text = |name: &str| match header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(TokenError::Malformed),
        };
        let name = text("alg")?.ok_or(TokenError::Malformed)?;
        let algorithm = AlgorithmSpec::named(name).ok_or(TokenError::Algorithm)?;
        if !self.spec.algorithms.contains(&algorithm) {
            return Err(TokenError::Algorithm);
        }
        // What must be understood (RFC 7515, 4.1.11) is not; and a token of another kind, such
        // as one that proves a key or a logout, is no access token (RFC 8725, 3.11).
        let kind = text("typ")?.unwrap_or("JWT").to_ascii_lowercase();
        let kind = kind.strip_prefix("application/").unwrap_or(&kind);
        if header.contains_key("crit") || !matches!(kind, "jwt" | "at+jwt") {
            return Err(TokenError::Malformed);
        }
        Ok(Header {
            algorithm,
            key: text("kid")?,
        })
    }

    fn claims(&self, claims: &Map<String, Value>, now: u64) -> Result<Verified, TokenError> {
        let leeway = self.spec.leeway.as_secs();
        let expires = time(claims, "exp")?.ok_or(TokenError::Malformed)?;
        let until = expires.saturating_add(leeway);
        let begins = time(claims, "nbf")?.unwrap_or(0);
        time(claims, "iat")?;
        if claims.get("iss").and_then(Value::as_str) != Some(&self.spec.issuer) {
            return Err(TokenError::Issuer);
        }
        let audiences = texts(claims, "aud").ok_or(TokenError::Audience)?;
        let ours = |audience: &&str| self.spec.audiences.iter().any(|ours| ours == audience);
        if !audiences.iter().any(ours) {
            return Err(TokenError::Audience);
        }
        if now >= until {
            return Err(TokenError::Expired);
        }
        if begins > now.saturating_add(leeway) {
            return Err(TokenError::NotYet);
        }
        self.check_claims(claims)?;
        self.check_scopes(claims)?;
        let wanted = self.wanted.iter().map(|name| match claims.get(&**name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => plain(value).map(Some).ok_or(TokenError::Claim),
        });
        Ok(Verified {
            until,
            owner: self.owner(claims)?,
            claims: wanted.collect::<Result<_, _>>()?,
        })
    }

    /// Control characters keep the parts apart: no issuer of a file has any.
    fn owner(&self, claims: &Map<String, Value>) -> Result<Box<str>, TokenError> {
        for name in ["sub", "client_id", "azp"] {
            match claims.get(name) {
                None => {}
                Some(Value::String(text)) => {
                    return Ok(format!("{}\0{name}\0{text}", self.spec.issuer).into());
                }
                Some(_) => return Err(TokenError::Malformed),
            }
        }
        Ok(self.spec.issuer.as_str().into())
    }

    fn check_claims(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let holds = |(name, accepted): (&String, &Vec<String>)| {
            let accepts = |value: &Value| match value {
                Value::String(text) => accepted.contains(text),
                Value::Number(_) | Value::Bool(_) => accepted.contains(&value.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => false,
            };
            match claims.get(name) {
                None | Some(Value::Null) => false,
                Some(_) if accepted.is_empty() => true,
                Some(Value::Array(values)) => values.iter().any(accepts),
                Some(value) => accepts(value),
            }
        };
        if self.spec.claims.iter().all(holds) {
            return Ok(());
        }
        Err(TokenError::Claim)
    }

    fn check_scopes(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        if self.spec.scopes.is_empty() {
            return Ok(());
        }
        let mut has = Vec::new();
        for name in ["scope", "scp"] {
            if claims.contains_key(name) {
                let listed = texts(claims, name).ok_or(TokenError::Malformed)?;
                has.extend(listed.into_iter().flat_map(|list| list.split(' ')));
            }
        }
        let missing = |scope: &&String| !has.contains(&scope.as_str());
        match self.spec.scopes.iter().find(missing) {
            Some(_) => Err(TokenError::Scope),
            None => Ok(()),
        }
    }
}

/// A part of a token, decoded.
fn decoded(part: &str, depth: u8) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part);
    let bytes = bytes.map_err(|_| TokenError::Malformed)?;
    json::object(&bytes, depth).ok_or(TokenError::Malformed)
}

/// A time, in whole seconds since 1970; one far away is as far as numbers go.
fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds)),
            (None, Some(seconds)) if seconds >= 0.0 => Ok(Some(seconds as u64)),
            (None, _) => Err(TokenError::Malformed),
        },
        Some(_) => Err(TokenError::Malformed),
    }
}

/// A text, or a list of nothing but texts.
fn texts<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<Vec<&'a str>> {
    match claims.get(name)? {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// A claim as the value of a header field: visible, and the same after anybody trimmed it. A
/// list is joined by commas, which its items then do not have.
fn plain(value: &Value) -> Option<Box<str>> {
    let fit = |text: &str| {
        let visible = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        !text.is_empty() && visible && text.trim_matches(' ').len() == text.len()
    };
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Array(values) => {
            let items: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
            let items = items?;
            if !items.iter().all(|item| fit(item) && !item.contains(',')) {
                return None;
            }
            items.join(",")
        }
        Value::Null | Value::Object(_) => return None,
    };
    fit(&text).then(|| text.into())
}

impl AlgorithmSpec {
    /// The algorithm of this name; `none` and those with shared secrets are no algorithms here.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::RS256,
            "RS384" => Self::RS384,
            "RS512" => Self::RS512,
            "PS256" => Self::PS256,
            "PS384" => Self::PS384,
            "PS512" => Self::PS512,
            "ES256" => Self::ES256,
            "ES384" => Self::ES384,
            "EdDSA" => Self::EdDSA,
            _ => return None,
        })
    }
}

impl From<AlgorithmSpec> for Algorithm {
    fn from(algorithm: AlgorithmSpec) -> Self {
        match algorithm {
            AlgorithmSpec::RS256 => Self::RS256,
            AlgorithmSpec::RS384 => Self::RS384,
            AlgorithmSpec::RS512 => Self::RS512,
            AlgorithmSpec::PS256 => Self::PS256,
            AlgorithmSpec::PS384 => Self::PS384,
            AlgorithmSpec::PS512 => Self::PS512,
            AlgorithmSpec::ES256 => Self::ES256,
            AlgorithmSpec::ES384 => Self::ES384,
            AlgorithmSpec::EdDSA => Self::EdDSA,
        }
    }
}
