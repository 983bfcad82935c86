//! Checks of the sections about who is told and who is asked.

use super::check::Checker;
use super::diagnostic::Code;
use super::node::Step;
use super::reader::Problem;
use super::spec::ConfigSpec;
use crate::hooks::spec::MAX_HOOKS;
use crate::notify::spec::{AlertSpec, MAX_ALERTS, MAX_NOTIFIERS};
use crate::rollout::spec::PlanSpec;

impl Checker<'_> {
    /// What notifiers say, and whether what they name is there.
    pub(super) fn tellers(&mut self, spec: &ConfigSpec) {
        self.most("notifiers", spec.notifiers.len(), MAX_NOTIFIERS);
        for (name, notifier) in &spec.notifiers {
            let key = |key: &str| Step::Key(key.to_owned());
            let steps = vec![key("notifiers"), key(name.as_str())];
            self.local(&steps, notifier.problems());
            for (index, route) in notifier.routes.iter().enumerate() {
                if spec.routes.iter().all(|known| known.name != *route) {
                    let message = format!("there is no route `{route}`");
                    let field = format!("routes[{index}]");
                    self.local(&steps, vec![(field, message)]);
                }
            }
        }
    }

    /// What alerts say, and whether what they name is there.
    pub(super) fn alerts(&mut self, spec: &ConfigSpec) {
        self.most("alerts", spec.alerts.len(), MAX_ALERTS);
        for (index, alert) in spec.alerts.iter().enumerate() {
            let steps = vec![Step::Key("alerts".to_owned()), Step::Index(index)];
            self.local(&steps, alert.problems());
            let before = spec.alerts.get(..index).unwrap_or_default();
            self.local(&steps, Self::missing(alert, before, spec));
        }
    }

    /// What an alert names and nothing else does.
    fn missing(
        alert: &AlertSpec,
        before: &[AlertSpec],
        spec: &ConfigSpec,
    ) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if before.iter().any(|other| other.name == alert.name) {
            let message = format!("another alert is named `{}`", alert.name);
            problems.push(("name".to_owned(), message));
        }
        if let Some(route) = &alert.route
            && spec.routes.iter().all(|known| known.name != *route)
        {
            problems.push(("route".to_owned(), format!("there is no route `{route}`")));
        }
        if let Some(backend) = &alert.backend
            && !spec.backends.contains_key(backend)
        {
            let message = format!("there is no backend `{backend}`");
            problems.push(("backend".to_owned(), message));
        }
        for (index, notifier) in alert.notify.iter().enumerate() {
            if !spec.notifiers.contains_key(notifier) {
                let message = format!("there is no notifier `{notifier}`");
                problems.push((format!("notify[{index}]"), message));
            }
        }
        problems
    }

    /// What hooks say, and whether those that plans name are there.
    pub(super) fn hooks(&mut self, spec: &ConfigSpec) {
        let key = |key: &str| Step::Key(key.to_owned());
        self.most("hooks", spec.hooks.len(), MAX_HOOKS);
        for (name, hook) in &spec.hooks {
            let steps = vec![key("hooks"), key(name.as_str())];
            self.local(&steps, hook.problems());
        }
        for (name, plan) in &spec.plans {
            let steps = vec![key("plans"), key(name.as_str())];
            let problems = Self::hooks_of(plan, spec);
            self.local(&steps, problems);
        }
    }

    fn hooks_of(plan: &PlanSpec, spec: &ConfigSpec) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        for (index, hook) in plan.hooks.iter().enumerate() {
            let before = plan.hooks.get(..index).unwrap_or_default();
            let field = format!("hooks[{index}]");
            if !spec.hooks.contains_key(hook) {
                problems.push((field, format!("there is no hook `{hook}`")));
            } else if before.contains(hook) {
                problems.push((field, format!("the hook `{hook}` is there twice")));
            }
        }
        problems
    }

    pub(super) fn most(&mut self, section: &str, count: usize, most: usize) {
        if count > most {
            let message = format!("`{section}` has {count} entries, but there are at most {most}");
            self.value(section, Problem::new(Code::InvalidValue, message));
        }
    }
}
