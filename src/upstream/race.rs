//! Connecting to a server with several addresses: one after the other, not waiting for the slow
//! (RFC 8305, "Happy Eyeballs").

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::shortage;

/// Time that an address has for itself before the next one is tried beside it (RFC 8305, 5).
const STEP: Duration = Duration::from_millis(250);
/// Most addresses of a name that one connection tries.
pub(super) const MOST_ADDRESSES: usize = 8;

/// The addresses in the order in which they are tried: the families take turns, the first one's
/// first (RFC 8305, 4), each beginning somewhere else at every `turn`, so that all are used.
pub(super) fn order(addresses: &[SocketAddr], turn: usize) -> Vec<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let family = |v6: bool| {
        let is_of = |address: &&SocketAddr| address.is_ipv6() == v6;
        let mut known: Vec<_> = addresses.iter().copied().filter(|a| is_of(&a)).collect();
        let count = known.len().max(1);
        known.rotate_left(turn % count);
        known.into_iter()
    };
    let (mut one, mut other) = (family(first_is_v6), family(!first_is_v6));
    let mut ordered = Vec::new();
    while ordered.len() < MOST_ADDRESSES {
        let before = ordered.len();
        ordered.extend(one.next());
        ordered.extend(other.next());
        if ordered.len() == before {
            break;
        }
    }
    ordered.truncate(MOST_ADDRESSES);
    ordered
}

/// Connects to the first address that lets it. When one fails the next is tried at once, when it
/// is slow the next is tried beside it. The caller bounds the time.
///
/// # Errors
/// The last failure, when every address has failed.
pub(super) async fn connect<S, F: Future<Output = io::Result<S>>>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<S> {
    let mut left = addresses.into_iter();
    let mut racing: Vec<Pin<Box<F>>> = Vec::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut next = pin!(sleep_until(Instant::now()));
    poll_fn(|cx| {
        loop {
            let mut failed = false;
            let mut at = 0;
            while let Some(attempt) = racing.get_mut(at) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(socket)) => return Poll::Ready(Ok(socket)),
                    Poll::Ready(Err(error)) => {
                        // What could not even be tried says nothing about the others' faults.
                        if !shortage::is_own(&last) {
                            last = error;
                        }
                        failed = true;
                        drop(racing.swap_remove(at));
                    }
                    Poll::Pending => at += 1,
                }
            }
            let is_time = racing.is_empty() || failed || next.as_mut().poll(cx).is_ready();
            let started = if is_time { left.next() } else { None };
            match started {
                Some(address) => {
                    racing.push(Box::pin(connect(address)));
                    next.as_mut().reset(Instant::now() + STEP);
                }
                None if racing.is_empty() => {
                    let none = io::Error::from(io::ErrorKind::NotFound);
                    return Poll::Ready(Err(std::mem::replace(&mut last, none)));
                }
                None => return Poll::Pending,
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::pending;

    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    /// What is connected to, when, and which one wins; an address's port says what it does.
    async fn race(texts: &[&str]) -> (Vec<(u16, u128)>, Result<u16, String>) {
        let began = Instant::now();
        let tried = RefCell::new(Vec::new());
        let won = connect(addresses(texts), |address| {
            tried
                .borrow_mut()
                .push((address.port(), began.elapsed().as_millis()));
            async move {
                match address.port() {
                    hangs @ 100..200 => {
                        pending::<()>().await;
                        Ok(hangs)
                    }
                    fails @ 200..300 => Err(io::Error::other(fails.to_string())),
                    slow @ 300..400 => {
                        tokio::time::sleep(Duration::from_millis(600)).await;
                        Ok(slow)
                    }
                    works => Ok(works),
                }
            }
        })
        .await;
        (tried.into_inner(), won.map_err(|error| error.to_string()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_followed_at_once_and_a_slow_one_after_a_step() {
        let (tried, won) = race(&["1.1.1.1:200", "1.1.1.2:100", "1.1.1.3:1", "1.1.1.4:2"]).await;

        assert_eq!(tried, [(200, 0), (100, 0), (1, 250)]);
        assert_eq!(won, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_address_may_still_win() {
        let (tried, won) = race(&["1.1.1.1:300", "1.1.1.2:100", "1.1.1.3:100"]).await;

        assert_eq!(tried, [(300, 0), (100, 250), (100, 500)]);
        assert_eq!(won, Ok(300));
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_fail_the_last_failure_is_told() {
        let (tried, won) = race(&["1.1.1.1:200", "1.1.1.2:201"]).await;

        assert_eq!(tried.len(), 2);
        assert_eq!(won, Err("201".to_owned()));
        assert_eq!(race(&[]).await.1, Err("the name has no address".to_owned()));
    }

    #[test]
    fn families_take_turns_and_every_address_has_its_turn_to_be_first() {
        let known = addresses(&["[::1]:1", "[::2]:1", "1.1.1.1:1", "1.1.1.2:1", "1.1.1.3:1"]);

        let first = order(&known, 0);
        assert_eq!(
            first,
            addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "1.1.1.3:1"])
        );
        let second = order(&known, 1);
        assert_eq!(second[..2], addresses(&["[::2]:1", "1.1.1.2:1"]));
        assert_eq!(order(&known, 7).len(), 5);
        assert_eq!(order(&[], 3), []);
        assert_eq!(order(&[known[0]; 20], 3).len(), MOST_ADDRESSES);
    }
}
