//! Hosts with their ports, to be compared.

use http::uri::Authority;

/// A host in lower case, and its port; without one any of the two of HTTP is meant, and
/// the first stands for both. `None` for what is no such thing, or names a user.
pub fn host_and_port(text: &str) -> Option<(String, u16)> {
    let authority: Authority = text.parse().ok()?;
    if authority.as_str().contains('@') {
        return None;
    }
    let port = match authority.port_u16() {
        None | Some(443) => 80,
        Some(port) => port,
    };
    Some((authority.host().to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::host_and_port;

    #[test]
    fn a_host_is_itself_in_each_spelling_and_nobody_elses() {
        assert_eq!(host_and_port("Host"), host_and_port("host:80"));
        assert_eq!(host_and_port("host:443"), host_and_port("host"));
        assert_ne!(host_and_port("host:81"), host_and_port("host"));
        assert_ne!(host_and_port("[::1]:81"), host_and_port("[::2]:81"));
        for none in ["", "user@host", "host/path", "a b"] {
            assert_eq!(host_and_port(none), None, "{none:?}");
        }
    }
}
