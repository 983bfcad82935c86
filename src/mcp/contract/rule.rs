//! The rules: what may change between two versions, and how bad that is.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How bad a change is for clients that know the stable version; the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Words for people and models changed, which no client relies on to work.
    Info,
    /// Whatever worked goes on working.
    Compatible,
    /// Some calls that worked may fail, or do something else than was expected.
    Risky,
    /// Calls that worked will fail, or answers cannot be read.
    Breaking,
}

impl Severity {
    /// Every severity, the worst first.
    pub const WORST_FIRST: [Self; 4] = [Self::Breaking, Self::Risky, Self::Compatible, Self::Info];

    /// Its name in API, CLI and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Compatible => "compatible",
            Self::Risky => "risky",
            Self::Breaking => "breaking",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A part of what a server promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The server as a whole.
    Server,
    /// A revision of the protocol.
    Revision,
    /// A capability.
    Capability,
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource.
    Resource,
    /// A template of resources.
    ResourceTemplate,
}

impl Part {
    /// What servers list, in the order in which they are asked for it.
    pub const LISTED: [Self; 4] = [
        Self::Tool,
        Self::Prompt,
        Self::Resource,
        Self::ResourceTemplate,
    ];

    /// Its name in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Revision => "revision",
            Self::Capability => "capability",
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::ResourceTemplate => "resource template",
        }
    }
}

/// Makes the enum of rules and their table in one.
macro_rules! rules {
    ($($name:ident $code:literal $severity:ident $what:literal $reason:literal;)*) => {
        /// What may change between two versions. The table is the whole policy: a rule's severity
        /// is the same wherever it is met.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Rule {
            $(
                #[doc = $reason]
                #[serde(rename = $code)]
                $name,
            )*
            /// A rule of another release.
            #[serde(other, rename = "other")]
            Other,
        }

        impl Rule {
            /// Every rule of this release.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its name for programs, which stays the same from release to release.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                    Self::Other => "other",
                }
            }

            /// How bad it is.
            pub fn severity(self) -> Severity {
                match self {
                    $(Self::$name => Severity::$severity,)*
                    Self::Other => Severity::Info,
                }
            }

            /// What happened, in a few words.
            pub fn what(self) -> &'static str {
                match self {
                    $(Self::$name => $what,)*
                    Self::Other => "changed",
                }
            }

            /// Why that matters, or does not.
            pub fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => $reason,)*
                    Self::Other => "Another release knows.",
                }
            }
        }
    };
}

