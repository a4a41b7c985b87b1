//! The trend: how candidates did in the runs before this one, and in this one.

use super::super::draw::{Chart, Drawing, Track};
use super::super::table::{Cell, Table, shown};
use super::{MAX_TRACKS, figure, left_out, section};
use crate::history::{self, Line};
use crate::report::Report;

/// The least that the scale spans, in points: noise is not to look like mountains.
const LEAST_SPAN: f64 = 20.0;
const HIGH: f64 = 40.0;

/// Empty where there is no run before this one.
pub(in crate::report::page) fn of(report: &Report<'_>) -> String {
    let before = report.details.before(report.summary);
    let now = history::lines(report.summary, report.standings, report.verdicts);
    let mut series: Vec<Vec<Line>> = Vec::new();
    for standing in &report.standings.overall {
        let past = before.of.get(&standing.candidate);
        let past = past.into_iter().flatten().map(|it| it.line.clone());
        let own = now.iter().filter(|it| it.candidate == standing.candidate);
        let line: Vec<Line> = past.chain(own.cloned()).collect();
        if line.iter().filter(|it| it.score.is_some()).count() > 1 {
            series.push(line);
        }
    }
    if series.is_empty() {
        return String::new();
    }
    let drawn = &series[..series.len().min(MAX_TRACKS)];
    let chart = Chart {
        title: "Scores over the last runs".to_owned(),
        tracks: drawn.iter().map(|it| track(it)).collect(),
        scale: Vec::new(),
    };
    let mut table = Table::new(&[
        "candidate",
        "run",
        "began (UTC)",
        "#score",
        "#95 % interval",
        "the candidate",
    ]);
    for line in drawn {
        let mut last: Option<&Line> = None;
        for it in line {
            let is_other = last.is_some_and(|last| last.digest != it.digest);
            let broken = last.is_some_and(|last| !comparable(last, it));
            let said = match (is_other, broken) {
                (_, true) => "other objectives, rule or place: not comparable",
                (true, false) => "changed",
                (false, false) => "",
            };
            table.row(vec![
                Cell::text(it.candidate.as_str()),
                Cell::text(it.run.short()),
                Cell::text(it.date.strftime("%F %R").to_string()),
                Cell::tenths(it.score),
                it.interval.map_or_else(
                    || Cell::Number(None, super::super::NOTHING.to_owned()),
                    |ends| Cell::Between(ends.map(|it| (it, shown(Some(it))))),
                ),
                Cell::text(said),
            ]);
            last = Some(it);
        }
    }
    let body = figure(&chart, &table) + &left_out(series.len(), MAX_TRACKS, "in `forge history`");
    section(
        "trend",
        "Over the last runs",
        "Each candidate’s score, this run last. The line is broken where runs are not comparable; a ring is a run since which the candidate has changed.",
        &body,
    )
}

fn comparable(a: &Line, b: &Line) -> bool {
    a.objectives == b.objectives && a.rule == b.rule && a.place == b.place
}

fn track(line: &[Line]) -> Track {
    let scores = || line.iter().filter_map(|it| it.score);
    let (low, high) = scores().fold((f64::MAX, f64::MIN), |(low, high), score| {
        (low.min(score), high.max(score))
    });
    let span = (high - low).max(LEAST_SPAN);
    // What is nearly the same lies in the middle.
    let low_end = (f64::midpoint(low, high) - span / 2.0).clamp(0.0, (100.0 - span).max(0.0));
    let y = |score: f64| HIGH - 6.0 - (score - low_end) / span * (HIGH - 12.0);
    let last = line.len().saturating_sub(1).max(1) as f64;
    let x = |at: usize| 1.0 + at as f64 / last * 98.0;
    let mut drawing = Drawing::new(40);
    let mut before: Option<(usize, &Line)> = None;
    for (at, it) in line.iter().enumerate() {
        let Some(score) = it.score else { continue };
        if let Some((from, other)) = before
            && comparable(other, it)
        {
            let other = other.score.unwrap_or_default();
            drawing.line("course", (x(from), y(other)), (x(at), y(score)));
        }
        before = Some((at, it));
    }
    let mut digest: Option<&str> = None;
    for (at, it) in line.iter().enumerate() {
        let Some(score) = it.score else { continue };
        let changed = digest.is_some_and(|digest| digest != it.digest);
        digest = Some(&it.digest);
        let tip = format!(
            "{} in run {}: {}",
            it.candidate,
            it.run.short(),
            shown(Some(score))
        );
        let class = if changed { "ring" } else { "dot" };
        let radius = if at + 1 == line.len() { 5.0 } else { 3.0 };
        drawing.dot(class, (x(at), y(score)), radius, &tip);
    }
    let now = line.last().and_then(|it| it.score);
    Track {
        name: line
            .first()
            .map_or_else(String::new, |it| it.candidate.to_string()),
        drawing,
        value: format!(
            "{}  ({} to {})",
            shown(now),
            shown(Some(low)),
            shown(Some(high))
        ),
        tone: "good",
    }
}
