//! The `alerts` section of the file.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::model::{AlertName, BackendName, NotifierName, Problems, RouteName, duration_text};

/// Most alerts of a file.
pub const MAX_ALERTS: usize = 256;

/// A rule about how things are, and who is told when it is broken and when it holds again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertSpec {
    /// Its name; unique.
    pub name: AlertName,
    /// What is looked at.
    pub when: AlertKind,
    /// The route that is looked at, for `error_rate`, `latency_p99` and `held`. Default: each of
    /// them, and the worst counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub route: Option<RouteName>,
    /// The backend that is looked at, for `error_rate`, `latency_p99` and `unhealthy`. Default: each
    /// of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub backend: Option<BackendName>,
    /// What is too much: a share such as `5%` or 0.05, for `latency_p99` a time such as `500ms`, for
    /// `memory` a size such as `512MiB`. Default: `5%` of `error_rate`; `90%` of `connections`,
    /// `requests`, `descriptors` and `queue`; `0%` of `unhealthy`; none for `held`. `latency_p99` and
    /// `memory` need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub above: Option<Level>,
    /// How long it must be so before the alert fires, and no more be so before it is over, 0s to
    /// 24h. Default 30s.
    #[serde(rename = "for", default = "default_for", with = "duration_text")]
    #[schemars(with = "String")]
    pub lasting: Duration,
    /// The notifiers that are told, whatever events they want besides; at most 64. Default: none,
    /// so that the history, the status and the metrics alone have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub notify: Vec<NotifierName>,
}

/// What an alert looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertKind {
    /// Calls of about the last ten seconds, at least 20 of them, that ended as the route counts
    /// against a backend.
    ErrorRate,
    /// What 99 of 100 of these calls took at most.
    LatencyP99,
    /// Open connections of clients, as a share of `limits.connections`.
    Connections,
    /// Requests under way, as a share of `limits.requests`.
    Requests,
    /// Open files and sockets, as a share of what the process may have.
    Descriptors,
    /// Memory of the process that is in RAM.
    Memory,
    /// Notices that wait for a notifier, as a share of its `queue`.
    Queue,
    /// Endpoints of a backend that get no calls, as a share of all.
    Unhealthy,
    /// A rollout that waits for somebody: paused, for an approval, or before a gate.
    Held,
}

/// What is too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Level {
    /// A part of one.
    Share(f64),
    /// A time.
    Time(Duration),
    /// A size in bytes.
    Bytes(u64),
}

impl AlertKind {
    /// The kind as the file has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::LatencyP99 => "latency_p99",
            Self::Connections => "connections",
            Self::Requests => "requests",
            Self::Descriptors => "descriptors",
            Self::Memory => "memory",
            Self::Queue => "queue",
            Self::Unhealthy => "unhealthy",
            Self::Held => "held",
        }
    }

    fn is_of_routes(self) -> bool {
        matches!(self, Self::ErrorRate | Self::LatencyP99 | Self::Held)
    }

    fn is_of_backends(self) -> bool {
        matches!(self, Self::ErrorRate | Self::LatencyP99 | Self::Unhealthy)
    }
}

impl AlertSpec {
    /// What is too much, as a number: a part of one, seconds or bytes.
    pub fn limit(&self) -> f64 {
        match (self.above, self.when) {
            (Some(Level::Share(share)), _) => share,
            (Some(Level::Time(time)), _) => time.as_secs_f64(),
            (Some(Level::Bytes(bytes)), _) => bytes as f64,
            (None, AlertKind::ErrorRate) => 0.05,
            (None, AlertKind::Unhealthy | AlertKind::Held) => 0.0,
            (None, _) => 0.9,
        }
    }

    /// What is wrong with this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let name = self.when.as_str();
        match (self.when, self.above) {
            (AlertKind::LatencyP99, Some(Level::Time(_)))
            | (AlertKind::Memory, Some(Level::Bytes(_)))
            | (AlertKind::Held, None) => {}
            (AlertKind::LatencyP99, _) => {
                problems.add(
                    "above",
                    "`latency_p99` needs `above`, a time such as `500ms`",
                );
            }
            (AlertKind::Memory, _) => {
                problems.add("above", "`memory` needs `above`, a size such as `512MiB`");
            }
            (AlertKind::Held, Some(_)) => {
                problems.add(
                    "above",
                    "`held` has no `above`: `for` says how long is too long",
                );
            }
            (_, Some(Level::Time(_) | Level::Bytes(_))) => {
                problems.add("above", format!("`{name}` is a share, such as `5%`"));
            }
            (_, Some(Level::Share(_)) | None) => {}
        }
        if self.route.is_some() && !self.when.is_of_routes() {
            problems.add("route", format!("`{name}` is not about routes"));
        }
        if self.backend.is_some() && !self.when.is_of_backends() {
            problems.add("backend", format!("`{name}` is not about backends"));
        }
        let day = Duration::from_hours(24);
        problems.duration("for", self.lasting, Duration::ZERO..=day);
        problems.number("notify", self.notify.len(), 0..=64);
        problems.into_vec()
    }
}

impl Level {
    fn parse(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is no share, time or size, such as 5%, 500ms or 512MiB");
        let text = text.trim();
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.trim().parse().map_err(|_| refused())?;
            return Self::share(percent / 100.0);
        }
        for (unit, bytes) in [("KiB", 1_u64 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)] {
            if let Some(count) = text.strip_suffix(unit) {
                let count: u64 = count.trim().parse().map_err(|_| refused())?;
                return Ok(Self::Bytes(count.saturating_mul(bytes)));
            }
        }
        if let Ok(share) = text.parse() {
            return Self::share(share);
        }
        duration_text::parse(text)
            .map(Self::Time)
            .map_err(|_| refused())
    }

    fn share(share: f64) -> Result<Self, String> {
        if (0.0..1.0).contains(&share) {
            return Ok(Self::Share(share));
        }
        Err(format!("{share} is no share below 1, such as 0.05 or 5%"))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{}%", (share * 1e6).round() / 1e4),
            Self::Time(time) => write!(f, "{}", humantime::format_duration(*time)),
            Self::Bytes(bytes) => write!(f, "{}KiB", bytes / 1024),
        }
    }
}

impl Serialize for Level {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Level;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share, a time or a size, such as 5%, 500ms or 512MiB")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Level, E> {
                Level::parse(text).map_err(E::custom)
            }

            fn visit_f64<E: Error>(self, share: f64) -> Result<Level, E> {
                Level::share(share).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, share: u64) -> Result<Level, E> {
                Level::share(share as f64).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, share: i64) -> Result<Level, E> {
                Level::share(share as f64).map_err(E::custom)
            }

            fn visit_i128<E: Error>(self, share: i128) -> Result<Level, E> {
                Level::share(share as f64).map_err(E::custom)
            }
        }
        from.deserialize_any(Any)
    }
}

fn default_for() -> Duration {
    Duration::from_secs(30)
}
