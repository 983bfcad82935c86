//! Callers' tokens on the request path: found, checked, remembered, and told to the backend.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};

use crate::access::jwt::{Checker, KeyCell, MAX_TOKEN_BYTES, TokenError, Verified};
use crate::access::spec::{AuthSpec, JwtSpec};
use crate::split::spec::StickySpec;
use crate::stats::AuthResult;

use super::error::ProxyError;
use super::fields::{Several, only};
use super::tokens::TokenCache;

/// What a route asks of its callers' tokens, ready to be used.
#[derive(Debug)]
pub(super) struct Auth {
    checker: Checker,
    keys: Arc<KeyCell>,
    /// Tells this section of the file from any other: a token is remembered with it.
    fingerprint: [u8; 32],
    forward: bool,
    /// Where claims go, by their place among those that are wanted.
    told: Vec<(HeaderName, usize)>,
    /// The names of the wanted claims.
    wanted: Vec<Box<str>>,
    challenges: Challenges,
}

/// A caller who was let in by a token.
#[derive(Debug)]
pub(super) struct Principal {
    /// Tells them from everybody else.
    pub(super) owner: Rc<str>,
    /// The names of the claims that somebody wants to know, and their values.
    pub(super) claims: Vec<(Box<str>, HeaderValue)>,
}

impl Auth {
    pub(super) fn new(spec: &AuthSpec, sticky: &[StickySpec], keys: Arc<KeyCell>) -> Self {
        let spec = &spec.jwt;
        let mut wanted: Vec<Box<str>> = Vec::new();
        let told = spec.claims_to_headers.iter().filter_map(|(claim, field)| {
            let field: HeaderName = field.parse().ok()?;
            wanted.push(claim.as_str().into());
            Some((field, wanted.len() - 1))
        });
        let told = told.collect();
        for source in sticky {
            if let StickySpec::Claim(claim) = source {
                wanted.push(claim.as_str().into());
            }
        }
        let text = serde_json::to_vec(&(spec, &wanted)).unwrap_or_default();
        Self {
            checker: Checker::new(spec, wanted.clone()),
            keys,
            fingerprint: Sha256::digest(text).into(),
            forward: spec.forward,
            told,
            wanted,
            challenges: Challenges::new(spec),
        }
    }

    /// Lets the caller of a request in by its token, and makes of the request's fields what the
    /// backend is to see.
    ///
    /// # Errors
    /// [`ProxyError::Auth`] when the caller is not let in.
    pub(super) fn admit(
        &self,
        fields: &mut HeaderMap,
        cache: &TokenCache,
    ) -> Result<Rc<Principal>, ProxyError> {
        let principal = self
            .principal(fields, cache)
            .map_err(|result| ProxyError::Auth {
                result,
                challenge: self.challenges.of(result).cloned(),
            })?;
        if !self.forward {
            fields.remove(AUTHORIZATION);
        }
        self.tell(&principal, fields);
        Ok(principal)
    }

    fn principal(
        &self,
        fields: &HeaderMap,
        cache: &TokenCache,
    ) -> Result<Rc<Principal>, AuthResult> {
        let token = token_of(fields)?;
        // Without keys nobody can be told from anybody: not the caller's fault, and no way in.
        let keys = self.keys.get().filter(|keys| !keys.is_empty());
        let Some(keys) = keys else {
            self.keys.want();
            return Err(AuthResult::NoKeys);
        };
        let now = seconds_now();
        let mut digest = Sha256::new_with_prefix(self.fingerprint);
        digest.update(token);
        let digest: [u8; 32] = digest.finalize().into();
        if let Some(principal) = cache.find(&digest, &keys, now) {
            return Ok(principal);
        }
        let verified = self.checker.check(token, &keys, now);
        let verified = verified.map_err(|error| {
            if error == TokenError::UnknownKey {
                self.keys.want();
            }
            result_of(error)
        })?;
        let until = verified.until;
        let principal = Rc::new(self.named(verified)?);
        cache.keep(digest, (keys, until), &principal);
        Ok(principal)
    }

    fn named(&self, verified: Verified) -> Result<Principal, AuthResult> {
        let mut claims = Vec::new();
        for (name, claim) in self.wanted.iter().zip(verified.claims) {
            let Some(claim) = claim else { continue };
            let mut value = HeaderValue::from_str(&claim).map_err(|_| AuthResult::Claim)?;
            value.set_sensitive(true);
            claims.push((name.clone(), value));
        }
        Ok(Principal {
            owner: verified.owner.into(),
            claims,
        })
    }

