//! Certificates made for a test, and blocking clients and servers that speak TLS with them.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    version,
};

use super::PATIENCE;
use super::client::Answer;
use super::gate::Board;
use super::wire::read_head;

/// An authority that signs whatever is asked for, and a folder with `ca.pem` and what it signed.
pub struct Desk {
    folder: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Desk {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "a test");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        Self { folder, ca }
    }

    /// The path of a file here.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `{ cert: …, key: … }` of a new certificate for these hosts, as a config wants it.
    pub fn issue(&self, name: &str, hosts: &[&str]) -> String {
        let (cert, key) = self.draw_up(name, hosts);
        fs::write(self.at(&format!("{name}.key")), key).unwrap();
        fs::write(self.at(&format!("{name}.pem")), cert).unwrap();
        let at = |end: &str| self.at(&format!("{name}.{end}")).display().to_string();
        format!("{{ cert: \"{}\", key: \"{}\" }}", at("pem"), at("key"))
    }

    /// Replaces both files, each in one step.
    pub fn renew(&self, name: &str, hosts: &[&str]) {
        let (cert, key) = self.draw_up(name, hosts);
        for (end, text) in [("key", key), ("pem", cert)] {
            let draft = self.at(&format!("{name}.draft"));
            fs::write(&draft, text).unwrap();
            fs::rename(&draft, self.at(&format!("{name}.{end}"))).unwrap();
        }
    }

    fn draw_up(&self, name: &str, hosts: &[&str]) -> (String, String) {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.ca).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).unwrap();
        roots
    }

    fn chain(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let read = |end: &str| fs::read(self.at(&format!("{name}.{end}"))).unwrap();
        let pem = read("pem");
        let chain = CertificateDer::pem_slice_iter(&pem);
        let chain = chain.collect::<Result<_, _>>().unwrap();
        (chain, PrivateKeyDer::from_pem_slice(&read("key")).unwrap())
    }

    /// A client that trusts the authority, shows the certificate `shows`, and offers `alpn`.
    pub fn client(&self, shows: Option<&str>, alpn: &[&str]) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match shows {
            Some(name) => {
                let (chain, key) = self.chain(name);
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// The same with TLS 1.2 alone.
    pub fn old_client(&self) -> ClientConfig {
        ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS12])
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// A server with the certificate `name`; with `asks` it wants one of the authority's, too.
    pub fn server(&self, name: &str, asks: bool) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider());
        let builder = if asks {
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (chain, key) = self.chain(name);
        builder.with_single_cert(chain, key).unwrap()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// A connection over TLS.
pub struct Secure {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
}

impl Secure {
    /// Connects, and shakes hands with the server that goes by this name.
    pub fn connect(to: SocketAddr, name: &str, config: &ClientConfig) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut tls = ClientConnection::new(Arc::new(config.clone()), name).unwrap();
        let mut socket = TcpStream::connect(to)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self {
            stream: BufReader::new(StreamOwned::new(tls, socket)),
        })
    }

    pub fn tls(&self) -> &ClientConnection {
        &self.stream.get_ref().conn
    }

    /// The names that the server's certificate is for, as its bytes have them.
    pub fn is_shown(&self, name: &str) -> bool {
        let chain = self.tls().peer_certificates().unwrap();
        chain[0]
            .windows(name.len())
            .any(|part| part == name.as_bytes())
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    /// Reads until the other side closes.
    pub fn read_to_end(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            // A connection that is cut has no word of farewell.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            Ok(_) | Err(_) => Ok(bytes),
        }
    }

    /// One GET; the connection stays open.
    pub fn get(&mut self, target: &str) -> io::Result<Answer> {
        self.write(format!("GET {target} HTTP/1.1\r\nhost: a.example\r\n\r\n").as_bytes())?;
        let head = read_head(&mut self.stream)?;
        let (line, fields) = head.ok_or(io::ErrorKind::UnexpectedEof)?;
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let length = fields.get("content-length").and_then(|l| l.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body)?;
        Ok(Answer {
            status: status.unwrap(),
            fields,
            body,
        })
    }
}

/// What a server over TLS has seen of one request.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The name that was asked for.
    pub name: Option<String>,
    /// Whether the client has shown a certificate.
    pub has_certificate: bool,
    /// The request's head.
    pub head: String,
}

/// A backend over TLS that answers every request alike.
pub struct TlsBackend {
    pub address: SocketAddr,
    seen: Arc<Board<Vec<Seen>>>,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl TlsBackend {
    pub fn start(config: ServerConfig, body: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, stopping) = (Arc::<Board<_>>::default(), Arc::<AtomicBool>::default());
        let (log, ends) = (Arc::clone(&seen), Arc::clone(&stopping));
        let config = Arc::new(config);
        let acceptor = thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                let log = Arc::clone(&log);
                thread::spawn(move || {
                    // It ends when the client leaves, or was refused.
                    let _ends = serve(StreamOwned::new(tls, socket), body, &log);
                });
            }
        });
        Self {
            address,
            seen,
            stopping,
            acceptor: Some(acceptor),
        }
    }

    /// `https://localhost:port`.
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// The requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.read(Vec::clone)
    }
}

impl Drop for TlsBackend {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        let _wakes_accept = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _unused = acceptor.join();
        }
    }
}

fn serve(
    stream: StreamOwned<ServerConnection, TcpStream>,
    body: &str,
    log: &Board<Vec<Seen>>,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        let tls = &stream.get_ref().conn;
        let seen = Seen {
            name: tls.server_name().map(str::to_owned),
            has_certificate: tls.peer_certificates().is_some(),
            head,
        };
        log.change(|log| log.push(seen));
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(answer.as_bytes())?;
        stream.get_mut().flush()?;
    }
}

/// The text of a path, for a config.
pub fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}
