//! How much is read at a time, and who holds it.

use std::future::poll_fn;
use std::sync::atomic::AtomicBool;
use std::task::{Wake, Waker};

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::*;

const WHOLE_BYTES: usize = 8 * 1024 * 1024;

/// Reads what somebody writes as quickly as it can; what is made of each piece.
async fn pieces<T>(large: &LargePieces, mut take: impl FnMut(Bytes) -> T) -> Vec<T> {
    let (mut here, ours) = UnixStream::pair().unwrap();
    let (mut socket, mut bulk) = (Socket::Unix(ours), Bulk::new());
    let writer = tokio::spawn(async move { here.write_all(&vec![7; WHOLE_BYTES]).await });
    let (mut taken, mut read_bytes) = (Vec::new(), 0);
    loop {
        let read = poll_fn(|cx| bulk.poll_read(&mut socket, (usize::MAX, large), cx)).await;
        let piece = read.unwrap();
        assert!(piece.iter().all(|byte| *byte == 7));
        if piece.is_empty() {
            break;
        }
        read_bytes += piece.len();
        taken.push(take(piece));
    }
    writer.await.unwrap().unwrap();
    assert_eq!(read_bytes, WHOLE_BYTES);
    taken
}

/// A connection on which so many bytes have come.
async fn with_bytes(bytes: usize) -> (UnixStream, Socket) {
    let (mut here, ours) = UnixStream::pair().unwrap();
    here.write_all(&vec![7; bytes]).await.unwrap();
    ours.readable().await.unwrap();
    (here, Socket::Unix(ours))
}

#[tokio::test]
async fn more_is_read_at_a_time_while_as_much_comes() {
    let lengths = pieces(&LargePieces::default(), |piece| piece.len()).await;

    let longest = lengths.into_iter().max().unwrap();
    assert!(
        (LEAST_BYTES + 1..=MOST_BYTES).contains(&longest),
        "{longest}"
    );
}

#[tokio::test]
async fn large_pieces_that_nobody_takes_are_few() {
    let large = LargePieces::default();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.extend(pieces(&large, |piece| piece).await);
    }
    let is_large = |piece: &&Bytes| piece.len() > LEAST_BYTES;
    let of_large: usize = held.iter().filter(is_large).map(Bytes::len).sum();
    let room = large.0.load(Relaxed);

    assert!(
        of_large > 0 && of_large <= room && room <= LARGE_BYTES,
        "{of_large} {room}"
    );
    // A part of a piece holds it as the whole does.
    let parts: Vec<_> = held.iter().map(|piece| piece.slice(..1)).collect();
    drop(held);
    assert_eq!(large.0.load(Relaxed), room);
    drop(parts);
    assert_eq!(large.0.load(Relaxed), 0);
}

#[tokio::test]
async fn a_little_does_not_hold_the_room_that_was_made_for_much() {
    let (_here, mut socket) = with_bytes(30_000).await;
    let (mut bulk, large) = (Bulk::new(), LargePieces::default());
    bulk.bytes = MOST_BYTES;

    let read = poll_fn(|cx| bulk.poll_read(&mut socket, (usize::MAX, &large), cx)).await;

    assert_eq!((read.unwrap().len(), large.0.load(Relaxed)), (30_000, 0));
    assert_eq!(bulk.bytes, MOST_BYTES / 2);
}

#[tokio::test]
async fn no_more_is_read_than_is_asked_for_and_who_waits_holds_nothing() {
    let (_here, mut socket) = with_bytes(30_000).await;
    let (mut bulk, large) = (Bulk::new(), LargePieces::default());

    for most in [1, 16_384, 8_192, 5_423] {
        let read = poll_fn(|cx| bulk.poll_read(&mut socket, (most, &large), cx)).await;
        assert_eq!(read.unwrap().len(), most);
    }
    bulk.bytes = MOST_BYTES;
    for most in [1, usize::MAX] {
        let polled = poll_fn(|cx| Poll::Ready(bulk.poll_read(&mut socket, (most, &large), cx)));
        assert!(polled.await.is_pending());
        assert_eq!((bulk.room.capacity(), large.0.load(Relaxed)), (0, 0));
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Relaxed);
    }
}

#[tokio::test]
async fn others_get_a_turn_while_more_is_there() {
    let (_here, mut socket) = with_bytes(100_000).await;
    let (mut bulk, large) = (Bulk::new(), LargePieces::default());
    bulk.turn_bytes = TURN_BYTES - 1;
    let woken = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let mut poll = || bulk.poll_read(&mut socket, (50_000, &large), &mut cx);

    let lengths = [poll(), poll(), poll()].map(|polled| match polled {
        Poll::Ready(piece) => Some(piece.unwrap().len()),
        Poll::Pending => None,
    });

    assert_eq!(lengths, [Some(50_000), None, Some(50_000)]);
    yield_now().await;
    assert!(woken.0.load(Relaxed), "it goes on by itself");
}
