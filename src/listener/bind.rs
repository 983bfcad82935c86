//! Binding the same address once for each worker.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// Connections that may wait to be accepted, per socket.
const BACKLOG: i32 = 4096;

/// How a silent connection is asked whether anybody is still there: after a minute, every 15
/// seconds, and given up after four times.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_mins(1))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Why an address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("binding {address}")]
pub struct BindError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Binds `address` once for each of `workers` sockets; the kernel spreads connections over them.
/// With port 0 all of them get the same free port.
///
/// # Errors
/// [`BindError`] when any of them cannot be bound, or somebody listens there already; none is
/// then left open.
pub fn bind(address: SocketAddr, workers: usize) -> Result<Vec<TcpListener>, BindError> {
    let failed = |source| BindError { address, source };
    refuse_to_share(address).map_err(failed)?;
    let mut sockets = Vec::with_capacity(workers);
    let mut bound = address;
    for _ in 0..workers {
        let socket = open(bound).map_err(failed)?;
        bound = socket.local_addr().map_err(failed)?;
        sockets.push(socket);
    }
    Ok(sockets)
}

/// More sockets for an address that this process listens on already, and shares.
///
/// # Errors
/// [`BindError`] when any of them cannot be bound; none is then left open.
pub fn join(address: SocketAddr, count: usize) -> Result<Vec<TcpListener>, BindError> {
    let more = (0..count).map(|_| open(address));
    let more: io::Result<_> = more.collect();
    more.map_err(|source| BindError { address, source })
}

/// Whether other sockets can [`join`] a listening one.
pub fn is_shared(socket: &TcpListener) -> bool {
    SockRef::from(socket).reuse_port().unwrap_or(false)
}

/// Makes a listening socket that somebody else has bound like those of [`bind`].
///
/// # Errors
/// What the system says.
pub fn adopt(socket: TcpListener) -> io::Result<TcpListener> {
    let options = SockRef::from(&socket);
    options.set_nonblocking(true)?;
    options.set_tcp_keepalive(&KEEP_ALIVE)?;
    Ok(socket)
}

/// Fails when somebody listens on `address`.
///
/// Sockets that share a port do so with any process of the same user: a second gateway would
/// silently take half of the first one's connections. A socket that does not share is told.
fn refuse_to_share(address: SocketAddr) -> io::Result<()> {
    socket(address)?.bind(&address.into())
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Whatever is accepted inherits this: a client that vanishes without a word would hold its
    // stream, and its backend's, for ever.
    socket.set_tcp_keepalive(&KEEP_ALIVE)?;
    bound_unsent(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Bounds what the system holds for a client that does not read, which is megabytes otherwise;
/// what is on its way to one that does read is not touched by it.
#[cfg(target_os = "linux")]
fn bound_unsent(socket: &Socket) -> io::Result<()> {
    const UNSENT_BYTES: u32 = 64 * 1024;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it is like the other")]
fn bound_unsent(_socket: &Socket) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_gets_the_same_port() {
        let sockets = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<_> = sockets
            .iter()
            .map(|s| s.local_addr().unwrap().port())
            .collect();

        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0));
    }

    #[test]
    fn a_second_gateway_does_not_share_the_port_of_the_first() {
        let first = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = first[0].local_addr().unwrap();

        let second = bind(address, 2);

        assert_eq!(second.unwrap_err().source.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert!(bind(address, 2).is_ok(), "the port is free again");
    }

    #[test]
    fn silent_clients_are_asked_whether_they_are_still_there() {
        let socket = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        socket.set_nonblocking(false).unwrap();
        let _client = std::net::TcpStream::connect(socket.local_addr().unwrap()).unwrap();

        let (accepted, _) = socket.accept().unwrap();

        assert!(SockRef::from(&accepted).keepalive().unwrap());
    }

    #[test]
    fn an_address_in_use_names_itself() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();

        assert_eq!(
            bind(address, 1).unwrap_err().to_string(),
            format!("binding {address}")
        );
    }
}
