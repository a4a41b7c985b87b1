//! Verdicts, as short texts: what comes first in every report, and the table of all of them.

use serde::Serialize;

use super::standings::{Headline, Tone};
use super::{NOTHING, clean};
use crate::quantity::{p_value, signed};
use crate::report::Report;
use crate::rule::{Unit, VerdictState};
use crate::verdict::{self, Verdict};

/// So many lines stand below the first.
const MAX_LINES: usize = 5;
/// So many verdicts have a row, those that can fail the run first.
const MAX_ROWS: usize = 50;
/// The table of verdicts.
#[derive(Serialize)]
pub(in crate::report) struct Rows {
    /// Those that can fail the run.
    pub(in crate::report) gates: Vec<VerdictRow>,
    /// Those that are only shown.
    pub(in crate::report) shown: Vec<VerdictRow>,
    /// How many have no row.
    pub(in crate::report) more: usize,
}

/// One verdict as a row.
#[derive(Serialize)]
pub(in crate::report) struct VerdictRow {
    pub(in crate::report) candidate: String,
    pub(in crate::report) against: String,
    pub(in crate::report) measure: String,
    pub(in crate::report) state: String,
    pub(in crate::report) effect: String,
    pub(in crate::report) interval: String,
    pub(in crate::report) p: String,
    pub(in crate::report) sees: String,
    pub(in crate::report) tone: Tone,
}

/// What a reader sees first: the verdict that matters most, others that say something, who won. Never nothing. Where
/// not all of today's candidates ran, it was not asked who won.
pub(super) fn head(report: &Report<'_>, winner: Headline) -> Vec<Headline> {
    let said = said(report.verdicts);
    if let Some(text) = nothing_changed(report) {
        return vec![Headline::new("Verdict: UNCHANGED  ", text, Tone::Good)];
    }
    let mut lines: Vec<Headline> = said
        .iter()
        .take(1 + MAX_LINES)
        .map(|it| {
            let begin = format!("Verdict: {}  ", it.state.shouted());
            Headline::new(&begin, clean(&it.explanation), tone(it.state))
        })
        .collect();
    let more = said.len() - lines.len();
    if more > 0 {
        let text = format!("… and {more} more in run.json");
        lines.push(Headline::new("", text, Tone::Good));
    }
    if asks_who_won(report) {
        lines.push(winner);
    }
    lines
}

/// That no candidate has changed, of more than one.
fn nothing_changed(report: &Report<'_>) -> Option<String> {
    let verdicts = report.verdicts;
    let all = verdicts
        .iter()
        .all(|it| it.state == VerdictState::Unchanged);
    (all && verdicts.len() > 1).then(|| {
        let names: Vec<&str> = verdicts.iter().map(|it| it.against.as_str()).collect();
        let names = names.join(", ");
        let ran = if report.summary.trials.is_empty() {
            ": nothing was run"
        } else {
            ""
        };
        clean(&format!("every candidate is what it was ({names}){ran}"))
    })
}

/// Whether it was asked who won: not where something was left out because it has not changed.
pub(super) fn asks_who_won(report: &Report<'_>) -> bool {
    report.standings.lead.is_some() || report.verdicts.is_empty()
}

/// The verdicts that have a line: the first of all, and of the others that matter those that say something.
pub(in crate::report) fn said(verdicts: &[Verdict]) -> Vec<&Verdict> {
    let Some(first) = verdict::first(verdicts) else {
        return Vec::new();
    };
    let mut others: Vec<&Verdict> = verdicts
        .iter()
        .filter(|it| !std::ptr::eq(*it, first))
        .filter(|it| matters(it) && !is_quiet(it.state))
        .collect();
    others.sort_by_key(|it| it.state);
    std::iter::once(first).chain(others).collect()
}

/// Whether it can fail the run, now or by a rule.
pub(in crate::report) fn matters(verdict: &Verdict) -> bool {
    verdict.gates || verdict.state == VerdictState::Drifted
}

/// Whether nothing happened.
pub(in crate::report) const fn is_quiet(state: VerdictState) -> bool {
    match state {
        VerdictState::Unchanged | VerdictState::NoChange | VerdictState::Steady => true,
        VerdictState::Invalid
        | VerdictState::Regression
        | VerdictState::Watch
        | VerdictState::Drifted
        | VerdictState::Inconclusive
        | VerdictState::Improvement
        | VerdictState::Cheaper => false,
    }
}

const fn tone(state: VerdictState) -> Tone {
    match state {
        VerdictState::Invalid | VerdictState::Regression => Tone::Bad,
        VerdictState::Watch | VerdictState::Drifted => Tone::Lost,
        VerdictState::Inconclusive
        | VerdictState::NoChange
        | VerdictState::Steady
        | VerdictState::Unchanged => Tone::Good,
        VerdictState::Improvement | VerdictState::Cheaper => Tone::Best,
    }
}

pub(super) fn rows(verdicts: &[Verdict]) -> Rows {
    let gates = verdicts.iter().filter(|it| matters(it));
    let shown = verdicts.iter().filter(|it| !matters(it));
    let gates: Vec<VerdictRow> = gates.take(MAX_ROWS).map(row).collect();
    let shown: Vec<VerdictRow> = shown.take(MAX_ROWS - gates.len()).map(row).collect();
    Rows {
        more: verdicts.len() - gates.len() - shown.len(),
        gates,
        shown,
    }
}

fn row(verdict: &Verdict) -> VerdictRow {
    let points = |value: f64| match verdict.unit {
        Unit::Points => format!("{value:.1} points"),
        Unit::Percent => format!("{value:.1} %"),
    };
    VerdictRow {
        candidate: clean(verdict.candidate.as_str()),
        against: clean(verdict.against.as_str()),
        measure: clean(verdict.measure.as_str()),
        state: verdict.state.shouted(),
        effect: verdict.effect.map_or_else(nothing, |effect| {
            let unit = match verdict.unit {
                Unit::Points => "points",
                Unit::Percent => "%",
            };
            format!("{} {unit}", signed(effect))
        }),
        interval: verdict.interval.map_or_else(nothing, |[low, high]| {
            format!("{} to {}", signed(low), signed(high))
        }),
        p: verdict.p().map_or_else(nothing, |p| {
            p_value(p).replace("p = ", "").replace("p ", "")
        }),
        sees: verdict.sees.map_or_else(nothing, points),
        tone: tone(verdict.state),
    }
}

fn nothing() -> String {
    NOTHING.to_owned()
}
