//! The page for people who open the API in a browser: what this is and what it has.

use std::fmt::Write;

use super::endpoints::ENDPOINTS;

/// The page. It runs no script and loads nothing.
pub(super) fn page() -> String {
    let mut rows = String::new();
    for endpoint in ENDPOINTS {
        let (verb, path, summary) = (endpoint.verb.as_str(), endpoint.path, endpoint.summary);
        // Paths with a name in them lead nowhere by themselves.
        let link = if verb == "GET" && !path.contains('{') {
            format!("<a href=\"{path}\">{path}</a>")
        } else {
            path.to_owned()
        };
        // Writing to a `String` never fails.
        let _ = writeln!(rows, "<tr><td>{verb}<td>{link}<td>{summary}");
    }
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Switchback</title>\
         <h1>Switchback {version}</h1>\
         <p>This is the admin API of a Switchback gateway, which ships new versions of servers \
         behind it. Calls that change things take JSON; <code>switchback --help</code> lists the \
         commands that make them.</p>\n<table>\n{rows}</table>\n</html>\n"
    )
}

/// What the page may do in a browser: show itself.
pub(super) const POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
