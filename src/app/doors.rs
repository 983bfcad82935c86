//! The listening sockets: bound here, or taken over from whoever had them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use listenfd::ListenFd;
use serde::{Deserialize, Serialize};

use crate::listener::{self, BindError};

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Role {
    /// A listener of the config file.
    Traffic,
    /// The admin API.
    Admin,
}

/// A listening socket that somebody else has bound.
#[derive(Debug)]
pub(super) struct Passed {
    /// What it is for; `None` when only its address tells.
    pub(super) role: Option<Role>,
    /// The address that was asked for, whose port may be 0.
    pub(super) asked: SocketAddr,
    pub(super) socket: TcpListener,
}

/// Sockets that others have bound and that are not in use yet.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    passed: Vec<Passed>,
    owner: Owner,
}

/// Whose sockets are, in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Owner {
    /// The gateway's, and its successors': when the last of them ends, they close.
    #[default]
    Gateway,
    /// The service manager's, which keeps them open: connections wait in them for the next process.
    ServiceManager,
}

impl Inherited {
    /// These.
    pub(super) fn new(passed: Vec<Passed>, owner: Owner) -> Self {
        Self { passed, owner }
    }

    /// Those that the service manager has bound for this process, if it has.
    ///
    /// # Errors
    /// When one of them is no TCP socket that listens.
    pub(super) fn from_service_manager() -> io::Result<Self> {
        let mut given = ListenFd::from_env();
        let mut passed = Vec::new();
        for place in 0..given.len() {
            if let Some(socket) = given.take_tcp_listener(place)? {
                passed.push(Passed {
                    role: None,
                    asked: socket.local_addr()?,
                    socket,
                });
            }
        }
        let owner = if passed.is_empty() {
            Owner::Gateway
        } else {
            Owner::ServiceManager
        };
        Ok(Self::new(passed, owner))
    }

    /// The sockets for an address, ready to be used here.
    pub(super) fn take(&mut self, role: Role, address: SocketAddr) -> io::Result<Vec<TcpListener>> {
        let fits = |one: &mut Passed| {
            let bound = one.socket.local_addr().ok() == Some(address);
            one.role.is_none_or(|its| its == role) && (one.asked == address || bound)
        };
        let taken = self.passed.extract_if(.., fits);
        let ready = taken.map(|one| listener::adopt(one.socket));
        ready.collect()
    }

    /// The addresses of those that nobody asked for.
    pub(super) fn left(&self) -> Vec<SocketAddr> {
        self.passed.iter().map(|one| one.asked).collect()
    }
}

/// One address that takes traffic in.
#[derive(Debug)]
struct Door {
    asked: SocketAddr,
    bound: SocketAddr,
    sockets: Vec<TcpListener>,
}

/// Every listening socket of the process. The workers have copies of the descriptors: as long as
/// this lives, a connection that waits for a worker that died is not reset.
#[derive(Debug)]
pub(super) struct Doors {
    traffic: Vec<Door>,
    admin: Option<(SocketAddr, TcpListener)>,
    workers: usize,
    owner: Owner,
}

impl Doors {
    /// Opens every address, with what others have bound where that fits.
    ///
    /// # Errors
    /// [`BindError`] for the first address that cannot be used.
    pub(super) fn open(
        addresses: impl Iterator<Item = SocketAddr>,
        workers: usize,
        inherited: &mut Inherited,
    ) -> Result<Self, BindError> {
        let mut traffic = Vec::new();
        for asked in addresses {
            traffic.push(open(asked, workers, inherited)?);
        }
        Ok(Self {
            traffic,
            admin: None,
            workers,
            owner: inherited.owner,
        })
    }

    /// Whose the sockets are.
    pub(super) fn owner(&self) -> Owner {
        self.owner
    }

    /// Keeps a copy of the admin API's socket too, for whoever comes after.
    pub(super) fn keep_admin(&mut self, asked: SocketAddr, socket: TcpListener) {
        self.admin = Some((asked, socket));
    }

