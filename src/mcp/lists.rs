//! The lists of a server that may differ from what its client knows: tools, prompts, resources.

use bytes::Bytes;
use serde_json::Value;

/// Each list's capability and the notification that says that it has changed.
const EACH: [(&str, &str); 3] = [
    ("tools", "notifications/tools/list_changed"),
    ("prompts", "notifications/prompts/list_changed"),
    ("resources", "notifications/resources/list_changed"),
];

/// Some of a server's lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lists(u8);

impl Lists {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Those of whose changes a server says that it tells, in its result of `initialize`.
    pub(super) fn declared(result: &Value) -> Self {
        let tells = |name| {
            let list = result.get("capabilities")?.get(name)?;
            list.get("listChanged")?.as_bool()
        };
        let bits = EACH.iter().enumerate().map(|(place, (name, _))| {
            let told = tells(name).unwrap_or(false);
            u8::from(told) << place
        });
        Self(bits.sum())
    }

    pub(super) fn bits(self) -> u8 {
        self.0
    }

    pub(super) fn from_bits(bits: u8) -> Self {
        Self(bits & ((1 << EACH.len()) - 1))
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The notifications that these lists have changed, as events of a stream. They have no ids,
    /// so that a client goes on from the last event that its server numbered.
    pub fn events(self) -> Bytes {
        let mut events = String::new();
        for (place, (_, method)) in EACH.iter().enumerate() {
            if self.0 & (1 << place) != 0 {
                let data = format!(r#"{{"jsonrpc":"2.0","method":"{method}"}}"#);
                events.push_str("event: message\ndata: ");
                events.push_str(&data);
                events.push_str("\n\n");
            }
        }
        events.into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_server_declares_is_told() {
        let result = json!({ "capabilities": {
            "tools": { "listChanged": true },
            "prompts": { "listChanged": false },
            "resources": { "subscribe": true, "listChanged": true },
        } });

        let told = String::from_utf8(Lists::declared(&result).events().to_vec()).unwrap();

        let event = |list: &str| {
            format!(
                "event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/{list}/list_changed\"}}\n\n"
            )
        };
        assert_eq!(told, event("tools") + &event("resources"));
    }

    #[test]
    fn a_server_that_declares_nothing_or_nonsense_tells_nothing() {
        for result in [
            json!(null),
            json!({}),
            json!({ "capabilities": { "tools": {} } }),
            json!({ "capabilities": { "tools": { "listChanged": "yes" }, "prompts": [] } }),
        ] {
            let lists = Lists::declared(&result);

            assert!(lists.is_empty() && lists.events().is_empty(), "{result}");
        }
        assert_eq!(Lists::from_bits(0xFF).bits(), 0b111);
    }
}
