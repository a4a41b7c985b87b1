//! The row of a trial: what is kept of it for as long as its run is looked at.
//!
//! Promises: a row is small, because there is one for every planned trial; what few trials have is kept beside it, once
//! for all that have the same.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::took::Took;
use crate::event::{ErrorClass, Measured, Resumption, Retry, TrialEnd, TrialRecord};
use crate::name::TrialId;
use crate::score::{Points, TrialScore, Went};

/// What is said of a trial that has no result, or none yet.
pub(crate) const UNRECORDED: &str = "no result was recorded";

/// What is kept of a trial: enough to rank it and to show it in a line. The rest is in its `trial.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialRow {
    /// Which trial.
    pub trial: TrialId,
    score: Figure,
    quality: Figure,
    speed: Figure,
    runtime_seconds: Figure,
    /// [`UNKNOWN`] where nobody knows.
    peak_memory: u64,
    /// What it has besides, if anything.
    more: Option<Arc<More>>,
    took: Took,
    attempts: u32,
    error_kind: Option<ErrorClass>,
    has_exited: bool,
    spared: bool,
}

/// That nobody knows an amount of memory: no machine has so much.
const UNKNOWN: u64 = u64::MAX;

/// A figure, if there is one: half as large as an `Option`.
#[derive(Clone, Copy)]
struct Figure(f64);

impl Figure {
    const NONE: Self = Self(f64::NAN);

    fn of(figure: Option<f64>) -> Self {
        figure.map_or(Self::NONE, Self)
    }

    fn points(points: Option<Points>) -> Self {
        Self::of(points.map(Points::value))
    }

    fn get(self) -> Option<f64> {
        (!self.0.is_nan()).then_some(self.0)
    }

    fn as_points(self) -> Option<Points> {
        self.get().and_then(Points::new)
    }
}

impl PartialEq for Figure {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl std::fmt::Debug for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.get().fmt(f)
    }
}

/// What most trials have nothing of, or the same as others.
#[derive(Debug, Clone, Default, PartialEq)]
struct More {
    error_message: Option<Box<str>>,
    exit_code: Option<i32>,
    disqualified: Option<Box<str>>,
    metrics: Vec<(Arc<str>, f64)>,
    graders: Vec<GraderRow>,
}

impl More {
    const NOTHING: &'static Self = &Self {
        error_message: None,
        exit_code: None,
        disqualified: None,
        metrics: Vec::new(),
        graders: Vec::new(),
    };
}

/// How it went with one scorer of a trial.
#[derive(Debug, Clone, PartialEq)]
pub struct GraderRow {
    /// Its place among the objective's scorers.
    pub at: usize,
    /// What it is called.
    pub scorer: Arc<str>,
    /// How it went.
    pub went: Went,
    /// What it gave.
    pub points: Points,
    /// Why it failed; empty when it did not.
    pub why: Arc<str>,
}

/// What rows have in common: the names of metrics and scorers, and what several trials have besides.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared {
    texts: BTreeSet<Arc<str>>,
    /// The last ones that differed.
    more: VecDeque<Arc<More>>,
}

impl Shared {
    /// So many texts are known at the most: candidates choose the names of their metrics.
    const TEXTS: usize = 1000;
    /// So many of what trials have besides: what is the same comes in a row.
    const MORE: usize = 8;

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        if self.texts.len() < Self::TEXTS {
            self.texts.insert(Arc::clone(&text));
        }
        text
    }

    fn more(&mut self, more: More) -> Option<Arc<More>> {
        if more == *More::NOTHING {
            return None;
        }
        if let Some(known) = self.more.iter().find(|it| ***it == more) {
            return Some(Arc::clone(known));
        }
        if self.more.len() == Self::MORE {
            self.more.pop_front();
        }
        let more = Arc::new(more);
        self.more.push_back(Arc::clone(&more));
        Some(more)
    }
}

impl TrialRow {
    pub(super) fn planned(trial: TrialId) -> Self {
        Self {
            trial,
            error_kind: Some(ErrorClass::NotRun),
            attempts: 0,
            runtime_seconds: Figure::NONE,
            score: Figure::NONE,
            quality: Figure::NONE,
            speed: Figure::NONE,
            peak_memory: UNKNOWN,
            took: Took::default(),
            has_exited: false,
            spared: false,
            more: None,
        }
    }

    pub(super) fn finish(&mut self, record: &TrialRecord, shared: &mut Shared) {
        let (kind, message) = record.end.error().unzip();
        let exit_code = record.end.exit_code();
        self.error_kind = kind;
        self.has_exited = exit_code.is_some();
        self.attempts = record.attempts;
        self.runtime_seconds = Figure::of(record.runtime_s);
        self.peak_memory = record.usage.peak_memory_bytes.unwrap_or(UNKNOWN);
        self.took = Took::from(&record.timings);
        self.spared = matches!(record.end, TrialEnd::Spared { .. });
        let metrics = record.metrics.iter();
        let more = More {
            error_message: message.map(|text| crate::plain::ends(&text, 200).into()),
            exit_code: exit_code.filter(|code| *code != 0),
            metrics: metrics
                .map(|(name, value)| (shared.text(name), *value))
                .collect(),
            ..More::default()
        };
        self.judge(record.score.as_ref(), more, shared);
    }

    pub(super) fn rescore(&mut self, score: Option<&TrialScore>, shared: &mut Shared) {
        let more = self.more().clone();
        self.judge(score, more, shared);
    }

