//! What a route takes of another one's MCP requests.

use crate::mcp::Method;

use super::spec::McpMatchSpec;

/// A method, and names of what it is about.
#[derive(Clone, Debug)]
pub struct Rule {
    method: Method,
    /// Nothing for any name.
    names: Option<Box<[Name]>>,
}

#[derive(Clone, Debug)]
enum Name {
    Exact(Box<str>),
    Prefix(Box<str>),
}

/// How closely a rule describes a request: one that names it before one that names its beginning, a
/// longer beginning before a shorter one, and that before one that takes any name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closeness(usize);

impl Rule {
    /// The rule of a match that was checked.
    pub fn new(spec: &McpMatchSpec) -> Self {
        let names = spec.name.as_deref();
        Self {
            method: Method::parse(spec.method.as_bytes()),
            names: names.map(|names| names.iter().map(|name| Name::new(name)).collect()),
        }
    }

    /// How closely the rule describes a request of this method, about what is named so; `None` for
    /// one that it does not take.
    pub fn takes(&self, method: Method, name: Option<&str>) -> Option<Closeness> {
        if method != self.method || method == Method::Other {
            return None;
        }
        let Some(names) = &self.names else {
            return Some(Closeness(0));
        };
        names.iter().filter_map(|known| known.takes(name?)).max()
    }
}

impl Name {
    fn new(name: &str) -> Self {
        match name.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(name.into()),
        }
    }

    fn takes(&self, name: &str) -> Option<Closeness> {
        match self {
            Self::Exact(known) => (**known == *name).then_some(Closeness(usize::MAX)),
            Self::Prefix(known) => name
                .starts_with(&**known)
                .then_some(Closeness(known.len() + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(method: &str, names: Option<&[&str]>) -> Rule {
        let spec = McpMatchSpec {
            method: method.to_owned(),
            name: names.map(|names| names.iter().map(|name| (*name).to_owned()).collect()),
        };
        assert_eq!(spec.problems(), []);
        Rule::new(&spec)
    }

    #[test]
    fn a_rule_takes_what_it_names_and_nothing_else() {
        let search = rule("tools/call", Some(&["search", "files_*"]));
        for name in ["search", "files_", "files_read"] {
            assert!(
                search.takes(Method::ToolsCall, Some(name)).is_some(),
                "{name}"
            );
        }
        for name in ["Search", "search2", "file", "", "x_files_"] {
            assert!(
                search.takes(Method::ToolsCall, Some(name)).is_none(),
                "{name}"
            );
        }
        assert_eq!(search.takes(Method::ToolsCall, None), None);
        assert_eq!(search.takes(Method::PromptsGet, Some("search")), None);
        assert_eq!(search.takes(Method::Other, Some("search")), None);
        let any = rule("resources/read", None);
        assert!(any.takes(Method::ResourcesRead, None).is_some());
    }

    #[test]
    fn the_closest_rule_is_told() {
        let close = |names: Option<&[&str]>| {
            rule("tools/call", names).takes(Method::ToolsCall, Some("files_read"))
        };

        assert!(close(Some(&["files_read"])) > close(Some(&["files_r*"])));
        assert!(close(Some(&["files_r*", "f*"])) > close(Some(&["files_*"])));
        assert!(close(Some(&["*"])) > close(None));
        assert!(close(None) > close(Some(&["other"])));
    }

    #[test]
    fn what_cannot_be_matched_is_refused() {
        let problems = |method: &str, names: Option<&[&str]>| {
            let names = names.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            let method = method.to_owned();
            McpMatchSpec {
                method,
                name: names,
            }
            .problems()
            .len()
        };
        for method in [
            "",
            "initialize",
            "ping",
            "tasks/get",
            "Tools/call",
            "_other",
        ] {
            assert_eq!(problems(method, None), 1, "{method}");
        }
        for names in [
            &[][..],
            &[""],
            &["a*b"],
            &["**"],
            &["a\nb"],
            &[&*"x".repeat(257)],
        ] {
            assert_eq!(problems("tools/call", Some(names)), 1, "{names:?}");
        }
        assert_eq!(problems("tools/list", Some(&["a"])), 1);
        assert_eq!(problems("tools/call", Some(&["x"; 65])), 1);
    }
}
