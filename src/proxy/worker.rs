//! One worker: a thread with its own runtime, sockets, connections and counters.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slab::Slab;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, MissedTickBehavior};

use crate::deadline::{Deadlines, TICK};
use crate::listener::Connection;
use crate::mcp::SessionTable;
use crate::shadow::Shadows;
use crate::stats::Registry;
use crate::tls::{self, ServerTls};
use crate::upstream::{Conditions, Endpoint, Pools};

use super::bonds::Bonds;
use super::call::OpenCalls;
use super::catalogues::Catalogues;
use super::choice;
use super::complaints::Complaints;
use super::crowd::Crowd;
use super::ending::{self, UnderWay};
use super::places::{Caps, OfWorker};
use super::ready;
use super::retry::RetryBudgets;
use super::serve;
use super::snapshot::{Snapshot, SnapshotCell};
use super::sse::LiveSessions;
use super::streams::Streams;
use super::tokens::TokenCache;
use super::view::View;

/// Sweeps of the deadline table between two sweeps of the idle connections.
const POOL_SWEEP: u64 = 20;

/// Sweeps of the deadline table between two looks at the tables of callers and ties.
const BOND_SWEEP: u64 = 5;
/// Idle connections that are closed at a time when others wait.
const ROOM: usize = 16;

/// How long event streams may take to end when the worker does.
const STREAMS_END: Duration = Duration::from_millis(500);

/// What a worker needs to run.
#[derive(Debug)]
pub struct WorkerOptions {
    /// Its place among the workers, from 0.
    pub number: usize,
    /// Its sockets, not blocking, each with the place of its listener in the file.
    pub sockets: Vec<(usize, std::net::TcpListener)>,
    /// What it shares with the others.
    pub shared: Shared,
    /// Tells it to drain, then to stop.
    pub phase: watch::Receiver<Phase>,
    /// Seeds its draws.
    pub seed: u64,
    /// Its sign of life: grows ten times a second.
    pub pulse: Arc<AtomicU64>,
}

/// What all workers of a process share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shared {
    /// What they run by.
    pub snapshots: Arc<SnapshotCell>,
    /// Where their counters are found.
    pub registry: Arc<Registry>,
    /// What MCP sessions were opened with.
    pub sessions: Arc<SessionTable>,
    /// What backends say of their tools.
    pub catalogues: Arc<Catalogues>,
    /// What is known of the endpoints.
    pub conditions: Arc<Conditions>,
    /// What the copies of calls hold.
    pub shadows: Arc<Shadows>,
    /// How much they take on at once.
    pub caps: Caps,
    /// What binds requests without sessions to where they were before.
    pub bonds: Arc<Bonds>,
    /// The MCP sessions over HTTP+SSE whose streams are open.
    pub live: Arc<LiveSessions>,
    /// How many event streams each client has open.
    pub crowd: Crowd,
    /// TLS of the listeners, in their order; those without speak cleartext.
    pub tls: Arc<[Option<Arc<ServerTls>>]>,
}

/// What the workers are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Take traffic.
    Run,
    /// Take no new connections, let what is under way end.
    Drain,
    /// The same; connections that wait are another process's, now or later: the sockets stay open.
    HandedOver,
    /// Stop now.
    Stop,
}

/// One worker, as its own tasks see it.
#[derive(Debug)]
pub(super) struct Worker {
    number: usize,
    view: RefCell<Rc<View>>,
    /// The edition of snapshots that the view is of.
    edition: Cell<u64>,
    shared: Shared,
    streams: Streams,
    /// When the worker began, ...
    began: Instant,
    /// ... and in seconds since 1970: what coarse ticks count from.
    began_unix: Cell<u64>,
    complaints: Complaints,
    pools: Pools,
    /// Connections to shadows are never those of real calls.
    shadow_pools: Pools,
    deadlines: Deadlines,
    open_calls: OpenCalls,
    connections: RefCell<Slab<Rc<Connection>>>,
    /// Clients are asked to leave: those who are let in from now on, too.
    drains: Cell<bool>,
    caps: OfWorker,
    retry_budgets: RetryBudgets,
    tokens: TokenCache,
    endings: UnderWay,
    random: Cell<u64>,
}

/// Runs a worker until it is told to stop, or has drained. Blocks the thread.
///
/// # Errors
/// When the runtime cannot be made or a socket cannot be used.
pub fn run(options: WorkerOptions) -> io::Result<()> {
    runtime()?.block_on(work(options))
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A worker's runtime: one thread, and a task that panics ends alone.
fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
}