rules! {
    RevisionLost "revision_lost" Breaking "is no longer spoken" "Clients that speak this revision alone cannot open a session any more.";
    RevisionAdded "revision_added" Compatible "is spoken now" "Clients that know it may use it; after a revert they must fall back.";
    CapabilityLost "capability_lost" Breaking "is lost" "Clients that rely on the capability call methods that are not there.";
    CapabilityReduced "capability_reduced" Risky "is reduced" "Clients may wait for what is not told any more.";
    CapabilityAdded "capability_added" Compatible "is new" "Clients that do not know it pass over it.";
    ServerRenamed "server_renamed" Info "has another name or version" "Clients show it to people.";
    InstructionsChanged "instructions_changed" Info "has other instructions" "Models read them; the judge sees what comes of it.";
    ToolLost "tool_lost" Breaking "is lost" "Every call of the tool fails.";
    ToolAdded "tool_added" Compatible "is new" "Nobody calls it yet.";
    PromptLost "prompt_lost" Breaking "is lost" "Whoever asks for the prompt gets an error.";
    PromptAdded "prompt_added" Compatible "is new" "Nobody asks for it yet.";
    ResourceLost "resource_lost" Risky "is not listed" "Reading it may fail; lists of resources often follow a server's data, not its version.";
    ResourceAdded "resource_added" Compatible "is new" "Nobody reads it yet.";
    TemplateLost "template_lost" Breaking "is lost" "Reading what the template stood for fails.";
    TemplateAdded "template_added" Compatible "is new" "Nobody uses it yet.";
    MediaTypeChanged "media_type_changed" Risky "has another media type" "Clients may not be able to read it.";
    TextChanged "text_changed" Info "has other words" "Models read titles and descriptions; the judge sees what comes of it.";
    NoLongerReadOnly "no_longer_read_only" Breaking "is no longer read-only" "Clients call it without asking the person, and the gateway repeats and mirrors it.";
    BecameReadOnly "became_read_only" Compatible "is read-only now" "It does less than was expected.";
    BecameDestructive "became_destructive" Risky "may destroy now" "Clients may call it with less care than it takes.";
    NoLongerDestructive "no_longer_destructive" Compatible "no longer destroys" "It does less harm than was expected.";
    NoLongerIdempotent "no_longer_idempotent" Risky "is no longer idempotent" "Clients may repeat calls that count twice now.";
    BecameIdempotent "became_idempotent" Compatible "is idempotent now" "Repeating it does less harm than was expected.";
    BecameOpenWorld "became_open_world" Risky "reaches the open world now" "Its answers may hold what strangers wrote.";
    NoLongerOpenWorld "no_longer_open_world" Compatible "no longer reaches the open world" "It reaches less than was expected.";
    TaskRequired "task_required" Breaking "must be called as a task" "Clients that call it plainly get an error.";
    TaskLost "task_lost" Breaking "can no longer be called as a task" "Clients that call it as a task get an error.";
    TaskAllowed "task_allowed" Compatible "can be called in more ways" "Every way that worked still does.";
    ArgumentLost "argument_lost" Breaking "argument lost" "What callers pass there is refused, or has no effect.";
    ArgumentRequired "argument_required" Breaking "argument newly required" "Calls without it are refused.";
    ArgumentAdded "argument_added" Compatible "optional argument added" "Calls without it go on working.";
    ArgumentOptional "argument_optional" Compatible "argument no longer required" "Calls with it go on working.";
    TypeNarrowed "type_narrowed" Breaking "type narrowed or changed" "Values that were fine are refused.";
    TypeWidened "type_widened" Compatible "type widened" "Values that were fine still are.";
    EnumNarrowed "enum_narrowed" Breaking "accepted values lost" "Values that were fine are refused.";
    EnumWidened "enum_widened" Compatible "accepted values added" "Values that were fine still are.";
    BoundsTightened "bounds_tightened" Risky "bound tightened" "Some values that were fine are refused.";
    BoundsLoosened "bounds_loosened" Compatible "bound loosened" "Values that were fine still are.";
    DefaultChanged "default_changed" Risky "default changed" "Calls that leave it out do something else now.";
    DefaultAdded "default_added" Compatible "default added" "It says what happens when it is left out.";
    UnknownRefused "unknown_refused" Risky "refuses unknown members now" "Callers that pass more than was asked for are refused.";
    UnknownAccepted "unknown_accepted" Compatible "accepts unknown members now" "Values that were fine still are.";
    SchemaUnclear "schema_unclear" Risky "schema changed in a way that cannot be judged" "Look at both schemas.";
    OutputSchemaLost "output_schema_lost" Breaking "output schema lost" "Clients that read structured results get none they can rely on.";
    OutputSchemaAdded "output_schema_added" Compatible "output schema added" "Clients that read plain content go on.";
    ResultLost "result_lost" Breaking "required result lost" "Clients rely on it, and may check answers against the schema that they know.";
    ResultUnsure "result_unsure" Risky "optional result lost" "Clients that look for it find nothing.";
    ResultAdded "result_added" Compatible "result added" "Clients pass over what they do not know.";
    ResultUnexpected "result_unexpected" Risky "result added where none was allowed" "Clients that check answers against the schema that they know refuse them.";
    ResultPromised "result_promised" Compatible "more is promised of the result" "Answers are as before, or better.";
    ResultTypeChanged "result_type_changed" Breaking "result has another type" "Clients cannot read it as before.";
    ResultWidened "result_widened" Risky "result may have new values" "Clients may not know what to do with them.";
}
