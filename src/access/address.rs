//! Who is let in by address: sorted ranges, so that a long list costs as little as a short one.

use std::net::IpAddr;

use ipnet::IpNet;

use super::spec::Network;

/// A set of addresses. An IPv4 address inside IPv6 (`::ffff:10.0.0.1`) is the IPv4 one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    /// First and last address of each range: in order, and apart from one another.
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl AddressSet {
    /// The addresses of these networks.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match network.net() {
                IpNet::V4(net) => v4.push((net.network().to_bits(), net.broadcast().to_bits())),
                IpNet::V6(net) => v6.push((net.network().to_bits(), net.broadcast().to_bits())),
            }
        }
        Self {
            v4: merged(v4),
            v6: merged(v6),
        }
    }

    /// Whether no address is in the set.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether the set has this address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => within(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => within(&self.v6, v6.to_bits()),
        }
    }
}

/// Who is let in, by address. Whoever is denied is refused, even if allowed too; where there is
/// a list of those who are allowed, everybody else is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRules {
    allow: Option<AddressSet>,
    deny: AddressSet,
}

impl AddressRules {
    /// The rules of these lists, or nothing where everybody is let in.
    pub fn new(allow: Option<&[Network]>, deny: &[Network]) -> Option<Self> {
        if allow.is_none() && deny.is_empty() {
            return None;
        }
        Some(Self {
            allow: allow.map(|allow| AddressSet::new(allow.iter().copied())),
            deny: AddressSet::new(deny.iter().copied()),
        })
    }

    /// Whether this address is let in.
    pub fn admits(&self, address: IpAddr) -> bool {
        !self.deny.contains(address)
            && self
                .allow
                .as_ref()
                .is_none_or(|allow| allow.contains(address))
    }
}

/// The ranges in order, with those that overlap made one.
fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    let mut apart: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match apart.last_mut() {
            Some(before) if first <= before.1 => before.1 = before.1.max(last),
            Some(_) | None => apart.push((first, last)),
        }
    }
    apart.into()
}

/// Whether a value is in one of the ranges: in the last that begins at or before it, if in any.
fn within<T: Ord + Copy>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= value);
    let nearest = after.checked_sub(1).and_then(|place| ranges.get(place));
    nearest.is_some_and(|(_, last)| value <= *last)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn admits(allow: Option<&[&str]>, deny: &[&str], address: &str) -> bool {
        let allow = allow.map(networks);
        AddressRules::new(allow.as_deref(), &networks(deny))
            .is_none_or(|rules| rules.admits(ip(address)))
    }

    #[test]
    fn without_lists_everybody_is_let_in() {
        assert!(AddressRules::new(None, &[]).is_none());
    }

    #[test]
    fn an_allow_list_refuses_everybody_else() {
        let allow = Some(&["10.0.0.0/8", "192.0.2.7", "fd00::/8"][..]);

        for address in ["10.1.2.3", "192.0.2.7", "fd12::1", "::ffff:10.1.2.3"] {
            assert!(admits(allow, &[], address), "{address}");
        }
        for address in ["11.0.0.0", "9.255.255.255", "192.0.2.8", "fc00::1", "::1"] {
            assert!(!admits(allow, &[], address), "{address}");
        }
    }

    #[test]
    fn whoever_is_denied_is_refused_even_if_allowed() {
        let allow = Some(&["10.0.0.0/8"][..]);

        assert!(!admits(allow, &["10.0.0.7"], "10.0.0.7"));
        assert!(!admits(allow, &["10.0.0.7"], "::ffff:10.0.0.7"));
        assert!(!admits(Some(&["10.0.0.7"]), &["10.0.0.0/8"], "10.0.0.7"));
        assert!(admits(allow, &["10.0.0.7"], "10.0.0.8"));
    }

    #[test]
    fn a_deny_list_alone_lets_everybody_else_in() {
        assert!(!admits(None, &["0.0.0.0/0"], "1.2.3.4"));
        assert!(!admits(None, &["0.0.0.0/0"], "::ffff:1.2.3.4"));
        assert!(admits(None, &["0.0.0.0/0"], "2001:db8::1"));
        assert!(!admits(None, &["::/0"], "2001:db8::1"));
        assert!(admits(None, &["::/0"], "1.2.3.4"), "IPv4 is another list");
    }

    proptest! {
        #[test]
        fn looking_up_agrees_with_asking_every_network(
            nets in prop::collection::vec((any::<u32>(), 0u8..=32), 0..40),
            near in any::<prop::sample::Index>(),
            offset in -2i64..=2,
            anywhere in any::<u32>(),
        ) {
            let nets: Vec<Network> = nets
                .into_iter()
                .map(|(bits, length)| Network::from(IpNet::new(IpAddr::V4(bits.into()), length).unwrap()))
                .collect();
            let edge = match nets.as_slice() {
                [] => anywhere,
                some => {
                    let IpAddr::V4(edge) = near.get(some).net().broadcast() else { unreachable!() };
                    (i64::from(edge.to_bits()) + offset) as u32
                }
            };
            let set = AddressSet::new(nets.iter().copied());

            for bits in [anywhere, edge] {
                let address = IpAddr::V4(bits.into());
                let any = nets.iter().any(|network| network.net().contains(&address));
                prop_assert_eq!(set.contains(address), any);
            }
        }
    }
}
