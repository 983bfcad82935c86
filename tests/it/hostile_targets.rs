//! HTTP/1 request lines and hosts that two readers could take for different ones.

use crate::support::gateway::Gateway;
use crate::support::hostile::{House, request};

/// A GET whose request line is this one.
fn line(line: &str) -> String {
    format!("{line}\r\nHost: h\r\n\r\n")
}

#[test]
fn hosts_that_are_none_or_several_are_refused() {
    let house = House::new();

    for hosts in [
        "",
        "Host: h\r\nHost: h\r\n",
        "Host: h\r\nHost: i\r\n",
        "Host: h\r\nhost: h\r\n",
        "Host:\r\nHost: h\r\n",
        "Host:\r\n",
        "Host: \r\n",
        "Host: a b\r\n",
        "Host: a\tb\r\n",
        "Host: a@b\r\n",
        "Host: a:b@c\r\n",
        "Host: a/b\r\n",
        "Host: a\\b\r\n",
        "Host: a?b\r\n",
        "Host: a#b\r\n",
        "Host: a%00\r\n",
        "Host: a%2eb\r\n",
        "Host: a,b\r\n",
        "Host: a, b\r\n",
        "Host: a;b\r\n",
        "Host: \"a\"\r\n",
        "Host: a\0\r\n",
        "Host: a\r\n b\r\n",
        "Host:\r\n h\r\n",
        "Host: a:b\r\n",
        "Host: a:80:80\r\n",
        "Host: a:-1\r\n",
        "Host: a:65536\r\n",
        "Host: a:999999\r\n",
        "Host: :80\r\n",
        "Host: http://a\r\n",
        "Host: [::1\r\n",
        "Host: ::1\r\n",
        "Host: [::1]x\r\n",
        "Host: [x]\r\n",
        "Host: [1.2.3.4]\r\n",
        "Host: \u{e9}\r\n",
        "Host : h\r\n",
        " Host: h\r\n",
        "X: y\rHost: h\r\n",
    ] {
        for start in [
            "GET /x HTTP/1.1",
            "GET http://a/x HTTP/1.1",
            "OPTIONS * HTTP/1.1",
        ] {
            house.refuses(format!("{start}\r\n{hosts}\r\n"), &[400]);
        }
    }
}

#[test]
fn valid_hosts_arrive_as_they_are() {
    let house = House::new();

    for host in [
        "h",
        "H.Example",
        "h:80",
        "h:",
        "1.2.3.4",
        "[::1]",
        "[2001:db8::1]:8080",
        "a_b-c.d~e",
        "xn--4ca.x",
    ] {
        let seen = house.forwards(format!("GET /x HTTP/1.1\r\nHost:\t{host} \r\n\r\n"));
        assert_eq!(seen.get("host").as_deref(), Some(host));
    }
}

#[test]
fn the_host_of_the_target_wins_and_the_backend_sees_no_other() {
    let house = House::new();

    for (target, host, path) in [
        ("http://b/x", "b", "/x"),
        ("http://b", "b", "/"),
        ("http://b?q", "b", "/?q"),
        ("http://b:81/x?y", "b:81", "/x?y"),
        ("HTTP://B/x", "B", "/x"),
        ("https://b/x", "b", "/x"),
        ("http://[::1]:8/", "[::1]:8", "/"),
    ] {
        for field in ["a", "b", "B"] {
            let seen = house.forwards(format!("GET {target} HTTP/1.1\r\nHost: {field}\r\n\r\n"));
            assert_eq!(
                (seen.target.as_str(), seen.get("host").as_deref()),
                (path, Some(host))
            );
            assert_eq!(seen.get("x-forwarded-host").as_deref(), Some(host));
        }
    }
    for target in [
        "http://",
        "http:///x",
        "http://u@b/x",
        "http://u:p@b/x",
        "http://b@c/",
        "ftp://b/x",
        "ws://b/x",
        "file:///x",
        "x://b/x",
        "http:/b/x",
        "http:b/x",
        "//b@c/../x",
        "http://b c/x",
        "http://b%2fc/x",
        "http://b:x/",
        "http://b:99999/",
        "http://b\\c/",
        "b:80",
        "b/x",
        "http://*/",
        "http://,/",
        "http://b#x",
    ] {
        house.refuses(line(&format!("GET {target} HTTP/1.1")), &[400]);
    }
}

