//! What a person is told about a run, as short texts in the order of telling. The terminal, Markdown and
//! HTML differ only in how they set it.
//!
//! Promises: every text is on one line, free of control characters and of bounded length; every list
//! that grows with the number of trials is cut, and says so.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::Serialize;

use super::{Outcome, Report, count};
use crate::event::{Cleanup, ErrorClass, PlannedObjective, RunPlan, TrialRecord};
use crate::name::{CandidateName, ObjectiveName};
use crate::plain::short;
use crate::quantity::show_duration;
use crate::score::Points;
use crate::summary::{ObjectiveStandings, Standing, TrialRow, Winner};

/// So many failures of an objective are listed.
const MAX_FAILURES: usize = 50;
/// So many trials of an objective are listed.
const MAX_TRIALS: usize = 200;
/// So many candidates of an objective are explained.
const MAX_EXPLAINED: usize = 20;
/// So many gates, and so many scorers, of a trial are explained.
const MAX_PARTS: usize = 30;
/// So many warnings, and so many sandboxes, are listed.
const MAX_LISTED: usize = 50;
/// The longest text, in characters.
const MAX_TEXT: usize = 300;

/// What stands for a value that does not exist.
pub(super) const NOTHING: &str = "–";

/// The whole of it.
#[derive(Serialize)]
pub(super) struct View {
    pub(super) headline: Headline,
    pub(super) exit: Exit,
    pub(super) facts: Vec<Fact>,
    pub(super) unlike: Vec<Fact>,
    pub(super) losses: String,
    pub(super) stopped: String,
    pub(super) warnings: Vec<String>,
    pub(super) more_warnings: usize,
    pub(super) sandboxes: Sandboxes,
    /// Empty when there is only one objective: its table says the same.
    pub(super) overall: Vec<Row>,
    pub(super) sections: Vec<Section>,
    pub(super) settings: Vec<Setting>,
}

/// Who won, or that nobody did.
#[derive(Serialize)]
pub(super) struct Headline {
    /// `Winner`, `Tie` or `No winner`.
    pub(super) label: &'static str,
    pub(super) text: String,
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
    name: String,
    value: String,
    origin: String,
}

/// A line of a table of standings.
#[derive(Serialize)]
pub(super) struct Row {
    pub(super) rank: String,
    pub(super) candidate: String,
    /// Whether its trials are not like for like with the others'.
    pub(super) unlike: bool,
    pub(super) score: String,
    pub(super) passed: String,
    pub(super) quality: String,
    pub(super) speed: String,
    pub(super) median: String,
    pub(super) note: String,
    pub(super) tone: Tone,
}

/// How a row feels, for colours.
#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tone {
    /// First place, with something that passed.
    Best,
    /// Everything with a verdict passed.
    Good,
    /// Something failed.
    Bad,
    /// There is no verdict at all.
    Lost,
}

/// One objective.
#[derive(Serialize)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) headline: Headline,
    pub(super) table: Vec<Row>,
    conditions: String,
    left_out: String,
    failures: Vec<TrialLine>,
    more_failures: usize,
    explained: Vec<Explained>,
    more_explained: usize,
    trials: Vec<TrialLine>,
    more_trials: usize,
}

#[derive(Serialize)]
struct TrialLine {
    candidate: String,
    repeat: u32,
    outcome: &'static str,
    score: String,
    quality: String,
    speed: String,
    time: String,
    why: String,
}

/// How a candidate's score came about.
#[derive(Serialize)]
struct Explained {
    candidate: String,
    repeat: u32,
    explanation: String,
    gates: Vec<Part>,
    scorers: Vec<Part>,
    more: usize,
}

