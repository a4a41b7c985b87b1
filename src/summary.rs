//! Summaries: what a run's events add up to.
//!
//! Promises: a summary is a fold over events and nothing else, so replaying `events.jsonl` gives the same
//! one as the live run; it grows by one small row a planned trial, never by what a trial left. What the
//! rows mean is in [`crate::standings`].

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::event::{
    Cleanup, Confirmation, Event, EventKind, Look, Resumption, RunPlan, StopCause, StoredScores,
    TrialRecord,
};
use crate::name::{SandboxId, TrialId};
use crate::standings::{self, Standings};

mod columns;
mod kept;
mod row;
mod rows;
pub mod took;
mod trials;

pub use kept::GraderRow;
pub use row::TrialRow;
pub(crate) use row::UNRECORDED;
pub use rows::{Iter, TrialRows};
pub use trials::Trials;

/// The most trials that a run can have; a plan with more is none.
pub const MAX_TRIALS: usize = 1_000_000;

/// What came before a run was gone on with.
#[derive(Debug, Clone, Default)]
struct Before {
    /// How long that took.
    took: Duration,
    /// What became of its sandboxes, until that is told together with those of now.
    cleanup: Option<Cleanup>,
    /// When the run began, or was gone on with last.
    session: Option<Timestamp>,
}

/// What a run's events add up to.
#[derive(Debug, Clone, Default)]
pub struct RunSummary {
    /// What was planned; `None` before the first event.
    pub plan: Option<RunPlan>,
    /// When the run began.
    pub started: Option<Timestamp>,
    /// How long it took; `None` when it never said that it was over.
    pub took: Option<Duration>,
    /// One row a planned trial, in the plan's order.
    pub trials: Trials,
    /// What became of the sandboxes.
    pub cleanup: Option<Cleanup>,
    /// The first thing that told the run to stop.
    pub stopped: Option<StopCause>,
    /// What people should know about the run as a whole.
    pub warnings: Vec<String>,
    /// What stored runs kept of candidates, to compare with.
    pub stored: Vec<StoredScores>,
    /// What was decided on the way.
    pub looks: Vec<Look>,
    /// Whether trials were scored again when the run was over.
    pub rescored: bool,
    /// What was run again because it looked like a regression.
    pub confirmations: Vec<Confirmation>,
    /// When the last event was, the place of the next, and what came before the run was gone on with.
    last: Option<Timestamp>,
    next: u64,
    before: Before,
    sandboxes: SandboxTime,
}

/// How long there were sandboxes: from the begin of every attempt to its end.
#[derive(Debug, Clone, Default)]
struct SandboxTime {
    ended: Duration,
    /// When those that are under way began: as many as run at once.
    open: HashMap<TrialId, Timestamp>,
}

impl SandboxTime {
    fn begin(&mut self, trial: &TrialId, at: Timestamp) {
        self.open.insert(trial.clone(), at);
    }

    fn end(&mut self, trial: &TrialId, at: Timestamp) {
        if let Some(began) = self.open.remove(trial) {
            self.ended = self.ended.saturating_add(between(began, at));
        }
    }

    /// A trial has its result. Of one whose begin was not told, as in what was put together, the phases are known.
    fn finish(&mut self, record: &TrialRecord, at: Timestamp) {
        match self.open.remove(&record.trial) {
            Some(began) => self.ended = self.ended.saturating_add(between(began, at)),
            None => self.ended = self.ended.saturating_add(record.timings.in_sandbox()),
        }
    }

    /// With what is under way, until then.
    fn until(&self, at: Timestamp) -> Duration {
        let open = self.open.values().map(|began| between(*began, at));
        open.fold(self.ended, Duration::saturating_add)
    }

    /// The run was cut off, when this was the last that was heard of it.
    fn cut_off(&mut self, last: Timestamp) {
        self.ended = self.until(last);
        self.open.clear();
    }
}

/// A clock that was set back takes nothing away.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