    /// The addresses that take traffic in, with the ports that were taken.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.traffic.iter().map(|door| door.bound).collect()
    }

    /// The sockets of a worker, each with the place of its listener in the file. All of them are
    /// some worker's; where there are fewer than workers, some are several workers'.
    ///
    /// # Errors
    /// When the process has too many open files.
    pub(super) fn of_worker(&self, number: usize) -> io::Result<Vec<(usize, TcpListener)>> {
        let mut mine = Vec::new();
        for (place, door) in self.traffic.iter().enumerate() {
            let count = door.sockets.len();
            for (index, socket) in door.sockets.iter().enumerate() {
                if index % self.workers == number || index == number % count.max(1) {
                    mine.push((place, socket.try_clone()?));
                }
            }
        }
        Ok(mine)
    }

    /// Every socket, what it is for and which address was asked for, for a successor.
    pub(super) fn all(&self) -> Vec<(Role, SocketAddr, &TcpListener)> {
        let of_door = |door: &'_ Door| (Role::Traffic, door.asked);
        let traffic = self.traffic.iter().flat_map(|door| {
            let (role, asked) = of_door(door);
            door.sockets.iter().map(move |socket| (role, asked, socket))
        });
        let admin = self.admin.iter();
        let admin = admin.map(|(asked, socket)| (Role::Admin, *asked, socket));
        traffic.chain(admin).collect()
    }

    /// Lets go of the copies, so that the sockets close when the workers close theirs.
    pub(super) fn close(&mut self) {
        self.traffic.clear();
        self.admin = None;
    }
}

fn open(asked: SocketAddr, workers: usize, inherited: &mut Inherited) -> Result<Door, BindError> {
    let failed = |source| BindError {
        address: asked,
        source,
    };
    let mut sockets = inherited.take(Role::Traffic, asked).map_err(failed)?;
    match sockets.first() {
        None => sockets = listener::bind(asked, workers)?,
        Some(first) if sockets.len() < workers && listener::is_shared(first) => {
            let bound = first.local_addr().map_err(failed)?;
            let more = workers - sockets.len();
            sockets.extend(listener::join(bound, more)?);
        }
        Some(_) => {}
    }
    let bound = sockets.first().and_then(|socket| socket.local_addr().ok());
    Ok(Door {
        asked,
        bound: bound.unwrap_or(asked),
        sockets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(role: Option<Role>, asked: &str) -> Passed {
        Passed {
            role,
            asked: asked.parse().unwrap(),
            socket: TcpListener::bind("127.0.0.1:0").unwrap(),
        }
    }

    fn places(doors: &Doors, worker: usize) -> Vec<usize> {
        let mine = doors.of_worker(worker).unwrap();
        mine.into_iter().map(|(place, _)| place).collect()
    }

    #[test]
    fn sockets_go_to_the_address_that_they_were_asked_for_or_bound_to() {
        let any = "127.0.0.1:0";
        let unnamed = passed(None, "127.0.0.9:1");
        let bound = unnamed.socket.local_addr().unwrap();
        let mut inherited = Inherited::new(
            vec![
                passed(Some(Role::Admin), any),
                passed(Some(Role::Traffic), any),
                unnamed,
            ],
            Owner::Gateway,
        );

        assert_eq!(
            inherited
                .take(Role::Traffic, any.parse().unwrap())
                .unwrap()
                .len(),
            1
        );
        assert_eq!(inherited.take(Role::Traffic, bound).unwrap().len(), 1);
        assert_eq!(inherited.left(), [any.parse().unwrap()]);
        assert_eq!(
            inherited
                .take(Role::Admin, any.parse().unwrap())
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn every_socket_is_some_workers_and_no_worker_is_without() {
        for (sockets, workers) in [(1, 3), (3, 1), (2, 2), (3, 2), (2, 3)] {
            let asked = "127.0.0.1:0";
            let given = (0..sockets).map(|_| passed(None, asked)).collect();

            let doors = Doors::open(
                [asked.parse().unwrap()].into_iter(),
                workers,
                &mut Inherited::new(given, Owner::Gateway),
            )
            .unwrap();

            let shares: Vec<usize> = (0..workers).map(|n| places(&doors, n).len()).collect();
            assert!(shares.iter().all(|share| *share > 0), "{shares:?}");
            assert_eq!(shares.iter().sum::<usize>(), sockets.max(workers));
            assert_eq!(doors.all().len(), sockets);
        }
    }

    #[test]
    fn a_worker_more_than_before_gets_a_socket_of_its_own() {
        let asked = "127.0.0.1:0".parse().unwrap();
        let first = Doors::open([asked].into_iter(), 1, &mut Inherited::default()).unwrap();
        let copy = |(role, asked, socket): (Role, SocketAddr, &TcpListener)| Passed {
            role: Some(role),
            asked,
            socket: socket.try_clone().unwrap(),
        };
        let mut inherited =
            Inherited::new(first.all().into_iter().map(copy).collect(), Owner::Gateway);

        let second = Doors::open([asked].into_iter(), 2, &mut inherited).unwrap();

        assert_eq!(second.addresses(), first.addresses());
        assert_eq!(second.all().len(), 2);
    }
}
