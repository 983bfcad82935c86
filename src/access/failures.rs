//! How often callers may fail to say who they are.
//!
//! This does not protect a secret: those cannot be guessed. It keeps somebody who tries all the
//! same from filling logs and taking time. So a valid token is let through whoever else fails,
//! from the same address too: nobody can lock an operator out by failing in their place.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// Most addresses that are told apart; failures of further ones count for all of them together.
const ADDRESSES_MAX: usize = 1024;

/// How many failures are answered as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureBounds {
    /// Of one address, in a window.
    pub per_address: u32,
    /// Of all addresses, in a window.
    pub total: u32,
    /// How long a window is.
    pub window: Duration,
}

/// What becomes of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// It is told as what it is.
    Told,
    /// There were too many; the window ends after this time.
    TooMany(Duration),
}

/// Counts failures in windows, by address and in all.
#[derive(Debug)]
pub struct Failures {
    since: Instant,
    total: u32,
    of_address: HashMap<IpAddr, u32>,
    /// Of all addresses that found no place among those that are told apart.
    of_others: u32,
}

impl Failures {
    /// None so far.
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            total: 0,
            of_address: HashMap::new(),
            of_others: 0,
        }
    }

    /// Counts a failure. What comes after too many is not counted, so that nobody is held up
    /// for longer than a window after they stop.
    pub fn count(&mut self, from: IpAddr, now: Instant, bounds: FailureBounds) -> Judged {
        if now.saturating_duration_since(self.since) >= bounds.window {
            *self = Self::new(now);
        }
        let total = self.total;
        let of_address = self.entry(from);
        if total >= bounds.total || *of_address >= bounds.per_address {
            let end = self.since + bounds.window;
            return Judged::TooMany(end.saturating_duration_since(now));
        }
        *of_address += 1;
        self.total += 1;
        Judged::Told
    }

    fn entry(&mut self, from: IpAddr) -> &mut u32 {
        let caller = caller(from);
        if self.of_address.len() >= ADDRESSES_MAX && !self.of_address.contains_key(&caller) {
            return &mut self.of_others;
        }
        self.of_address.entry(caller).or_default()
    }
}

/// Who an address stands for: a whole /64 in IPv6, of which anybody has plenty.
fn caller(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(network).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: FailureBounds = FailureBounds {
        per_address: 3,
        total: 10_000,
        window: Duration::from_mins(1),
    };

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_that_fails_too_often_holds_up_no_other() {
        let start = Instant::now();
        let mut failures = Failures::new(start);
        let (one, other) = (address("192.0.2.1"), address("192.0.2.2"));

        for _ in 0..3 {
            assert_eq!(failures.count(one, start, BOUNDS), Judged::Told);
        }

        let later = start + Duration::from_secs(20);
        let left = Duration::from_secs(40);
        assert_eq!(failures.count(one, later, BOUNDS), Judged::TooMany(left));
        assert_eq!(failures.count(other, later, BOUNDS), Judged::Told);
        let over = start + Duration::from_mins(1);
        assert_eq!(failures.count(one, over, BOUNDS), Judged::Told);
    }

    #[test]
    fn many_addresses_together_have_a_bound_too() {
        let start = Instant::now();
        let bounds = FailureBounds { total: 5, ..BOUNDS };
        let mut failures = Failures::new(start);
        let told = (0..50_u8)
            .filter(|n| failures.count([10, 0, 0, *n].into(), start, bounds) == Judged::Told);

        assert_eq!(told.count(), 5);
    }

    #[test]
    fn the_table_is_bounded_and_a_network_is_one_caller() {
        let start = Instant::now();
        let mut failures = Failures::new(start);
        for n in 0..5_000_u16 {
            let [a, b] = n.to_be_bytes();
            failures.count([10, 1, a, b].into(), start, BOUNDS);
        }
        assert_eq!(failures.of_address.len(), ADDRESSES_MAX);
        assert_eq!(failures.of_others, BOUNDS.per_address);

        let mut failures = Failures::new(start);
        for n in 0..100 {
            failures.count(address(&format!("2001:db8::{n:x}")), start, BOUNDS);
        }
        failures.count(address("::ffff:192.0.2.1"), start, BOUNDS);
        failures.count(address("192.0.2.1"), start, BOUNDS);
        assert_eq!(failures.of_address.len(), 2);
    }
}
