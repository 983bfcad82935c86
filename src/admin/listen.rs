//! The admin API's own socket: at a path, or on loopback only, unless it speaks TLS.

use std::fs::{self, Permissions};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use crate::model::AdminAddress;

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
        address: AdminAddress,
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

/// A socket that the admin API may use: at a path that is open to one user, or at a port, which is
/// one of loopback unless the API speaks TLS.
#[derive(Debug)]
pub struct AdminListener {
    socket: Socket,
    address: AdminAddress,
}

/// What it listens on.
#[derive(Debug)]
pub(super) enum Socket {
    Port(TcpListener),
    Path(UnixListener),
}

impl AdminListener {
    /// Binds `address`; port 0 takes any free one. A path is not there before
    /// [`AdminListener::publish`].
    ///
    /// # Errors
    /// [`ListenError`] when the address is taken, or can be reached from other machines and the
    /// API has no TLS.
    pub fn bind(address: &AdminAddress, wire: Wire) -> Result<Self, ListenError> {
        match address {
            AdminAddress::Port(address) => Self::bind_port(*address, wire),
            AdminAddress::Path(path) => Self::bind_path(path),
        }
    }

    fn bind_port(address: SocketAddr, wire: Wire) -> Result<Self, ListenError> {
        if wire == Wire::Clear && !address.ip().to_canonical().is_loopback() {
            return Err(ListenError::NotLoopback { address });
        }
        let socket = TcpListener::bind(address);
        let socket = socket.map_err(|source| ListenError::Bind {
            address: AdminAddress::Port(address),
            source,
        })?;
        Self::over(socket, wire)
    }

    /// Beside its path, so that whoever listens there goes on until this process is in charge,
    /// and that nobody else can connect before its mode is set.
    fn bind_path(path: &Path) -> Result<Self, ListenError> {
        let bound = || {
            match fs::symlink_metadata(path) {
                Ok(there) if !there.file_type().is_socket() => {
                    return Err(io::Error::other("there is a file that is no socket"));
                }
                Ok(_) | Err(_) => {}
            }
            let draft = draft(path);
            match fs::remove_file(&draft) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            let socket = UnixListener::bind(&draft)?;
            fs::set_permissions(&draft, Permissions::from_mode(0o600))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let address = AdminAddress::Path(path.to_owned());
        match bound() {
            Ok(socket) => Ok(Self {
                socket: Socket::Path(socket),
                address,
            }),
            Err(source) => Err(ListenError::Bind { address, source }),
        }
    }

    /// Puts the socket at its path, in the place of whatever process had one there.
    ///
    /// # Errors
    /// What the system says.
    pub fn publish(&self) -> io::Result<()> {
        match &self.address {
            AdminAddress::Port(_) => Ok(()),
            AdminAddress::Path(path) => fs::rename(draft(path), path),
        }
    }

    /// Fails when another process answers at the path, whose callers would be taken from it.
    ///
    /// # Errors
    /// [`ListenError::Bind`] then.
    pub fn refuse_to_share(&self) -> Result<(), ListenError> {
        match &self.address {
            AdminAddress::Path(path) if UnixStream::connect(path).is_ok() => {
                Err(ListenError::Bind {
                    address: self.address.clone(),
                    source: io::ErrorKind::AddrInUse.into(),
                })
            }
            AdminAddress::Path(_) | AdminAddress::Port(_) => Ok(()),
        }
    }

    /// Listens on a socket that is bound already.
    ///
    /// # Errors
    /// [`ListenError`] when its address is not loopback and the API has no TLS.
    pub fn over(socket: TcpListener, wire: Wire) -> Result<Self, ListenError> {
        let unbound = SocketAddr::from(([0, 0, 0, 0], 0));
        let refused = |address| {
            move |source| ListenError::Bind {
                address: AdminAddress::Port(address),
                source,
            }
        };
        let address = socket.local_addr().map_err(refused(unbound))?;
        if wire == Wire::Clear && !address.ip().to_canonical().is_loopback() {
            return Err(ListenError::NotLoopback { address });
        }
        socket.set_nonblocking(true).map_err(refused(address))?;
        Ok(Self {
            socket: Socket::Port(socket),
            address: AdminAddress::Port(address),
        })
    }

    /// Another descriptor of the socket, for the process that comes after this one; nothing for
    /// a path, at which that one puts a socket of its own.
    ///
    /// # Errors
    /// When the process has too many open files.
    pub fn copy_socket(&self) -> io::Result<Option<TcpListener>> {
        match &self.socket {
            Socket::Port(socket) => socket.try_clone().map(Some),
            Socket::Path(_) => Ok(None),
        }
    }

    /// The address, with the port that was taken.
    pub fn address(&self) -> &AdminAddress {
        &self.address
    }

    pub(super) fn into_socket(self) -> Socket {
        self.socket
    }
}

/// Where a socket is before it takes its path.
fn draft(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
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
            let error = AdminListener::bind(&address.parse().unwrap(), Wire::Clear).unwrap_err();

            assert!(
                matches!(error, ListenError::NotLoopback { .. }),
                "{address}"
            );
            assert!(error.to_string().contains("ssh -L 9900:127.0.0.1:9900"));
        }
    }

    #[test]
    fn any_free_loopback_port_is_taken() {
        let listener = AdminListener::bind(&"127.0.0.1:0".parse().unwrap(), Wire::Clear).unwrap();

        assert_ne!(listener.address().port().unwrap().port(), 0);
        let again = AdminListener::bind(listener.address(), Wire::Clear).unwrap_err();
        assert!(matches!(again, ListenError::Bind { .. }));
    }
}
