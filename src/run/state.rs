//! What the dispatcher knows and decides. No I/O, no clock: the time is an argument, and what is to be
//! done comes back as a list.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use super::stop::Stopping;
use crate::event::{Confirmation, EventKind, Look, Phase, StopCause, TrialRecord};
use crate::name::TrialId;
use crate::sandbox::{ErrorKind, Remedy};
use crate::summary::RunSummary;

mod budget;
mod ending;
mod loss;
mod planned;
mod setups;
mod waiting;

pub use budget::{Budget, COST, Spending, cost_of};
pub use loss::Loss;
use loss::backoff;
pub use planned::{Group, Planned};

use budget::Spent;
use ending::unsaved;
use setups::Setups;
pub use setups::{KnownFailure, SetupEnd};
use waiting::Waiting;

/// How often a trial is begun at the most. Only failures of the infrastructure count.
pub const MAX_ATTEMPTS: u32 = 3;

/// What happens to the dispatcher.
#[derive(Debug)]
pub enum Input {
    /// Time to begin, or to look at what is due.
    Tick,
    /// A trial has its result, be it good or bad, and has written it down; its setup came to this.
    Finished(usize, Box<TrialRecord>, SetupEnd),
    /// The infrastructure lost an attempt.
    Lost(usize, Loss),
    /// A result could not be written to the run's folder, for this reason.
    Unsaved(String),
    /// Nor could the journal, and nothing will be from now on.
    Unwritten(String),
    /// It was looked at what has ended, and this was decided.
    Looked(Look),
    /// This is run again, in these trials; those of the second list need not be.
    Confirming(Vec<Confirmation>, Vec<Planned>, Vec<TrialRecord>),
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
    /// Write down the result of a trial that did not come to that itself, and tell everybody.
    Record(Box<TrialRecord>),
    /// Begin an attempt of this trial.
    StartTrial(usize, u32),
    /// Give this trial, begun so often, the result of those whose setup failed before it.
    FailTrial(usize, u32, KnownFailure),
    /// Tell the trials and the reaper how urgently to end.
    Press(Stopping),
    /// Send [`Input::Tick`] at this time.
    WakeAt(Instant),
    /// All trials of the stages so far have ended: send [`Input::Looked`] of this look, at once.
    Look(u32),
    /// All planned trials have ended: send [`Input::Confirming`] with what is to be run again, at once.
    Confirm,
    /// Everything has a result.
    Finish,
}

/// How a trial is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    /// In a sandbox, or in what leads to one.
    Sandbox,
    /// It is told how it ends.
    Paper,
}

/// The dispatcher's knowledge.
#[derive(Debug)]
pub struct State {
    groups: Vec<Group>,
    trials: Vec<Planned>,
    /// Those that may begin at once, in order.
    ready: Waiting,
    /// Those that may begin later, with the time from when: the next one first.
    delayed: BTreeSet<(Instant, usize)>,
    /// Those that wait for a look, in order.
    later: Waiting,
    /// Those that will not be run, and are not told of yet, each lot with why.
    dropped: VecDeque<(String, Waiting)>,
    /// The look that comes next, from 1.
    look: u32,
    /// How many looks there are; one alone is the end, and nobody looks.
    looks: u32,
    /// Whether it is still to be asked what is run again.
    confirms: bool,
    /// Whether an answer is due: to a look, or to what is run again.
    asked: bool,
    /// Those under way.
    running: BTreeMap<usize, Under>,
    /// How often each was begun: never more than [`MAX_ATTEMPTS`].
    attempts: Vec<u8>,
    jobs: usize,
    stopping: Stopping,
    /// Whether a failure that every trial would meet has been told.
    halted: bool,
    /// The classes of sandbox that the provider does not make.
    refused: BTreeSet<usize>,
    setups: Setups,
    spent: Spent,
}

