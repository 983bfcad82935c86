//! Routes that know their callers: a session is its opener's alone, and keys come over TLS.

use std::fs;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::certs::{Desk, TlsBackend, quoted};
use crate::support::client::Answer;
use crate::support::fake_mcp::FakeMcp;
use crate::support::gateway::Gateway;
use crate::support::issuer::{Issuer, now};
use crate::support::mcp_client::McpClient;
use crate::support::routes::route_with;

fn auth(jwks: &str) -> String {
    let (issuer, audience) = (Issuer::NAME, Issuer::AUDIENCE);
    format!(
        "auth: {{ jwt: {{ issuer: \"{issuer}\", audiences: [\"{audience}\"], jwks: {{ {jwks} }} }} }}"
    )
}

/// Asks with somebody's token for somebody's session.
fn ask(gateway: &Gateway, method: &str, session: &str, token: &str) -> Answer {
    let body = json!({
        "jsonrpc": "2.0", "id": 7, "method": "tools/call",
        "params": { "name": "whoami", "arguments": {} },
    });
    let body = match method {
        "POST" => body.to_string().into_bytes(),
        _ => Vec::new(),
    };
    let bearer = format!("Bearer {token}");
    gateway.connect().ask(
        method,
        "/mcp",
        &[
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("authorization", &bearer),
            ("mcp-session-id", session),
        ],
        &body,
    )
}

#[test]
fn a_session_is_good_for_whoever_opened_it_and_for_nobody_else() {
    let server = FakeMcp::start("v1");
    let issuer = Issuer::new("k1");
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    fs::write(&keys, Issuer::keys(&[&issuer])).unwrap();
    let line = auth(&format!("file: {}", quoted(&keys)));
    let split = [("only", &*server.url(), 1)];
    let route = route_with("mcp", &split, &["match: { path: /mcp }", &line]);
    let mut gateway = Gateway::start(&route);
    let token = |changes: Value| issuer.token(changes);
    let bearer = format!("Bearer {}", token(json!({})));
    let client = McpClient::open_with(gateway.address, "/mcp", &[("authorization", &bearer)]);
    let session = client.session.clone();
    let before = server.backend.requests().len();

    for other in [
        json!({ "sub": "eve" }),
        json!({ "sub": "ann " }),
        json!({ "sub": "" }),
        json!({ "sub": null }),
        json!({ "sub": null, "client_id": "ann" }),
        json!({ "sub": null, "azp": "ann" }),
    ] {
        for method in ["POST", "GET", "DELETE"] {
            let refused = ask(&gateway, method, &session, &token(other.clone()));
            assert_eq!(refused.status, 404, "{method} {other}");
        }
    }
    assert_eq!(server.backend.requests().len(), before, "none got through");

    // A later token of the same subject carries the session on, also after a restart.
    let later = token(json!({ "exp": now() + 900, "client_id": "another-app" }));
    assert_eq!(ask(&gateway, "POST", &session, &later).status, 200);
    gateway.kill();
    gateway.start_again();
    assert_eq!(ask(&gateway, "POST", &session, &later).status, 200);
    assert_eq!(
        ask(&gateway, "POST", &session, &token(json!({ "sub": "eve" }))).status,
        404
    );
    assert_eq!(ask(&gateway, "DELETE", &session, &later).status, 200);
}

#[test]
fn a_session_without_an_owner_is_not_taken_over_by_a_route_that_asks_for_tokens() {
    let server = FakeMcp::start("v1");
    let issuer = Issuer::new("k1");
    let url = server.url();
    let body = |lines: &[&str]| route_with("mcp", &[("only", &url, 1)], lines);
    let gateway = Gateway::start(&body(&["match: { path: /mcp }"]));
    let client = McpClient::open(gateway.address, "/mcp");
    let keys = gateway.folder().join("keys.json");
    fs::write(&keys, Issuer::keys(&[&issuer])).unwrap();

    let line = auth(&format!("file: {}", quoted(&keys)));
    gateway.rewrite(&body(&["match: { path: /mcp }", &line]));
    gateway.admin.wait_for("/v1/routes/all", |route| {
        (route["auth"]["jwks"]["keys"] == 1).then_some(())
    });

    let token = issuer.token(json!({}));
    let answer = ask(&gateway, "POST", &client.session, &token);
    assert_eq!(answer.status, 404, "{}", answer.text());
}

#[test]
fn keys_over_tls_are_believed_from_a_server_of_the_named_authority_alone() {
    let backend = Backend::fixed(200, "hello");
    let (desk, strangers) = (Desk::new(), Desk::new());
    desk.issue("id", &["localhost"]);
    desk.issue("misnamed", &["other.example"]);
    strangers.issue("id", &["localhost"]);
    let issuer = Issuer::new("k1");
    let keys: &'static str = Issuer::keys(&[&issuer]).leak();
    let good = TlsBackend::start(desk.server("id", false), keys);
    let get = |gateway: &Gateway| {
        let bearer = format!("Bearer {}", issuer.token(json!({})));
        let fields = [("authorization", bearer.as_str())];
        gateway.connect().ask("GET", "/", &fields, b"").status
    };
    let route = |server: &TlsBackend, ca: &str| {
        let jwks = format!("url: \"{}/jwks\", early: 1s{ca}", server.url());
        let url = backend.url();
        route_with("http", &[("only", &url, 1)], &[&auth(&jwks)])
    };
    let trusted = format!(", ca: {}", quoted(&desk.at("ca.pem")));
    let empty = desk.at("empty.pem");
    fs::write(&empty, "").unwrap();

    let gateway = Gateway::start(&route(&good, &trusted));
    let keys = |fact: &dyn Fn(&Value) -> bool| {
        gateway.admin.wait_for("/v1/routes/all", |route| {
            fact(&route["auth"]["jwks"]).then_some(())
        });
    };
    keys(&|keys| keys["keys"] == 1);
    assert_eq!(get(&gateway), 200);
    let seen = good.seen().remove(0);
    assert!(seen.head.starts_with("GET /jwks HTTP/1.1\r\n"));
    assert_eq!(seen.name.as_deref(), Some("localhost"));

    let stranger = TlsBackend::start(strangers.server("id", false), "{}");
    let misnamed = TlsBackend::start(desk.server("misnamed", false), "{}");
    let nobody = format!(", ca: {}", quoted(&empty));
    for (server, ca) in [
        (&stranger, trusted.as_str()),
        (&misnamed, &trusted),
        // The system's authorities have not signed it.
        (&good, ""),
        // A file without authorities is no reason to believe anybody.
        (&good, &nobody),
    ] {
        let asked = server.seen().len();
        gateway.rewrite(&route(server, ca));
        keys(&|keys| keys["keys"].is_null() && keys["error"].is_string());
        assert_eq!(get(&gateway), 503, "{ca}");
        assert_eq!(server.seen().len(), asked, "nothing is asked of a stranger");
        gateway.rewrite(&route(&good, &trusted));
        keys(&|keys| keys["keys"] == 1);
    }
}
