//! One session: what it was opened with, and where it lives.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::mcp::heard::HeardIds;
use crate::mcp::home::{Home, Origin};
use crate::mcp::lists::Lists;
use crate::mcp::record::SessionRecord;
use crate::mcp::turns::Turns;
use crate::model::RouteName;

/// One session.
#[derive(Debug)]
pub struct Session {
    pub(super) record: ArcSwap<SessionRecord>,
    /// `None` for a session that is nobody's but this process's.
    pub(super) origin: Option<Origin>,
    stay: ArcSwap<Stay>,
    /// Where it lived before, as far as calls of it are still under way there.
    former: ArcSwapOption<Vec<Weak<Stay>>>,
    /// What its client has not been told of its new home yet, as [`Lists`].
    untold: AtomicU8,
    /// Its client was told that there is no such session.
    lost: AtomicBool,
    /// Where its failed calls are answered while it lives on a candidate.
    stand_in: ArcSwapOption<StandIn>,
    /// Where rules of its route have led it.
    branches: ArcSwap<Branches>,
    gate: tokio::sync::Mutex<()>,
    /// Its open event streams.
    turns: Turns,
    /// How often a new home was sought in vain; written by the gate's holder, ...
    failures: AtomicU64,
    /// ... how often in a row, ...
    in_a_row: AtomicU32,
    /// ... and the tick before which none is sought again.
    not_before: AtomicU64,
    /// Tells this session from others that had the same id before.
    pub(super) serial: u64,
    /// The tick of the last call; written by workers, read at eviction.
    pub(super) seen: AtomicU64,
    /// What [`Session::seen`] was when the session was last written down.
    pub(super) written: AtomicU64,
}

/// A session's stay at one home. Whoever has a call of it under way there holds it, so that it is
/// known for as long as there is one.
#[derive(Debug, Default)]
pub struct Stay {
    home: Option<Arc<Home>>,
    heard: Arc<HeardIds>,
}

impl Stay {
    /// A stay at a place where the session was opened a second time.
    pub fn at(home: Arc<Home>) -> Self {
        Self {
            home: Some(home),
            heard: Arc::default(),
        }
    }

    /// The home; `None` for where the session's sealed id says.
    pub fn home(&self) -> Option<&Arc<Home>> {
        self.home.as_ref()
    }

    /// The events there that its client may have heard; at the home that its sealed id names,
    /// nobody asks.
    pub fn heard(&self) -> &Arc<HeardIds> {
        &self.heard
    }
}

/// Where a rule leads a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Branch {
    /// Where it lives, since that tick.
    Home(u64),
    /// Where it was opened a second time.
    At(Arc<Home>),
}

/// Where rules have led a session, by their names.
pub(in crate::mcp) type Branches = Vec<(RouteName, Branch)>;

/// Longest time until a new home is sought again, in ticks.
const LONGEST_WAIT: u64 = 32;

/// Most rules that are remembered of a session; others lead it anew each time.
const BRANCHES: usize = 64;

/// A place where a session was opened a second time.
#[derive(Debug)]
struct StandIn {
    home: Arc<Home>,
    /// What it was opened with.
    record: Arc<SessionRecord>,
}

impl Session {
    pub(super) fn new(
        record: SessionRecord,
        origin: Option<Origin>,
        serial: u64,
        tick: u64,
    ) -> Self {
        Self {
            record: ArcSwap::from_pointee(record),
            origin,
            stay: ArcSwap::default(),
            former: ArcSwapOption::empty(),
            untold: AtomicU8::new(0),
            lost: AtomicBool::new(false),
            stand_in: ArcSwapOption::empty(),
            branches: ArcSwap::default(),
            gate: tokio::sync::Mutex::new(()),
            turns: Turns::default(),
            failures: AtomicU64::new(0),
            in_a_row: AtomicU32::new(0),
            not_before: AtomicU64::new(0),
            serial,
            seen: AtomicU64::new(tick),
            written: AtomicU64::new(tick),
        }
    }

