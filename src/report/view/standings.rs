//! Standings, as short texts: who won, the tables, and what was lost.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Fact, NOTHING, clean, metrics, points, seconds};
use crate::event::ErrorClass;
use crate::name::{CandidateName, ObjectiveName};
use crate::quantity::counted;
use crate::standings::{Standing, Winner};
use crate::summary::{TrialRow, Trials};

/// What is said first: a verdict; who won, or that nobody did.
#[derive(Serialize)]
pub(in crate::report) struct Headline {
    /// What stands before the text: `Winner: `, `Tie: `, `No winner: `, `Verdict: REGRESSION  `, or nothing.
    pub(in crate::report) begin: String,
    pub(in crate::report) text: String,
    pub(in crate::report) tone: Tone,
}

impl Headline {
    pub(super) fn new(begin: &str, text: String, tone: Tone) -> Self {
        Self {
            begin: begin.to_owned(),
            text,
            tone,
        }
    }
}

/// A table of standings.
#[derive(Serialize, Default)]
pub(in crate::report) struct Table {
    pub(in crate::report) rows: Vec<Row>,
    /// Whether any score has an interval.
    pub(in crate::report) intervals: bool,
    /// The candidates' own metrics that have a column each: the median over the trials with a verdict.
    pub(in crate::report) metrics: Vec<String>,
    /// Their names as they are, which are not to be shown.
    #[serde(skip)]
    pub(in crate::report) names: Vec<String>,
    /// How many more there are.
    pub(in crate::report) more_metrics: usize,
}

/// A line of a table of standings.
#[derive(Serialize)]
pub(in crate::report) struct Row {
    /// The places that the data allow: `1`, `1–2`.
    pub(in crate::report) rank: String,
    pub(in crate::report) candidate: String,
    /// Whether its trials are not like for like with the others'.
    pub(in crate::report) unlike: bool,
    pub(in crate::report) score: String,
    /// Where the score lies with 95 % confidence: `71.2–93.0`.
    pub(in crate::report) interval: String,
    pub(in crate::report) passed: String,
    pub(in crate::report) quality: String,
    pub(in crate::report) speed: String,
    pub(in crate::report) median: String,
    pub(in crate::report) metrics: Vec<String>,
    pub(in crate::report) note: String,
    pub(in crate::report) tone: Tone,
}

/// How a row feels, for colours.
#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(in crate::report) enum Tone {
    /// First place, with something that passed.
    Best,
    /// Everything with a verdict passed.
    Good,
    /// Something failed.
    Bad,
    /// There is no verdict at all.
    Lost,
}

pub(super) fn headline(
    winner: Option<&Winner>,
    standings: &[Standing],
    ungraded: bool,
) -> Headline {
    let Some(winner) = winner else {
        let today = || standings.iter().filter(|it| it.version_of.is_none());
        let why = if standings.is_empty() {
            "nothing was planned"
        } else if ungraded {
            "nothing was graded"
        } else if today().all(|standing| standing.judged == 0) {
            "no trial has a verdict"
        } else if today().all(|standing| standing.passed == 0) {
            "no candidate passed its gates"
        } else {
            "nobody who passed the gates has a verdict on every objective"
        };
        return Headline::new("No winner: ", why.to_owned(), Tone::Bad);
    };
    let name = &winner.candidate;
    if winner.tied_with.is_empty() {
        // The label says already that it wins.
        let reason = winner.reason.strip_prefix(&format!("{name} wins with "));
        let text = reason.map_or_else(
            || clean(&winner.reason),
            |reason| clean(&format!("{name} with {reason}")),
        );
        return Headline::new("Winner: ", text, Tone::Best);
    }
    let mut names = vec![name.as_str()];
    names.extend(winner.tied_with.iter().map(CandidateName::as_str));
    let shown = match names.as_slice() {
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
        [] => String::new(),
    };
    let text = clean(&format!("{shown}, with {} points each", winner.score));
    Headline::new("Tie: ", text, Tone::Best)
}

/// How many trials have no verdict, by why.
#[derive(Clone, Copy, Default)]
struct Loss {
    infrastructure: usize,
    cancelled: usize,
    not_run: usize,
    unscored: usize,
    /// Not needed, and so no loss.
    spared: usize,
}

