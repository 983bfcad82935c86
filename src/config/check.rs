//! What no single room can check, and every room's own checks put at their place in the file.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::diagnostic::Code;
use super::node::{Node, Step};
use super::reader::{Findings, MAX_PROBLEMS, Problem};
use super::spec::ConfigSpec;
use super::suggest::did_you_mean;
use crate::model::{BackendName, Weight};
use crate::proxy::spec::RouteSpec;

/// Worker threads, at most.
const MAX_WORKERS: u16 = 256;

/// Checks what could be read of a file.
pub(super) fn check(root: &Node, spec: &ConfigSpec, findings: &mut Findings) {
    let mut checker = Checker { root, findings };
    checker.process(spec);
    checker.listeners(spec);
    checker.sections(spec);
    for (index, route) in spec.routes.iter().enumerate() {
        checker.route(index, route);
    }
    checker.same_routes(&spec.routes);
    checker.rules(spec);
}

/// Where a part of the file stands, such as `listeners[0].tls`.
pub(super) fn place_of(root: &Node, path: &str) -> std::ops::Range<usize> {
    let checker = Checker {
        root,
        findings: &mut Findings::default(),
    };
    checker.find(&Step::parse(path)).0.place()
}

pub(super) struct Checker<'a> {
    root: &'a Node,
    findings: &'a mut Findings,
}

/// Which part of an entry a problem is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Key,
    Value,
}

impl<'a> Checker<'a> {
    fn process(&mut self, spec: &ConfigSpec) {
        if let Some(workers) = spec.workers
            && !(1..=MAX_WORKERS).contains(&workers)
        {
            let message = format!("`workers` is {workers}, but must be from 1 to {MAX_WORKERS}");
            self.value("workers", Problem::new(Code::InvalidValue, message));
        }
        self.admin(spec);
        for (section, empty) in [
            ("listeners", spec.listeners.is_empty()),
            ("routes", spec.routes.is_empty()),
            ("backends", spec.backends.is_empty()),
        ] {
            if empty {
                let message = format!("`{section}` is empty, but needs at least one entry");
                self.value(section, Problem::new(Code::InvalidValue, message));
            }
        }
    }

    fn listeners(&mut self, spec: &ConfigSpec) {
        let mut taken = Vec::new();
        for (index, listener) in spec.listeners.iter().enumerate() {
            let address = listener.address;
            let path = format!("listeners[{index}].address");
            if taken.iter().any(|other| overlap(*other, address)) {
                let message = format!("another listener has the address {address}");
                self.value(&path, Problem::new(Code::DuplicateAddress, message));
            } else if let Some(admin) = spec.admin.address.port()
                && overlap(admin, address)
            {
                let message = format!("the admin API has the address {}", spec.admin.address);
                self.value(&path, Problem::new(Code::DuplicateAddress, message));
            }
            taken.push(address);
        }
    }

    /// The checks that rooms do on their own sections.
    fn sections(&mut self, spec: &ConfigSpec) {
        let key = |key: &str| vec![Step::Key(key.to_owned())];
        self.local(&key("limits"), spec.limits.problems());
        self.local(&key("forwarding"), spec.forwarding.problems());
        self.local(&key("state"), spec.state.problems());
        self.local(&key("admin"), spec.admin.problems());
        for (index, listener) in spec.listeners.iter().enumerate() {
            let steps = [key("listeners"), vec![Step::Index(index)]].concat();
            self.local(&steps, listener.problems());
        }
        for (name, backend) in &spec.backends {
            let steps = [key("backends"), key(name.as_str())].concat();
            self.local(&steps, backend.problems());
        }
        for (name, plan) in &spec.plans {
            let steps = [key("plans"), key(name.as_str())].concat();
            self.local(&steps, plan.problems());
        }
        for (index, route) in spec.routes.iter().enumerate() {
            let steps = [key("routes"), vec![Step::Index(index)]].concat();
            self.local(&steps, route.problems());
        }
        self.tellers(spec);
        self.hooks(spec);
        self.alerts(spec);
        self.windows(spec);
    }

    pub(super) fn local(&mut self, section: &[Step], problems: Vec<(String, String)>) {
        for (field, message) in problems {
            let steps = [section, &Step::parse(&field)].concat();
            let name = field.rsplit('.').next().unwrap_or_default();
            let message = if message.contains('`') || name.is_empty() {
                message
            } else {
                format!("`{name}`: {message}")
            };
            self.report(
                &steps,
                Side::Value,
                Problem::new(Code::InvalidValue, message),
            );
        }
    }

