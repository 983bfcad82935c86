//! What is told, and the forms it is told in.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::model::{RolloutId, RouteName};

use super::spec::NotifierKind;

/// Longest text for a chat, in characters.
const TEXT_CHARS: usize = 2000;

/// Something that happened, as notifiers are told of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice {
    /// The event's sequence number; 0 for a test.
    pub sequence: u64,
    /// When it happened, in RFC 3339.
    pub at: String,
    /// What it is called, such as `rollout_reverted`.
    pub kind: String,
    /// The route it is about.
    pub route: Option<RouteName>,
    /// The rollout it is about.
    pub rollout: Option<RolloutId>,
    /// Who did it.
    pub who: String,
    /// Why, in their words.
    pub reason: Option<String>,
    /// One sentence for people.
    pub text: String,
    /// Everything, as the admin API says it.
    pub body: Value,
}

/// What goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The event's kind, for receivers that sort by it.
    pub kind: String,
    /// The same for every attempt, and for nothing else.
    pub key: String,
    /// The type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Notice {
    /// A test of a notifier.
    pub fn test(at: String, who: String) -> Self {
        let text = "this is a test: notices arrive".to_owned();
        let body = json!({
            "sequence": 0, "at": at, "kind": "test", "who": who, "message": text, "details": {},
        });
        Self {
            sequence: 0,
            at,
            kind: "test".to_owned(),
            route: None,
            rollout: None,
            who,
            reason: None,
            text,
            body,
        }
    }

    /// What it is known by: its number, and its moment in case numbers began anew.
    pub fn key(&self) -> String {
        format!("{}-{}", self.sequence, self.at)
    }

    /// The notice as a receiver of this kind wants it; `source` says whose it is.
    pub fn message(&self, kind: NotifierKind, source: &str) -> Message {
        let (content_type, body) = match kind {
            NotifierKind::Slack => ("application/json", json!({ "text": self.chat() })),
            NotifierKind::Json | NotifierKind::Log => ("application/json", self.body.clone()),
            NotifierKind::Cloudevents => ("application/cloudevents+json", self.cloud(source)),
        };
        Message {
            kind: self.kind.clone(),
            key: self.key(),
            content_type,
            body: body.to_string().into(),
        }
    }

    /// One line for a chat.
    fn chat(&self) -> String {
        let route = self.route.as_ref().map(|it| format!("*{it}*: "));
        let rollout = self.rollout.map(|it| format!(" (rollout {it})"));
        let reason = self.reason.as_ref().map(|it| format!(": {}", escaped(it)));
        let text = format!(
            "{}{}{}, by {}{}",
            route.unwrap_or_default(),
            escaped(&self.text),
            rollout.unwrap_or_default(),
            escaped(&self.who),
            reason.unwrap_or_default()
        );
        cut(&text, TEXT_CHARS)
    }

    /// A `CloudEvent` 1.0 in structured mode.
    fn cloud(&self, source: &str) -> Value {
        let mut event = json!({
            "specversion": "1.0",
            "id": self.key(),
            "source": source,
            "type": format!("dev.switchback.{}", self.kind),
            "time": self.at,
            "datacontenttype": "application/json",
            "data": self.body,
        });
        if let (Some(route), Some(fields)) = (&self.route, event.as_object_mut()) {
            let subject = format!("routes/{route}");
            fields.insert("subject".to_owned(), subject.into());
        }
        event
    }
}

/// Text that a chat takes for nothing but text: no mention of a channel, no link.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}