impl Loss {
    fn add(&mut self, row: TrialRow<'_>) {
        if row.spared() {
            self.spared += 1;
            return;
        }
        match row.error_kind() {
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
pub(super) struct Losses<'a> {
    planned: usize,
    cells: BTreeMap<(Option<&'a str>, &'a str), Loss>,
    all: Loss,
}

impl<'a> Losses<'a> {
    pub(super) fn of(trials: &'a Trials) -> Self {
        let mut this = Self {
            planned: trials.len(),
            cells: BTreeMap::new(),
            all: Loss::default(),
        };
        for row in trials.iter().filter(|row| row.is_lost() || row.spared()) {
            let candidate = row.candidate().as_str();
            for objective in [None, Some(row.objective().as_str())] {
                let cell = this.cells.entry((objective, candidate)).or_default();
                cell.add(row);
            }
            this.all.add(row);
        }
        this
    }

    pub(super) fn whole(&self) -> String {
        match self.all.total() {
            0 => String::new(),
            lost => format!(
                "no verdict on {lost} of {}, not counted: {}",
                counted(self.planned, "trial", "trials"),
                self.all.show()
            ),
        }
    }
}

/// How many trials were spared, and why the first of them was; empty without any.
pub(super) fn spared(trials: &Trials) -> String {
    let spared = || trials.iter().filter(|row| row.spared());
    let Some(first) = spared().next() else {
        return String::new();
    };
    let why = first.error_message().unwrap_or_default();
    let same = |row: TrialRow<'_>| row.error_message() == first.error_message();
    let more = if spared().all(same) { "" } else { "; …" };
    let all = counted(trials.len(), "trial", "trials");
    clean(&format!(
        "{} spared of {all}, not needed: {why}{more}",
        spared().count()
    ))
}

pub(super) fn table(
    standings: &[Standing],
    objective: Option<&ObjectiveName>,
    losses: &Losses<'_>,
    unlike: &[Fact],
) -> Table {
    let objective = objective.map(ObjectiveName::as_str);
    let (metrics, more_metrics) = metrics::names(standings);
    let rows = standings
        .iter()
        .map(|standing| {
            let name = standing.candidate.as_str();
            let loss = losses.cells.get(&(objective, name)).copied();
            Row {
                rank: places(standing),
                candidate: name.to_owned(),
                unlike: unlike.iter().any(|it| it.name == name),
                score: points(standing.score),
                interval: standing.interval.map_or_else(
                    || NOTHING.to_owned(),
                    |[low, high]| format!("{low:.1}–{high:.1}"),
                ),
                passed: match standing.judged {
                    0 => NOTHING.to_owned(),
                    judged => format!("{}/{judged}", standing.passed),
                },
                quality: points(standing.quality),
                speed: points(standing.speed),
                median: seconds(standing.median_seconds),
                metrics: metrics::cells(standing, &metrics),
                note: note(standing, loss.unwrap_or_default()),
                tone: tone(standing),
            }
        })
        .collect();
    Table {
        rows,
        intervals: standings.iter().any(|it| it.interval.is_some()),
        metrics: metrics::titles(&metrics),
        names: metrics,
        more_metrics,
    }
}

/// The places that the data allow a candidate. What it was has none.
fn places(standing: &Standing) -> String {
    match (standing.ranks, standing.rank) {
        (_, None) => NOTHING.to_owned(),
        (Some([best, worst]), Some(_)) if best == worst => best.to_string(),
        (Some([best, worst]), Some(_)) => format!("{best}–{worst}"),
        (None, Some(rank)) if standing.tied => format!("{rank}="),
        (None, Some(rank)) => rank.to_string(),
    }
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
    // Nobody cares who shares the last place with nothing.
    if standing.tied && standing.passed > 0 {
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
    if standing.broken > 0 {
        let judged = standing.judged;
        parts.push(format!(
            "a scorer failed on {} of {judged}",
            standing.broken
        ));
    }
    if loss.total() > 0 && failed == 0 {
        parts.push(format!("{}: {why}", loss.show()));
    } else if loss.total() > 0 {
        parts.push(loss.show());
    }
    if loss.spared > 0 {
        parts.push(format!("{} spared", loss.spared));
    }
    if let Some(today) = &standing.version_of {
        parts.push(format!("what {today} was"));
    }
    clean(&parts.join("; "))
}
