//! Checks of the windows, and of the plans that name them.

use super::check::Checker;
use super::node::Step;
use super::spec::ConfigSpec;
use super::suggest::did_you_mean;
use crate::calendar::spec::MAX_WINDOWS;
use crate::model::WindowName;
use crate::proxy::spec::RouteSpec;

impl Checker<'_> {
    /// What windows say, and whether those that plans name are there, and the backends of timed
    /// weights.
    pub(super) fn windows(&mut self, spec: &ConfigSpec) {
        let key = |key: &str| Step::Key(key.to_owned());
        self.most("windows", spec.windows.len(), MAX_WINDOWS);
        for (name, window) in &spec.windows {
            let steps = vec![key("windows"), key(name.as_str())];
            self.local(&steps, window.problems());
        }
        for (index, route) in spec.routes.iter().enumerate() {
            let steps = vec![key("routes"), Step::Index(index)];
            self.local(&steps, strangers(route));
        }
        for (name, plan) in &spec.plans {
            let named = plan.schedule.windows().into_iter();
            let missing = named.filter(|(_, window)| !spec.windows.contains_key(*window));
            let problems = missing.map(|(path, window)| (path, no_window(window, spec)));
            let steps = vec![key("plans"), key(name.as_str()), key("schedule")];
            self.local(&steps, problems.collect());
        }
    }
}

fn no_window(window: &WindowName, spec: &ConfigSpec) -> String {
    let known = spec.windows.keys().map(WindowName::as_str);
    let hint = did_you_mean(window.as_str(), known);
    let hint = hint.unwrap_or_else(|| "declare it under `windows`".to_owned());
    format!("there is no window `{window}`; {hint}")
}

/// Backends of timed weights that are none of the route's.
fn strangers(route: &RouteSpec) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    for (index, entry) in route.schedule.iter().enumerate() {
        let names = entry.split.keys();
        for backend in names.filter(|name| !route.split.contains_key(*name)) {
            let message = format!(
                "`{backend}` is not in the route's split; add it there with `{backend}: 0`"
            );
            problems.push((format!("schedule[{index}].split.{backend}"), message));
        }
    }
    problems
}
