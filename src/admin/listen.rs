//! The admin API's own socket: on loopback only, unless it speaks TLS.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// Why the admin API cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address can be reached from other machines.
    #[error(
        "the admin API does not listen on {address}: without TLS only a loopback address is \
         safe; use 127.0.0.1:{} and reach it from elsewhere through a \
         tunnel, such as `ssh -L {}:127.0.0.1:{}`",
        address.port(), address.port(), address.port()
    )]
    NotLoopback {
        /// The refused address.
        address: SocketAddr,
    },
    /// The system refused it.
    #[error("listening for the admin API on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// How the admin API is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// In clear text.
    Clear,
    /// Over TLS.
    Tls,
}

/// A socket that the admin API may use: bound, and to a loopback address unless it speaks TLS.
#[derive(Debug)]
pub struct AdminListener {
    socket: TcpListener,
    address: SocketAddr,
}

impl AdminListener {
    /// Binds `address`; port 0 takes any free one.
    ///
    /// # Errors
    /// [`ListenError`] when the address is taken, or is not loopback and the API has no TLS.
    pub fn bind(address: SocketAddr, wire: Wire) -> Result<Self, ListenError> {
        if wire == Wire::Clear && !address.ip().to_canonical().is_loopback() {
            return Err(ListenError::NotLoopback { address });
        }
        let socket = TcpListener::bind(address);
        let socket = socket.map_err(|source| ListenError::Bind { address, source })?;
        Self::over(socket, wire)
    }

    /// Listens on a socket that is bound already.
    ///
    /// # Errors
    /// [`ListenError`] when its address is not loopback and the API has no TLS.
    pub fn over(socket: TcpListener, wire: Wire) -> Result<Self, ListenError> {
        let unbound = SocketAddr::from(([0, 0, 0, 0], 0));
        let refused = |address| move |source| ListenError::Bind { address, source };
        let address = socket.local_addr().map_err(refused(unbound))?;
        if wire == Wire::Clear && !address.ip().to_canonical().is_loopback() {
            return Err(ListenError::NotLoopback { address });
        }
        socket.set_nonblocking(true).map_err(refused(address))?;
        Ok(Self { socket, address })
    }

    /// Another descriptor of the socket, for the process that comes after this one.
    ///
    /// # Errors
    /// When the process has too many open files.
    pub fn copy_socket(&self) -> io::Result<TcpListener> {
        self.socket.try_clone()
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn into_socket(self) -> TcpListener {
        self.socket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_others_can_reach_are_refused_with_a_way_out() {
        for address in [
            "0.0.0.0:9900",
            "[::]:9900",
            "192.0.2.1:9900",
            "[::ffff:10.0.0.1]:9900",
        ] {
            let error = AdminListener::bind(address.parse().unwrap(), Wire::Clear).unwrap_err();

            assert!(
                matches!(error, ListenError::NotLoopback { .. }),
                "{address}"
            );
            assert!(error.to_string().contains("ssh -L 9900:127.0.0.1:9900"));
        }
    }

    #[test]
    fn any_free_loopback_port_is_taken() {
        let listener = AdminListener::bind("127.0.0.1:0".parse().unwrap(), Wire::Clear).unwrap();

        assert_ne!(listener.address().port(), 0);
        let again = AdminListener::bind(listener.address(), Wire::Clear).unwrap_err();
        assert!(matches!(again, ListenError::Bind { .. }));
    }
}
