//! Whose sessions a table holds, so that nobody's push out those of everybody else.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::Place;

/// An owner may hold one part in so many of a table before theirs are the first to make room.
pub(super) const PARTS: usize = 16;

/// What each owner holds. Sessions of nobody are not looked at.
#[derive(Debug, Default)]
pub(super) struct Owners {
    owners: HashMap<u64, Owned>,
    /// Every owner by what they hold.
    by_charge: BTreeSet<(usize, u64)>,
}

#[derive(Debug, Default)]
struct Owned {
    charge: usize,
    sessions: usize,
    /// Their sessions in the order in which they were last put at the back; as in the table's own
    /// order some may be gone.
    order: VecDeque<Place>,
}

/// How many places of sessions that are gone an owner may have besides as many as there are sessions.
const STALE: usize = 16;

impl Owners {
    /// An owner has one more session.
    pub(super) fn add(&mut self, owner: u64, place: Place, charge: usize) {
        let Some(holding) = self.change(owner, |held| held + charge) else {
            return;
        };
        holding.sessions += 1;
        holding.order.push_back(place);
    }

    /// A session of theirs is charged otherwise.
    pub(super) fn recharge(&mut self, owner: u64, before: usize, after: usize) {
        self.change(owner, |held| held.saturating_sub(before) + after);
    }

    /// A session of theirs is gone. Where there are many such, their places are left out.
    pub(super) fn remove(
        &mut self,
        (owner, charge): (u64, usize),
        is_there: impl Fn(&Place) -> bool,
    ) {
        let Some(holding) = self.change(owner, |held| held.saturating_sub(charge)) else {
            return;
        };
        holding.sessions = holding.sessions.saturating_sub(1);
        if holding.order.len() > 2 * holding.sessions + STALE {
            holding.order.retain(is_there);
        }
        let (sessions, charge) = (holding.sessions, holding.charge);
        if sessions == 0 {
            self.by_charge.remove(&(charge, owner));
            self.owners.remove(&owner);
        }
    }

    fn change(&mut self, owner: u64, to: impl FnOnce(usize) -> usize) -> Option<&mut Owned> {
        if owner == 0 {
            return None;
        }
        let holding = self.owners.entry(owner).or_default();
        self.by_charge.remove(&(holding.charge, owner));
        holding.charge = to(holding.charge);
        self.by_charge.insert((holding.charge, owner));
        Some(holding)
    }

    /// The sessions of the owner who holds most, if that is more than `share`.
    pub(super) fn crowded(&mut self, share: usize) -> Option<&mut VecDeque<Place>> {
        let (charge, owner) = *self.by_charge.last()?;
        let holding = self.owners.get_mut(&owner).filter(|_| charge > share)?;
        Some(&mut holding.order)
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.owners
            .values()
            .map(|holding| holding.order.len())
            .sum()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.owners.is_empty() && self.by_charge.is_empty()
    }
}