#[test]
fn the_route_is_that_of_the_host_that_is_sent_on() {
    let routed = House::new();
    let other = House::new();
    let config = format!(
        "backends:\n  one: {{ endpoints: [\"{}\"] }}\n  two: {{ endpoints: [\"{}\"] }}\n\
         routes:\n  - {{ name: one, match: {{ host: one.test }}, split: {{ one: 1 }} }}\n  \
         - {{ name: two, match: {{ host: two.test }}, split: {{ two: 1 }} }}\n",
        routed.mirror.url(),
        other.mirror.url()
    );
    let gateway = Gateway::start(&config);

    for (target, field) in [
        ("http://One.Test:81/x", "two.test"),
        ("/x", "ONE.test:7"),
        ("/x", "one.test."),
        ("/x", "one.test.:7"),
    ] {
        let mut raw = gateway.connect();
        raw.write(format!("GET {target} HTTP/1.1\r\nHost: {field}\r\n\r\n"));
        assert_eq!(raw.read("GET").status, 200);
    }

    let (seen, _) = routed.mirror.take();
    let hosts: Vec<_> = seen.iter().filter_map(|m| m.get("host")).collect();
    assert_eq!(
        hosts,
        ["One.Test:81", "ONE.test:7", "one.test.", "one.test.:7"]
    );
    assert!(other.mirror.take().0.is_empty());
}

#[test]
fn targets_that_are_none_are_refused() {
    let house = House::new();

    for target in [
        "/#",
        "/a#b",
        "/a?b#c",
        "#",
        "http://h/#x",
        "/\u{e9}",
        "/a\u{80}",
        "/?\u{e9}",
        "/a\0b",
        "\0",
        "/a\tb",
        "/a\u{b}b",
        "/a\u{7f}",
        "/a\rb",
        "",
        "a",
        "a/b",
        "?a",
        "*",
        "**",
        "/*\\..\\x",
        ".",
        "..",
        "%2fa",
        "/a b",
        "/a  b",
        "h:80",
    ] {
        house.refuses(line(&format!("GET {target} HTTP/1.1")), &[400]);
    }
}

#[test]
fn paths_that_hide_another_are_refused() {
    let house = House::new();

    for path in [
        "/pub/../admin",
        "/..",
        "/../",
        "/.",
        "/./a",
        "/a/.",
        "/a/..",
        "/%2e%2e/a",
        "/%2E%2e/a",
        "/.%2e/a",
        "/%2e/a",
        "/a%2f..%2fb",
        "/a%2F..%2Fb",
        "/a/..%2fb",
        "/a%2f../b",
        "/a\\..\\b",
        "/a/..\\b",
        "/\\..\\b",
        "/a%5c..%5cb",
        "/a%5C..%5Cb",
        "/a/..%5cb",
        "/a/..;/b",
        "/..;x=y/b",
        "/a/%2e%2e;/b",
        "/a/..%3b/b",
        "/a%00",
        "/%00",
        "/a%00/../b",
        "/a/.;/b",
    ] {
        house.refuses(line(&format!("GET {path} HTTP/1.1")), &[400]);
        house.refuses(line(&format!("GET http://h{path} HTTP/1.1")), &[400]);
    }
}

#[test]
fn unusual_paths_arrive_byte_for_byte() {
    let house = House::new();

    for target in [
        "/",
        "//",
        "//a//b",
        "/a/",
        "/a..b",
        "/...",
        "/.a",
        "/a.",
        "/%61",
        "/%7E",
        "/a%20b",
        "/a%2fb",
        "/a%2Fb",
        "/a%0d%0ab",
        "/%C3%A9",
        "/a;b=c",
        "/a:b@c",
        "/a!$&'()*+,;=",
        "/a|b",
        "/{a}",
        "/a?",
        "/a??b",
        "/a?b=/../c",
        "/a?b=%00",
        "/a?b={c}|d",
        "/a?http://x/",
        "/%25%32%65",
    ] {
        let seen = house.forwards(line(&format!("GET {target} HTTP/1.1")));
        assert_eq!(seen.target, target);
    }
    let seen = house.forwards(line("OPTIONS * HTTP/1.1"));
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("OPTIONS", "*")
    );
}

