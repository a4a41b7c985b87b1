//! What the methods find of one comparison on one measure.

use super::sides::{Pair, Trial};
use super::{OnObjective, SettledBy, Trials};
use crate::name::ObjectiveName;
use crate::rule::{Measure, Unit};
use crate::statistics::decision::Rule;
use crate::statistics::equivalence::within;
use crate::statistics::interval::{Interval, Paired};
use crate::statistics::settle::{Truth, settle};
use crate::statistics::stratified::{self, POINT};
use crate::statistics::{Cell, differences, generalise, mean, ratio, sight};

/// The confidence of the intervals that are shown.
const CONFIDENCE: f64 = 0.95;
/// That of the interval that two one-sided tests at .05 look at.
const EQUIVALENCE: f64 = 0.90;

/// For what is drawn of continuations: the same trials have the same remedy, whatever the run.
const SEED: u64 = 7;
/// So many more repeats, or objectives, are worth telling of.
const MOST_MORE: u32 = 1000;

/// What was found.
#[derive(Debug, Clone)]
pub(super) struct Tested {
    pub(super) unit: Unit,
    /// Points or percent, candidate minus against.
    pub(super) effect: f64,
    pub(super) interval: Option<[f64; 2]>,
    pub(super) p_worse: f64,
    pub(super) p_better: f64,
    /// Whether it is shown to be no worse, and to be the same, within the threshold.
    pub(super) no_worse: bool,
    pub(super) same: bool,
    /// Where it was asked for.
    pub(super) p_general: Option<f64>,
    pub(super) trials: Trials,
    pub(super) objectives: Vec<OnObjective>,
    pub(super) sees: Option<f64>,
    /// The smallest p-value that could have come out.
    pub(super) smallest: f64,
    /// The values themselves, for what is worked out of them only where it is asked.
    values: Values,
}

impl Tested {
    /// How much worse it is: points lost, or percent risen.
    pub(super) fn loss(&self) -> f64 {
        self.unit.loss(self.effect)
    }

    /// What would settle it, at a level and with a threshold in the unit of the effect. Of points only: how times lie is
    /// not known well enough to draw them.
    pub(super) fn settled_by(&self, level: f64, threshold: f64) -> Option<SettledBy> {
        if self.unit == Unit::Percent {
            return None;
        }
        let rule = Rule {
            level,
            threshold: threshold / 100.0,
            margin: threshold / 100.0,
        };
        let settled = settle(&self.values.cells(), &rule, Truth::Likely, MOST_MORE, SEED);
        let objectives = |more: u32| {
            u32::try_from(self.values.objectives.len()).map_or(more, |have| have + more)
        };
        (settled.repeats.is_some() || settled.objectives.is_some()).then(|| SettledBy {
            repeats: settled.repeats,
            objectives: settled.objectives.map(objectives),
        })
    }
}

/// The values of both sides on the objectives that both have, and which those are.
#[derive(Debug, Clone)]
struct Values {
    objectives: Vec<ObjectiveName>,
    candidate: Vec<Vec<f64>>,
    against: Vec<Vec<f64>>,
}

impl Values {
    fn of(pairs: &[Pair<'_>], measure: &Measure) -> Self {
        let usable = |value: &f64| match measure.unit() {
            Unit::Points => true,
            Unit::Percent => value.is_finite() && *value > 0.0,
        };
        let values = |trials: &[Trial<'_>]| -> Vec<f64> {
            let all = trials.iter().filter_map(|it| it.value(measure));
            all.filter(usable).collect()
        };
        let mut this = Self {
            objectives: Vec::new(),
            candidate: Vec::new(),
            against: Vec::new(),
        };
        for pair in pairs {
            let (candidate, against) = (values(&pair.candidate), values(&pair.against));
            if !candidate.is_empty() && !against.is_empty() {
                this.objectives.push(pair.objective.clone());
                this.candidate.push(candidate);
                this.against.push(against);
            }
        }
        this
    }

    fn cells(&self) -> Vec<Cell<'_>> {
        crate::statistics::paired(&self.against, &self.candidate)
    }

    fn trials(&self) -> Trials {
        Trials {
            candidate: self.candidate.iter().map(Vec::len).sum(),
            against: self.against.iter().map(Vec::len).sum(),
        }
    }