    fn route(&mut self, index: usize, route: &RouteSpec) {
        for backend in route.split.keys() {
            let mut steps = Step::parse(&format!("routes[{index}].split"));
            steps.push(Step::Key(backend.to_string()));
            if let Some(problem) = self.unknown("backend", backend.as_str()) {
                self.report(&steps, Side::Key, problem);
            }
        }
        if let Some(shadow) = &route.shadow {
            let path = format!("routes[{index}].shadow.backend");
            if let Some(problem) = self.unknown("backend", shadow.backend.as_str()) {
                self.value(&path, problem);
            } else if is_alone(route, &shadow.backend) {
                let message = format!(
                    "`{}` answers all calls of this route, so that mirroring to it compares it \
                     with itself",
                    shadow.backend
                );
                self.value(&path, Problem::new(Code::Conflict, message));
            }
        }
        if let Some(plan) = &route.plan
            && let Some(problem) = self.unknown("plan", plan.as_str())
        {
            self.value(&format!("routes[{index}].plan"), problem);
        }
    }

    fn same_routes(&mut self, routes: &[RouteSpec]) {
        let mut names = HashMap::new();
        let mut matches = HashMap::new();
        for (index, route) in routes.iter().enumerate() {
            if names.insert(&route.name, index).is_some() {
                let message = format!("another route is named `{}`", route.name);
                let problem = Problem::new(Code::DuplicateRoute, message);
                self.value(&format!("routes[{index}].name"), problem);
            }
            let taken = (route.matches.place(), &route.matches.mcp);
            if let Some(other) = matches.insert(taken, route) {
                let message = format!(
                    "the route `{}` takes exactly the requests that `{}` takes",
                    route.name, other.name
                );
                let problem = Problem::new(Code::DuplicateRoute, message)
                    .with_hint("give them different hosts or paths");
                self.value(&format!("routes[{index}].match"), problem);
            }
        }
    }

    /// A name that is not declared in the file; one whose declaration is broken is.
    pub(super) fn unknown(&self, kind: &str, name: &str) -> Option<Problem> {
        let section = self.root.entry(&format!("{kind}s"));
        if section.is_none() && self.findings.assumed.iter().any(|s| s.starts_with(kind)) {
            return None;
        }
        let declared = section.map_or(&[] as &[_], |entry| entry.value.entries());
        if declared.iter().any(|entry| entry.key == name) {
            return None;
        }
        let code = if kind == "plan" {
            Code::UnknownPlan
        } else {
            Code::UnknownBackend
        };
        if self.findings.problems.len() >= MAX_PROBLEMS {
            return None;
        }
        let problem = Problem::new(code, format!("there is no {kind} `{name}`"));
        let known = declared.iter().map(|entry| entry.key.as_str());
        Some(match did_you_mean(name, known) {
            Some(hint) => problem.with_hint(hint),
            None => problem.with_hint(format!("declare it under `{kind}s`")),
        })
    }

    pub(super) fn value(&mut self, path: &str, problem: Problem) {
        self.report(&Step::parse(path), Side::Value, problem);
    }

    /// Notes a problem at a path of the spec, unless part of what is there was taken out:
    /// then the problem may only be a shadow of one that is already noted.
    fn report(&mut self, steps: &[Step], side: Side, problem: Problem) {
        if self.findings.problems.len() >= MAX_PROBLEMS {
            return;
        }
        let (node, key_span) = self.find(steps);
        let gone = |node: &Node| self.findings.taken_out.contains(&node.id);
        if side == Side::Value && node.id != self.root.id && node.any(&gone) {
            return;
        }
        let first = match steps.first() {
            Some(Step::Key(key)) => key.as_str(),
            Some(Step::Index(_)) | None => "",
        };
        if self.findings.assumed.contains(first) {
            return;
        }
        let span = match (side, key_span) {
            (Side::Key, Some(span)) => span,
            (Side::Key, None) | (Side::Value, _) => node.place(),
        };
        self.findings.problems.push(problem.found_at(node, span));
    }

    /// The node at a path, or the last one on the way where the file leaves a default.
    fn find(&self, steps: &[Step]) -> (&'a Node, Option<std::ops::Range<usize>>) {
        let mut at = self.root;
        let mut key_span = None;
        for step in steps {
            let kept = |node: &&Node| !self.findings.taken_out.contains(&node.id);
            let next = match step {
                Step::Key(key) => at
                    .entries()
                    .iter()
                    .find(|e| e.key == *key && kept(&&e.value)),
                Step::Index(index) => match at.items().iter().filter(kept).nth(*index) {
                    Some(item) => {
                        at = item;
                        continue;
                    }
                    None => None,
                },
            };
            let Some(entry) = next else { break };
            key_span = Some(entry.key_span.clone());
            at = &entry.value;
        }
        (at, key_span)
    }
}

/// Whether two sockets cannot both be bound; port 0 is always another port.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0
        && a.port() == b.port()
        && (a.ip() == b.ip() || (any && a.is_ipv4() == b.is_ipv4()))
}

/// Whether `backend` is the only one of the route that gets traffic.
fn is_alone(route: &RouteSpec, backend: &BackendName) -> bool {
    let has_share = |(name, weight): (&BackendName, &Weight)| {
        (*weight != Weight::ZERO).then_some(name == backend)
    };
    let mut with_share = route.split.iter().filter_map(has_share).peekable();
    with_share.peek().is_some() && with_share.all(|is_it| is_it)
}
