//! What is read of heads, and what is refused.

use http::Request;
use proptest::prelude::*;

use super::*;

fn read(uri: &str, version: Version, hosts: &[&str]) -> Result<Head, HeadError> {
    let mut request = Request::builder().uri(uri).version(version);
    for host in hosts {
        request = request.header(HOST, *host);
    }
    Head::read(&request.body(()).unwrap().into_parts().0, 4)
}

#[test]
fn an_ordinary_request_keeps_its_host_and_target() {
    let head = read("/a/b?c=d", Version::HTTP_11, &["Example.com:8080"]).unwrap();

    assert_eq!(head.host, "Example.com:8080");
    assert_eq!(head.host_name(), b"Example.com");
    assert_eq!(head.target.as_str(), "/a/b?c=d");
}

#[test]
fn the_name_of_a_host_is_without_its_port_and_the_dot_of_the_root() {
    for (host, name) in [
        ("a", "a"),
        ("a.", "a"),
        ("a.b.:80", "a.b"),
        ("a:", "a"),
        (".", ""),
        ("..", "."),
        ("[::1]", "[::1]"),
        ("[::1]:", "[::1]"),
        ("[::1]:80", "[::1]"),
        ("127.0.0.1:65535", "127.0.0.1"),
    ] {
        let head = read("/", Version::HTTP_11, &[host]).unwrap();
        assert_eq!(head.host_name(), name.as_bytes(), "{host}");
    }
    let head = read("http://b.:1/x", Version::HTTP_11, &["a"]).unwrap();
    assert_eq!(head.host_name(), b"b");
}

#[test]
fn the_targets_authority_wins() {
    let head = read("http://b/x", Version::HTTP_11, &["a"]).unwrap();

    assert_eq!(head.host, "b");
    assert_eq!(
        read("http://b/x", Version::HTTP_2, &["a"]).unwrap_err(),
        HeadError::TwoHosts
    );
    assert_eq!(
        read("http://b/x", Version::HTTP_2, &["B"]).unwrap().host,
        "b"
    );
    assert_eq!(read("http://b/x", Version::HTTP_2, &[]).unwrap().host, "b");
}

#[test]
fn anything_but_one_valid_host_is_refused() {
    let refused: [&[&str]; 14] = [
        &[],
        &["a", "a"],
        &["a", "b"],
        &["a b"],
        &["a@b"],
        &["a/b"],
        &[""],
        &["a:b"],
        &["a:123456"],
        &["[::1"],
        &["a,b"],
        &["a%00"],
        &["a:65536"],
        &["[:::1]"],
    ];
    for hosts in refused {
        assert!(read("/", Version::HTTP_11, hosts).is_err(), "{hosts:?}");
    }
    for host in ["[::1]", "[::1]:80", "a_b", "1.2.3.4:5", "a:"] {
        assert!(read("/", Version::HTTP_11, &[host]).is_ok(), "{host}");
    }
}

#[test]
fn fields_are_counted_whatever_their_size() {
    let request = |count: usize| {
        let mut request = Request::builder().uri("http://h/").version(Version::HTTP_2);
        for _ in 0..count {
            request = request.header("cookie", "a");
        }
        Head::read(&request.body(()).unwrap().into_parts().0, 4)
    };

    assert!(request(4).is_ok());
    assert_eq!(request(5).unwrap_err(), HeadError::Fields);
}

#[test]
fn a_path_that_hides_another_is_refused() {
    for path in [
        "/a/../b",
        "/..",
        "/a/.",
        "/%2e%2e/b",
        "/a/%2E./b",
        "/a%2f..%2fb",
        "/a/..%5cb",
        "/a%00b",
        "/a/..;/b",
        "/a/..;x=y/b",
        "/a/%2e%2E%3b/b",
        "/é",
    ] {
        assert_eq!(
            read(path, Version::HTTP_11, &["h"]).unwrap_err(),
            HeadError::Target,
            "{path}"
        );
    }
    for path in [
        "/.well-known/x",
        "/a..b",
        "/...",
        "/a%20b",
        "/a%2fb",
        "//a",
        "/?x=/../y",
    ] {
        assert!(read(path, Version::HTTP_11, &["h"]).is_ok(), "{path}");
    }
}