impl State {
    /// A run of these trials, in this order, at most `jobs` at once.
    ///
    /// # Panics
    /// Sooner or later, when a trial is of no group.
    #[must_use]
    pub fn new(groups: Vec<Group>, trials: Vec<Planned>, jobs: usize) -> Self {
        let stages = trials.iter().map(|it| it.stage);
        let (mut ready, mut later) = (Waiting::default(), Waiting::default());
        for (trial, planned) in trials.iter().enumerate() {
            if planned.stage <= 1 {
                ready.push_back(trial);
            } else {
                later.push_back(trial);
            }
        }
        Self {
            look: 1,
            looks: stages.max().unwrap_or(1),
            ready,
            dropped: VecDeque::new(),
            delayed: BTreeSet::new(),
            later,
            confirms: false,
            asked: false,
            running: BTreeMap::new(),
            attempts: vec![0; trials.len()],
            jobs,
            stopping: Stopping::No,
            halted: false,
            refused: BTreeSet::new(),
            setups: Setups::default(),
            spent: Spent::new(jobs),
            groups,
            trials,
        }
    }

    /// The same, and when all of them have ended it is asked what is run again.
    #[must_use]
    pub fn confirming(self, confirms: bool) -> Self {
        Self { confirms, ..self }
    }

    /// The same within a budget, where an hour of a sandbox costs so many US dollars, and so much was spent before.
    #[must_use]
    pub fn within(self, budget: Budget, price_per_hour: f64, before: Spending) -> Self {
        let spent = self.spent.within(budget, price_per_hour, before);
        Self { spent, ..self }
    }

    /// The same after what was spent, on so many sandboxes among others, and decided before the run was gone on with; and
    /// what that leaves to be done.
    #[must_use]
    pub fn after_all(
        self,
        budget: Budget,
        sandboxes: u64,
        before: &RunSummary,
    ) -> (Self, Vec<Effect>) {
        let price = before.plan.as_ref().and_then(|it| it.price_per_hour);
        let cost = cost_of(before);
        let spent = Spending { sandboxes, cost };
        let state = self.within(budget, price.unwrap_or(0.0), spent);
        state.after(&before.looks)
    }

    /// The same after these looks, which were taken before the run was gone on with. What they spare and has no
    /// result yet, gets it by the effects.
    #[must_use]
    pub fn after(mut self, looks: &[Look]) -> (Self, Vec<Effect>) {
        let mut effects = Vec::new();
        for look in looks {
            let begun = std::mem::take(&mut self.ready);
            self.take_look(look, &mut effects);
            // What was lost before the look is made up for after it.
            let missing = begun.into_iter().filter(|it| !self.trials[*it].is_known);
            for trial in missing.collect::<Vec<_>>().into_iter().rev() {
                self.ready.push_front(trial);
            }
        }
        (self, effects)
    }

    /// Which trial it is that has this place among all.
    #[must_use]
    pub(super) fn id(&self, trial: usize) -> TrialId {
        self.group(trial).trial(self.trials[trial].repeat)
    }

    /// What is planned of the trial that has this place among all.
    #[must_use]
    pub(super) fn planned(&self, trial: usize) -> Planned {
        self.trials[trial]
    }

    /// How often a trial was begun.
    fn begun(&self, trial: usize) -> u32 {
        self.attempts[trial].into()
    }

