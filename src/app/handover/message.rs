//! What the two processes say to each other: a line of JSON each, with sockets along.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::app::doors::{Owner, Role};

/// The form of the conversation; processes of different forms do not take over from each other.
pub(super) const PROTOCOL: u32 = 1;
/// Most sockets in one message; the system allows 253.
pub(super) const SOCKETS_MAX: usize = 200;
/// Longest line, in bytes.
pub(super) const LINE_MAX_BYTES: usize = 64 * 1024;

/// One word of the conversation.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "snake_case")]
pub(super) enum Message {
    /// I would like to take over.
    Hello { protocol: u32, version: String },
    /// Here are sockets, in the order of the labels; `more` follow in another message.
    Sockets {
        pid: u32,
        owner: Owner,
        labels: Vec<Label>,
        more: bool,
    },
    /// I have what I need except the state.
    Prepared,
    /// The state is free.
    Released,
    /// I take traffic.
    Serving,
    /// All is yours.
    Yours,
    /// No.
    Refused { why: String },
}

/// What a socket is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Label {
    pub(super) role: Role,
    pub(super) asked: SocketAddr,
}

impl Message {
    /// The word, for errors.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "hello",
            Self::Sockets { .. } => "sockets",
            Self::Prepared => "prepared",
            Self::Released => "released",
            Self::Serving => "serving",
            Self::Yours => "yours",
            Self::Refused { .. } => "refused",
        }
    }

    /// The line to write.
    pub(super) fn to_line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }

    /// Reads a line.
    pub(super) fn of_line(line: &[u8]) -> io::Result<Self> {
        Ok(serde_json::from_slice(line)?)
    }
}

/// Writes as much of a line as goes, with sockets at its beginning.
pub(super) fn send(to: impl AsFd, line: &[u8], sockets: &[&TcpListener]) -> io::Result<usize> {
    let descriptors: Vec<BorrowedFd<'_>> = sockets.iter().map(|socket| socket.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut along = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !along.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("too many sockets for one message"));
    }
    Ok(sendmsg(
        to,
        &[IoSlice::new(line)],
        &mut along,
        SendFlags::NOSIGNAL,
    )?)
}

/// Reads some bytes, and the sockets that come with them.
pub(super) fn receive(
    from: impl AsFd,
    bytes: &mut Vec<u8>,
    sockets: &mut Vec<OwnedFd>,
) -> io::Result<()> {
    let mut piece = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut along = RecvAncillaryBuffer::new(&mut space);
    let mut into = [IoSliceMut::new(&mut piece)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let read = recvmsg(from, &mut into, &mut along, flags)?.bytes;
    for message in along.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            sockets.extend(given);
        }
    }
    if read == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if bytes.len() + read > LINE_MAX_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    bytes.extend(piece.get(..read).unwrap_or_default());
    Ok(())
}
