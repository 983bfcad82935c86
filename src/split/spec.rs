//! The `split` and `sticky` parts of a route.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{BackendName, Problems, Weight};

/// Relative shares by backend. A backend with share 0 gets no new traffic but may be shifted to.
pub type SplitSpec = BTreeMap<BackendName, Weight>;

/// Where the key of a request comes from. Sources are asked in the order of the list; the
/// first that the request has is used, and a request without any is drawn at random.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StickySpec {
    /// The value of a request header, such as `{ header: x-user-id }`.
    Header(String),
    /// The value of a cookie, such as `{ cookie: session }`.
    Cookie(String),
    /// A claim of the caller's token, such as `{ claim: sub }`; only on routes with `auth`.
    Claim(String),
    /// Whom the caller's token stands for, on routes with `auth`; else the `Authorization` header as
    /// it is, of which only a hash is kept.
    Principal,
    /// The client's address, as trusted proxies tell it.
    ClientAddress,
}

/// What is wrong with a split by itself: the path of a field and a sentence, each.
pub fn split_problems(split: &SplitSpec) -> Vec<(String, String)> {
    let mut problems = Problems::default();
    if split.is_empty() {
        problems.add("", "the split names no backend");
    } else if split.values().all(|weight| *weight == Weight::ZERO) {
        let message = "every share of the split is 0, so that nobody would answer";
        problems.add("", message);
    }
    problems.into_vec()
}

impl StickySpec {
    /// What is wrong with the source of a key, as a sentence.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Header(name) => http::HeaderName::from_bytes(name.as_bytes())
                .is_err()
                .then(|| format!("`{name}` is not the name of a header")),
            Self::Cookie(name) => (name.is_empty() || !name.bytes().all(is_token))
                .then(|| format!("`{name}` is not the name of a cookie")),
            Self::Claim(name) => name.is_empty().then(|| "a claim has a name".to_owned()),
            Self::Principal | Self::ClientAddress => None,
        }
    }
}

/// What names of header fields and cookies are made of.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