    /// Takes over a score, with all that the trial has besides.
    fn judge(&mut self, score: Option<&TrialScore>, mut more: More, shared: &mut Shared) {
        self.score = Figure::points(score.map(|score| score.total));
        self.quality = Figure::points(score.and_then(|score| score.quality));
        self.speed = Figure::points(score.and_then(|score| score.speed));
        more.disqualified = score
            .and_then(|score| score.disqualified.as_deref())
            .map(|why| crate::plain::ends(why, 200).into());
        let scorers = score.map_or(&[][..], |score| &score.scorers);
        let rows = scorers.iter().enumerate().filter_map(|(at, scorer)| {
            let went = scorer.went?;
            let why = if went.failed() {
                &scorer.explanation
            } else {
                ""
            };
            Some(GraderRow {
                at,
                scorer: shared.text(&crate::plain::short(&scorer.scorer, 100)),
                went,
                points: scorer.points.unwrap_or(Points::ZERO),
                why: shared.text(&crate::plain::ends(why, 200)),
            })
        });
        more.graders = rows.collect();
        self.more = shared.more(more);
    }

    fn more(&self) -> &More {
        self.more.as_deref().unwrap_or(More::NOTHING)
    }

    /// What went wrong; `None` when the candidate exited with 0.
    #[must_use]
    pub const fn error_kind(&self) -> Option<ErrorClass> {
        self.error_kind
    }

    /// The same as a sentence.
    #[must_use]
    pub fn error_message(&self) -> Option<&str> {
        let unsaid = || self.error_kind.map(|_| UNRECORDED);
        self.more().error_message.as_deref().or_else(unsaid)
    }

    /// The exit code, where there is one.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        let code = self.more().exit_code.unwrap_or(0);
        self.has_exited.then_some(code)
    }

    /// How often it was begun.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long the run phase took, in seconds.
    #[must_use]
    pub fn runtime_seconds(&self) -> Option<f64> {
        self.runtime_seconds.get()
    }

    /// The total; absent when the trial says nothing about the candidate.
    #[must_use]
    pub fn score(&self) -> Option<Points> {
        self.score.as_points()
    }

    /// Its quality part.
    #[must_use]
    pub fn quality(&self) -> Option<Points> {
        self.quality.as_points()
    }

    /// Its speed part.
    #[must_use]
    pub fn speed(&self) -> Option<Points> {
        self.speed.as_points()
    }

    /// The gate that failed, with its explanation.
    #[must_use]
    pub fn disqualified(&self) -> Option<&str> {
        self.more().disqualified.as_deref()
    }

    /// Its own metrics, by name.
    #[must_use]
    pub fn metrics(&self) -> &[(Arc<str>, f64)] {
        &self.more().metrics
    }

    /// The largest resident memory of any one of its processes, in bytes.
    #[must_use]
    pub fn peak_memory(&self) -> Option<u64> {
        (self.peak_memory != UNKNOWN).then_some(self.peak_memory)
    }

    /// How long its phases took.
    #[must_use]
    pub const fn took(&self) -> Took {
        self.took
    }

    /// Whether it was not needed.
    #[must_use]
    pub const fn spared(&self) -> bool {
        self.spared
    }

    /// How it went with the scorers that can fail.
    #[must_use]
    pub fn graders(&self) -> &[GraderRow] {
        &self.more().graders
    }

    /// Whether it has a score.
    #[must_use]
    pub fn is_judged(&self) -> bool {
        self.score.get().is_some()
    }

    /// Whether every gate held.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.is_judged() && self.disqualified().is_none()
    }

    /// Whether the infrastructure, or stopping, left the trial without a verdict. What was spared is not missing.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        !self.is_judged() && !self.spared
    }

    /// Whether it has an outcome of its own: it was its turn, and it was not cut off.
    #[must_use]
    pub fn has_result(&self) -> bool {
        self.is_judged() || self.spared || self.error_kind == Some(ErrorClass::Infrastructure)
    }

    /// Whether this was its outcome. What is inconclusive is said of candidates, never of a trial.
    #[must_use]
    pub fn was(&self, outcome: Retry) -> bool {
        match outcome {
            Retry::Infrastructure => self.error_kind == Some(ErrorClass::Infrastructure),
            Retry::Failed => self.is_judged() && !self.passed(),
            Retry::Inconclusive => false,
        }
    }

    /// Whether its result stands when its run goes on like this, and the files of these trials are gone.
    pub(super) fn stands(&self, resumption: &Resumption, gone: &HashSet<&TrialId>) -> bool {
        self.has_result()
            && !resumption.again.iter().any(|it| it.takes(&self.trial))
            && !resumption.retry.iter().any(|it| self.was(*it))
            && !gone.contains(&self.trial)
    }

    /// What it is worth on every measure; `None` without a verdict.
    #[must_use]
    pub fn measured(&self) -> Option<Measured> {
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

/// What tests let a trial have, whatever it did.
#[cfg(test)]
impl TrialRow {
    pub(crate) fn set_score(&mut self, score: Option<Points>) {
        self.score = Figure::points(score);
    }

    pub(crate) fn set_metrics(&mut self, metrics: &[(&str, f64)]) {
        let metrics = metrics.iter().map(|(name, value)| ((*name).into(), *value));
        self.more = Some(Arc::new(More {
            metrics: metrics.collect(),
            ..self.more().clone()
        }));
    }

    pub(crate) fn set_graders(&mut self, graders: Vec<GraderRow>) {
        self.more = Some(Arc::new(More {
            graders,
            ..self.more().clone()
        }));
    }
}

impl Serialize for TrialRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(flatten)]
            trial: &'a TrialId,
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
            trial: &self.trial,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_small_whatever_it_says() {
        assert!(size_of::<TrialRow>() <= 112, "{}", size_of::<TrialRow>());
    }
}
