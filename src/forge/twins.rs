//! A candidate against itself: copies of it that are compared in pairs, and what earlier runs of the same files say of the noise.

use std::collections::BTreeSet;

use super::past::{Past, PastRun};
use super::{ForgeBuilder, ForgeResult};
use crate::candidate::Candidate;
use crate::event::{PlannedObjective, RunPlan};
use crate::name::{CandidateName, NameError};
use crate::rule::{Comparison, How, Question};
use crate::statistics::repeats;
use crate::verdict::alike::{Alike, alike};
use crate::verdict::place;

/// So many runs are looked through, the newest first.
const RUNS: usize = 50;

/// How much runs of the same files differ.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nights {
    /// How many runs there are, this one among them.
    pub runs: usize,
    /// In how many places they ran: machines of another kind, other isolation.
    pub places: usize,
    /// The standard deviation of their mean scores beyond what trials make of it, in points; `None` of one run.
    pub deviation: Option<f64>,
}

impl ForgeBuilder {
    /// Runs each candidate as so many pairs of copies of itself, `NAME@a1` and `NAME@b1` first, which are compared with each other: any
    /// difference is one that is not there. [`ForgeResult::alike`] says what came of it. Default: no pairs.
    #[must_use]
    pub const fn pairs(mut self, pairs: u32) -> Self {
        self.pairs = Some(pairs);
        self
    }

    /// The copies, and who is compared with whom; candidates as they are where no pairs were asked for.
    pub(super) fn twins(&self, candidates: Vec<Candidate>) -> (Vec<Candidate>, Vec<Comparison>) {
        let Some(pairs) = self.pairs else {
            return (candidates, Vec::new());
        };
        let width = pairs.to_string().len();
        let (mut copies, mut comparisons) = (Vec::new(), Vec::new());
        for candidate in &candidates {
            for at in 1..=pairs {
                let side = |side: char| candidate.name.at(&format!("{side}{at:0width$}"));
                let both = || -> Result<_, NameError> { Ok((side('a')?, side('b')?)) };
                // A letter and digits are a version.
                let Ok((a, b)) = both() else { continue };
                let copy = |name: &CandidateName| Candidate {
                    name: name.clone(),
                    ..candidate.clone()
                };
                copies.extend([copy(&a), copy(&b)]);
                comparisons.push(Comparison {
                    question: Question::Control,
                    candidate: b,
                    against: a,
                    how: How::Beside,
                });
            }
        }
        (copies, comparisons)
    }
}

impl ForgeResult {
    /// What came of comparing candidates with themselves; see [`ForgeBuilder::pairs`].
    #[must_use]
    pub fn alike(&self) -> Alike {
        alike(&self.summary, &self.standings)
    }

    /// How much the stored runs of the same files differ, this one among them. Reads their journals.
    #[must_use]
    pub fn nights(&self) -> Option<Nights> {
        let plan = self.summary.plan.as_ref()?;
        let past = Past::read(self.folder.path().parent()?, RUNS);
        let of = plan.candidates.first()?;
        Some(nights(plan, of.name.base(), &of.digest, past.runs()))
    }
}

/// How much runs of one candidate, of these files, on the objectives of a plan differ.
fn nights(plan: &RunPlan, base: &str, digest: &str, past: &[PastRun]) -> Nights {
    let mut places = BTreeSet::new();
    let mut runs = Vec::new();
    for run in past {
        let same = run.plan.candidates.iter();
        let same = same.filter(|it| it.name.base() == base && it.digest == digest);
        let same: BTreeSet<&CandidateName> = same.map(|it| &it.name).collect();
        let scores = |objective: &PlannedObjective| -> Vec<f64> {
            let own = run
                .of(objective)
                .filter(|it| same.contains(&it.trial.candidate));
            let scores = own.filter_map(|it| it.score.as_ref());
            scores.map(|it| it.total.value() / 100.0).collect()
        };
        let scores: Vec<Vec<f64>> = plan.objectives.iter().map(scores).collect();
        if scores.iter().all(|it| !it.is_empty()) {
            places.insert(place(&run.plan));
            runs.push(scores);
        }
    }
    let deviation = repeats::between(&runs).map(|variance| variance.sqrt() * 100.0);
    Nights {
        runs: runs.len(),
        places: places.len(),
        deviation,
    }
}
