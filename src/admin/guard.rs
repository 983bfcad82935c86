//! The browser defence: a page from elsewhere, open in an operator's browser, gets nothing.
//!
//! The API has no cookies, so what is left is a page that talks to loopback: from another
//! origin (told by `Origin`), or from a name that was bent to loopback (told by `Host`).

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Uri};

use super::error::Refusal;
use super::wire::ErrorCode;

/// Lets a request through when it names this listener and comes from no foreign page.
pub(super) fn check(own: SocketAddr, target: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let host = check_host(own, target, headers)?;
    check_origin(own, &host, headers)
}

fn check_host(own: SocketAddr, target: &Uri, headers: &HeaderMap) -> Result<Authority, Refusal> {
    let mut named = headers.get_all(HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else {
        return Err(Refusal::new(
            ErrorCode::BadRequest,
            "a request names exactly one host",
        ));
    };
    let host = authority(host.as_bytes()).ok_or_else(foreign_host)?;
    if !is_own(own, &host) || target.authority().is_some_and(|target| *target != host) {
        return Err(foreign_host());
    }
    Ok(host)
}

fn check_origin(own: SocketAddr, host: &Authority, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else {
        return Ok(());
    };
    let page = origin
        .as_bytes()
        .strip_prefix(b"http://")
        .and_then(authority);
    let is_ours = page.is_some_and(|page| {
        // Equal to the host: the port may be a tunnel's. Else the listener's own port, under
        // another name of loopback.
        page == *host || (is_own(own, &page) && page.port_u16().unwrap_or(80) == own.port())
    });
    if is_ours && origins.next().is_none() {
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
    .hint("use localhost, 127.0.0.1 or [::1]")
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
    bare.parse::<IpAddr>()
        .is_ok_and(|ip| ip.to_canonical().is_loopback() || ip == own.ip())
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
        let own = "127.0.0.1:9900".parse().unwrap();
        check(own, &Uri::from_static("/v1/status"), &headers).map_err(|refusal| refusal.code())
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
        let own = "127.0.0.1:9900".parse().unwrap();

        assert!(check(own, &Uri::from_static("http://evil.example/"), &headers).is_err());
        assert!(check(own, &Uri::from_static("http://localhost:9900/"), &headers).is_ok());
    }
}
