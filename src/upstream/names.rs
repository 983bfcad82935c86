//! Names of endpoints, looked up again and again in the background.
//!
//! A worker that connects takes the addresses that the name had last; only when there are none
//! yet it waits for the resolver. A resolver that fails changes nothing.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::condition::Condition;
use super::spec::{Address, DnsSpec, EndpointUrl};

/// Most addresses that are kept of a name.
const MAX_ADDRESSES: usize = 256;

/// The addresses that a name has now, as the system's resolver says.
///
/// # Errors
/// What the resolver said, or that it took too long.
pub(super) async fn resolve(
    host: &str,
    port: u16,
    within: Duration,
) -> io::Result<Vec<SocketAddr>> {
    let lookup = tokio::net::lookup_host((host, port));
    let found = timeout(within, lookup)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the resolver takes too long"))??;
    tidy(found)
}

/// The name to be looked up, if the endpoint has one.
pub(super) fn name_of(url: &EndpointUrl) -> Option<(String, u16)> {
    match &url.address {
        Address::Net { host, port } if host.parse::<IpAddr>().is_err() => {
            Some((host.clone(), *port))
        }
        Address::Net { .. } | Address::Unix(_) => None,
    }
}

/// Looks a name up at every `refresh`, for ever. `resolve` is the resolver.
pub(super) async fn follow<F>(condition: Arc<Condition>, spec: DnsSpec, resolve: impl Fn() -> F)
where
    F: Future<Output = io::Result<Vec<SocketAddr>>>,
{
    loop {
        match resolve().await {
            Ok(found) => {
                condition.learn(found);
            }
            Err(error) => {
                tracing::debug!(%error, "a name could not be looked up");
                condition.lost();
            }
        }
        tokio::time::sleep(spec.refresh).await;
    }
}

/// The addresses, each once; having none is an error.
fn tidy(found: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for address in found.take(MAX_ADDRESSES) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        ));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;

    use super::*;

    #[test]
    fn addresses_are_kept_once_each_in_their_order() {
        let texts = ["1.1.1.2:1", "1.1.1.1:1", "1.1.1.2:1"];
        let found = tidy(texts.iter().map(|text| text.parse().unwrap())).unwrap();

        let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["1.1.1.2:1", "1.1.1.1:1"]);
        assert!(tidy(std::iter::empty()).is_err());
    }

    #[test]
    fn only_names_are_looked_up() {
        let name = |url: &str| name_of(&url.parse().unwrap());

        assert_eq!(name("http://search:1"), Some(("search".to_owned(), 1)));
        for url in ["http://127.0.0.1:1", "http://[::1]:1", "unix:/x"] {
            assert_eq!(name(url), None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_good_answer_is_kept_until_there_is_another() {
        let first: SocketAddr = "1.1.1.1:1".parse().unwrap();
        let then: SocketAddr = "1.1.1.2:1".parse().unwrap();
        let failed = || Err(io::Error::other("no resolver"));
        let answers = VecDeque::from([Ok(vec![first]), failed(), failed(), Ok(vec![then])]);
        let answers = RefCell::new(answers);
        let condition = Arc::new(Condition::default());
        let resolve = || {
            let answer = answers.borrow_mut().pop_front();
            async { answer.unwrap_or(Ok(Vec::new())) }
        };
        let known = || condition.addresses().map(|known| known.first().copied());

        let mut seen = Vec::new();
        let following = follow(Arc::clone(&condition), DnsSpec::default(), resolve);
        let watching = async {
            for _ in 0..4 {
                tokio::time::sleep(Duration::from_secs(15)).await;
                seen.push(known().flatten());
                tokio::time::sleep(Duration::from_secs(15)).await;
            }
        };
        tokio::select! {
            () = following => {}
            () = watching => {}
        }

        assert_eq!(seen, [Some(first), Some(first), Some(first), Some(then)]);
        assert_eq!(condition.lookup_failures(), 2);
    }
}
