//! Tokens that are believed, and every kind that is not.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use crate::access::spec::JwtSpec;

use super::*;

const NOW: u64 = 1_700_000_000;

/// An issuer with one key.
struct Issuer {
    key: EncodingKey,
    algorithm: Algorithm,
    public: Value,
}

impl Issuer {
    fn new(algorithm: Algorithm, id: Option<&str>) -> Self {
        let (pair, read): (_, fn(&[u8]) -> _) = match algorithm {
            Algorithm::ES256 => (
                KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
                EncodingKey::from_ec_pem,
            ),
            Algorithm::EdDSA => (
                KeyPair::generate_for(&PKCS_ED25519),
                EncodingKey::from_ed_pem,
            ),
            Algorithm::RS256 | Algorithm::PS256 => (
                KeyPair::generate_for(&PKCS_RSA_SHA256),
                EncodingKey::from_rsa_pem,
            ),
            Algorithm::HS256 | _ => panic!("no key for {algorithm:?}"),
        };
        let pair = pair.unwrap();
        let key: EncodingKey = read(pair.serialize_pem().as_bytes()).unwrap();
        let mut public = match Jwk::from_encoding_key(&key, algorithm) {
            Ok(key) => serde_json::to_value(key).unwrap(),
            // The library knows Ed25519 keys in their older form only.
            Err(_) => json!({
                "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(pair.public_key_raw()),
            }),
        };
        public.as_object_mut().unwrap().shift_remove("alg");
        if let Some(id) = id {
            public["kid"] = json!(id);
        }
        Self {
            key,
            algorithm,
            public,
        }
    }

    fn keys(&self) -> KeySet {
        set(&[&self.public])
    }

    /// A token with exactly these parts, signed.
    fn sign_text(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let signature = crypto::sign(message.as_bytes(), &self.key, self.algorithm).unwrap();
        format!("{message}.{signature}")
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }
}

