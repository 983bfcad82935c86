//! The part of a target behind its question mark.

use std::str::FromStr;
use std::time::Duration;

use http::{Response, StatusCode, Uri};

use crate::control::{AskContract, AskEstimate, HistoryFilter, Recipe, RolloutFilter};
use crate::model::{BackendName, Percent, RouteName, duration_text};
use crate::rollout::spec::StageSpec;

use super::audit::Page;
use super::error::Refusal;
use super::reply::{Body, json};
use super::wire::{ErrorCode, PassBody, RolloutState, RolloutVerdictBody};

/// Most events that a reader gets at once.
pub(super) const LIMIT_MAX: usize = 1000;
/// Time in each stage of those who do not say.
const STAGE_TIME: Duration = Duration::from_mins(5);
/// How many a reader gets who does not say.
const LIMIT: usize = 100;

/// Which events of the past a query asks for. Unknown and repeated names are refused.
pub(super) fn history(target: &Uri) -> Result<HistoryFilter, Refusal> {
    let mut filter = HistoryFilter {
        limit: LIMIT,
        ..HistoryFilter::default()
    };
    each(target, |name, value| {
        match name {
            "route" => filter.route = Some(read(name, value)?),
            "rollout" => filter.rollout = Some(read(name, value)?),
            "before" => filter.before = Some(read(name, value)?),
            "limit" => filter.limit = limit(value)?,
            _ => return Err(unknown(name, "route, rollout, before and limit are")),
        }
        Ok(())
    })?;
    Ok(filter)
}

/// Which rollouts a query asks for.
pub(super) fn rollouts(target: &Uri) -> Result<RolloutFilter, Refusal> {
    let mut filter = RolloutFilter {
        limit: LIMIT,
        ..RolloutFilter::default()
    };
    each(target, |name, value| {
        match name {
            "route" => filter.route = Some(read(name, value)?),
            "state" => filter.phase = Some(phase(value)?),
            "before" => filter.before = Some(read(name, value)?),
            "limit" => filter.limit = limit(value)?,
            _ => return Err(unknown(name, "route, state, before and limit are")),
        }
        Ok(())
    })?;
    Ok(filter)
}

fn phase(value: &str) -> Result<String, Refusal> {
    let names = RolloutState::ALL.map(RolloutState::as_str);
    if names.contains(&value) {
        return Ok(value.to_owned());
    }
    let message = format!("state: no rollout stands `{}`", value.escape_default());
    Err(invalid(message).hint(names.join(", ")))
}

/// Which rollout a query thinks of.
pub(super) fn estimate(target: &Uri, route: RouteName) -> Result<AskEstimate, Refusal> {
    let (mut to, mut plan, mut stages, mut time) = (None, None, None, None);
    each(target, |name, value| {
        match name {
            "to" => to = Some(read(name, value)?),
            "plan" => plan = Some(read(name, value)?),
            "stages" => stages = Some(value.to_owned()),
            "for" => {
                let read = duration_text::parse(value);
                time = Some(read.map_err(|error| invalid(format!("for: {error}")))?);
            }
            _ => return Err(unknown(name, "to, plan, stages and for are")),
        }
        Ok(())
    })?;
    let recipe = match (plan, stages) {
        (None, None) => Recipe::OfRoute,
        (Some(plan), None) => Recipe::Plan(plan),
        (None, Some(stages)) => Recipe::Stages(climb(&stages, time.unwrap_or(STAGE_TIME))?),
        (Some(_), Some(_)) => {
            let message = "a rollout follows a plan or stages of its own, not both";
            return Err(invalid(message.to_owned()));
        }
    };
    let to = to.ok_or_else(|| {
        invalid("to is missing: the backend to ship".to_owned()).hint("such as to=search-v2")
    })?;
    Ok(AskEstimate { route, to, recipe })
}

fn climb(stages: &str, duration: Duration) -> Result<Vec<StageSpec>, Refusal> {
    let each = stages.split(',').map(|percent| {
        let number: f64 = read("stages", percent)?;
        let percent = Percent::new(number);
        Ok(StageSpec {
            percent: percent.map_err(|error| invalid(format!("stages: {error}")))?,
            duration,
            approve: false,
        })
    });
    each.collect()
}

/// Whose verdict is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Rollout,
    Route,
}

/// How a verdict is asked for.
#[derive(Debug)]
pub(super) struct AskVerdict {
    /// Verdicts that are answered with 200.
    ok: Vec<PassBody>,
    /// Only of a rollout to this backend.
    pub(super) to: Option<BackendName>,
}

