//! What is typed and written about comparisons.

use std::collections::BTreeMap;

use super::Layers;
use crate::name::CandidateName;
use crate::problem::{Problem, Problems};
use crate::project::{CompareDefaults, Project, Repeat};
use crate::rule::{BaselineSource, Comparing, MAX_AUTO_REPEAT, Measure, Rule, Suite, VerdictState};

/// What was typed about comparisons; every value has been parsed.
#[derive(Debug, Clone, Default)]
pub struct ComparingFlags {
    /// `--baseline`
    pub baselines: Vec<BaselineSource>,
    /// `--control`
    pub control: Option<String>,
    /// `--control-repeats`
    pub control_repeats: Option<u32>,
    /// `--max-repeat`
    pub max_repeat: Option<u32>,
    /// `--confirm`
    pub confirm: Option<u32>,
    /// `--alpha`
    pub alpha: Option<f64>,
    /// `--max-drop`
    pub max_drop: Option<f64>,
    /// `--max-rise`
    pub max_rise: BTreeMap<Measure, f64>,
    /// `--gate`
    pub gate: Vec<Measure>,
    /// `--show`
    pub show: Vec<Measure>,
    /// `--fail-on`
    pub fail_on: Vec<VerdictState>,
    /// `--question`
    pub question: Option<Suite>,
}

/// A list that says nothing when it is empty.
fn said<T>(list: &Vec<T>) -> Option<&Vec<T>> {
    (!list.is_empty()).then_some(list)
}

fn joined<T: ToString>(list: &[T]) -> String {
    let texts: Vec<String> = list.iter().map(T::to_string).collect();
    texts.join(", ")
}

/// Resolves the layers, with how often every objective is done; what cannot go together is one of the problems.
pub(super) fn resolve(
    layers: &mut Layers<'_>,
    project: &Project,
    problems: &mut Problems,
) -> (Comparing, Option<u32>) {
    let repeat = layers.pick(
        "repeat",
        layers.flags.repeat.as_ref(),
        project.repeat.as_ref(),
        Repeat::to_string,
    );
    let (typed, written) = (&layers.flags.comparing, &project.compare);
    record_rule(layers, typed, written);
    let default = Rule::default();
    let rule = rule_asked(typed, written, &default).unwrap_or(default);
    let written_baseline = written.baseline.clone().map(|it| vec![it]);
    let baselines = layers.pick(
        "baseline",
        said(&typed.baselines),
        written_baseline.as_ref(),
        |list| joined(list),
    );
    let control = typed.control.as_deref().and_then(|name| {
        let parsed = CandidateName::parse(name).map_err(|error| {
            let hint = "the name of a candidate, as `forge list` shows it";
            let problem = Problem::setting("--control", format!("`{name}`: {error}"));
            problems.push(problem.with_hint(hint));
        });
        parsed.ok()
    });
    layers.pick("control", control.as_ref(), None, CandidateName::to_string);
    layers.pick(
        "control-repeats",
        typed.control_repeats.as_ref(),
        None,
        u32::to_string,
    );
    layers.pick(
        "max-repeat",
        typed.max_repeat.as_ref(),
        None,
        u32::to_string,
    );
    layers.pick("confirm", typed.confirm.as_ref(), None, u32::to_string);
    let auto = match (repeat, typed.max_repeat) {
        (Some(Repeat::Auto), most) => Some(most.unwrap_or(MAX_AUTO_REPEAT)),
        (Some(Repeat::Times(_)) | None, None) => None,
        (Some(Repeat::Times(_)) | None, Some(_)) => {
            let message = "there is no limit to set: the number of repeats is not `auto`";
            let problem = Problem::setting("--max-repeat", message);
            problems.push(problem.with_hint("add `--repeat auto`"));
            None
        }
    };
    let comparing = Comparing {
        rule,
        control,
        baselines: baselines.unwrap_or_default(),
        control_repeats: typed.control_repeats,
        auto,
        confirm: typed.confirm,
    };
    check(&comparing, problems);
    let times = match repeat {
        Some(Repeat::Times(times)) => Some(times),
        Some(Repeat::Auto) | None => auto,
    };
    (comparing, times)
}

/// Records what is said of a rule, and from where.
fn record_rule(layers: &mut Layers<'_>, typed: &ComparingFlags, written: &CompareDefaults) {
    let names = |states: &Vec<VerdictState>| {
        let names: Vec<&str> = states.iter().map(|it| it.as_str()).collect();
        names.join(", ")
    };
    let rises = |rises: &BTreeMap<Measure, f64>| {
        let each = rises
            .iter()
            .map(|(measure, rise)| format!("{measure}={rise}%"));
        each.collect::<Vec<_>>().join(", ")
    };
    let measures = |list: &Vec<Measure>| joined(list);
    let max_rise = max_rise(typed, written);
    let some = |rises: &'_ BTreeMap<Measure, f64>| !rises.is_empty();
    layers.pick(
        "max-rise",
        Some(&max_rise).filter(|_| some(&typed.max_rise)),
        Some(&max_rise).filter(|it| some(it)),
        rises,
    );
    layers.pick(
        "fail-on",
        said(&typed.fail_on),
        written.fail_on.as_ref(),
        names,
    );
    layers.pick(
        "question",
        typed.question.as_ref(),
        written.question.as_ref(),
        |it| match it {
            Suite::Fixed => "fixed".to_owned(),
            Suite::General => "general".to_owned(),
        },
    );
    let number = f64::to_string;
    layers.pick(
        "alpha",
        typed.alpha.as_ref(),
        written.alpha.as_ref(),
        number,
    );
    layers.pick(
        "max-drop",
        typed.max_drop.as_ref(),
        written.max_drop.as_ref(),
        number,
    );
    layers.pick("gate", said(&typed.gate), written.gate.as_ref(), measures);
    layers.pick("show", said(&typed.show), written.show.as_ref(), measures);
}

