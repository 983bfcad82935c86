//! TLS: certificates and keys from files, made ready for listeners and towards backends.
//!
//! Whoever listens holds a [`ServerTls`], whoever connects a [`ClientTls`]. Each answers a new
//! handshake with the files as they were last found whole; [`keep`] watches the files and renews
//! what has changed.
//!
//! Invariants: a section that exists is usable, since loading it has tried everything that can be
//! tried without a peer; a broken file never replaces a sound one; who is to show a certificate
//! is never let in without one, because a list of authorities that is missing or empty is an
//! error and not an absent rule; a certificate of a backend is always checked.
//!
//! Deliberately not here: deadlines (whoever shakes hands has a clock), what a client's
//! certificate allows, and lists of revoked certificates.

mod client;
mod error;
mod facts;
mod files;
mod identity;
mod keep;
mod peer;
mod resolver;
mod server;
pub mod spec;
#[cfg(test)]
mod tests;
mod tickets;

pub use client::{Alpn, BackendTls, ClientTls, ClientTlsStream};
pub use error::TlsError;
pub use facts::{CertificateFacts, SectionFacts};
pub use keep::{Section, keep};
pub use peer::PeerNames;
pub use server::{Handshake, HandshakeFailure, Prepared, ServerTls, ServerTlsStream};

use std::sync::Once;
use std::thread;

use rustls::crypto::aws_lc_rs;

/// Begins, beside whoever calls, what makes the first handshake as quick as the later ones: the source
/// of random bytes takes tens of milliseconds to be seeded, once for all threads.
pub fn warm_up() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let thread = thread::Builder::new().name("tls-warm-up".into());
        // Without a thread to spare the first handshake does it.
        let _ = thread.spawn(seed);
    });
}

fn seed() {
    let mut bytes = [0; 32];
    let provider = aws_lc_rs::default_provider();
    if provider.secure_random.fill(&mut bytes).is_err() {
        // A handshake would fail the same way, and tell its peer.
        tracing::error!("the source of random bytes for TLS does not work");
    }
    for group in provider.kx_groups.iter().take(1) {
        // Whatever it says, a handshake will say again.
        let _ = group.start();
    }
}