#[derive(Serialize)]
struct Part {
    /// `held`, `failed`, the points, or `unscored`.
    verdict: String,
    weight: String,
    what: String,
    why: String,
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
        let single = report.standings.objectives.len() == 1;
        let planned = plan.map_or(&[][..], |plan| &plan.objectives);
        let rows = rows_by_objective(&summary.trials);
        Self {
            headline: headline(report.standings.winner.as_ref(), &report.standings.overall),
            exit: Exit {
                code: report.exit.code(),
                name: super::json::exit_name(report.exit),
                reasons: report.reasons.iter().map(|it| clean(it)).collect(),
            },
            facts: facts(report),
            losses: losses.whole(),
            stopped: summary
                .stopped
                .map_or_else(String::new, |cause| cause.as_str().to_owned()),
            warnings: listed(&summary.warnings, |it| clean(it)),
            more_warnings: summary.warnings.len().saturating_sub(MAX_LISTED),
            sandboxes: sandboxes(report),
            overall: if single {
                Vec::new()
            } else {
                table(&report.standings.overall, None, &losses, &unlike)
            },
            sections: report
                .standings
                .objectives
                .iter()
                .map(|of| {
                    section(
                        report,
                        of,
                        planned.iter().find(|it| it.name == of.objective),
                        rows.get(&of.objective).copied().unwrap_or_default(),
                        table(&of.standings, Some(&of.objective), &losses, &unlike),
                    )
                })
                .collect(),
            settings: plan.map_or_else(Vec::new, settings),
            unlike,
        }
    }
}

fn clean(text: &str) -> String {
    short(text, MAX_TEXT)
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

/// The plan's order keeps an objective's trials together.
fn rows_by_objective(trials: &[TrialRow]) -> HashMap<&ObjectiveName, &[TrialRow]> {
    trials
        .chunk_by(|a, b| a.trial.objective == b.trial.objective)
        .map(|rows| (&rows[0].trial.objective, rows))
        .collect()
}

fn headline(winner: Option<&Winner>, standings: &[Standing]) -> Headline {
    let Some(winner) = winner else {
        let why = if standings.is_empty() {
            "nothing was planned"
        } else if standings.iter().all(|standing| standing.judged == 0) {
            "no trial has a verdict"
        } else if standings.iter().all(|standing| standing.passed == 0) {
            "no candidate passed its gates"
        } else {
            "nobody who passed the gates has a verdict on every objective"
        };
        return Headline {
            label: "No winner",
            text: why.to_owned(),
        };
    };
    let name = &winner.candidate;
    if winner.tied_with.is_empty() {
        // The label says already that it wins.
        let reason = winner.reason.strip_prefix(&format!("{name} wins with "));
        return Headline {
            label: "Winner",
            text: reason.map_or_else(
                || clean(&winner.reason),
                |reason| clean(&format!("{name} with {reason}")),
            ),
        };
    }
    let mut names = vec![name.as_str()];
    names.extend(winner.tied_with.iter().map(CandidateName::as_str));
    let shown = match names.as_slice() {
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
        [] => String::new(),
    };
    Headline {
        label: "Tie",
        text: clean(&format!("{shown}, with {} points each", winner.score)),
    }
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
        unconfirmed,
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
    let left = !kept.is_empty() || !unconfirmed.is_empty();
    Sandboxes {
        summary: match cleanup {
            None => "the run ended before it had looked after its sandboxes".to_owned(),
            Some(_) if parts.is_empty() => "none was made".to_owned(),
            Some(_) => parts.join(", "),
        },
        kept: listed(kept, |id| clean(id.as_str())),
        unconfirmed: listed(unconfirmed, |it| {
            let id = it.id.as_ref().map_or("unknown", |id| id.as_str());
            Fact {
                name: clean(&format!("{} (id {id})", it.name)),
                value: clean(&it.error),
            }
        }),
        more: kept.len().saturating_sub(MAX_LISTED) + unconfirmed.len().saturating_sub(MAX_LISTED),
        sweep: if left || cleanup.is_none() {
            short(report.sweep, MAX_TEXT)
        } else {
            String::new()
        },
    }
}

/// How many trials have no verdict, by why.
#[derive(Clone, Copy, Default)]
struct Loss {
    infrastructure: usize,
    cancelled: usize,
    not_run: usize,
    unscored: usize,
}

impl Loss {
    fn add(&mut self, class: Option<ErrorClass>) {
        match class {
            Some(ErrorClass::Infrastructure) => self.infrastructure += 1,
            Some(ErrorClass::Cancelled) => self.cancelled += 1,
            Some(ErrorClass::NotRun) => self.not_run += 1,
            Some(
                ErrorClass::Setup | ErrorClass::Candidate | ErrorClass::Timeout | ErrorClass::Limit,
            )
            | None => self.unscored += 1,
        }
    }

    fn total(self) -> usize {
        self.infrastructure + self.cancelled + self.not_run + self.unscored
    }

    fn show(self) -> String {
        [
            (self.infrastructure, "lost to infrastructure"),
            (self.cancelled, "cancelled"),
            (self.not_run, "not run"),
            (self.unscored, "not scored"),
        ]
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect::<Vec<_>>()
        .join(", ")
    }
}

/// The losses of a run: of each objective and candidate, and of each candidate over all objectives.
struct Losses<'a> {
    planned: usize,
    cells: BTreeMap<(Option<&'a str>, &'a str), Loss>,
    all: Loss,
}

