//! The `state` section of the file.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// Where weights, rollouts, history and keys are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StateSpec {
    /// Folder of the embedded store, made when it is missing; relative to the config file's
    /// folder. Default `./switchback-state`.
    pub file: PathBuf,
    /// Secrets of 32 to 512 characters that MCP session ids are sealed with, at most 8; best
    /// `${NAME}` or `${file:/run/secrets/x}`. The first one seals, and every one of them opens,
    /// and so does the key that the state folder has. Gateways with the same keys know each
    /// other's sessions. Default: only the key of the state folder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub session_keys: Vec<SessionKeySpec>,
}

/// A secret that MCP session ids are sealed with, of which only the SHA-256 is remembered.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKeySpec {
    key: [u8; 32],
    characters: usize,
}

impl SessionKeySpec {
    /// The key that the secret makes.
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

impl fmt::Debug for SessionKeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKeySpec(secret)")
    }
}

impl Serialize for SessionKeySpec {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str("(hidden)")
    }
}

impl<'de> Deserialize<'de> for SessionKeySpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let secret = String::deserialize(from)?;
        Ok(Self {
            key: Sha256::digest(secret.as_bytes()).into(),
            characters: secret.chars().count(),
        })
    }
}

impl schemars::JsonSchema for SessionKeySpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SessionKeySpec".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "description": "A secret of 32 to 512 characters." })
    }
}

/// Most keys; each costs a forged id one more look.
const KEYS_MAX: usize = 8;

impl StateSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let mut add = |field: String, message: &str| problems.push((field, message.to_owned()));
        if self.file.as_os_str().is_empty() {
            add("file".to_owned(), "`file` is empty");
        }
        if self.session_keys.len() > KEYS_MAX {
            add("session_keys".to_owned(), "there are at most 8 keys");
        }
        for (place, secret) in self.session_keys.iter().enumerate() {
            let field = format!("session_keys[{place}]");
            if !(32..=512).contains(&secret.characters) {
                add(
                    field,
                    "a key has 32 to 512 characters; `openssl rand -hex 32` makes one",
                );
            } else if self
                .session_keys
                .iter()
                .take(place)
                .any(|known| known == secret)
            {
                add(field, "the same key stands before");
            }
        }
        problems
    }
}

impl Default for StateSpec {
    fn default() -> Self {
        Self {
            file: PathBuf::from("./switchback-state"),
            session_keys: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_long_different_and_never_shown() {
        let (one, two) = ("1".repeat(32), "2".repeat(64));
        let good = json!({ "session_keys": [one, two] });
        let spec: StateSpec = serde_json::from_value(good).unwrap();

        assert_eq!(spec.problems(), []);
        assert_ne!(spec.session_keys[0].key(), spec.session_keys[1].key());
        let shown = format!("{spec:?} {}", serde_json::to_string(&spec).unwrap());
        assert!(!shown.contains("11") && !shown.contains("22"), "{shown}");

        for (bad, at) in [
            (json!(["short"]), "session_keys[0]"),
            (json!([two, two]), "session_keys[1]"),
            (json!(["x".repeat(513)]), "session_keys[0]"),
        ] {
            let spec = json!({ "session_keys": bad });
            let spec: StateSpec = serde_json::from_value(spec).unwrap();
            assert_eq!(spec.problems()[0].0, at);
        }
    }
}
