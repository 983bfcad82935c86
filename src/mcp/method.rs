//! The methods a client calls, as a closed set with room for the unknown.

/// The method of a request or notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `initialize`, which opens a session.
    Initialize,
    /// `notifications/initialized`, the last step of opening one.
    Initialized,
    /// `ping`.
    Ping,
    /// `tools/list`.
    ToolsList,
    /// `tools/call`, whose effects depend on the tool.
    ToolsCall,
    /// `prompts/list`.
    PromptsList,
    /// `prompts/get`.
    PromptsGet,
    /// `resources/list`.
    ResourcesList,
    /// `resources/templates/list`.
    ResourcesTemplatesList,
    /// `resources/read`.
    ResourcesRead,
    /// `resources/subscribe`.
    ResourcesSubscribe,
    /// `resources/unsubscribe`.
    ResourcesUnsubscribe,
    /// `completion/complete`.
    CompletionComplete,
    /// `logging/setLevel`.
    LoggingSetLevel,
    /// `notifications/cancelled`.
    Cancelled,
    /// `notifications/progress`.
    Progress,
    /// `server/discover`, which tells what a server speaks and can do.
    ServerDiscover,
    /// `subscriptions/listen`, whose answer is a stream of notifications.
    SubscriptionsListen,
    /// `tasks/get`.
    TasksGet,
    /// `tasks/result`.
    TasksResult,
    /// `tasks/update`.
    TasksUpdate,
    /// `tasks/cancel`.
    TasksCancel,
    /// Any other method.
    Other,
}

impl Method {
    /// Longest name that is known, in bytes.
    pub const LONGEST_NAME_BYTES: usize = 32;

    const KNOWN: [Self; 22] = [
        Self::Initialize,
        Self::Initialized,
        Self::Ping,
        Self::ToolsList,
        Self::ToolsCall,
        Self::PromptsList,
        Self::PromptsGet,
        Self::ResourcesList,
        Self::ResourcesTemplatesList,
        Self::ResourcesRead,
        Self::ResourcesSubscribe,
        Self::ResourcesUnsubscribe,
        Self::CompletionComplete,
        Self::LoggingSetLevel,
        Self::Cancelled,
        Self::Progress,
        Self::ServerDiscover,
        Self::SubscriptionsListen,
        Self::TasksGet,
        Self::TasksResult,
        Self::TasksUpdate,
        Self::TasksCancel,
    ];

    /// The method of this name, compared byte by byte.
    pub fn parse(name: &[u8]) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|method| method.as_str().as_bytes() == name)
            .unwrap_or(Self::Other)
    }

    /// Whether it asks about one task, which lives where it was made.
    pub fn is_about_a_task(self) -> bool {
        matches!(
            self,
            Self::TasksGet | Self::TasksResult | Self::TasksUpdate | Self::TasksCancel
        )
    }

    /// The method's name on the wire; `_other` for one that is not known.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Initialized => "notifications/initialized",
            Self::Ping => "ping",
            Self::ToolsList => "tools/list",
            Self::ToolsCall => "tools/call",
            Self::PromptsList => "prompts/list",
            Self::PromptsGet => "prompts/get",
            Self::ResourcesList => "resources/list",
            Self::ResourcesTemplatesList => "resources/templates/list",
            Self::ResourcesRead => "resources/read",
            Self::ResourcesSubscribe => "resources/subscribe",
            Self::ResourcesUnsubscribe => "resources/unsubscribe",
            Self::CompletionComplete => "completion/complete",
            Self::LoggingSetLevel => "logging/setLevel",
            Self::Cancelled => "notifications/cancelled",
            Self::Progress => "notifications/progress",
            Self::ServerDiscover => "server/discover",
            Self::SubscriptionsListen => "subscriptions/listen",
            Self::TasksGet => "tasks/get",
            Self::TasksResult => "tasks/result",
            Self::TasksUpdate => "tasks/update",
            Self::TasksCancel => "tasks/cancel",
            Self::Other => "_other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_survives_its_name() {
        for method in Method::KNOWN {
            assert_eq!(Method::parse(method.as_str().as_bytes()), method);
            assert!(method.as_str().len() <= Method::LONGEST_NAME_BYTES);
        }
    }

    #[test]
    fn names_are_compared_exactly() {
        for name in ["", "Tools/list", "tools/list ", "_other", "tools/calls"] {
            assert_eq!(Method::parse(name.as_bytes()), Method::Other, "{name:?}");
        }
    }
}
