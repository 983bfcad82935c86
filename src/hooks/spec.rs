//! The `hooks` section of the file.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{Problems, duration_text};
use crate::notify::spec::{SecretSource, Target};

/// Most hooks of a file, and of a plan.
pub const MAX_HOOKS: usize = 64;
/// Most words of a command, and most names of variables.
const MAX_WORDS: usize = 256;
/// Longest word of a command, in bytes.
const MAX_WORD_BYTES: usize = 4096;

/// Who is asked, or what is run, along the rollouts of the plans that name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HookSpec {
    /// When: at least one, each at most once. A command has gates only: `confirm_start`,
    /// `pre_stage`, `confirm_advance`, `pre_promote`. Default `[confirm_start]`.
    #[serde(default = "default_on")]
    pub on: Vec<Point>,
    /// Where it is posted to, at most 2048 bytes: `https://…` or `http://…`; shown up to its host.
    /// Either this or `up`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub url: Option<Target>,
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
    /// The command to run, as its words, 1 to 256 of at most 4096 bytes: no shell reads them. It
    /// opens its gate by ending with 0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub up: Vec<String>,
    /// The command to run after a rollout was switched back or aborted whose `up` had ended with
    /// 0. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub down: Vec<String>,
    /// The folder that the commands run in, relative to the config file's folder. Default: that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
    /// Names of variables of the gateway's own environment that the commands get, at most 256,
    /// besides `PATH`, `HOME`, `LANG` and `TZ`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Whether a command may be run a second time when the gateway ended while it ran; otherwise
    /// the rollout then holds. Default false.
    #[serde(default)]
    pub idempotent: bool,
    /// Whether there is no way back once `up` has ended with 0: the rollout is then not reverted by
    /// itself any more, but held, with an alarm. Excludes `down`. Default false.
    #[serde(default)]
    pub irreversible: bool,
    /// Longest time for one attempt to post, 100ms to 1m, or for a command to run, 100ms to 24h.
    /// Default 10s for a URL, 5m for a command.
    #[serde(
        default,
        with = "duration_text::option",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<String>")]
    pub timeout: Option<Duration>,
    /// How long a URL is asked again that gives no answer, or says that it is too early, 0s to 7d.
    /// Default 10m.
    #[serde(default = "default_patience", with = "duration_text")]
    #[schemars(with = "String")]
    pub patience: Duration,
    /// What happens when there is no answer by then, or a command fails. Default `hold`.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// A place along a rollout.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// A gate: before anything changes.
    ConfirmStart,
    /// A gate: before a stage is entered.
    PreStage,
    /// A gate: before a stage that has passed is left.
    ConfirmAdvance,
    /// Told: a stage was passed.
    PostStage,
    /// A gate: before the candidate gets all of the traffic.
    PrePromote,
    /// Told: the candidate has all of the traffic.
    PostPromote,
    /// Told: the rollout is being switched back. Traffic is on stable already.
    PreRevert,
    /// Told: the rollout was switched back, and that is done.
    PostRevert,
    /// Told: anything that happens to the rollout.
    Event,
}

impl Point {
    /// The place's name in the file and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConfirmStart => "confirm_start",
            Self::PreStage => "pre_stage",
            Self::ConfirmAdvance => "confirm_advance",
            Self::PostStage => "post_stage",
            Self::PrePromote => "pre_promote",
            Self::PostPromote => "post_promote",
            Self::PreRevert => "pre_revert",
            Self::PostRevert => "post_revert",
            Self::Event => "event",
        }
    }

    /// Whether a rollout waits there for an answer.
    pub fn is_gate(self) -> bool {
        match self {
            Self::ConfirmStart | Self::PreStage | Self::ConfirmAdvance | Self::PrePromote => true,
            Self::PostStage
            | Self::PostPromote
            | Self::PreRevert
            | Self::PostRevert
            | Self::Event => false,
        }
    }
}

