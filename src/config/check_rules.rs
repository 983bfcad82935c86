//! Checks of routes that take some of another route's MCP requests.

use super::check::Checker;
use super::diagnostic::Code;
use super::reader::Problem;
use super::spec::ConfigSpec;
use crate::proxy::spec::{ProtocolSpec, RouteSpec};

/// Most rules of a route: each is looked at for each request.
const MAX_RULES: usize = 64;

impl Checker<'_> {
    /// Whether each rule has a route that it can be one of.
    pub(super) fn rules(&mut self, spec: &ConfigSpec) {
        for (index, rule) in spec.routes.iter().enumerate() {
            if rule.matches.mcp.is_some() {
                self.rule((index, rule), &spec.routes);
                self.plan_of_rule((index, rule), spec);
            }
        }
    }

    /// A rule's calls are never copied, so that its plan would be refused at every start.
    fn plan_of_rule(&mut self, (index, rule): (usize, &RouteSpec), spec: &ConfigSpec) {
        let plan = rule.plan.as_ref();
        let found = plan.and_then(|plan| spec.plans.get_key_value(plan));
        let Some((name, _)) = found.filter(|(_, plan)| plan.shadow.is_some()) else {
            return;
        };
        let message = format!(
            "the plan `{name}` begins in the shadow, and calls of a route with `match.mcp` are not copied"
        );
        let problem =
            Problem::new(Code::Conflict, message).with_hint("name a plan without `shadow` here");
        self.value(&format!("routes[{index}].plan"), problem);
    }

    fn rule(&mut self, (index, rule): (usize, &RouteSpec), routes: &[RouteSpec]) {
        let at = rule.matches.place();
        let beside = |route: &&RouteSpec| route.matches.place() == at;
        let mut bases = routes.iter().filter(beside);
        let base = bases.find(|route| route.matches.mcp.is_none());
        let place = format!("routes[{index}].match.mcp");
        let Some(base) = base else {
            let message = format!(
                "no route takes the other requests with this host and path: `{}` has nothing to be a \
                 rule of",
                rule.name
            );
            let problem = Problem::new(Code::Conflict, message)
                .with_hint("add a route with the same `match` without `mcp`");
            return self.value(&place, problem);
        };
        if base.protocol != ProtocolSpec::Mcp {
            let message = format!("the route `{}` does not speak MCP", base.name);
            return self.value(&place, Problem::new(Code::Conflict, message));
        }
        let before = routes.iter().take(index).filter(beside);
        let rules = before.filter(|route| route.matches.mcp.is_some()).count();
        if rules == MAX_RULES {
            let message = format!("a route has at most {MAX_RULES} rules");
            self.value(&place, Problem::new(Code::InvalidValue, message));
        }
        for backend in rule.split.keys() {
            if !base.split.contains_key(backend) {
                let message = format!(
                    "`{backend}` is not in the split of the route `{}` that this is a rule of",
                    base.name
                );
                let problem = Problem::new(Code::Conflict, message)
                    .with_hint(format!("add it there with `{backend}: 0`"));
                self.value(&format!("routes[{index}].split"), problem);
            }
        }
    }
}
