//! Who gets which certificate, and who gets in.

use std::fs;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SignatureScheme, version};
use tokio::io::duplex;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::tls::files::Files;
use crate::tls::identity::Identity;
use crate::tls::resolver::Resolver;
use crate::tls::spec::{CertificateSpec, ClientCertificates, TlsVersion};
use crate::tls::{Alpn, Handshake, PeerNames, ServerTls};

use super::{Desk, one, several, shake, shown};

#[tokio::test]
async fn a_client_gets_the_certificate_of_the_name_that_it_asks_for() {
    let desk = Desk::new();
    let server = desk
        .server(&several(vec![
            desk.issue("first", &["first.example"]),
            desk.issue("wild", &["*.w.example"]),
            desk.issue("exact", &["a.example", "b.example"]),
        ]))
        .unwrap();
    let client = desk.client();

    for (asked, expected) in [
        ("first.example", "first.example"),
        ("a.example", "a.example"),
        ("B.EXAMPLE", "a.example"),
        ("C.w.example", "*.w.example"),
    ] {
        let (_, stream) = shake(&server, &client, asked).await;

        assert_eq!(shown(&stream.unwrap()), expected, "{asked}");
    }
    // Nobody's name: the first one, which does not have it.
    for asked in ["elsewhere.test", "a.b.w.example", "w.example", "127.0.0.1"] {
        let (_, stream) = shake(&server, &client, asked).await;

        let text = stream.unwrap_err().to_string();
        assert!(
            text.contains("certificate not valid for name"),
            "{asked}: {text}"
        );
    }
}

#[tokio::test]
async fn of_two_kinds_of_key_a_client_gets_the_one_that_it_knows() {
    let desk = Desk::new();
    let ecdsa = desk.issue("ecdsa", &["a.example"]);
    let ed25519 = desk.issue("ed25519", &["a.example"]);
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let params = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &desk.ca).unwrap();
    fs::write(desk.at("ed25519.key"), key.serialize_pem()).unwrap();
    fs::write(desk.at("ed25519.pem"), cert.pem()).unwrap();
    let provider = aws_lc_rs::default_provider();
    let mut files = Files::new(desk.path());
    let mut load = |spec| Identity::load(spec, &mut files, &provider).unwrap();
    let resolver = Resolver::new(&[load(&ecdsa), load(&ed25519)]);

    for scheme in [
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ED25519,
    ] {
        let chosen = resolver.choose(Some("a.example"), &[scheme]).unwrap();

        assert!(chosen.key.choose_scheme(&[scheme]).is_some());
    }
}

#[tokio::test]
async fn client_certificates_are_required_optional_or_not_asked_for() {
    let desk = Desk::new();
    let server_key = desk.issue("server", &["a.example"]);
    let ours = desk.issue("ours", &["client.example"]);
    let stranger = Desk::new();
    stranger.issue("stranger", &["client.example"]);
    for file in ["stranger.pem", "stranger.key"] {
        fs::copy(stranger.at(file), desk.at(file)).unwrap();
    }
    let server = |wish: Option<ClientCertificates>| {
        let mut spec = one(server_key.clone());
        spec.client_ca = Some("ca.pem".into());
        spec.client_certificates = wish;
        desk.server(&spec).unwrap()
    };
    let client = |shows: Option<CertificateSpec>| desk.client_with(|spec| spec.certificate = shows);
    let strange = CertificateSpec {
        cert: "stranger.pem".into(),
        key: "stranger.key".into(),
    };
    let required = [server(Some(ClientCertificates::Required)), server(None)];
    let optional = server(Some(ClientCertificates::Optional));

    for server in &required {
        let (refused, told) = shake(server, &client(None), "a.example").await;
        assert_eq!(refused.unwrap_err().reason, "no_client_certificate");
        assert!(told.is_err());
    }
    for server in required.iter().chain([&optional]) {
        let (refused, told) = shake(server, &client(Some(strange.clone())), "a.example").await;
        assert_eq!(refused.unwrap_err().reason, "bad_client_certificate");
        assert!(told.is_err());

        let (accepted, _) = shake(server, &client(Some(ours.clone())), "a.example").await;
        let names = PeerNames::of(&accepted.unwrap()).unwrap();
        assert!(names.has("ours") && names.has("client.example") && !names.has("CN=ours"));
        assert!(names.subject.contains("CN=ours"));
    }
    let (accepted, _) = shake(&optional, &client(None), "a.example").await;
    assert_eq!(PeerNames::of(&accepted.unwrap()), None);
}

