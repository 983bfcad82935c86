//! Who may ask the admin API: the parts of the `admin` section that are about callers.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::access::{Expiry, Role, Scope, Secret};
use crate::model::{Problems, TokenName, duration_text};

/// Most tokens, and most certificates.
const GRANTS_MAX: usize = 256;
/// Most routes and patterns of one grant.
const SCOPES_MAX: usize = 256;
/// What stands for a secret wherever a config is shown.
const HIDDEN: &str = "(hidden)";

/// A token that the admin API takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenSpec {
    /// Who presents it, for the history and the audit log; unique.
    pub name: TokenName,
    /// What it lets them do.
    pub role: Role,
    /// The token itself, 20 to 512 characters; from the environment or a file, such as
    /// `${CI_TOKEN}` or `${file:/run/secrets/ci}`. Either this or `sha256`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "secret",
        serialize_with = "hidden"
    )]
    #[schemars(with = "Option<String>")]
    pub secret: Option<Secret>,
    /// The SHA-256 of the token in hexadecimal digits; `switchback token new` prints both.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "hash",
        serialize_with = "hidden"
    )]
    #[schemars(with = "Option<String>")]
    pub sha256: Option<Secret>,
    /// The routes that a deployer may change, or a reporter push metrics of, at most 256: names, in
    /// which `*` stands for any run of characters. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub routes: Vec<Scope>,
    /// The moment from which it is good no more, in RFC 3339. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub expires: Option<Expiry>,
}

impl TokenSpec {
    /// The secret, however it is named.
    pub fn hash(&self) -> Option<Secret> {
        self.secret.or(self.sha256)
    }

    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        match (&self.secret, &self.sha256) {
            (Some(_), Some(_)) => {
                problems.add("sha256", "`secret` and `sha256` exclude each other");
            }
            (None, None) => problems.add("", "a token needs a `secret` or its `sha256`"),
            (Some(_), None) | (None, Some(_)) => {}
        }
        check_scope(self.role, &self.routes, &mut problems);
        problems.into_vec()
    }
}

/// What the bearer of a verified client certificate may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateGrantSpec {
    /// A name that the certificate has: a DNS name, e-mail address or URI of its subject
    /// alternative names, else its common name; compared as it is. 1 to 255 printable ASCII
    /// characters.
    pub name: String,
    /// What it lets them do.
    pub role: Role,
    /// The routes that a deployer may change, or a reporter push metrics of, at most 256: names, in
    /// which `*` stands for any run of characters. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub routes: Vec<Scope>,
}

impl CertificateGrantSpec {
    fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let printable = self.name.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
        if !(1..=255).contains(&self.name.len()) || !printable {
            problems.add("name", "`name` is 1 to 255 printable ASCII characters");
        }
        check_scope(self.role, &self.routes, &mut problems);
        problems.into_vec()
    }
}

fn check_scope(role: Role, routes: &[Scope], problems: &mut Problems) {
    if routes.len() > SCOPES_MAX {
        problems.add("routes", format!("a scope has at most {SCOPES_MAX} routes"));
    }
    let is_bounded = matches!(role, Role::Reporter | Role::Deployer);
    if !is_bounded && !routes.is_empty() {
        let message = format!(
            "`routes` bounds what reporters and deployers may do; the role `{role}` has no such bound"
        );
        problems.add("routes", message);
    }
}

/// What is wrong with the tokens and certificates of the `admin` section: the path of a field
/// and a sentence, each.
pub fn grant_problems(
    tokens: &[TokenSpec],
    certificates: &[CertificateGrantSpec],
) -> Vec<(String, String)> {
    let mut problems = Problems::default();
    for (section, count) in [
        ("tokens", tokens.len()),
        ("certificates", certificates.len()),
    ] {
        if count > GRANTS_MAX {
            problems.add(
                section,
                format!("there are at most {GRANTS_MAX}, not {count}"),
            );
        }
    }
    for (index, token) in tokens.iter().enumerate() {
        let before = tokens.get(..index).unwrap_or_default();
        let section = format!("tokens[{index}]");
        problems.add_all(&section, token.problems());
        if before.iter().any(|other| other.name == token.name) {
            let message = format!("another token is named `{}`", token.name);
            problems.add(format!("{section}.name"), message);
        }
        let same = |other: &&TokenSpec| token.hash().is_some() && other.hash() == token.hash();
        if let Some(other) = before.iter().find(same) {
            let message = format!("the token is the same as the one of `{}`", other.name);
            problems.add(section, message);
        }
    }
    for (index, certificate) in certificates.iter().enumerate() {
        let before = certificates.get(..index).unwrap_or_default();
        let section = format!("certificates[{index}]");
        problems.add_all(&section, certificate.problems());
        if before.iter().any(|other| other.name == certificate.name) {
            problems.add(format!("{section}.name"), "another entry has this name");
        }
    }
    problems.into_vec()
}

