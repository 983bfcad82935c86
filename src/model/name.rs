//! Validated names of the things a config file declares.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest accepted name, in bytes; fits a DNS label, a metric label and a table column.
const NAME_MAX_BYTES: usize = 63;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text has no characters.
    #[error("a name is never empty")]
    Empty,
    /// The text has more than 63 bytes.
    #[error("`{name}` has {length} characters, a name has at most 63")]
    TooLong {
        /// The refused text, cut to its first 63 characters.
        name: String,
        /// Its length in bytes.
        length: usize,
    },
    /// The text has a character that names do not have, or starts with a mark.
    #[error(
        "`{name}` is not a name: letters, digits, `-`, `_` and `.`, starting with a letter or digit"
    )]
    Character {
        /// The refused text.
        name: String,
    },
}

fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > NAME_MAX_BYTES {
        let name = text.chars().take(NAME_MAX_BYTES).collect();
        return Err(NameError::TooLong {
            name,
            length: text.len(),
        });
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if !text.chars().all(plain) || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(NameError::Character {
            name: text.to_owned(),
        });
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// 1 to 63 ASCII letters, digits, `-`, `_` and `.`, starting with a letter or digit.
        /// Cheap to clone.
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
                })
            }
        }
    };
}

name! {
    /// Name of a backend: one version of a server.
    BackendName
}
name! {
    /// Name of a route: a match and what to do with what it matched.
    RouteName
}
name! {
    /// Name of a metric that applications push: what the judge weighs beside errors and latency.
    MetricName
}
name! {
    /// Name of a plan: the recipe of a rollout.
    PlanName
}
name! {
    /// Name of a token: who asks, in the history and the audit log.
    TokenName
}
name! {
    /// Name of a notifier: who is told of what happens.
    NotifierName
}
name! {
    /// Name of a hook: who is asked, or what is run, along a rollout.
    HookName
}
name! {
    /// Name of an alert.
    AlertName
}
name! {
    /// Name of an item of a checklist.
    ItemName
}
name! {
    /// Name of a window: a time in which rollouts may begin their stages, or may not.
    WindowName
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_accepted() {
        for name in ["a", "search-v2", "v1.2_3", "9"] {
            assert_eq!(name.parse::<BackendName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_could_be_confused_with_syntax_are_refused() {
        for name in ["", "-a", ".a", "a b", "a/b", "a=b", "a:b", "é", "a\n"] {
            assert!(name.parse::<BackendName>().is_err(), "{name:?}");
        }
        assert!("x".repeat(64).parse::<BackendName>().is_err());
    }
}