async fn work(options: WorkerOptions) -> io::Result<()> {
    let WorkerOptions {
        sockets, mut phase, ..
    } = options;
    let worker = Rc::new(Worker {
        number: options.number,
        view: RefCell::new(Rc::new(View::empty(options.shared.snapshots.load()))),
        edition: Cell::new(0),
        pools: Pools::new(Arc::clone(&options.shared.conditions)),
        shadow_pools: Pools::new(Arc::clone(&options.shared.conditions)),
        caps: options.shared.caps.of_worker(options.number),
        shared: options.shared,
        streams: Streams::default(),
        began: Instant::now(),
        began_unix: Cell::new(unix_now()),
        complaints: Complaints::default(),
        deadlines: Deadlines::default(),
        open_calls: OpenCalls::default(),
        connections: RefCell::default(),
        drains: Cell::default(),
        retry_budgets: RetryBudgets::default(),
        tokens: TokenCache::default(),
        endings: UnderWay::default(),
        random: Cell::new(options.seed),
    });
    worker.refresh();
    let chores = [
        spawn_local(supervised("tick", {
            let (worker, pulse) = (Rc::clone(&worker), options.pulse);
            move || tick(Rc::clone(&worker), Arc::clone(&pulse))
        })),
        spawn_local(supervised("snapshots", {
            let worker = Rc::clone(&worker);
            move || follow_snapshots(Rc::clone(&worker))
        })),
    ];
    let ready = spawn_local(supervised("ready", {
        let worker = Rc::clone(&worker);
        move || ready::keep(Rc::clone(&worker))
    }));
    let mut acceptors = Vec::new();
    for (place, socket) in sockets {
        let socket = TcpListener::from_std(socket)?;
        acceptors.push(spawn_local(serve::accept(
            Rc::clone(&worker),
            (place, socket),
            phase.clone(),
        )));
    }
    // An error means that whoever tells the phase is gone, which is a reason to stop.
    let _ = phase.wait_for(|phase| *phase != Phase::Run).await;
    ready.abort();
    worker.drain(&acceptors, &mut phase).await;
    for chore in chores {
        chore.abort();
    }
    Ok(())
}

/// Runs a chore for as long as the worker lives: one that panics begins anew, since without it
/// deadlines would never come, or weights never change.
async fn supervised<F: Future<Output = ()>>(name: &'static str, chore: impl Fn() -> F) {
    loop {
        let mut running = pin!(chore());
        poll_fn(|cx| {
            let polled = AssertUnwindSafe(|| running.as_mut().poll(cx));
            // What it left half done is what the next one begins with: counts and wakers, which
            // have no wrong values.
            catch_unwind(polled).unwrap_or(Poll::Ready(()))
        })
        .await;
        metrics::counter!("switchback_chores_restarted_total").increment(1);
        tracing::error!(chore = name, "a chore of a worker ended and begins anew");
        tokio::time::sleep(TICK).await;
    }
}

/// Everything of a worker that has to happen now and then.
async fn tick(worker: Rc<Worker>, pulse: Arc<AtomicU64>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0u64.. {
        ticks.tick().await;
        pulse.fetch_add(1, Ordering::Relaxed);
        worker.deadlines.sweep();
        worker.caps.buffered.exchange();
        if worker.shared.caps.is_wanted() {
            worker.make_room();
        }
        worker.open_calls.sweep(worker.number);
        worker.streams.sweep_calls(worker.number);
        worker.shared.conditions.take_back();
        ending::begin(&worker);
        if !worker.view.borrow().ready().is_empty() {
            worker.pools.wish();
        }
        worker.pools.heed_shortage();
        worker.shadow_pools.heed_shortage();
        if worker.number == 0 && round.is_multiple_of(BOND_SWEEP) {
            worker.bonds().sweep(worker.tick());
        }
        if round.is_multiple_of(POOL_SWEEP) {
            worker.pools.sweep();
            worker.shadow_pools.sweep();
            worker.streams.end_left(&worker.view());
            worker.keep_time();
            worker.view().report_tools();
        }
    }
}

/// Takes each published snapshot over, whether there is traffic or not.
async fn follow_snapshots(worker: Rc<Worker>) {
    loop {
        worker.shared.snapshots.published(worker.number).await;
        worker.refresh();
    }
}

impl Worker {
    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn deadlines(&self) -> &Deadlines {
        &self.deadlines
    }

    /// TLS of the listener at this place.
    pub(super) fn tls(&self, listener: usize) -> Option<&ServerTls> {
        self.shared.tls.get(listener)?.as_deref()
    }

    pub(super) fn complaints(&self) -> &Complaints {
        &self.complaints
    }

    pub(super) fn tokens(&self) -> &TokenCache {
        &self.tokens
    }

    pub(super) fn endings(&self) -> &UnderWay {
        &self.endings
    }

