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
        | Method::CompletionComplete
        | Method::ServerDiscover => Effects::None,
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
        | Method::Progress
        // Streams and tasks belong to one server: a copy of them means nothing to another.
        | Method::SubscriptionsListen
        | Method::TasksGet
        | Method::TasksResult
        | Method::TasksUpdate
        | Method::TasksCancel
        | Method::Other => Effects::Possible,
    }
}

#[cfg(test)]
mod tests {
    use crate::mcp::{Format, PagePlace, RequestPeek, ToolPage};

    use super::*;

    fn tools() -> ToolCatalogue {
        let answer = br#"{"id":1,"result":{"tools":[
            {"name":"read","annotations":{"readOnlyHint":true}},
            {"name":"write","annotations":{"readOnlyHint":false}},
            {"name":"both","annotations":{"readOnlyHint":true,"destructiveHint":true}},
            {"name":"silent"}]}}"#;
        let page = ToolPage::parse(Format::Json, answer).unwrap().unwrap();
        ToolCatalogue::default().with_page(PagePlace::First, &page)
    }

    fn effects(body: &str) -> Effects {
        let mut peek = RequestPeek::new();
        peek.feed(body.as_bytes());
        Effects::of(&peek.finish().unwrap(), &tools())
    }

    fn call(tool: &str) -> String {
        format!(r#"{{"id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
    }

    #[test]
    fn lists_and_reads_have_no_effects() {
        for method in [
            "ping",
            "tools/list",
            "prompts/list",
            "prompts/get",
            "resources/list",
            "resources/templates/list",
            "resources/read",
            "completion/complete",
            "server/discover",
        ] {
            let body = format!(r#"{{"id":1,"method":"{method}"}}"#);

            assert_eq!(effects(&body), Effects::None, "{method}");
        }
    }

    #[test]
    fn everything_else_may_have_effects() {
        for body in [
            r#"{"id":1,"method":"initialize"}"#,
            r#"{"id":1,"method":"logging/setLevel"}"#,
            r#"{"id":1,"method":"resources/subscribe"}"#,
            r#"{"id":1,"method":"tasks/cancel"}"#,
            r#"{"id":1,"method":"tools/call","params":{}}"#,
            r#"{"method":"notifications/initialized"}"#,
            r#"{"method":"tools/list"}"#,
            r#"{"id":1,"result":{}}"#,
        ] {
            assert_eq!(effects(body), Effects::Possible, "{body}");
        }
    }

    #[test]
    fn a_tool_is_read_only_when_it_says_so_and_nothing_else() {
        assert_eq!(effects(&call("read")), Effects::None);
        for tool in ["write", "both", "silent", "unknown", "Read"] {
            assert_eq!(effects(&call(tool)), Effects::Possible, "{tool}");
        }
    }

    #[test]
    fn a_batch_is_as_bad_as_its_worst_call() {
        let list = r#"{"id":2,"method":"tools/list"}"#;

        let harmless = format!("[{list},{}]", call("read"));
        let harmful = format!("[{list},{}]", call("write"));
        assert_eq!(effects(&harmless), Effects::None);
        assert_eq!(effects(&harmful), Effects::Possible);
    }
}