fn encoded(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

fn set(keys: &[&Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn spec(more: &Value) -> JwtSpec {
    let mut whole = json!({
        "issuer": "https://id.example.com",
        "audiences": ["https://mcp.example.com/mcp", "other"],
        "jwks": { "file": "keys" },
    });
    for (key, value) in more.as_object().unwrap() {
        whole[key] = value.clone();
    }
    serde_json::from_value(whole).unwrap()
}

fn checker(more: &Value) -> Checker {
    Checker::new(&spec(more), Vec::new())
}

/// Good claims with changes; null takes one out.
fn claims(changes: &Value) -> Value {
    let mut whole = json!({
        "iss": "https://id.example.com",
        "aud": "https://mcp.example.com/mcp",
        "sub": "ann",
        "exp": NOW + 300,
        "scope": "read write",
    });
    for (key, value) in changes.as_object().unwrap() {
        if value.is_null() {
            whole.as_object_mut().unwrap().shift_remove(key);
        } else {
            whole[key] = value.clone();
        }
    }
    whole
}

fn es256() -> (Issuer, Value) {
    (
        Issuer::new(Algorithm::ES256, Some("k1")),
        json!({ "alg": "ES256", "kid": "k1" }),
    )
}

#[test]
fn a_good_token_is_believed_whatever_it_is_signed_with() {
    for algorithm in [
        Algorithm::ES256,
        Algorithm::EdDSA,
        Algorithm::RS256,
        Algorithm::PS256,
    ] {
        let issuer = Issuer::new(algorithm, Some("k1"));
        let header = json!({ "alg": algorithm, "kid": "k1", "typ": "at+jwt" });
        let token = issuer.sign(&header, &claims(&json!({})));

        let verified = checker(&json!({}))
            .check(&token, &issuer.keys(), NOW)
            .unwrap();

        assert_eq!(verified.until, NOW + 360, "{algorithm:?}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_claim_is_looked_at() {
    use TokenError as E;
    let (issuer, header) = es256();
    let wants = json!({ "scopes": ["read"], "claims": { "tenant": ["a", "7"], "sub": [] } });
    let far = 1e300;
    for (changes, expected) in [
        (json!({ "tenant": "a" }), None),
        (json!({ "tenant": 7 }), None),
        (json!({ "tenant": ["x", "a"] }), None),
        (json!({ "tenant": "a", "aud": ["x", "other"] }), None),
        (json!({ "tenant": "a", "exp": NOW - 59 }), None),
        (json!({ "tenant": "a", "exp": far }), None),
        (json!({ "tenant": "a", "exp": 1_700_000_300.5 }), None),
        (json!({ "tenant": "a", "nbf": NOW + 60 }), None),
        (
            json!({ "tenant": "a", "scope": null, "scp": ["x", "read"] }),
            None,
        ),
        (
            json!({ "tenant": "a", "scope": null, "scp": "x read" }),
            None,
        ),
        (json!({ "tenant": "a", "exp": null }), Some(E::Malformed)),
        (
            json!({ "tenant": "a", "exp": "1800000000" }),
            Some(E::Malformed),
        ),
        (json!({ "tenant": "a", "exp": -1 }), Some(E::Malformed)),
        (json!({ "tenant": "a", "exp": true }), Some(E::Malformed)),
        (json!({ "tenant": "a", "exp": NOW - 60 }), Some(E::Expired)),
        (json!({ "tenant": "a", "exp": 0 }), Some(E::Expired)),
        (json!({ "tenant": "a", "nbf": NOW + 61 }), Some(E::NotYet)),
        (json!({ "tenant": "a", "nbf": far }), Some(E::NotYet)),
        (json!({ "tenant": "a", "nbf": "0" }), Some(E::Malformed)),
        (json!({ "tenant": "a", "iat": "0" }), Some(E::Malformed)),
        (json!({ "tenant": "a", "iss": null }), Some(E::Issuer)),
        (
            json!({ "tenant": "a", "iss": "https://id.example.com/" }),
            Some(E::Issuer),
        ),
        (
            json!({ "tenant": "a", "iss": ["https://id.example.com"] }),
            Some(E::Issuer),
        ),
        (json!({ "tenant": "a", "aud": null }), Some(E::Audience)),
        (json!({ "tenant": "a", "aud": [] }), Some(E::Audience)),
        (
            json!({ "tenant": "a", "aud": "https://mcp.example.com/" }),
            Some(E::Audience),
        ),
        (
            json!({ "tenant": "a", "aud": ["other", 1] }),
            Some(E::Audience),
        ),
        (
            json!({ "tenant": "a", "aud": { "other": 1 } }),
            Some(E::Audience),
        ),
        (json!({}), Some(E::Claim)),
        (json!({ "tenant": "b" }), Some(E::Claim)),
        (json!({ "tenant": { "a": "a" } }), Some(E::Claim)),
        (json!({ "tenant": "a", "sub": null }), Some(E::Claim)),
        (json!({ "tenant": "a", "scope": "reader" }), Some(E::Scope)),
        (json!({ "tenant": "a", "scope": "READ" }), Some(E::Scope)),
        (json!({ "tenant": "a", "scope": null }), Some(E::Scope)),
        (json!({ "tenant": "a", "scope": 7 }), Some(E::Malformed)),
        (
            json!({ "tenant": "a", "scp": ["read", 7] }),
            Some(E::Malformed),
        ),
        (
            json!({ "tenant": "a", "scp": { "read": true } }),
            Some(E::Malformed),
        ),
    ] {
        let token = issuer.sign(&header, &claims(&changes));

        let checked = checker(&wants).check(&token, &issuer.keys(), NOW);

        assert_eq!(checked.err(), expected, "{changes}");
    }
}

#[test]
fn nothing_but_the_issuers_own_key_makes_a_signature() {
    let (issuer, header) = es256();
    let other = Issuer::new(Algorithm::ES256, Some("k1"));
    let good = issuer.sign(&header, &claims(&json!({})));
    let parts: Vec<&str> = good.split('.').collect();
    let forged = encoded(&claims(&json!({ "sub": "eve" })).to_string());
    let check = |token: &str| checker(&json!({})).check(token, &issuer.keys(), NOW).err();

    let signature = Some(TokenError::Signature);
    assert_eq!(check(&other.sign(&header, &claims(&json!({})))), signature);
    assert_eq!(
        check(&format!("{}.{forged}.{}", parts[0], parts[2])),
        signature
    );
    assert_eq!(
        check(&format!("{}.{}.{}A", parts[0], parts[1], parts[2])),
        signature
    );
    assert_eq!(check(&format!("{}.{}.AAAA", parts[0], parts[1])), signature);
    assert_eq!(check(&format!("{}.{}.!!!!", parts[0], parts[1])), signature);
}

#[test]
fn the_token_does_not_choose_how_it_is_checked() {
    let (issuer, _) = es256();
    let rsa = Issuer::new(Algorithm::RS256, Some("k1"));
    let claims = claims(&json!({}));
    let with = |alg: &str| {
        format!(
            "{}.{}.",
            encoded(&json!({ "alg": alg, "kid": "k1" }).to_string()),
            encoded(&claims.to_string())
        )
    };
    let check = |token: &str, keys: &KeySet| checker(&json!({})).check(token, keys, NOW).err();
    for alg in [
        "none", "None", "HS256", "HS384", "HS512", "RS512", "es256", "",
    ] {
        let token = with(alg) + "AAAA";
        assert_eq!(
            check(&token, &issuer.keys()),
            Some(TokenError::Algorithm),
            "{alg}"
        );
    }
    // A public key is no secret: signing with it must not work, whatever form it has.
    for secret in [rsa.public["n"].to_string(), rsa.public.to_string()] {
        let message = with("HS256");
        let message = message.trim_end_matches('.');
        let key = EncodingKey::from_secret(secret.as_bytes());
        let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        let token = format!("{message}.{signature}");
        assert_eq!(check(&token, &rsa.keys()), Some(TokenError::Algorithm));
    }
    // An algorithm of another family finds no key, even with the right id.
    assert_eq!(
        check(&(with("RS256") + "AAAA"), &issuer.keys()),
        Some(TokenError::UnknownKey)
    );
    // Unsigned is malformed before anything else.
    assert_eq!(
        check(&with("ES256"), &issuer.keys()),
        Some(TokenError::Malformed)
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_is_no_token_is_malformed() {
    let (issuer, header) = es256();
    let text = claims(&json!({})).to_string();
    let long = json!({ "alg": "ES256", "kid": "x".repeat(5000) });
    let mut bad = vec![
        String::new(),
        ".".into(),
        "..".into(),
        "a.b".into(),
        "a.b.c".into(),
        "a.b.c.d".into(),
        "a.b.c.d.e".into(),
        "é.é.é".into(),
        issuer.sign(&long, &claims(&json!({}))),
        issuer.sign(
            &header,
            &claims(&json!({ "x": "y".repeat(MAX_TOKEN_BYTES) })),
        ),
        issuer.sign_text(&header.to_string(), "[]"),
        issuer.sign_text(&header.to_string(), "not json"),
        issuer.sign_text(
            &header.to_string(),
            &text.replacen('{', r#"{"sub":"eve","#, 1),
        ),
        issuer.sign_text(&header.to_string(), &format!("{text} x")),
        issuer.sign_text(
            &header.to_string(),
            &format!(r#"{{"a":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000)),
        ),
        issuer.sign_text(r#"{"alg":"ES256","alg":"ES256","kid":"k1"}"#, &text),
        issuer.sign_text(
            &format!(
                r#"{{"alg":"ES256","a":{}{}}}"#,
                "[".repeat(900),
                "]".repeat(900)
            ),
            &text,
        ),
        issuer.sign(&json!({ "kid": "k1" }), &claims(&json!({}))),
        issuer.sign(&json!({ "alg": 7, "kid": "k1" }), &claims(&json!({}))),
        issuer.sign(&json!({ "alg": "ES256", "kid": 7 }), &claims(&json!({}))),
        issuer.sign(
            &json!({ "alg": "ES256", "kid": "k1", "crit": ["exp"] }),
            &claims(&json!({})),
        ),
        issuer.sign(
            &json!({ "alg": "ES256", "kid": "k1", "typ": "dpop+jwt" }),
            &claims(&json!({})),
        ),
        issuer.sign(
            &json!({ "alg": "ES256", "kid": "k1", "typ": ["JWT"] }),
            &claims(&json!({})),
        ),
    ];
    let good = issuer.sign(&header, &claims(&json!({})));
    bad.push(good.replacen('.', "=.", 1));
    bad.push(format!(" {good}"));
    bad.push(good.replacen('.', ".\n", 1));
    for token in bad {
        let checked = checker(&json!({})).check(&token, &issuer.keys(), NOW);

        let refused = matches!(checked, Err(TokenError::Malformed | TokenError::Signature));
        assert!(refused, "{token:.200} {checked:?}");
    }
}

#[test]
fn a_key_is_found_by_its_id_or_by_being_the_only_one() {
    let (first, header) = es256();
    let second = Issuer::new(Algorithm::ES256, Some("k2"));
    let rsa = Issuer::new(Algorithm::RS256, Some("k3"));
    let bare = json!({ "alg": "ES256" });
    let check =
        |token: &str, keys: &[&Value]| checker(&json!({})).check(token, &set(keys), NOW).err();
    let token = first.sign(&header, &claims(&json!({})));
    let unnamed = first.sign(&bare, &claims(&json!({})));
    let stranger = first.sign(&json!({ "alg": "ES256", "kid": "k9" }), &claims(&json!({})));

    let unknown = Some(TokenError::UnknownKey);
    assert_eq!(
        check(&token, &[&second.public, &rsa.public, &first.public]),
        None
    );
    assert_eq!(check(&unnamed, &[&rsa.public, &first.public]), None);
    assert_eq!(check(&unnamed, &[&second.public, &first.public]), unknown);
    assert_eq!(check(&stranger, &[&first.public]), unknown);
    assert_eq!(check(&token, &[&second.public]), unknown);
    assert_eq!(check(&token, &[]), unknown);
}

#[test]
fn keys_that_cannot_be_used_are_left_out() {
    let (issuer, _) = es256();
    let rsa = Issuer::new(Algorithm::RS256, None).public;
    let with = |base: &Value, key: &str, value: Value| {
        let mut changed = base.clone();
        changed[key] = value;
        changed
    };
    let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
    let unusable = [
        json!(7),
        json!({}),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!({ "kty": "EC", "crv": "P-521", "x": "AA", "y": "AA" }),
        with(&issuer.public, "use", json!("enc")),
        with(&issuer.public, "key_ops", json!(["sign"])),
        with(&issuer.public, "d", json!("AAAA")),
        with(&issuer.public, "alg", json!("HS256")),
        with(&issuer.public, "alg", json!("none")),
        with(&issuer.public, "kid", json!(7)),
        with(&issuer.public, "x", json!("AAAA")),
        with(&issuer.public, "crv", json!("P-384")),
        with(&rsa, "n", json!(short)),
        with(&rsa, "e", json!("")),
    ];
    let usable = with(&issuer.public, "use", json!("sig"));
    let all: Vec<&Value> = unusable.iter().chain([&usable]).collect();

    let keys = set(&all);

    assert_eq!((keys.len(), keys.unusable()), (1, unusable.len()));
}

#[test]
fn what_is_no_set_of_keys_is_refused() {
    for text in [
        "",
        "[]",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[],"keys":[]}"#,
        "<html>",
        r#"{"keys":[[[[[[[[]]]]]]]]}"#,
    ] {
        assert_eq!(
            KeySet::parse(text.as_bytes()).unwrap_err(),
            KeySetError::Form,
            "{text}"
        );
    }
    let many = json!({ "keys": vec![json!({}); 257] }).to_string();
    assert_eq!(
        KeySet::parse(many.as_bytes()).unwrap_err(),
        KeySetError::TooMany
    );
    let long = vec![b' '; MAX_KEYS_BYTES + 1];
    assert_eq!(KeySet::parse(&long).unwrap_err(), KeySetError::TooLong);
    assert!(KeySet::parse(br#"{"keys":[]}"#).unwrap().is_empty());
}

#[test]
fn the_same_keys_stay_the_same_in_memory() {
    let (issuer, _) = es256();
    let cell = KeyCell::default();
    assert!(cell.get().is_none());

    assert!(cell.put(issuer.keys()));
    let first = cell.get().unwrap();
    assert!(!cell.put(issuer.keys()));
    assert!(std::sync::Arc::ptr_eq(&first, &cell.get().unwrap()));
    assert!(cell.put(set(&[])));
}

#[test]
fn claims_are_told_only_as_text_that_a_field_can_carry() {
    let (issuer, header) = es256();
    let told = |value: Value| {
        let checker = Checker::new(&spec(&json!({})), vec!["x".into()]);
        let token = issuer.sign(&header, &claims(&json!({ "x": value })));
        checker
            .check(&token, &issuer.keys(), NOW)
            .map(|v| v.claims[0].clone())
    };
    for (value, text) in [
        (json!("ann"), Some("ann")),
        (json!("a b,c"), Some("a b,c")),
        (json!(7), Some("7")),
        (json!(true), Some("true")),
        (json!(["a", "b c"]), Some("a,b c")),
        (Value::Null, None),
    ] {
        assert_eq!(told(value.clone()).unwrap().as_deref(), text, "{value}");
    }
    for value in [
        json!(""),
        json!(" a"),
        json!("a "),
        json!("a\r\nx: y"),
        json!("é"),
        json!("\u{202e}"),
        json!({ "a": 1 }),
        json!([1]),
        json!(["a,b"]),
        json!([""]),
        json!([]),
    ] {
        assert_eq!(told(value.clone()), Err(TokenError::Claim), "{value}");
    }
}
