//! Routes that ask for a token: who gets through, what the others are told, where keys come from.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::client::Answer;
use crate::support::exchange::Exchange;
use crate::support::fake_mcp::FakeMcp;
use crate::support::gateway::Gateway;
use crate::support::issuer::{Issuer, now};
use crate::support::mcp_client::McpClient;
use crate::support::routes::route_with;

/// The `auth` line of a route: the keys, and more settings.
fn auth(jwks: &str, more: &str) -> String {
    let (issuer, audience) = (Issuer::NAME, Issuer::AUDIENCE);
    format!(
        "auth: {{ jwt: {{ issuer: \"{issuer}\", audiences: [\"{audience}\"], jwks: {{ {jwks} }}{more} }} }}"
    )
}

/// A folder with a file of keys, and what a config says of it.
struct KeyFile {
    folder: tempfile::TempDir,
}

impl KeyFile {
    fn with(keys: &str) -> Self {
        let file = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        file.write(keys);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys.json")
    }

    fn write(&self, keys: &str) {
        let draft = self.folder.path().join("draft");
        fs::write(&draft, keys).unwrap();
        fs::rename(&draft, self.path()).unwrap();
    }

    fn jwks(&self) -> String {
        format!("file: \"{}\", early: 1s", self.path().display())
    }
}

fn one_route(protocol: &str, url: &str, lines: &[&str]) -> String {
    route_with(protocol, &[("only", url, 1)], lines)
}

fn get(gateway: &Gateway, token: &str) -> Answer {
    let field = format!("Bearer {token}");
    gateway
        .connect()
        .ask("GET", "/", &[("authorization", &field)], b"")
}

fn wait_for_keys(gateway: &Gateway, fact: impl Fn(&Value) -> bool) -> Value {
    gateway.admin.wait_for("/v1/routes/all", |route| {
        let keys = &route["auth"]["jwks"];
        fact(keys).then(|| keys.clone())
    })
}

fn count(gateway: &Gateway, result: &str) -> u64 {
    let metrics = gateway.admin.text("/metrics");
    let series = format!("switchback_auth_total{{route=\"all\",result=\"{result}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&series));
    line.unwrap().parse().unwrap()
}

#[test]
fn only_a_good_token_gets_through() {
    let backend = Backend::fixed(200, "hello");
    let (issuer, stranger) = (Issuer::new("k1"), Issuer::new("k1"));
    let keys = KeyFile::with(&Issuer::keys(&[&issuer]));
    let line = auth(&keys.jwks(), ", scopes: [\"mcp:call\"]");
    let gateway = Gateway::start(&one_route("http", &backend.url(), &[&line]));
    let claims = json!({ "iss": Issuer::NAME, "aud": Issuer::AUDIENCE, "exp": now() + 600, "scope": "mcp:call" });
    let unsigned = issuer.sign(&json!({ "alg": "none" }), &claims);

    let good = issuer.token(json!({}));
    for _ in 0..3 {
        assert_eq!(get(&gateway, &good).status, 200);
    }
    assert!(backend.requests()[0].fields.get("authorization").is_none());
    for (token, status, result) in [
        (stranger.token(json!({})), 401, "signature"),
        (issuer.token(json!({ "exp": now() - 61 })), 401, "expired"),
        (issuer.token(json!({ "nbf": now() + 120 })), 401, "not_yet"),
        (
            issuer.token(json!({ "iss": "https://evil.example" })),
            401,
            "issuer",
        ),
        (
            issuer.token(json!({ "aud": "https://other.example" })),
            401,
            "audience",
        ),
        (issuer.token(json!({ "scope": "mcp:read" })), 403, "scope"),
        (issuer.token(json!({ "scope": 7 })), 401, "malformed"),
        (unsigned, 401, "algorithm"),
        (
            issuer.sign(&json!({ "alg": "ES256", "kid": "k9" }), &claims),
            401,
            "unknown_key",
        ),
        ("a.b.c".to_owned(), 401, "malformed"),
        (good.replace('.', ".."), 401, "malformed"),
        ("a b".to_owned(), 400, "bad_request"),
        ("x".repeat(20_000), 401, "malformed"),
    ] {
        let before = count(&gateway, result);
        let answer = get(&gateway, &token);

        assert_eq!(answer.status, status, "{result}");
        assert_eq!(count(&gateway, result), before + 1, "{result}");
        let challenge = answer.fields.get("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer error=\""), "{challenge}");
        assert!(!answer.text().contains(&token), "{result}");
    }
    let twice = [
        ("authorization", good.as_str()),
        ("authorization", good.as_str()),
    ];
    let twice = twice.map(|(name, token)| (name, format!("Bearer {token}")));
    let fields: Vec<_> = twice.iter().map(|(n, v)| (*n, v.as_str())).collect();
    assert_eq!(gateway.connect().ask("GET", "/", &fields, b"").status, 400);
    let query = format!("/?access_token={good}");
    assert_eq!(gateway.get(&query).status, 401);
    assert_eq!(backend.requests().len(), 3);
    assert_eq!(count(&gateway, "admitted"), 3);
    let metrics = gateway.admin.text("/metrics");
    for (outcome, count) in [("success", 3), ("client_error", 0), ("cancelled", 0)] {
        let series = format!("{{route=\"all\",backend=\"only\",outcome=\"{outcome}\"}} {count}");
        let counted = metrics.contains(&format!("switchback_calls_total{series}\n"));
        assert!(counted, "a refusal is nobody's call: {metrics}");
    }
    let printed = gateway.printed();
    assert!(
        !printed.contains(&good) && !printed.contains("ann"),
        "{printed}"
    );
}