/// What happens when a hook does not say whether a rollout may go on.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The rollout is paused; `resume` asks again.
    #[default]
    Hold,
    /// The rollout is aborted: stable takes all.
    Abort,
    /// The rollout goes on.
    Ignore,
}

impl HookSpec {
    /// Whether it is a command.
    pub fn is_command(&self) -> bool {
        !self.up.is_empty()
    }

    /// Longest time for one attempt.
    pub fn time(&self) -> Duration {
        let usual = if self.is_command() { 300 } else { 10 };
        self.timeout.unwrap_or(Duration::from_secs(usual))
    }

    /// What its messages are signed with.
    pub fn secret(&self) -> Option<SecretSource> {
        SecretSource::of(self.secret_file.as_ref(), self.secret_env.as_ref())
    }

    /// What is wrong with this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        match (&self.url, self.is_command()) {
            (Some(_), true) => problems.add("url", "a hook has a `url` or a command, not both"),
            (None, false) => problems.add("", "a hook needs a `url`, or a command as `up`"),
            (Some(_), false) | (None, true) => {}
        }
        self.place_problems(&mut problems);
        self.command_problems(&mut problems);
        SecretSource::problems(
            self.secret_file.as_ref(),
            self.secret_env.as_ref(),
            &mut problems,
        );
        let longest = if self.is_command() {
            Duration::from_hours(24)
        } else {
            Duration::from_mins(1)
        };
        let shortest = Duration::from_millis(100);
        problems.duration("timeout", self.time(), shortest..=longest);
        let week = Duration::from_hours(7 * 24);
        problems.duration("patience", self.patience, Duration::ZERO..=week);
        problems.into_vec()
    }

    fn place_problems(&self, problems: &mut Problems) {
        if self.on.is_empty() {
            problems.add("on", "`on` is empty: the hook would never have its turn");
        }
        for (index, point) in self.on.iter().enumerate() {
            let before = self.on.get(..index).unwrap_or_default();
            let field = format!("on[{index}]");
            if before.contains(point) {
                problems.add(field, format!("`{}` is there twice", point.as_str()));
            } else if self.is_command() && !point.is_gate() {
                let message = format!(
                    "a command runs at a gate, and `{}` is none; what is to run after a way back is \
                     `down`",
                    point.as_str()
                );
                problems.add(field, message);
            }
        }
    }

    fn command_problems(&self, problems: &mut Problems) {
        for (field, words) in [("up", &self.up), ("down", &self.down), ("env", &self.env)] {
            problems.number(field, words.len(), 0..=MAX_WORDS);
            let bad = |word: &String| word.len() > MAX_WORD_BYTES || word.contains('\0');
            if words.iter().any(bad) || words.first().is_some_and(String::is_empty) {
                let message = format!(
                    "a word of `{field}` has at most {MAX_WORD_BYTES} bytes and no zero byte, and \
                     the first is not empty"
                );
                problems.add(field, message);
            }
        }
        if let Some(name) = self.env.iter().find(|name| name.contains('=')) {
            let name = name.split('=').next().unwrap_or_default();
            let message = format!("`env` has names alone; `{name}` is passed on as it is here");
            problems.add("env", message);
        }
        if self.irreversible && !self.down.is_empty() {
            problems.add("irreversible", "what is `irreversible` has no `down`");
        }
        if !self.is_command() {
            for (field, given) in [
                ("down", !self.down.is_empty()),
                ("folder", self.folder.is_some()),
                ("env", !self.env.is_empty()),
                ("idempotent", self.idempotent),
                ("irreversible", self.irreversible),
            ] {
                if given {
                    problems.add(field, format!("`{field}` is for a command, which is `up`"));
                }
            }
        }
    }
}

fn default_on() -> Vec<Point> {
    vec![Point::ConfirmStart]
}

fn default_patience() -> Duration {
    Duration::from_mins(10)
}