impl RunSummary {
    /// The summary of a whole history.
    #[must_use]
    pub fn of<'a>(events: impl IntoIterator<Item = &'a Event>) -> Self {
        let mut summary = Self::default();
        for event in events {
            summary.apply(event);
        }
        summary
    }

    /// Takes the next event.
    pub fn apply(&mut self, event: &Event) {
        let last = self.last.replace(event.at);
        self.next = event.seq.saturating_add(1);
        match &event.kind {
            // Of a file that somebody has made; it would not fit into memory.
            EventKind::RunStarted(plan) if plan.len() > MAX_TRIALS => {}
            EventKind::RunStarted(plan) => {
                self.trials = Trials::planned(plan);
                self.plan = Some((**plan).clone());
                self.started = Some(event.at);
                self.before.session = Some(event.at);
            }
            EventKind::RunResumed(resumption) if resumption.plan.len() > MAX_TRIALS => {}
            EventKind::RunResumed(resumption) => self.resume(resumption, event.at, last),
            EventKind::TrialFinished(record) => {
                self.sandboxes.finish(record, event.at);
                if let Some(at) = self.trials.find(&record.trial) {
                    self.trials.finish(at, record);
                }
            }
            EventKind::TrialRescored { trial, score } => {
                self.rescored |= self.took.is_some();
                if let Some(at) = self.trials.find(trial) {
                    self.trials.rescore(at, Some(score));
                }
            }
            EventKind::StopRequested { cause, .. } => {
                self.stopped.get_or_insert(*cause);
            }
            EventKind::BaselineRead(stored) => self.stored.push(stored.clone()),
            EventKind::Looked(look) => self.looks.push(look.clone()),
            EventKind::ConfirmationPlanned(confirmation) => self.confirm(confirmation),
            EventKind::Warned { message } => self.warnings.push(message.clone()),
            EventKind::CleanedUp(cleanup) => {
                let mut cleanup = cleanup.clone();
                if let Some(earlier) = self.before.cleanup.take() {
                    cleanup.follow(earlier);
                }
                self.cleanup = Some(cleanup);
            }
            EventKind::RunFinished { took_ms } => {
                self.took = Some(self.before.took + Duration::from_millis(*took_ms));
            }
            EventKind::TrialStarted { trial, .. } => self.sandboxes.begin(trial, event.at),
            EventKind::AttemptFailed { trial, .. } => self.sandboxes.end(trial, event.at),
            EventKind::PhaseStarted { .. }
            | EventKind::Logged { .. }
            | EventKind::SlotRefused { .. } => {}
        }
    }

    /// Takes over what stands, and forgets how the run had ended.
    fn resume(&mut self, resumption: &Resumption, at: Timestamp, last: Option<Timestamp>) {
        let plan = &resumption.plan;
        self.sandboxes.cut_off(last.unwrap_or(at));
        let confirmations = std::mem::take(&mut self.confirmations);
        self.plan = Some(plan.clone());
        let gone: HashSet<&TrialId> = resumption.gone.iter().collect();
        let stands = |row: TrialRow<'_>| row.stands(resumption, &gone);
        if confirmations.is_empty() && self.trials.are_of(plan) {
            // As most go on: there is no room for a second row of each.
            for at in 0..self.trials.len() {
                if !self.trials.get(at).is_some_and(stands) {
                    self.trials.forget(at);
                }
            }
        } else {
            let old = std::mem::replace(&mut self.trials, Trials::planned(plan));
            for confirmation in &confirmations {
                self.confirm(confirmation);
            }
            self.trials.take_over(&old, stands);
        }
        // A run that was cut off has not said how long it took.
        let cut_off = || {
            let both = self.before.session.zip(last);
            both.map_or(Duration::ZERO, |(from, to)| {
                to.duration_since(from).unsigned_abs()
            })
        };
        self.before = Before {
            took: self
                .took
                .take()
                .unwrap_or_else(|| self.before.took + cut_off()),
            cleanup: self.cleanup.take().or_else(|| self.before.cleanup.take()),
            session: Some(at),
        };
        self.stopped = None;
        self.warnings.clear();
        if resumption.kept < resumption.plan.len() as u64 {
            self.warnings.push(resumption.told.clone());
        }
        self.stored.clear();
        self.rescored &= resumption.kept > 0;
    }

    /// Adds the rows of a confirmation, each behind those of its candidate and objective.
    fn confirm(&mut self, confirmation: &Confirmation) {
        let Some(plan) = &self.plan else {
            return;
        };
        // Of a file that somebody has made; they would not fit into memory.
        let each = (confirmation.trials as usize).saturating_mul(2);
        if self.trials.len() + each.saturating_mul(plan.objectives.len()) > MAX_TRIALS {
            return;
        }
        // Of two who are compared with the same one, both have the same trials of that.
        let more = plan.confirmed(confirmation);
        let more = more.filter(|trial| self.trials.find(trial).is_none());
        self.trials = self.trials.extended(plan, more);
        self.confirmations.push(confirmation.clone());
    }

    /// The time of all sandboxes together, of those that are under way until the last event.
    #[must_use]
    pub fn in_sandboxes(&self) -> Duration {
        let until = |last| self.sandboxes.until(last);
        self.last.map_or(Duration::ZERO, until)
    }

    /// What that costs, in US dollars, where an hour has a price.
    #[must_use]
    pub fn sandboxes_cost(&self) -> Option<f64> {
        let price = self.plan.as_ref()?.price_per_hour?;
        Some(self.in_sandboxes().as_secs_f64() / 3600.0 * price)
    }

    /// How many sandboxes are told to be deleted so far, also by a time that was cut off after another had ended.
    #[must_use]
    pub fn told_deleted(&self) -> u64 {
        self.told().map_or(0, |it| it.deleted)
    }

    /// Which sandboxes are told to be kept so far, in the same way.
    #[must_use]
    pub fn told_kept(&self) -> &[SandboxId] {
        self.told().map_or(&[], |it| &it.kept)
    }

    fn told(&self) -> Option<&Cleanup> {
        self.cleanup.as_ref().or(self.before.cleanup.as_ref())
    }

    /// The place of the next event in the run's order: how many there are.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next
    }

    /// When the last event was.
    #[must_use]
    pub const fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// The row of a planned trial.
    #[must_use]
    pub fn trial(&self, trial: &TrialId) -> Option<TrialRow<'_>> {
        self.trials.get(self.place(trial)?)
    }

    /// The place of a planned trial's row among all.
    pub(crate) fn place(&self, trial: &TrialId) -> Option<usize> {
        self.trials.find(trial)
    }

    /// How many trials have no verdict.
    #[must_use]
    pub fn lost(&self) -> usize {
        self.trials.iter().filter(|row| row.is_lost()).count()
    }

    /// Ranks the candidates, and says whether the lead is real.
    #[must_use]
    pub fn standings(&self) -> Standings {
        let Some(plan) = &self.plan else {
            return Standings::default();
        };
        // Who leads is asked at every look where nothing else is.
        let level = match self.looks.last() {
            Some(look) if plan.asks_who_leads() => look.level,
            Some(_) | None => plan.rule.alpha,
        };
        // Whoever was dropped first comes last, whatever the others have lost since.
        let stopped = self.looks.iter().flat_map(|look| &look.stopped);
        let dropped = stopped.filter(|_| plan.rejects).map(|it| &it.candidate);
        standings::of(plan, &self.trials, level, &dropped.collect::<Vec<_>>())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::event::{ErrorClass, Phase, PlannedCandidate, PlannedObjective, TrialEnd};
    use crate::name::{CandidateName, ObjectiveName, RunId};
    use crate::score::{GateResult, Points, ScorerResult, TrialScore, Weights, Went, combine};

    /// The events of a run, written down in a test.
    #[derive(Clone)]
    pub(crate) struct History(Vec<EventKind>);

    impl History {
        /// A run with this plan.
        pub(crate) fn of(candidates: &[&str], objectives: &[&str], repeats: u32) -> Self {
            let candidate = |name: &&str| PlannedCandidate {
                name: CandidateName::parse(name).unwrap(),
                description: None,
                digest: String::new(),
                differs: Vec::new(),
                repeats: BTreeMap::new(),
            };
            let objective = |name: &&str| PlannedObjective {
                name: ObjectiveName::parse(name).unwrap(),
                title: None,
                file: None,
                digest: String::new(),
                repeats,
                output: "post.md".to_owned(),
                weights: Weights::default(),
                run_limit_s: 60.0,
                network: "open".to_owned(),
            };
            Self(vec![EventKind::RunStarted(Box::new(RunPlan {
                format: 1,
                run: RunId::generate(),
                forge_version: String::new(),
                mode: "local".to_owned(),
                mode_reason: String::new(),
                isolation: String::new(),
                seed: 0,
                jobs: 1,
                candidates: candidates.iter().map(candidate).collect(),
                objectives: objectives.iter().map(objective).collect(),
                demands: crate::event::Demands::default(),
                rule: crate::rule::Rule::default(),
                comparisons: Vec::new(),
                looks: 1,
                rejects: false,
                confirm: None,
                shard: None,
                command: None,
                terms: BTreeMap::new(),
                price_per_hour: None,
                settings: BTreeMap::new(),
                host: BTreeMap::new(),
            }))])
        }

        /// The same with another plan.
        pub(crate) fn planned(mut self, change: impl FnOnce(&mut RunPlan)) -> Self {
            if let EventKind::RunStarted(plan) = &mut self.0[0] {
                change(plan);
            }
            self
        }

        /// And then this happened.
        pub(crate) fn then(mut self, kind: EventKind) -> Self {
            self.0.push(kind);
            self
        }

        /// A trial (`objective/candidate/repeat`) that passed with these points.
        pub(crate) fn scored(self, trial: &str, points: f64) -> Self {
            self.then(finished(
                trial,
                TrialEnd::Exited { code: 0 },
                Some(score(true, points)),
                1.0,
            ))
        }

        /// A trial that passed, and how long it took in seconds.
        pub(crate) fn took(self, trial: &str, seconds: f64) -> Self {
            self.then(finished(
                trial,
                TrialEnd::Exited { code: 0 },
                Some(score(true, 50.0)),
                seconds,
            ))
        }

        /// A trial that passed and was judged by `command a`, `command b` and so on, each of which went like
        /// this.
        pub(crate) fn graded(self, trial: &str, went: &[(Went, f64)]) -> Self {
            let scorer = |((went, points), name): (&(Went, f64), char)| ScorerResult {
                scorer: format!("command {name}"),
                weight: 1.0,
                points: Points::new(*points).filter(|_| !went.failed()),
                explanation: "it failed: exited with 2".to_owned(),
                went: Some(*went),
                said: None,
            };
            let scorers = went.iter().zip('a'..).map(scorer).collect();
            let score = combine(WEIGHTS, Vec::new(), scorers, Points::FULL);
            self.then(finished(
                trial,
                TrialEnd::Exited { code: 0 },
                Some(score),
                1.0,
            ))
        }

        /// A trial that failed a gate.
        pub(crate) fn disqualified(self, trial: &str) -> Self {
            self.then(finished(
                trial,
                TrialEnd::Exited { code: 3 },
                Some(score(false, 90.0)),
                1.0,
            ))
        }

        /// A trial that the infrastructure lost after 99 seconds.
        pub(crate) fn lost(self, trial: &str) -> Self {
            let end = TrialEnd::SandboxFailed {
                phase: Phase::Running,
                message: "it vanished".to_owned(),
                hint: None,
            };
            self.then(finished(trial, end, None, 99.0))
        }

        pub(crate) fn summary(&self) -> RunSummary {
            let events: Vec<Event> = self
                .0
                .iter()
                .zip(0..)
                .map(|(kind, seq)| Event {
                    seq,
                    at: Timestamp::UNIX_EPOCH,
                    kind: kind.clone(),
                })
                .collect();
            RunSummary::of(&events)
        }

        pub(crate) fn standings(&self) -> Standings {
            self.summary().standings()
        }
    }

    fn trial(text: &str) -> TrialId {
        let parts: Vec<&str> = text.split('/').collect();
        TrialId {
            objective: ObjectiveName::parse(parts[0]).unwrap(),
            candidate: CandidateName::try_from(parts[1].to_owned()).unwrap(),
            repeat: parts[2].parse().unwrap(),
        }
    }

    /// All of the weight lies on the quality.
    const WEIGHTS: Weights = Weights {
        success: 0.0,
        quality: 1.0,
        speed: 0.0,
    };

    fn score(passed: bool, quality: f64) -> TrialScore {
        let gate = GateResult {
            gate: "exit_code 0".to_owned(),
            passed,
            explanation: "exited with 3".to_owned(),
        };
        let scorer = ScorerResult {
            scorer: "golden x".to_owned(),
            weight: 1.0,
            points: Points::new(quality),
            explanation: String::new(),
            went: None,
            said: None,
        };
        combine(WEIGHTS, vec![gate], vec![scorer], Points::FULL)
    }

    fn finished(text: &str, end: TrialEnd, score: Option<TrialScore>, seconds: f64) -> EventKind {
        let mut record = TrialRecord::ended(trial(text), end, 1);
        record.score = score;
        record.runtime_s = Some(seconds);
        EventKind::TrialFinished(Box::new(record))
    }

    #[test]
    fn there_is_a_row_for_every_planned_trial_from_the_first_event_on() {
        let history = History::of(&["alpha", "beta"], &["code", "post"], 2);
        let rows = history.summary().trials;
        let ids: Vec<String> = rows.iter().map(|row| row.trial().to_string()).collect();
        assert_eq!(
            ids,
            [
                "code/alpha/1",
                "code/alpha/2",
                "code/beta/1",
                "code/beta/2",
                "post/alpha/1",
                "post/alpha/2",
                "post/beta/1",
                "post/beta/2",
            ]
        );
        assert!(
            rows.iter()
                .all(|row| row.error_kind() == Some(ErrorClass::NotRun))
        );
        assert_eq!(history.summary().lost(), 8);
        assert!(RunSummary::default().standings().overall.is_empty());
    }

    #[test]
    fn a_result_that_was_never_planned_is_ignored() {
        let history = History::of(&["alpha"], &["post"], 1).scored("post/beta/1", 80.0);
        assert_eq!(history.summary().trials.len(), 1);
        assert_eq!(history.standings().overall[0].score, None);
    }

    #[test]
    fn a_name_that_somebody_has_written_twice_into_a_journal_hides_no_other() {
        let history = History::of(&["alpha", "beta", "alpha"], &["post", "code", "post"], 2);
        let history = history.scored("post/beta/2", 80.0);
        let history = history.scored("code/alpha/1", 70.0);
        let rows = history.summary().trials;
        let judged = rows.iter().filter(|row| row.is_judged());
        let ids: Vec<String> = judged.map(|row| row.trial().to_string()).collect();
        assert_eq!((rows.len(), ids.len()), (8, 2), "{ids:?}");
    }

    #[test]
    fn the_time_in_sandboxes_is_that_of_all_attempts_also_where_the_run_was_cut_off() {
        let plan = History::of(&["alpha", "beta"], &["post"], 1).summary().plan;
        let plan = RunPlan {
            price_per_hour: Some(0.5),
            ..plan.unwrap()
        };
        let begin = |of: &str| EventKind::TrialStarted {
            trial: trial(of),
            attempt: 1,
        };
        let fail = EventKind::AttemptFailed {
            trial: trial("post/alpha/1"),
            attempt: 1,
            phase: Phase::Creating,
            message: "it vanished".to_owned(),
        };
        let resumed = EventKind::RunResumed(Box::new(Resumption {
            plan: plan.clone(),
            told: String::new(),
            kept: 0,
            again: Vec::new(),
            retry: Vec::new(),
            gone: Vec::new(),
        }));
        let history = [
            (0, EventKind::RunStarted(Box::new(plan))),
            (10, begin("post/alpha/1")),
            (20, begin("post/beta/1")),
            (40, fail),
            (50, begin("post/alpha/1")),
            // Cut off; nobody knows what was between.
            (9_000, resumed),
            (9_100, begin("post/alpha/1")),
            (9_060, begin("post/beta/1")),
        ];
        let events = history.into_iter().zip(0..).map(|((at, kind), seq)| Event {
            seq,
            at: Timestamp::from_second(at).unwrap(),
            kind,
        });
        let summary = RunSummary::of(&events.collect::<Vec<_>>());
        // 30 and 30 until the last event before the cut, and nothing where the clock was set back.
        assert_eq!(summary.in_sandboxes(), Duration::from_secs(30 + 30));
        assert_eq!(summary.sandboxes_cost(), Some(60.0 / 7200.0));
    }

    #[test]
    fn scoring_again_replaces_the_score_and_nothing_else() {
        let summary = History::of(&["alpha"], &["post"], 1)
            .disqualified("post/alpha/1")
            .then(EventKind::TrialRescored {
                trial: trial("post/alpha/1"),
                score: score(true, 64.0),
            })
            .summary();
        let row = summary.trials.get(0).unwrap();
        assert_eq!(row.score(), Points::new(64.0));
        assert_eq!((row.disqualified(), row.exit_code()), (None, Some(3)));
    }
}
