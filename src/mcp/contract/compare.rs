//! Two contracts beside each other.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::change::{Comparison, Found};
use super::read::Contract;
use super::rule::{Part, Rule};
use super::walk::{Direction, Walk};

/// Most values of schemas that are looked at; what is left then is unclear.
const MAX_VALUES: usize = 200_000;

/// What a client of `stable` would notice on `candidate`.
pub fn compare(stable: &Contract, candidate: &Contract) -> Comparison {
    let mut sides = Sides {
        comparison: Comparison::default(),
        budget: MAX_VALUES,
    };
    sides.server(stable, candidate);
    sides.revisions(stable, candidate);
    sides.capabilities(&stable.capabilities, &candidate.capabilities);
    for part in Part::LISTED {
        let none = BTreeMap::new();
        let stable = stable.lists.get(&part).unwrap_or(&none);
        let candidate = candidate.lists.get(&part).unwrap_or(&none);
        sides.list(part, stable, candidate);
    }
    sides.comparison.settle();
    sides.comparison
}

struct Sides {
    comparison: Comparison,
    budget: usize,
}

impl Sides {
    fn note(&mut self, part: Part, name: &str, found: Found) {
        self.comparison.note(part, name, found);
    }

    fn server(&mut self, stable: &Contract, candidate: &Contract) {
        for name in ["name", "version"] {
            let (old, new) = (stable.server.get(name), candidate.server.get(name));
            if old != new {
                let found = Found::new(Rule::ServerRenamed).at(name).says(old, new);
                self.note(Part::Server, "", found);
            }
        }
        if stable.instructions != candidate.instructions {
            self.note(Part::Server, "", Found::new(Rule::InstructionsChanged));
        }
    }

    fn revisions(&mut self, stable: &Contract, candidate: &Contract) {
        for lost in stable.revisions.difference(&candidate.revisions) {
            self.note(Part::Revision, lost, Found::new(Rule::RevisionLost));
        }
        for added in candidate.revisions.difference(&stable.revisions) {
            self.note(Part::Revision, added, Found::new(Rule::RevisionAdded));
        }
    }

    fn capabilities(&mut self, stable: &Map<String, Value>, candidate: &Map<String, Value>) {
        for name in names(stable, candidate) {
            let (old, new) = (said(stable.get(name)), said(candidate.get(name)));
            match (old, new) {
                (Some(_), None) if name != "experimental" => {
                    self.note(Part::Capability, name, Found::new(Rule::CapabilityLost));
                }
                (None, Some(_)) => {
                    self.note(Part::Capability, name, Found::new(Rule::CapabilityAdded));
                }
                (old, new) => self.inside_capability(name, (old, new)),
            }
        }
    }

    /// What a capability has: flags, and objects whose presence says something.
    fn inside_capability(&mut self, name: &str, sides: (Option<&Value>, Option<&Value>)) {
        let none = Map::new();
        let members = |side: Option<&Value>| side.and_then(Value::as_object).cloned();
        let stable = members(sides.0).unwrap_or_else(|| none.clone());
        let candidate = members(sides.1).unwrap_or(none);
        for member in names(&stable, &candidate) {
            let (old, new) = (said(stable.get(member)), said(candidate.get(member)));
            let rule = match (old, new) {
                // What is only told, and what is only tried, is not called.
                (Some(_), None) if member == "listChanged" || name == "experimental" => {
                    Rule::CapabilityReduced
                }
                (Some(_), None) => Rule::CapabilityLost,
                (None, Some(_)) => Rule::CapabilityAdded,
                (old, new) if old != new => Rule::CapabilityReduced,
                _ => continue,
            };
            let found = Found::new(rule).at(member).says(old, new);
            self.note(Part::Capability, name, found);
        }
    }

    fn list(
        &mut self,
        part: Part,
        stable: &BTreeMap<String, Value>,
        candidate: &BTreeMap<String, Value>,
    ) {
        let (lost, added) = match part {
            Part::Prompt => (Rule::PromptLost, Rule::PromptAdded),
            Part::Resource => (Rule::ResourceLost, Rule::ResourceAdded),
            Part::ResourceTemplate => (Rule::TemplateLost, Rule::TemplateAdded),
            Part::Tool | Part::Server | Part::Revision | Part::Capability => {
                (Rule::ToolLost, Rule::ToolAdded)
            }
        };
        for (name, old) in stable {
            match candidate.get(name) {
                None => self.note(part, name, Found::new(lost)),
                Some(new) => self.entry(part, name, (old, new)),
            }
        }
        for name in candidate.keys().filter(|name| !stable.contains_key(*name)) {
            self.note(part, name, Found::new(added));
        }
    }

    fn entry(&mut self, part: Part, name: &str, sides: (&Value, &Value)) {
        for place in ["title", "description"] {
            if sides.0.get(place) != sides.1.get(place) {
                self.note(part, name, Found::new(Rule::TextChanged).at(place));
            }
        }
        match part {
            Part::Tool => self.tool(name, sides),
            Part::Prompt => self.prompt(name, sides),
            Part::Resource | Part::ResourceTemplate => {
                let media = |side: &Value| side.get("mimeType").cloned();
                let (old, new) = (media(sides.0), media(sides.1));
                if old != new {
                    let found = Found::new(Rule::MediaTypeChanged);
                    self.note(part, name, found.says(old.as_ref(), new.as_ref()));
                }
            }
            Part::Server | Part::Revision | Part::Capability => {}
        }
    }

