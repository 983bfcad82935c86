//! TLS with clients: who gets which certificate, who gets in, and what a new file does.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustls::{HandshakeKind, ProtocolVersion};

use crate::support::backend::Backend;
use crate::support::certs::{Desk, Secure, quoted};
use crate::support::client::Raw;
use crate::support::gate::pass;
use crate::support::gateway::{Gateway, run};
use crate::support::routes::through;

/// A listener's `tls`, with these certificates and more keys.
fn tls(certificates: &[String], more: &str) -> String {
    format!(
        "tls: {{ certificates: [{}], {more} }}",
        certificates.join(", ")
    )
}

/// A gateway with one certificate, for `a.example`, in front of a backend.
fn with_one(desk: &Desk, backend: &Backend, more: &str) -> Gateway {
    let certificate = desk.issue("server", &["a.example"]);
    Gateway::start_listening(2, &tls(&[certificate], more), &through(&backend.url()))
}

/// A number on the page of metrics.
fn metric(gateway: &Gateway, sample: &str) -> f64 {
    let page = gateway.admin.text("/metrics");
    let line = page.lines().find(|line| line.starts_with(sample));
    let value = line.and_then(|line| line.rsplit(' ').next());
    value.map_or(0.0, |value| value.parse().unwrap())
}

/// Waits until a number on the page of metrics is at least this.
fn wait_for_metric(gateway: &Gateway, sample: &str, least: f64) {
    gateway.admin.wait_for("/v1/status", |_| {
        (metric(gateway, sample) >= least).then_some(())
    });
}

/// Whether the gateway says a thing among its warnings.
fn wait_for_warning(gateway: &Gateway, text: &str) {
    gateway.admin.wait_for("/v1/status", |status| {
        let warnings = status["warnings"].as_array().unwrap();
        let mut said = warnings.iter().filter_map(|warning| warning.as_str());
        said.any(|warning| warning.contains(text)).then_some(())
    });
}

#[test]
fn a_client_gets_the_certificate_that_it_asks_for_and_its_request_goes_through() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    let certificates = [
        desk.issue("first", &["first.example"]),
        desk.issue("wild", &["*.w.example"]),
        desk.issue("exact", &["a.example"]),
    ];
    let gateway = Gateway::start_listening(2, &tls(&certificates, ""), &through(&backend.url()));
    let client = desk.client(None, &[]);

    for (asked, shown) in [
        ("first.example", "first.example"),
        ("x.w.example", "*.w.example"),
        ("A.Example", "a.example"),
    ] {
        let mut secure = Secure::connect(gateway.address, asked, &client).unwrap();

        assert!(secure.is_shown(shown), "{asked}");
        assert_eq!(secure.get("/").unwrap().text(), "hello");
    }
    // The first certificate, which is not for this name: the client refuses it.
    assert!(Secure::connect(gateway.address, "b.example", &client).is_err());
    let request = &backend.wait_for_requests(3)[0];
    assert_eq!(request.fields.get("x-forwarded-proto"), Some("https"));
}

#[test]
fn both_versions_of_tls_and_of_http_are_spoken() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    let gateway = with_one(&desk, &backend, "");
    let agreed = |config| {
        let secure = Secure::connect(gateway.address, "a.example", &config).unwrap();
        let tls = secure.tls();
        let alpn = tls.alpn_protocol().map(<[u8]>::to_vec);
        (tls.protocol_version().unwrap(), alpn)
    };

    assert_eq!(agreed(desk.old_client()), (ProtocolVersion::TLSv1_2, None));
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], "h2"),
        (&["http/1.1", "h2"], "h2"),
        (&["http/1.1"], "http/1.1"),
    ] {
        let (version, alpn) = agreed(desk.client(None, offered));

        assert_eq!(version, ProtocolVersion::TLSv1_3);
        assert_eq!(alpn.unwrap(), chosen.as_bytes());
    }
    let nothing = desk.client(None, &["gopher"]);
    assert!(Secure::connect(gateway.address, "a.example", &nothing).is_err());
    wait_for_metric(
        &gateway,
        "switchback_tls_handshake_failures_total{reason=\"nothing_in_common\"}",
        1.0,
    );

    let newest = with_one(&desk, &backend, "min_version: 1.3, http2: false");
    assert!(Secure::connect(newest.address, "a.example", &desk.old_client()).is_err());
    let both = desk.client(None, &["h2", "http/1.1"]);
    let secure = Secure::connect(newest.address, "a.example", &both).unwrap();
    assert_eq!(secure.tls().alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[test]
fn http2_over_tls_goes_through() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    let gateway = with_one(&desk, &backend, "");
    let config = Arc::new(desk.client(None, &["h2"]));
    let address = gateway.address;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let status = runtime.block_on(async move {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = "a.example".try_into().unwrap();
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, socket);
        let (mut send, connection) = h2::client::handshake(stream.await.unwrap()).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get("https://a.example/").body(()).unwrap();
        let (answer, _) = send.send_request(request, true).unwrap();
        answer.await.unwrap().status()
    });

    assert_eq!(status, 200);
}

