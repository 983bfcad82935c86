//! A server's promises, as its own answers tell them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::rule::Part;

/// How much is read of a server's promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContractBounds {
    /// Most pages of all lists.
    pub pages: usize,
    /// Most entries of all lists.
    pub items: usize,
    /// Most bytes of all answers.
    pub bytes: usize,
}

/// Why promises could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// An answer is not what the protocol says.
    #[error("the answer to {method} is not what the protocol says: {what}")]
    Shape {
        /// The request's method.
        method: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// There is more than may be read.
    #[error("the server lists more than {most} {what}")]
    TooMuch {
        /// The bound.
        most: usize,
        /// Of what: pages, entries or bytes.
        what: &'static str,
    },
}

/// What a server promises its clients.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contract {
    /// The revisions that it agreed to, by name.
    pub(super) revisions: BTreeSet<String>,
    pub(super) capabilities: Map<String, Value>,
    pub(super) server: Map<String, Value>,
    pub(super) instructions: Option<String>,
    pub(super) lists: BTreeMap<Part, BTreeMap<String, Value>>,
    pages: usize,
    bytes: usize,
}

/// What the transport of 2024-11-05 is called, which other revisions may be spoken over, too.
const OVER_EVENT_STREAM: &str = "2024-11-05 over HTTP+SSE";
/// Where the era without sessions says which server it is.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

impl Contract {
    /// Takes the result of `initialize` or `server/discover`; returns the revision of a session.
    ///
    /// # Errors
    /// [`ContractError::Shape`] when it is none.
    pub fn open(
        &mut self,
        method: &'static str,
        result: &Value,
    ) -> Result<Option<String>, ContractError> {
        let shape = |what| ContractError::Shape { method, what };
        let object = |name: &str| result.get(name).and_then(Value::as_object).cloned();
        let capabilities = object("capabilities").ok_or(shape("it has no `capabilities`"))?;
        let revision = result.get("protocolVersion").and_then(Value::as_str);
        let supported = result.get("supportedVersions").and_then(Value::as_array);
        if revision.is_none() && supported.is_none() {
            return Err(shape("it names no revision of the protocol"));
        }
        self.capabilities = capabilities;
        let in_meta = || result.get("_meta")?.get(SERVER_INFO)?.as_object().cloned();
        self.server = object("serverInfo").or_else(in_meta).unwrap_or_default();
        let instructions = result.get("instructions").and_then(Value::as_str);
        self.instructions = instructions.map(str::to_owned);
        let supported = supported.into_iter().flatten().filter_map(Value::as_str);
        for revision in supported.chain(revision) {
            self.speaks(revision);
        }
        Ok(revision.map(str::to_owned))
    }

    /// The server agreed to a revision.
    pub fn speaks(&mut self, revision: &str) {
        /// Longest name of a revision, in bytes.
        const LONGEST: usize = 64;
        /// Most revisions.
        const MOST: usize = 64;
        if revision.len() <= LONGEST && self.revisions.len() < MOST {
            self.revisions.insert(revision.to_owned());
        }
    }

    /// All that the server agreed to, it agreed to over HTTP+SSE: clients of Streamable HTTP cannot speak
    /// to it, whatever the revision is called. So that counts as one of its own.
    pub fn over_event_stream(&mut self) {
        self.revisions = BTreeSet::from([OVER_EVENT_STREAM.to_owned()]);
    }

    /// Whether the server says that it has lists of this kind.
    pub fn has(&self, part: Part) -> bool {
        let name = match part {
            Part::Tool => "tools",
            Part::Prompt => "prompts",
            Part::Resource | Part::ResourceTemplate => "resources",
            Part::Server | Part::Revision | Part::Capability => return false,
        };
        self.capabilities
            .get(name)
            .is_some_and(|said| !said.is_null())
    }

    /// An answer had so many bytes.
    ///
    /// # Errors
    /// [`ContractError::TooMuch`] when all answers together have more than may be read.
    pub fn weigh(&mut self, bytes: usize, bounds: &ContractBounds) -> Result<(), ContractError> {
        self.bytes = self.bytes.saturating_add(bytes);
        within(self.bytes, bounds.bytes, "bytes")
    }

    /// Takes a page of a list; returns the cursor of the next one.
    ///
    /// # Errors
    /// [`ContractError`] when it is none, or there is more than may be read.
    pub fn page(
        &mut self,
        part: Part,
        result: &Value,
        bounds: &ContractBounds,
    ) -> Result<Option<String>, ContractError> {
        let (method, member, key) = list_of(part);
        let shape = |what| ContractError::Shape { method, what };
        let entries = result.get(member).and_then(Value::as_array);
        let entries = entries.ok_or(shape("it has no list"))?;
        self.pages += 1;
        within(self.pages, bounds.pages, "pages")?;
        for entry in entries {
            let name = entry.get(key).and_then(Value::as_str);
            let name = name.ok_or(shape("an entry has no name"))?;
            // Whoever is named twice is the one that clients find first.
            let list = self.lists.entry(part).or_default();
            list.entry(name.to_owned()).or_insert_with(|| entry.clone());
            let items = self.lists.values().map(BTreeMap::len).sum();
            within(items, bounds.items, "entries")?;
        }
        let cursor = result.get("nextCursor").and_then(Value::as_str);
        Ok(cursor.map(str::to_owned))
    }

    /// The revisions that the server agreed to.
    pub fn revisions(&self) -> impl Iterator<Item = &str> {
        self.revisions.iter().map(String::as_str)
    }

    /// How many entries a list has.
    pub fn len_of(&self, part: Part) -> usize {
        self.lists.get(&part).map_or(0, BTreeMap::len)
    }
}

/// How a list is asked for: the method, the member of the result, and what names an entry.
pub(super) fn list_of(part: Part) -> (&'static str, &'static str, &'static str) {
    match part {
        Part::Prompt => ("prompts/list", "prompts", "name"),
        Part::Resource => ("resources/list", "resources", "uri"),
        Part::ResourceTemplate => (
            "resources/templates/list",
            "resourceTemplates",
            "uriTemplate",
        ),
        Part::Tool | Part::Server | Part::Revision | Part::Capability => {
            ("tools/list", "tools", "name")
        }
    }
}

fn within(count: usize, most: usize, what: &'static str) -> Result<(), ContractError> {
    if count > most {
        return Err(ContractError::TooMuch { most, what });
    }
    Ok(())
}
