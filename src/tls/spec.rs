//! The `tls` sections of listeners, of the admin API and of backends.

use std::fmt;
use std::path::PathBuf;

use serde::de::{Deserializer, Error, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::model::Problems;

/// How a listener speaks TLS. Relative paths start at the folder of the config file. The files
/// are watched: new connections get what is in them within a second.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ServerTlsSpec {
    /// Certificates with their keys, 1 to 256. A client gets the first one that has the name it
    /// asks for, an exact name before a wildcard; who asks for no name, or for one that none of
    /// them has, gets the first of the list.
    pub certificates: Vec<CertificateSpec>,
    /// A PEM file with the authorities that may have signed a client's certificate. Without it
    /// no client is asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// Whether a client must show a certificate: `required`, or `optional`, which lets in who
    /// shows none and still refuses a bad one. Needs `client_ca`. Default `required`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificates: Option<ClientCertificates>,
    /// The oldest version of TLS that is spoken, 1.2 or 1.3. Default 1.2.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// Offer HTTP/2 in the handshake (ALPN). Default true. The admin API never does.
    #[serde(default = "yes")]
    pub http2: bool,
}

impl ServerTlsSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    /// Files are not looked at here.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        match self.certificates.len() {
            1..=MAX_CERTIFICATES => {}
            0 => problems.add(
                "certificates",
                "`certificates` is empty, but TLS needs at least one",
            ),
            many => problems.add(
                "certificates",
                format!("{many} certificates, but a listener has at most {MAX_CERTIFICATES}"),
            ),
        }
        if self.client_certificates.is_some() && self.client_ca.is_none() {
            problems.add(
                "client_certificates",
                "`client_certificates` needs `client_ca`, the authorities to check them with",
            );
        }
        problems.into_vec()
    }
}

/// A certificate and its private key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateSpec {
    /// A PEM file with the certificate, then those between it and its authority.
    pub cert: PathBuf,
    /// A PEM file with the private key, not encrypted.
    pub key: PathBuf,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// Who shows none is let in too; a bad one is refused.
    Optional,
    /// Nobody is let in without one.
    Required,
}

/// How a backend's `https://` endpoints are spoken to. Their certificates are always checked.
/// Relative paths start at the folder of the config file, and the files are watched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientTlsSpec {
    /// A PEM file with authorities that may have signed the endpoints' certificates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// Whether the system's own authorities are trusted too: `system` or `none`. Default
    /// `none` with `ca`, else `system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<RootsSpec>,
    /// The name that the endpoints' certificates must have, and that is asked for (SNI).
    /// Default: the host of the endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// What we show when the endpoint asks for a certificate. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateSpec>,
    /// The oldest version of TLS that is spoken, 1.2 or 1.3. Default 1.2.
    pub min_version: TlsVersion,
}

impl ClientTlsSpec {
    /// What is beyond the bounds of this section: the path of a field and a sentence, each.
    /// Files are not looked at here.
    pub fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Problems::default();
        if self.roots == Some(RootsSpec::None) && self.ca.is_none() {
            problems.add(
                "roots",
                "`roots` is `none` and there is no `ca`, so no certificate could be trusted",
            );
        }
        if let Some(name) = &self.server_name
            && rustls::pki_types::ServerName::try_from(name.as_str()).is_err()
        {
            problems.add(
                "server_name",
                format!("`{name}` is neither a host name nor an address"),
            );
        }
        problems.into_vec()
    }

    /// Whether the system's authorities are trusted.
    pub(super) fn trusts_system(&self) -> bool {
        match self.roots {
            Some(RootsSpec::System) => true,
            Some(RootsSpec::None) => false,
            None => self.ca.is_none(),
        }
    }
}

/// Whether the system's own authorities are trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RootsSpec {
    /// They are.
    System,
    /// Only those of `ca`.
    None,
}

/// A version of TLS. Written as a number or as text, `1.2` or `"1.2"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    V12,
    /// TLS 1.3.
    V13,
}

impl TlsVersion {
    /// Its number.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V12 => "1.2",
            Self::V13 => "1.3",
        }
    }
}

impl Serialize for TlsVersion {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for TlsVersion {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(VersionVisitor)
    }
}

/// Reads a version as it stands in a file: `1.2` is a number there.
struct VersionVisitor;

impl Visitor<'_> for VersionVisitor {
    type Value = TlsVersion;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("1.2 or 1.3")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<TlsVersion, E> {
        match text {
            "1.2" => Ok(TlsVersion::V12),
            "1.3" => Ok(TlsVersion::V13),
            other => Err(E::custom(format!(
                "`{other}` is no version of TLS that is spoken here: 1.2 or 1.3"
            ))),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<TlsVersion, E> {
        self.visit_str(&number.to_string())
    }
}

impl schemars::JsonSchema for TlsVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "TlsVersion".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": ["1.2", "1.3", 1.2, 1.3] })
    }
}

/// Most certificates of a listener.
const MAX_CERTIFICATES: usize = 256;

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(json: &str) -> ServerTlsSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_version_is_a_number_or_a_text() {
        for text in ["1.2", "\"1.2\""] {
            assert_eq!(
                serde_json::from_str::<TlsVersion>(text).unwrap(),
                TlsVersion::V12
            );
        }
        assert_eq!(
            serde_json::from_str::<TlsVersion>("1.3").unwrap(),
            TlsVersion::V13
        );
        for text in ["1.1", "\"1\"", "2", "true", "\"SSLv3\""] {
            assert!(serde_json::from_str::<TlsVersion>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_section_without_certificates_is_refused() {
        assert_eq!(
            server(r#"{"certificates":[]}"#).problems()[0].0,
            "certificates"
        );
        let one = r#"{"certificates":[{"cert":"a","key":"b"}]}"#;
        assert!(server(one).problems().is_empty());
    }

    #[test]
    fn asking_for_certificates_without_a_list_of_authorities_is_refused() {
        for wish in ["required", "optional"] {
            let json = format!(
                r#"{{"certificates":[{{"cert":"a","key":"b"}}],"client_certificates":"{wish}"}}"#
            );

            assert_eq!(server(&json).problems()[0].0, "client_certificates");
        }
    }

    #[test]
    fn a_backend_that_could_never_be_trusted_is_refused() {
        let spec = |json: &str| {
            serde_json::from_str::<ClientTlsSpec>(json)
                .unwrap()
                .problems()
        };

        assert_eq!(spec(r#"{"roots":"none"}"#)[0].0, "roots");
        assert_eq!(spec(r#"{"server_name":"a b"}"#)[0].0, "server_name");
        for fine in [
            r#"{"ca":"x","roots":"none"}"#,
            "{}",
            r#"{"server_name":"::1"}"#,
        ] {
            assert!(spec(fine).is_empty(), "{fine}");
        }
    }

    #[test]
    fn the_systems_authorities_are_trusted_where_no_others_are_named() {
        let trusts = |json: &str| {
            serde_json::from_str::<ClientTlsSpec>(json)
                .unwrap()
                .trusts_system()
        };

        assert!(trusts("{}") && trusts(r#"{"ca":"x","roots":"system"}"#));
        assert!(!trusts(r#"{"ca":"x"}"#));
    }
}
