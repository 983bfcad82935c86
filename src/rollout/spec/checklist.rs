//! What is to be done or to hold along a rollout.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::model::{ItemName, MetricName, Problems, duration_text};

/// Most items of each part.
const MAX_ITEMS: usize = 32;
/// Longest question, in bytes.
const MAX_ASK_BYTES: usize = 512;
/// Largest number of a budget.
const MAX_AMOUNT: f64 = 1e12;

/// What is to be done, by persons, or to hold, by measure, along a plan's rollouts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChecklistSpec {
    /// Before the first stage, and before any hook is asked; questions alone. At most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pre: Vec<ItemSpec>,
    /// Before each stage with traffic is left, for each of them anew. At most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub during: Vec<ItemSpec>,
    /// After the last stage, before the candidate is promoted. At most 32.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub post: Vec<ItemSpec>,
}

/// One item of a checklist: something that a person says is done, or a budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemSpec {
    /// Its name; unique in the checklist.
    pub name: ItemName,
    /// What a person has to see to, 1 to 512 bytes. Either this or `budget`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<String>,
    /// What has to hold of the candidate. A person is asked where it cannot be measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetSpec>,
}

/// Bounds on what is measured of the candidate in a stage; at least one of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BudgetSpec {
    /// What is measured: `error_rate`, `latency_p50`, `latency_p95`, `latency_p99` or `calls` of the
    /// candidate in the stage, which but for `calls` takes as many of them as the judge's
    /// `min_requests`, or one of the plan's `judge.metrics`, by its mean.
    #[schemars(with = "String")]
    pub metric: MeasureSpec,
    /// The most, such as `1%`, `300ms` or `20`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub at_most: Option<Amount>,
    /// The least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub at_least: Option<Amount>,
    /// The most, as a multiple of stable's in the same stage, above 0 and at most 1,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most_times: Option<f64>,
    /// What a broken budget does. Default `hold`.
    #[serde(default)]
    pub broken: BrokenSpec,
}

/// What a budget is about: of the candidate's calls since the stage began, or since the start of the
/// process where that was later; of a pushed metric in the whole rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeasureSpec {
    /// The share of the calls that ended as the route counts against a backend.
    ErrorRate,
    /// What half of the calls took at most.
    LatencyP50,
    /// What 95 of 100 calls took at most.
    LatencyP95,
    /// What 99 of 100 calls took at most.
    LatencyP99,
    /// How many calls there were.
    Calls,
    /// The mean of what applications push under this name.
    Pushed(MetricName),
}

/// What a broken budget does.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum BrokenSpec {
    /// The rollout waits until it holds again, or a person lets it pass.
    #[default]
    Hold,
    /// The rollout is reverted.
    Revert,
}

/// A number, a share such as `1%` as a part of one, or a time such as `300ms` in seconds.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Amount(f64);

/// A part of a checklist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Before the first stage.
    Pre,
    /// Before each stage with traffic is left.
    During,
    /// Before the promotion.
    Post,
}

impl Part {
    /// Every part, in their order.
    pub const ALL: [Self; 3] = [Self::Pre, Self::During, Self::Post];

    /// The part's name in file, API and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::During => "during",
            Self::Post => "post",
        }
    }
}

impl ChecklistSpec {
    /// Whether it has no item.
    pub fn is_empty(&self) -> bool {
        Part::ALL.iter().all(|part| self.part(*part).is_empty())
    }

    /// The items of a part.
    pub fn part(&self, part: Part) -> &[ItemSpec] {
        match part {
            Part::Pre => &self.pre,
            Part::During => &self.during,
            Part::Post => &self.post,
        }
    }

    /// Every item, with its part.
    pub fn items(&self) -> impl Iterator<Item = (Part, &ItemSpec)> {
        let parts = Part::ALL.into_iter();
        parts.flat_map(|part| self.part(part).iter().map(move |item| (part, item)))
    }

    /// What is wrong with it; `pushed` are the metrics that the plan's judge knows.
    pub(super) fn problems(&self, pushed: &[MetricName]) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let mut names = Vec::new();
        for part in Part::ALL {
            let items = self.part(part);
            problems.number(part.as_str(), items.len(), 0..=MAX_ITEMS);
            for (index, item) in items.iter().enumerate() {
                let path = format!("{}[{index}]", part.as_str());
                problems.add_all(&path, item.problems(part, pushed));
                if names.contains(&&item.name) {
                    let message = format!("another item is named `{}`", item.name);
                    problems.add(format!("{path}.name"), message);
                }
                names.push(&item.name);
            }
        }
        problems.into_vec()
    }
}

