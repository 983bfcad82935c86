//! What happens when: pure, so that the shortest run can be checked like the longest.

use std::time::Duration;

/// How long a run that nobody watches goes on after its end: sessions still move.
const EPILOGUE: Duration = Duration::from_secs(6);

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cue {
    /// Start the rollout.
    StartRollout,
    /// Let the new version go bad.
    GoBad,
    /// Stop.
    End,
}

/// When that is, from the start of the demo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    length: Duration,
    /// Time of the warm-up, and shortest time in a stage.
    stage: Duration,
    rollout: Option<Duration>,
    bad: Option<Duration>,
    epilogue: Option<Duration>,
}

/// Who watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    /// A person, who sees the whole length.
    Person,
    /// A pipeline, which wants to go on once it is over.
    Pipeline,
}

/// What becomes of the new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes bad and is switched off.
    Reverted,
    /// It stays good and is shipped.
    Promoted,
}

impl Script {
    /// A script for a run of at most this length.
    pub(super) fn new(length: Duration, fate: Fate, audience: Audience) -> Self {
        let part = (length / 10).clamp(Duration::from_secs(1), Duration::from_secs(7));
        Self {
            length,
            stage: part,
            rollout: Some(part),
            bad: (fate == Fate::Reverted).then_some(part * 7 / 2),
            epilogue: (audience == Audience::Pipeline).then_some(EPILOGUE),
        }
    }

    /// Time of the plan's warm-up, and shortest time in each of its stages.
    pub(super) fn stage(&self) -> Duration {
        self.stage
    }

    /// The next thing that is due; each is given out once. `ended` is when the rollout ended.
    pub(super) fn cue(&mut self, elapsed: Duration, ended: Option<Duration>) -> Option<Cue> {
        let over = ended
            .zip(self.epilogue)
            .map(|(ended, epilogue)| ended + epilogue);
        if elapsed >= self.length || over.is_some_and(|over| elapsed >= over) {
            return Some(Cue::End);
        }
        if self.rollout.take_if(|at| elapsed >= *at).is_some() {
            return Some(Cue::StartRollout);
        }
        self.bad.take_if(|at| elapsed >= *at).map(|_| Cue::GoBad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cues(mut script: Script, ended: Option<u64>) -> Vec<(u64, Cue)> {
        let mut cues = Vec::new();
        for second in 0..=200 {
            let ended = ended.filter(|at| *at <= second).map(Duration::from_secs);
            while let Some(cue) = script.cue(Duration::from_secs(second), ended) {
                cues.push((second, cue));
                if cue == Cue::End {
                    return cues;
                }
            }
        }
        cues
    }

    #[test]
    fn a_person_sees_the_whole_length_and_a_pipeline_only_the_point() {
        let length = Duration::from_secs(75);
        let person = Script::new(length, Fate::Reverted, Audience::Person);
        let pipeline = Script::new(length, Fate::Reverted, Audience::Pipeline);

        assert_eq!(
            cues(person, Some(27)),
            [(7, Cue::StartRollout), (25, Cue::GoBad), (75, Cue::End)]
        );
        assert_eq!(
            cues(pipeline, Some(27)),
            [(7, Cue::StartRollout), (25, Cue::GoBad), (33, Cue::End)]
        );
    }

    #[test]
    fn a_healthy_version_never_goes_bad_and_a_run_always_ends() {
        let script = Script::new(Duration::from_secs(20), Fate::Promoted, Audience::Pipeline);

        assert_eq!(cues(script, None), [(2, Cue::StartRollout), (20, Cue::End)]);
    }
}
