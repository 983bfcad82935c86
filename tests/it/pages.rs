//! Web pages that ask: on loopback strangers get nothing, and listed pages what their browsers need.

use std::fs;

use serde_json::json;

use crate::support::backend::Backend;
use crate::support::certs::quoted;
use crate::support::client::{Answer, Raw};
use crate::support::fake_mcp::FakeMcp;
use crate::support::gateway::Gateway;
use crate::support::issuer::Issuer;
use crate::support::routes::route_with;

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"a","version":"1"}}}"#;

/// Posts an `initialize` with exactly this host and these fields.
fn open(gateway: &Gateway, host: &str, fields: &[(&str, &str)]) -> Answer {
    let mut raw = Raw::connect(gateway.address);
    let mut head = format!(
        "POST /mcp HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\ncontent-length: {}\r\n",
        INITIALIZE.len()
    );
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    raw.write(format!("{head}\r\n{INITIALIZE}"));
    raw.read("POST")
}

fn preflight(gateway: &Gateway, origin: &str) -> Answer {
    let fields = [
        ("origin", origin),
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type,mcp-session-id",
        ),
    ];
    gateway.connect().ask("OPTIONS", "/mcp", &fields, b"")
}

#[test]
fn over_loopback_strangers_pages_and_names_get_nothing_of_an_mcp_server() {
    let server = FakeMcp::start("v1");
    let split = [("only", &*server.url(), 1)];
    let gateway = Gateway::start(&route_with("mcp", &split, &[]));
    let own = gateway.address.to_string();
    for (host, origin) in [
        (&*own, None),
        ("localhost", None),
        ("LOCALHOST:8080", Some("http://localhost:3000")),
        ("[::1]:8080", Some("https://127.0.0.1")),
        ("127.0.0.2", Some("http://[::1]:5173")),
        ("gateway:8080", None),
        ("host.docker.internal:8080", None),
        ("app.localhost", None),
        ("10.0.0.7:8080", None),
    ] {
        let fields: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        assert_eq!(
            open(&gateway, host, &fields).status,
            200,
            "{host} {origin:?}"
        );
    }
    let before = server.backend.requests().len();

    for (host, origins) in [
        (&*own, &["http://evil.example"][..]),
        (&own, &["http://localhost.evil.example"]),
        (&own, &["http://localhost@evil.example"]),
        (&own, &["null"]),
        (&own, &[""]),
        (&own, &["file://"]),
        (&own, &["http://localhost", "http://evil.example"]),
        ("evil.example", &["http://evil.example"]),
        ("evil.example:8080", &[]),
        ("localhost.evil.example", &[]),
        ("evil.example.", &[]),
        ("1.2.3.4.evil.example", &[]),
    ] {
        let fields: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
        let refused = open(&gateway, host, &fields);
        assert_eq!(refused.status, 403, "{host} {origins:?}");
        assert_eq!(refused.json()["jsonrpc"], "2.0");
        assert!(refused.fields.get("access-control-allow-origin").is_none());
    }
    assert_eq!(server.backend.requests().len(), before);
    let page = gateway.admin.text("/metrics");
    assert!(page.contains("switchback_page_refusals_total{route=\"all\"} 12\n"));
}

#[test]
fn what_the_file_names_is_answered_over_loopback_too() {
    let server = FakeMcp::start("v1");
    let split = [("only", &*server.url(), 1)];
    let evil = [("origin", "http://evil.example")];

    let named = route_with("mcp", &split, &["match: { host: mcp.example.com }"]);
    let gateway = Gateway::start(&named);
    assert_eq!(open(&gateway, "mcp.example.com", &[]).status, 200);
    assert_eq!(open(&gateway, "mcp.example.com", &evil).status, 403);
    gateway.rewrite(&format!(
        "forwarding: {{ trusted_proxies: [127.0.0.0/8] }}\n{}",
        route_with("mcp", &split, &[])
    ));
    gateway.admin.wait_for("/v1/status", |_| {
        let answer = open(&gateway, "mcp.example.com", &evil);
        (answer.status == 200).then_some(())
    });
    gateway.rewrite(&route_with("mcp", &split, &["origins: [\"*\"]"]));
    gateway.admin.wait_for("/v1/status", |_| {
        let answer = open(&gateway, "mcp.example.com", &[]);
        (answer.status == 403).then_some(())
    });
    let any = open(&gateway, "localhost", &evil);
    assert_eq!(any.status, 200);
    let told = any.fields.get("access-control-allow-origin");
    assert_eq!(told, Some("http://evil.example"));
}

