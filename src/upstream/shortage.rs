//! Sockets that this process could not have: no backend is to blame for that.
//!
//! The system gives a process the lowest descriptor that is free. So one that is not below a mark
//! says that all below it are taken, and what is above can be kept from traffic without counting
//! anything: the admin API, health checks and the disk go on when traffic has used its part up.

use std::error::Error;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

use rustix::io::Errno;

/// What the process has for traffic, and how often that was not enough.
#[derive(Debug)]
pub struct Descriptors {
    /// The first one that is not for traffic.
    reserved_from: AtomicI32,
    shortages: AtomicU64,
}

impl Default for Descriptors {
    fn default() -> Self {
        Self {
            reserved_from: AtomicI32::new(RawFd::MAX),
            shortages: AtomicU64::new(0),
        }
    }
}

impl Descriptors {
    /// Keeps this descriptor and all that follow from traffic.
    pub fn reserve_from(&self, first: RawFd) {
        self.reserved_from.store(first, Relaxed);
    }

    /// Whether a socket of traffic has to be closed again: it took a descriptor that is not for it.
    pub fn is_reserved(&self, socket: &impl AsFd) -> bool {
        socket.as_fd().as_raw_fd() >= self.reserved_from.load(Relaxed)
    }

    /// There was no descriptor for traffic: every worker gives up what it can do without.
    pub fn fall_short(&self) {
        self.shortages.fetch_add(1, Relaxed);
        metrics::counter!("switchback_descriptors_short_total").increment(1);
    }

    /// How often there was none.
    pub(super) fn shortages(&self) -> u64 {
        self.shortages.load(Relaxed)
    }
}

/// Marks an error that is this process's own.
#[derive(Debug, thiserror::Error)]
#[error("this process has none left: {0}")]
struct Own(io::Error);

/// Whether an error in making a socket is this process's own.
pub(super) fn is_own(error: &io::Error) -> bool {
    const OWN: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    let raw = error.raw_os_error();
    OWN.iter().any(|own| raw == Some(own.raw_os_error()))
        || error
            .get_ref()
            .is_some_and(<dyn Error + Send + Sync>::is::<Own>)
}

/// The same error, marked as this process's own.
pub(super) fn own(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Own(error))
}

/// There was a descriptor, but it is not for traffic.
pub(super) fn reserved() -> io::Error {
    own(io::Error::from(Errno::MFILE))
}

/// The same error; that there is no port left on this side is this process's own.
pub(super) fn of_ports(error: io::Error) -> io::Error {
    if error.raw_os_error() == Some(Errno::ADDRNOTAVAIL.raw_os_error()) {
        own(error)
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_lacks_is_not_the_others_fault() {
        let of = |errno: Errno| io::Error::from(errno);

        for own in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert!(is_own(&of(own)), "{own}");
        }
        assert!(is_own(&reserved()) && is_own(&of_ports(of(Errno::ADDRNOTAVAIL))));
        for theirs in [
            Errno::CONNREFUSED,
            Errno::HOSTUNREACH,
            Errno::TIMEDOUT,
            Errno::ADDRNOTAVAIL,
        ] {
            assert!(!is_own(&of(theirs)), "{theirs}");
        }
    }

    #[test]
    fn descriptors_from_the_mark_on_are_not_for_traffic() {
        let descriptors = Descriptors::default();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!descriptors.is_reserved(&socket));

        descriptors.reserve_from(socket.as_fd().as_raw_fd());

        assert!(descriptors.is_reserved(&socket));
    }
}
