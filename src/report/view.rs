//! What a person is told about a run, as short texts in the order of telling. The terminal, Markdown and
//! HTML differ only in how they set it.
//!
//! Promises: every text is on one line, free of control characters and of bounded length; every list
//! that grows with the number of trials is cut, and says so.

use std::time::Duration;

use serde::Serialize;

use super::Report;
use crate::event::{Cleanup, PlannedObjective, RunPlan};
use crate::plain::ends;
use crate::quantity::{counted, show_duration};
use crate::score::Points;
use crate::standings::ObjectiveStandings;
use crate::summary::{TrialRow, TrialRows};

mod explained;
mod metrics;
mod phases;
mod quotes;
mod standings;
mod trials;
mod verdicts;

use explained::{Explained, MAX_EXPLAINED};
pub(super) use explained::{score_in_words, typical};
pub(super) use metrics::figure;
pub(super) use phases::{PhaseRow, phase_rows};
use quotes::quotes;
pub(super) use quotes::{Quote, folder};
pub(super) use standings::{Headline, Row, Table, Tone};
use standings::{Losses, headline, table};
use trials::{TrialLine, trial_line};
pub(super) use verdicts::{Rows, VerdictRow, is_quiet, matters, said};

/// So many failures of an objective are listed.
const MAX_FAILURES: usize = 50;
/// So many trials of an objective are listed.
const MAX_TRIALS: usize = 200;
/// So many warnings, and so many sandboxes, are listed.
const MAX_LISTED: usize = 50;
/// The longest text, in characters.
const MAX_TEXT: usize = 300;

/// What stands for a value that does not exist.
pub(super) const NOTHING: &str = "–";

/// The whole of it.
#[derive(Serialize)]
pub(super) struct View {
    /// What is said first; never empty.
    pub(super) head: Vec<Headline>,
    pub(super) verdicts: Rows,
    /// Objectives that nobody is ranked by, and why.
    pub(super) ungraded: Vec<Fact>,
    /// What makes scores doubtful.
    pub(super) doubts: Vec<String>,
    pub(super) exit: Exit,
    pub(super) facts: Vec<Fact>,
    pub(super) unlike: Vec<Fact>,
    pub(super) losses: String,
    /// What was planned and not needed.
    pub(super) spared: String,
    pub(super) stopped: String,
    pub(super) warnings: Vec<String>,
    pub(super) more_warnings: usize,
    pub(super) sandboxes: Sandboxes,
    /// Empty when there is only one objective: its table says the same.
    pub(super) overall: Table,
    /// How many objectives that table is about.
    pub(super) graded: String,
    /// Written one by one.
    #[serde(skip)]
    pub(super) sections: Vec<Section>,
    /// Where the time went.
    pub(super) phases: Vec<PhaseRow>,
    pub(super) settings: Vec<Setting>,
}

#[derive(Serialize)]
pub(super) struct Exit {
    pub(super) code: u8,
    pub(super) name: &'static str,
    pub(super) reasons: Vec<String>,
}

#[derive(Serialize)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Serialize)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) origin: String,
}

/// One objective.
#[derive(Serialize)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) title: String,
    /// Absent where it was not asked who won.
    pub(super) headline: Option<Headline>,
    pub(super) table: Table,
    pub(super) conditions: String,
    pub(super) left_out: String,
    failures: Vec<TrialLine>,
    more_failures: usize,
    /// What was said last by what failed.
    pub(super) quotes: Vec<Quote>,
    pub(super) explained: Vec<Explained>,
    more_explained: usize,
    trials: Vec<TrialLine>,
    more_trials: usize,
}

/// What became of the sandboxes.
#[derive(Serialize)]
pub(super) struct Sandboxes {
    pub(super) summary: String,
    pub(super) kept: Vec<String>,
    pub(super) unconfirmed: Vec<Fact>,
    pub(super) more: usize,
    /// Empty when there is nothing to delete.
    pub(super) sweep: String,
}

