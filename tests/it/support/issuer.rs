//! An issuer of tokens, with a key made for the test.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

/// Who signs, with one ES256 key.
pub struct Issuer {
    pub id: String,
    key: EncodingKey,
    public: Value,
}

impl Issuer {
    pub const NAME: &str = "https://id.example.com";
    pub const AUDIENCE: &str = "https://mcp.example.com/mcp";

    /// An issuer whose key has this id.
    pub fn new(id: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let key = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
        let public = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        let mut public = serde_json::to_value(public).unwrap();
        public["kid"] = json!(id);
        Self {
            id: id.to_owned(),
            key,
            public,
        }
    }

    /// The set of the keys of these issuers, as they publish it.
    pub fn keys(issuers: &[&Self]) -> String {
        let keys: Vec<&Value> = issuers.iter().map(|issuer| &issuer.public).collect();
        json!({ "keys": keys }).to_string()
    }

    /// A token with the usual claims and these changes; null takes a claim out.
    pub fn token(&self, changes: Value) -> String {
        let mut claims = json!({
            "iss": Self::NAME, "aud": Self::AUDIENCE, "sub": "ann",
            "exp": now() + 600, "scope": "mcp:call",
        });
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().shift_remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        self.sign(&json!({ "alg": "ES256", "kid": self.id }), &claims)
    }

    /// A token of exactly these parts.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key, Algorithm::ES256).unwrap();
        format!("{message}.{signature}")
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}