#[tokio::test]
async fn a_session_is_resumed_unless_the_client_has_to_show_who_it_is() {
    let desk = Desk::new();
    let plain = one(desk.issue("server", &["a.example"]));
    let mut asking = plain.clone();
    asking.client_ca = Some("ca.pem".into());
    let ours = desk.issue("ours", &["client.example"]);

    for (spec, expected) in [(plain, Handshake::Resumed), (asking, Handshake::Full)] {
        let server = desk.server(&spec).unwrap();
        let client = desk.client_with(|spec| spec.certificate = Some(ours.clone()));
        let (first, _) = shake(&server, &client, "a.example").await;
        assert_eq!(Handshake::of(&first.unwrap()), Handshake::Full);

        let (second, _) = shake(&server, &client, "a.example").await;

        assert_eq!(Handshake::of(&second.unwrap()), expected);
    }
}

#[tokio::test]
async fn both_versions_are_spoken_unless_one_is_too_old() {
    let desk = Desk::new();
    let mut spec = one(desk.issue("server", &["a.example"]));
    let old = |server: &ServerTls| {
        let mut config = ClientConfig::builder_with_protocol_versions(&[&version::TLS12])
            .with_root_certificates({
                let mut roots = RootCertStore::empty();
                roots.add(desk.ca.der().clone()).unwrap();
                roots
            })
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (here, there) = duplex(64 * 1024);
        let name = "a.example".try_into().unwrap();
        let server = server.config();
        async move {
            tokio::join!(
                TlsAcceptor::from(server).accept(here),
                TlsConnector::from(Arc::new(config)).connect(name, there)
            )
        }
    };
    let _ = aws_lc_rs::default_provider().install_default();

    let (accepted, _) = old(&desk.server(&spec).unwrap()).await;
    let stream = accepted.unwrap();
    assert_eq!(
        stream.get_ref().1.protocol_version(),
        Some(ProtocolVersion::TLSv1_2)
    );
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    spec.min_version = TlsVersion::V13;
    let (refused, _) = old(&desk.server(&spec).unwrap()).await;
    assert!(refused.is_err());
    let (accepted, _) = shake(&desk.server(&spec).unwrap(), &desk.client(), "a.example").await;
    assert_eq!(
        accepted.unwrap().get_ref().1.protocol_version(),
        Some(ProtocolVersion::TLSv1_3)
    );
}

#[tokio::test]
async fn a_server_that_speaks_no_http2_is_refused_where_that_is_asked_for() {
    let desk = Desk::new();
    let mut spec = one(desk.issue("server", &["a.example"]));
    for (http2, fine) in [(true, true), (false, false)] {
        spec.http2 = http2;
        let (server, client) = (desk.server(&spec).unwrap(), desk.client());
        let (here, there) = duplex(64 * 1024);

        let (_, connected) = tokio::join!(
            server.accept(here),
            client.connect("a.example", Alpn::Http2, there)
        );

        assert_eq!(connected.is_ok(), fine);
    }
}

#[tokio::test]
async fn another_name_may_be_asked_for_than_the_endpoints_host() {
    let desk = Desk::new();
    let server = desk
        .server(&one(desk.issue("server", &["a.example"])))
        .unwrap();
    let renamed = desk.client_with(|spec| spec.server_name = Some("a.example".to_owned()));

    assert!(shake(&server, &renamed, "127.0.0.1").await.1.is_ok());
    let wrong = shake(&server, &desk.client(), "127.0.0.1").await.1;
    assert!(
        wrong
            .unwrap_err()
            .to_string()
            .contains("not valid for name")
    );
}
