//! What is kept of all trials, a column for each thing that can be said of one.
//!
//! Promises: what nobody has takes no room; what few trials have is kept beside, once for all that have the same.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::columns::{Fractions, Numbers};
use super::row::TrialRow;
use super::took::Took;
use super::trials::Trials;
use crate::event::{ErrorClass, TrialEnd, TrialRecord};
use crate::score::{Points, TrialScore, Went};

/// What is kept of all trials.
#[derive(Debug, Clone, Default)]
pub(super) struct Kept {
    hows: Vec<How>,
    pub(super) score: Fractions,
    pub(super) quality: Fractions,
    pub(super) speed: Fractions,
    pub(super) runtime_seconds: Fractions,
    pub(super) peak_memory: Numbers,
    pub(super) took: [Numbers; 6],
    pub(super) attempts: Numbers,
    /// What they have besides, if any of them has anything.
    more: Vec<Option<Arc<More>>>,
    shared: Shared,
}

/// How a trial ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    pub(super) error_kind: Option<ErrorClass>,
    pub(super) has_exited: bool,
    pub(super) spared: bool,
}

impl How {
    /// Not yet.
    const PLANNED: Self = Self {
        error_kind: Some(ErrorClass::NotRun),
        has_exited: false,
        spared: false,
    };
}

/// What most trials have nothing of, or the same as others.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct More {
    pub(super) error_message: Option<Box<str>>,
    pub(super) exit_code: Option<i32>,
    pub(super) disqualified: Option<Box<str>>,
    pub(super) metrics: Vec<(Arc<str>, f64)>,
    pub(super) graders: Vec<GraderRow>,
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
struct Shared {
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

impl Trials {
    pub(super) fn finish(&mut self, at: usize, record: &TrialRecord) {
        let (of, kept) = (self.len(), &mut self.kept);
        let (kind, message) = record.end.error().unzip();
        let exit_code = record.end.exit_code();
        kept.set_how(
            at,
            of,
            How {
                error_kind: kind,
                has_exited: exit_code.is_some(),
                spared: matches!(record.end, TrialEnd::Spared { .. }),
            },
        );
        kept.attempts.set(at, of, Some(record.attempts.into()));
        kept.runtime_seconds.set(at, of, record.runtime_s);
        let memory = record.usage.peak_memory_bytes;
        kept.peak_memory.set(at, of, memory);
        let took = Took::from(&record.timings);
        for (column, took) in kept.took.iter_mut().zip(took.phases()) {
            column.set(at, of, took);
        }
        let metrics = record.metrics.iter();
        let more = More {
            error_message: message.map(|text| crate::plain::ends(&text, 200).into()),
            exit_code: exit_code.filter(|code| *code != 0),
            metrics: metrics
                .map(|(name, value)| (kept.shared.text(name), *value))
                .collect(),
            ..More::default()
        };
        kept.judge(at, of, record.score.as_ref(), more);
    }

    pub(super) fn rescore(&mut self, at: usize, score: Option<&TrialScore>) {
        let of = self.len();
        let more = self.kept.more(at).clone();
        self.kept.judge(at, of, score, more);
    }

    /// Forgets what there is of a trial.
    pub(super) fn forget(&mut self, at: usize) {
        let (of, kept) = (self.len(), &mut self.kept);
        kept.set_how(at, of, How::PLANNED);
        for column in kept.fractions() {
            column.set(at, of, None);
        }
        for column in kept.numbers() {
            column.set(at, of, None);
        }
        kept.set_more(at, of, None);
    }

    /// Forgets what there is of all of them.
    pub(crate) fn forget_all(&mut self) {
        self.kept = Kept::default();
    }

    /// Takes over what another run has of a trial.
    pub(super) fn copy(&mut self, at: usize, row: TrialRow<'_>) {
        let (of, kept) = (self.len(), &mut self.kept);
        let (other, theirs) = (row.kept(), row.place());
        kept.set_how(at, of, other.how(theirs));
        let columns = [
            &other.score,
            &other.quality,
            &other.speed,
            &other.runtime_seconds,
        ];
        for (column, other) in kept.fractions().zip(columns) {
            column.set(at, of, other.get(theirs));
        }
        let columns = [&other.peak_memory, &other.attempts];
        let columns = columns.into_iter().chain(&other.took);
        for (column, other) in kept.numbers().zip(columns) {
            column.set(at, of, other.get(theirs));
        }
        let more = other.more.get(theirs).cloned().flatten();
        kept.set_more(at, of, more);
    }
}

impl Kept {
    fn fractions(&mut self) -> impl Iterator<Item = &mut Fractions> {
        let Self {
            score,
            quality,
            speed,
            runtime_seconds,
            ..
        } = self;
        [score, quality, speed, runtime_seconds].into_iter()
    }

    fn numbers(&mut self) -> impl Iterator<Item = &mut Numbers> {
        let columns = [&mut self.peak_memory, &mut self.attempts];
        columns.into_iter().chain(&mut self.took)
    }

    pub(super) fn how(&self, at: usize) -> How {
        self.hows.get(at).copied().unwrap_or(How::PLANNED)
    }

    fn set_how(&mut self, at: usize, of: usize, how: How) {
        if self.hows.is_empty() {
            self.hows = vec![How::PLANNED; of];
        }
        if let Some(place) = self.hows.get_mut(at) {
            *place = how;
        }
    }

    pub(super) fn more(&self, at: usize) -> &More {
        let more = self.more.get(at).and_then(Option::as_deref);
        more.unwrap_or(More::NOTHING)
    }

    fn set_more(&mut self, at: usize, of: usize, more: Option<Arc<More>>) {
        if more.is_some() && self.more.is_empty() {
            self.more = vec![None; of];
        }
        if let Some(place) = self.more.get_mut(at) {
            *place = more;
        }
    }

    /// Takes over a score, with all that the trial has besides.
    fn judge(&mut self, at: usize, of: usize, score: Option<&TrialScore>, mut more: More) {
        let points = |points: Option<Points>| points.map(Points::value);
        self.score.set(at, of, score.map(|it| it.total.value()));
        let quality = points(score.and_then(|it| it.quality));
        self.quality.set(at, of, quality);
        self.speed
            .set(at, of, points(score.and_then(|it| it.speed)));
        more.disqualified = score
            .and_then(|score| score.disqualified.as_deref())
            .map(|why| crate::plain::ends(why, 200).into());
        let scorers = score.map_or(&[][..], |score| &score.scorers);
        let shared = &mut self.shared;
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
        let more = self.shared.more(more);
        self.set_more(at, of, more);
    }
}

/// What tests let a trial have, whatever it did.
#[cfg(test)]
impl Trials {
    pub(crate) fn set_score(&mut self, at: usize, score: Option<Points>) {
        let of = self.len();
        self.kept.score.set(at, of, score.map(Points::value));
    }

    pub(crate) fn set_metrics(&mut self, at: usize, metrics: &[(&str, f64)]) {
        let metrics = metrics.iter().map(|(name, value)| ((*name).into(), *value));
        let more = More {
            metrics: metrics.collect(),
            ..self.kept.more(at).clone()
        };
        let of = self.len();
        self.kept.set_more(at, of, Some(Arc::new(more)));
    }

    pub(crate) fn set_graders(&mut self, at: usize, graders: Vec<GraderRow>) {
        let more = More {
            graders,
            ..self.kept.more(at).clone()
        };
        let of = self.len();
        self.kept.set_more(at, of, Some(Arc::new(more)));
    }
}