    /// Writes claims into the fields. What came under their names, or under one that a server may
    /// take for them, was a stranger's word.
    fn tell(&self, principal: &Principal, fields: &mut HeaderMap) {
        if self.told.is_empty() {
            return;
        }
        let imitates =
            |name: &&HeaderName| self.told.iter().any(|(told, _)| is_taken_for(name, told));
        let imitations: Vec<HeaderName> = fields.keys().filter(imitates).cloned().collect();
        for name in imitations {
            fields.remove(name);
        }
        for (field, place) in &self.told {
            let Some(claim) = self.wanted.get(*place) else {
                continue;
            };
            if let Some((_, value)) = principal.claims.iter().find(|(name, _)| name == claim) {
                fields.insert(field.clone(), value.clone());
            }
        }
    }
}

/// The one bearer token of a request. Tokens elsewhere, as in the query, are not looked for
/// (RFC 9700, 4.3.2).
fn token_of(fields: &HeaderMap) -> Result<&str, AuthResult> {
    let field = match only(fields, &AUTHORIZATION) {
        Ok(Some(field)) => field.as_bytes(),
        Ok(None) => return Err(AuthResult::NoToken),
        Err(Several) => return Err(AuthResult::BadRequest),
    };
    let end = field.iter().position(|byte| *byte == b' ');
    let (scheme, rest) = field.split_at(end.unwrap_or(field.len()));
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(AuthResult::NoToken);
    }
    let token = rest.trim_ascii();
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    match std::str::from_utf8(token) {
        Ok("") | Err(_) => Err(AuthResult::BadRequest),
        Ok(_) if !token.iter().all(legal) => Err(AuthResult::BadRequest),
        Ok(token) if token.len() > MAX_TOKEN_BYTES => Err(AuthResult::Malformed),
        Ok(token) => Ok(token),
    }
}

/// Whether a server may read a field of this name as another: many make one of `-`, `_` and
/// other signs.
fn is_taken_for(name: &HeaderName, field: &HeaderName) -> bool {
    let plain = |byte: u8| {
        if byte.is_ascii_alphanumeric() {
            byte
        } else {
            b'-'
        }
    };
    let (name, field) = (name.as_str().bytes(), field.as_str().bytes());
    name.len() == field.len() && name.map(plain).eq(field.map(plain))
}

/// The time that tokens go by: the wall clock's, since issuers use theirs.
fn seconds_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn result_of(error: TokenError) -> AuthResult {
    match error {
        TokenError::Malformed => AuthResult::Malformed,
        TokenError::Algorithm => AuthResult::Algorithm,
        TokenError::UnknownKey => AuthResult::UnknownKey,
        TokenError::Signature => AuthResult::Signature,
        TokenError::Expired => AuthResult::Expired,
        TokenError::NotYet => AuthResult::NotYet,
        TokenError::Issuer => AuthResult::Issuer,
        TokenError::Audience => AuthResult::Audience,
        TokenError::Claim => AuthResult::Claim,
        TokenError::Scope => AuthResult::Scope,
    }
}

/// What callers are told who are not let in, as `WWW-Authenticate` (RFC 6750, 3; RFC 9728, 5.1).
#[derive(Debug)]
struct Challenges {
    none: Option<HeaderValue>,
    request: Option<HeaderValue>,
    expired: Option<HeaderValue>,
    invalid: Option<HeaderValue>,
    scope: Option<HeaderValue>,
}

impl Challenges {
    fn new(spec: &JwtSpec) -> Self {
        let mut common = Vec::new();
        if let Some(resource) = spec.resource() {
            let url = super::metadata::url_of(resource);
            common.push(format!("resource_metadata=\"{url}\""));
        }
        if !spec.scopes.is_empty() {
            common.push(format!("scope=\"{}\"", spec.scopes.join(" ")));
        }
        let challenge = |error: &[&str]| {
            let error = error.iter().map(ToString::to_string);
            let parts: Vec<String> = error.chain(common.iter().cloned()).collect();
            HeaderValue::from_str(format!("Bearer {}", parts.join(", ")).trim_end()).ok()
        };
        let invalid = "error=\"invalid_token\"";
        Self {
            none: challenge(&[]),
            request: challenge(&["error=\"invalid_request\""]),
            expired: challenge(&[invalid, "error_description=\"the token has expired\""]),
            invalid: challenge(&[invalid, "error_description=\"the token is not accepted\""]),
            scope: challenge(&["error=\"insufficient_scope\""]),
        }
    }

