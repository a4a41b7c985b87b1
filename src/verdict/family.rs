//! All comparisons of a run, judged together.

use super::sides::{self, Sides};
use super::tested::{self, Method, Tested};
use super::{Trials, Verdict, looking, measures, words};
use crate::event::RunPlan;
use crate::name::ObjectiveName;
use crate::rule::{Comparison, How, Measure, Question, Rule, Suite, VerdictState};
use crate::statistics::decision::{self, Found, Outcome};
use crate::statistics::family::holm;
use crate::statistics::significant;
use crate::statistics::stratified::STEPS;
use crate::summary::RunSummary;

/// What a stored run without its files has to reach to be looked at.
const SCREEN: f64 = 0.20;
/// Of how many comparisons it is worked out what would settle them: about a tenth of a second each for big runs.
const SETTLED: usize = 20;

/// One comparison on one measure.
struct Asked<'a> {
    sides: usize,
    measure: &'a Measure,
    tested: Option<Tested>,
}

pub(super) fn judge(
    summary: &RunSummary,
    plan: &RunPlan,
    graded: &[&ObjectiveName],
) -> Vec<Verdict> {
    let rows = sides::rows(summary);
    let all: Vec<Sides<'_>> = plan
        .comparisons
        .iter()
        .map(|comparison| Sides::of(comparison, summary, plan, graded, &rows))
        .collect();
    let measures = measures::of(&plan.rule, &all);
    let count = all.len() * measures.len();
    let method = Method {
        steps: STEPS / count.max(1) as f64,
        is_general: plan.rule.question == Suite::General,
        seed: plan.seed,
    };
    let asked: Vec<Asked<'_>> = all
        .iter()
        .enumerate()
        .flat_map(|(at, sides)| {
            let measures = measures.iter().filter(|it| is_asked(&plan.rule, sides, it));
            let method = &method;
            measures.map(move |measure| Asked {
                sides: at,
                measure,
                tested: tested(sides, measure, &plan.rule, method),
            })
        })
        // What neither side has is not asked, unless it could fail the run.
        .filter(|it| {
            let beside =
                all[it.sides].invalid.is_none() && all[it.sides].comparison.how == How::Beside;
            it.tested.is_some() || plan.rule.gates(it.measure) || !beside
        })
        .collect();
    let adjusted = adjusted(&plan.rule, &all, &asked);
    let level = |sides: &Sides<'_>| level(summary, plan, sides.comparison);
    let mut verdicts: Vec<Verdict> = asked
        .iter()
        .zip(&adjusted)
        .map(|(asked, adjusted)| {
            let sides = &all[asked.sides];
            verdict(&plan.rule, sides, asked, *adjusted, level(sides))
        })
        .collect();
    for verdict in &mut verdicts {
        verdict.early = is_early(summary, verdict);
    }
    cheaper(&mut verdicts, &asked, &all);
    let family = asked
        .iter()
        .filter(|it| is_family(&plan.rule, &all[it.sides], it.measure, true))
        .count();
    for at in unsettled(&verdicts) {
        let level = level(&all[asked[at].sides]) / family.max(1) as f64;
        let tested = asked[at].tested.as_ref();
        let threshold = verdicts[at].threshold;
        verdicts[at].settled_by = tested.and_then(|it| it.settled_by(level, threshold, plan.seed));
    }
    for (verdict, asked) in verdicts.iter_mut().zip(&asked) {
        verdict.explanation = words::explain(verdict, asked.tested.as_ref(), &all[asked.sides]);
    }
    verdicts.sort_by_key(|it| !it.gates);
    verdicts
}

/// Those of which it is worth knowing what would settle them, which takes more time than all else: on what can fail the
/// run, and of many only the first, those that look worst before the others.
fn unsettled(verdicts: &[Verdict]) -> Vec<usize> {
    let is_open = |verdict: &Verdict| verdict.gates && verdict.state == VerdictState::Inconclusive;
    let mut open: Vec<usize> = (0..verdicts.len())
        .filter(|at| is_open(&verdicts[*at]))
        .collect();
    let p = |at: &usize| verdicts[*at].p_worse.unwrap_or(1.0);
    open.sort_by(|a, b| p(a).total_cmp(&p(b)));
    open.truncate(SETTLED);
    open
}

/// What did not run beside has one verdict, on what can fail the run first.
fn is_asked(rule: &Rule, sides: &Sides<'_>, measure: &Measure) -> bool {
    let on_all = sides.invalid.is_none() && sides.comparison.how == How::Beside;
    on_all || rule.gate.first().unwrap_or(&Measure::Score) == measure
}

fn tested(sides: &Sides<'_>, measure: &Measure, rule: &Rule, method: &Method) -> Option<Tested> {
    if sides.invalid.is_some() || sides.comparison.how == How::Unchanged {
        return None;
    }
    tested::test(&sides.pairs, measure, rule.threshold(measure), method)
}

/// Whether a comparison belongs to the family of what can fail the run, or to that of what is only shown.
fn is_family(rule: &Rule, sides: &Sides<'_>, measure: &Measure, gating: bool) -> bool {
    sides.comparison.how == How::Beside && rule.gates(measure) == gating
}

