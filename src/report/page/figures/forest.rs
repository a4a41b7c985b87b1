//! The differences: of candidates to what they are compared with, or else to the leader, with the intervals in which
//! they lie.

use super::super::draw::{Chart, Drawing, Track, steps};
use super::super::table::{Cell, Table, shown};
use super::{MAX_TRACKS, figure, left_out, section};
use crate::name::CandidateName;
use crate::quantity::{p_value, signed};
use crate::report::Report;
use crate::report::view::{NOTHING, is_quiet, matters};
use crate::rule::{Unit, VerdictState};
use crate::standings::Standing;
use crate::statistics::interval::Paired;
use crate::verdict::Verdict;

/// A difference.
struct Difference {
    name: String,
    effect: f64,
    interval: Option<[f64; 2]>,
    /// What each objective gives by itself.
    parts: Vec<f64>,
    /// What is said of it, and how that feels.
    said: String,
    p: String,
    tone: &'static str,
}

/// `tables`: the verdicts in words.
pub(in crate::report::page) fn of(report: &Report<'_>, tables: &str) -> String {
    let measured: Vec<&Verdict> = report
        .verdicts
        .iter()
        .filter(|it| it.effect.is_some())
        .collect();
    if report.verdicts.is_empty() {
        return to_the_leader(report);
    }
    let mut body = String::new();
    for (unit, title, name) in [
        (Unit::Points, "Differences in points", "points"),
        (Unit::Percent, "Differences in percent", "%"),
    ] {
        let of_unit: Vec<Difference> = measured
            .iter()
            .filter(|it| it.unit == unit)
            .map(|it| of_verdict(it))
            .collect();
        if of_unit.is_empty() {
            continue;
        }
        let threshold = measured
            .iter()
            .find(|it| it.unit == unit && matters(it))
            .map(|it| it.threshold);
        body.push_str(&drawn(&of_unit, title, name, threshold));
        body.push_str(&left_out(of_unit.len(), MAX_TRACKS, "in verdicts.csv"));
    }
    body.push_str(tables);
    let lead = if measured.is_empty() {
        "Nothing of it can be measured."
    } else {
        "The candidate minus what it is compared with, with the 95 % interval over objectives. Faint dots are single objectives."
    };
    section("differences", "Verdicts", lead, &body)
}

fn of_verdict(verdict: &Verdict) -> Difference {
    let tone = match verdict.state {
        VerdictState::Regression | VerdictState::Invalid => "bad",
        VerdictState::Improvement | VerdictState::Cheaper => "best",
        VerdictState::Watch | VerdictState::Drifted => "lost",
        VerdictState::Inconclusive
        | VerdictState::NoChange
        | VerdictState::Steady
        | VerdictState::Unchanged => "good",
    };
    let mark = if is_quiet(verdict.state) { "" } else { ", " };
    let state = if mark.is_empty() {
        String::new()
    } else {
        format!("{mark}{}", verdict.state.shouted())
    };
    Difference {
        name: format!(
            "{} against {}, {}",
            verdict.candidate,
            verdict.against,
            crate::plain::short(verdict.measure.as_str(), 40)
        ),
        effect: verdict.effect.unwrap_or_default(),
        interval: verdict.interval,
        parts: verdict.objectives.iter().map(|it| it.effect).collect(),
        said: state,
        p: verdict.p().map_or_else(
            || NOTHING.to_owned(),
            |p| p_value(p).replace("p = ", "").replace("p ", ""),
        ),
        tone,
    }
}

fn to_the_leader(report: &Report<'_>) -> String {
    let overall = &report.standings.overall;
    let Some((leader, others)) = overall.split_first() else {
        return String::new();
    };
    let Some(best) = leader.score else {
        return String::new();
    };
    let ranked = others.iter().filter(|it| it.score.is_some());
    let differences: Vec<Difference> = ranked
        .map(|it| {
            let parts = parts(report, it, leader);
            let shares: Vec<f64> = parts.iter().map(|it| it / 100.0).collect();
            Difference {
                name: format!("{} minus {}", it.candidate, leader.candidate),
                effect: it.score.map_or(0.0, |score| score.value() - best.value()),
                interval: Paired::of(&shares, false).map(|it| {
                    let it = it.interval(0.95);
                    [it.low * 100.0, it.high * 100.0]
                }),
                parts,
                said: String::new(),
                p: NOTHING.to_owned(),
                tone: "good",
            }
        })
        .collect();
    if differences.is_empty() {
        return String::new();
    }
    let body = drawn(
        &differences,
        "Differences to the leader in points",
        "points",
        None,
    );
    let body = body + &left_out(differences.len(), MAX_TRACKS, "in run.json");
    let lead = if report.standings.objectives.len() > 1 {
        "Each candidate minus the leader, with the 95 % interval over objectives. Faint dots are single objectives."
    } else {
        "Each candidate minus the leader. One objective says nothing about others, so there is no interval."
    };
    section("differences", "Differences to the leader", lead, &body)
}