/// What may rise by how much: what is typed of a measure, over what is written of it.
fn max_rise(typed: &ComparingFlags, written: &CompareDefaults) -> BTreeMap<Measure, f64> {
    let mut max_rise = written.max_rise.clone();
    max_rise.extend(typed.max_rise.clone());
    max_rise
}

/// The rule that somebody asks for here: what is typed over what is written, and what neither says as in `else_by`.
/// `None` when neither says anything of a rule.
#[must_use]
pub fn rule_asked(
    typed: &ComparingFlags,
    written: &CompareDefaults,
    else_by: &Rule,
) -> Option<Rule> {
    let max_rise = max_rise(typed, written);
    let fail_on = said(&typed.fail_on).or(written.fail_on.as_ref());
    let asked = Rule {
        alpha: typed.alpha.or(written.alpha).unwrap_or(else_by.alpha),
        max_drop: typed
            .max_drop
            .or(written.max_drop)
            .unwrap_or(else_by.max_drop),
        gate: said(&typed.gate)
            .or(written.gate.as_ref())
            .unwrap_or(&else_by.gate)
            .clone(),
        show: said(&typed.show)
            .or(written.show.as_ref())
            .or(else_by.show.as_ref())
            .cloned(),
        fail_on: fail_on.map_or_else(
            || else_by.fail_on.clone(),
            |states| with_regression(states.clone()),
        ),
        question: typed
            .question
            .or(written.question)
            .unwrap_or(else_by.question),
        max_rise: if max_rise.is_empty() {
            else_by.max_rise.clone()
        } else {
            max_rise.clone()
        },
    };
    let numbers = [typed.alpha, written.alpha, typed.max_drop, written.max_drop];
    let lists = [
        !max_rise.is_empty(),
        fail_on.is_some(),
        said(&typed.gate).or(written.gate.as_ref()).is_some(),
        said(&typed.show).or(written.show.as_ref()).is_some(),
        typed.question.or(written.question).is_some(),
    ];
    let says = numbers.iter().any(Option::is_some) || lists.contains(&true);
    says.then_some(asked)
}

/// A regression always fails: `--fail-on` adds to it.
fn with_regression(mut states: Vec<VerdictState>) -> Vec<VerdictState> {
    states.push(VerdictState::Regression);
    states.sort_unstable();
    states.dedup();
    states
}

/// What is asked for must have something to work on.
fn check(comparing: &Comparing, problems: &mut Problems) {
    let compares = comparing.control.is_some() || !comparing.baselines.is_empty();
    let hint = "add `--control NAME` or `--baseline @REV`";
    for (flag, is_set) in [
        ("--control-repeats", comparing.control_repeats.is_some()),
        ("--confirm", comparing.confirm.is_some()),
    ] {
        if is_set && !compares {
            let message = "there is nothing to compare with";
            problems.push(Problem::setting(flag, message).with_hint(hint));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_asked_for_when_anything_is_said_of_it_and_the_rest_is_as_before() {
        let before = Rule {
            alpha: 0.01,
            fail_on: vec![VerdictState::Regression, VerdictState::Drifted],
            ..Rule::default()
        };
        let nothing = (ComparingFlags::default(), CompareDefaults::default());
        assert_eq!(rule_asked(&nothing.0, &nothing.1, &before), None);
        let typed = ComparingFlags {
            max_drop: Some(2.0),
            ..ComparingFlags::default()
        };
        let expected = Rule {
            max_drop: 2.0,
            ..before.clone()
        };
        assert_eq!(rule_asked(&typed, &nothing.1, &before), Some(expected));
        let written = CompareDefaults {
            max_drop: Some(7.0),
            fail_on: Some(vec![VerdictState::Inconclusive]),
            ..CompareDefaults::default()
        };
        let expected = Rule {
            max_drop: 2.0,
            fail_on: vec![VerdictState::Regression, VerdictState::Inconclusive],
            ..before.clone()
        };
        assert_eq!(rule_asked(&typed, &written, &before), Some(expected));
        let question = ComparingFlags {
            question: Some(Suite::General),
            ..ComparingFlags::default()
        };
        let asked = rule_asked(&question, &nothing.1, &before).unwrap();
        assert_eq!(
            (asked.question, asked.fail_on),
            (Suite::General, before.fail_on)
        );
    }
}