impl<'a> Losses<'a> {
    fn of(trials: &'a [TrialRow]) -> Self {
        let mut this = Self {
            planned: trials.len(),
            cells: BTreeMap::new(),
            all: Loss::default(),
        };
        for row in trials.iter().filter(|row| row.is_lost()) {
            let candidate = row.trial.candidate.as_str();
            for objective in [None, Some(row.trial.objective.as_str())] {
                let cell = this.cells.entry((objective, candidate)).or_default();
                cell.add(row.error_kind);
            }
            this.all.add(row.error_kind);
        }
        this
    }

    fn whole(&self) -> String {
        match self.all.total() {
            0 => String::new(),
            lost => format!(
                "{lost} of {} have no verdict and do not count: {}",
                count(self.planned, "trial", "trials"),
                self.all.show()
            ),
        }
    }
}

fn table(
    standings: &[Standing],
    objective: Option<&ObjectiveName>,
    losses: &Losses<'_>,
    unlike: &[Fact],
) -> Vec<Row> {
    let objective = objective.map(ObjectiveName::as_str);
    standings
        .iter()
        .map(|standing| {
            let name = standing.candidate.as_str();
            let loss = losses.cells.get(&(objective, name)).copied();
            Row {
                rank: match standing.rank {
                    Some(rank) if standing.tied => format!("{rank}="),
                    Some(rank) => rank.to_string(),
                    None => NOTHING.to_owned(),
                },
                candidate: name.to_owned(),
                unlike: unlike.iter().any(|it| it.name == name),
                score: points(standing.score),
                passed: match standing.judged {
                    0 => NOTHING.to_owned(),
                    judged => format!("{}/{judged}", standing.passed),
                },
                quality: points(standing.quality),
                speed: points(standing.speed),
                median: seconds(standing.median_seconds),
                note: note(standing, loss.unwrap_or_default()),
                tone: tone(standing),
            }
        })
        .collect()
}

fn tone(standing: &Standing) -> Tone {
    if standing.judged == 0 {
        Tone::Lost
    } else if standing.rank == Some(1) && standing.passed > 0 {
        Tone::Best
    } else if standing.passed == standing.judged {
        Tone::Good
    } else {
        Tone::Bad
    }
}

fn note(standing: &Standing, loss: Loss) -> String {
    let mut parts = Vec::new();
    if standing.tied {
        parts.push("tied".to_owned());
    }
    let failed = standing.judged - standing.passed;
    let why = standing.note.as_deref().unwrap_or_default();
    if failed > 0 && standing.passed == 0 {
        parts.push(format!("disqualified by {why}"));
    } else if failed > 0 {
        let judged = standing.judged;
        parts.push(format!("{failed} of {judged} disqualified, first by {why}"));
    }
    if loss.total() > 0 && failed == 0 {
        parts.push(format!("{}: {why}", loss.show()));
    } else if loss.total() > 0 {
        parts.push(loss.show());
    }
    clean(&parts.join("; "))
}

