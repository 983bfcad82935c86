//! How control comes to be: store and file brought together.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::time::Instant;

use crate::config::Config;
use crate::mcp::{Census, Recent, SealKey, SessionTable};
use crate::proxy::snapshot::{Blueprint, Snapshot, SnapshotCell};
use crate::stats::Registry;
use crate::store::{Contents, Journal, Store};
use crate::upstream::Conditions;

use super::actor::{Control, Publisher, Times};
use super::adopt;
use super::certificates::Certificates;
use super::contract::Inspector;
use super::desired::Desired;
use super::error::ControlError;
use super::fitness::Told;
use super::gates::Gates;
use super::handle::ControlHandle;
use super::handover::Handover;
use super::keys::KeyRing;
use super::ledger::Ledger;
use super::picture::{Readings, Sitters};
use super::rolling::Rollings;
use super::scribe::{Belonging, Scribe};
use super::sessions::Keeper;
use super::shadowing::Shadowings;
use super::standby::Standbys;
use super::status::{Status, StoreHealth};
use super::steps::Moment;
use super::timestamp::Timestamp;

/// Commands that may wait for the actor.
const COMMANDS: usize = 64;
/// Events that a subscriber may fall behind.
const EVENTS: usize = 1024;

/// What control is opened with.
#[derive(Clone, Debug)]
pub struct ControlOptions {
    /// The file; its path is read again at a reload.
    pub config: Config,
    /// How many workers there are.
    pub workers: usize,
    /// Where the workers count their calls.
    pub registry: Arc<Registry>,
    /// The `tls` sections of the file, loaded.
    pub certificates: Certificates,
    /// What is known of the endpoints.
    pub conditions: Arc<Conditions>,
    /// What the clients' sessions were opened with.
    pub sessions: Arc<SessionTable>,
    /// What binds requests without sessions to where they were before: callers, then values of
    /// servers.
    pub bonds: [Arc<Recent>; 2],
}

