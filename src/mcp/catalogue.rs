//! The tools of a backend, as its `tools/list` answers tell them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::body::{BodyError, Reply, reply_to};
use super::facts::RequestFacts;
use super::format::Format;

/// What a server says of a tool. These are hints: a server may be wrong about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ToolHints {
    /// It changes nothing. The protocol's default is false.
    pub read_only: Option<bool>,
    /// It may destroy something. The protocol's default is true.
    pub destructive: Option<bool>,
    /// Calling it again with the same arguments changes nothing more.
    pub idempotent: Option<bool>,
}

impl ToolHints {
    /// Whether the tool is said to change nothing. A tool that is said to destroy at the
    /// same time is not believed.
    pub fn is_read_only(self) -> bool {
        self.read_only == Some(true) && self.destructive != Some(true)
    }
}

/// One page of a `tools/list` answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolPage {
    /// The tools, in the server's order.
    pub tools: Vec<(Box<str>, ToolHints)>,
    /// Whether more pages follow.
    pub has_next: bool,
}

impl ToolPage {
    /// Reads a complete answer to `tools/list`; `None` when it holds no list of tools.
    ///
    /// # Errors
    /// [`BodyError`] when the answer is too long or not JSON.
    pub fn parse(format: Format, body: &[u8]) -> Result<Option<Self>, BodyError> {
        let Some(Reply::Result(result)) = reply_to(None, format, body)? else {
            return Ok(None);
        };
        let Some(tools) = result.get("tools").and_then(Value::as_array) else {
            return Ok(None);
        };
        Ok(Some(Self {
            tools: tools.iter().filter_map(tool).collect(),
            has_next: result.get("nextCursor").is_some_and(Value::is_string),
        }))
    }
}

fn tool(tool: &Value) -> Option<(Box<str>, ToolHints)> {
    let name = tool.get("name")?.as_str()?;
    let hint = |name| tool.get("annotations")?.get(name)?.as_bool();
    let hints = ToolHints {
        read_only: hint("readOnlyHint"),
        destructive: hint("destructiveHint"),
        idempotent: hint("idempotentHint"),
    };
    (name.len() <= RequestFacts::TOOL_BYTES).then(|| (name.into(), hints))
}

/// Where in a list a page stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagePlace {
    /// Asked for without a cursor: it begins the list anew.
    First,
    /// Asked for with a cursor: it goes on with the list.
    Later,
}

/// What is known of the tools of one backend. Immutable and cheap to share; a page makes
/// the next one.
#[derive(Clone, Debug, Default)]
pub struct ToolCatalogue {
    tools: Arc<HashMap<Box<str>, Entry>>,
    list: u32,
    dropped: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hints: ToolHints,
    /// The list that the tool was last seen in.
    list: u32,
}

impl ToolCatalogue {
    /// Most tools that are kept.
    pub const CAPACITY: usize = 1024;

    /// What the server says of this tool; `None` when it has not listed it.
    pub fn get(&self, tool: &str) -> Option<ToolHints> {
        self.tools.get(tool).map(|entry| entry.hints)
    }

    /// How many tools are known.
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// Whether no tool is known.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// How many tools did not fit, over all pages.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether a page would change nothing, so that it need not be kept. Only for lists of
    /// one page: those are what nearly every server sends.
    pub fn is_same(&self, page: &ToolPage) -> bool {
        !page.has_next
            && page.tools.len() == self.tools.len()
            && page
                .tools
                .iter()
                .all(|(name, hints)| self.get(name) == Some(*hints))
    }

    /// The catalogue with one more page. What earlier lists had and this list lacks is
    /// forgotten when its last page has come.
    #[must_use]
    pub fn with_page(&self, place: PagePlace, page: &ToolPage) -> Self {
        let list = match place {
            PagePlace::First => self.list.wrapping_add(1),
            PagePlace::Later => self.list,
        };
        let mut tools = HashMap::clone(&self.tools);
        let mut dropped = self.dropped;
        for (name, hints) in &page.tools {
            if tools.len() >= Self::CAPACITY && !tools.contains_key(name) {
                dropped += 1;
                continue;
            }
            let hints = *hints;
            tools.insert(name.clone(), Entry { hints, list });
        }
        if !page.has_next {
            tools.retain(|_, entry| entry.list == list);
        }
        Self {
            tools: Arc::new(tools),
            list,
            dropped,
        }
    }
}
