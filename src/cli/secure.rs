//! TLS towards the admin API, by the words of the command line.

use std::path::Path;
use std::sync::Arc;

use super::args::{Globals, Verb};
use super::failure::{Exit, Failure};
use crate::tls::ClientTls;
use crate::tls::spec::{CertificateSpec, ClientTlsSpec};

/// TLS for an `https://` address; nothing for others.
///
/// # Errors
/// When a file is missing or broken, or nobody could be trusted.
pub(super) fn tls(globals: &Globals, verb: &Verb) -> Result<Option<Arc<ClientTls>>, Failure> {
    let elsewhere = if let Verb::Healthcheck { url: Some(url) } = verb {
        url.starts_with("https://")
    } else {
        globals.admin.is_https()
    };
    if !elsewhere {
        return Ok(None);
    }
    let certificate = globals.cert.clone().zip(globals.key.clone());
    let spec = ClientTlsSpec {
        ca: globals.ca.clone(),
        certificate: certificate.map(|(cert, key)| CertificateSpec { cert, key }),
        ..ClientTlsSpec::default()
    };
    let loaded = ClientTls::load("command line", &spec, Path::new(""));
    let tls = loaded.map_err(|error| {
        Failure::new(Exit::Usage, "cannot speak TLS to the admin API")
            .because(&error)
            .mend("name files with --ca, --cert and --key")
    })?;
    Ok(Some(Arc::new(tls)))
}
