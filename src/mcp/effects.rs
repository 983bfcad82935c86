//! Which calls are free of side effects, so that a copy of them harms nobody.

use super::catalogue::ToolCatalogue;
use super::facts::{Kind, RequestFacts};
use super::method::Method;

/// Whether a call may change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effects {
    /// It only reads.
    None,
    /// It may change something, or nobody knows.
    Possible,
}

impl Effects {
    /// The effects of the calls in a body, a batch by its worst, given the tools that the
    /// backend has listed.
    pub fn of(facts: &RequestFacts, tools: &ToolCatalogue) -> Self {
        match facts.kind {
            Kind::Request => of_call(facts, tools),
            // They speak about one session of one backend: no copy of them makes sense.
            Kind::Notification | Kind::Response => Self::Possible,
            Kind::Batch => facts
                .members
                .iter()
                .map(|member| Self::of(member, tools))
                .max()
                .unwrap_or(Self::Possible),
        }
    }
}

fn of_call(facts: &RequestFacts, tools: &ToolCatalogue) -> Effects {
    match facts.method {
        Method::Ping
        | Method::ToolsList
        | Method::PromptsList
        | Method::PromptsGet
        | Method::ResourcesList
        | Method::ResourcesTemplatesList
        | Method::ResourcesRead
        | Method::CompletionComplete => Effects::None,
        Method::ToolsCall => match facts.tool.as_deref().and_then(|name| tools.get(name)) {
            Some(hints) if hints.is_read_only() => Effects::None,
            Some(_) | None => Effects::Possible,
        },
        Method::Initialize
        | Method::Initialized
        | Method::ResourcesSubscribe
        | Method::ResourcesUnsubscribe
        | Method::LoggingSetLevel
        | Method::Cancelled
        | Method::Other => Effects::Possible,
    }
}
