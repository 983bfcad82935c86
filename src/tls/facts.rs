//! What is worth knowing of a certificate and of a section: for status, metrics and logs.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// A `tls` section as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionFacts {
    /// Where it stands in the file, such as `listeners[0].tls`.
    pub section: String,
    /// The certificates in force, in the order of the file.
    pub certificates: Vec<CertificateFacts>,
    /// What is wrong with the files as they are now; those before are in force then.
    pub problem: Option<String>,
}

/// A certificate as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The host names and addresses that it is for; at most 100 of them.
    pub names: Vec<String>,
    /// When it begins to be valid, in seconds since 1970.
    pub not_before: i64,
    /// When it ends to be valid, in seconds since 1970.
    pub not_after: i64,
}

/// Most names of a certificate that are used and shown.
pub(super) const MAX_NAMES: usize = 100;

impl CertificateFacts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// What its reader says.
    pub(super) fn read(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|error| error.to_string())?;
        let validity = parsed.validity();
        Ok(Self {
            names: names(&parsed).take(MAX_NAMES).collect(),
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
        })
    }

    /// Seconds until it is no longer valid; less than zero after that.
    pub fn seconds_left(&self) -> i64 {
        self.not_after.saturating_sub(now())
    }

    /// Says in the log when it is not valid now. It is used all the same: that is for the clients
    /// to judge, whose clocks may be right where ours is not.
    pub(super) fn warn_of_dates(&self, section: &str) {
        let name = self.names.first().map_or("", String::as_str);
        if self.seconds_left() < 0 {
            tracing::warn!(section, name, "a certificate has expired");
        } else if self.not_before > now() {
            tracing::warn!(section, name, "a certificate is not valid yet");
        }
    }
}

fn names<'a>(certificate: &'a X509Certificate<'_>) -> impl Iterator<Item = String> + 'a {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let names = alternatives.map(|extension| extension.value.general_names.iter());
    names.into_iter().flatten().filter_map(|name| {
        if let GeneralName::IPAddress(bytes) = name {
            return address(bytes);
        }
        let GeneralName::DNSName(name) = name else {
            return None;
        };
        Some((*name).to_owned())
    })
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(four).to_string());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(std::net::Ipv6Addr::from(sixteen).to_string())
}

/// Now, in seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