impl ItemSpec {
    fn problems(&self, part: Part, pushed: &[MetricName]) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        match (&self.ask, &self.budget) {
            (Some(ask), None) => problems.number("ask", ask.len(), 1..=MAX_ASK_BYTES),
            (None, Some(_)) if part == Part::Pre => problems.add(
                "budget",
                "before the first stage there is nothing to measure; put it under `during` or `post`",
            ),
            (None, Some(budget)) => problems.add_all("budget", budget.problems(pushed)),
            (Some(_), Some(_)) => problems.add("", "has `ask` and `budget`; it is one of them"),
            (None, None) => problems.add("", "needs `ask`, or `budget`"),
        }
        problems.into_vec()
    }
}

impl BudgetSpec {
    fn problems(&self, pushed: &[MetricName]) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if let MeasureSpec::Pushed(name) = &self.metric
            && !pushed.contains(name)
        {
            let message = format!(
                "`{name}` is no measure: one of error_rate, latency_p50, latency_p95, latency_p99, calls, or of the plan's `judge.metrics`"
            );
            problems.add("metric", message);
        }
        if self.at_most.is_none() && self.at_least.is_none() && self.at_most_times.is_none() {
            problems.add("", "needs `at_most`, `at_least` or `at_most_times`");
        }
        let bounds = [("at_most", self.at_most), ("at_least", self.at_least)];
        for (field, bound) in bounds {
            let is_share = self.metric == MeasureSpec::ErrorRate;
            if is_share && bound.is_some_and(|Amount(part)| part > 1.0) {
                let message = "is more than 100 %: write a share such as 1%, or 0.01";
                problems.add(field, message);
            }
        }
        if self
            .at_least
            .zip(self.at_most)
            .is_some_and(|(least, most)| least > most)
        {
            problems.add("at_least", "is above `at_most`, so that it never holds");
        }
        if self
            .at_most_times
            .is_some_and(|times| !(times > 0.0 && times <= 1000.0))
        {
            let message = "`at_most_times` must be above 0 and at most 1000";
            problems.add("at_most_times", message);
        }
        problems.into_vec()
    }

    /// Whether it holds of what was measured of candidate and stable; `None` where that cannot be
    /// told.
    pub fn holds(&self, candidate: f64, stable: Option<f64>) -> Option<bool> {
        let most = self.at_most.is_none_or(|most| candidate <= most.0);
        let least = self.at_least.is_none_or(|least| candidate >= least.0);
        let times = match self.at_most_times {
            Some(times) => candidate <= times * stable?,
            None => true,
        };
        Some(most && least && times)
    }
}

impl MeasureSpec {
    const COUNTED: [Self; 5] = [
        Self::ErrorRate,
        Self::LatencyP50,
        Self::LatencyP95,
        Self::LatencyP99,
        Self::Calls,
    ];

    /// The name in file and API.
    pub fn as_str(&self) -> &str {
        match self {
            Self::ErrorRate => "error_rate",
            Self::LatencyP50 => "latency_p50",
            Self::LatencyP95 => "latency_p95",
            Self::LatencyP99 => "latency_p99",
            Self::Calls => "calls",
            Self::Pushed(name) => name.as_str(),
        }
    }
}

impl Serialize for MeasureSpec {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for MeasureSpec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        let counted = Self::COUNTED.into_iter().find(|it| it.as_str() == text);
        match counted {
            Some(counted) => Ok(counted),
            None => text.parse().map(Self::Pushed).map_err(Error::custom),
        }
    }
}

impl fmt::Display for BudgetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.metric.as_str())?;
        if let Some(Amount(most)) = self.at_most {
            write!(f, " at most {most}")?;
        }
        if let Some(Amount(least)) = self.at_least {
            write!(f, " at least {least}")?;
        }
        if let Some(times) = self.at_most_times {
            write!(f, " at most {times} times stable's")?;
        }
        Ok(())
    }
}

impl Amount {
    fn new(amount: f64) -> Result<Self, String> {
        if (0.0..=MAX_AMOUNT).contains(&amount) {
            return Ok(Self(amount));
        }
        Err(format!("{amount} is not from 0 to {MAX_AMOUNT:e}"))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is no number, share or time, such as 20, 1% or 300ms");
        let trimmed = text.trim();
        if let Some(percent) = trimmed.strip_suffix('%') {
            let percent: f64 = percent.trim().parse().map_err(|_| refused())?;
            return Self::new(percent / 100.0);
        }
        if let Ok(amount) = trimmed.parse() {
            return Self::new(amount);
        }
        let time = duration_text::parse(trimmed).map_err(|_| refused())?;
        Self::new(time.as_secs_f64())
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a share or a time, such as 20, 1% or 300ms")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Amount, E> {
                Amount::parse(text).map_err(E::custom)
            }