#[test]
fn who_has_agreed_on_http2_when_a_drain_begins_is_answered() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    let certificate = desk.issue("server", &["a.example"]);
    let body = through(&backend.url()) + "limits: { drain_idle: 1h }\n";
    let mut gateway = Gateway::start_listening(2, &tls(&[certificate], ""), &body);
    let config = Arc::new(desk.client(None, &["h2"]));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let address = gateway.address;
    let stream = runtime.block_on(async move {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let name = "a.example".try_into().unwrap();
        let stream = tokio_rustls::TlsConnector::from(config).connect(name, socket);
        stream.await.unwrap()
    });

    gateway.signal("TERM");
    gateway.wait_until_refused();
    // Long enough for whoever would be cut.
    pass(Duration::from_millis(300));

    let status = runtime.block_on(async move {
        let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        let request = http::Request::get("https://a.example/").body(()).unwrap();
        let (answer, _) = send.send_request(request, true).unwrap();
        let status = answer.await.unwrap().status();
        drop(send);
        // Told to leave, and not cut.
        driver.await.unwrap().unwrap();
        status
    });
    assert_eq!(status, 200);
    assert!(gateway.wait().success());
}

#[test]
fn a_client_that_leaves_while_it_waits_takes_the_backends_call_along() {
    let (desk, backend) = (
        Desk::new(),
        Backend::start(|exchange| {
            exchange.wait_for_close();
            exchange.cut();
        }),
    );
    let gateway = with_one(&desk, &backend, "");
    let client = desk.client(None, &[]);
    let mut secure = Secure::connect(gateway.address, "a.example", &client).unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: a.example\r\n\r\n";
    secure.write(request).unwrap();
    backend.wait_for_requests(1);

    drop(secure);

    backend.wait_for_open_connections(0);
}

#[test]
fn a_session_is_resumed() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    let gateway = with_one(&desk, &backend, "");
    let client = desk.client(None, &[]);
    let kind = || {
        let mut secure = Secure::connect(gateway.address, "a.example", &client).unwrap();
        secure.get("/").unwrap();
        secure.tls().handshake_kind().unwrap()
    };

    assert_eq!(
        [kind(), kind()],
        [HandshakeKind::Full, HandshakeKind::Resumed]
    );
}

/// Whether a client gets an answer: with TLS 1.3 it learns of a refusal when it reads.
fn gets_in(gateway: &Gateway, desk: &Desk, shows: Option<&str>) -> bool {
    let client = desk.client(shows, &[]);
    let answer = Secure::connect(gateway.address, "a.example", &client)
        .and_then(|mut secure| secure.get("/"));
    answer.is_ok_and(|answer| answer.status == 200)
}

#[test]
fn clients_have_to_show_a_certificate_of_the_authority() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    desk.issue("ours", &["client.example"]);
    let stranger = Desk::new();
    stranger.issue("strange", &["client.example"]);
    for file in ["strange.pem", "strange.key"] {
        fs::copy(stranger.at(file), desk.at(file)).unwrap();
    }
    let ca = format!("client_ca: {}", quoted(&desk.at("ca.pem")));

    let required = with_one(&desk, &backend, &ca);
    let optional = with_one(
        &desk,
        &backend,
        &format!("{ca}, client_certificates: optional"),
    );

    for gateway in [&required, &optional] {
        assert!(gets_in(gateway, &desk, Some("ours")));
        assert!(!gets_in(gateway, &desk, Some("strange")));
        wait_for_metric(
            gateway,
            "switchback_tls_handshake_failures_total{reason=\"bad_client_certificate\"}",
            1.0,
        );
    }
    assert!(gets_in(&optional, &desk, None));
    assert!(!gets_in(&required, &desk, None));
    assert!(Raw::try_connect(required.address).is_ok(), "it goes on");
    assert_eq!(backend.requests().len(), 3, "nobody else got through");
}

