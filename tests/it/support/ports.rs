//! Ports that belong to one test.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Socket, Type};

/// Below the range from which the system picks ports for clients, so that no outgoing
/// connection of another test takes one in between.
const FIRST: u16 = 12_000;
const COUNT: u16 = 18_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port held by a socket that does not listen: connections to it are refused, and a
/// listener with `SO_REUSEPORT` may still bind it.
pub struct ReservedPort {
    pub address: SocketAddr,
    _socket: Socket,
}

/// Reserves a port on loopback until the answer is dropped.
pub fn reserve() -> ReservedPort {
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        if let Some(reserved) = try_reserve(port) {
            return reserved;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

fn try_reserve(port: u16) -> Option<ReservedPort> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&address.into()).ok()?;
    // Shared only after the bind: two reservations never meet, a listener may join.
    socket.set_reuse_address(true).unwrap();
    socket.set_reuse_port(true).unwrap();
    Some(ReservedPort {
        address,
        _socket: socket,
    })
}
