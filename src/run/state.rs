//! What the dispatcher knows and decides. No I/O, no clock: the time is an argument, and what is to be
//! done comes back as a list.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::stop::Stopping;
use crate::event::{EventKind, Phase, StopCause, TrialEnd, TrialRecord};
use crate::name::TrialId;
use crate::sandbox::{ErrorKind, Remedy};

/// How often a trial is begun at the most. Only failures of the infrastructure count.
pub const MAX_ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A planned trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Which one.
    pub id: TrialId,
    /// Trials of one class ask for the same kind of sandbox: what the provider refuses to one as invalid,
    /// it would refuse to all.
    pub class: usize,
    /// Trials of one group set up the same candidate in the same way: what fails by itself in one, fails in
    /// all.
    pub setup: usize,
}

/// What a trial's setup came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupEnd {
    /// Nobody knows.
    Untold,
    /// It went well, or there was none.
    Done,
    /// It failed, and that was the candidate's; two of the same text have failed in the same way.
    Failed(String),
}

/// A failure that the further trials of a candidate do not repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFailure {
    /// What the first of them says.
    pub message: String,
    /// The two trials that met it.
    pub trials: [TrialId; 2],
}

/// What is known of the setup of a group of trials.
#[derive(Debug)]
enum KnownSetup {
    /// It works, so that a failure is not due to the candidate alone.
    Works,
    /// It has failed in one trial, for this cause.
    FailedOnce {
        cause: String,
        message: String,
        trial: TrialId,
    },
    /// It has failed in two trials for the same cause.
    Fails(KnownFailure),
}

/// The infrastructure lost a trial's attempt.
#[derive(Debug)]
pub struct Loss {
    /// Where.
    pub phase: Phase,
    /// What kind of failure.
    pub kind: ErrorKind,
    /// What to do about it.
    pub remedy: Remedy,
    /// Why, in one line.
    pub message: String,
    /// What a user can do about it.
    pub hint: Option<String>,
    /// What is known of the attempt.
    pub record: Box<TrialRecord>,
}

/// What happens to the dispatcher.
#[derive(Debug)]
pub enum Input {
    /// Time to begin, or to look at what is due.
    Tick,
    /// A trial has its result, be it good or bad, and its setup came to this.
    Finished(usize, Box<TrialRecord>, SetupEnd),
    /// The infrastructure lost an attempt.
    Lost(usize, Loss),
    /// The run is told to stop.
    Stop(StopCause),
    /// The run is told to hurry.
    Hurry(StopCause),
}

/// What the dispatcher is to do.
#[derive(Debug, PartialEq)]
pub enum Effect {
    /// Tell everybody.
    Emit(EventKind),
    /// Begin an attempt of this trial.
    StartTrial(usize, u32),
    /// Give this trial, begun so often, the result of those whose setup failed before it.
    FailTrial(usize, u32, KnownFailure),
    /// Tell the trials and the reaper how urgently to end.
    Press(Stopping),
    /// Send [`Input::Tick`] at this time.
    WakeAt(Instant),
    /// Everything has a result.
    Finish,
}

/// The dispatcher's knowledge.
#[derive(Debug)]
pub struct State {
    trials: Vec<Planned>,
    /// Those that may begin at once, in order.
    ready: VecDeque<usize>,
    /// Those that may begin later, with the time from when.
    delayed: Vec<(Instant, usize)>,
    /// Those under way, with the attempt.
    running: BTreeMap<usize, u32>,
    attempts: Vec<u32>,
    jobs: usize,
    unfinished: usize,
    stopping: Stopping,
    /// Whether a failure that every trial would meet has been told.
    halted: bool,
    /// The classes of sandbox that the provider does not make.
    refused: BTreeSet<usize>,
    /// By their number, the groups of which a setup has ended.
    setups: BTreeMap<usize, KnownSetup>,
}

