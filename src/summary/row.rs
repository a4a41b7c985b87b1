//! The row of a trial: what is kept of it for as long as its run is looked at.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::kept::{GraderRow, How, Kept, More};
use super::took::Took;
use super::trials::Trials;
use crate::event::{ErrorClass, Measured, Resumption, Retry};
use crate::name::{CandidateName, ObjectiveName, TrialId};
use crate::score::Points;

/// What is said of a trial that has no result, or none yet.
pub(crate) const UNRECORDED: &str = "no result was recorded";

/// What is kept of a trial: enough to rank it and to show it in a line. The rest is in its `trial.json`.
#[derive(Clone, Copy)]
pub struct TrialRow<'a> {
    trials: &'a Trials,
    cell: u32,
    at: u32,
}

impl<'a> TrialRow<'a> {
    /// That of the trial in this place, which is in this cell.
    pub(super) fn at(trials: &'a Trials, cell: usize, at: usize) -> Self {
        // No run has more trials than that.
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Self {
            trials,
            cell: place(cell),
            at: place(at),
        }
    }

    pub(super) const fn kept(self) -> &'a Kept {
        &self.trials.kept
    }

    pub(super) const fn place(self) -> usize {
        self.at as usize
    }

    fn how(self) -> How {
        self.kept().how(self.place())
    }

    fn more(self) -> &'a More {
        self.kept().more(self.place())
    }

    /// Which trial.
    #[must_use]
    pub fn trial(self) -> TrialId {
        TrialId {
            objective: self.objective().clone(),
            candidate: self.candidate().clone(),
            repeat: self.repeat(),
        }
    }

    /// What was to be done.
    #[must_use]
    pub fn objective(self) -> &'a ObjectiveName {
        self.trials.objective(self.cell as usize)
    }

    /// Who did it.
    #[must_use]
    pub fn candidate(self) -> &'a CandidateName {
        self.trials.candidate(self.cell as usize)
    }

    /// Which repeat, counted from 1.
    #[must_use]
    pub fn repeat(self) -> u32 {
        self.trials.repeat(self.cell as usize, self.place())
    }

    /// What went wrong; `None` when the candidate exited with 0.
    #[must_use]
    pub fn error_kind(self) -> Option<ErrorClass> {
        self.how().error_kind
    }

    /// The same as a sentence.
    #[must_use]
    pub fn error_message(self) -> Option<&'a str> {
        let unsaid = || self.error_kind().map(|_| UNRECORDED);
        self.more().error_message.as_deref().or_else(unsaid)
    }

    /// The exit code, where there is one.
    #[must_use]
    pub fn exit_code(self) -> Option<i32> {
        let code = self.more().exit_code.unwrap_or(0);
        self.how().has_exited.then_some(code)
    }

    /// How often it was begun.
    #[must_use]
    pub fn attempts(self) -> u32 {
        let attempts = self.kept().attempts.get(self.place()).unwrap_or(0);
        u32::try_from(attempts).unwrap_or(u32::MAX)
    }

    /// How long the run phase took, in seconds.
    #[must_use]
    pub fn runtime_seconds(self) -> Option<f64> {
        self.kept().runtime_seconds.get(self.place())
    }

    /// The total; absent when the trial says nothing about the candidate.
    #[must_use]
    pub fn score(self) -> Option<Points> {
        self.kept().score.get(self.place()).and_then(Points::new)
    }

    /// Its quality part.
    #[must_use]
    pub fn quality(self) -> Option<Points> {
        self.kept().quality.get(self.place()).and_then(Points::new)
    }

    /// Its speed part.
    #[must_use]
    pub fn speed(self) -> Option<Points> {
        self.kept().speed.get(self.place()).and_then(Points::new)
    }

    /// The gate that failed, with its explanation.
    #[must_use]
    pub fn disqualified(self) -> Option<&'a str> {
        self.more().disqualified.as_deref()
    }

    /// Its own metrics, by name.
    #[must_use]
    pub fn metrics(self) -> &'a [(Arc<str>, f64)] {
        &self.more().metrics
    }

    /// The largest resident memory of any one of its processes, in bytes.
    #[must_use]
    pub fn peak_memory(self) -> Option<u64> {
        self.kept().peak_memory.get(self.place())
    }

    /// How long its phases took.
    #[must_use]
    pub fn took(self) -> Took {
        let took = &self.kept().took;
        Took::of(std::array::from_fn(|phase| took[phase].get(self.place())))
    }

    /// Whether it was not needed.
    #[must_use]
    pub fn spared(self) -> bool {
        self.how().spared
    }

    /// How it went with the scorers that can fail.
    #[must_use]
    pub fn graders(self) -> &'a [GraderRow] {
        &self.more().graders
    }

    /// Whether it has a score.
    #[must_use]
    pub fn is_judged(self) -> bool {
        self.kept().score.get(self.place()).is_some()
    }

    /// Whether every gate held.
    #[must_use]
    pub fn passed(self) -> bool {
        self.is_judged() && self.disqualified().is_none()
    }

    /// Whether the infrastructure, or stopping, left the trial without a verdict. What was spared is not missing.
    #[must_use]
    pub fn is_lost(self) -> bool {
        !self.is_judged() && !self.spared()
    }

    /// Whether it has an outcome of its own: it was its turn, and it was not cut off.
    #[must_use]
    pub fn has_result(self) -> bool {
        self.is_judged() || self.spared() || self.error_kind() == Some(ErrorClass::Infrastructure)
    }

    /// Whether this was its outcome. What is inconclusive is said of candidates, never of a trial.
    #[must_use]
    pub fn was(self, outcome: Retry) -> bool {
        match outcome {
            Retry::Infrastructure => self.error_kind() == Some(ErrorClass::Infrastructure),
            Retry::Failed => self.is_judged() && !self.passed(),
            Retry::Inconclusive => false,
        }
    }

    /// Whether its result stands when its run goes on like this, and the files of these trials are gone.
    pub(super) fn stands(self, resumption: &Resumption, gone: &HashSet<&TrialId>) -> bool {
        let trial = self.trial();
        self.has_result()
            && !resumption.again.iter().any(|it| it.takes(&trial))
            && !resumption.retry.iter().any(|it| self.was(*it))
            && !gone.contains(&trial)
    }

    /// What it is worth on every measure; `None` without a verdict.
    #[must_use]
    pub fn measured(self) -> Option<Measured> {
        let metrics = self.metrics().iter();
        Some(Measured {
            score: self.score()?,
            passed: self.passed(),
            quality: self.quality(),
            seconds: self.runtime_seconds(),
            peak_memory: self.peak_memory(),
            metrics: metrics
                .map(|(name, value)| (name.to_string(), *value))
                .collect(),
        })
    }
}

