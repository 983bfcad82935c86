//! Closing a listening socket without losing whoever is at the door.
//!
//! The system resets connections that are complete but not accepted when their listening socket
//! is closed, and those whose handshake is under way. However often a queue is emptied before,
//! there is a moment between the last look and the close. So new handshakes are turned away
//! first: then the queue can only become empty.

use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::num::NonZeroU32;
use std::os::fd::AsFd;

/// From now on no handshake begins on `socket`, while those that have begun go on. Who comes later
/// is refused, or, where other sockets of the same port still listen, not heard until `socket` is
/// closed: the kernel goes on spreading clients over all of them.
///
/// A socket that another process listens on, too, must not be given: it is turned away there as well.
///
/// The socket is told to listen at a network interface that does not exist. Unlike a packet filter
/// that takes no right that a container may lack: a socket without an interface may choose one.
///
/// Elsewhere than on Linux there is no such thing; the moment described above remains.
///
/// # Errors
/// What the system says: Linux before 5.7 asks for `CAP_NET_RAW`, and any Linux does for a socket that
/// is bound to an interface already.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn turn_away(socket: &impl AsFd) -> io::Result<()> {
    // Interfaces are numbered from 1 on; the kernel takes any number here.
    const NO_INTERFACE: NonZeroU32 = NonZeroU32::new(i32::MAX as u32).unwrap();
    // The same option of the socket for both versions of IP.
    socket2::SockRef::from(socket).bind_device_by_index_v4(Some(NO_INTERFACE))
}

/// From now on no handshake begins on `socket`; not possible on this system.
///
/// # Errors
/// None.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn turn_away(_socket: &impl AsFd) -> io::Result<()> {
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_at_the_door_is_let_in_and_nobody_else() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut early = TcpStream::connect(address).unwrap();

        turn_away(&socket).unwrap();
        early.write_all(b"hello").unwrap();
        let late = TcpStream::connect_timeout(&address, Duration::from_millis(50));

        assert!(late.is_err(), "the handshake did not begin");
        let (mut accepted, _) = socket.accept().unwrap();
        let mut read = [0; 5];
        accepted.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"hello");
    }
}
