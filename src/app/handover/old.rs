//! The process that is taken over.

use std::fs::{self, Permissions};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Interest};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::app::doors::Doors;
use crate::control::{ControlError, ControlHandle};

use super::message::{self, LINE_MAX_BYTES, Label, Message, PROTOCOL, SOCKETS_MAX};
use super::{HandoverError, PATIENCE, SOCKET, short_path};

/// Pause after the system refused to hand over a connection.
const PAUSE: Duration = Duration::from_millis(200);

/// Where a successor asks.
#[derive(Debug)]
pub(in crate::app) struct Doorbell(UnixListener);

impl Doorbell {
    /// Listens in the state folder, in the place of whoever did before. Nobody but this user
    /// can ask, from the first moment.
    ///
    /// # Errors
    /// What the system says.
    pub(in crate::app) fn hang(folder: &Path) -> io::Result<Self> {
        let draft = format!("{SOCKET}.new");
        match fs::remove_file(folder.join(&draft)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (path, _open) = short_path(folder, &draft)?;
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(folder.join(&draft), Permissions::from_mode(0o600))?;
        fs::rename(folder.join(&draft), folder.join(SOCKET))?;
        Ok(Self(listener))
    }

    /// Waits until somebody asks.
    pub(in crate::app) async fn rings(&self) -> UnixStream {
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => return stream,
                Err(error) => {
                    tracing::warn!(%error, "a process that wants to take over could not be heard");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Gives everything to whoever has rung; returns its process id when it is in charge. When it
/// is not, this process has the state again, or goes on asking for it.
///
/// # Errors
/// [`HandoverError`] that says why the other one is not in charge.
pub(in crate::app) async fn give(
    stream: UnixStream,
    doors: &Doors,
    control: &ControlHandle,
) -> Result<u32, HandoverError> {
    let peer = stream
        .peer_cred()
        .map_err(HandoverError::io("looking at"))?;
    let (own, root) = (rustix::process::geteuid().as_raw(), 0);
    if peer.uid() != own && peer.uid() != root {
        return Err(HandoverError::Stranger { uid: peer.uid() });
    }
    let mut talk = Talk::new(stream);
    talk.meet().await?;
    talk.pass(doors).await?;
    talk.expect("prepared").await?;
    let given = async {
        let released = timeout(PATIENCE, control.hand_over()).await;
        if let Err(error) = released.unwrap_or(Err(ControlError::Busy)) {
            let why = error.to_string();
            talk.say(&Message::Refused { why }, &[]).await?;
            return Err(HandoverError::State(error));
        }
        talk.say(&Message::Released, &[]).await?;
        talk.expect("serving").await?;
        talk.say(&Message::Yours, &[]).await
    };
    match given.await {
        Ok(()) => Ok(peer
            .pid()
            .and_then(|pid| u32::try_from(pid).ok())
            .unwrap_or(0)),
        Err(error) => {
            // First hang up: the other one has to let go before the state can be had.
            drop(talk);
            control.take_back().await;
            Err(error)
        }
    }
}

/// One conversation.
struct Talk {
    read: BufReader<tokio::io::Take<OwnedReadHalf>>,
    write: OwnedWriteHalf,
}

impl Talk {
    fn new(stream: UnixStream) -> Self {
        let (read, write) = stream.into_split();
        // A whole conversation is a few short lines.
        let read = BufReader::new(read.take(LINE_MAX_BYTES as u64));
        Self { read, write }
    }

    async fn meet(&mut self) -> Result<(), HandoverError> {
        let message = self.hear().await?;
        let said = message.word();
        let Message::Hello { protocol, version } = message else {
            return Err(HandoverError::Unexpected {
                said,
                expected: "hello",
            });
        };
        tracing::info!(version, "another process asks to take over");
        if protocol == PROTOCOL {
            return Ok(());
        }
        let why = format!("it speaks form {PROTOCOL} of the handover, not {protocol}");
        let refusal = Message::Refused { why: why.clone() };
        self.say(&refusal, &[]).await?;
        Err(HandoverError::Refused { why })
    }

    async fn pass(&mut self, doors: &Doors) -> Result<(), HandoverError> {
        let all = doors.all();
        let mut pieces = all.chunks(SOCKETS_MAX).peekable();
        while let Some(piece) = pieces.next() {
            let label = |(role, asked, _): &(_, _, _)| Label {
                role: *role,
                asked: *asked,
            };
            let message = Message::Sockets {
                pid: std::process::id(),
                owner: doors.owner(),
                labels: piece.iter().map(label).collect(),
                more: pieces.peek().is_some(),
            };
            let sockets: Vec<&TcpListener> = piece.iter().map(|(.., socket)| *socket).collect();
            self.say(&message, &sockets).await?;
        }
        Ok(())
    }

    async fn expect(&mut self, word: &'static str) -> Result<(), HandoverError> {
        let said = self.hear().await?;
        if said.word() == word {
            return Ok(());
        }
        Err(HandoverError::Unexpected {
            said: said.word(),
            expected: word,
        })
    }

    async fn hear(&mut self) -> Result<Message, HandoverError> {
        let mut line = Vec::new();
        let heard = timeout(PATIENCE, self.read.read_until(b'\n', &mut line)).await;
        let heard = heard.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let message = match heard {
            Ok(_) if line.last() != Some(&b'\n') => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Message::of_line(&line),
            Err(error) => Err(error),
        };
        message.map_err(HandoverError::io("hearing from"))
    }

    async fn say(
        &mut self,
        message: &Message,
        sockets: &[&TcpListener],
    ) -> Result<(), HandoverError> {
        let said = async {
            let line = message.to_line()?;
            let (mut rest, mut along) = (line.as_slice(), sockets);
            while !rest.is_empty() {
                let stream = self.write.as_ref();
                let written = stream
                    .async_io(Interest::WRITABLE, || message::send(stream, rest, along))
                    .await?;
                rest = rest.get(written..).unwrap_or_default();
                along = &[];
            }
            Ok(())
        };
        let said = timeout(PATIENCE, said).await;
        let said = said.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        said.map_err(HandoverError::io("telling"))
    }
}