/// Control, ready to run.
pub struct Opened {
    /// The actor; to be run on the control thread.
    pub control: Control,
    /// The door to it.
    pub handle: ControlHandle,
    /// Where the workers find what they run by.
    pub snapshots: Arc<SnapshotCell>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

/// Opens the state folder and makes the first snapshot. Blocks on the disk.
///
/// # Errors
/// [`ControlError::Store`] when the folder cannot be used, [`ControlError::State`] when what
/// is in it cannot be read.
pub fn open(options: &ControlOptions) -> Result<Opened, ControlError> {
    let folder = options.config.state_folder();
    let opened = Store::open(&folder).map_err(|error| ControlError::Store(Arc::new(error)))?;
    let conditions = Arc::clone(&options.conditions);
    let cell = |first: &Blueprint| {
        conditions.trust(&first.tls);
        conditions.adopt(&first.backends);
        let cell = SnapshotCell::new(options.workers, Snapshot::compile(first));
        let cell = Arc::new(cell);
        let publish = Arc::clone(&cell);
        let publisher: Publisher = Box::new(move |blueprint| {
            conditions.trust(&blueprint.tls);
            conditions.adopt(&blueprint.backends);
            publish.publish(Snapshot::compile(blueprint));
        });
        (cell, publisher)
    };
    let (control, handle, snapshots) = assemble(options, opened, cell)?;
    Ok(Opened {
        control,
        handle,
        snapshots,
    })
}

/// The moment that everything counts from.
fn start_of_time() -> (Instant, Moment) {
    let started = Instant::now();
    let moment = Moment {
        now: started.elapsed(),
        at: Timestamp::now(),
    };
    (started, moment)
}

/// Brings file and store together and makes the actor; `start` makes of the first blueprint
/// where snapshots go.
pub(super) fn assemble<T>(
    options: &ControlOptions,
    (store, mut contents): (Store, Contents),
    start: impl FnOnce(&Blueprint) -> (T, Publisher),
) -> Result<(Control, ControlHandle, T), ControlError> {
    let (started, moment @ Moment { at, .. }) = start_of_time();
    let (desired, drafts) = under_file(&saved(options, &contents)?, &options.config, moment);
    let (command_sender, commands) = mpsc::channel(COMMANDS);
    let config = Arc::new(options.config.clone());
    let keys = keys_of(&config);
    let events = broadcast::Sender::new(EVENTS);
    let picture = first_picture(options, (&desired, &config), &keys, moment);
    let (status, status_reader) = watch::channel(Arc::new(picture));
    let channels = (command_sender, status_reader);
    let own = (&store, Inspector::new(&options.conditions));
    let handle = ControlHandle::new(channels, &events, own, &options.registry);
    let mut control = Control {
        desired,
        config,
        loaded_at: at,
        listeners: options.config.spec().listeners.clone(),
        keys,
        refusal: None,
        pending: None,
        evidence: BTreeMap::new(),
        turns: BTreeMap::new(),
        tool_spans: BTreeMap::new(),
        keeper: Keeper::new(
            Arc::clone(&options.sessions),
            std::mem::take(&mut contents.sessions),
            (options.config.spec().limits.session_age, started),
        ),
        scribes: scribes(options, &contents, started),
        published_at: at,
        drain_at: None,
        ledger: Ledger::new(store, contents.last_sequence),
        registry: Arc::clone(&options.registry),
        certificates: options.certificates.clone(),
        publisher: Box::new(|_| ()),
        workers: options.workers,
        seal_key: SealKey::new(&contents.seal_key),
        wake: Arc::new(Notify::new()),
        commands,
        status,
        events,
        started,
        started_at: at,
        readings: Readings::default(),
        standbys: Standbys::default(),
        shadowings: Shadowings::default(),
        rollings: Rollings::default(),
        conditions: Arc::clone(&options.conditions),
        told: Told::default(),
        queue: VecDeque::new(),
        handover: Handover::Here,
        gates: Gates::new(),
        load: None,
        load_again: Vec::new(),
        loaded: None,
        put_off: BTreeMap::new(),
        times: Times::new(started),
    };
    let cell = begin(&mut control, drafts, start);
    Ok((control, handle, cell))
}

fn keys_of(config: &Config) -> KeyRing {
    let keys = KeyRing::default();
    keys.prepare(config);
    keys
}

/// Those who write down what binds requests without sessions, with what was written before.
fn scribes(options: &ControlOptions, contents: &Contents, now: Instant) -> [Scribe; 2] {
    let [callers, ties] = &options.bonds;
    [
        (Journal::Callers, callers, &contents.callers),
        (Journal::Ties, ties, &contents.ties),
    ]
    .map(|(journal, table, batches)| Scribe::new(journal, (table, batches), now))
}

/// How things are before anything has happened.
fn first_picture(
    options: &ControlOptions,
    (desired, config): (&Desired, &Arc<Config>),
    keys: &KeyRing,
    moment: Moment,
) -> Status {
    let sitters = Sitters {
        desired,
        config,
        registry: &options.registry,
        certificates: &options.certificates,
        keys,
        readings: &Readings::default(),
        conditions: &options.conditions,
        moment,
        started_at: moment.at,
        loaded_at: moment.at,
        refusal: None,
        pending: None,
        store: &StoreHealth::Healthy,
        census: &Census::new(),
        callers: &Belonging::new(),
        published_at: moment.at,
        put_off: &BTreeMap::new(),
    };
    sitters.draw()
}

/// Gives the workers what they are to run by from the start.
fn begin<T>(
    control: &mut Control,
    drafts: Vec<super::change::Draft>,
    start: impl FnOnce(&Blueprint) -> (T, Publisher),
) -> T {
    control.begin_trials(&BTreeMap::new());
    control.begin_shadowings();
    control.tools_from_now(&BTreeMap::new());
    control.is_publishing();
    let (cell, publisher) = start(&control.blueprint());
    control.publisher = publisher;
    for draft in drafts {
        control.tell(draft);
    }
    // What was made of the two is written as soon as the actor runs; a disk that is full by
    // then must not keep traffic from flowing.
    control.ledger.dirty = true;
    cell
}

fn saved(options: &ControlOptions, contents: &Contents) -> Result<Desired, ControlError> {
    let Some(bytes) = &contents.state else {
        return Ok(Desired::new());
    };
    Desired::parse(bytes).map_err(|why| ControlError::State {
        folder: options.config.state_folder(),
        why,
    })
}

/// A restart is a reload of whatever the file has become.
fn under_file(
    saved: &Desired,
    config: &Config,
    moment: Moment,
) -> (Desired, Vec<super::change::Draft>) {
    let mut adopted = adopt::adopt(saved, config.spec());
    let drafts = adopted.drafts(moment);
    let mut desired = saved.clone();
    desired.routes = adopted.routes;
    desired.note_idle(saved, moment.at);
    // A new store is a change too: generation 0 is never in force.
    let differs = desired.to_bytes().ok() != saved.to_bytes().ok();
    if differs || saved.generation == crate::model::Generation::default() {
        desired.generation = desired.generation.next();
    }
    (desired, drafts)
}