    fn of(&self, result: AuthResult) -> Option<&HeaderValue> {
        match result {
            AuthResult::Admitted | AuthResult::NoKeys => None,
            AuthResult::NoToken => self.none.as_ref(),
            AuthResult::BadRequest => self.request.as_ref(),
            AuthResult::Expired => self.expired.as_ref(),
            AuthResult::Scope => self.scope.as_ref(),
            AuthResult::Malformed
            | AuthResult::Algorithm
            | AuthResult::UnknownKey
            | AuthResult::Signature
            | AuthResult::NotYet
            | AuthResult::Issuer
            | AuthResult::Audience
            | AuthResult::Claim => self.invalid.as_ref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn one_bearer_token_in_one_field_is_a_token() {
        let found = |values: &[&str]| {
            let pairs: Vec<_> = values
                .iter()
                .map(|value| ("authorization", *value))
                .collect();
            token_of(&fields(&pairs)).map(str::to_owned)
        };

        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(found(&[value]).unwrap(), "a.b.c", "{value}");
        }
        for value in ["", "Basic YTpi", "Bearer,a.b.c", "a.b.c", "DPoP a.b.c"] {
            assert_eq!(found(&[value]), Err(AuthResult::NoToken), "{value}");
        }
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a,b",
            "Bearer \"a\"",
            "Bearer a, Bearer b",
        ] {
            assert_eq!(found(&[value]), Err(AuthResult::BadRequest), "{value}");
        }
        assert_eq!(found(&[]), Err(AuthResult::NoToken));
        assert_eq!(
            found(&["Bearer a", "Bearer a"]),
            Err(AuthResult::BadRequest)
        );
        assert_eq!(found(&["Basic a", "Bearer a"]), Err(AuthResult::BadRequest));
        let long = format!("Bearer {}", "a".repeat(MAX_TOKEN_BYTES + 1));
        assert_eq!(found(&[&long]), Err(AuthResult::Malformed));
    }

    fn auth(more: &serde_json::Value) -> Auth {
        let mut jwt = json!({
            "issuer": "https://id.example.com",
            "audiences": ["https://mcp.example.com/mcp"],
            "jwks": { "file": "keys" },
        });
        for (key, value) in more.as_object().unwrap() {
            jwt[key] = value.clone();
        }
        let spec = serde_json::from_value(json!({ "jwt": jwt })).unwrap();
        Auth::new(&spec, &[], Arc::default())
    }

    #[test]
    fn nobody_else_writes_the_fields_of_claims() {
        let auth = auth(&json!({ "claims_to_headers": { "sub": "x-user-id", "org": "x-org" } }));
        let principal = Principal {
            owner: "ann".into(),
            claims: vec![("sub".into(), HeaderValue::from_static("ann"))],
        };
        let mut seen = fields(&[
            ("x-user-id", "eve"),
            ("X-User_Id", "eve"),
            ("x.user.id", "eve"),
            ("x_org", "evil"),
            ("x-org", "evil"),
            ("x-user-ids", "fine"),
        ]);
        seen.append("x-user-id", HeaderValue::from_static("eve2"));

        auth.tell(&principal, &mut seen);

        assert_eq!(seen.len(), 2);
        assert_eq!(seen["x-user-id"], "ann");
        assert_eq!(seen["x-user-ids"], "fine");
    }

    #[test]
    fn callers_are_told_where_to_get_what_is_missing() {
        let told = |auth: &Auth, result| auth.challenges.of(result).unwrap().clone();
        let scoped = auth(&json!({ "scopes": ["a", "b"] }));
        let metadata = "resource_metadata=\"https://mcp.example.com/.well-known/oauth-protected-resource/mcp\"";

        assert_eq!(
            told(&scoped, AuthResult::NoToken),
            format!("Bearer {metadata}, scope=\"a b\"")
        );
        assert_eq!(
            told(&scoped, AuthResult::Scope),
            format!("Bearer error=\"insufficient_scope\", {metadata}, scope=\"a b\"")
        );
        assert_eq!(
            told(&auth(&json!({})), AuthResult::Signature),
            format!(
                "Bearer error=\"invalid_token\", error_description=\"the token is not accepted\", {metadata}"
            )
        );
        let nameless = auth(&json!({ "audiences": ["api"], "metadata": "pass" }));
        assert_eq!(told(&nameless, AuthResult::NoToken), "Bearer");
    }
}
