//! Routes by host and path.

use std::borrow::Cow;
use std::collections::HashMap;

use super::spec::MatchSpec;

/// Routes by host and path; a route is told by its place in the list the table was made from.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    hosts: HashMap<Box<[u8]>, Paths>,
    /// By the name below which hosts are taken: `example.com` for `*.example.com`.
    below: HashMap<Box<[u8]>, Paths>,
    any_host: Paths,
}

/// The routes of one host.
#[derive(Clone, Debug, Default)]
struct Paths {
    exact: HashMap<Box<str>, usize>,
    prefixes: HashMap<Box<str>, usize>,
    /// The prefix `/`, which needs no look-up.
    root: Option<usize>,
    /// Segments of the longest prefix: deeper cuts of a path are not tried.
    deepest: usize,
}

impl RouteTable {
    /// The table of these matches. Of two that are the same the first wins; `config` refuses them.
    pub fn new<'a>(matches: impl IntoIterator<Item = &'a MatchSpec>) -> Self {
        let mut table = Self::default();
        for (place, spec) in matches.into_iter().enumerate() {
            if spec.mcp.is_some() {
                // A rule of another route, which is found first.
                continue;
            }
            let paths = match spec.host.as_deref().map(str::to_ascii_lowercase) {
                None => &mut table.any_host,
                Some(host) => match host.strip_prefix("*.") {
                    Some(below) => table.below.entry(below.as_bytes().into()).or_default(),
                    None => table.hosts.entry(host.as_bytes().into()).or_default(),
                },
            };
            paths.add(spec, place);
        }
        table
    }

    /// The route of a request to `host` (in any case, without port) and `path` (without query).
    pub fn find(&self, host: impl AsRef<[u8]>, path: &str) -> Option<usize> {
        self.find_by_host(host.as_ref(), path)
            .or_else(|| self.any_host.find(path))
    }

    fn find_by_host(&self, host: &[u8], path: &str) -> Option<usize> {
        if self.hosts.is_empty() && self.below.is_empty() {
            return None;
        }
        // It is in lower case already, nearly always.
        let has_capitals = host
            .iter()
            .fold(false, |any, byte| any | byte.is_ascii_uppercase());
        let host = if has_capitals {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        let exact = self.hosts.get(&*host).and_then(|paths| paths.find(path));
        exact.or_else(|| self.find_below(&host, path))
    }

    fn find_below(&self, host: &[u8], path: &str) -> Option<usize> {
        if self.below.is_empty() {
            return None;
        }
        let mut rest = host;
        loop {
            let dot = rest.iter().position(|byte| *byte == b'.')?;
            rest = rest.get(dot + 1..)?;
            if let Some(found) = self.below.get(rest).and_then(|paths| paths.find(path)) {
                return Some(found);
            }
        }
    }
}

impl Paths {
    fn add(&mut self, spec: &MatchSpec, place: usize) {
        if let Some(exact) = &spec.exact_path {
            self.exact.entry(exact.as_str().into()).or_insert(place);
            return;
        }
        let prefix = spec.path.as_deref().unwrap_or("/");
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        if prefix.is_empty() {
            self.root.get_or_insert(place);
            return;
        }
        self.deepest = self.deepest.max(prefix.matches('/').count());
        self.prefixes.entry(prefix.into()).or_insert(place);
    }

    fn find(&self, path: &str) -> Option<usize> {
        if !self.exact.is_empty()
            && let Some(found) = self.exact.get(path)
        {
            return Some(*found);
        }
        self.find_prefix(path).or(self.root)
    }

    /// Tries the path cut at each of its slashes, longest first, no deeper than any prefix is.
    fn find_prefix(&self, path: &str) -> Option<usize> {
        if self.prefixes.is_empty() {
            return None;
        }
        let mut slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/');
        let end = slashes.nth(self.deepest).map_or(path.len(), |(at, _)| at);
        let mut cut = path.get(..end)?;
        while !cut.is_empty() {
            if let Some(found) = self.prefixes.get(cut) {
                return Some(*found);
            }
            cut = cut.get(..cut.rfind('/')?)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spec(host: &str, path: &str) -> MatchSpec {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        match path.strip_prefix('=') {
            Some(exact) => MatchSpec {
                host: some(host),
                path: None,
                exact_path: some(exact),
                mcp: None,
            },
            None => MatchSpec {
                host: some(host),
                path: some(path),
                exact_path: None,
                mcp: None,
            },
        }
    }

    fn table(matches: &[(&str, &str)]) -> RouteTable {
        let specs: Vec<_> = matches
            .iter()
            .map(|(host, path)| spec(host, path))
            .collect();
        RouteTable::new(&specs)
    }

    #[test]
    fn a_prefix_takes_whole_segments_only() {
        let table = table(&[("", "/mcp"), ("", "/a/b/")]);

        assert_eq!(table.find("h", "/mcp"), Some(0));
        assert_eq!(table.find("h", "/mcp/x/y"), Some(0));
        assert_eq!(table.find("h", "/mcpx"), None);
        assert_eq!(table.find("h", "/a/b"), Some(1));
        assert_eq!(table.find("h", "/a"), None);
        assert_eq!(table.find("h", "/"), None);
    }

    #[test]
    fn the_most_specific_route_wins() {
        let table = table(&[
            ("", "/"),
            ("", "/a"),
            ("", "/a/b"),
            ("", "=/a/b/c"),
            ("*.example.com", "/"),
            ("api.example.com", "/x"),
        ]);

        assert_eq!(table.find("h", "/z"), Some(0));
        assert_eq!(table.find("h", "/a/z"), Some(1));
        assert_eq!(table.find("h", "/a/b/z"), Some(2));
        assert_eq!(table.find("h", "/a/b/c"), Some(3));
        assert_eq!(table.find("h", "/a/b/c/d"), Some(2));
        assert_eq!(table.find("api.example.com", "/x/1"), Some(5));
        assert_eq!(table.find("api.example.com", "/a"), Some(4));
        assert_eq!(table.find("API.Example.COM", "/x/1"), Some(5));
        assert_eq!(table.find("Deep.ER.example.com", "/a"), Some(4));
        assert_eq!(table.find("example.com", "/a"), Some(1));
    }

    #[test]
    fn an_empty_table_takes_nothing() {
        assert_eq!(table(&[]).find("h", "/"), None);
    }

    proptest! {
        #[test]
        fn looking_up_agrees_with_trying_every_route(
            prefixes in prop::collection::btree_set("(/[ab]{1,2}){0,3}", 0..12),
            path in "(/[ab]{1,2}){1,5}",
        ) {
            let prefixes: Vec<String> = prefixes.into_iter().map(|p| if p.is_empty() { "/".into() } else { p }).collect();
            let specs: Vec<_> = prefixes.iter().map(|p| spec("", p)).collect();
            let takes = |prefix: &str| prefix == "/" || path == prefix || path.starts_with(&format!("{prefix}/"));
            let best = prefixes.iter().enumerate().filter(|(_, p)| takes(p)).max_by_key(|(_, p)| p.len());

            prop_assert_eq!(RouteTable::new(&specs).find("h", &path), best.map(|(place, _)| place));
        }
    }
}
