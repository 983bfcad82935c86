//! How ids of sessions are hashed.

use std::hash::Hasher;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Hashes a session's id. Not `SipHash`, which costs four times as much: nobody but the holder of the
/// keys can make ids that are looked up here, let alone ones that collide.
#[derive(Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u8(&mut self, _end: u8) {
        // The end of the only text that is hashed.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
