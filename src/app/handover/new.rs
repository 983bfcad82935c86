//! The process that takes over.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::app::doors::{Owner, Passed};

use super::message::{self, Message, PROTOCOL};
use super::{HandoverError, PATIENCE, SOCKET, short_path};

/// The process that is in charge. While this value lives it waits for our next word; dropped
/// before the last one, it goes on as before.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    unread: Vec<u8>,
    sockets: VecDeque<OwnedFd>,
    pid: u32,
}

impl Predecessor {
    /// Asks who has the state folder; `None` when nobody answers there.
    ///
    /// # Errors
    /// [`HandoverError`] when somebody is there and cannot be asked.
    pub(in crate::app) fn find(folder: &Path) -> Result<Option<Self>, HandoverError> {
        let asking = HandoverError::io("asking");
        let connected =
            short_path(folder, SOCKET).and_then(|(path, _open)| UnixStream::connect(path));
        let stream = match connected {
            Ok(stream) => stream,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(asking(error)),
        };
        stream
            .set_read_timeout(Some(PATIENCE))
            .and_then(|()| stream.set_write_timeout(Some(PATIENCE)))
            .map_err(asking)?;
        Ok(Some(Self {
            stream,
            unread: Vec::new(),
            sockets: VecDeque::new(),
            pid: 0,
        }))
    }

    /// The process; 0 before it has given its sockets.
    pub(in crate::app) fn pid(&self) -> u32 {
        self.pid
    }

    /// Gets copies of all listening sockets, and learns whose they are.
    ///
    /// # Errors
    /// [`HandoverError`] when it says no, or nothing.
    pub(in crate::app) fn sockets(&mut self) -> Result<(Vec<Passed>, Owner), HandoverError> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.say(&Message::Hello {
            protocol: PROTOCOL,
            version,
        })?;
        let mut passed = Vec::new();
        loop {
            let message = self.hear()?;
            let said = message.word();
            let Message::Sockets {
                pid,
                owner,
                labels,
                more,
            } = message
            else {
                return Err(unexpected(said, "sockets"));
            };
            self.pid = pid;
            for label in labels {
                let socket = self.sockets.pop_front();
                let missing = || {
                    HandoverError::io("getting a socket from")(io::ErrorKind::InvalidData.into())
                };
                passed.push(Passed {
                    role: Some(label.role),
                    asked: label.asked,
                    socket: TcpListener::from(socket.ok_or_else(missing)?),
                });
            }
            if !more {
                return Ok((passed, owner));
            }
        }
    }

    /// Gets the state: afterwards it can be opened here.
    ///
    /// # Errors
    /// [`HandoverError`] when it is not let go of.
    pub(in crate::app) fn release_state(&mut self) -> Result<(), HandoverError> {
        self.ask(&Message::Prepared, "released")
    }

    /// Says that this process takes traffic; afterwards it is in charge.
    ///
    /// # Errors
    /// [`HandoverError`] when the other one stays in charge.
    pub(in crate::app) fn take_charge(&mut self) -> Result<(), HandoverError> {
        self.ask(&Message::Serving, "yours")
    }

    /// A process that is dead neither answers nor stays in charge: then there is nothing to wait
    /// for.
    fn ask(&mut self, message: &Message, expected: &'static str) -> Result<(), HandoverError> {
        let answer = self.say(message).and_then(|()| self.hear());
        match answer {
            Ok(answer) if answer.word() == expected => Ok(()),
            Ok(other) => Err(unexpected(other.word(), expected)),
            Err(_) if is_dead(self.pid) => {
                tracing::warn!(pid = self.pid, "the process that was in charge has died");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn say(&mut self, message: &Message) -> Result<(), HandoverError> {
        let said = message
            .to_line()
            .and_then(|line| self.stream.write_all(&line));
        said.map_err(HandoverError::io("telling"))
    }

    fn hear(&mut self) -> Result<Message, HandoverError> {
        let hearing = HandoverError::io("hearing from");
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                let message = Message::of_line(&line).map_err(hearing)?;
                if let Message::Refused { why } = message {
                    return Err(HandoverError::Refused { why });
                }
                return Ok(message);
            }
            let mut sockets = Vec::new();
            let read = message::receive(&self.stream, &mut self.unread, &mut sockets);
            self.sockets.extend(sockets);
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(hearing(error)),
                Ok(()) => {}
            }
        }
    }
}

fn unexpected(said: &'static str, expected: &'static str) -> HandoverError {
    HandoverError::Unexpected { said, expected }
}

/// Whether a process has ended, though its parent may not have looked yet.
fn is_dead(pid: u32) -> bool {
    if !cfg!(target_os = "linux") {
        let pid = i32::try_from(pid)
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        return pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_err());
    }
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        // The state follows the name, which is in brackets and may have any characters.
        Ok(stat) => stat
            .rsplit_once(')')
            .is_some_and(|(_, rest)| matches!(rest.trim_start().chars().next(), Some('Z' | 'X'))),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
