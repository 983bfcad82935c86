//! The browser defence: a page from elsewhere, open in an operator's browser, gets nothing.
//!
//! The API has no cookies, so what is left is a page that talks to loopback: from another
//! origin (told by `Origin`), or from a name that was bent to loopback (told by `Host`).

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};

use super::door::Door;
use super::error::Refusal;
use super::peer::Peer;
use super::wire::ErrorCode;

/// The names that a request may use.
#[derive(Clone, Copy, Debug)]
struct Names<'a> {
    /// The address of ours that the connection came to.
    own: SocketAddr,
    /// What a page of ours has in front of its address.
    scheme: &'static str,
    /// Further hosts that the file names.
    hosts: &'a [String],
    /// Further pages that the file names.
    origins: &'a [String],
}

/// Lets a request through when it names this listener and comes from no foreign page.
pub(super) fn check(
    door: &Door,
    peer: &Peer,
    target: &Uri,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let names = Names {
        own: peer.local,
        scheme: peer.scheme,
        hosts: door.hosts(),
        origins: door.origins(),
    };
    check_names(names, target, headers)
}

fn check_names(names: Names<'_>, target: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let host = check_host(names, target, headers)?;
    check_origin(names, &host, headers)
}

fn check_host(names: Names<'_>, target: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
    let mut told = headers.get_all(HOST).iter();
    let (Some(host), None) = (told.next(), told.next()) else {
        return Err(Refusal::new(
            ErrorCode::BadRequest,
            "a request names exactly one host",
        ));
    };
    let host = authority(host.as_bytes()).ok_or_else(foreign_host)?;
    let ours = is_own(names.own, &host) || names.hosts.iter().any(|name| is_named(name, &host));
    if !ours || target.authority().is_some_and(|target| *target != host) {
        return Err(foreign_host());
    }
    Ok(host)
}

fn check_origin(names: Names<'_>, host: &Authority, headers: &HeaderMap) -> Result<(), Refusal> {
    let own = names.own;
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return Ok(());
    };
    let page = origin
        .as_bytes()
        .strip_prefix(names.scheme.as_bytes())
        .and_then(authority);
    let default_port = if names.scheme == "https://" { 443 } else { 80 };
    let is_allowed = |page: &[u8]| {
        let same = |origin: &String| page.eq_ignore_ascii_case(origin.as_bytes());
        names.origins.iter().any(same)
    };
    let is_ours = page.is_some_and(|page| {
        // Equal to the host: the port may be a tunnel's. Else the listener's own port, under
        // another name of loopback.
        page == *host
            || (is_own(own, &page) && page.port_u16().unwrap_or(default_port) == own.port())
    });
    if (is_ours || is_allowed(origin.as_bytes())) && origins.next().is_none() {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::ForeignOrigin,
        "the page that sends this request is not the admin API's own",
    )
    .hint("the API answers programs and its own pages only; programs send no Origin"))
}

fn foreign_host() -> Refusal {
    Refusal::new(
        ErrorCode::ForeignHost,
        "the Host of this request is not a name of the admin API",
    )
    .hint("use localhost, 127.0.0.1 or [::1], or list the name under admin.hosts")
}

/// Whether a host is the one that the file names; an entry without a port takes any.
fn is_named(entry: &str, named: &Authority) -> bool {
    entry.eq_ignore_ascii_case(named.as_str()) || entry.eq_ignore_ascii_case(named.host())
}

/// A host with or without a port, and nothing else.
fn authority(text: &[u8]) -> Option<Authority> {
    let authority = Authority::try_from(text).ok()?;
    let whole = !authority.as_str().contains('@') && !authority.host().is_empty();
    whole.then_some(authority)
}

