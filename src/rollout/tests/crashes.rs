//! Ten thousand rollouts whose process dies between any two actions.
//!
//! A small model of `control`: a change is written down, then published, then told; a revert is
//! published first. What is on the disk is all that a new process knows.

use super::every_state::{events, plans};
use super::*;
use crate::rollout::event::Report;
use crate::rollout::gate::{Answer, Ask};

const ROLLOUTS: u64 = 10_000;
const EVENTS: u64 = 40;

/// What a new process starts with.
#[derive(Clone, Debug)]
struct Disk {
    state: String,
    generation: u64,
    percent: Percent,
    /// What happened, as far as it is in `state`; `None` for a restart.
    history: Vec<Option<(Event, Duration)>>,
}

/// A process with what it knows.
struct Process<'a> {
    plan: &'a Plan,
    state: State,
    generation: u64,
    percent: Percent,
    history: Vec<Option<(Event, Duration)>>,
    now: Duration,
    /// What it was told to ask and has had no answer to.
    asked: Option<Ask>,
}

/// The world: one disk, the one share in force, and chance.
struct World<'a> {
    seed: u64,
    draws: u64,
    plan: &'a Plan,
    disk: Disk,
    published: Percent,
    crashes: u64,
}

/// Why a process is no more.
struct Crash;

impl World<'_> {
    fn draw(&mut self, below: u64) -> u64 {
        self.draws += 1;
        let mut word = (self.seed << 20).wrapping_add(self.draws);
        word = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % below
    }

    fn survive(&mut self) -> Result<(), Crash> {
        if self.draw(12) == 0 {
            self.crashes += 1;
            return Err(Crash);
        }
        Ok(())
    }
}

impl<'a> Process<'a> {
    /// Starts on what is on the disk, and puts it in force.
    fn start(world: &mut World<'a>) -> Self {
        let state: State = serde_json::from_str(&world.disk.state).unwrap();
        world.published = world.disk.percent;
        Self {
            plan: world.plan,
            asked: state.asks(),
            state,
            generation: world.disk.generation,
            percent: world.disk.percent,
            history: world.disk.history.iter().copied().chain([None]).collect(),
            now: Duration::ZERO,
        }
    }

    fn write(&mut self, world: &mut World<'_>) {
        assert_eq!(world.disk.generation, self.generation, "two writers");
        self.generation += 1;
        world.disk = Disk {
            state: serde_json::to_string(&self.state).unwrap(),
            generation: self.generation,
            percent: self.percent,
            history: self.history.clone(),
        };
    }

    /// One event, with a crash perhaps before, between and after what follows from it.
    fn take(&mut self, world: &mut World<'_>, event: Event) -> Result<(), Crash> {
        let Ok(next) = step(self.plan, &self.state, event, self.now) else {
            return Ok(());
        };
        self.state = next.state;
        self.history.push(Some((event, self.now)));
        let mut goes_back = false;
        let mut ask = None;
        for action in &next.actions {
            match action {
                Action::SetPercent(percent) => self.percent = *percent,
                Action::Ask(asked) => ask = Some(*asked),
                Action::Finish(finish) => goes_back = *finish != Finish::Promoted,
                Action::NewTrial(_) | Action::Record(_) => {}
            }
        }
        if next.actions.is_empty() {
            return Ok(());
        }
        world.survive()?;
        if goes_back {
            world.published = self.percent;
            world.survive()?;
            self.write(world);
        } else {
            self.write(world);
            world.survive()?;
            world.published = self.percent;
        }
        world.survive()?;
        self.asked = ask.or(self.asked.filter(|asked| self.state.asks() == Some(*asked)));
        Ok(())
    }
}

/// What holds whenever a process stands between two events.
fn check(world: &World<'_>, process: &Process<'_>) {
    let seed = world.seed;
    let percent = process.state.percent(process.plan);
    assert_eq!(world.published, percent, "seed {seed}");
    assert_eq!(process.asked, process.state.asks(), "seed {seed}");
    assert!(
        world.disk.generation <= process.generation,
        "seed {seed}: another one writes"
    );
}

/// What is published while no process lives is never more than the disk allows.
fn check_crash(world: &World<'_>) {
    let state: State = serde_json::from_str(&world.disk.state).unwrap();
    assert!(
        world.published <= state.percent(world.plan) || state.is_finished(),
        "seed {}",
        world.seed
    );
}

/// The same history gives the same end.
fn check_replay(world: &World<'_>) {
    let mut state = State::new();
    for happened in &world.disk.history {
        match happened {
            Some((event, now)) => state = step(world.plan, &state, *event, *now).unwrap().state,
            None => state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap(),
        }
    }
    assert_eq!(
        serde_json::to_string(&state).unwrap(),
        world.disk.state,
        "seed {}",
        world.seed
    );
}

/// What a good candidate and willing people and gates do.
fn helpful(state: &State) -> Vec<Event> {
    let open = state.asks().map(|ask| Event::Gate {
        ask,
        answer: Answer::Opened,
    });
    let wishes = [
        Event::Start,
        Event::Resume,
        Event::Tick,
        PASS,
        Event::Approve,
        Event::Report(Report::Ready),
    ];
    wishes.into_iter().chain(open).collect()
}

fn rollout(plan: &Plan, seed: u64) -> (u64, Phase) {
    let mut world = World {
        seed,
        draws: 0,
        plan,
        disk: Disk {
            state: serde_json::to_string(&State::new()).unwrap(),
            generation: 0,
            percent: Percent::ZERO,
            history: Vec::new(),
        },
        published: Percent::ZERO,
        crashes: 0,
    };
    let mut process = Process::start(&mut world);
    for turn in 0..EVENTS * 3 {
        process.now += Duration::from_millis(world.draw(1_500));
        // First anything at all, then only what helps.
        let wild = turn < EVENTS && world.draw(3) > 0;
        let mut choice = if wild {
            events(&process.state)
        } else {
            helpful(&process.state)
        };
        let place = world.draw(choice.len() as u64);
        let event = choice.swap_remove(usize::try_from(place).unwrap());
        if process.take(&mut world, event).is_err() {
            check_crash(&world);
            process = Process::start(&mut world);
        }
        check(&world, &process);
        if process.state.is_finished() {
            break;
        }
    }
    // Nobody crashes for ever.
    for _ in 0..200 {
        if process.state.is_finished() {
            break;
        }
        for event in helpful(&process.state) {
            process.now += at(1);
            let _ = process.take(&mut world, event).or_else(|Crash| {
                check_crash(&world);
                process = Process::start(&mut world);
                Ok::<(), Crash>(())
            });
            check(&world, &process);
        }
    }
    assert!(
        process.state.is_finished(),
        "seed {seed}: stuck in {:?}",
        process.state
    );
    check_replay(&world);
    (world.crashes, process.state.phase())
}

#[test]
fn rollouts_outlive_crashes_between_any_two_actions() {
    let plans = plans();
    let (mut crashes, mut promoted) = (0, 0);
    for seed in 0..ROLLOUTS {
        let place = usize::try_from(seed).unwrap() % plans.len();
        let (times, end) = rollout(&plans[place], seed);
        crashes += times;
        promoted += u64::from(end == Phase::Promoted);
    }
    println!(
        "seeds 0 to {}: {crashes} crashes, {promoted} promoted",
        ROLLOUTS - 1
    );
    assert!(crashes > ROLLOUTS / 2, "{crashes}");
    assert!(promoted > ROLLOUTS / 20, "{promoted}");
}
