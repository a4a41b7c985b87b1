//! Repeats as dots: two kinds of outcome look like two kinds, where a mean would hide them.

use std::collections::BTreeMap;

use super::super::draw::{Chart, Drawing, Track, points_scale};
use super::super::markup::escaped;
use super::super::table::{Cell, Table};
use super::{END, begin, disagreement, left_out, margin, write_numbers};
use crate::report::Report;
use crate::score::Points;
use crate::standings::ObjectiveStandings;
use crate::summary::{TrialRow, TrialRows};

/// So many objectives, candidates of each, and scores in a cell of the table are shown.
const MAX_OBJECTIVES: usize = 24;
const MAX_CANDIDATES: usize = 40;
const MAX_SCORES: usize = 100;

pub(in crate::report::page) fn of(report: &Report<'_>) -> String {
    let margin = margin(report);
    let objectives = report.standings.objectives.iter();
    let graded = objectives.filter(|it| it.ungraded.is_none() && !it.standings.is_empty());
    let graded: Vec<&ObjectiveStandings> = graded.collect();
    if !report
        .summary
        .trials
        .iter()
        .any(|row| row.score().is_some())
        || graded.is_empty()
    {
        return String::new();
    }
    // It may be long: it is made once, and not put together of parts.
    let mut text = begin(
        "repeats",
        "Every repeat a dot",
        "Larger dots are several trials with the same score; red ones failed a gate. ≠ marks repeats that disagree.",
    );
    text.push_str("<figure>\n<div class=\"cards\">\n");
    let mut table = Table::new(&[
        "objective",
        "candidate",
        "#scores, trial by trial",
        "#without a verdict",
    ]);
    for of in graded.iter().take(MAX_OBJECTIVES) {
        let objective = of.objective.as_str();
        let mut tracks = Vec::new();
        for standing in of.standings.iter().take(MAX_CANDIDATES) {
            let name = standing.candidate.as_str();
            let trials = &report.summary.trials;
            let rows = trials.of_cell(&of.objective, &standing.candidate);
            let apart = disagreement(rows, margin).is_some();
            tracks.push(track(name, rows, apart));
            let scores = rows.iter().filter_map(TrialRow::score);
            table.row(vec![
                Cell::text(objective),
                Cell::text(name),
                Cell::Numbers(scores.take(MAX_SCORES).map(Points::value).collect(), |it| {
                    Points::clamped(it).to_string()
                }),
                Cell::Number(None, standing.lost.to_string()),
            ]);
        }
        let chart = Chart {
            title: format!("Scores of the repeats on {objective}"),
            tracks,
            scale: points_scale(),
        };
        add!(
            text,
            "<div class=\"card\"><h3>{}</h3>\n{}</div>\n",
            escaped(objective),
            chart.markup()
        );
    }
    text.push_str("</div>\n");
    text.push_str(&left_out(
        graded.len(),
        MAX_OBJECTIVES,
        "objectives in run.json",
    ));
    write_numbers(&mut text, &table, "Scores of all repeats");
    text.push_str("</figure>\n");
    text.push_str(END);
    text
}

fn track(name: &str, rows: TrialRows<'_>, apart: bool) -> Track {
    // Whole points: what is nearer than that lies on one another.
    let mut bins: BTreeMap<(u16, bool), u32> = BTreeMap::new();
    for row in rows {
        if let Some(score) = row.score() {
            let bin = (score.tenths() + 5) / 10;
            *bins.entry((bin, row.passed())).or_default() += 1;
        }
    }
    let mut drawing = Drawing::new(22);
    drawing.line("base", (0.0, 11.0), (100.0, 11.0));
    for ((points, passed), count) in bins {
        let class = if passed { "dot" } else { "dot out" };
        let radius = 3.8 + (f64::from(count - 1).sqrt() * 1.4).min(5.0);
        let tip = format!("{name}: {points} points × {count}");
        drawing.dot(class, (f64::from(points), 11.0), radius, &tip);
    }
    let judged = rows.iter().filter(|row| row.score().is_some()).count();
    let passed = rows.iter().filter(|row| row.passed()).count();
    let mark = if apart { "≠ " } else { "" };
    Track {
        name: name.to_owned(),
        drawing,
        value: format!("{mark}{passed}/{judged}"),
        tone: "good",
    }
}