#[test]
fn a_path_is_routed_by_what_it_says_and_sent_as_it_is_written() {
    for (written, read) in [
        ("/%61dm%49n", "/admIn"),
        ("/a%2Fb%20c%zz%", "/a%2Fb%20c%zz%"),
        ("/%7e%2D%5f", "/~-_"),
        ("/%2561", "/%2561"),
    ] {
        let head = read_path(written);
        assert_eq!(
            (head.path().as_ref(), head.target.as_str()),
            (read, written)
        );
    }
    assert_eq!(read_path("http://b?x").target.as_str(), "/?x");
}

fn read_path(path: &str) -> Head {
    read(path, Version::HTTP_11, &["h"]).unwrap()
}

#[test]
fn only_to_be_told_to_go_on_can_be_expected() {
    let expects = |values: &[&str]| {
        let mut request = Request::builder().uri("/").header(HOST, "h");
        for value in values {
            request = request.header(EXPECT, *value);
        }
        Head::read(&request.body(()).unwrap().into_parts().0, 9).map(drop)
    };

    assert_eq!(expects(&["100-Continue"]), Ok(()));
    for values in [
        &["x"][..],
        &[""],
        &["100-continue", "100-continue"],
        &["y 100-continue"],
    ] {
        assert_eq!(expects(values), Err(HeadError::Expectation), "{values:?}");
    }
}

#[test]
fn fields_of_http2_have_no_space_around_them_and_one_length() {
    let read = |name: &str, values: &[&[u8]]| {
        let mut request = Request::builder().uri("http://h/").version(Version::HTTP_2);
        for value in values {
            request = request.header(name, HeaderValue::from_bytes(value).unwrap());
        }
        Head::read(&request.body(()).unwrap().into_parts().0, 9).map(drop)
    };

    for value in [&b" a"[..], b"a ", b"\ta", b"a\t", b" "] {
        assert_eq!(read("x", &[value]), Err(HeadError::Field), "{value:?}");
    }
    assert_eq!(read("content-length", &[b"1", b"1"]), Err(HeadError::Field));
    assert_eq!(read("x", &[b"", b"a b", b"a"]), Ok(()));
}

proptest! {
    #[test]
    fn what_is_read_is_read_again_as_the_same(
        host in "[a-zA-Z0-9._~\\-\\[\\]:@%, ]{0,12}",
        path in "(/|\\.|;|%2[eEfF]|%00|%5[cC]|\\\\|a|%61|\\?|\\*|:){0,12}",
        absolute in any::<bool>(),
    ) {
        let uri = if absolute { format!("http://{host}{path}") } else { path };
        let hosts = [if absolute { "other" } else { &host }];
        let Ok(parsed) = uri.parse::<http::Uri>() else { return Ok(()) };
        let mut request = Request::builder().uri(parsed);
        for host in hosts {
            let Ok(value) = HeaderValue::from_str(host) else { return Ok(()) };
            request = request.header(HOST, value);
        }
        if let Ok(head) = Head::read(&request.body(()).unwrap().into_parts().0, 9) {
            let sent = head.target.as_str();
            let again = read(sent, Version::HTTP_11, &[head.host.to_str().unwrap()]).unwrap();
            prop_assert_eq!(&again.host, &head.host);
            prop_assert_eq!(again.target.as_str(), sent);
            prop_assert!(sent.starts_with('/') && !sent.contains('#'));
            prop_assert!(!hides_another_path(head.target.path()));
            prop_assert!(!head.path().split('/').any(|s| matches!(s, "." | "..")));
        }
    }
}

#[test]
fn tunnels_and_mirrors_are_refused() {
    for method in [Method::CONNECT, Method::TRACE] {
        let request = Request::builder()
            .method(method)
            .uri("/")
            .header(HOST, "h")
            .body(())
            .unwrap();
        assert_eq!(
            Head::read(&request.into_parts().0, 4).unwrap_err(),
            HeadError::Method
        );
    }
    assert!(read("*", Version::HTTP_11, &["h"]).is_err());
}