impl View {
    pub(super) fn of(report: &Report<'_>) -> Self {
        let summary = report.summary;
        let plan = summary.plan.as_ref();
        let unlike = plan.map_or_else(Vec::new, unlike);
        let losses = Losses::of(&summary.trials);
        let all = report.standings.objectives.len();
        let single = all == 1;
        let planned = plan.map_or(&[][..], |plan| &plan.objectives);
        let objectives = || report.standings.objectives.iter();
        let ungraded: Vec<(&str, &str)> = objectives()
            .filter_map(|it| Some((it.objective.as_str(), it.ungraded.as_deref()?)))
            .collect();
        let doubts: Vec<&String> = objectives().flat_map(|it| &it.warnings).collect();
        Self {
            head: head(report),
            verdicts: verdicts::rows(report.verdicts),
            ungraded: listed(&ungraded, |(name, why)| Fact {
                name: (*name).to_owned(),
                value: clean(why),
            }),
            doubts: listed(&doubts, |it| clean(it)),
            exit: Exit {
                code: report.exit.code(),
                name: super::json::exit_name(report.exit),
                reasons: report.reasons.iter().map(|it| clean(it)).collect(),
            },
            facts: facts(report),
            losses: losses.whole(),
            spared: standings::spared(&summary.trials),
            stopped: summary
                .stopped
                .map_or_else(String::new, |cause| cause.as_str().to_owned()),
            warnings: listed(&summary.warnings, |it| clean(it)),
            more_warnings: summary.warnings.len().saturating_sub(MAX_LISTED),
            sandboxes: sandboxes(report),
            overall: if single || report.standings.overall.is_empty() {
                Table::default()
            } else {
                table(&report.standings.overall, None, &losses, &unlike)
            },
            graded: match (all - ungraded.len(), all) {
                (graded, all) if graded == all => counted(all, "objective", "objectives"),
                (graded, all) => format!("{graded} of {}", counted(all, "objective", "objectives")),
            },
            sections: report
                .standings
                .objectives
                .iter()
                // Of what has not changed nothing was run.
                .filter(|of| !of.standings.is_empty())
                .map(|of| {
                    section(
                        report,
                        of,
                        planned.iter().find(|it| it.name == of.objective),
                        summary.trials.of_objective(&of.objective),
                        table(&of.standings, Some(&of.objective), &losses, &unlike),
                    )
                })
                .collect(),
            phases: phase_rows(summary.trials.rows()),
            settings: plan.map_or_else(Vec::new, settings),
            unlike,
        }
    }
}

/// What a reader sees first.
fn head(report: &Report<'_>) -> Vec<Headline> {
    let mut objectives = report.standings.objectives.iter();
    let winner = headline(
        report.standings.winner.as_ref(),
        &report.standings.overall,
        objectives.all(|it| it.ungraded.is_some()),
    );
    verdicts::head(report, winner)
}

/// The first line of that.
pub(super) fn first_line(report: &Report<'_>) -> String {
    let head = head(report);
    let first = head.first();
    first.map_or_else(String::new, |it| format!("{}{}", it.begin, it.text))
}

fn clean(text: &str) -> String {
    ends(text, MAX_TEXT)
}

fn listed<T, U>(items: &[T], show: impl Fn(&T) -> U) -> Vec<U> {
    items.iter().take(MAX_LISTED).map(show).collect()
}

fn points(points: Option<Points>) -> String {
    points.map_or_else(|| NOTHING.to_owned(), |points| points.to_string())
}

fn seconds(seconds: Option<f64>) -> String {
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .map_or_else(|| NOTHING.to_owned(), show_duration)
}

fn facts(report: &Report<'_>) -> Vec<Fact> {
    let summary = report.summary;
    let mut facts = Vec::new();
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            facts.push(Fact {
                name: clean(name),
                value: clean(&value),
            });
        }
    };
    if let Some(plan) = &summary.plan {
        add("run", plan.run.to_string());
        let reason = &plan.mode_reason;
        add("where", format!("{} ({reason})", plan.mode));
        add("isolation", plan.isolation.clone());
    }
    if let Some(started) = summary.started {
        add(
            "started",
            started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        );
    }
    match summary.took {
        Some(took) => add("took", show_duration(took)),
        None => add("took", "it never said that it was over".to_owned()),
    }
    add("trials", summary.trials.len().to_string());
    let in_sandboxes = show_duration(summary.in_sandboxes());
    add(
        "in sandboxes",
        summary
            .sandboxes_cost()
            .map_or(in_sandboxes.clone(), |cost| {
                format!("{in_sandboxes}, {cost:.2} USD")
            }),
    );
    if let Some(plan) = &summary.plan {
        add("at once, at the most", plan.jobs.to_string());
        add("seed", plan.seed.to_string());
        add("forge", plan.forge_version.clone());
        for (name, value) in plan.host.iter().take(MAX_LISTED) {
            add(name, value.clone());
        }
    }
    facts
}

/// Candidates whose trials differ from the others', and how.
fn unlike(plan: &RunPlan) -> Vec<Fact> {
    plan.candidates
        .iter()
        .filter(|candidate| !candidate.differs.is_empty())
        .map(|candidate| Fact {
            name: candidate.name.to_string(),
            value: clean(&candidate.differs.join("; ")),
        })
        .collect()
}

fn settings(plan: &RunPlan) -> Vec<Setting> {
    plan.settings
        .iter()
        .map(|(name, setting)| Setting {
            name: clean(name),
            value: clean(&setting.value),
            origin: clean(&setting.origin),
        })
        .collect()
}

