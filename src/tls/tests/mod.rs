//! A desk that issues certificates, and handshakes over a pipe.

mod files;
mod handshakes;

use std::path::{Path, PathBuf};
use std::{fs, io};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::spec::{CertificateSpec, ClientTlsSpec, ServerTlsSpec, TlsVersion};
use super::{Alpn, ClientTls, ClientTlsStream, HandshakeFailure, PeerNames};
use super::{ServerTls, ServerTlsStream, TlsError};

/// A folder with an authority, `ca.pem`, that signs whatever is asked for.
struct Desk {
    folder: TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Desk {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a test");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        Self { folder, ca }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `name.pem` and `name.key`, for these host names.
    fn issue(&self, name: &str, hosts: &[&str]) -> CertificateSpec {
        self.issue_with(name, hosts, |_| {})
    }

    fn issue_with(
        &self,
        name: &str,
        hosts: &[&str],
        with: impl FnOnce(&mut CertificateParams),
    ) -> CertificateSpec {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        with(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.ca).unwrap();
        let spec = CertificateSpec {
            cert: format!("{name}.pem").into(),
            key: format!("{name}.key").into(),
        };
        fs::write(self.at(&format!("{name}.key")), key.serialize_pem()).unwrap();
        fs::write(self.at(&format!("{name}.pem")), cert.pem()).unwrap();
        spec
    }

    fn server(&self, spec: &ServerTlsSpec) -> Result<ServerTls, TlsError> {
        ServerTls::load("listeners[0].tls", spec, self.path())
    }

    /// What trusts the authority, and shows nothing.
    fn client(&self) -> ClientTls {
        self.client_with(|_| {})
    }

    fn client_with(&self, with: impl FnOnce(&mut ClientTlsSpec)) -> ClientTls {
        let mut spec = ClientTlsSpec {
            ca: Some("ca.pem".into()),
            ..ClientTlsSpec::default()
        };
        with(&mut spec);
        ClientTls::load("backends.b.tls", &spec, self.path()).unwrap()
    }
}

fn one(certificate: CertificateSpec) -> ServerTlsSpec {
    several(vec![certificate])
}

fn several(certificates: Vec<CertificateSpec>) -> ServerTlsSpec {
    ServerTlsSpec {
        certificates,
        client_ca: None,
        client_certificates: None,
        min_version: TlsVersion::V12,
        http2: true,
    }
}

type Shaken = (
    Result<ServerTlsStream<DuplexStream>, HandshakeFailure>,
    io::Result<ClientTlsStream<DuplexStream>>,
);

/// Shakes hands, and passes a byte from the client to the server, and one back: with TLS 1.3 a
/// client learns only then that it was refused.
async fn shake(server: &ServerTls, client: &ClientTls, host: &str) -> Shaken {
    let (here, there) = duplex(64 * 1024);
    let serve = async {
        let mut stream = server.accept(here).await?;
        let _ = stream.read_u8().await;
        let _ = stream.write_u8(1).await;
        let _ = stream.flush().await;
        Ok(stream)
    };
    let connect = async {
        let mut stream = client.connect(host, Alpn::Http1, there).await?;
        stream.write_u8(1).await?;
        stream.flush().await?;
        stream.read_u8().await?;
        Ok(stream)
    };
    tokio::join!(serve, connect)
}

/// The first alternative name of the certificate that the client was shown.
fn shown(stream: &ClientTlsStream<DuplexStream>) -> String {
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    PeerNames::read(&chain[0]).unwrap().alternatives[0].clone()
}
