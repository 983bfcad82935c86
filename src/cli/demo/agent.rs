//! A synthetic agent: opens a session, thinks, calls tools, leaves, comes again; and tells
//! what it saw, in particular what a person would call broken.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::client::{CallError, Client};
use super::dice::Dice;
use super::server::TOOLS;
use crate::cli::http::Origin;

/// How long an agent waits after a failure, so that a dead gateway is not hammered.
const BREATH: Duration = Duration::from_millis(500);
/// One agent in this many keeps a stream open beside its calls.
const WITH_STREAM: u64 = 4;

/// What one agent saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// A session was opened by this version.
    Opened {
        /// The version.
        version: String,
    },
    /// A call was answered by this version.
    Answered {
        /// The agent.
        agent: u64,
        /// The version.
        version: String,
        /// Until the whole answer was there.
        latency: Duration,
        /// Whether the result said `isError`.
        is_error: bool,
    },
    /// A session goes on at another version, without its agent having done anything.
    Moved {
        /// The version before.
        from: String,
        /// The version now.
        to: String,
    },
    /// A session was forgotten by the other side.
    Lost {
        /// The version it was at.
        version: String,
    },
    /// Anything else that is not an answer.
    Failed {
        /// The version the session was at, when there was one.
        version: Option<String>,
        /// What happened.
        why: String,
    },
    /// A session was ended by its agent.
    Closed {
        /// The version it was at.
        version: String,
    },
}

/// One agent.
#[derive(Debug)]
pub(super) struct Agent {
    number: u64,
    origin: Origin,
    dice: Dice,
    sights: mpsc::Sender<Sight>,
}

impl Agent {
    /// An agent that calls `origin` and tells `sights`; its number is its seed.
    pub(super) fn new(number: u64, origin: Origin, sights: mpsc::Sender<Sight>) -> Self {
        Self {
            number,
            origin,
            dice: Dice::new(number.wrapping_mul(0x2545_F491_4F6C_DD1D)),
            sights,
        }
    }

    /// Works until nobody listens to what it sees.
    pub(super) async fn live(self) {
        sleep(self.between(0.0, 1.0)).await;
        while !self.sights.is_closed() {
            match Client::open(&self.origin).await {
                Ok(client) => self.session(client).await,
                Err(error) => {
                    self.tell_failure(None, &error).await;
                    sleep(BREATH).await;
                }
            }
        }
    }

    /// One session of 15 to 40 calls.
    async fn session(&self, mut client: Client) {
        let mut version = client.version().unwrap_or_default().to_owned();
        self.tell(Sight::Opened {
            version: version.clone(),
        })
        .await;
        let stream = self
            .number
            .is_multiple_of(WITH_STREAM)
            .then(|| tokio::spawn(client.stream()));
        let calls = 15 + (self.dice.roll() * 25.0) as u32;
        for _ in 0..calls {
            sleep(self.between(0.05, 0.15)).await;
            if let Err(error) = self.one_call(&mut client, &mut version).await {
                self.tell_failure(Some(&version), &error).await;
                sleep(BREATH).await;
                if matches!(error, CallError::SessionLost) {
                    break;
                }
            }
        }
        client.close().await;
        if let Some(stream) = stream {
            stream.abort();
        }
        self.tell(Sight::Closed { version }).await;
    }

    async fn one_call(&self, client: &mut Client, version: &mut String) -> Result<(), CallError> {
        let (tool, arguments) = self.something_to_do();
        let begun = Instant::now();
        let result = client.call_tool(tool, arguments).await?;
        let latency = begun.elapsed();
        let answered_by = result.version.unwrap_or_else(|| version.clone());
        if answered_by != *version {
            self.tell(Sight::Moved {
                from: std::mem::replace(version, answered_by.clone()),
                to: answered_by.clone(),
            })
            .await;
        }
        self.tell(Sight::Answered {
            agent: self.number,
            version: answered_by,
            latency,
            is_error: result.is_error,
        })
        .await;
        Ok(())
    }

    fn something_to_do(&self) -> (&'static str, Value) {
        let which = (self.dice.roll() * TOOLS.len() as f64) as usize;
        let (name, _, argument, ..) = TOOLS.get(which).unwrap_or(&TOOLS[0]);
        (name, json!({ *argument: "canary" }))
    }

    fn between(&self, least_seconds: f64, most_seconds: f64) -> Duration {
        Duration::from_secs_f64(least_seconds + (most_seconds - least_seconds) * self.dice.roll())
    }

    async fn tell_failure(&self, version: Option<&String>, error: &CallError) {
        let sight = match (error, version) {
            (CallError::SessionLost, Some(version)) => Sight::Lost {
                version: version.clone(),
            },
            _ => Sight::Failed {
                version: version.cloned(),
                why: error.to_string(),
            },
        };
        self.tell(sight).await;
    }

    async fn tell(&self, sight: Sight) {
        // Nobody listens any more: the demo is over, and `live` will notice.
        let _ = self.sights.send(sight).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cli::demo::server::{Manners, Servers};

    #[tokio::test]
    async fn an_agent_works_with_a_real_server_and_sees_it_go_bad() {
        let manners = Arc::new(Manners::new("1.0", 0.05));
        let servers = Servers::start(vec![Arc::clone(&manners)]).unwrap();
        let (sights, mut seen) = mpsc::channel(64);
        let agent = Agent::new(4, servers.addresses()[0].into(), sights);
        let working = tokio::spawn(agent.live());

        let opened = seen.recv().await.unwrap();
        manners.go_bad();
        let mut sight = seen.recv().await.unwrap();
        while !matches!(sight, Sight::Answered { is_error: true, .. }) {
            sight = seen.recv().await.unwrap();
            assert!(
                !matches!(sight, Sight::Lost { .. } | Sight::Failed { .. }),
                "{sight:?}"
            );
        }

        let version = "1.0".to_owned();
        assert_eq!(opened, Sight::Opened { version });
        drop(seen);
        working.await.unwrap();
    }

    #[tokio::test]
    async fn a_session_that_the_server_does_not_know_is_a_lost_one() {
        let servers = Servers::start(vec![Arc::new(Manners::new("1.0", 0.05))]).unwrap();
        let mut client = Client::open(&servers.addresses()[0].into()).await.unwrap();
        client.forge_session();

        let error = client.call_tool("search", json!({ "query": "x" })).await;

        assert!(matches!(error, Err(CallError::SessionLost)), "{error:?}");
    }

    #[tokio::test]
    async fn nobody_there_is_a_failure_and_no_lost_session() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = free.local_addr().unwrap().into();
        drop(free);
        let (sights, mut seen) = mpsc::channel(1);
        let working = tokio::spawn(Agent::new(1, origin, sights).live());

        let sight = seen.recv().await.unwrap();

        assert!(
            matches!(sight, Sight::Failed { version: None, .. }),
            "{sight:?}"
        );
        working.abort();
    }
}
