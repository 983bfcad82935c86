//! A backend that keeps every byte it was sent, reads them strictly, and answers any bytes.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use super::gate::Board;
use super::ports::{ReservedPort, reserve};
use super::strict::{self, Message, Reading};

/// The answer unless a test wants another.
pub const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

/// A backend that shows what it was sent.
pub struct Mirror {
    pub port: ReservedPort,
    seen: Arc<Board<Seen>>,
}

#[derive(Default)]
struct Seen {
    messages: Vec<Message>,
    /// Connections that broke off inside a message, or whose bytes are none.
    broken: Vec<Vec<u8>>,
    /// Open connections in whose last message something is missing.
    inside: usize,
    open: usize,
    answers: VecDeque<Reply>,
}

/// What is done after a whole request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// These bytes, and the connection goes on.
    Stay(Vec<u8>),
    /// These bytes, and the connection is closed.
    Close(Vec<u8>),
}

impl Mirror {
    pub fn start() -> Self {
        let port = reserve();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.address.port())).unwrap();
        let seen = Arc::new(Board::new(Seen::default()));
        let board = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let board = Arc::clone(&board);
                board.change(|seen| seen.open += 1);
                thread::spawn(move || {
                    serve(stream, &board);
                    board.change(|seen| seen.open -= 1);
                });
            }
        });
        Self { port, seen }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.port.address)
    }

    /// The next request gets this answer; those behind it the plain one again.
    pub fn answer_next(&self, reply: Reply) {
        self.seen.change(|seen| seen.answers.push_back(reply));
    }

    /// Every whole request since the last time, once no connection is in the middle of one; and
    /// what came of those that broke off.
    pub fn take(&self) -> (Vec<Message>, Vec<Vec<u8>>) {
        self.seen.wait_until("messages to be whole or cut", |seen| {
            (seen.inside == 0).then_some(())
        });
        self.seen.change(|seen| {
            seen.answers.clear();
            (
                std::mem::take(&mut seen.messages),
                std::mem::take(&mut seen.broken),
            )
        })
    }

    /// Waits until at most this many connections are open.
    pub fn wait_for_open(&self, at_most: usize) {
        self.seen.wait_until("connections to close", |seen| {
            (seen.open <= at_most).then_some(())
        });
    }
}

fn serve(mut stream: TcpStream, board: &Board<Seen>) {
    stream.set_nodelay(true).unwrap();
    let (mut bytes, mut piece, mut inside) = (Vec::new(), [0; 65536], false);
    loop {
        let read = stream.read(&mut piece).unwrap_or(0);
        bytes.extend(&piece[..read]);
        let goes_on = read > 0 && take_whole(&mut bytes, &mut stream, board);
        let now_inside = goes_on && !bytes.is_empty();
        board.change(|seen| {
            seen.inside = seen.inside + usize::from(now_inside) - usize::from(inside);
            if !goes_on && !bytes.is_empty() {
                seen.broken.push(std::mem::take(&mut bytes));
            }
        });
        inside = now_inside;
        if !goes_on {
            let _unused = stream.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// Answers what is whole; whether the connection goes on.
fn take_whole(bytes: &mut Vec<u8>, stream: &mut TcpStream, board: &Board<Seen>) -> bool {
    while !bytes.is_empty() {
        match strict::read(bytes) {
            Reading::Partial => return true,
            Reading::Bad(_) => return false,
            Reading::Whole(message, length) => {
                bytes.drain(..length);
                let reply = board.change(|seen| {
                    seen.messages.push(*message);
                    seen.answers.pop_front()
                });
                let (answer, stays) = match reply {
                    None => (PLAIN.to_vec(), true),
                    Some(Reply::Stay(answer)) => (answer, true),
                    Some(Reply::Close(answer)) => (answer, false),
                };
                if stream.write_all(&answer).is_err() || !stays {
                    return false;
                }
            }
        }
    }
    true
}