            fn visit_f64<E: Error>(self, amount: f64) -> Result<Amount, E> {
                Amount::new(amount).map_err(E::custom)
            }

            fn visit_u64<E: Error>(self, amount: u64) -> Result<Amount, E> {
                Amount::new(amount as f64).map_err(E::custom)
            }

            fn visit_i64<E: Error>(self, amount: i64) -> Result<Amount, E> {
                Amount::new(amount as f64).map_err(E::custom)
            }

            fn visit_i128<E: Error>(self, amount: i128) -> Result<Amount, E> {
                Amount::new(amount as f64).map_err(E::custom)
            }
        }
        from.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(json: &str) -> Result<ChecklistSpec, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    fn budget(json: &str) -> BudgetSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_budget_holds_within_each_of_its_bounds() {
        let share = budget(r#"{"metric":"error_rate","at_most":"1%"}"#);
        let time = budget(r#"{"metric":"latency_p99","at_most":"300ms","at_most_times":1.5}"#);
        let calls = budget(r#"{"metric":"calls","at_least":20}"#);

        assert_eq!(share.holds(0.01, None), Some(true));
        assert_eq!(share.holds(0.0101, None), Some(false));
        assert_eq!(time.holds(0.3, Some(0.2)), Some(true));
        assert_eq!(time.holds(0.29, Some(0.1)), Some(false));
        // Nothing to compare with.
        assert_eq!(time.holds(0.1, None), None);
        assert_eq!(calls.holds(20.0, None), Some(true));
        assert_eq!(calls.holds(19.0, Some(1000.0)), Some(false));
    }

    #[test]
    fn a_plan_survives_the_store_with_its_budgets() {
        let text = r#"{"during":[{"name":"a","budget":{"metric":"latency_p50","at_most":"2s","broken":"revert"}}]}"#;
        let read = list(text).unwrap();

        let again = list(&serde_json::to_string(&read).unwrap()).unwrap();

        assert_eq!(again, read);
        assert_eq!(
            again.during[0].budget.as_ref().unwrap().at_most,
            Some(Amount(2.0))
        );
    }

    #[test]
    fn what_makes_no_sense_is_told_with_its_place() {
        for (json, place, why) in [
            (r#"{"pre":[{"name":"a"}]}"#, "pre[0]", "needs `ask`"),
            (
                r#"{"pre":[{"name":"a","ask":""}]}"#,
                "pre[0].ask",
                "from 1 to 512",
            ),
            (
                r#"{"pre":[{"name":"a","budget":{"metric":"calls","at_least":1}}]}"#,
                "pre[0].budget",
                "nothing to measure",
            ),
            (
                r#"{"post":[{"name":"a","budget":{"metric":"calls"}}]}"#,
                "post[0].budget",
                "needs `at_most`",
            ),
            (
                r#"{"post":[{"name":"a","budget":{"metric":"error_rate","at_most":5}}]}"#,
                "post[0].budget.at_most",
                "more than 100 %",
            ),
            (
                r#"{"post":[{"name":"a","budget":{"metric":"calls","at_most":5,"at_least":6}}]}"#,
                "post[0].budget.at_least",
                "never holds",
            ),
            (
                r#"{"post":[{"name":"a","budget":{"metric":"calls","at_most_times":0}}]}"#,
                "post[0].budget.at_most_times",
                "above 0",
            ),
            (
                r#"{"post":[{"name":"a","budget":{"metric":"cost","at_most":1}},{"name":"b","budget":{"metric":"tokens","at_most":1}}]}"#,
                "post[0].budget.metric",
                "`cost` is no measure",
            ),
            (
                r#"{"pre":[{"name":"a","ask":"x"}],"post":[{"name":"a","ask":"y"}]}"#,
                "post[0].name",
                "another item",
            ),
        ] {
            let problems = list(json).unwrap().problems(&["tokens".parse().unwrap()]);

            assert_eq!(problems.len(), 1, "{json}: {problems:?}");
            assert_eq!(problems[0].0, place, "{json}");
            assert!(problems[0].1.contains(why), "{json}: {problems:?}");
        }
        let wrong = r#"{"post":[{"name":"a","budget":{"metric":"calls","at_most":"many"}}]}"#;
        assert!(list(wrong).unwrap_err().contains("such as 20, 1% or 300ms"));
    }
}