/// The difference on each objective on which both have a score.
fn parts(report: &Report<'_>, of: &Standing, to: &Standing) -> Vec<f64> {
    let objectives = report.standings.objectives.iter();
    objectives
        .filter_map(|objective| {
            let score = |name: &CandidateName| {
                let mut standings = objective.standings.iter();
                standings.find(|it| it.candidate == *name)?.score
            };
            Some(score(&of.candidate)?.value() - score(&to.candidate)?.value())
        })
        .collect()
}

fn drawn(differences: &[Difference], title: &str, unit: &str, threshold: Option<f64>) -> String {
    let shown_ones = &differences[..differences.len().min(MAX_TRACKS)];
    let ends = shown_ones.iter().flat_map(|it| {
        let [low, high] = it.interval.unwrap_or([it.effect; 2]);
        [low, high, it.effect]
    });
    let (low, high) = ends.fold((-1.0_f64, 1.0_f64), |(low, high), it| {
        (low.min(it), high.max(it))
    });
    let scale = steps(low, high);
    let (from, to) = (
        scale.first().copied().unwrap_or(low),
        scale.last().copied().unwrap_or(high),
    );
    let place = |value: f64| (value - from) / (to - from) * 100.0;
    let tracks = shown_ones.iter().map(|it| {
        let mut drawing = Drawing::new(24);
        for limit in threshold.into_iter().flat_map(|it| [-it, it]) {
            if (from..=to).contains(&limit) {
                drawing.line("limit", (place(limit), 0.0), (place(limit), 24.0));
            }
        }
        drawing.line("zero", (place(0.0), 0.0), (place(0.0), 24.0));
        drawing.line("base", (0.0, 12.0), (100.0, 12.0));
        for part in it.parts.iter().filter(|it| (from..=to).contains(*it)) {
            drawing.dot("faint", (place(*part), 12.0), 3.5, &signed(*part));
        }
        if let Some([low, high]) = it.interval {
            drawing.line("interval", (place(low), 12.0), (place(high), 12.0));
        }
        let tip = format!("{}: {} {unit}", it.name, signed(it.effect));
        drawing.dot("dot", (place(it.effect), 12.0), 5.5, &tip);
        let value = match it.interval {
            Some([low, high]) => format!(
                "{}  ({} to {})",
                signed(it.effect),
                signed(low),
                signed(high)
            ),
            None => signed(it.effect),
        };
        Track {
            name: format!("{}{}", it.name, it.said),
            drawing,
            value,
            tone: it.tone,
        }
    });
    let chart = Chart {
        title: title.to_owned(),
        tracks: tracks.collect(),
        scale: scale
            .iter()
            .map(|it| (place(*it), signed_short(*it)))
            .collect(),
    };
    let effect = format!("#effect, {unit}");
    let mut table = Table::new(&[
        "difference",
        &effect,
        "#95 % interval",
        "#p adjusted",
        "#by objective",
    ]);
    for it in shown_ones {
        table.row(vec![
            Cell::text(&*it.name),
            Cell::Number(Some(it.effect), signed(it.effect)),
            it.interval.map_or_else(
                || Cell::Number(None, NOTHING.to_owned()),
                |ends| Cell::Between(ends.map(|it| (it, signed(it)))),
            ),
            Cell::Number(None, it.p.clone()),
            Cell::Numbers(it.parts.iter().take(100).copied().collect(), signed),
        ]);
    }
    figure(&chart, &table)
}

/// A number of a scale.
fn signed_short(value: f64) -> String {
    let text = shown(Some(value.abs()));
    let text = text.trim_end_matches(".0");
    match value {
        value if value < 0.0 => format!("\u{2212}{text}"),
        value if value > 0.0 => format!("+{text}"),
        _ => "0".to_owned(),
    }
}
