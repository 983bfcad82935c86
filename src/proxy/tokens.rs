//! Tokens that a worker has checked: a caller that keeps its token pays for one signature.
//!
//! Only tokens that were believed are here, so that nobody fills it with rubbish. They are known by
//! their SHA-256 and kept until they expire, until the issuer's keys change, or until there are too many.

use std::rc::Rc;
use std::sync::Arc;

use crate::access::jwt::KeySet;

use super::auth::Principal;
use super::generations::Generations;

type Digest = [u8; 32];

/// The checked tokens of one worker.
#[derive(Debug, Default)]
pub(super) struct TokenCache {
    checked: Generations<Digest, Checked>,
}

#[derive(Clone, Debug)]
struct Checked {
    /// The keys that it was checked with. They are held, so that no others take their place in
    /// memory and are taken for them.
    keys: Arc<KeySet>,
    until: u64,
    principal: Rc<Principal>,
}

impl TokenCache {
    /// From now on at most so many tokens are kept.
    pub(super) fn hold_at_most(&self, most: usize) {
        self.checked.hold_at_most(most);
    }

    /// Whom a token stands for, if it was checked with these keys and is still good at `now`.
    pub(super) fn find(
        &self,
        digest: &Digest,
        keys: &Arc<KeySet>,
        now: u64,
    ) -> Option<Rc<Principal>> {
        let checked = self.checked.find(digest)?;
        let good = Arc::ptr_eq(&checked.keys, keys) && now < checked.until;
        good.then_some(checked.principal)
    }

    /// Keeps a token that was believed.
    pub(super) fn keep(
        &self,
        digest: Digest,
        (keys, until): (Arc<KeySet>, u64),
        principal: &Rc<Principal>,
    ) {
        let checked = Checked {
            keys,
            until,
            principal: Rc::clone(principal),
        };
        let dropped = self.checked.insert(digest, checked);
        if dropped > 0 {
            metrics::counter!("switchback_auth_tokens_forgotten_total").increment(dropped as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Arc<KeySet> {
        Arc::new(KeySet::parse(br#"{"keys":[]}"#).unwrap())
    }

    fn cache(most: usize) -> TokenCache {
        let cache = TokenCache::default();
        cache.hold_at_most(most);
        cache
    }

    fn keep(cache: &TokenCache, number: u8, keys: &Arc<KeySet>) {
        let principal = Rc::new(Principal {
            owner: "".into(),
            claims: Vec::new(),
        });
        cache.keep([number; 32], (Arc::clone(keys), 100), &principal);
    }

    #[test]
    fn a_token_is_known_until_it_expires_or_the_keys_change() {
        let (cache, keys_then, keys_now) = (cache(10), keys(), keys());
        keep(&cache, 1, &keys_then);

        assert!(cache.find(&[1; 32], &keys_then, 99).is_some());
        assert!(cache.find(&[1; 32], &keys_then, 100).is_none());
        assert!(cache.find(&[1; 32], &keys_now, 99).is_none());
        assert!(cache.find(&[2; 32], &keys_then, 99).is_none());
    }

    #[test]
    fn none_may_be_kept_at_all() {
        let (cache, keys) = (cache(0), keys());
        keep(&cache, 1, &keys);

        assert!(cache.find(&[1; 32], &keys, 0).is_none());
    }
}