    fn group(&self, trial: usize) -> &Group {
        &self.groups[self.trials[trial].group as usize]
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
                self.end_attempt(trial, now);
                self.spent.end(&record);
                self.setups.learn(self.group(trial).setup, &record, setup);
                effects.push(Effect::Emit(EventKind::TrialFinished(record)));
            }
            Input::Lost(trial, loss) => self.lose(trial, loss, now, &mut effects),
            Input::Unsaved(why) => self.begin_no_more(&why, &mut effects),
            Input::Unwritten(why) => {
                effects.push(Effect::Emit(EventKind::Warned {
                    message: unsaved(&why),
                }));
                self.stop(StopCause::Unsaved, &mut effects);
            }
            Input::Looked(look) => self.looked(&look, &mut effects),
            Input::Confirming(confirmations, more, spared) => {
                self.asked = false;
                let news = confirmations
                    .into_iter()
                    .map(EventKind::ConfirmationPlanned);
                effects.extend(news.map(Effect::Emit));
                self.plan(more);
                for record in spared {
                    finish(record, &mut effects);
                }
            }
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
        self.tell_dropped(now, &mut effects);
        effects.extend(self.ask());
        effects
    }

    /// What there is to ask, or to say, when nothing is under way and nothing may begin.
    fn ask(&mut self) -> Option<Effect> {
        let idle = self.running.is_empty() && self.ready.is_empty() && self.delayed.is_empty();
        if !idle || !self.dropped.is_empty() || self.asked {
            return None;
        }
        let goes_on = self.stopping == Stopping::No && !self.halted;
        if goes_on && self.look <= self.looks && self.looks > 1 {
            self.asked = true;
            return Some(Effect::Look(self.look));
        }
        if goes_on && self.confirms {
            self.confirms = false;
            self.asked = true;
            return Some(Effect::Confirm);
        }
        Some(Effect::Finish)
    }

    /// The further trials of those who are stopped have their result; the others' turn has come.
    fn looked(&mut self, look: &Look, effects: &mut Vec<Effect>) {
        self.asked = false;
        effects.push(Effect::Emit(EventKind::Looked(look.clone())));
        self.take_look(look, effects);
    }

    fn take_look(&mut self, look: &Look, effects: &mut Vec<Effect>) {
        self.look += 1;
        let later = std::mem::take(&mut self.later);
        for trial in later {
            let planned = self.planned(trial);
            let mut stopped = look.stopped.iter();
            let stopped = stopped.find(|it| it.candidate == self.group(trial).candidate);
            if let Some(stopped) = stopped {
                if !planned.is_known {
                    let record = TrialRecord::spared(self.id(trial), &stopped.reason);
                    finish(record, effects);
                }
            } else if planned.stage <= self.look {
                self.ready.push_back(trial);
            } else {
                self.later.push_back(trial);
            }
        }
        if self.later.is_empty() && self.ready.is_empty() {
            // Nobody goes on: there is nothing to look at any more.
            self.look = self.looks + 1;
        }
    }

    /// Adds trials, which may begin at once.
    fn plan(&mut self, more: Vec<Planned>) {
        let from = self.trials.len();
        self.trials.extend(more);
        self.attempts.resize(self.trials.len(), 0);
        self.ready.extend(from..self.trials.len());
    }

    fn end_attempt(&mut self, trial: usize, now: Instant) {
        if self.running.remove(&trial) == Some(Under::Sandbox) {
            self.spent.leave(now);
        }
    }

    fn lose(&mut self, trial: usize, loss: Loss, now: Instant, effects: &mut Vec<Effect>) {
        self.end_attempt(trial, now);
        if self.stopping > Stopping::No {
            return finish(loss.cut_off(), effects);
        }
        if loss.kind == ErrorKind::Unsaved {
            self.begin_no_more(&loss.message, effects);
            return finish(loss.cut_off(), effects);
        }
        match loss.remedy {
            Remedy::Retry { after } if self.begun(trial) < MAX_ATTEMPTS => {
                effects.push(Effect::Emit(EventKind::AttemptFailed {
                    trial: self.id(trial),
                    attempt: self.begun(trial),
                    phase: loss.phase,
                    message: loss.message,
                }));
                let pause = after.unwrap_or(backoff(self.begun(trial) - 1));
                self.delayed.insert((now + pause, trial));
            }
            Remedy::Retry { .. } => {
                self.spent.lose(loss.phase);
                let reason = format!("not begun: most sandboxes cannot be made: {}", loss.message);
                finish(loss.record(), effects);
                if self.spent.is_hopeless() {
                    self.halt(&reason, effects);
                }
            }
            Remedy::GiveUp => {
                let (kind, phase) = (loss.kind, loss.phase);
                let reason = format!("not begun: {}", loss.message);
                let record = if phase == Phase::Creating && self.is_known(trial, kind) {
                    self.not_run(trial, &reason)
                } else {
                    loss.record()
                };
                finish(record, effects);
                self.give_up(trial, kind, phase, &reason, effects);
            }
        }
    }

    /// Whether this refusal has been told already: trials that were begun side by side all meet it.
    fn is_known(&self, trial: usize, kind: ErrorKind) -> bool {
        let class = self.group(trial).class;
        self.halted || (kind == ErrorKind::Invalid && self.refused.contains(&class))
    }

    fn not_run(&self, trial: usize, reason: &str) -> TrialRecord {
        let mut record = TrialRecord::not_run(self.id(trial), reason);
        record.attempts = self.begun(trial);
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
                self.halt(reason, effects);
            }
            (ErrorKind::Invalid, Phase::Creating) => {
                let class = self.group(trial).class;
                self.refused.insert(class);
                self.drop_waiting(|group| group.class == class, reason);
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
                | ErrorKind::Unsaved
                | ErrorKind::Protocol
                | ErrorKind::Stopped,
                _,
            ) => {}
        }
    }

    fn start_what_may(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.stopping > Stopping::No {
            return;
        }
        let is_due = |(at, _): &&(Instant, usize)| *at <= now;
        while let Some(&(at, trial)) = self.delayed.first().filter(is_due) {
            self.delayed.remove(&(at, trial));
            self.ready.push_front(trial);
        }
        while self.running.len() < self.jobs {
            let Some(trial) = self.ready.pop_front() else {
                break;
            };
            if self.trials[trial].is_known {
                continue;
            }
            if let Some(why) = self.spent.is_used_up(now) {
                self.ready.push_front(trial);
                self.end_with_budget(&why, effects);
                break;
            }
            if let Some(known) = self.setups.failure(self.group(trial).setup).cloned() {
                let attempts = self.begun(trial);
                self.running.insert(trial, Under::Paper);
                effects.push(Effect::FailTrial(trial, attempts, known));
                continue;
            }
            self.spent.begin(now);
            self.attempts[trial] = self.attempts[trial].saturating_add(1);
            let attempt = self.begun(trial);
            self.running.insert(trial, Under::Sandbox);
            effects.push(Effect::Emit(EventKind::TrialStarted {
                trial: self.id(trial),
                attempt,
            }));
            effects.push(Effect::StartTrial(trial, attempt));
        }
        if let Some((at, _)) = self.delayed.first() {
            effects.push(Effect::WakeAt(*at));
        }
    }
}

