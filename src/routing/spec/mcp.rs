//! The part of a `match` that looks at what an MCP request asks for.

use serde::{Deserialize, Serialize};

use crate::mcp::Method;
use crate::model::Problems;

/// Which of the MCP requests of another route a route takes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct McpMatchSpec {
    /// The method: `tools/call`, `prompts/get`, `resources/read`, `completion/complete`, or one of
    /// the lists, such as `tools/list`.
    pub method: String,
    /// What it names: tools, prompts or resources; `files_*` takes whatever begins with `files_`. 1 to
    /// 64 of at most 256 bytes, for `tools/call`, `prompts/get` and `resources/read`. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Vec<String>>,
}

/// Most names of a match.
const MAX_NAMES: usize = 64;
/// Longest of them, in bytes.
const NAME_BYTES: usize = 256;

/// What a match may ask for, each with whether it names something. What opens, ends or changes a session
/// is of the session, and goes where that lives.
const METHODS: [(Method, bool); 8] = [
    (Method::ToolsCall, true),
    (Method::PromptsGet, true),
    (Method::ResourcesRead, true),
    (Method::ToolsList, false),
    (Method::PromptsList, false),
    (Method::ResourcesList, false),
    (Method::ResourcesTemplatesList, false),
    (Method::CompletionComplete, false),
];

impl McpMatchSpec {
    /// What is wrong with this section: the path of a field and a sentence, each.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        let mut known = METHODS.iter();
        let known = known.find(|(method, _)| method.as_str() == self.method);
        if known.is_none() {
            let all: Vec<_> = METHODS.iter().map(|(it, _)| it.as_str()).collect();
            let message = format!(
                "`{}` cannot be matched, only {}",
                self.method,
                all.join(", ")
            );
            problems.add("method", message);
        }
        let Some(names) = &self.name else {
            return problems.into_vec();
        };
        if known.is_some_and(|(_, is_named)| !is_named) {
            let message = format!("a `{}` names nothing", self.method);
            problems.add("name", message);
        }
        if !(1..=MAX_NAMES).contains(&names.len()) {
            let message = format!("there are 1 to {MAX_NAMES} names, not {}", names.len());
            problems.add("name", message);
        }
        for (index, name) in names.iter().enumerate() {
            if let Some(problem) = name_problem(name) {
                problems.add(format!("name[{index}]"), problem);
            }
        }
        problems.into_vec()
    }

    /// The match in words, such as `tools/call search, files_*`.
    pub fn in_words(&self) -> String {
        match &self.name {
            None => self.method.clone(),
            Some(names) => format!("{} {}", self.method, names.join(", ")),
        }
    }
}

fn name_problem(name: &str) -> Option<String> {
    let body = name.strip_suffix('*').unwrap_or(name);
    if name.is_empty() || name.len() > NAME_BYTES {
        Some(format!("a name has 1 to {NAME_BYTES} bytes"))
    } else if name.chars().any(char::is_control) {
        Some("a name has no control characters".to_owned())
    } else if body.contains('*') {
        Some(format!("`{name}`: a star stands only at the end"))
    } else {
        None
    }
}
