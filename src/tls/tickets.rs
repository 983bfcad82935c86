//! Tickets with which clients resume their sessions.

use std::sync::{Arc, OnceLock};

use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ProducesTickets;

/// Makes tickets whose key changes every six hours. The first key is made with the first handshake,
/// since a gateway that starts would wait tens of milliseconds for its random bytes.
#[derive(Debug, Default)]
pub(super) struct Tickets(OnceLock<Option<Arc<dyn ProducesTickets>>>);

impl Tickets {
    fn ticketer(&self) -> Option<&dyn ProducesTickets> {
        let made = self.0.get_or_init(|| {
            let made = Ticketer::new();
            made.inspect_err(|error| tracing::error!(%error, "TLS sessions cannot be resumed"))
                .ok()
        });
        made.as_deref()
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.ticketer().map_or(0, ProducesTickets::lifetime)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.ticketer()?.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.ticketer()?.decrypt(cipher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_by_who_made_it_and_by_nobody_else() {
        let (ours, other) = (Tickets::default(), Tickets::default());

        let ticket = ours.encrypt(b"a session").unwrap();

        assert_eq!(ours.decrypt(&ticket).unwrap(), b"a session");
        assert_eq!(other.decrypt(&ticket), None);
        assert_eq!(ours.decrypt(b"a session"), None);
        assert!(ours.enabled() && ours.lifetime() >= 6 * 60 * 60);
    }
}
