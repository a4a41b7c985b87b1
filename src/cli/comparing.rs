//! The options of comparisons: with what, by which rule, and how much is spent on it.

use clap::Args;
use forge::event::Demands;
use forge::name::CandidateName;
use forge::problem::{Problem, Problems};
use forge::rule::{BaselineSource, Measure, Suite, VerdictState};
use forge::score::Points;
use forge::settings::ComparingFlags;

use super::{RunArgs, values};

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Comparisons")]
pub(super) struct ComparingArgs {
    /// Compare candidates with what they were: at a git revision (`@REV`, `NAME@REV`; may be repeated), or in a stored
    /// run (its id, `latest`, `blessed`, a file)
    #[arg(long, value_name = "@REV|NAME@REV|RUN|FILE")]
    baseline: Vec<BaselineSource>,
    /// Compare every other candidate with this one
    #[arg(long, value_name = "NAME")]
    control: Option<String>,
    /// Trials of the control, and of what candidates were [default: √C times as many for C others]
    #[arg(long, value_name = "N", value_parser = values::times, allow_negative_numbers = true)]
    control_repeats: Option<u32>,
    /// The most that `--repeat auto` takes [default: 9]
    #[arg(long, value_name = "N", value_parser = values::times, allow_negative_numbers = true)]
    max_repeat: Option<u32>,
    /// Run what looks like a regression so many more times, and judge it by these alone
    #[arg(long, value_name = "N", value_parser = values::times, allow_negative_numbers = true)]
    confirm: Option<u32>,
    #[command(flatten)]
    rule: RuleArgs,
}

impl ComparingArgs {
    pub(super) fn flags(&self) -> ComparingFlags {
        ComparingFlags {
            baselines: self.baseline.clone(),
            control: self.control.clone(),
            control_repeats: self.control_repeats,
            max_repeat: self.max_repeat,
            confirm: self.confirm,
            ..self.rule.flags()
        }
    }

    /// The flags given that compare with somebody else, or spend trials on it.
    pub(super) fn asked_of_others(&self) -> impl Iterator<Item = &'static str> {
        let said = [
            ("--baseline", !self.baseline.is_empty()),
            ("--control", self.control.is_some()),
            ("--control-repeats", self.control_repeats.is_some()),
            ("--max-repeat", self.max_repeat.is_some()),
            ("--confirm", self.confirm.is_some()),
        ];
        said.into_iter().filter(|it| it.1).map(|it| it.0)
    }
}

/// By which rule.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Comparisons")]
pub(super) struct RuleArgs {
    /// Points: a smaller loss is never a regression [default: 5]
    #[arg(long, value_name = "POINTS", value_parser = values::points, allow_negative_numbers = true)]
    max_drop: Option<f64>,
    /// The same where less is better, of seconds and metrics [default: 10%]; may be repeated
    #[arg(long, value_name = "MEASURE=PERCENT", value_parser = values::rise)]
    max_rise: Vec<(Measure, f64)>,
    /// What can fail a run: score, quality, passed, seconds, `peak_memory` or a metric [default: score]; may be repeated
    #[arg(long, value_name = "MEASURE", value_delimiter = ',')]
    gate: Vec<Measure>,
    /// What is compared besides and only shown [default: passed, quality, seconds and every metric]; may be repeated
    #[arg(long, value_name = "MEASURE", value_delimiter = ',')]
    show: Vec<Measure>,
    /// Exit 1 on this state too: inconclusive, drifted or invalid; may be repeated
    #[arg(long, value_name = "STATE", value_parser = values::can_fail, value_delimiter = ',')]
    fail_on: Vec<VerdictState>,
    /// How often a change may be claimed where there is none [default: 0.05]
    #[arg(long, value_name = "LEVEL", value_parser = values::alpha, allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// For which objectives a verdict is meant: these (`fixed`), or such ones (`general`, shown besides) [default: fixed]
    #[arg(long, value_name = "SUITE", value_parser = values::question)]
    question: Option<Suite>,
}

impl RuleArgs {
    /// What was typed of the rule, and nothing else.
    pub(super) fn flags(&self) -> ComparingFlags {
        ComparingFlags {
            alpha: self.alpha,
            max_drop: self.max_drop,
            max_rise: self.max_rise.iter().cloned().collect(),
            gate: self.gate.clone(),
            show: self.show.clone(),
            fail_on: self.fail_on.clone(),
            question: self.question,
            ..ComparingFlags::default()
        }
    }
}

/// What is asked of the run; a name that can be none is one of the problems.
pub(super) fn demands(args: &RunArgs, problems: &mut Problems) -> Demands {
    let mut name = |flag: &str, name: &str| match CandidateName::parse(name) {
        Ok(name) => Some(name),
        Err(error) => {
            let hint = "the name of a candidate, as `forge list` shows it";
            let problem = Problem::setting(flag, format!("`{name}`: {error}"));
            problems.push(problem.with_hint(hint));
            None
        }
    };
    let mut demands = Demands {
        require: args
            .require
            .iter()
            .filter_map(|it| name("--require", it))
            .collect(),
        ..Demands::default()
    };
    for (of, least) in &args.fail_under {
        let least = Points::clamped(*least);
        match of {
            None => demands.fail_under = Some(least),
            Some(of) => {
                let floor = name("--fail-under", of).map(|name| (name, least));
                demands.floors.extend(floor);
            }
        }
    }
    demands
}