    /// A number for whoever opened it; 0 for nobody in particular.
    pub(super) fn owner(&self) -> u64 {
        self.origin.as_ref().map_or(0, |origin| origin.owner)
    }

    /// Where the session was opened.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// What the session was opened with.
    pub fn record(&self) -> Arc<SessionRecord> {
        self.record.load_full()
    }

    /// Where the session lives now; `None` while it lives where its sealed id says.
    pub fn home(&self) -> Option<Arc<Home>> {
        self.stay.load().home.clone()
    }

    /// The session's stay where it lives now.
    pub fn stay(&self) -> Arc<Stay> {
        self.stay.load_full()
    }

    /// Its former stays that calls are still a part of.
    pub fn former(&self) -> Vec<Arc<Stay>> {
        let former = self.former.load();
        let former = former.iter().flat_map(|stays| stays.iter());
        former.filter_map(Weak::upgrade).collect()
    }

    /// The session has been opened elsewhere. Called by the holder of the gate alone; whoever
    /// wants it written down says so to the table ([`SessionTable::note`]).
    pub fn set_home(&self, home: impl Into<Arc<Home>>) {
        let home = home.into();
        let lists = home.lists;
        let left = self.stay.swap(Arc::new(Stay {
            home: Some(home),
            heard: Arc::default(),
        }));
        let mut former: Vec<_> = self.former().iter().map(Arc::downgrade).collect();
        former.push(Arc::downgrade(&left));
        self.former.store(Some(Arc::new(former)));
        self.untold.store(lists.bits(), Ordering::Relaxed);
        self.lost.store(false, Ordering::Relaxed);
        self.in_a_row.store(0, Ordering::Relaxed);
        self.not_before.store(0, Ordering::Relaxed);
    }

    /// The session is gone for its client, as far as is known. Tells whether that is news.
    pub fn lose(&self) -> bool {
        !self.lost.swap(true, Ordering::Relaxed)
    }

    /// What its client is to be told of its new home, as long as nobody has.
    pub fn untold(&self) -> Lists {
        Lists::from_bits(self.untold.load(Ordering::Relaxed))
    }

    /// The same, to tell it now: the next one to ask gets nothing.
    pub fn take_untold(&self) -> Lists {
        Lists::from_bits(self.untold.swap(0, Ordering::Relaxed))
    }

    /// The tick of the last call.
    pub(in crate::mcp) fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// Where the session was opened a second time, to answer for the backend that it lives on.
    pub fn stand_in(&self) -> Option<Arc<Home>> {
        let stand_in = self.stand_in.load();
        stand_in.as_ref().map(|stand_in| Arc::clone(&stand_in.home))
    }

    /// The same, if the session could live there: all that its client has asked for is known there.
    pub fn whole_stand_in(&self) -> Option<Arc<Home>> {
        let stand_in = self.stand_in.load_full()?;
        let is_whole = *stand_in.record == **self.record.load();
        is_whole.then(|| Arc::clone(&stand_in.home))
    }

    /// The session has been opened a second time, with this. Called by the holder of the gate
    /// alone.
    pub fn set_stand_in(&self, home: Home, record: Arc<SessionRecord>) {
        let home = Arc::new(home);
        self.stand_in
            .store(Some(Arc::new(StandIn { home, record })));
    }

    /// Where a rule has led the session before.
    pub fn branch(&self, rule: &RouteName) -> Option<Branch> {
        let branches = self.branches.load();
        let known = branches.iter().find(|(name, _)| name == rule);
        known.map(|(_, branch)| branch.clone())
    }

    /// A rule leads the session there from now on. Rules that `is_rule` does not know are gone, and
    /// forgotten. Whoever wants it written down says so to the table ([`SessionTable::note`]).
    ///
    /// [`SessionTable::note`]: super::SessionTable::note
    pub fn set_branch(
        &self,
        rule: &RouteName,
        branch: &Branch,
        is_rule: impl Fn(&RouteName) -> bool,
    ) {
        self.change_branches(rule, |branches| {
            branches.retain(|(name, _)| is_rule(name));
            if branches.len() < BRANCHES {
                branches.push((rule.clone(), branch.clone()));
            }
        });
    }

