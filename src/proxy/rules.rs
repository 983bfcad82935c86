//! Rules: routes that take some of another route's MCP requests.
//!
//! Who may ask, and what a body and an answer may be like, is decided by the route that the request
//! came to, before anything of the body is known. A rule only says where the request goes.

use http::Method;
use http::header::HeaderMap;

use crate::mcp::{Era, Kind, RequestFacts};
use crate::routing::{Closeness, Rule};

use super::alone;
use super::head::Head;
use super::pipeline::Subject;
use super::snapshot::{Route, RouteBlueprint};
use super::spec::RouteSpec;
use super::sse;
use super::view::RouteView;

/// The rule that takes a request of this route, if one does. A batch is of the route itself, and so
/// is a request that brings a value back to the server that made it.
pub(super) fn find(
    route: &RouteView,
    (era, fields): (Era, &HeaderMap),
    (head, subject): (&Head, &Subject),
) -> Option<RouteView> {
    if !route.has_rules() || subject.method != Method::POST {
        return None;
    }
    if sse::message_of(route, head).is_some() {
        // Answered on the stream of its session, which comes from one backend.
        let facts = subject.facts.as_ref().filter(|it| it.kind == Kind::Request);
        let takes = |facts: &RequestFacts| {
            route.rule(|rule| rule.takes(facts.method, facts.mirrored_name()))
        };
        if facts.is_some_and(|facts| takes(facts).is_some()) {
            metrics::counter!("switchback_rules_unfollowed_total").increment(1);
        }
        return None;
    }
    match (&subject.facts, era) {
        (Some(facts), Era::Requests) if facts.tie.is_some() => None,
        (Some(facts), _) if facts.kind == Kind::Request => {
            route.rule(|rule| rule.takes(facts.method, facts.mirrored_name()))
        }
        // The body was too long to be looked at. A header says nothing of one that says several things.
        (None, Era::Requests) if !subject.is_unclear => {
            let said = alone::mirrored(fields).ok()?;
            let (method, name) = (said.method()?, said.name());
            let name = name.as_deref().and_then(|it| std::str::from_utf8(it).ok());
            route.rule(|rule| rule.takes(method, name))
        }
        (Some(_) | None, _) => None,
    }
}

/// The closest of several rules; of two that are as close the first one of the file.
pub(super) fn closest(
    rules: &[(Rule, usize)],
    takes: impl Fn(&Rule) -> Option<Closeness>,
) -> Option<usize> {
    let mut best: Option<(Closeness, usize)> = None;
    for (rule, place) in rules {
        if let Some(close) = takes(rule)
            && best.is_none_or(|(closest, _)| close > closest)
        {
            best = Some((close, *place));
        }
    }
    best.map(|(_, place)| place)
}

/// The route that each route is a rule of, by its place.
pub(super) fn bases(routes: &[RouteBlueprint]) -> Vec<Option<usize>> {
    let base = |rule: &RouteSpec| {
        rule.matches.mcp.as_ref()?;
        let at = rule.matches.place();
        routes
            .iter()
            .position(|it| it.spec.matches.mcp.is_none() && it.spec.matches.place() == at)
    };
    routes.iter().map(|route| base(&route.spec)).collect()
}

/// A rule with what it has of its route.
pub(super) fn inherit(rule: &RouteBlueprint, base: &RouteBlueprint) -> RouteBlueprint {
    let own = rule.spec.clone();
    RouteBlueprint {
        spec: RouteSpec {
            name: own.name,
            matches: own.matches,
            split: own.split,
            plan: own.plan,
            bad_outcomes: own.bad_outcomes,
            retries: own.retries,
            contract: own.contract,
            // Asked already, when the request came to its route.
            allow: None,
            deny: Vec::new(),
            auth: None,
            shadow: None,
            shield: None,
            ..base.spec.clone()
        },
        ..rule.clone()
    }
}

/// Makes rules known to their routes, and each route's sessions and ties to its rules.
pub(super) fn link(routes: &mut [Route], specs: &[RouteBlueprint], bases: &[Option<usize>]) {
    for (place, (base, blueprint)) in bases.iter().zip(specs).enumerate() {
        let (Some(base), Some(mcp)) = (*base, &blueprint.spec.matches.mcp) else {
            continue;
        };
        let Some(of) = routes.get_mut(base) else {
            continue;
        };
        of.rules.push((Rule::new(mcp), place));
        let (name, family) = (of.belongs.clone(), of.family);
        if let Some(rule) = routes.get_mut(place) {
            (rule.belongs, rule.family) = (name, family);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::mcp;
    use crate::routing::spec::McpMatchSpec;

    use super::*;

    fn rule(name: &str) -> Rule {
        Rule::new(&McpMatchSpec {
            method: "tools/call".to_owned(),
            name: Some(vec![name.to_owned()]),
        })
    }

    #[test]
    fn of_several_rules_the_closest_takes_a_request_and_then_the_first() {
        let rules = [
            (rule("a*"), 7),
            (rule("ab"), 8),
            (rule("a*"), 9),
            (rule("ab*"), 10),
        ];
        let of = |name| {
            closest(&rules, |rule| {
                rule.takes(mcp::Method::ToolsCall, Some(name))
            })
        };

        assert_eq!(of("ax"), Some(7));
        assert_eq!(of("ab"), Some(8));
        assert_eq!(of("abc"), Some(10));
        assert_eq!(of("b"), None);
    }
}
