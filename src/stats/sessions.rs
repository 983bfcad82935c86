//! What became of the sessions of a backend whose homes were gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The counts of one backend of a route. Any worker writes: sessions move and are lost rarely.
#[derive(Debug, Default)]
pub struct SessionStats {
    rehomed: AtomicU64,
    lost: AtomicU64,
    listening: AtomicU64,
}

/// A client that listens to a backend, counted while this is held.
#[derive(Debug)]
pub struct Listening(Arc<SessionStats>);

impl Listening {
    /// One more listens.
    pub fn begin(stats: &Arc<SessionStats>) -> Self {
        stats.listening.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(stats))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.listening.fetch_sub(1, Ordering::Relaxed);
    }
}

impl SessionStats {
    /// A session of another home was opened here in its client's name.
    pub fn rehome_one(&self) {
        self.rehomed.fetch_add(1, Ordering::Relaxed);
    }

    /// A session that lived here is gone for its client.
    pub fn lose_one(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    /// Clients without sessions that listen to the backend.
    pub fn listening(&self) -> u64 {
        self.listening.load(Ordering::Relaxed)
    }

    /// Sessions that came here from other homes.
    pub fn rehomed(&self) -> u64 {
        self.rehomed.load(Ordering::Relaxed)
    }

    /// Sessions that lived here and are gone for their clients.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