#[test]
fn an_mcp_client_finds_its_way_from_a_refusal_to_a_call() {
    let server = FakeMcp::start("v1");
    let issuer = Issuer::new("k1");
    let keys = KeyFile::with(&Issuer::keys(&[&issuer]));
    let line = auth(
        &keys.jwks(),
        ", scopes: [\"mcp:call\"], claims_to_headers: { sub: x-user-id }",
    );
    let gateway = Gateway::start(&one_route(
        "mcp",
        &server.url(),
        &["match: { path: /mcp }", &line],
    ));

    let refused = gateway.connect().ask(
        "POST",
        "/mcp",
        &[
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ],
        br#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#,
    );
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["jsonrpc"], "2.0");
    let challenge = refused.fields.get("www-authenticate").unwrap().to_owned();
    let url = challenge.split("resource_metadata=\"").nth(1).unwrap();
    let url = url.split('"').next().unwrap();
    assert_eq!(
        url,
        "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
    );

    let document = gateway.get("/.well-known/oauth-protected-resource/mcp");
    assert_eq!(document.status, 200);
    assert_eq!(
        document.fields.get("content-type"),
        Some("application/json")
    );
    assert_eq!(
        document.json(),
        json!({
            "resource": Issuer::AUDIENCE,
            "authorization_servers": [Issuer::NAME],
            "bearer_methods_supported": ["header"],
            "scopes_supported": ["mcp:call"],
        })
    );

    let token = format!("Bearer {}", issuer.token(json!({})));
    let fields = [
        ("authorization", token.as_str()),
        ("x_user_id", "eve"),
        ("X-User-Id", "eve"),
    ];
    let mut client = McpClient::open_with(gateway.address, "/mcp", &fields);
    assert_eq!(client.call_text("whoami"), "v1");
    for request in server.backend.requests() {
        assert_eq!(request.fields.all("x-user-id").collect::<Vec<_>>(), ["ann"]);
        assert_eq!(request.fields.count("x_user_id"), 0);
        assert_eq!(request.fields.count("authorization"), 0);
    }
}

#[test]
fn other_methods_on_the_metadata_are_answered_here_too() {
    let backend = Backend::fixed(200, "hello");
    let keys = KeyFile::with(&Issuer::keys(&[]));
    let line = auth(&keys.jwks(), "");
    let gateway = Gateway::start(&one_route("http", &backend.url(), &[&line]));
    let path = "/.well-known/oauth-protected-resource/mcp";

    for (method, status) in [
        ("HEAD", 200),
        ("OPTIONS", 204),
        ("POST", 405),
        ("DELETE", 405),
    ] {
        let answer = gateway.connect().ask(method, path, &[], b"");
        assert_eq!(answer.status, status, "{method}");
    }
    assert_eq!(backend.requests().len(), 0);
}

#[test]
fn the_metadata_is_the_backends_where_the_file_says_so() {
    let backend = Backend::fixed(200, "its own");
    let keys = KeyFile::with(&Issuer::keys(&[]));
    let line = auth(&keys.jwks(), ", metadata: pass");
    let config = one_route("http", &backend.url(), &["match: { path: /mcp }", &line]);
    let open = "  - name: open\n    match: { path: /.well-known }\n    split: { only: 1 }\n";
    let gateway = Gateway::start(&(config + open));

    let answer = gateway.get("/.well-known/oauth-protected-resource/mcp");

    assert_eq!(answer.text(), "its own");
}