/// The p-values of *worse* and of *better*, each adjusted for its family.
fn adjusted(rule: &Rule, all: &[Sides<'_>], asked: &[Asked<'_>]) -> Vec<[Option<f64>; 2]> {
    let families: [&dyn Fn(&Asked<'_>) -> bool; 3] = [
        &|it| is_family(rule, &all[it.sides], it.measure, true),
        &|it| is_family(rule, &all[it.sides], it.measure, false),
        &|it| all[it.sides].comparison.how == How::Again,
    ];
    let adjusted = |p: fn(&Tested) -> f64| {
        let mut all_p: Vec<Option<f64>> =
            asked.iter().map(|it| it.tested.as_ref().map(p)).collect();
        for of_family in families {
            let members = (0..asked.len()).filter(|at| of_family(&asked[*at]));
            let (members, p): (Vec<usize>, Vec<f64>) =
                members.filter_map(|at| Some((at, all_p[at]?))).unzip();
            for (at, p) in members.into_iter().zip(holm(&p)) {
                all_p[at] = Some(p);
            }
        }
        all_p
    };
    let worse = adjusted(|it| it.p_worse);
    let better = adjusted(|it| it.p_better);
    worse.into_iter().zip(better).map(Into::into).collect()
}

/// The level at which a comparison is decided: that of the look at which its candidate stopped.
fn level(summary: &RunSummary, plan: &RunPlan, comparison: &Comparison) -> f64 {
    let alpha = plan.rule.alpha;
    let is_fresh = summary
        .confirmations
        .iter()
        .any(|it| it.candidate == comparison.candidate && it.against == comparison.against);
    if plan.looks <= 1 || is_fresh || comparison.how != How::Beside {
        return alpha;
    }
    let stopped = summary.looks.iter().find(|look| {
        let mut stopped = look.stopped.iter();
        stopped.any(|it| it.candidate == comparison.candidate)
    });
    let last = || looking::levels(plan).last().map_or(alpha, |it| it.level);
    stopped.map_or_else(last, |look| look.level)
}

fn is_early(summary: &RunSummary, verdict: &Verdict) -> bool {
    let mut stopped = summary.looks.iter().flat_map(|look| &look.stopped);
    stopped.any(|it| it.candidate == verdict.candidate)
}

fn verdict(
    rule: &Rule,
    sides: &Sides<'_>,
    asked: &Asked<'_>,
    [worse, better]: [Option<f64>; 2],
    level: f64,
) -> Verdict {
    let comparison = sides.comparison;
    let (measure, tested) = (asked.measure, asked.tested.as_ref());
    let threshold = rule.threshold(measure);
    let gates = comparison.how != How::Again && rule.gates(measure);
    let state = match (comparison.how, tested) {
        (How::Unchanged, _) => VerdictState::Unchanged,
        (_, None) => VerdictState::Invalid,
        (How::Screened, Some(found)) => screened(found, threshold),
        (How::Again, Some(_)) => {
            // Two-sided: whichever way the world moved.
            let p = worse.into_iter().chain(better).fold(1.0, f64::min) * 2.0;
            if significant(p, level) {
                VerdictState::Drifted
            } else {
                VerdictState::Steady
            }
        }
        (How::Beside, Some(found)) => beside(found, worse, better, level, threshold),
    };
    Verdict {
        question: comparison.question,
        candidate: comparison.candidate.clone(),
        against: comparison.against.clone(),
        measure: measure.clone(),
        gates,
        state,
        effect: tested.map(|it| it.effect),
        unit: measure.unit(),
        interval: tested.and_then(|it| it.interval),
        threshold,
        p_worse: tested.map(|it| it.p_worse),
        p_better: tested.map(|it| it.p_better),
        p_worse_adjusted: worse,
        p_better_adjusted: better,
        p_general: tested.and_then(|it| it.p_general),
        trials: tested.map_or_else(Trials::default, |it| it.trials),
        objectives: tested
            .filter(|_| gates || comparison.question == Question::World)
            .map_or_else(Vec::new, |it| it.objectives.clone()),
        not_comparable: sides.not_comparable.clone(),
        sees: tested.and_then(|it| it.sees),
        settled_by: None,
        early: false,
        lost: sides.invalid.as_ref().is_some_and(|it| it.lost),
        explanation: String::new(),
    }
}

/// A stored run only screens: other nights have other weather.
fn screened(found: &Tested, threshold: f64) -> VerdictState {
    if significant(found.p_worse, SCREEN) && found.loss() >= threshold - 1e-9 {
        VerdictState::Watch
    } else {
        VerdictState::Inconclusive
    }
}

fn beside(
    found: &Tested,
    worse: Option<f64>,
    better: Option<f64>,
    level: f64,
    threshold: f64,
) -> VerdictState {
    let rule = decision::Rule {
        level,
        threshold,
        margin: threshold,
    };
    let outcome = rule.decide(&Found {
        loss: found.loss(),
        worse: worse.unwrap_or(1.0),
        better: better.unwrap_or(1.0),
        same: found.same,
    });
    match outcome {
        Outcome::Regression => VerdictState::Regression,
        Outcome::Improvement => VerdictState::Improvement,
        Outcome::NoChange => VerdictState::NoChange,
        Outcome::Inconclusive => VerdictState::Inconclusive,
    }
}

/// Who is no worse on anything that can fail the run, and better on what is spent, is cheaper.
fn cheaper(verdicts: &mut [Verdict], asked: &[Asked<'_>], all: &[Sides<'_>]) {
    for at in 0..all.len() {
        let of_pair = || (0..asked.len()).filter(|it| asked[*it].sides == at);
        let gates = || of_pair().filter(|it| verdicts[*it].gates);
        let no_worse = |it: usize| {
            let quiet = matches!(
                verdicts[it].state,
                VerdictState::NoChange | VerdictState::Inconclusive
            );
            quiet && asked[it].tested.as_ref().is_some_and(|it| it.no_worse)
        };
        let cheap = |it: usize| {
            asked[it].measure.is_spent() && verdicts[it].state == VerdictState::Improvement
        };
        if gates().next().is_none() || !gates().all(no_worse) || !of_pair().any(cheap) {
            continue;
        }
        for it in gates().collect::<Vec<_>>() {
            verdicts[it].state = VerdictState::Cheaper;
        }
    }
}
