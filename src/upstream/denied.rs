//! Networks that are never connected to, and every way to write an address in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Whether an address, or one that it leads to, is in one of these networks.
pub(super) fn is_denied(deny: &[IpNet], address: IpAddr) -> bool {
    let is_in = |address: IpAddr| deny.iter().any(|network| network.contains(&address));
    !deny.is_empty() && (is_in(address) || led_to(address).into_iter().flatten().any(is_in))
}

/// Where a connection to an address may end up besides: this machine, for the address that is
/// none; and the IPv4 address inside an IPv6 one, whichever way it is put there.
fn led_to(address: IpAddr) -> [Option<IpAddr>; 2] {
    const HERE: [Option<IpAddr>; 2] = [
        Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    ];
    let v6 = match address {
        IpAddr::V4(v4) if v4.is_unspecified() => return HERE,
        IpAddr::V4(_) => return [None, None],
        IpAddr::V6(v6) if v6.is_unspecified() => return HERE,
        IpAddr::V6(v6) => v6,
    };
    let Some(v4) = inside(v6) else {
        return [None, None];
    };
    let here = v4
        .is_unspecified()
        .then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    [Some(IpAddr::V4(v4)), here]
}

/// The IPv4 address inside an IPv6 one: mapped (RFC 4291, 2.5.5.2), compatible (2.5.5.1),
/// translated (RFC 6052 and 8215) or of 6to4 (RFC 3056).
fn inside(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = || Ipv4Addr::from_bits(v6.to_bits() as u32);
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => {
            Some(last())
        }
        [0, 0, 0, 0, 0, 0, ..] if !v6.is_loopback() => Some(last()),
        [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied(networks: &[&str], address: &str) -> bool {
        let networks: Vec<IpNet> = networks.iter().map(|n| n.parse().unwrap()).collect();
        is_denied(&networks, address.parse().unwrap())
    }

    #[test]
    fn an_address_is_denied_in_whatever_way_it_is_written() {
        for address in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(denied(&["169.254.0.0/16"], address), "{address}");
            assert!(!denied(&["10.0.0.0/8", "fe80::/10"], address), "{address}");
        }
    }

    #[test]
    fn the_address_that_is_none_is_this_machine() {
        for address in ["0.0.0.0", "::", "::ffff:0.0.0.0", "64:ff9b::"] {
            assert!(denied(&["127.0.0.0/8"], address), "{address}");
        }
        assert!(denied(&["::1/128"], "0.0.0.0") && denied(&["::1/128"], "::1"));
        assert!(denied(&["0.0.0.0/32"], "0.0.0.0"));
        assert!(!denied(&["127.0.0.0/8"], "::1"));
        assert!(!denied(&[], "0.0.0.0"));
    }
}
