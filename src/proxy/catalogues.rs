//! What backends say of their tools, shared by all workers and kept across snapshots.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::mcp::{Format, PagePlace, ToolCatalogue, ToolPage};
use crate::model::{BackendName, RouteName};

/// The tools of one backend, as its latest answers to `tools/list` have them.
pub(super) type Tools = Arc<ArcSwap<ToolCatalogue>>;

/// The tools of every backend that a route with a shadow has. Asked when a snapshot changes.
#[derive(Debug, Default)]
pub struct Catalogues {
    tools: Mutex<HashMap<(RouteName, BackendName), Tools>>,
}

impl Catalogues {
    pub(super) fn of(&self, route: &RouteName, backend: &BackendName) -> Tools {
        let mut tools = self.tools.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tools.entry((route.clone(), backend.clone())).or_default())
    }
}

/// A backend has listed its tools: remembers what it says. An answer that is none is ignored.
pub(super) fn learn(tools: &Tools, format: Format, body: &[u8]) {
    let Ok(Some(page)) = ToolPage::parse(format, body) else {
        return;
    };
    if !tools.load().is_same(&page) {
        // A page of a longer list is told from its first page by nothing in the answer itself:
        // adding to what is known never forgets a tool that was listed.
        tools.rcu(|known| known.with_page(PagePlace::Later, &page));
    }
}