impl AskVerdict {
    /// The answer with the status that was asked for.
    pub(super) fn answer(&self, body: &RolloutVerdictBody) -> Response<Body> {
        let status = match body.verdict {
            verdict if self.ok.contains(&verdict) => StatusCode::OK,
            // Only where it is not asked for: whoever wants to hear of failures waits for them.
            PassBody::Pass | PassBody::Early => StatusCode::TOO_EARLY,
            PassBody::Fail => StatusCode::EXPECTATION_FAILED,
        };
        json(status, body)
    }
}

/// How a query asks for a verdict.
pub(super) fn verdict(target: &Uri, of: Of) -> Result<AskVerdict, Refusal> {
    let mut asked = AskVerdict {
        ok: vec![PassBody::Pass],
        to: None,
    };
    each(target, |name, value| {
        match (name, of) {
            ("ok", _) => asked.ok = value.split(',').map(pass).collect::<Result<_, _>>()?,
            ("to", Of::Route) => asked.to = Some(read(name, value)?),
            (_, Of::Route) => return Err(unknown(name, "ok and to are")),
            (_, Of::Rollout) => return Err(unknown(name, "ok is")),
        }
        Ok(())
    })?;
    Ok(asked)
}

fn pass(word: &str) -> Result<PassBody, Refusal> {
    let mut all = [PassBody::Pass, PassBody::Fail, PassBody::Early].into_iter();
    all.find(|pass| pass.as_str() == word).ok_or_else(|| {
        let message = format!("ok: `{}` is no verdict", word.escape_default());
        invalid(message).hint("pass, fail and early are, with commas between them")
    })
}

/// Which entries of the audit log a query asks for.
pub(super) fn audit(target: &Uri) -> Result<Page, Refusal> {
    let mut page = Page {
        before: None,
        limit: LIMIT,
    };
    each(target, |name, value| {
        match name {
            "before" => page.before = Some(read(name, value)?),
            "limit" => page.limit = limit(value)?,
            _ => return Err(unknown(name, "before and limit are")),
        }
        Ok(())
    })?;
    Ok(page)
}

/// Which contracts a query asks for.
pub(super) fn contract(target: &Uri, route: RouteName) -> Result<AskContract, Refusal> {
    let mut asked = AskContract {
        route,
        candidate: None,
        against: None,
    };
    each(target, |name, value| {
        match name {
            "candidate" => asked.candidate = Some(read(name, value)?),
            "against" => asked.against = Some(read(name, value)?),
            _ => return Err(unknown(name, "candidate and against are")),
        }
        Ok(())
    })?;
    Ok(asked)
}

fn unknown(name: &str, known: &str) -> Refusal {
    let message = format!("`{}` is not asked for here", name.escape_default());
    invalid(message).hint(known)
}

/// Gives each name of a query with its value, decoded.
fn each(
    target: &Uri,
    mut take: impl FnMut(&str, &str) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    let mut seen = Vec::new();
    for pair in target
        .query()
        .unwrap_or("")
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if seen.contains(&name) {
            return Err(invalid(format!("`{name}` is asked for twice")));
        }
        seen.push(name);
        let value = decode(value).ok_or_else(|| invalid(format!("`{name}` is not text")))?;
        take(name, &value)?;
    }
    Ok(())
}

fn limit(value: &str) -> Result<usize, Refusal> {
    let limit = read("limit", value)?;
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(invalid(format!("limit is 1 to {LIMIT_MAX}")))
}

fn read<T: FromStr<Err: std::fmt::Display>>(name: &str, value: &str) -> Result<T, Refusal> {
    value
        .parse()
        .map_err(|error| invalid(format!("{name}: {error}")))
}

fn invalid(message: String) -> Refusal {
    Refusal::new(ErrorCode::Invalid, message)
}

/// The text that `%XX` and `+` stand for; `None` when it is not UTF-8 or an escape is broken.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                (high * 16 + low) as u8
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use crate::model::RolloutId;

    use super::*;

    fn filter(query: &str) -> Result<HistoryFilter, ErrorCode> {
        let target = format!("/v1/history{query}").parse().unwrap();
        history(&target).map_err(|refusal| refusal.code())
    }

    #[test]
    fn a_filter_says_what_was_asked_for() {
        let read = filter("?route=search%2dv1&rollout=r-3&limit=5&before=9").unwrap();

        assert_eq!(read.route.unwrap().as_str(), "search-v1");
        assert_eq!(
            (read.rollout, read.limit, read.before),
            (Some(RolloutId(3)), 5, Some(9))
        );
        assert_eq!(filter("").unwrap().limit, LIMIT);
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        for query in [
            "?limit=0",
            "?limit=1001",
            "?limit=-1",
            "?limit=",
            "?limit=x",
            "?rollout=3",
            "?route=a%00b",
            "?route=%ff",
            "?route=%4",
            "?other=1",
            "?limit=1&limit=2",
            "?before=-1",
        ] {
            assert_eq!(filter(query).err(), Some(ErrorCode::Invalid), "{query}");
        }
    }
}