impl State {
    /// A run of these trials, in this order, at most `jobs` at once.
    #[must_use]
    pub fn new(trials: Vec<Planned>, jobs: usize) -> Self {
        Self {
            ready: (0..trials.len()).collect(),
            delayed: Vec::new(),
            running: BTreeMap::new(),
            attempts: vec![0; trials.len()],
            jobs,
            unfinished: trials.len(),
            stopping: Stopping::No,
            halted: false,
            refused: BTreeSet::new(),
            setups: BTreeMap::new(),
            trials,
        }
    }

    /// How urgently the run is to end.
    #[must_use]
    pub const fn stopping(&self) -> Stopping {
        self.stopping
    }

    /// Takes what happened and says what is to be done, in this order.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Tick => {}
            Input::Finished(trial, record, setup) => {
                self.end_attempt(trial);
                self.learn(trial, &record, setup);
                self.finish(*record, &mut effects);
            }
            Input::Lost(trial, loss) => self.lose(trial, loss, now, &mut effects),
            Input::Stop(cause) => self.stop(cause, &mut effects),
            Input::Hurry(cause) => {
                self.stop(cause, &mut effects);
                if self.stopping < Stopping::Hurry {
                    self.stopping = Stopping::Hurry;
                    effects.push(Effect::Emit(EventKind::StopRequested {
                        cause,
                        hurry: true,
                    }));
                    effects.push(Effect::Press(Stopping::Hurry));
                }
            }
        }
        self.start_what_may(now, &mut effects);
        if self.unfinished == 0 {
            effects.push(Effect::Finish);
        }
        effects
    }

    /// One failure may be the network's, or any other accident; two of the same kind with no success between
    /// them are the candidate's.
    fn learn(&mut self, trial: usize, record: &TrialRecord, setup: SetupEnd) {
        let group = self.trials[trial].setup;
        let this = || record.trial.clone();
        let known = match (self.setups.remove(&group), setup) {
            (known, SetupEnd::Untold)
            | (known @ Some(KnownSetup::Fails(_)), SetupEnd::Failed(_)) => known,
            (_, SetupEnd::Done) | (Some(KnownSetup::Works), SetupEnd::Failed(_)) => {
                Some(KnownSetup::Works)
            }
            (
                Some(KnownSetup::FailedOnce {
                    cause,
                    message,
                    trial,
                }),
                SetupEnd::Failed(again),
            ) if cause == again => Some(KnownSetup::Fails(KnownFailure {
                message,
                trials: [trial, this()],
            })),
            (None | Some(KnownSetup::FailedOnce { .. }), SetupEnd::Failed(cause)) => {
                let message = record
                    .end
                    .error()
                    .map_or_else(String::new, |(_, said)| said);
                Some(KnownSetup::FailedOnce {
                    cause,
                    message,
                    trial: this(),
                })
            }
        };
        self.setups.extend(known.map(|known| (group, known)));
    }

    /// What is known to become of the setup of a trial.
    fn known_failure(&self, trial: usize) -> Option<&KnownFailure> {
        match self.setups.get(&self.trials[trial].setup)? {
            KnownSetup::Fails(known) => Some(known),
            KnownSetup::Works | KnownSetup::FailedOnce { .. } => None,
        }
    }

    fn end_attempt(&mut self, trial: usize) {
        self.running.remove(&trial);
    }

    fn finish(&mut self, record: TrialRecord, effects: &mut Vec<Effect>) {
        self.unfinished -= 1;
        effects.push(Effect::Emit(EventKind::TrialFinished(Box::new(record))));
    }

    fn lose(&mut self, trial: usize, loss: Loss, now: Instant, effects: &mut Vec<Effect>) {
        self.end_attempt(trial);
        if self.stopping > Stopping::No {
            let end = TrialEnd::Cancelled;
            return self.finish(
                TrialRecord {
                    end,
                    ..*loss.record
                },
                effects,
            );
        }
        match loss.remedy {
            Remedy::Retry { after } if self.attempts[trial] < MAX_ATTEMPTS => {
                effects.push(Effect::Emit(EventKind::AttemptFailed {
                    trial: self.trials[trial].id.clone(),
                    attempt: self.attempts[trial],
                    phase: loss.phase,
                    message: loss.message,
                }));
                let pause = after.unwrap_or(backoff(self.attempts[trial] - 1));
                self.delayed.push((now + pause, trial));
            }
            Remedy::Retry { .. } => self.finish(lost_record(loss), effects),
            Remedy::GiveUp => {
                let (kind, phase) = (loss.kind, loss.phase);
                let reason = format!("not begun: {}", loss.message);
                let record = if phase == Phase::Creating && self.is_known(trial, kind) {
                    self.not_run(trial, &reason)
                } else {
                    lost_record(loss)
                };
                self.finish(record, effects);
                self.give_up(trial, kind, phase, &reason, effects);
            }
        }
    }

    /// Whether this refusal has been told already: trials that were begun side by side all meet it.
    fn is_known(&self, trial: usize, kind: ErrorKind) -> bool {
        let class = self.trials[trial].class;
        self.halted || (kind == ErrorKind::Invalid && self.refused.contains(&class))
    }

    fn not_run(&self, trial: usize, reason: &str) -> TrialRecord {
        let mut record = TrialRecord::not_run(self.trials[trial].id.clone(), reason);
        record.attempts = self.attempts[trial];
        record
    }

    /// One refusal is one error, not one for every trial that would meet it too.
    fn give_up(
        &mut self,
        trial: usize,
        kind: ErrorKind,
        phase: Phase,
        reason: &str,
        effects: &mut Vec<Effect>,
    ) {
        match (kind, phase) {
            (
                ErrorKind::Unauthorized
                | ErrorKind::Forbidden
                | ErrorKind::OutOfReach
                | ErrorKind::Quota,
                _,
            ) => {
                if !std::mem::replace(&mut self.halted, true) {
                    let cause = StopCause::Infrastructure;
                    effects.push(Effect::Emit(EventKind::StopRequested {
                        cause,
                        hurry: false,
                    }));
                }
                self.drop_waiting(|_| true, reason, effects);
            }
            (ErrorKind::Invalid, Phase::Creating) => {
                let class = self.trials[trial].class;
                self.refused.insert(class);
                self.drop_waiting(|planned| planned.class == class, reason, effects);
            }
            (
                ErrorKind::Invalid
                | ErrorKind::Throttled
                | ErrorKind::Busy
                | ErrorKind::Unreachable
                | ErrorKind::TimedOut
                | ErrorKind::Server
                | ErrorKind::Lost
                | ErrorKind::Machine
                | ErrorKind::Protocol
                | ErrorKind::Stopped,
                _,
            ) => {}
        }
    }

    /// Gives every waiting trial that `which` names its result: not run.
    fn drop_waiting(
        &mut self,
        which: impl Fn(&Planned) -> bool,
        reason: &str,
        effects: &mut Vec<Effect>,
    ) {
        let waiting: Vec<usize> = self
            .ready
            .drain(..)
            .chain(self.delayed.drain(..).map(|(_, trial)| trial))
            .collect();
        for trial in waiting {
            if which(&self.trials[trial]) {
                self.finish(self.not_run(trial, reason), effects);
            } else {
                self.ready.push_back(trial);
            }
        }
    }

    fn stop(&mut self, cause: StopCause, effects: &mut Vec<Effect>) {
        if self.stopping > Stopping::No {
            return;
        }
        self.stopping = Stopping::Stop;
        effects.push(Effect::Emit(EventKind::StopRequested {
            cause,
            hurry: false,
        }));
        let reason = format!("not begun: {}", cause.as_str());
        self.drop_waiting(|_| true, &reason, effects);
        effects.push(Effect::Press(Stopping::Stop));
    }

    fn start_what_may(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.stopping > Stopping::No {
            return;
        }
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.delayed)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.delayed = later;
        for (_, trial) in due {
            self.ready.push_front(trial);
        }
        while self.running.len() < self.jobs {
            let Some(trial) = self.ready.pop_front() else {
                break;
            };
            if let Some(known) = self.known_failure(trial).cloned() {
                let attempts = self.attempts[trial];
                self.running.insert(trial, attempts);
                effects.push(Effect::FailTrial(trial, attempts, known));
                continue;
            }
            self.attempts[trial] += 1;
            let attempt = self.attempts[trial];
            self.running.insert(trial, attempt);
            effects.push(Effect::Emit(EventKind::TrialStarted {
                trial: self.trials[trial].id.clone(),
                attempt,
            }));
            effects.push(Effect::StartTrial(trial, attempt));
        }
        if let Some(at) = self.delayed.iter().map(|(at, _)| *at).min() {
            effects.push(Effect::WakeAt(at));
        }
    }
}

