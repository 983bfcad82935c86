//! The whole page of metrics.

use std::sync::Arc;

use crate::stats::Registry;

use super::calls::render_calls;
use super::copies::render_copies;
use super::counters::Counters;
use super::gates::render_gates;
use super::page::Page;
use super::process::{render_process, started_at};
use super::reverts::render_reverts;
use super::sessions::render_sessions;
use super::tools::render_tools;

/// Renders everything there is to know about the process in numbers.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    counters: Counters,
}

impl Metrics {
    /// Metrics over these counts of calls and the process-wide counters.
    pub fn new(registry: Arc<Registry>) -> Self {
        started_at();
        Self {
            registry,
            counters: Counters::install(),
        }
    }

    /// The page; `add` puts on it what other rooms know.
    pub fn render(&self, add: impl FnOnce(&mut Page)) -> String {
        let mut page = Page::default();
        add(&mut page);
        render_calls(&self.registry, &mut page);
        render_copies(&self.registry, &mut page);
        render_gates(&self.registry, &mut page);
        render_sessions(&self.registry, &mut page);
        render_tools(&self.registry, &mut page);
        render_reverts(&self.registry, &mut page);
        render_process(&mut page);
        self.counters.render(&mut page);
        page.finish()
    }
}
