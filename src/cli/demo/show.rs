//! The demo as it runs: agents and gateway speak, the script gives cues, the board is shown.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::agent::{Agent, Sight};
use super::board::Board;
use super::follow::{self, News};
use super::headless;
use super::screen::Screen;
use super::script::{Cue, Fate, Script};
use super::server::Manners;
use super::view::{self, Scene};
use crate::cli::api::Api;
use crate::cli::failure::{Exit, Failure};
use crate::cli::http::Origin;
use crate::cli::output::Output;

/// Most sights that wait for the board; agents wait for room.
const SIGHTS: usize = 4096;
/// Most news that wait for the board.
const NEWS: usize = 64;
/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(125);
/// How often a line is printed.
const LINE: Duration = Duration::from_secs(1);

/// Everything that plays a part.
pub(super) struct Show {
    pub(super) script: Script,
    pub(super) fate: Fate,
    pub(super) scene: Scene,
    /// Where agents call.
    pub(super) gateway: Origin,
    pub(super) api: Api,
    /// The new version's.
    pub(super) manners: Arc<Manners>,
    /// Where it is shown; `None` prints lines.
    pub(super) screen: Option<Screen>,
    pub(super) output: Output,
}

impl Show {
    /// Runs to the end of the script, or until somebody has had enough.
    ///
    /// # Errors
    /// When the rollout cannot be started, or the terminal is gone.
    pub(super) async fn run(mut self) -> Result<Exit, Failure> {
        let mut board = Board::new(Instant::now());
        let (sights, mut seen) = mpsc::channel(SIGHTS);
        let (tell, mut news) = mpsc::channel(NEWS);
        let mut players = self.players(&sights, &tell);
        let mut frames = interval(if self.screen.is_some() { FRAME } else { LINE });
        frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut enough = Enough::new()?;
        let interrupted = loop {
            tokio::select! {
                Some(sight) = seen.recv() => board.see(sight, Instant::now()),
                Some(news) = news.recv() => match news {
                    News::Event(event) => self.hear(&mut board, &event),
                    News::Route(route) => board.learn(*route, Instant::now()),
                },
                _ = frames.tick() => {
                    self.show(&mut board)?;
                    if self.perform(&mut board).await? == Some(Cue::End) {
                        break false;
                    }
                }
                () = enough.wait(self.screen.as_mut()) => break true,
            }
        };
        players.shutdown().await;
        self.finish(&board, interrupted)
    }

    fn players(&self, sights: &mpsc::Sender<Sight>, tell: &mpsc::Sender<News>) -> JoinSet<()> {
        let mut players = JoinSet::new();
        for number in 1..=u64::from(self.scene.agents) {
            players.spawn(Agent::new(number, self.gateway.clone(), sights.clone()).live());
        }
        players.spawn(follow::poll(self.api.clone(), tell.clone()));
        players.spawn(follow::listen(self.api.clone(), tell.clone()));
        players
    }

    fn hear(&self, board: &mut Board, event: &crate::admin::wire::EventBody) {
        board.hear(event, Instant::now());
        if self.screen.is_none() {
            self.say(&format!("       * {}", event.message));
        }
    }

    fn show(&mut self, board: &mut Board) -> Result<(), Failure> {
        let now = Instant::now();
        board.roll(now);
        let Some(screen) = &mut self.screen else {
            self.say(&headless::line(board, now));
            return Ok(());
        };
        screen
            .terminal
            .draw(|frame| view::draw(frame, board, &self.scene, now))
            .map(drop)
            .map_err(|error| {
                Failure::new(Exit::Error, "cannot draw on the terminal").because(&error)
            })
    }

    /// Does what is due now, if anything is.
    async fn perform(&mut self, board: &mut Board) -> Result<Option<Cue>, Failure> {
        let elapsed = board.started.elapsed();
        let ended = board
            .ending
            .as_ref()
            .map(|ending| ending.at - board.started);
        let cue = self.script.cue(elapsed, ended);
        match cue {
            Some(Cue::StartRollout) => follow::start_rollout(&self.api).await?,
            Some(Cue::GoBad) => {
                self.manners.go_bad();
                let said = board.goes_bad(Instant::now());
                if self.screen.is_none() {
                    self.say(&format!("       * {said}"));
                }
            }
            Some(Cue::End) | None => {}
        }
        Ok(cue)
    }

    /// A line beside the answer; for programs the answer is only the JSON at the end.
    fn say(&self, line: &str) {
        if self.output.is_json() {
            self.output.note(line);
        } else {
            // A reader that went away misses the rest; the exit code still tells.
            let _ = self.output.text(line);
        }
    }

    fn finish(mut self, board: &Board, interrupted: bool) -> Result<Exit, Failure> {
        let watched = self.screen.take().is_some();
        let promoted = board.ending.as_ref().map(|ending| ending.promoted);
        let expected = promoted == Some(self.fate == Fate::Promoted) && board.lost == 0;
        let summary = json!({
            "expected": expected,
            "promoted": promoted == Some(true),
            "reverted": promoted == Some(false),
            "reason": board.ending.as_ref().map(|ending| ending.reason.clone()),
            "seconds_after_going_bad":
                board.ending.as_ref().and_then(|ending| ending.after_going_bad).map(|t| t.as_secs_f64()),
            "actuation_ms":
                board.ending.as_ref().and_then(|ending| ending.actuation).map(|t| t.as_secs_f64() * 1000.0),
            "calls": board.arms.each_ref().map(|arm| arm.calls),
            "errors": board.arms.each_ref().map(|arm| arm.errors),
            "bad_answers": board.bad_answers,
            "agents_with_bad_answers": board.hurt.len(),
            "sessions_moved": board.moved,
            "sessions_lost": board.lost,
            "calls_without_answer": board.failed,
            "last_failure": board.last_failure,
        });
        self.output
            .answer(&summary, |_| headless::summary(board, Instant::now()))?;
        Ok(if expected || (watched && interrupted) {
            Exit::Done
        } else {
            Exit::Error
        })
    }
}

/// Wishes to end: a key, Ctrl-C, or a kind word from the system. Listens from its making, so
/// that none is missed between two waits.
struct Enough {
    interrupt: Signal,
    terminate: Signal,
}

impl Enough {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::new(Exit::Error, "cannot listen for signals").because(&error)
            })
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self, screen: Option<&mut Screen>) {
        let key = async {
            match screen {
                Some(screen) => screen.quit.recv().await,
                None => pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = key => {}
        }
    }
}
