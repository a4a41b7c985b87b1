//! Two runs of the past compared: what their trials say of each candidate, then and later. Nothing is run.
//!
//! Promises: pairs are matched by the names of candidates and by the digests of objectives, and what does not match is
//! said. Two runs are two nights, so nothing here is a regression: a candidate with the same files answers whether
//! the world moved (`steady`, `drifted`), one with others is only screened (`watch` at most). Runs by different rules are
//! not compared until somebody says by which one.

use std::collections::{BTreeMap, BTreeSet};

use crate::baseline::stored::StoredRun;
use crate::event::{Demands, PlannedObjective, RunPlan, StoredScores};
use crate::exit::{self, ExitCode};
use crate::name::{CandidateName, ObjectiveName};
use crate::problem::Problem;
use crate::quantity::show_duration;
use crate::rule::{Comparison, How, Question, Rule};
use crate::standings::{Lead, Standings};
use crate::suggest;
use crate::summary::RunSummary;
use crate::verdict::{self, Verdict};

/// A run that began so many seconds before the other says little of it.
const STALE: i64 = 3 * 24 * 60 * 60;

/// What two runs come to.
#[derive(Debug, Clone)]
pub struct Compared {
    /// The earlier one.
    pub base: Side,
    /// The later one.
    pub new: Side,
    /// Who leads in the later one, where all candidates ran in it.
    pub lead: Option<Lead>,
    /// What is said of each candidate that is in both.
    pub verdicts: Vec<Verdict>,
    /// The rule in force.
    pub rule: Rule,
    /// What people should know besides, a sentence each.
    pub notes: Vec<String>,
}

/// One of the two.
#[derive(Debug, Clone)]
pub struct Side {
    /// The run.
    pub stored: StoredRun,
    /// Its places, by the rule in force.
    pub standings: Standings,
}

impl Side {
    fn of(stored: StoredRun, rule: &Rule) -> Self {
        let summary = summary(&stored, rule);
        Self {
            standings: summary.standings(),
            stored,
        }
    }
}

fn summary(stored: &StoredRun, rule: &Rule) -> RunSummary {
    let mut summary = RunSummary::default();
    summary.plan = Some(RunPlan {
        rule: rule.clone(),
        ..stored.plan.clone()
    });
    summary.started = stored.started;
    summary.took = stored.took;
    summary.trials.clone_from(&stored.rows);
    summary.looks.clone_from(&stored.looks);
    summary
}

/// Compares a run with an earlier one, by `asked`, else by the rule that both have.
///
/// # Errors
/// [`Problem`] when no candidate is in both.
pub fn of(base: StoredRun, new: StoredRun, asked: Option<&Rule>) -> Result<Compared, Problem> {
    let mut notes: Vec<String> = base.remarks.iter().chain(&new.remarks).cloned().collect();
    let (comparisons, others) = comparisons(&base, &new)?;
    notes.extend(others);
    notes.extend(nights(&base, &new));
    let is_one_rule = base.plan.rule.digest() == new.plan.rule.digest();
    let by = asked.unwrap_or(&new.plan.rule).clone();
    let (base, new) = (Side::of(base, &by), Side::of(new, &by));
    let verdicts = if asked.is_none() && !is_one_rule {
        let why = "the runs have different rules";
        let each = comparisons.iter();
        each.map(|it| verdict::not_comparable(it, &by, why))
            .collect()
    } else {
        judge(&base, &new, &by, comparisons)
    };
    notes.extend(rules(&base.stored.plan.rule, &new.stored.plan.rule, asked));
    Ok(Compared {
        lead: new.standings.lead.clone(),
        base,
        new,
        verdicts,
        rule: by,
        notes,
    })
}

/// Who is compared with whom, and who cannot be.
fn comparisons(
    base: &StoredRun,
    new: &StoredRun,
) -> Result<(Vec<Comparison>, Vec<String>), Problem> {
    let mut comparisons = Vec::new();
    let mut notes = Vec::new();
    for candidate in new.today() {
        let Some((then, now)) = base.digest(candidate).zip(new.digest(candidate)) else {
            notes.push(format!(
                "candidate `{candidate}` is only in the run {}, and is not compared",
                new.run
            ));
            continue;
        };
        let against = candidate
            .at(&base.version)
            .map_err(|error| Problem::setting("BASE", error.to_string()))?;
        let (question, how) = if then == now {
            (Question::World, How::Again)
        } else {
            (Question::Baseline, How::Screened)
        };
        comparisons.push(Comparison {
            question,
            candidate: candidate.clone(),
            against,
            how,
        });
    }
    let gone = base.today().filter(|name| new.digest(name).is_none());
    notes.extend(gone.map(|name| {
        format!(
            "candidate `{name}` is only in the run {}, and is not compared",
            base.run
        )
    }));
    if comparisons.is_empty() {
        let names = |run: &StoredRun| {
            let names: Vec<String> = run.today().map(CandidateName::to_string).collect();
            suggest::list(names.iter().map(String::as_str))
        };
        let message = "the two runs have no candidate in common: nothing can be compared";
        let hint = format!(
            "the run {} has {}, the run {} has {}",
            base.run,
            names(base),
            new.run,
            names(new)
        );
        return Err(Problem::setting("", message).with_hint(hint));
    }
    Ok((comparisons, notes))
}