fn sandboxes(report: &Report<'_>) -> Sandboxes {
    let nothing = Cleanup::default();
    let cleanup = report.summary.cleanup.as_ref();
    let Cleanup {
        deleted,
        kept,
        kept_at,
        unconfirmed,
        unlisted,
        swept,
    } = cleanup.unwrap_or(&nothing);
    let mut parts = Vec::new();
    if *deleted > 0 {
        parts.push(format!("{deleted} deleted"));
    }
    if !kept.is_empty() {
        parts.push(format!("{} kept on purpose", kept.len()));
    }
    if !unconfirmed.is_empty() {
        parts.push(format!("{} not confirmed deleted", unconfirmed.len()));
    }
    if *swept > 0 {
        parts.push(format!("{swept} swept since"));
    }
    if let Some(why) = unlisted {
        parts.push(clean(&format!(
            "the provider could not list them at the end: {why}"
        )));
    }
    let left = !kept.is_empty() || !unconfirmed.is_empty();
    Sandboxes {
        summary: match cleanup {
            None => "the run ended before it had looked after its sandboxes".to_owned(),
            Some(_) if parts.is_empty() => "none was made".to_owned(),
            Some(_) => parts.join(", "),
        },
        kept: listed(kept, |id| {
            clean(kept_at.get(id).map_or(id.as_str(), String::as_str))
        }),
        unconfirmed: listed(unconfirmed, |it| {
            let id = it.id.as_ref().map_or("unknown", |id| id.as_str());
            Fact {
                name: clean(&format!("{} (id {id})", it.name)),
                value: clean(&it.error),
            }
        }),
        more: kept.len().saturating_sub(MAX_LISTED) + unconfirmed.len().saturating_sub(MAX_LISTED),
        sweep: if left || cleanup.is_none() {
            ends(report.sweep, MAX_TEXT)
        } else {
            String::new()
        },
    }
}

fn section(
    report: &Report<'_>,
    of: &ObjectiveStandings,
    planned: Option<&PlannedObjective>,
    rows: TrialRows<'_>,
    table: Table,
) -> Section {
    let failed = || rows.iter().filter(|row| !row.passed() && !row.spared());
    let lines = |rows: &mut dyn Iterator<Item = TrialRow<'_>>, most| -> Vec<TrialLine> {
        rows.take(most)
            .map(|row| trial_line(row, report.standings))
            .collect()
    };
    Section {
        name: of.objective.to_string(),
        title: planned
            .and_then(|planned| planned.title.as_deref())
            .map_or_else(String::new, clean),
        headline: verdicts::asks_who_won(report)
            .then(|| headline(of.winner.as_ref(), &of.standings, of.ungraded.is_some())),
        table,
        conditions: planned.map_or_else(String::new, conditions),
        left_out: left_out(of, planned),
        failures: lines(&mut failed(), MAX_FAILURES),
        more_failures: failed().count().saturating_sub(MAX_FAILURES),
        quotes: quotes(report, rows),
        explained: of
            .standings
            .iter()
            .take(MAX_EXPLAINED)
            .filter_map(|standing| {
                let trials = &report.summary.trials;
                Explained::of(report, trials.of_cell(&of.objective, &standing.candidate))
            })
            .collect(),
        more_explained: of.standings.len().saturating_sub(MAX_EXPLAINED),
        trials: lines(&mut rows.iter(), MAX_TRIALS),
        more_trials: rows.len().saturating_sub(MAX_TRIALS),
    }
}

/// What every candidate got alike.
fn conditions(planned: &PlannedObjective) -> String {
    let weights = planned.weights;
    let limit = Duration::try_from_secs_f64(planned.run_limit_s).unwrap_or_default();
    clean(&format!(
        "{} for every candidate, at most {} each, network {}; the score is {} parts success, {} parts \
         quality, {} parts speed",
        counted(planned.repeats as usize, "trial", "trials"),
        show_duration(limit),
        planned.network,
        weights.success,
        weights.quality,
        weights.speed,
    ))
}

/// Says so when a part that has a weight has no value for anybody who passed.
fn left_out(of: &ObjectiveStandings, planned: Option<&PlannedObjective>) -> String {
    let passed = || of.standings.iter().filter(|standing| standing.passed > 0);
    let weighs = planned.is_some_and(|planned| planned.weights.quality > 0.0);
    let nobody_has = passed().next().is_some() && passed().all(|it| it.quality.is_none());
    if weighs && of.ungraded.is_none() && nobody_has {
        "quality has no value here and is left out; the other weights are scaled up".to_owned()
    } else {
        String::new()
    }
}
