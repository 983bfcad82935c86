//! Web pages and hosts, as files name them.

use http::uri::Authority;

/// Most names of a list.
pub const MAX_NAMES: usize = 64;

/// Whether a text is a host with or without a port, and nothing else.
pub fn is_host(text: &str) -> bool {
    text.parse::<Authority>().is_ok_and(|authority| {
        let port = text.strip_prefix(authority.host()).unwrap_or_default();
        let fine = port.is_empty() || authority.port_u16().is_some_and(|port| port != 0);
        fine && !authority.host().is_empty() && !text.contains(['@', '*'])
    })
}

/// Whether a text is what a browser says of a page, such as `https://dash.example`.
pub fn is_origin(text: &str) -> bool {
    let host = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    host.is_some_and(is_host)
}