    fn tool(&mut self, name: &str, (stable, candidate): (&Value, &Value)) {
        self.annotations(name, (Hints::of(stable), Hints::of(candidate)));
        self.tasks(name, (tasks_of(stable), tasks_of(candidate)));
        let none = Value::Object(Map::new());
        let input = |side: &Value| side.get("inputSchema").cloned().unwrap_or(none.clone());
        self.schemas(name, Direction::Input, (&input(stable), &input(candidate)));
        let output = |side: &Value| side.get("outputSchema").cloned().filter(|s| !s.is_null());
        match (output(stable), output(candidate)) {
            (Some(old), Some(new)) => self.schemas(name, Direction::Output, (&old, &new)),
            (Some(_), None) => self.note(Part::Tool, name, Found::new(Rule::OutputSchemaLost)),
            (None, Some(_)) => self.note(Part::Tool, name, Found::new(Rule::OutputSchemaAdded)),
            (None, None) => {}
        }
    }

    fn schemas(&mut self, name: &str, direction: Direction, sides: (&Value, &Value)) {
        let mut walk = Walk::new(direction, sides, &mut self.budget);
        walk.compare();
        for found in walk.into_found() {
            self.note(Part::Tool, name, found);
        }
    }

    fn annotations(&mut self, name: &str, (old, new): (Hints, Hints)) {
        let mut flag = |before: bool, after: bool, rules: (Rule, Rule)| {
            if before != after {
                let rule = if after { rules.0 } else { rules.1 };
                self.note(Part::Tool, name, Found::new(rule));
            }
        };
        flag(
            old.read_only,
            new.read_only,
            (Rule::BecameReadOnly, Rule::NoLongerReadOnly),
        );
        // What a tool that changes nothing says of its changes means nothing.
        if !old.read_only && !new.read_only {
            flag(
                old.destructive,
                new.destructive,
                (Rule::BecameDestructive, Rule::NoLongerDestructive),
            );
            flag(
                old.idempotent,
                new.idempotent,
                (Rule::BecameIdempotent, Rule::NoLongerIdempotent),
            );
        }
        flag(
            old.open_world,
            new.open_world,
            (Rule::BecameOpenWorld, Rule::NoLongerOpenWorld),
        );
    }

    fn tasks(&mut self, name: &str, (old, new): (Tasks, Tasks)) {
        let rule = match (old, new) {
            (Tasks::Forbidden | Tasks::Optional, Tasks::Required) => Rule::TaskRequired,
            (Tasks::Optional | Tasks::Required, Tasks::Forbidden) => Rule::TaskLost,
            (Tasks::Forbidden | Tasks::Required, Tasks::Optional) => Rule::TaskAllowed,
            (Tasks::Forbidden, Tasks::Forbidden)
            | (Tasks::Optional, Tasks::Optional)
            | (Tasks::Required, Tasks::Required) => return,
        };
        self.note(Part::Tool, name, Found::new(rule));
    }

    fn prompt(&mut self, name: &str, (stable, candidate): (&Value, &Value)) {
        let (stable, candidate) = (arguments(stable), arguments(candidate));
        let all: BTreeSet<_> = stable.keys().chain(candidate.keys()).copied().collect();
        for argument in all {
            let rule = match (stable.get(argument), candidate.get(argument)) {
                (Some(_), None) => Rule::ArgumentLost,
                (None | Some(Argument::Optional), Some(Argument::Required)) => {
                    Rule::ArgumentRequired
                }
                (None, Some(Argument::Optional)) => Rule::ArgumentAdded,
                (Some(Argument::Required), Some(Argument::Optional)) => Rule::ArgumentOptional,
                _ => continue,
            };
            self.note(Part::Prompt, name, Found::new(rule).at(argument));
        }
    }
}

/// A member that is there, and does not say no.
fn said(value: Option<&Value>) -> Option<&Value> {
    value.filter(|value| !matches!(value, Value::Null | Value::Bool(false)))
}

fn names<'a>(one: &'a Map<String, Value>, other: &'a Map<String, Value>) -> BTreeSet<&'a String> {
    one.keys().chain(other.keys()).collect()
}

/// What a tool says of itself, with the protocol's defaults.
#[derive(Clone, Copy)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the protocol has these four, each by itself"
)]
struct Hints {
    read_only: bool,
    destructive: bool,
    idempotent: bool,
    open_world: bool,
}

impl Hints {
    fn of(tool: &Value) -> Self {
        let hint = |name: &str, default: bool| {
            let said = tool.get("annotations").and_then(|all| all.get(name));
            said.and_then(Value::as_bool).unwrap_or(default)
        };
        Self {
            read_only: hint("readOnlyHint", false),
            destructive: hint("destructiveHint", true),
            idempotent: hint("idempotentHint", false),
            open_world: hint("openWorldHint", true),
        }
    }
}

/// Whether a tool is called as a task.
#[derive(Clone, Copy)]
enum Tasks {
    Forbidden,
    Optional,
    Required,
}

fn tasks_of(tool: &Value) -> Tasks {
    let execution = tool.get("execution");
    match execution
        .and_then(|said| said.get("taskSupport"))
        .and_then(Value::as_str)
    {
        Some("required") => Tasks::Required,
        Some("optional") => Tasks::Optional,
        Some(_) | None => Tasks::Forbidden,
    }
}

#[derive(Clone, Copy)]
enum Argument {
    Optional,
    Required,
}

/// The arguments of a prompt.
fn arguments(prompt: &Value) -> BTreeMap<&str, Argument> {
    let all = prompt.get("arguments").and_then(Value::as_array);
    let named = all.into_iter().flatten().filter_map(|argument| {
        let name = argument.get("name")?.as_str()?;
        let required = argument.get("required").and_then(Value::as_bool);
        Some(match required {
            Some(true) => (name, Argument::Required),
            Some(false) | None => (name, Argument::Optional),
        })
    });
    named.collect()
}
