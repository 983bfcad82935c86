//! What went wrong of late, call by call: what a verdict is explained with.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{Outcome, Role};

/// Longest id that is kept.
const LONGEST: usize = 64;

/// The id that a caller gave a request, for finding it again in logs and traces. Kept in place,
/// since noting it must not take memory from the heap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CallId {
    bytes: [u8; LONGEST],
    length: u8,
}

impl CallId {
    /// An id of 1 to 64 letters, digits and `-_.:/+=`; nothing else is taken for one.
    pub fn new(text: &[u8]) -> Option<Self> {
        let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
        if text.is_empty() || !text.iter().all(is_plain) {
            return None;
        }
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        let length = u8::try_from(text.len()).ok()?;
        Some(Self { bytes, length })
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length));
        str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What was wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// How it ended.
    Bad(Outcome),
    /// It took longer than a limit, and may be open.
    Slow,
}

/// Whose call it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// The arm.
    pub role: Role,
    /// A hash of the caller's session or key.
    pub key: Option<u64>,
    /// The id that the caller gave it.
    pub id: Option<CallId>,
}

/// One call that went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incident {
    /// When that was recorded.
    pub at: Instant,
    /// Whose it was.
    pub about: About,
    /// What was wrong.
    pub wrong: Wrong,
    /// The status of the answer, once there was one.
    pub status: Option<u16>,
    /// How long it had taken by then.
    pub latency: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_short_and_plain_or_none() {
        let id = |text: &str| CallId::new(text.as_bytes()).map(|id| id.as_str().to_owned());

        let uuid = "2f1c4d9e-7c1b-4f7a-9d38-9b1f6b8f4a11";
        assert_eq!(id(uuid).as_deref(), Some(uuid));
        assert_eq!(id(&"a".repeat(64)), Some("a".repeat(64)));
        for wrong in ["", "a b", "a\n", "ü", "\"", &"a".repeat(65)] {
            assert_eq!(id(wrong), None, "{wrong:?}");
        }
    }
}