#[test]
fn a_broken_section_is_refused_at_the_start_and_by_check_with_the_file_and_the_line() {
    let desk = Desk::new();
    let certificate = desk.issue("server", &["a.example"]);
    desk.issue("other", &["a.example"]);
    fs::write(desk.at("empty.pem"), "").unwrap();
    let mixed = format!(
        "{{ cert: {}, key: {} }}",
        quoted(&desk.at("server.pem")),
        quoted(&desk.at("other.key"))
    );
    let empty = format!("client_ca: {}", quoted(&desk.at("empty.pem")));
    let missing = format!("client_ca: {}", quoted(&desk.at("missing.pem")));

    for (tls, said) in [
        (tls(&[mixed], ""), "is not that of the certificate"),
        (
            tls(std::slice::from_ref(&certificate), &empty),
            "has no certificate of an authority",
        ),
        (tls(&[certificate], &missing), "No such file"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "listeners:\n  - address: 127.0.0.1:0\n    {tls}\nadmin: {{ address: 127.0.0.1:0 }}\n{}",
            through("http://127.0.0.1:1")
        );
        fs::write(folder.path().join("switchback.yaml"), text).unwrap();

        for verb in ["check", "serve"] {
            let ran = run(&[verb, "-c", "switchback.yaml"], folder.path());

            let printed = [ran.stdout, ran.stderr].concat();
            let printed = String::from_utf8_lossy(&printed).replace(['\n', '│'], " ");
            let printed = printed.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(ran.status.code(), Some(2), "{verb}: {printed}");
            assert!(printed.contains(said), "{verb}: {printed}");
            assert!(printed.contains("listeners[0].tls"), "{verb}: {printed}");
        }
    }
}

#[test]
fn a_new_certificate_is_in_force_under_load_and_nobody_notices() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    let gateway = with_one(&desk, &backend, "");
    let client = desk.client(None, &[]);
    let mut old = Secure::connect(gateway.address, "a.example", &client).unwrap();
    let done = AtomicBool::new(false);

    let asked = thread::scope(|scope| {
        let caller = || {
            let mut asked = 0;
            while !done.load(Ordering::SeqCst) {
                let mut secure = Secure::connect(gateway.address, "a.example", &client).unwrap();
                assert_eq!(secure.get("/").unwrap().status, 200);
                asked += 1;
            }
            asked
        };
        let callers = [scope.spawn(caller), scope.spawn(caller)];
        for round in 1..=3 {
            let name = format!("round{round}.example");
            desk.renew("server", &["a.example", &name]);
            gateway.admin.wait_for("/v1/status", |_| {
                // Without a ticket, so that a full handshake shows the certificate.
                let fresh = desk.client(None, &[]);
                let secure = Secure::connect(gateway.address, "a.example", &fresh).unwrap();
                secure.is_shown(&name).then_some(())
            });
        }
        done.store(true, Ordering::SeqCst);
        callers.map(|caller| caller.join().unwrap())
    });

    assert!(asked.iter().all(|count| *count > 0), "{asked:?}");
    assert_eq!(old.get("/").unwrap().status, 200, "it stays");
    let reloads = "switchback_tls_reloads_total{section=\"listeners[0].tls\"}";
    wait_for_metric(&gateway, reloads, 3.0);
}

#[test]
fn a_broken_new_file_keeps_the_old_one_and_says_so() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    let ca = format!("client_ca: {}", quoted(&desk.at("ca.pem")));
    desk.issue("ours", &["client.example"]);
    let gateway = with_one(&desk, &backend, &ca);
    let errors = "switchback_tls_reload_errors_total{section=\"listeners[0].tls\"}";
    let sound = "switchback_tls_files_sound{section=\"listeners[0].tls\"}";
    let authority = fs::read(desk.at("ca.pem")).unwrap();

    fs::write(desk.at("ca.pem"), "").unwrap();
    wait_for_warning(&gateway, "has no certificate of an authority");

    assert!(metric(&gateway, errors) >= 1.0);
    assert!(metric(&gateway, sound) < 1.0);
    gateway.wait_for_line("new certificates are not in force");
    assert!(gets_in(&gateway, &desk, Some("ours")));
    assert!(
        !gets_in(&gateway, &desk, None),
        "nobody else is let in meanwhile"
    );

    fs::write(desk.at("ca.pem"), authority).unwrap();
    wait_for_metric(&gateway, sound, 1.0);
}

#[test]
fn a_reload_that_names_an_empty_authority_is_refused() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    let gateway = with_one(&desk, &backend, "");
    fs::write(desk.at("empty.pem"), "").unwrap();
    let text = fs::read_to_string(gateway.config_file()).unwrap();
    let more = format!("], client_ca: {},", quoted(&desk.at("empty.pem")));

    gateway.rewrite_whole(&text.replacen("],", &more, 1));

    wait_for_warning(&gateway, "was not put in force");
    assert!(gets_in(&gateway, &desk, None));

    let more = format!("], client_ca: {},", quoted(&desk.at("ca.pem")));
    gateway.rewrite_whole(&text.replacen("],", &more, 1));

    gateway.admin.wait_for("/v1/status", |_| {
        (!gets_in(&gateway, &desk, None)).then_some(())
    });
    desk.issue("ours", &["client.example"]);
    assert!(gets_in(&gateway, &desk, Some("ours")));
}