/// Half a second, doubled `times` times, at most a minute.
fn backoff(times: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1 << times.min(10))
        .min(LONGEST_PAUSE)
}

fn lost_record(loss: Loss) -> TrialRecord {
    let end = TrialEnd::SandboxFailed {
        phase: loss.phase,
        message: loss.message,
        hint: loss.hint,
    };
    TrialRecord {
        end,
        ..*loss.record
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{CandidateName, ObjectiveName};

    fn id(repeat: u32) -> TrialId {
        TrialId {
            objective: ObjectiveName::parse("o").unwrap(),
            candidate: CandidateName::parse("c").unwrap(),
            repeat,
        }
    }

    fn state(trials: u32, jobs: usize) -> State {
        State::new(
            (1..=trials)
                .map(|repeat| Planned {
                    id: id(repeat),
                    class: 0,
                    setup: 0,
                })
                .collect(),
            jobs,
        )
    }

    fn finished(trial: usize) -> Input {
        let repeat = u32::try_from(trial).unwrap() + 1;
        Input::Finished(
            trial,
            Box::new(TrialRecord::ended(
                id(repeat),
                TrialEnd::Exited { code: 0 },
                1,
            )),
            SetupEnd::Done,
        )
    }

    fn failed_setup(trial: usize, cause: &str) -> Input {
        let repeat = u32::try_from(trial).unwrap() + 1;
        let message = format!("{cause}, the {repeat}. time");
        let end = TrialEnd::SetupFailed { message };
        let record = Box::new(TrialRecord::ended(id(repeat), end, 1));
        Input::Finished(trial, record, SetupEnd::Failed(cause.to_owned()))
    }

    /// The trials that are not begun because their setup is known to fail, each with what is known.
    fn not_repeated(effects: &[Effect]) -> Vec<(usize, KnownFailure)> {
        let known = |effect: &Effect| {
            if let Effect::FailTrial(trial, _, known) = effect {
                return Some((*trial, known.clone()));
            }
            None
        };
        effects.iter().filter_map(known).collect()
    }

    fn lost(trial: usize, kind: ErrorKind) -> Input {
        let remedy = crate::sandbox::SandboxError::new(kind, "test", "x").remedy();
        let repeat = u32::try_from(trial).unwrap() + 1;
        Input::Lost(
            trial,
            Loss {
                phase: Phase::Creating,
                kind,
                remedy,
                message: "injected".to_owned(),
                hint: None,
                record: Box::new(TrialRecord::ended(id(repeat), TrialEnd::Cancelled, 1)),
            },
        )
    }

    fn started(effects: &[Effect]) -> Vec<(usize, u32)> {
        let start = |effect: &Effect| match effect {
            Effect::StartTrial(trial, attempt) => Some((*trial, *attempt)),
            Effect::Emit(_)
            | Effect::FailTrial(..)
            | Effect::Press(_)
            | Effect::WakeAt(_)
            | Effect::Finish => None,
        };
        effects.iter().filter_map(start).collect()
    }

    fn ends(effects: &[Effect]) -> Vec<TrialEnd> {
        let end = |effect: &Effect| {
            if let Effect::Emit(EventKind::TrialFinished(record)) = effect {
                return Some(record.end.clone());
            }
            None
        };
        effects.iter().filter_map(end).collect()
    }

    #[test]
    fn a_setup_that_failed_twice_in_the_same_way_is_not_repeated() {
        let now = Instant::now();
        let mut state = state(5, 1);
        assert_eq!(started(&state.handle(Input::Tick, now)), [(0, 1)]);
        // Once may be an accident.
        let effects = state.handle(failed_setup(0, "`npm ci` exited with code 1"), now);
        assert_eq!(started(&effects), [(1, 1)]);
        let effects = state.handle(failed_setup(1, "`npm ci` exited with code 1"), now);
        assert_eq!(started(&effects), []);
        let known = KnownFailure {
            message: "`npm ci` exited with code 1, the 1. time".to_owned(),
            trials: [id(1), id(2)],
        };
        assert_eq!(not_repeated(&effects), [(2, known.clone())]);
        // Each has one result, and the next one's turn comes with it.
        for trial in [2, 3, 4] {
            let record = Box::new(TrialRecord::ended(
                id(u32::try_from(trial).unwrap() + 1),
                TrialEnd::SetupFailed {
                    message: known.message.clone(),
                },
                0,
            ));
            let effects = state.handle(Input::Finished(trial, record, SetupEnd::Untold), now);
            assert_eq!(started(&effects), []);
            assert_eq!(ends(&effects).len(), 1);
            let next = not_repeated(&effects);
            if trial < 4 {
                assert_eq!(next, [(trial + 1, known.clone())]);
            } else {
                assert_eq!(effects.last(), Some(&Effect::Finish));
            }
        }
    }

    #[test]
    fn a_setup_that_works_at_times_or_fails_otherwise_each_time_is_tried_again() {
        let now = Instant::now();
        for inputs in [
            [
                failed_setup(0, "a"),
                failed_setup(1, "b"),
                failed_setup(2, "a"),
            ],
            [failed_setup(0, "a"), finished(1), failed_setup(2, "a")],
            [finished(0), failed_setup(1, "a"), failed_setup(2, "a")],
        ] {
            let mut state = state(4, 1);
            state.handle(Input::Tick, now);
            let mut begun = Vec::new();
            for input in inputs {
                begun.extend(started(&state.handle(input, now)));
            }
            assert_eq!(begun, [(1, 1), (2, 1), (3, 1)]);
        }
    }

    #[test]
    fn what_is_known_of_one_setup_says_nothing_of_another() {
        let now = Instant::now();
        let planned = |repeat: u32, setup| Planned {
            id: id(repeat),
            class: 0,
            setup,
        };
        let trials = vec![planned(1, 0), planned(2, 0), planned(3, 1), planned(4, 0)];
        let mut state = State::new(trials, 2);
        state.handle(Input::Tick, now);
        let effects = state.handle(failed_setup(0, "a"), now);
        assert_eq!(started(&effects), [(2, 1)]);
        let effects = state.handle(failed_setup(1, "a"), now);
        let skipped: Vec<usize> = not_repeated(&effects).iter().map(|it| it.0).collect();
        assert_eq!(skipped, [3]);
    }

    #[test]
    fn at_most_as_many_as_asked_for_are_under_way() {
        let now = Instant::now();
        let mut state = state(5, 2);
        assert_eq!(started(&state.handle(Input::Tick, now)), [(0, 1), (1, 1)]);
        assert_eq!(started(&state.handle(finished(1), now)), [(2, 1)]);
        assert_eq!(started(&state.handle(Input::Tick, now)), []);
        for trial in [0, 2, 3] {
            state.handle(finished(trial), now);
        }
        assert!(state.handle(finished(4), now).contains(&Effect::Finish));
    }

    #[test]
    fn an_empty_run_finishes_at_once() {
        assert_eq!(
            state(0, 2).handle(Input::Tick, Instant::now()),
            [Effect::Finish]
        );
    }

    #[test]
    fn only_infrastructure_failures_are_tried_again_and_not_for_ever() {
        let mut now = Instant::now();
        let mut state = state(1, 1);
        state.handle(Input::Tick, now);
        for attempt in 2..=MAX_ATTEMPTS {
            let effects = state.handle(lost(0, ErrorKind::Server), now);
            assert_eq!(started(&effects), [], "not before the pause is over");
            now += LONGEST_PAUSE;
            assert_eq!(started(&state.handle(Input::Tick, now)), [(0, attempt)]);
        }
        let effects = state.handle(lost(0, ErrorKind::Server), now);
        assert!(matches!(
            ends(&effects)[..],
            [TrialEnd::SandboxFailed { .. }]
        ));
        assert!(effects.contains(&Effect::Finish));
    }

    #[test]
    fn a_pool_that_has_been_full_for_minutes_is_one_error_and_the_rest_is_not_begun() {
        let now = Instant::now();
        let mut state = state(10, 2);
        state.handle(Input::Tick, now);
        let mut effects = state.handle(lost(0, ErrorKind::Quota), now);
        effects.extend(state.handle(lost(1, ErrorKind::Quota), now));
        let ends = ends(&effects);
        assert!(matches!(ends[0], TrialEnd::SandboxFailed { .. }));
        let rest = ends[1..].iter();
        assert_eq!(
            rest.filter(|end| matches!(end, TrialEnd::NotRun { .. }))
                .count(),
            9
        );
    }

    #[test]
    fn a_wrong_key_is_one_error_and_the_rest_is_not_begun() {
        let now = Instant::now();
        let mut state = state(10, 2);
        state.handle(Input::Tick, now);
        let effects = state.handle(lost(0, ErrorKind::Unauthorized), now);
        let ends = ends(&effects);
        assert!(matches!(ends[0], TrialEnd::SandboxFailed { .. }));
        assert_eq!(ends.len(), 9);
        assert!(
            ends[1..]
                .iter()
                .all(|end| matches!(end, TrialEnd::NotRun { .. }))
        );
        assert_eq!(started(&effects), []);
        let effects = state.handle(lost(1, ErrorKind::Unauthorized), now);
        assert!(effects.contains(&Effect::Finish));
        assert!(
            matches!(self::ends(&effects)[..], [TrialEnd::NotRun { .. }]),
            "it was under way when the first one failed"
        );
    }

    #[test]
    fn a_refused_feature_ends_only_the_trials_that_ask_for_it() {
        let now = Instant::now();
        let planned = |repeat: u32| Planned {
            id: id(repeat),
            class: (repeat % 2) as usize,
            setup: 0,
        };
        let mut state = State::new((1..=6).map(planned).collect(), 1);
        state.handle(Input::Tick, now);
        let effects = state.handle(lost(0, ErrorKind::Invalid), now);
        assert_eq!(ends(&effects).len(), 3);
        assert_eq!(started(&effects), [(1, 1)]);
    }

    #[test]
    fn stopping_gives_every_trial_a_row_and_starts_nothing() {
        let now = Instant::now();
        let mut state = state(5, 2);
        state.handle(Input::Tick, now);
        let effects = state.handle(Input::Stop(StopCause::Interrupt), now);
        assert!(effects.contains(&Effect::Press(Stopping::Stop)));
        assert_eq!(ends(&effects).len(), 3);
        let effects = state.handle(lost(0, ErrorKind::Stopped), now);
        assert_eq!(
            (ends(&effects), started(&effects)),
            (vec![TrialEnd::Cancelled], vec![])
        );
        let effects = state.handle(Input::Hurry(StopCause::Interrupt), now);
        assert_eq!(state.stopping(), Stopping::Hurry);
        assert!(effects.contains(&Effect::Press(Stopping::Hurry)));
        assert!(
            state
                .handle(lost(1, ErrorKind::Server), now)
                .contains(&Effect::Finish)
        );
    }
}
