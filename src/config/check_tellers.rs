//! Checks of the sections about who is told and who is asked.

use super::check::Checker;
use super::diagnostic::Code;
use super::node::Step;
use super::reader::Problem;
use super::spec::ConfigSpec;
use crate::notify::spec::MAX_NOTIFIERS;

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

    fn most(&mut self, section: &str, count: usize, most: usize) {
        if count > most {
            let message = format!("`{section}` has {count} entries, but there are at most {most}");
            self.value(section, Problem::new(Code::InvalidValue, message));
        }
    }
}