/// Two that say the same of the same trial, each in its run.
impl PartialEq for TrialRow<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.trial() == other.trial()
            && self.error_kind() == other.error_kind()
            && self.how().has_exited == other.how().has_exited
            && self.spared() == other.spared()
            && self.attempts() == other.attempts()
            && self.runtime_seconds() == other.runtime_seconds()
            && self.score() == other.score()
            && self.quality() == other.quality()
            && self.speed() == other.speed()
            && self.peak_memory() == other.peak_memory()
            && self.took() == other.took()
            && self.more() == other.more()
    }
}

impl std::fmt::Debug for TrialRow<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrialRow")
            .field("trial", &self.trial())
            .field("how", &self.how())
            .field("attempts", &self.attempts())
            .field("runtime_seconds", &self.runtime_seconds())
            .field("score", &self.score())
            .field("quality", &self.quality())
            .field("speed", &self.speed())
            .field("peak_memory", &self.peak_memory())
            .field("took", &self.took())
            .field("more", self.more())
            .finish()
    }
}

impl Serialize for TrialRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(flatten)]
            trial: TrialId,
            error_kind: Option<ErrorClass>,
            error_message: Option<&'a str>,
            exit_code: Option<i32>,
            attempts: u32,
            runtime_seconds: Option<f64>,
            score: Option<Points>,
            quality: Option<Points>,
            speed: Option<Points>,
            disqualified: Option<&'a str>,
        }
        let shown = Shown {
            trial: self.trial(),
            error_kind: self.error_kind(),
            error_message: self.error_message(),
            exit_code: self.exit_code(),
            attempts: self.attempts(),
            runtime_seconds: self.runtime_seconds(),
            score: self.score(),
            quality: self.quality(),
            speed: self.speed(),
            disqualified: self.disqualified(),
        };
        shown.serialize(serializer)
    }
}
