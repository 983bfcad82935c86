//! The `notifiers` section of the file.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Problems, RouteName, duration_text};

pub use super::alert_spec::{AlertKind, AlertSpec, Level, MAX_ALERTS};
pub use super::target::{Target, TargetError};

/// Most notifiers of a file.
pub const MAX_NOTIFIERS: usize = 64;
/// Most names in a list of events or of routes.
const MAX_NAMES: usize = 256;

/// What can happen, by the names that the history has for it. Written down here since sections of
/// the file know nothing of `control`; a test compares the two.
pub const EVENTS: &[&str] = &[
    "weights_changed",
    "weights_skipped",
    "rollout_started",
    "rollout_advanced",
    "rollout_extended",
    "rollout_awaiting_approval",
    "rollout_approved",
    "rollout_smoke_passed",
    "rollout_smoke_failed",
    "rollout_awaiting_health",
    "rollout_endpoint_failed",
    "rollout_awaiting_gate",
    "rollout_gate_opened",
    "rollout_gate_refused",
    "rollout_awaiting_window",
    "rollout_window_waived",
    "checklist_open",
    "checklist_ticked",
    "checklist_passed",
    "rollout_held",
    "hook_started",
    "hook_ended",
    "rollout_paused",
    "rollout_resumed",
    "rollout_promoted",
    "rollout_reverted",
    "rollout_aborted",
    "route_reverted",
    "alert_fired",
    "alert_resolved",
    "config_reloaded",
    "config_refused",
    "endpoint_health",
    "breaker_opened",
    "store_failed",
    "store_recovered",
];

/// Who is told of what happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotifierSpec {
    /// The form in which it is told.
    pub kind: NotifierKind,
    /// Where it is posted to, at most 2048 bytes: `https://…` or `http://…`. It is shown up to
    /// its host, nowhere in full, since the rest often is a secret; better from
    /// `${file:/run/secrets/chat}`. For every kind but `log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub url: Option<Target>,
    /// The names of events it is told of, as the history has them, such as `rollout_reverted`; a
    /// `*` at the end stands for any rest, such as `rollout_*`. At most 256. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
    /// The routes whose events it is told of, at most 256; what is about no route at all is told
    /// too. Default: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub routes: Vec<RouteName>,
    /// A file with the secret that messages are signed with, relative to the config file's folder,
    /// at most 64 KiB; read anew for each message. Without a secret they are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_file: Option<PathBuf>,
    /// The environment variable with that secret instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<String>,
    /// A PEM file with the authorities that may have signed the server's certificate, relative to
    /// the config file's folder. Default: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Longest time for one attempt, 100ms to 1m. Default 10s.
    #[serde(default = "default_timeout", with = "duration_text")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// How long a notice is tried again, from when it happened, 0s to 24h; each is tried once.
    /// Default 5m.
    #[serde(default = "default_patience", with = "duration_text")]
    #[schemars(with = "String")]
    pub patience: Duration,
    /// Most notices that wait, 1 to 10,000; one too many lets go of the oldest. Default 256.
    #[serde(default = "default_queue")]
    pub queue: usize,
}

/// The form in which a notifier is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotifierKind {
    /// `{"text": …}`, one line, as Slack and many other chats take it.
    Slack,
    /// The event as the admin API says it.
    Json,
    /// The same inside a `CloudEvent` 1.0 (structured mode).
    Cloudevents,
    /// A line in the process's own log.
    Log,
}

impl NotifierKind {
    /// The kind as the file has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Slack => "slack",
            Self::Json => "json",
            Self::Cloudevents => "cloudevents",
            Self::Log => "log",
        }
    }
}

/// Where a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file.
    File(PathBuf),
    /// In a variable of the environment.
    Variable(String),
}

impl SecretSource {
    /// The source that the two fields of a section name.
    pub fn of(file: Option<&PathBuf>, variable: Option<&String>) -> Option<Self> {
        let file = file.map(|path| Self::File(path.clone()));
        file.or_else(|| variable.map(|name| Self::Variable(name.clone())))
    }

    /// What is wrong with these two fields.
    pub fn problems(file: Option<&PathBuf>, variable: Option<&String>, problems: &mut Problems) {
        if file.is_some() && variable.is_some() {
            let message = "`secret_file` and `secret_env` exclude each other";
            problems.add("secret_env", message);
        }
        let plain = |name: &String| {
            let legal = |c: char| c.is_ascii_alphanumeric() || c == '_';
            !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(legal)
        };
        if variable.is_some_and(|name| !plain(name)) {
            // Not repeated: somebody may have written the secret itself.
            let message = "`secret_env` is the name of a variable, not the secret";
            problems.add("secret_env", message);
        }
    }
}

impl NotifierSpec {
    /// What is wrong with this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        match (self.kind, &self.url) {
            (NotifierKind::Log, Some(_)) => {
                problems.add("url", "a notifier of the kind `log` has no `url`");
            }
            (NotifierKind::Slack | NotifierKind::Json | NotifierKind::Cloudevents, None) => {
                let message = format!(
                    "a notifier of the kind `{}` needs a `url`",
                    self.kind.as_str()
                );
                problems.add("", message);
            }
            _ => {}
        }
        SecretSource::problems(
            self.secret_file.as_ref(),
            self.secret_env.as_ref(),
            &mut problems,
        );
        problems.number("events", self.events.len(), 0..=MAX_NAMES);
        problems.number("routes", self.routes.len(), 0..=MAX_NAMES);
        for (index, pattern) in self.events.iter().enumerate() {
            if !EVENTS.iter().any(|event| matches(pattern, event)) {
                let message = format!("there is no event `{pattern}`; docs/api.md lists them");
                problems.add(format!("events[{index}]"), message);
            }
        }
        let (short, long) = (Duration::from_millis(100), Duration::from_mins(1));
        problems.duration("timeout", self.timeout, short..=long);
        let day = Duration::from_hours(24);
        problems.duration("patience", self.patience, Duration::ZERO..=day);
        problems.number("queue", self.queue, 1..=10_000);
        problems.into_vec()
    }

    /// Whether it is to be told of such an event.
    pub fn wants(&self, kind: &str, route: Option<&RouteName>) -> bool {
        let kind = self.events.is_empty() || self.events.iter().any(|it| matches(it, kind));
        let route = self.routes.is_empty() || route.is_none_or(|it| self.routes.contains(it));
        kind && route
    }

    /// What its messages are signed with.
    pub fn secret(&self) -> Option<SecretSource> {
        SecretSource::of(self.secret_file.as_ref(), self.secret_env.as_ref())
    }
}

fn matches(pattern: &str, event: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => event.starts_with(beginning),
        None => pattern == event,
    }
}

fn default_timeout() -> Duration {
    Duration::from_secs(10)
}

fn default_patience() -> Duration {
    Duration::from_mins(5)
}

fn default_queue() -> usize {
    256
}