fn finish(record: TrialRecord, effects: &mut Vec<Effect>) {
    effects.push(Effect::Record(Box::new(record)));
}

#[cfg(test)]
mod tests {
    use super::loss::LONGEST_PAUSE;
    use super::*;
    use crate::event::TrialEnd;
    use crate::name::{CandidateName, ObjectiveName, TrialId};

    fn before(sandboxes: u64, cost: f64) -> Spending {
        Spending { sandboxes, cost }
    }

    fn id(repeat: u32) -> TrialId {
        TrialId {
            objective: ObjectiveName::parse("o").unwrap(),
            candidate: CandidateName::parse("c").unwrap(),
            repeat,
        }
    }

    fn state(trials: u32, jobs: usize) -> State {
        let trials = (1..=trials).map(|repeat| planned(0, repeat)).collect();
        State::new(vec![group("c", 0, 0)], trials, jobs)
    }

    fn group(candidate: &str, class: usize, setup: usize) -> Group {
        Group {
            objective: id(1).objective,
            candidate: CandidateName::parse(candidate).unwrap(),
            class,
            setup,
        }
    }

    fn planned(group: u32, repeat: u32) -> Planned {
        Planned {
            group,
            repeat,
            stage: 1,
            is_known: false,
        }
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
            | Effect::Record(_)
            | Effect::FailTrial(..)
            | Effect::Press(_)
            | Effect::WakeAt(_)
            | Effect::Look(_)
            | Effect::Confirm
            | Effect::Finish => None,
        };
        effects.iter().filter_map(start).collect()
    }

    fn ends(effects: &[Effect]) -> Vec<TrialEnd> {
        let end = |effect: &Effect| {
            if let Effect::Emit(EventKind::TrialFinished(record)) | Effect::Record(record) = effect
            {
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
        let groups = vec![group("c", 0, 0), group("c", 0, 1)];
        let trials = vec![planned(0, 1), planned(0, 2), planned(1, 3), planned(0, 4)];
        let mut state = State::new(groups, trials, 2);
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

    /// Two candidates, two stages of one round each.
    fn gone_on_with(known: &[usize]) -> State {
        let trials = [(0, 1), (1, 1), (0, 2), (1, 2)].into_iter().enumerate();
        let trials = trials.map(|(at, (group, repeat))| Planned {
            stage: repeat,
            is_known: known.contains(&at),
            ..planned(group, repeat)
        });
        let groups = vec![group("a", 0, 0), group("b", 0, 0)];
        State::new(groups, trials.collect(), 8)
    }

    #[test]
    fn what_is_known_is_not_begun_and_has_no_second_result() {
        let now = Instant::now();
        let mut state = gone_on_with(&[0]);
        assert_eq!(started(&state.handle(Input::Tick, now)), [(1, 1)]);
        assert!(state.handle(finished(1), now).contains(&Effect::Look(1)));
        let mut state = gone_on_with(&[0, 1]);
        assert_eq!(state.handle(Input::Tick, now), [Effect::Look(1)]);
        let effects = state.handle(Input::Stop(StopCause::Interrupt), now);
        assert_eq!(ends(&effects).len(), 2);
    }

    #[test]
    fn a_look_of_before_holds_and_is_not_told_again() {
        let now = Instant::now();
        let stopped = crate::event::Stopped {
            candidate: CandidateName::parse("a").unwrap(),
            reason: "spared".to_owned(),
        };
        let look = Look {
            look: 1,
            level: 0.01,
            stopped: vec![stopped],
        };
        // Cut off between the look and the result of what it spares.
        let (mut state, effects) = gone_on_with(&[0, 1]).after(std::slice::from_ref(&look));
        assert!(matches!(ends(&effects)[..], [TrialEnd::Spared { .. }]));
        assert_eq!(effects.len(), 1);
        assert_eq!(started(&state.handle(Input::Tick, now)), [(3, 1)]);
        assert!(state.handle(finished(3), now).contains(&Effect::Look(2)));
        // Cut off when all had ended, and before the last look.
        let (mut state, effects) = gone_on_with(&[0, 1, 2, 3]).after(&[look]);
        assert_eq!(effects, []);
        assert_eq!(state.handle(Input::Tick, now), [Effect::Look(2)]);
    }

    #[test]
    fn a_budget_of_sandboxes_counts_every_attempt_and_the_rest_is_not_begun() {
        let mut now = Instant::now();
        let budget = Budget {
            sandboxes: Some(4),
            cost: None,
        };
        let mut state = state(5, 2).within(budget, 0.0, before(1, 0.0));
        assert_eq!(started(&state.handle(Input::Tick, now)), [(0, 1), (1, 1)]);
        // One was made before: the third of these is the fourth.
        let effects = state.handle(lost(0, ErrorKind::Server), now);
        assert_eq!(started(&effects), [(2, 1)]);
        now += LONGEST_PAUSE;
        let effects = state.handle(finished(1), now);
        assert_eq!(started(&effects), []);
        let reasons: Vec<String> = ends(&effects)
            .iter()
            .filter_map(|end| Some(end.error()?.1))
            .collect();
        let reason = "not begun: the budget of 4 sandboxes is used up";
        assert_eq!(reasons, [reason; 3]);
    }

    #[test]
    fn a_budget_of_money_ends_what_has_not_begun() {
        let now = Instant::now();
        let budget = Budget {
            sandboxes: None,
            cost: Some(1.0),
        };
        let mut state = state(5, 2).within(budget, 0.0, before(0, 0.25));
        state.handle(Input::Tick, now);
        let paid = |trial: usize, cost: f64| {
            let Input::Finished(trial, mut record, setup) = finished(trial) else {
                panic!("it is finished");
            };
            record.metrics = [(COST.to_owned(), cost)].into();
            Input::Finished(trial, record, setup)
        };
        assert_eq!(started(&state.handle(paid(0, 0.5), now)), [(2, 1)]);
        let effects = state.handle(paid(1, 0.5), now);
        assert_eq!(started(&effects), []);
        assert_eq!(ends(&effects).len(), 3, "{effects:?}");
        // What is under way comes to its end.
        let effects = state.handle(paid(2, 0.5), now);
        assert!(effects.contains(&Effect::Finish));
        // Whoever says less than nothing gives others no more.
        let mut state = self::state(5, 1).within(budget, 0.0, before(0, 0.25));
        state.handle(Input::Tick, now);
        assert_eq!(started(&state.handle(paid(0, -5.0), now)), [(1, 1)]);
        assert_eq!(started(&state.handle(paid(1, 0.75), now)), []);
    }

    #[test]
    fn the_time_of_sandboxes_costs_what_an_hour_costs() {
        let mut now = Instant::now();
        let hour = std::time::Duration::from_secs(3600);
        let budget = Budget {
            sandboxes: None,
            cost: Some(10.0),
        };
        let mut state = state(9, 2).within(budget, 2.0, before(0, 1.0));
        state.handle(Input::Tick, now);
        now += hour;
        // Two for an hour: 4 dollars, and the one of before.
        assert_eq!(started(&state.handle(finished(0), now)), [(2, 1)]);
        now += hour;
        // What is under way counts too: 9 dollars.
        assert_eq!(started(&state.handle(finished(1), now)), [(3, 1)]);
        now += hour / 2;
        let effects = state.handle(finished(2), now);
        let reasons = ends(&effects).into_iter();
        let reasons: Vec<String> = reasons.filter_map(|end| Some(end.error()?.1)).collect();
        let reason = "not begun: the budget of 10 USD is used up: 11.00";
        assert_eq!(reasons.len(), 5);
        assert!(reasons[0].starts_with(reason), "{}", reasons[0]);
    }

    #[test]
    fn a_budget_that_is_used_up_is_told_where_something_would_begin() {
        let now = Instant::now();
        let budget = Budget {
            sandboxes: Some(2),
            cost: None,
        };
        let mut whole = gone_on_with(&[0, 1, 2, 3]).within(budget, 0.0, before(4, 0.0));
        assert_eq!(whole.handle(Input::Tick, now), [Effect::Look(1)]);
        let mut cut_off = gone_on_with(&[0]).within(budget, 0.0, before(4, 0.0));
        let effects = cut_off.handle(Input::Tick, now);
        assert_eq!((started(&effects), ends(&effects).len()), (vec![], 3));
    }

    #[test]
    fn where_most_sandboxes_cannot_be_made_the_rest_is_not_begun() {
        let mut now = Instant::now();
        let mut state = state(100, 1);
        let mut effects = state.handle(Input::Tick, now);
        let (mut begun, mut results) = (BTreeSet::new(), 0);
        while let Some((trial, _)) = started(&effects).first().copied() {
            begun.insert(trial);
            now += LONGEST_PAUSE;
            effects = if trial % 8 == 7 {
                state.handle(finished(trial), now)
            } else {
                state.handle(lost(trial, ErrorKind::Server), now)
            };
            now += LONGEST_PAUSE;
            effects.extend(state.handle(Input::Tick, now));
            results += ends(&effects).len();
        }
        assert!((8..16).contains(&begun.len()), "{begun:?}");
        assert_eq!(results, 100);
        assert!(effects.contains(&Effect::Finish));
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
    fn where_nothing_can_be_saved_no_more_is_begun_and_what_is_under_way_may_end() {
        let now = Instant::now();
        for unsaved in [
            lost(0, ErrorKind::Unsaved),
            Input::Unsaved("the disk is full".to_owned()),
        ] {
            let is_lost = matches!(unsaved, Input::Lost(..));
            let mut state = state(5, 2);
            state.handle(Input::Tick, now);
            let effects = state.handle(unsaved, now);
            let all = ends(&effects);
            // Of what was under way nothing could be kept: it has no result, and is run when the run goes on.
            let cut_off = all.iter().filter(|it| **it == TrialEnd::Cancelled).count();
            assert_eq!((all.len() - cut_off, cut_off), (3, usize::from(is_lost)));
            assert_eq!(started(&effects), []);
            assert_eq!(state.stopping(), Stopping::No);
            let told = effects.contains(&Effect::Emit(EventKind::StopRequested {
                cause: StopCause::Unsaved,
                hurry: false,
            }));
            assert!(told, "{effects:?}");
            let rest: &[usize] = if is_lost { &[1] } else { &[0, 1] };
            for trial in rest {
                let effects = state.handle(finished(*trial), now);
                assert_eq!(started(&effects), []);
                assert_eq!(ends(&effects), [TrialEnd::Exited { code: 0 }]);
            }
        }
    }

    #[test]
    fn without_a_journal_what_is_under_way_ends_too() {
        let now = Instant::now();
        let mut state = state(5, 2);
        state.handle(Input::Tick, now);
        let effects = state.handle(Input::Unwritten("it is full".to_owned()), now);
        assert_eq!(ends(&effects).len(), 3);
        assert!(effects.contains(&Effect::Press(Stopping::Stop)));
        // Which cannot be written down either, and is not told again.
        let effects = state.handle(Input::Unsaved("it is full".to_owned()), now);
        assert_eq!(effects, []);
    }

    #[test]
    fn a_refused_feature_ends_only_the_trials_that_ask_for_it() {
        let now = Instant::now();
        let groups = vec![group("c", 0, 0), group("c", 1, 0)];
        let trials = (1..=6).map(|repeat| planned(repeat % 2, repeat));
        let mut state = State::new(groups, trials.collect(), 1);
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

    /// Two candidates, `c` and `d`, with so many trials each in every stage.
    fn staged(stages: u32, each: u32, jobs: usize) -> State {
        let classes = 0..3;
        let groups = classes.flat_map(|class| ["c", "d"].map(|name| group(name, class, 0)));
        let mut trials = Vec::new();
        for stage in 1..=stages {
            for at in 1..=each {
                let repeat = (stage - 1) * each + at;
                for candidate in 0..2 {
                    trials.push(Planned {
                        stage,
                        ..planned(repeat % 3 * 2 + candidate, repeat)
                    });
                }
            }
        }
        State::new(groups.collect(), trials, jobs)
    }

    fn look(look: u32, stopped: &[&str]) -> Look {
        let stopped = stopped.iter().map(|name| crate::event::Stopped {
            candidate: CandidateName::parse(name).unwrap(),
            reason: format!("spared: {name}"),
        });
        Look {
            look,
            level: 0.01,
            stopped: stopped.collect(),
        }
    }

    #[test]
    fn what_comes_after_a_look_waits_for_it_and_who_is_stopped_is_spared() {
        let now = Instant::now();
        let mut state = staged(2, 1, 4);
        assert_eq!(started(&state.handle(Input::Tick, now)), [(0, 1), (1, 1)]);
        // A slot is free, and stays so.
        assert_eq!(state.handle(finished(0), now).len(), 1);
        let effects = state.handle(finished(1), now);
        assert_eq!(effects.last(), Some(&Effect::Look(1)));
        // Nobody asks twice.
        assert_eq!(state.handle(Input::Tick, now), []);
        let effects = state.handle(Input::Looked(look(1, &["c"])), now);
        assert_eq!(started(&effects), [(3, 1)]);
        let reason = "spared: c".to_owned();
        assert_eq!(ends(&effects), [TrialEnd::Spared { reason }]);
        assert!(matches!(
            effects[0],
            Effect::Emit(EventKind::Looked(Look { look: 1, .. }))
        ));
        let effects = state.handle(finished(3), now);
        assert_eq!(effects.last(), Some(&Effect::Look(2)));
        let effects = state.handle(Input::Looked(look(2, &[])), now);
        assert_eq!(effects.last(), Some(&Effect::Finish));
    }

    #[test]
    fn when_nobody_goes_on_that_was_the_last_look() {
        let now = Instant::now();
        let mut state = staged(3, 1, 4);
        state.handle(Input::Tick, now);
        state.handle(finished(0), now);
        state.handle(finished(1), now);
        let effects = state.handle(Input::Looked(look(1, &["c", "d"])), now);
        assert_eq!(ends(&effects).len(), 4);
        assert_eq!(effects.last(), Some(&Effect::Finish));
    }

    #[test]
    fn a_trial_that_is_tried_again_keeps_the_look_waiting() {
        let now = Instant::now();
        let mut state = staged(2, 1, 4);
        state.handle(Input::Tick, now);
        state.handle(finished(0), now);
        let effects = state.handle(lost(1, ErrorKind::Server), now);
        assert!(matches!(effects.last(), Some(Effect::WakeAt(_))));
        let effects = state.handle(Input::Tick, now + LONGEST_PAUSE);
        assert_eq!(started(&effects), [(1, 2)]);
        let effects = state.handle(finished(1), now);
        assert_eq!(effects.last(), Some(&Effect::Look(1)));
    }

    #[test]
    fn what_is_run_again_is_asked_once_and_told_before_its_trials() {
        let now = Instant::now();
        let mut state = state(1, 1).confirming(true);
        state.handle(Input::Tick, now);
        assert_eq!(
            state.handle(finished(0), now).last(),
            Some(&Effect::Confirm)
        );
        let confirmation = Confirmation {
            candidate: id(1).candidate,
            against: id(1).candidate,
            trials: 1,
        };
        let more = planned(0, 2);
        let confirming = Input::Confirming(vec![confirmation.clone()], vec![more], Vec::new());
        let effects = state.handle(confirming, now);
        assert_eq!(
            effects[0],
            Effect::Emit(EventKind::ConfirmationPlanned(confirmation))
        );
        assert_eq!(started(&effects), [(1, 1)]);
        assert_eq!(state.handle(finished(1), now).last(), Some(&Effect::Finish));
    }

    #[test]
    fn a_run_that_is_stopped_is_looked_at_no_more_and_nothing_is_run_again() {
        let now = Instant::now();
        let mut state = staged(3, 2, 4).confirming(true);
        state.handle(Input::Tick, now);
        state.handle(finished(0), now);
        let effects = state.handle(Input::Stop(StopCause::Interrupt), now);
        assert_eq!(ends(&effects).len(), 8);
        for trial in [1, 2] {
            state.handle(lost(trial, ErrorKind::Stopped), now);
        }
        let effects = state.handle(lost(3, ErrorKind::Stopped), now);
        assert_eq!(effects.last(), Some(&Effect::Finish));
    }

    /// One run in which anything may happen at any time.
    fn any_run(seed: u64) {
        use crate::statistics::draw::Random;
        let mut random = Random::new(seed);
        let mut one_of = |count: usize| usize::try_from(random.next() % count as u64).unwrap();
        let stages = u32::try_from(1 + one_of(3)).unwrap();
        let jobs = 1 + one_of(4);
        let mut state = staged(stages, u32::try_from(one_of(3)).unwrap(), jobs);
        state = state.confirming(one_of(2) == 0);
        let mut now = Instant::now();
        let (mut results, mut running) = (BTreeMap::new(), Vec::new());
        let (mut looks, mut confirmed, mut input) = (0, false, Input::Tick);
        for _ in 0..1000 {
            let effects = state.handle(input, now);
            let mut answer = None;
            for effect in &effects {
                assert_eq!(answer, None, "that is the last");
                match effect {
                    Effect::Emit(EventKind::TrialFinished(record)) | Effect::Record(record) => {
                        *results.entry(record.trial.clone()).or_insert(0) += 1;
                    }
                    Effect::StartTrial(trial, _) | Effect::FailTrial(trial, ..) => {
                        assert!(state.trials[*trial].stage <= looks + 1);
                        running.push(*trial);
                    }
                    Effect::Look(_) | Effect::Confirm | Effect::Finish => {
                        assert!(running.is_empty(), "everything so far has ended");
                        answer = Some(effect);
                    }
                    Effect::Emit(_) | Effect::Press(_) | Effect::WakeAt(_) => {}
                }
            }
            assert!(running.len() <= jobs);
            now += LONGEST_PAUSE;
            input = match answer {
                Some(Effect::Finish) => {
                    for id in (0..state.trials.len()).map(|trial| state.id(trial)) {
                        assert_eq!(results.remove(&id), Some(1), "{id}");
                    }
                    assert!(results.is_empty());
                    return;
                }
                Some(Effect::Look(number)) => {
                    looks += 1;
                    assert_eq!(*number, looks);
                    let stopped = [&[][..], &["c"], &["d"], &["c", "d"]][one_of(4)];
                    Input::Looked(look(*number, stopped))
                }
                Some(Effect::Confirm) => {
                    assert!(!std::mem::replace(&mut confirmed, true));
                    let more =
                        (0..one_of(3)).map(|at| planned(0, 100 + u32::try_from(at).unwrap()));
                    Input::Confirming(Vec::new(), more.collect(), Vec::new())
                }
                _ if running.is_empty() => Input::Tick,
                _ if one_of(40) == 0 => Input::Stop(StopCause::Interrupt),
                _ => {
                    let trial = running.swap_remove(one_of(running.len()));
                    let kinds = [
                        ErrorKind::Server,
                        ErrorKind::Lost,
                        ErrorKind::Invalid,
                        ErrorKind::Unauthorized,
                    ];
                    let is_lost = one_of(4) == 0;
                    let id = state.id(trial);
                    let record = TrialRecord::ended(id, TrialEnd::Exited { code: 0 }, 1);
                    if is_lost {
                        // What is wrong with all of them is seldom.
                        let kind = kinds[one_of(40).saturating_sub(36)];
                        let Input::Lost(_, mut loss) = lost(trial, kind) else {
                            unreachable!();
                        };
                        loss.record = Box::new(record);
                        Input::Lost(trial, loss)
                    } else {
                        Input::Finished(trial, Box::new(record), SetupEnd::Done)
                    }
                }
            };
        }
        panic!("seed {seed}: it does not end");
    }

    #[test]
    fn whatever_happens_every_planned_trial_has_exactly_one_result() {
        for seed in 0..2000 {
            any_run(seed);
        }
    }
}
