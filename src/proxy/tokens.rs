//! Tokens that a worker has checked: a caller that keeps its token pays for one signature.
//!
//! Only tokens that were believed are here, so that nobody fills it with rubbish. They are known by
//! their SHA-256 and kept until they expire, until the issuer's keys change, or until there are too many.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::access::jwt::KeySet;

use super::auth::Principal;

type Digest = [u8; 32];

/// The checked tokens of one worker: two generations, of which the older one is dropped as a
/// whole when the younger one is full.
#[derive(Debug, Default)]
pub(super) struct TokenCache {
    most: Cell<usize>,
    young: RefCell<HashMap<Digest, Checked>>,
    old: RefCell<HashMap<Digest, Checked>>,
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
        self.most.set(most);
    }

    /// Whom a token stands for, if it was checked with these keys and is still good at `now`.
    pub(super) fn find(
        &self,
        digest: &Digest,
        keys: &Arc<KeySet>,
        now: u64,
    ) -> Option<Rc<Principal>> {
        let good = |checked: &&Checked| Arc::ptr_eq(&checked.keys, keys) && now < checked.until;
        if let Some(checked) = self.young.borrow().get(digest) {
            return good(&checked).then(|| Rc::clone(&checked.principal));
        }
        let checked = self.old.borrow_mut().remove(digest)?;
        let principal = good(&&checked).then(|| Rc::clone(&checked.principal))?;
        self.insert(*digest, checked);
        Some(principal)
    }

    /// Keeps a token that was believed.
    pub(super) fn keep(
        &self,
        digest: Digest,
        (keys, until): (Arc<KeySet>, u64),
        principal: &Rc<Principal>,
    ) {
        let principal = Rc::clone(principal);
        self.insert(
            digest,
            Checked {
                keys,
                until,
                principal,
            },
        );
    }

    fn insert(&self, digest: Digest, checked: Checked) {
        let half = self.most.get() / 2;
        if half == 0 {
            return;
        }
        let mut young = self.young.borrow_mut();
        if young.len() >= half {
            let dropped = self.old.replace(std::mem::take(&mut *young)).len();
            metrics::counter!("switchback_auth_tokens_forgotten_total").increment(dropped as u64);
        }
        young.insert(digest, checked);
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
    fn no_more_are_kept_than_there_may_be() {
        let (cache, keys) = (cache(8), keys());
        for number in 0..100 {
            keep(&cache, number, &keys);
            // Whoever comes again and again stays.
            assert!(number == 0 || cache.find(&[0; 32], &keys, 0).is_some());
        }

        assert!(cache.young.borrow().len() + cache.old.borrow().len() <= 8);
        assert!(cache.find(&[99; 32], &keys, 0).is_some());
        assert!(cache.find(&[1; 32], &keys, 0).is_none());
    }

    #[test]
    fn none_may_be_kept_at_all() {
        let (cache, keys) = (cache(0), keys());
        keep(&cache, 1, &keys);

        assert!(cache.find(&[1; 32], &keys, 0).is_none());
    }
}