#[test]
fn a_token_is_sent_on_only_where_the_file_says_so() {
    let backend = Backend::fixed(200, "hello");
    let issuer = Issuer::new("k1");
    let keys = KeyFile::with(&Issuer::keys(&[&issuer]));
    let line = auth(&keys.jwks(), ", forward: true");
    let gateway = Gateway::start(&one_route("http", &backend.url(), &[&line]));
    let token = issuer.token(json!({}));

    assert_eq!(get(&gateway, &token).status, 200);

    let sent = format!("Bearer {token}");
    assert_eq!(
        backend.requests()[0].fields.get("authorization"),
        Some(sent.as_str())
    );
}

#[test]
fn callers_are_kept_together_by_a_claim() {
    let (a, b) = (Backend::fixed(200, "a"), Backend::fixed(200, "b"));
    let issuer = Issuer::new("k1");
    let keys = KeyFile::with(&Issuer::keys(&[&issuer]));
    let line = auth(&keys.jwks(), "");
    let arms = [("a", a.url(), 1), ("b", b.url(), 1)];
    let arms: Vec<_> = arms.iter().map(|(n, u, w)| (*n, u.as_str(), *w)).collect();
    let gateway = Gateway::start(&route_with(
        "http",
        &arms,
        &[&line, "sticky: [{ claim: sub }]"],
    ));

    let mut seen = std::collections::BTreeSet::new();
    for caller in 0..16 {
        let answers: Vec<String> = (0..4)
            // Each time another token of the same caller.
            .map(|turn| json!({ "sub": format!("caller-{caller}"), "jti": turn.to_string() }))
            .map(|claims| get(&gateway, &issuer.token(claims)).text())
            .collect();
        assert!(
            answers.iter().all(|answer| *answer == answers[0]),
            "{answers:?}"
        );
        seen.insert(answers[0].clone());
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn what_follows_a_refused_request_is_its_body_and_no_request() {
    let backend = Backend::fixed(200, "hello");
    let keys = KeyFile::with(&Issuer::keys(&[]));
    let gateway = Gateway::start(&one_route(
        "http",
        &backend.url(),
        &[&auth(&keys.jwks(), "")],
    ));
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";

    for head in [
        format!("content-length: {}\r\n\r\n{smuggled}", smuggled.len()),
        format!(
            "transfer-encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
            smuggled.len()
        ),
        format!(
            "expect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            smuggled.len()
        ),
    ] {
        let mut raw = gateway.connect();
        raw.write(format!("POST / HTTP/1.1\r\nhost: x\r\n{head}"));
        assert_eq!(raw.read("POST").status, 401);
        raw.try_send("GET", "/own", &[("connection", "close")], b"");
        let rest = String::from_utf8(raw.read_to_close()).unwrap();
        assert!(rest.matches("HTTP/1.1 ").count() <= 1, "{rest}");
    }
}

#[test]
fn keys_in_a_file_change_without_a_restart_and_a_revoked_one_is_out_at_once() {
    let backend = Backend::fixed(200, "hello");
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let keys = KeyFile::with(&Issuer::keys(&[&old]));
    let gateway = Gateway::start(&one_route(
        "http",
        &backend.url(),
        &[&auth(&keys.jwks(), "")],
    ));
    let (token_old, token_new) = (old.token(json!({})), new.token(json!({})));
    assert_eq!(get(&gateway, &token_old).status, 200);
    assert_eq!(get(&gateway, &token_new).status, 401);

    keys.write(&Issuer::keys(&[&old, &new]));
    wait_for_keys(&gateway, |keys| keys["keys"] == 2);
    assert_eq!(get(&gateway, &token_old).status, 200);
    assert_eq!(get(&gateway, &token_new).status, 200);

    keys.write("{ broken");
    wait_for_keys(&gateway, |keys| keys["error"].is_string());
    assert_eq!(
        get(&gateway, &token_new).status,
        200,
        "the last good keys stay"
    );
    let warnings = gateway.admin.get("/v1/status")["warnings"].to_string();
    assert!(
        warnings.contains("those before stay in force"),
        "{warnings}"
    );

    keys.write(&Issuer::keys(&[&new]));
    wait_for_keys(&gateway, |keys| keys["keys"] == 1);
    assert_eq!(
        get(&gateway, &token_old).status,
        401,
        "remembered, and revoked"
    );
    assert_eq!(get(&gateway, &token_new).status, 200);
}

#[test]
fn without_keys_nobody_is_let_in_and_nobody_is_blamed() {
    let backend = Backend::fixed(200, "hello");
    let issuer = Issuer::new("k1");
    let keys = KeyFile::with("{}");
    let gateway = Gateway::start(&one_route(
        "http",
        &backend.url(),
        &[&auth(&keys.jwks(), "")],
    ));

    let answer = get(&gateway, &issuer.token(json!({})));
    assert_eq!(answer.status, 503);
    assert!(answer.fields.get("retry-after").is_some());
    assert_eq!(
        gateway.get("/").status,
        401,
        "without a token it is the caller's turn"
    );

    keys.write(&Issuer::keys(&[&issuer]));
    wait_for_keys(&gateway, |keys| keys["keys"] == 1);
    assert_eq!(get(&gateway, &issuer.token(json!({}))).status, 200);
}

#[test]
fn keys_behind_a_url_are_fetched_again_for_a_key_that_is_not_known() {
    let backend = Backend::fixed(200, "hello");
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let published = Backend::fixed(200, &Issuer::keys(&[&old]));
    let jwks = format!("url: \"{}/jwks\", early: 1s, refresh: 24h", published.url());
    let gateway = Gateway::start(&one_route("http", &backend.url(), &[&auth(&jwks, "")]));
    wait_for_keys(&gateway, |keys| keys["keys"] == 1);
    assert_eq!(get(&gateway, &old.token(json!({}))).status, 200);

    let next = Issuer::keys(&[&old, &new]);
    published.change(move |exchange| exchange.answer(200, &[], &next));
    let unknown = || get(&gateway, &new.token(json!({ "jti": "x" }))).status;
    assert_eq!(unknown(), 401);
    // Nobody waits for the keys; they may come in the middle of these.
    assert!((0..20).all(|_| [200, 401].contains(&unknown())));
    wait_for_keys(&gateway, |keys| keys["keys"] == 2);
    assert_eq!(get(&gateway, &new.token(json!({}))).status, 200);
    assert!(
        published.requests().len() <= 3,
        "asked for once a second at most"
    );
    assert_eq!(published.requests()[0].target, "/jwks");
}

#[test]
fn a_bad_server_of_keys_changes_nothing() {
    let backend = Backend::fixed(200, "hello");
    let issuer = Issuer::new("k1");
    let good = Issuer::keys(&[&issuer]);
    let published = Backend::fixed(200, &good);
    let evil = Backend::fixed(200, &Issuer::keys(&[&Issuer::new("k1")]));
    let jwks = format!(
        "url: \"{}/jwks\", early: 1s, refresh: 24h, timeout: 500ms",
        published.url()
    );
    let gateway = Gateway::start(&one_route("http", &backend.url(), &[&auth(&jwks, "")]));
    wait_for_keys(&gateway, |keys| keys["keys"] == 1);
    let stranger = Issuer::new("k2").token(json!({}));
    let token = issuer.token(json!({}));
    let still_good = |why: &str| {
        assert_eq!(get(&gateway, &stranger).status, 401);
        wait_for_keys(&gateway, |keys| {
            keys["error"].as_str().is_some_and(|e| e.contains(why))
        });
        assert_eq!(get(&gateway, &token).status, 200, "{why}");
        let fresh = issuer.token(json!({ "jti": why }));
        assert_eq!(get(&gateway, &fresh).status, 200, "{why}");
    };

    let elsewhere = evil.url();
    published.change(move |exchange| exchange.answer(302, &[("location", &elsewhere)], ""));
    still_good("302");
    published.change(|exchange| exchange.answer(500, &[], "{}"));
    still_good("500");
    published.change(|exchange| exchange.answer(200, &[], "<html>"));
    still_good("not a set of keys");
    published.change(|exchange| {
        exchange.begin(200, &[("content-type", "application/json")]);
        for _ in 0..64 {
            exchange.chunk(vec![b' '; 64 * 1024]);
        }
        exchange.end();
    });
    still_good("longer than 1 MiB");
    published.change(|exchange| {
        exchange.begin(200, &[]);
        exchange.wait_for_close();
    });
    still_good("timed out");
    published.change(Exchange::reset);
    still_good("asking for the keys");
    assert_eq!(evil.requests().len(), 0, "a redirect is not followed");
}
