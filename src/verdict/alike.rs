//! A candidate against itself: how often a difference is claimed where there is none, and where the noise comes from.
//!
//! Promises: each pair is judged by itself, as the only comparison of a run is, so that each is one more try of the same; what is in no
//! pair is not looked at.

use std::collections::BTreeMap;

use super::{Verdict, family, graded};
use crate::event::RunPlan;
use crate::name::CandidateName;
use crate::rule::{Comparison, VerdictState};
use crate::standings::Standings;
use crate::statistics::interval;
use crate::statistics::repeats::{self, Split};
use crate::summary::RunSummary;

/// The confidence of the interval that is shown.
const CONFIDENCE: f64 = 0.95;

/// What came of comparing a candidate with itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Alike {
    /// The verdicts of every pair on what can fail a run.
    pub verdicts: Vec<Verdict>,
    /// How many pairs have a verdict.
    pub judged: usize,
    /// Of how many of them a difference is claimed.
    pub alarms: usize,
    /// Where the share of those lies, with 95 % confidence; `None` where no pair has a verdict.
    pub interval: Option<[f64; 2]>,
    /// Where the noise comes from; `None` of fewer than two objectives.
    pub noise: Option<Noise>,
}

/// Standard deviations, in points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Noise {
    /// Of the trials of one objective.
    pub trials: f64,
    /// Of the objectives, beyond that of their trials.
    pub objectives: f64,
    /// What trials leave of it in the mean of one side of a pair.
    pub mean: f64,
}

/// Judges every comparison of a run by itself.
#[must_use]
pub fn alike(summary: &RunSummary, standings: &Standings) -> Alike {
    let Some(plan) = &summary.plan else {
        return Alike::of(Vec::new(), None);
    };
    let graded = graded(plan, standings);
    let alone = |comparison: &Comparison| {
        let plan = RunPlan {
            comparisons: vec![comparison.clone()],
            ..plan.clone()
        };
        let verdicts = family::judge(summary, &plan, &graded);
        verdicts.into_iter().filter(|it| it.gates).collect()
    };
    let pairs = plan.comparisons.iter().map(alone).collect();
    Alike::of(pairs, noise(summary, plan))
}

impl Alike {
    /// What the verdicts of the pairs come to.
    fn of(pairs: Vec<Vec<Verdict>>, noise: Option<Noise>) -> Self {
        let is_judged = |pair: &&Vec<Verdict>| {
            !pair.is_empty() && pair.iter().all(|it| it.state != VerdictState::Invalid)
        };
        let judged = pairs.iter().filter(is_judged).count();
        let alarmed = |pair: &&Vec<Verdict>| pair.iter().any(is_alarm);
        let alarms = pairs.iter().filter(is_judged).filter(alarmed).count();
        let wilson = interval::wilson(alarms, judged, CONFIDENCE);
        Self {
            judged,
            alarms,
            interval: wilson.map(|it| [it.low, it.high]),
            verdicts: pairs.into_iter().flatten().collect(),
            noise,
        }
    }

    /// The share of pairs of which a difference is claimed.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        (self.judged > 0).then(|| self.alarms as f64 / self.judged as f64)
    }
}

/// Whether a verdict claims a difference.
#[must_use]
pub const fn is_alarm(verdict: &Verdict) -> bool {
    match verdict.state {
        VerdictState::Regression
        | VerdictState::Improvement
        | VerdictState::Cheaper
        | VerdictState::Watch
        | VerdictState::Drifted => true,
        VerdictState::Invalid
        | VerdictState::Inconclusive
        | VerdictState::NoChange
        | VerdictState::Steady
        | VerdictState::Unchanged => false,
    }
}

/// Where the noise of all copies' scores comes from.
fn noise(summary: &RunSummary, plan: &RunPlan) -> Option<Noise> {
    let mut scores: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let compared = |name: &CandidateName| {
        let mut comparisons = plan.comparisons.iter();
        comparisons.any(|it| it.candidate == *name || it.against == *name)
    };
    for row in summary
        .trials
        .iter()
        .filter(|row| compared(row.candidate()))
    {
        let of = scores.entry(row.objective().as_str()).or_default();
        of.extend(row.score().map(|it| it.value() / 100.0));
    }
    let scores: Vec<Vec<f64>> = scores.into_values().filter(|it| !it.is_empty()).collect();
    let Split { objectives, .. } = repeats::split(&scores)?;
    let count = scores.len() as f64;
    let trials = repeats::within(&scores)?;
    let usual = plan
        .objectives
        .iter()
        .map(|it| f64::from(it.repeats))
        .sum::<f64>()
        / count;
    let points = |variance: f64| variance.max(0.0).sqrt() * 100.0;
    Some(Noise {
        trials: points(trials),
        objectives: points(objectives * count),
        mean: points(trials / usual.max(1.0) / count),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{How, Question};
    use crate::summary::tests::History;

    fn run(points: impl Fn(&str, u32) -> f64) -> RunSummary {
        let name = |version: &str| CandidateName::parse("gamma").unwrap().at(version).unwrap();
        let objectives = ["code", "docs", "logs", "post", "sql"];
        let copies = ["a1", "b1", "a2", "b2"];
        let mut history = History::of(&["gamma"], &objectives, 3).planned(|plan| {
            let like = plan.candidates[0].clone();
            let copy = |version: &&str| crate::event::PlannedCandidate {
                name: name(version),
                ..like.clone()
            };
            plan.candidates = copies.iter().map(copy).collect();
            let pair = |(a, b)| Comparison {
                question: Question::Control,
                candidate: name(b),
                against: name(a),
                how: How::Beside,
            };
            plan.comparisons = [("a1", "b1"), ("a2", "b2")].map(pair).to_vec();
        });
        for objective in objectives {
            for copy in copies {
                for repeat in 1..=3 {
                    let trial = format!("{objective}/gamma@{copy}/{repeat}");
                    history = history.scored(&trial, points(copy, repeat));
                }
            }
        }
        history.summary()
    }

    #[test]
    fn each_pair_is_judged_as_if_it_were_alone() {
        let summary = run(|copy, repeat| {
            let worse = if copy == "b1" { 30.0 } else { 0.0 };
            70.0 + f64::from(repeat) - worse
        });
        let got = alike(&summary, &summary.standings());
        assert_eq!((got.judged, got.alarms, got.verdicts.len()), (2, 1, 2));
        assert_eq!(got.share(), Some(0.5));
        let [low, high] = got.interval.unwrap();
        assert!(low > 0.05 && high < 0.95, "{low} {high}");
        for verdict in &got.verdicts {
            assert_eq!(verdict.p_worse, verdict.p_worse_adjusted);
        }
        let one = got.verdicts.iter().find(|it| is_alarm(it)).unwrap();
        assert_eq!(one.state, VerdictState::Regression);
    }

    #[test]
    fn the_noise_is_told_by_where_it_comes_from() {
        let summary = run(|_, repeat| 50.0 + f64::from(repeat) * 10.0);
        let noise = alike(&summary, &summary.standings()).noise.unwrap();
        // Of 60, 70 and 80 points four times: 800 of squares over eleven.
        assert!((noise.trials - (800.0_f64 / 11.0).sqrt()).abs() < 1e-9);
        assert!(noise.objectives.abs() < 1e-9);
        assert!((noise.mean - noise.trials / 15.0_f64.sqrt()).abs() < 1e-9);
    }

    #[test]
    fn without_pairs_there_is_nothing_to_say() {
        let got = alike(&RunSummary::default(), &Standings::default());
        assert_eq!((got.judged, got.share(), got.interval), (0, None, None));
    }
}
