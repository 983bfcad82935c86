//! Closing a listening socket without losing whoever is at the door.
//!
//! The system resets connections that are complete but not accepted when their listening socket
//! is closed, and those whose handshake is under way. However often a queue is emptied before,
//! there is a moment between the last look and the close. So new handshakes are turned away
//! first: then the queue can only become empty.

use std::io;
use std::os::fd::AsFd;

/// From now on no handshake begins on `socket`, while those that have begun go on. A client whose
/// first packet was dropped sends it again a second later, and is refused then.
///
/// Elsewhere than on Linux there is no such thing; the moment described above remains.
///
/// # Errors
/// What the system says.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn turn_away(socket: &impl AsFd) -> io::Result<()> {
    use socket2::{SockFilter, SockRef};

    // A program for the kernel's packet filter (classic BPF); packets begin with the TCP header.
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_SET: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const FLAGS_OFFSET: u32 = 13;
    const SYN: u32 = 0x02;
    const DROP: u32 = 0;
    const PASS: u32 = u32::MAX;
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_OFFSET),
        SockFilter::new(JUMP_IF_SET, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, DROP),
        SockFilter::new(RETURN, 0, 0, PASS),
    ])
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