#[test]
fn a_list_of_pages_is_for_every_protocol_and_the_backend_has_the_last_word() {
    let backend = Backend::start(|exchange| {
        let own = exchange.request.target == "/own";
        let fields: &[_] = if own {
            &[("access-control-allow-origin", "https://other.example")]
        } else {
            &[]
        };
        exchange.answer(200, fields, "fine");
    });
    let app = "https://app.example.com";
    let line = format!("origins: [\"{app}\"]");
    let split = [("only", &*backend.url(), 1)];
    let gateway = Gateway::start(&route_with("http", &split, &[&line]));
    let get = |target: &str, origin: Option<&str>| {
        let fields: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        gateway.connect().ask("GET", target, &fields, b"")
    };

    assert_eq!(get("/", None).status, 200);
    let read = get("/", Some(app));
    assert_eq!(read.fields.get("access-control-allow-origin"), Some(app));
    assert_eq!(read.fields.get("vary"), Some("origin"));
    let own = get("/own", Some(app));
    let told: Vec<_> = own.fields.all("access-control-allow-origin").collect();
    assert_eq!(told, ["https://other.example"]);
    for other in ["http://app.example.com", "http://localhost", "null"] {
        assert_eq!(get("/", Some(other)).status, 403, "{other}");
    }
    // Where no token is asked for, leave is the backend's to give.
    assert_eq!(preflight(&gateway, app).status, 200);
    assert_eq!(preflight(&gateway, "http://evil.example").status, 403);
}

#[test]
fn a_preflight_has_no_token_and_a_listed_page_gets_leave() {
    let server = FakeMcp::start("v1");
    let issuer = Issuer::new("k1");
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    fs::write(&keys, Issuer::keys(&[&issuer])).unwrap();
    let auth = format!(
        "auth: {{ jwt: {{ issuer: \"{}\", audiences: [\"{}\"], jwks: {{ file: {} }} }} }}",
        Issuer::NAME,
        Issuer::AUDIENCE,
        quoted(&keys)
    );
    let app = "https://app.example.com";
    let line = format!("origins: [\"{app}\"]");
    let split = [("only", &*server.url(), 1)];
    let gateway = Gateway::start(&route_with("mcp", &split, &[&line, &auth]));

    let leave = preflight(&gateway, app);
    assert_eq!(leave.status, 204);
    assert_eq!(leave.fields.get("access-control-allow-origin"), Some(app));
    let may = leave.fields.get("access-control-allow-headers").unwrap();
    assert!(may.contains("authorization"), "{may}");
    assert!(
        leave
            .fields
            .get("access-control-allow-credentials")
            .is_none()
    );
    assert_eq!(preflight(&gateway, "https://evil.example").status, 403);
    assert!(server.backend.requests().is_empty());

    // A refusal can be read by the page, which learns from it where to get a token.
    let refused = open(&gateway, "localhost", &[("origin", app)]);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.fields.get("access-control-allow-origin"), Some(app));
    let exposed = refused.fields.get("access-control-expose-headers").unwrap();
    assert!(exposed.contains("www-authenticate") && exposed.contains("mcp-session-id"));
    let token = format!("Bearer {}", issuer.token(json!({})));
    let fields = [("origin", app), ("authorization", &token)];
    assert_eq!(open(&gateway, "localhost", &fields).status, 200);

    gateway.rewrite(&route_with("mcp", &split, &[&auth]));
    gateway.admin.wait_for("/v1/status", |_| {
        (preflight(&gateway, app).status == 403).then_some(())
    });
}
