//! All comparisons of a run, judged together.

use super::looking::{self, Stage, When};
use super::sides::{self, Sides};
use super::tested::{self, Method, Tested};
use super::{Trials, Verdict, measures, words};
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
struct Asked {
    sides: usize,
    measure: Measure,
    tested: Option<Tested>,
}

/// All verdicts of a run: of whom a look stopped, as of that look, which is where they were decided.
pub(super) fn judge(
    summary: &RunSummary,
    plan: &RunPlan,
    graded: &[&ObjectiveName],
) -> Vec<Verdict> {
    let mut stages = looking::stages(plan);
    // What was decided stays so: a look's level is the one that was in force then.
    for stage in &mut stages {
        let mut looks = summary.looks.iter();
        if let Some(look) = looks.find(|it| it.look == stage.look) {
            stage.level = look.level;
        }
    }
    let last = stages.last();
    let (end, count) = last.map_or((plan.rule.alpha, 0), |it| (it.level, it.look));
    let early = stages.iter().filter(|it| it.look < count).map(When::Look);
    let mut verdicts = Vec::new();
    for when in early.chain([When::End(end)]) {
        let decided = |comparison: &Comparison| {
            let stopped = stopped_at(summary, comparison).filter(|look| *look < count);
            match when {
                When::Look(stage) => stopped == Some(stage.look),
                When::End(_) => stopped.is_none(),
            }
        };
        if plan.comparisons.iter().any(decided) {
            let judged = Judged::of(summary, plan, graded, when);
            verdicts.extend(judged.told(plan, decided));
        }
    }
    let place = |verdict: &Verdict| {
        let mut comparisons = plan.comparisons.iter();
        comparisons.position(|it| {
            (it.question, &it.candidate, &it.against)
                == (verdict.question, &verdict.candidate, &verdict.against)
        })
    };
    verdicts.sort_by_cached_key(|it| (!it.gates, place(it)));
    verdicts
}

/// What would be said if a look were the end, without the words, of what can fail the run.
pub(super) fn at_look(
    summary: &RunSummary,
    plan: &RunPlan,
    graded: &[&ObjectiveName],
    stage: &Stage,
) -> Vec<Verdict> {
    let judged = Judged::of(summary, plan, graded, When::Look(stage));
    judged.verdicts.into_iter().filter(|it| it.gates).collect()
}

/// At which look a comparison was decided; `None` at the end, or where it was run again.
fn stopped_at(summary: &RunSummary, comparison: &Comparison) -> Option<u32> {
    if comparison.how != How::Beside || sides::is_confirmed(summary, comparison) {
        return None;
    }
    let stopped = summary.looks.iter().find(|look| {
        let mut stopped = look.stopped.iter();
        stopped.any(|it| it.candidate == comparison.candidate)
    });
    stopped.map(|it| it.look)
}

/// All comparisons, judged as of one time.
struct Judged<'a> {
    all: Vec<Sides<'a>>,
    asked: Vec<Asked>,
    /// One for each that is asked.
    verdicts: Vec<Verdict>,
    /// The level of each, before it is shared with its family.
    levels: Vec<f64>,
}

impl<'a> Judged<'a> {
    fn of(
        summary: &'a RunSummary,
        plan: &'a RunPlan,
        graded: &[&'a ObjectiveName],
        when: When<'_>,
    ) -> Self {
        let all: Vec<Sides<'_>> = plan
            .comparisons
            .iter()
            .map(|comparison| Sides::of(comparison, summary, plan, graded, when))
            .collect();
        let measures = measures::of(&plan.rule, &all);
        let count = all.len() * measures.len();
        let method = Method {
            steps: STEPS / count.max(1) as f64,
            is_general: plan.rule.question == Suite::General,
            seed: plan.seed,
        };
        let asked: Vec<Asked> = all
            .iter()
            .enumerate()
            .flat_map(|(at, sides)| {
                let measures = measures.iter().filter(|it| is_asked(&plan.rule, sides, it));
                let method = &method;
                measures.map(move |measure| Asked {
                    sides: at,
                    measure: measure.clone(),
                    tested: tested(sides, measure, &plan.rule, method),
                })
            })
            // What neither side has is not asked, unless it could fail the run.
            .filter(|it| {
                let beside =
                    all[it.sides].invalid.is_none() && all[it.sides].comparison.how == How::Beside;
                it.tested.is_some() || plan.rule.gates(&it.measure) || !beside
            })
            .collect();
        let adjusted = adjusted(&plan.rule, &all, &asked);
        let levels: Vec<f64> = asked
            .iter()
            .map(|it| level(summary, plan, all[it.sides].comparison, when))
            .collect();
        let mut verdicts: Vec<Verdict> = asked
            .iter()
            .zip(&adjusted)
            .zip(&levels)
            .map(|((asked, adjusted), level)| {
                let sides = &all[asked.sides];
                let verdict = verdict(&plan.rule, sides, asked, *adjusted, *level);
                Verdict {
                    early: matches!(when, When::Look(_)),
                    ..verdict
                }
            })
            .collect();
        cheaper(&mut verdicts, &asked, &all);
        Self {
            all,
            asked,
            verdicts,
            levels,
        }
    }

    /// The verdicts on these comparisons, in words, and with what would settle them.
    fn told(&self, plan: &RunPlan, of: impl Fn(&Comparison) -> bool) -> Vec<Verdict> {
        let all = &self.all;
        let family = self.asked.iter().filter(|it| {
            let sides = &all[it.sides];
            is_family(&plan.rule, sides, &it.measure, true)
        });
        let family = family.count().max(1) as f64;
        let told: Vec<usize> = (0..self.asked.len())
            .filter(|at| of(all[self.asked[*at].sides].comparison))
            .collect();
        let mut verdicts: Vec<Verdict> = told.iter().map(|at| self.verdicts[*at].clone()).collect();
        for at in unsettled(&verdicts) {
            let (level, threshold) = (self.levels[told[at]] / family, verdicts[at].threshold);
            let tested = self.asked[told[at]].tested.as_ref();
            verdicts[at].settled_by = tested.and_then(|it| it.settled_by(level, threshold));
        }
        for (verdict, at) in verdicts.iter_mut().zip(&told) {
            let asked = &self.asked[*at];
            let sides = &all[asked.sides];
            verdict.explanation = words::explain(verdict, asked.tested.as_ref(), sides);
        }
        verdicts
    }
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
fn adjusted(rule: &Rule, all: &[Sides<'_>], asked: &[Asked]) -> Vec<[Option<f64>; 2]> {
    let families: [&dyn Fn(&Asked) -> bool; 3] = [
        &|it| is_family(rule, &all[it.sides], &it.measure, true),
        &|it| is_family(rule, &all[it.sides], &it.measure, false),
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

/// The level at which a comparison is decided.
fn level(summary: &RunSummary, plan: &RunPlan, comparison: &Comparison, when: When<'_>) -> f64 {
    let alpha = plan.rule.alpha;
    if comparison.how != How::Beside {
        return alpha;
    }
    match when {
        When::Look(stage) => stage.level,
        When::End(_) if sides::is_confirmed(summary, comparison) => alpha,
        When::End(level) => level,
    }
}

fn verdict(
    rule: &Rule,
    sides: &Sides<'_>,
    asked: &Asked,
    [worse, better]: [Option<f64>; 2],
    level: f64,
) -> Verdict {
    let comparison = sides.comparison;
    let (measure, tested) = (&asked.measure, asked.tested.as_ref());
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
fn cheaper(verdicts: &mut [Verdict], asked: &[Asked], all: &[Sides<'_>]) {
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
