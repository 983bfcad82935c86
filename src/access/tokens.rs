//! All tokens that are granted, and the one that was presented.

use std::sync::Arc;
use std::time::SystemTime;

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::moment::Expiry;
use super::role::Role;
use super::scope::Scope;
use super::secret::{SECRET_MAX, Secret, is_token};
use super::spec::{CertificateGrantSpec, TokenSpec};

/// Who somebody is, and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What the history and the audit log call them.
    pub name: Arc<str>,
    /// What they may do.
    pub role: Role,
    /// The routes that they may change; all of them when it is empty.
    pub routes: Vec<Scope>,
    /// Until when.
    pub expires: Option<Expiry>,
    /// What it takes to get it; nothing for a certificate. Two grants with different secrets are
    /// two grants.
    secret: Option<Secret>,
}

impl Grant {
    /// Whether they may change this route, as far as their scope goes.
    pub fn covers(&self, route: &str) -> bool {
        self.routes.is_empty() || self.routes.iter().any(|scope| scope.covers(route))
    }

    fn of_token(spec: &TokenSpec) -> Self {
        Self {
            name: spec.name.as_str().into(),
            role: spec.role,
            routes: spec.routes.clone(),
            expires: spec.expires,
            secret: spec.hash(),
        }
    }

    /// What a verified client certificate of this name is granted.
    pub fn of_certificate(spec: &CertificateGrantSpec) -> Self {
        Self {
            name: spec.name.as_str().into(),
            role: spec.role,
            routes: spec.routes.clone(),
            expires: None,
            secret: None,
        }
    }
}

/// Whom a presented token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A grant that is good.
    Valid(Arc<Grant>),
    /// A grant whose time is over.
    Expired(Arc<Grant>),
    /// None.
    Unknown,
}

/// Every token that is granted.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Vec<(Secret, Arc<Grant>)>);

impl Tokens {
    /// The tokens of a file; one that names no secret is left out, which its checks refuse.
    pub fn new(specs: &[TokenSpec]) -> Self {
        let each = specs.iter().filter_map(|spec| {
            let secret = spec.hash()?;
            Some((secret, Arc::new(Grant::of_token(spec))))
        });
        Self(each.collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every grant, in the order of the file.
    pub fn grants(&self) -> impl Iterator<Item = &Arc<Grant>> {
        self.0.iter().map(|(_, grant)| grant)
    }

    /// Whom a token belongs to. All of them are looked at, whichever it is, and as hashes: how
    /// long it takes tells nothing but the length of what was presented.
    pub fn find(&self, presented: &str, now: SystemTime) -> Found {
        if presented.len() > SECRET_MAX || !is_token(presented) {
            return Found::Unknown;
        }
        let presented = Secret::presented(presented);
        let mut place = u32::MAX;
        for (index, (secret, _)) in (0..).zip(&self.0) {
            let same: Choice = secret.ct_eq(&presented);
            place.conditional_assign(&index, same);
        }
        match self.0.get(place as usize) {
            None => Found::Unknown,
            Some((_, grant)) if grant.expires.is_some_and(|at| at.is_over(now)) => {
                Found::Expired(Arc::clone(grant))
            }
            Some((_, grant)) => Found::Valid(Arc::clone(grant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CI: &str = "ci-0123456789abcdefghij";
    const OPS: &str = "ops-0123456789abcdefghij";

    fn tokens() -> Tokens {
        let spec = |name: &str, secret: &str, expires: Option<&str>| TokenSpec {
            name: name.parse().unwrap(),
            role: Role::Deployer,
            secret: Some(Secret::of(secret).unwrap()),
            sha256: None,
            routes: vec!["shop-*".parse().unwrap()],
            expires: expires.map(|text| text.parse().unwrap()),
        };
        Tokens::new(&[
            spec("ci", CI, None),
            spec("ops", OPS, Some("2027-01-01T00:00:00Z")),
        ])
    }

    #[test]
    fn a_token_is_its_own_and_no_other() {
        let tokens = tokens();
        let now = humantime::parse_rfc3339("2026-12-31T23:59:59Z").unwrap();

        let name = |presented: &str| match tokens.find(presented, now) {
            Found::Valid(grant) => grant.name.to_string(),
            Found::Expired(grant) => format!("expired {}", grant.name),
            Found::Unknown => String::new(),
        };

        assert_eq!((name(CI).as_str(), name(OPS).as_str()), ("ci", "ops"));
        for wrong in [
            "",
            "ci-0123456789abcdefghik",
            "ci-0123456789abcdefghi",
            "ci-0123456789abcdefghijj",
            "ci 0123456789abcdefghij",
            &"x".repeat(100_000),
        ] {
            assert_eq!(name(wrong), "");
        }
        let later = now + Duration::from_secs(1);
        assert!(matches!(tokens.find(OPS, later), Found::Expired(_)));
        assert!(matches!(tokens.find(CI, later), Found::Valid(_)));
    }

    #[test]
    fn a_scope_covers_what_it_names() {
        let tokens = tokens();
        let grant = tokens.grants().next().unwrap();

        assert!(grant.covers("shop-eu") && !grant.covers("search"));
    }
}