    /// Where rules have led it, to be written down.
    pub(in crate::mcp) fn all_branches(&self) -> Arc<Branches> {
        self.branches.load_full()
    }

    /// The same as it was written down.
    pub(in crate::mcp) fn take_branches(&self, mut branches: Branches) {
        branches.truncate(BRANCHES);
        self.branches.store(Arc::new(branches));
    }

    /// Where rules have it open a second time.
    pub fn branches(&self) -> Vec<Arc<Home>> {
        homes_of(&self.branches.load())
    }

    /// Where it is open a second time, besides its home.
    pub fn seconds(&self) -> Vec<Arc<Home>> {
        let mut homes = self.branches();
        homes.extend(self.stand_in());
        homes
    }

    /// The same, for whoever ends it there: it is open there no more.
    pub(super) fn take_seconds(&self) -> Vec<Arc<Home>> {
        let home = self.home();
        // Each is taken in one step: what is opened meanwhile is not lost sight of.
        let mut homes = homes_of(&self.branches.swap(Arc::default()));
        let stand_in = self.stand_in.swap(None);
        homes.extend(stand_in.map(|stand_in| Arc::clone(&stand_in.home)));
        homes.retain(|second| Some(second) != home.as_ref());
        homes
    }

    /// Its new home, for whoever ends it there.
    pub(super) fn take_home(&self) -> Option<Arc<Home>> {
        let stay = self.stay.swap(Arc::default());
        stay.home.clone()
    }

    /// Whether it has been opened anywhere but where its sealed id says.
    pub fn is_elsewhere(&self) -> bool {
        self.stay.load().home.is_some() || !self.seconds().is_empty()
    }

    /// It is not known any more where a rule leads the session.
    pub fn forget_branch(&self, rule: &RouteName) {
        self.change_branches(rule, |_| {});
    }

    fn change_branches(&self, rule: &RouteName, add: impl Fn(&mut Branches)) {
        self.branches.rcu(|known| {
            let others = known.iter().filter(|(name, _)| name != rule);
            let mut branches: Vec<_> = others.cloned().collect();
            add(&mut branches);
            branches
        });
    }

    /// Held by the caller that re-homes the session while the others wait; each of them looks
    /// at [`Session::home`] again when it gets through.
    pub fn gate(&self) -> &tokio::sync::Mutex<()> {
        &self.gate
    }

    /// Its open event streams.
    pub fn turns(&self) -> &Turns {
        &self.turns
    }

    /// How often a new home was sought in vain. Whoever waited at the gate meanwhile need not
    /// seek again.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// No new home was found. Called by the holder of the gate alone. From the second time in a row
    /// on none is sought for a while, each time twice as long.
    pub fn home_failed(&self, tick: u64) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let before = self.in_a_row.fetch_add(1, Ordering::Relaxed);
        let Some(doublings) = before.checked_sub(1) else {
            return;
        };
        let wait = 1_u64.checked_shl(doublings).unwrap_or(LONGEST_WAIT);
        let until = tick + wait.min(LONGEST_WAIT);
        self.not_before.store(until, Ordering::Relaxed);
    }

    /// Whether no new home is sought yet, since that was in vain before.
    pub fn is_held_off(&self, tick: u64) -> bool {
        tick < self.not_before.load(Ordering::Relaxed)
    }

    pub(super) fn touch(&self, tick: u64) {
        // Most calls come within the tick of the one before: no store, no shared cache line.
        if self.seen.load(Ordering::Relaxed) < tick {
            self.seen.store(tick, Ordering::Relaxed);
        }
    }
}

fn homes_of(branches: &Branches) -> Vec<Arc<Home>> {
    let homes = branches.iter().filter_map(|(_, branch)| match branch {
        Branch::At(home) => Some(Arc::clone(home)),
        Branch::Home(_) => None,
    });
    homes.collect()
}