fn is_own(own: SocketAddr, named: &Authority) -> bool {
    let host = named.host();
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    bare.parse::<IpAddr>().is_ok_and(|ip| {
        ip.to_canonical().is_loopback() || ip.to_canonical() == own.ip().to_canonical()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(host: &[&str], origin: &[&str]) -> Result<(), ErrorCode> {
        let mut headers = HeaderMap::new();
        for host in host {
            headers.append(HOST, host.parse().unwrap());
        }
        for origin in origin {
            headers.append(ORIGIN, origin.parse().unwrap());
        }
        let target = Uri::from_static("/v1/status");
        check_names(names(&[], &[]), &target, &headers).map_err(|refusal| refusal.code())
    }

    fn names<'a>(hosts: &'a [String], origins: &'a [String]) -> Names<'a> {
        Names {
            own: "127.0.0.1:9900".parse().unwrap(),
            scheme: "http://",
            hosts,
            origins,
        }
    }

    #[test]
    fn what_the_file_lists_gets_through_and_nothing_like_it() {
        let hosts = ["gate.example".to_owned(), "other.example:9900".to_owned()];
        let origins = ["https://dash.example".to_owned()];
        let ask = |host: &str, origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if !origin.is_empty() {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            let target = Uri::from_static("/");
            check_names(names(&hosts, &origins), &target, &headers).is_ok()
        };

        for (host, origin) in [
            ("gate.example", ""),
            ("GATE.example:1", ""),
            ("other.example:9900", ""),
            ("gate.example", "https://dash.example"),
            ("gate.example", "http://gate.example"),
            ("localhost:9900", "https://DASH.example"),
        ] {
            assert!(ask(host, origin), "{host} {origin}");
        }
        for (host, origin) in [
            ("x.gate.example", ""),
            ("gate.example.evil", ""),
            ("other.example", ""),
            ("other.example:1", ""),
            ("gate.example", "http://dash.example"),
            ("gate.example", "https://dash.example:8443"),
            ("gate.example", "https://dash.example.evil"),
            ("evil.example", "https://dash.example"),
        ] {
            assert!(!ask(host, origin), "{host} {origin}");
        }
    }

    #[test]
    fn programs_and_own_pages_get_through() {
        for host in [
            "127.0.0.1:9900",
            "localhost:9900",
            "LOCALHOST",
            "[::1]:9900",
            "127.0.0.1:1",
        ] {
            assert_eq!(verdict(&[host], &[]), Ok(()), "{host}");
        }
        for origin in [
            "http://localhost:9900",
            "http://127.0.0.1:9900",
            "http://[::1]:9900",
        ] {
            assert_eq!(verdict(&["localhost:9900"], &[origin]), Ok(()), "{origin}");
        }
        assert_eq!(
            verdict(&["localhost:8000"], &["http://localhost:8000"]),
            Ok(())
        );
    }

    #[test]
    fn foreign_pages_are_refused() {
        for origin in [
            "http://evil.example",
            "https://localhost:9900",
            "http://localhost:3000",
            "http://localhost:9900.evil.example",
            "http://localhost@evil.example:9900",
            "null",
            "",
            "file://",
        ] {
            let got = verdict(&["localhost:9900"], &[origin]);

            assert_eq!(got, Err(ErrorCode::ForeignOrigin), "{origin}");
        }
        let twice = ["http://localhost:9900", "http://evil.example"];
        assert_eq!(
            verdict(&["localhost:9900"], &twice),
            Err(ErrorCode::ForeignOrigin)
        );
    }

    #[test]
    fn names_bent_to_loopback_are_refused() {
        for host in [
            "evil.example:9900",
            "localhost.evil.example",
            "user@localhost:9900",
            "0.0.0.0:9900",
            "192.0.2.1",
            "2130706433",
            "127.1",
        ] {
            assert_eq!(verdict(&[host], &[]), Err(ErrorCode::ForeignHost), "{host}");
        }
        assert_eq!(verdict(&[], &[]), Err(ErrorCode::BadRequest));
        assert_eq!(
            verdict(&["localhost", "localhost"], &[]),
            Err(ErrorCode::BadRequest)
        );
    }

    #[test]
    fn a_target_may_not_name_another_host() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "localhost:9900".parse().unwrap());
        let ask = |target| check_names(names(&[], &[]), &Uri::from_static(target), &headers);

        assert!(ask("http://evil.example/").is_err());
        assert!(ask("http://localhost:9900/").is_ok());
    }
}
