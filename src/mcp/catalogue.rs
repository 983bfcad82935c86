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

#[cfg(test)]
mod tests {
    use super::*;

    fn page(names: &[&str], has_next: bool) -> ToolPage {
        let hints = ToolHints::default();
        ToolPage {
            tools: names.iter().map(|name| ((*name).into(), hints)).collect(),
            has_next,
        }
    }

    fn names(catalogue: &ToolCatalogue) -> Vec<&str> {
        let mut names: Vec<_> = catalogue.tools.keys().map(|name| &**name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn hints_are_read_from_json_and_event_streams() {
        let json = r#"{"jsonrpc":"2.0","id":1,"result":{"nextCursor":"x","tools":[
            {"name":"a","annotations":{"readOnlyHint":true,"idempotentHint":false}},
            {"name":"b","annotations":{"destructiveHint":"yes"}},{"name":7},"c",
            {"name":"d","annotations":null}]}}"#
            .replace('\n', "");
        let stream = format!("data: {{\"method\":\"x\"}}\n\nevent: message\ndata: {json}\n\n");

        let page = ToolPage::parse(Format::Json, json.as_bytes())
            .unwrap()
            .unwrap();

        let same = ToolPage::parse(Format::EventStream, stream.as_bytes()).unwrap();
        assert_eq!(same.as_ref(), Some(&page));
        let names: Vec<_> = page.tools.iter().map(|(name, _)| &**name).collect();
        assert_eq!((names, page.has_next), (vec!["a", "b", "d"], true));
        assert!(page.tools[0].1.is_read_only());
        assert_eq!(page.tools[0].1.idempotent, Some(false));
        assert_eq!(page.tools[1].1, ToolHints::default());
    }

    #[test]
    fn answers_without_a_list_change_nothing() {
        for body in [
            r#"{"id":1,"error":{"code":-32601}}"#,
            r#"{"id":1,"result":{}}"#,
            r#"{"id":1,"result":{"tools":{}}}"#,
            r#"{"method":"x","result":{"tools":[]}}"#,
            "[]",
            "",
        ] {
            let parsed = ToolPage::parse(Format::Json, body.as_bytes()).unwrap();

            assert_eq!(parsed, None, "{body}");
        }
        assert!(ToolPage::parse(Format::Json, b"{").is_err());
        assert!(ToolPage::parse(Format::Json, &vec![b' '; 1024 * 1024 + 1]).is_err());
    }

    #[test]
    fn a_new_list_replaces_the_old_one_with_its_last_page() {
        let old = ToolCatalogue::default().with_page(PagePlace::First, &page(&["a", "b"], false));

        let first = old.with_page(PagePlace::First, &page(&["b", "c"], true));
        let both = first.with_page(PagePlace::Later, &page(&["d"], false));

        assert_eq!(names(&first), ["a", "b", "c"]);
        assert_eq!(names(&both), ["b", "c", "d"]);
        assert_eq!(names(&old), ["a", "b"]);
    }

    #[test]
    fn the_same_list_is_known_to_be_the_same() {
        let seen = page(&["a", "b"], false);
        let catalogue = ToolCatalogue::default().with_page(PagePlace::First, &seen);

        assert!(catalogue.is_same(&seen));
        assert!(!catalogue.is_same(&page(&["a", "c"], false)));
        assert!(!catalogue.is_same(&page(&["a"], false)));
        assert!(!catalogue.is_same(&page(&["a", "b"], true)));
    }

    #[test]
    fn no_more_tools_are_kept_than_fit() {
        let many: Vec<_> = (0..2000).map(|n| n.to_string()).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();

        let full = ToolCatalogue::default().with_page(PagePlace::First, &page(&many, false));

        assert_eq!(full.len(), ToolCatalogue::CAPACITY);
        assert_eq!(full.dropped(), 2000 - ToolCatalogue::CAPACITY as u64);
        assert!(full.get("0").is_some() && full.get("1999").is_none());
    }
}