/// How often callers may fail to say who they are, before they are answered 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FailuresSpec {
    /// Most failures of one address in a window, 1 to 100,000. Default 10.
    pub per_address: u32,
    /// Most failures of all addresses in a window, 1 to 1,000,000. Default 300.
    pub total: u32,
    /// How long a window is, 1s to 1h. Default 1m.
    #[serde(with = "duration_text")]
    #[schemars(with = "String")]
    pub window: Duration,
}

impl Default for FailuresSpec {
    fn default() -> Self {
        Self {
            per_address: 10,
            total: 300,
            window: Duration::from_mins(1),
        }
    }
}

impl FailuresSpec {
    /// What is beyond its bounds: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        problems.number("per_address", self.per_address, 1..=100_000);
        problems.number("total", self.total, 1..=1_000_000);
        let (short, long) = (Duration::from_secs(1), Duration::from_hours(1));
        problems.duration("window", self.window, short..=long);
        problems.into_vec()
    }
}

/// Where it is written down who changed what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSpec {
    /// The file, made when it is missing, with mode 0600; relative to the config file's folder.
    /// Default: `audit.jsonl` in the state folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// Size at which the file is put aside and a new one begun, in bytes, 65,536 to
    /// 1,073,741,824. Default 16,777,216.
    pub max_bytes: u64,
    /// How many files that were put aside are kept, 1 to 100; older ones are removed.
    /// Default 8.
    pub keep: u16,
    /// Most lines about refused calls in a minute, 0 to 60,000; further ones are counted.
    /// Default 600.
    pub refusals_per_minute: u32,
}

impl Default for AuditSpec {
    fn default() -> Self {
        Self {
            file: None,
            max_bytes: 16 * 1024 * 1024,
            keep: 8,
            refusals_per_minute: 600,
        }
    }
}

impl AuditSpec {
    /// What is beyond its bounds: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if self
            .file
            .as_ref()
            .is_some_and(|file| file.file_name().is_none())
        {
            problems.add("file", "`file` names no file");
        }
        problems.number("max_bytes", self.max_bytes, 64 * 1024..=1024 * 1024 * 1024);
        problems.number("keep", self.keep, 1..=100);
        problems.number("refusals_per_minute", self.refusals_per_minute, 0..=60_000);
        problems.into_vec()
    }
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    let text = String::deserialize(from)?;
    Secret::of(&text)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

fn hash<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
fn hidden<S: Serializer>(_: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(HIDDEN)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SECRET: &str = "ci-0123456789abcdefghij";

    fn token(value: &serde_json::Value) -> Result<TokenSpec, String> {
        serde_json::from_value(value.clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_token_is_never_shown() {
        let spec = token(&json!({"name": "ci", "role": "viewer", "secret": SECRET})).unwrap();

        let shown = serde_json::to_string(&spec).unwrap() + &format!("{spec:?}");

        assert!(shown.contains(HIDDEN) && !shown.contains(SECRET), "{shown}");
        assert!(!shown.contains(&Secret::presented(SECRET).to_hex()[..8]));
        let refused = token(&json!({"name": "ci", "role": "viewer", "secret": "hunter2"}));
        assert!(!refused.unwrap_err().contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_granted_is_told_with_its_place() {
        let specs = [
            json!({"name": "a", "role": "admin", "secret": SECRET, "routes": ["x"]}),
            json!({"name": "a", "role": "deployer", "secret": SECRET}),
            json!({"name": "b", "role": "deployer"}),
            json!({"name": "c", "role": "viewer", "secret": "c-0123456789abcdefghij",
                   "sha256": Secret::presented("x").to_hex()}),
        ]
        .map(|value| token(&value).unwrap());
        let certificate = CertificateGrantSpec {
            name: "a\nb".to_owned(),
            role: Role::Viewer,
            routes: Vec::new(),
        };

        let problems = grant_problems(&specs, &[certificate]);

        let places: Vec<_> = problems.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(
            places,
            [
                "tokens[0].routes",
                "tokens[1].name",
                "tokens[1]",
                "tokens[2]",
                "tokens[3].sha256",
                "certificates[0].name",
            ]
        );
    }

    #[test]
    fn bounds_hold_and_defaults_are_within_them() {
        assert!(FailuresSpec::default().problems().is_empty());
        assert!(AuditSpec::default().problems().is_empty());
        let audit = AuditSpec {
            file: Some("..".into()),
            max_bytes: 1,
            keep: 0,
            refusals_per_minute: 60_001,
        };
        assert_eq!(audit.problems().len(), 4);
        let failures = FailuresSpec {
            per_address: 0,
            total: 0,
            window: Duration::ZERO,
        };
        assert_eq!(failures.problems().len(), 3);
    }
}
