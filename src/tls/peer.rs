//! Who a client is, by the certificate that it has shown.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::facts::MAX_NAMES;
use super::server::ServerTlsStream;

/// The names in a client's certificate, which has been checked against the listener's
/// `client_ca`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerNames {
    /// The whole subject, such as `CN=ci, O=Example`.
    pub subject: String,
    /// The subject's common name.
    pub common_name: Option<String>,
    /// Its alternative names: host names, URIs (such as a SPIFFE id) and addresses of mail, each
    /// as it stands there; at most 100 of them.
    pub alternatives: Vec<String>,
}

impl PeerNames {
    /// The names of the client at the other end; `None` when it has shown no certificate.
    pub fn of<S>(stream: &ServerTlsStream<S>) -> Option<Self> {
        let chain = stream.get_ref().1.peer_certificates()?;
        Self::read(chain.first()?)
    }

    /// Whether one of the names is exactly this: the common name or an alternative one.
    pub fn has(&self, name: &str) -> bool {
        self.common_name.as_deref() == Some(name) || self.alternatives.iter().any(|one| one == name)
    }

    pub(super) fn read(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = parsed.subject();
        let common = subject.iter_common_name().next();
        let common = common.and_then(|name| name.as_str().ok());
        let alternatives = parsed.subject_alternative_name().ok().flatten();
        let alternatives = alternatives.map(|extension| extension.value.general_names.iter());
        let text = |name: &GeneralName<'_>| {
            let (GeneralName::DNSName(name)
            | GeneralName::URI(name)
            | GeneralName::RFC822Name(name)) = name
            else {
                return None;
            };
            Some((*name).to_owned())
        };
        Some(Self {
            subject: subject.to_string(),
            common_name: common.map(str::to_owned),
            alternatives: alternatives
                .into_iter()
                .flatten()
                .filter_map(text)
                .take(MAX_NAMES)
                .collect(),
        })
    }
}