/// What the two runs' dates say.
fn nights(base: &StoredRun, new: &StoredRun) -> Option<String> {
    if base.run == new.run {
        return Some(format!("both are the run {}", base.run));
    }
    let between = new.started?.as_second() - base.started?.as_second();
    if between < 0 {
        return Some(format!(
            "the run {} began after the run {}: what is called a loss here is a gain in time",
            base.run, new.run
        ));
    }
    let passed = std::time::Duration::from_secs(between.unsigned_abs());
    (between > STALE).then(|| {
        format!(
            "stale_baseline: {} passed between the two runs; what moved meanwhile moved for one of them alone",
            show_duration(passed)
        )
    })
}

/// By which rule it was judged, where that is not that of both.
fn rules(base: &Rule, new: &Rule, asked: Option<&Rule>) -> Option<String> {
    let differ = base.digest() != new.digest();
    match asked {
        None if differ => Some(format!(
            "the runs have different rules ({}): say by which one, with `--max-drop 5`, say, or in `forge.yaml`",
            differences(base, new)
        )),
        Some(_) if differ => Some(format!(
            "the runs have different rules ({}); both are judged by the one that was asked for",
            differences(base, new)
        )),
        Some(asked) if asked.digest() != new.digest() => Some(
            "both runs are judged by the rule that was asked for, which is not theirs".to_owned(),
        ),
        None | Some(_) => None,
    }
}

fn differences(then: &Rule, now: &Rule) -> String {
    let value = |rule: &Rule| serde_json::to_value(rule).unwrap_or_default();
    let (then, now) = (value(then), value(now));
    let fields = then.as_object().into_iter().flatten();
    let other = fields.filter(|(key, then)| now.get(key.as_str()) != Some(then));
    let other = other.map(|(key, then)| {
        let now = now.get(key).cloned().unwrap_or_default();
        format!("`{key}` {then} then, {now} now")
    });
    other.collect::<Vec<_>>().join("; ")
}

fn judge(base: &Side, new: &Side, by: &Rule, comparisons: Vec<Comparison>) -> Vec<Verdict> {
    let unlike = unlike(base, &new.stored);
    let then = &base.stored;
    let stored = comparisons.iter().filter_map(|it| {
        let name = &it.candidate;
        let mut scores = verdict::stored(&then.plan, then.started, &then.rows, name)?;
        scores
            .objectives
            .retain(|it| !unlike.contains_key(&it.objective));
        Some(scores)
    });
    let stored: Vec<StoredScores> = stored.collect();
    let mut summary = summary(&new.stored, by);
    summary.stored = stored;
    // What was decided on the way was decided of other comparisons.
    summary.looks.clear();
    if let Some(plan) = &mut summary.plan {
        plan.comparisons = comparisons;
        plan.looks = 1;
    }
    let mut verdicts = verdict::of(&summary, &new.standings);
    let names: BTreeSet<&ObjectiveName> = new
        .stored
        .plan
        .objectives
        .iter()
        .map(|it| &it.name)
        .collect();
    let only_then = then.plan.objectives.iter();
    let only_then = only_then.filter(|it| !names.contains(&it.name));
    let only_then: Vec<String> = only_then
        .map(|it| format!("{}: it is only in the earlier run", it.name))
        .collect();
    for verdict in &mut verdicts {
        for text in &mut verdict.not_comparable {
            for (objective, why) in &unlike {
                let why = format!("{objective}: {why}");
                if text.starts_with(&format!("{objective}:")) {
                    verdict.explanation = verdict.explanation.replace(&**text, &why);
                    *text = why;
                    break;
                }
            }
        }
        verdict.not_comparable.extend(only_then.iter().cloned());
    }
    verdicts
}

/// Objectives of the earlier run that are the same, and whose scores are not comparable all the same.
fn unlike(base: &Side, new: &StoredRun) -> BTreeMap<ObjectiveName, String> {
    let of = |then: &PlannedObjective| {
        let mut objectives = new.plan.objectives.iter();
        let now = objectives.find(|it| it.name == then.name)?;
        if then.digest != now.digest {
            // That is said of it, whatever else is other.
            None
        } else if base.standings.ungraded(&then.name).is_some() {
            Some("its graders did not work in the earlier run".to_owned())
        } else if (then.run_limit_s - now.run_limit_s).abs() > 1e-9 {
            let (then, now) = (then.run_limit_s, now.run_limit_s);
            Some(format!("its limit was {then} s then, and is {now} s now"))
        } else if then.network != now.network {
            Some(format!(
                "its network was `{}` then, and is `{}` now",
                then.network, now.network
            ))
        } else {
            None
        }
    };
    let objectives = base.stored.plan.objectives.iter();
    objectives
        .filter_map(|it| Some((it.name.clone(), of(it)?)))
        .collect()
}

impl Compared {
    /// How a program ends that was asked for nothing but this, and why when that is not [`ExitCode::Ok`].
    #[must_use]
    pub fn exit(&self) -> (ExitCode, Vec<String>) {
        // Verdicts alone: nothing is demanded of either run, and what they lost stands in the verdicts.
        let mut summary = RunSummary::default();
        summary.plan = Some(RunPlan {
            rule: self.rule.clone(),
            demands: Demands::default(),
            objectives: Vec::new(),
            ..self.new.stored.plan.clone()
        });
        exit::decide(&summary, &Standings::default(), &self.verdicts)
    }
}

#[cfg(test)]
mod tests;