#[test]
fn a_path_written_in_another_way_is_still_on_its_route() {
    let (admin, public) = (House::new(), House::new());
    let config = format!(
        "backends:\n  admin: {{ endpoints: [\"{}\"] }}\n  public: {{ endpoints: [\"{}\"] }}\n\
         routes:\n  - {{ name: admin, match: {{ path: /admin }}, split: {{ admin: 1 }} }}\n  \
         - {{ name: public, split: {{ public: 1 }} }}\n",
        admin.mirror.url(),
        public.mirror.url()
    );
    let gateway = Gateway::start(&config);

    for path in ["/%61dmin", "/adm%69n/x", "/%61%64%6D%69%6e?x"] {
        gateway.get(path);
        assert_eq!(admin.mirror.take().0[0].target, path);
    }
    assert!(public.mirror.take().0.is_empty());
}

#[test]
fn methods_and_versions_that_are_none_are_refused() {
    let house = House::new();

    for start in [
        "GET /x",
        "GET /x ",
        "GET  /x HTTP/1.1",
        "GET /x  HTTP/1.1",
        " GET /x HTTP/1.1",
        "GET\t/x HTTP/1.1",
        "GET /x\tHTTP/1.1",
        "GET /x HTTP/1.1 ",
        "GET /x HTTP/1.1\t",
        "GET /x HTTP/0.9",
        "GET /x HTTP/1.10",
        "GET /x HTTP/1.2",
        "GET /x HTTP/2.0",
        "GET /x HTTP/2",
        "GET /x HTTP/11",
        "GET /x HTTP/1,1",
        "GET /x HTTP/01.1",
        "GET /x HTTP/1.01",
        "GET /x HTTP/4294967297.1",
        "GET /x HTTP/1.4294967297",
        "GET /x HTTP /1.1",
        "GET /x http/1.1",
        "GET /x HTTP/-1.1",
        "GET /x HTTP/1.x",
        "GET /x ICY/1.1",
        "GET /x HTTPS/1.1",
        "GET",
        "/x HTTP/1.1",
        "G@T /x HTTP/1.1",
        "G\0T /x HTTP/1.1",
        "G{T /x HTTP/1.1",
        "\u{e9} /x HTTP/1.1",
        "GET: /x HTTP/1.1",
        "GET /x HTTP/1.1 HTTP/1.1",
        "PRI * HTTP/2.0",
        "",
        "\0",
        "\u{16}\u{3}\u{1}",
    ] {
        if start.is_empty() {
            house.refuses("\n\n", &[400]);
            continue;
        }
        house.refuses(line(start), &[400]);
    }
    house.refuses("GET /x HTTP/1.1\nHost: h\n\n", &[400]);
    house.refuses("GET /x HTTP/1.1\r\nHost: h\r\n\n", &[400]);
    house.refuses("GET /x HTTP/1.1\r\nHost: h\n\r\n", &[400]);
    house.refuses(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[400]);
}

#[test]
fn tunnels_and_mirrors_are_refused() {
    let house = House::new();

    for start in [
        "CONNECT h:443 HTTP/1.1",
        "CONNECT /x HTTP/1.1",
        "CONNECT http://h/ HTTP/1.1",
        "TRACE /x HTTP/1.1",
        "TRACE http://h/x HTTP/1.1",
        "CONNECT h:443 HTTP/1.0",
        "connect /x HTTP/1.1",
        "Trace /x HTTP/1.1",
        "TRACK /x HTTP/1.1",
        "PRI /x HTTP/1.1",
        "PRI * HTTP/1.1",
    ] {
        house.refuses(
            format!("{start}\r\nHost: h\r\nAuthorization: x\r\n\r\n"),
            &[405],
        );
    }
    for method in ["PUT", "DELETE", "PATCH", "PROPFIND", "M-SEARCH", "get", "X"] {
        assert_eq!(house.forwards(request(method, "", "")).method, method);
    }
}

#[test]
fn options_of_a_server_as_a_whole_are_asked_for_with_a_star_or_not_at_all() {
    let house = House::new();

    for target in [
        "http://h",
        "http://h:80",
        "HTTP://h",
        "https://h",
        "http://h ",
    ] {
        house.refuses(line(&format!("OPTIONS {target} HTTP/1.1")), &[400]);
    }
    for (target, sent) in [
        ("*", "*"),
        ("/", "/"),
        ("/:", "/:"),
        ("http://h/", "/"),
        ("http://h/x", "/x"),
        ("http://h?x", "/?x"),
    ] {
        let seen = house.forwards(line(&format!("OPTIONS {target} HTTP/1.1")));
        assert_eq!(seen.target, sent, "{target}");
    }
}