#[test]
fn a_handshake_that_stalls_is_cut_and_so_is_silence() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    let certificate = desk.issue("server", &["a.example"]);
    let body = format!(
        "limits: {{ first_byte: 200ms, tls_handshake: 200ms, request_head: 200ms }}\n{}",
        through(&backend.url())
    );
    let gateway = Gateway::start_listening(1, &tls(&[certificate], ""), &body);

    let mut stalls = gateway.connect();
    stalls.write(b"\x16\x03\x01");
    assert!(stalls.try_read("GET").is_err());
    let mut silent = gateway.connect();
    assert!(silent.try_read("GET").is_err());
    for alpn in [&[][..], &["http/1.1"], &["h2"]] {
        let client = desk.client(None, alpn);
        let mut secure = Secure::connect(gateway.address, "a.example", &client).unwrap();
        assert!(secure.read_to_end().is_ok(), "silent after the handshake");
    }

    wait_for_metric(
        &gateway,
        "switchback_tls_handshake_failures_total{reason=\"timeout\"}",
        1.0,
    );
}

#[test]
fn the_wrong_protocol_for_a_port_fails_well_both_ways() -> io::Result<()> {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    let secure = with_one(&desk, &backend, "");
    let plain = Gateway::start(&through(&backend.url()));

    let answer = secure.get("/");
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("https"));
    wait_for_metric(
        &secure,
        "switchback_tls_handshake_failures_total{reason=\"not_tls\"}",
        1.0,
    );
    let client = desk.client(None, &[]);
    assert!(Secure::connect(plain.address, "a.example", &client).is_err());

    assert_eq!(plain.get("/").status, 200, "both go on");
    let mut good = Secure::connect(secure.address, "a.example", &client)?;
    assert_eq!(good.get("/")?.status, 200);
    Ok(())
}

#[test]
fn the_command_line_speaks_tls_to_the_admin_api() {
    let (desk, backend) = (Desk::new(), Backend::fixed(200, "hello"));
    let certificate = desk.issue("server", &["localhost"]);
    desk.issue("ops", &["ops.example"]);
    let gateway = Gateway::start(&through(&backend.url()));
    let folder = tempfile::tempdir().unwrap();
    let port = crate::support::ports::reserve();
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\nstate: {{ file: state }}\n\
         admin: {{ address: \"{}\", {} }}\n{}",
        port.address,
        tls(
            &[certificate],
            &format!("client_ca: {}", quoted(&desk.at("ca.pem")))
        ),
        through(&backend.url())
    );
    fs::write(folder.path().join("switchback.yaml"), text).unwrap();
    let mut process = std::process::Command::new(crate::support::gateway::BINARY)
        .args(["serve", "-c", "switchback.yaml"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let admin = format!("https://localhost:{}", port.address.port());
    let file = |name: &str| desk.at(name).display().to_string();
    let (ca, cert, key) = (file("ca.pem"), file("ops.pem"), file("ops.key"));
    let ask = |words: &[&str]| run(&[&["--admin", &admin], words].concat(), folder.path());
    let trusted = ["--ca", &ca, "--cert", &cert, "--key", &key];

    // The gateway's own client is what tells that it is up.
    gateway.admin.wait_for("/v1/status", |_| {
        let healthy = ask(&[&trusted[..], &["healthcheck"]].concat());
        healthy.status.success().then_some(())
    });
    let shown = ask(&[&trusted[..], &["status"]].concat());
    let nameless = ask(&["--ca", &ca, "status"]);
    let broken = ask(&["--ca", "missing.pem", "status"]);
    let stranger = ask(&["status"]);
    let plain = run(
        &["--admin", &admin.replace("https", "http"), "status"],
        folder.path(),
    );
    let clear = gateway.admin.0.to_string();
    let wrong = run(
        &["--admin", &format!("https://{clear}"), "status"],
        folder.path(),
    );

    let _unused = process.kill();
    let _unused = process.wait();
    assert!(shown.status.success(), "{shown:?}");
    assert_eq!(nameless.status.code(), Some(1));
    assert_eq!(broken.status.code(), Some(2));
    assert_eq!(plain.status.code(), Some(1));
    for (failed, hint) in [
        (stranger, "--ca FILE"),
        (plain, "--admin https://"),
        (wrong, "--admin http://"),
    ] {
        let said = String::from_utf8(failed.stderr).unwrap();
        assert!(said.contains(hint), "{said}");
    }
}
