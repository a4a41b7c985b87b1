//! `compare:` and `baseline:` of a `forge.yaml`: what counts as a difference, and from what.

use std::collections::BTreeMap;

use crate::objective::yaml::MAX_REPEAT;
use crate::rule::{BaselineSource, CAN_FAIL, Measure, Suite, VerdictState};
use crate::yaml::Tree;
use crate::yaml::decode::{Fields, Value};

pub(crate) const COMPARE_KEYS: [&str; 7] = [
    "gate", "show", "max_drop", "max_rise", "alpha", "fail_on", "question",
];
pub(crate) const BASELINE_KEYS: [&str; 2] = ["run", "max_drop"];

/// How often every objective is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// So often.
    Times(u32),
    /// As often as it takes.
    Auto,
}

impl std::fmt::Display for Repeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Times(times) => times.fmt(f),
            Self::Auto => f.pad("auto"),
        }
    }
}

/// What a project says of comparisons, as far as it does.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CompareDefaults {
    /// What can fail a run.
    pub gate: Option<Vec<Measure>>,
    /// What is shown besides.
    pub show: Option<Vec<Measure>>,
    /// Points.
    pub max_drop: Option<f64>,
    /// Percent, of measures where less is better.
    pub max_rise: BTreeMap<Measure, f64>,
    /// The level.
    pub alpha: Option<f64>,
    /// Which states fail a run.
    pub fail_on: Option<Vec<VerdictState>>,
    /// For which objectives.
    pub question: Option<Suite>,
    /// With what.
    pub baseline: Option<BaselineSource>,
}

pub(super) fn repeat(value: &Value<'_>) -> Option<Repeat> {
    if matches!(value.tree(), Tree::Text(text) if text == "auto") {
        return Some(Repeat::Auto);
    }
    let times = value.whole(1..=MAX_REPEAT, "for example `repeat: 3`, or `repeat: auto`");
    times.map(Repeat::Times)
}

/// Both blocks of a project.
pub(super) fn compare(project: &Fields<'_>) -> Option<CompareDefaults> {
    let said = project.optional("compare", block);
    let baseline = project.optional("baseline", baseline);
    let mut said = said?.unwrap_or_default();
    if let Some((run, max_drop)) = baseline? {
        said.baseline = Some(run);
        if let (Some(_), Some(_)) = (said.max_drop, max_drop) {
            return project.key_problem(
                "baseline",
                "`compare.max_drop` says what `baseline.max_drop` says too",
                "keep one of the two",
            );
        }
        said.max_drop = said.max_drop.or(max_drop);
    }
    Some(said)
}

fn block(value: &Value<'_>) -> Option<CompareDefaults> {
    let hint = "for example `compare: {max_drop: 5, max_rise: {seconds: 20%}}`";
    let fields = value.fields("key", &COMPARE_KEYS, hint)?;
    let gate = fields.optional("gate", |value| {
        let gate = measures(value)?;
        if gate.is_empty() {
            return value.problem("nothing could fail a run", "for example `gate: [score]`");
        }
        Some(gate)
    });
    let show = fields.optional("show", measures);
    let max_drop = fields.optional("max_drop", points);
    let max_rise = fields.optional("max_rise", rises);
    let alpha = fields.optional("alpha", |value| {
        let hint = "how often a change is claimed where there is none, for example `alpha: 0.05`";
        let alpha = value.number(hint)?;
        if alpha > 0.0 && alpha <= 0.5 {
            Some(alpha)
        } else {
            value.problem(
                format!("expected a number above 0, up to 0.5, got {alpha}"),
                hint,
            )
        }
    });
    let fail_on = fields.optional("fail_on", |value| {
        let known = CAN_FAIL.map(|state| (state.as_str(), state));
        value.each(
            "for example `fail_on: [regression, inconclusive]`",
            |item| item.word(&known),
        )
    });
    let question = fields.optional("question", |value| {
        value.word(&[("fixed", Suite::Fixed), ("general", Suite::General)])
    });
    Some(CompareDefaults {
        gate: gate?,
        show: show?,
        max_drop: max_drop?,
        max_rise: max_rise?.unwrap_or_default(),
        alpha: alpha?,
        fail_on: fail_on?,
        question: question?,
        baseline: None,
    })
}

fn baseline(value: &Value<'_>) -> Option<(BaselineSource, Option<f64>)> {
    let hint = "for example `baseline: {run: blessed, max_drop: 5}`";
    let fields = value.fields("key", &BASELINE_KEYS, hint)?;
    let run = fields.required("run", hint).and_then(|value| {
        let text = value.filled_text("a run, `latest`, `blessed`, a file or `@REV`")?;
        match text.parse() {
            Ok(run) => Some(run),
            Err(message) => value.problem(message, hint),
        }
    });
    let max_drop = fields.optional("max_drop", points);
    Some((run?, max_drop?))
}

fn measures(value: &Value<'_>) -> Option<Vec<Measure>> {
    let hint = "measures, for example `[score, seconds, cost_usd]`";
    let mut seen = std::collections::BTreeSet::new();
    let all = value.each(hint, |item| measure(item, hint))?;
    Some(
        all.into_iter()
            .filter(|it| seen.insert(it.clone()))
            .collect(),
    )
}

fn measure(value: &Value<'_>, hint: &str) -> Option<Measure> {
    match value.filled_text(hint)?.trim().parse() {
        Ok(measure) => Some(measure),
        Err(message) => value.problem(message, hint),
    }
}

fn points(value: &Value<'_>) -> Option<f64> {
    let hint = "points from 0 to 100, for example `max_drop: 5`";
    let points = value.number(hint)?;
    if (0.0..=100.0).contains(&points) {
        Some(points)
    } else {
        value.problem(format!("expected points from 0 to 100, got {points}"), hint)
    }
}

fn rises(value: &Value<'_>) -> Option<BTreeMap<Measure, f64>> {
    let hint = "for example `max_rise: {seconds: 20%, cost_usd: 10%}`";
    let fields = value.map(hint)?;
    let mut rises = BTreeMap::new();
    let mut whole = true;
    for (name, value) in fields.iter() {
        match rise(name, &value, hint) {
            Some((measure, percent)) => drop(rises.insert(measure, percent)),
            None => whole = false,
        }
    }
    whole.then_some(rises)
}

fn rise(name: &str, value: &Value<'_>, hint: &str) -> Option<(Measure, f64)> {
    let measure: Measure = match name.parse() {
        Ok(measure) => measure,
        Err(message) => return value.problem(message, hint),
    };
    let percent = if let Tree::Text(text) = value.tree() {
        match crate::rule::percent(text) {
            Ok(percent) => percent,
            Err(message) => return value.problem(message, hint),
        }
    } else {
        value.number(hint)?
    };
    match crate::rule::checked_rise(&measure, percent) {
        Ok(()) => Some((measure, percent)),
        Err(message) => value.problem(message, hint),
    }
}