    /// The effect on each objective, the worst first.
    fn effects(
        &self,
        of: impl Fn(&Cell<'_>) -> Option<f64>,
        worst_is_low: bool,
    ) -> Vec<OnObjective> {
        let cells = self.cells();
        let effects = self.objectives.iter().zip(&cells);
        let mut effects: Vec<OnObjective> = effects
            .filter_map(|(objective, cell)| {
                let (objective, effect) = (objective.clone(), of(cell)?);
                Some(OnObjective { objective, effect })
            })
            .collect();
        effects.sort_by(|a, b| {
            let order = a.effect.total_cmp(&b.effect);
            if worst_is_low { order } else { order.reverse() }
        });
        effects
    }
}

/// How it is tested.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method {
    /// The most steps of an exact test: with more comparisons, each has fewer.
    pub(super) steps: f64,
    /// Whether it is also asked of new objectives.
    pub(super) is_general: bool,
    /// For what is drawn.
    pub(super) seed: u64,
}

impl Method {
    fn general(&self, differences: &[f64]) -> Option<f64> {
        let p = || generalise::sign_flip(differences, self.seed);
        self.is_general.then(p).flatten()
    }
}

/// Compares two sides. `None` where no objective has values on both.
pub(super) fn test(
    pairs: &[Pair<'_>],
    measure: &Measure,
    threshold: f64,
    how: &Method,
) -> Option<Tested> {
    let values = Values::of(pairs, measure);
    match measure.unit() {
        Unit::Points => points(values, threshold / 100.0, how),
        Unit::Percent => percent(values, threshold / 100.0, how),
    }
}

fn points(values: Values, margin: f64, how: &Method) -> Option<Tested> {
    let cells = values.cells();
    let exact = stratified::test_within(&cells, POINT, how.steps)?;
    let differences = differences(&cells);
    let single = |side: &[f64]| matches!(side, [one] if *one <= 0.0 || *one >= 1.0);
    let binary = cells
        .iter()
        .all(|cell| single(cell.baseline) && single(cell.candidate));
    let shown = |it: Interval| [it.low * 100.0, it.high * 100.0];
    let same = within(&differences, margin, binary);
    Some(Tested {
        unit: Unit::Points,
        effect: -exact.drop * 100.0,
        interval: Paired::of(&differences, binary).map(|it| shown(it.interval(CONFIDENCE))),
        p_worse: exact.mid_p,
        p_better: exact.mid_p_higher(),
        no_worse: same.is_some_and(|it| it.no_worse),
        same: same.is_some_and(|it| it.same),
        p_general: how.general(&differences),
        trials: values.trials(),
        objectives: values.effects(|cell| Some(cell.difference()? * 100.0), true),
        sees: sight::smallest(&cells).map(|it| it * 100.0),
        smallest: exact.smallest,
        values,
    })
}

fn percent(values: Values, margin: f64, how: &Method) -> Option<Tested> {
    let cells = values.cells();
    let rise = 1.0 + margin;
    let found = ratio::of_within(&cells, rise, CONFIDENCE, how.steps)?;
    let change = |ratio: f64| (ratio - 1.0) * 100.0;
    let narrow = found.interval_of(EQUIVALENCE);
    let logarithms = |side: &[f64]| -> Option<f64> {
        let logarithms: Vec<f64> = side.iter().map(|it| it.ln()).collect();
        mean(&logarithms)
    };
    let times = |cell: &Cell<'_>| Some(logarithms(cell.candidate)? - logarithms(cell.baseline)?);
    let differences: Vec<f64> = cells.iter().filter_map(times).collect();
    Some(Tested {
        unit: Unit::Percent,
        effect: change(found.ratio),
        interval: found.interval.map(|it| [change(it.low), change(it.high)]),
        p_worse: found.mid_p_more(),
        p_better: found.exact.mid_p,
        no_worse: narrow.is_some_and(|it| it.high < rise),
        same: narrow.is_some_and(|it| it.high < rise && it.low > 1.0 / rise),
        p_general: how.general(&differences),
        trials: values.trials(),
        objectives: values.effects(|cell| Some(change(times(cell)?.exp())), false),
        sees: sight::smallest_ratio(&cells).map(|it| it * 100.0),
        smallest: found.exact.smallest,
        values,
    })
}