fn section(
    report: &Report<'_>,
    of: &ObjectiveStandings,
    planned: Option<&PlannedObjective>,
    rows: &[TrialRow],
    table: Vec<Row>,
) -> Section {
    let failed = || rows.iter().filter(|row| !row.passed());
    let lines = |rows: &mut dyn Iterator<Item = &TrialRow>, most| -> Vec<TrialLine> {
        rows.take(most).map(trial_line).collect()
    };
    Section {
        name: of.objective.to_string(),
        title: planned
            .and_then(|planned| planned.title.as_deref())
            .map_or_else(String::new, clean),
        headline: headline(of.winner.as_ref(), &of.standings),
        table,
        conditions: planned.map_or_else(String::new, conditions),
        left_out: left_out(of, planned),
        failures: lines(&mut failed(), MAX_FAILURES),
        more_failures: failed().count().saturating_sub(MAX_FAILURES),
        explained: of
            .standings
            .iter()
            .take(MAX_EXPLAINED)
            .filter_map(|standing| first_record(report, rows, &standing.candidate))
            .filter_map(|record| explained(&record))
            .collect(),
        more_explained: of.standings.len().saturating_sub(MAX_EXPLAINED),
        trials: lines(&mut rows.iter(), MAX_TRIALS),
        more_trials: rows.len().saturating_sub(MAX_TRIALS),
    }
}

fn trial_line(row: &TrialRow) -> TrialLine {
    let outcome = Outcome::of(row);
    TrialLine {
        candidate: row.trial.candidate.to_string(),
        repeat: row.trial.repeat,
        outcome: outcome.as_str(),
        score: points(row.score),
        quality: points(row.quality),
        speed: points(row.speed),
        time: seconds(row.runtime_seconds),
        why: match outcome {
            Outcome::Passed => String::new(),
            Outcome::Failed(_, why) | Outcome::Lost(_, why) => clean(why),
        },
    }
}

/// What every candidate got alike.
fn conditions(planned: &PlannedObjective) -> String {
    let weights = planned.weights;
    let limit = Duration::try_from_secs_f64(planned.run_limit_s).unwrap_or_default();
    clean(&format!(
        "{} for every candidate, at most {} each, network {}; the score is {} parts success, {} parts \
         quality, {} parts speed",
        count(planned.repeats as usize, "trial", "trials"),
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
    if weighs && passed().next().is_some() && passed().all(|it| it.quality.is_none()) {
        "quality has no value here and is left out; the other weights are scaled up".to_owned()
    } else {
        String::new()
    }
}

/// The record of a candidate's first trial with a verdict.
fn first_record(
    report: &Report<'_>,
    rows: &[TrialRow],
    candidate: &CandidateName,
) -> Option<TrialRecord> {
    rows.iter()
        .find(|row| row.trial.candidate == *candidate && !row.is_lost())
        .and_then(|row| report.details.record(&row.trial))
}

fn explained(record: &TrialRecord) -> Option<Explained> {
    let score = record.score.as_ref()?;
    let over = |parts: usize| parts.saturating_sub(MAX_PARTS);
    Some(Explained {
        candidate: record.trial.candidate.to_string(),
        repeat: record.trial.repeat,
        explanation: clean(&score.explanation),
        gates: score
            .gates
            .iter()
            .take(MAX_PARTS)
            .map(|gate| Part {
                verdict: if gate.passed { "held" } else { "failed" }.to_owned(),
                weight: String::new(),
                what: clean(&gate.gate),
                why: clean(&gate.explanation),
            })
            .collect(),
        scorers: score
            .scorers
            .iter()
            .take(MAX_PARTS)
            .map(|scorer| Part {
                verdict: scorer
                    .points
                    .map_or_else(|| "unscored".to_owned(), |points| points.to_string()),
                weight: scorer.weight.to_string(),
                what: clean(&scorer.scorer),
                why: clean(&scorer.explanation),
            })
            .collect(),
        more: over(score.gates.len()) + over(score.scorers.len()),
    })
}