    pub(super) fn open_calls(&self) -> &OpenCalls {
        &self.open_calls
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn pools(&self) -> &Pools {
        &self.pools
    }

    pub(super) fn shadow_pools(&self) -> &Pools {
        &self.shadow_pools
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn sessions(&self) -> &SessionTable {
        &self.shared.sessions
    }

    pub(super) fn bonds(&self) -> &Bonds {
        &self.shared.bonds
    }

    pub(super) fn retry_budgets(&self) -> &RetryBudgets {
        &self.retry_budgets
    }

    pub(super) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Seconds since 1970: coarse, never going back, and known to the process after this one.
    pub(super) fn tick(&self) -> u64 {
        self.began_unix.get() + self.began.elapsed().as_secs()
    }

    /// Goes forward with the wall clock: ours stands still while the machine sleeps.
    fn keep_time(&self) {
        let began = unix_now().saturating_sub(self.began.elapsed().as_secs());
        self.began_unix.set(self.began_unix.get().max(began));
    }

    /// The view of the snapshot in force: the one that a request starts with and keeps.
    pub(super) fn view(&self) -> Rc<View> {
        // The notice of a new snapshot may still be in the queue behind this very request.
        if self.shared.snapshots.edition() != self.edition.get() {
            self.refresh();
        }
        Rc::clone(&self.view.borrow())
    }

    fn refresh(&self) {
        // The edition first: a snapshot published in between is then taken over once more.
        self.edition.set(self.shared.snapshots.edition());
        let snapshot = self.shared.snapshots.load();
        self.warm_up(&snapshot);
        self.streams.end_homeless(&snapshot);
        self.tokens.hold_at_most(snapshot.limits.checked_tokens);
        let view = View::new(self, snapshot);
        *self.view.borrow_mut() = Rc::new(view);
        self.pools.wish();
        self.view.borrow().snapshot.in_force(self.number);
    }

    /// Before the first handshake. Those who speak no TLS are spared it.
    fn warm_up(&self, snapshot: &Snapshot) {
        let is_spoken = self.shared.tls.iter().any(Option::is_some) || !snapshot.tls.is_empty();
        if is_spoken {
            tls::warm_up();
        }
    }

    /// A uniform number over all of `u64`; xorshift64* (Vigna, 2016).
    pub(super) fn draw(&self) -> u64 {
        let mut x = self.random.get().max(1);
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// One of these endpoints of a backend: one that is fit, if any is.
    pub(super) fn pick_endpoint(
        &self,
        endpoints: &[Rc<Endpoint>],
        key: Option<u64>,
    ) -> Option<Rc<Endpoint>> {
        let draw = || self.draw();
        choice::pick(endpoints, key, choice::is_fit, draw)
            .or_else(|| choice::pick(endpoints, key, |_| true, draw))
            .cloned()
    }

    /// Keeps a connection where a drain finds it; one that has begun has it leave after its first answer.
    pub(super) fn enter(&self, connection: &Rc<Connection>) -> usize {
        if self.drains.get() {
            connection.drain();
        }
        self.connections.borrow_mut().insert(Rc::clone(connection))
    }

    pub(super) fn leave(&self, key: usize) {
        self.connections.borrow_mut().try_remove(key);
    }

    pub(super) fn caps(&self) -> &OfWorker {
        &self.caps
    }

    /// Closes the connections that have been idle for longest, a few at a time, for others that
    /// have something to say.
    pub(super) fn make_room(&self) {
        let now = self.deadlines.ticks();
        let connections = self.connections.borrow();
        let mut idle: Vec<_> = connections
            .iter()
            .filter_map(|(_, connection)| Some((connection.idle_since(now)?, connection)))
            .collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        for (_, connection) in idle.into_iter().take(ROOM) {
            connection.close();
        }
    }

    /// Asks every client to leave, waits for what is under way, and ends what is left when it is
    /// told [`Phase::Stop`]: event streams as they should end, the rest cut.
    async fn drain(&self, doors: &[JoinHandle<()>], phase: &mut watch::Receiver<Phase>) {
        self.drains.set(true);
        self.endings.stop();
        let patience = self.view().snapshot.limits.drain_idle;
        let began = Instant::now();
        let emptied = async {
            let closed = |door: &JoinHandle<()>| door.is_finished();
            while !doors.iter().all(closed) || !self.connections.borrow().is_empty() {
                self.ask_to_leave(began.elapsed() >= patience);
                tokio::time::sleep(TICK).await;
            }
        };
        let mut emptied = pin!(emptied);
        tokio::select! {
            () = &mut emptied => return,
            _ = phase.wait_for(|phase| *phase == Phase::Stop) => {}
        }
        let streams = self.streams.end_all();
        if streams > 0 {
            // Told or not: the time is over.
            let _ = tokio::time::timeout(STREAMS_END, emptied).await;
        }
        self.say_what_is_cut(streams);
    }

    /// Idle connections are closed only when `late`, since a request may be on its way on them.
    fn ask_to_leave(&self, late: bool) {
        for (_, connection) in self.connections.borrow().iter() {
            if late && !connection.is_closing() {
                connection.close();
            } else if !connection.is_draining() {
                connection.drain();
            }
        }
    }

    fn say_what_is_cut(&self, streams: usize) {
        let connections = self.connections.borrow();
        let open = connections
            .iter()
            .map(|(_, one)| u64::from(one.open_requests()));
        let cut: u64 = open.sum();
        metrics::counter!("switchback_drain_streams_ended_total").increment(streams as u64);
        metrics::counter!("switchback_drain_answers_cut_total").increment(cut);
        if cut > 0 || streams > 0 {
            let worker = self.number;
            tracing::warn!(
                worker,
                cut,
                streams,
                "the time to drain was over: answers were cut, streams ended"
            );
        }
    }
}

#[cfg(test)]
mod tests;
