//! The map of candidates and objectives: who is good at what, and where repeats disagree.

use super::super::markup::{escaped, number};
use super::super::table::shown;
use super::{disagreement, left_out, margin, section};
use crate::report::Report;
use crate::report::view::NOTHING;
use crate::score::Points;

/// So many rows and columns are shown.
const MAX_ROWS: usize = 60;
const MAX_COLUMNS: usize = 40;

/// Empty where there is one objective: the standings say it all.
pub(in crate::report::page) fn of(report: &Report<'_>) -> String {
    let objectives = &report.standings.objectives;
    let candidates = &report.standings.overall;
    if objectives.len() < 2 || candidates.is_empty() {
        return String::new();
    }
    let margin = margin(report);
    let columns = || objectives.iter().take(MAX_COLUMNS);
    let mut text = String::from(
        "<figure>\n<div class=\"wide\" role=\"group\" tabindex=\"0\" aria-label=\"Scores by candidate and objective\">\n<table class=\"heat\">\n<thead><tr><th>candidate</th>",
    );
    for of in columns() {
        add!(
            text,
            "<th class=\"n\">{}</th>",
            escaped(of.objective.as_str())
        );
    }
    text.push_str("</tr></thead>\n<tbody>\n");
    for standing in candidates.iter().take(MAX_ROWS) {
        let name = standing.candidate.as_str();
        add!(text, "<tr><th scope=\"row\">{}</th>", escaped(name));
        for of in columns() {
            let mut standings = of.standings.iter();
            let found = standings.find(|it| it.candidate == standing.candidate);
            let score = found.and_then(|it| it.score).map(Points::value);
            let trials = &report.summary.trials;
            let rows = trials.of_cell(&of.objective, &standing.candidate);
            let apart = disagreement(rows, margin);
            text.push_str(&cell(score, apart.filter(|_| score.is_some())));
        }
        text.push_str("</tr>\n");
    }
    text.push_str("</tbody>\n</table>\n</div>\n</figure>\n");
    text.push_str(&left_out(
        objectives.len(),
        MAX_COLUMNS,
        "objectives in run.json",
    ));
    text.push_str(&left_out(
        candidates.len(),
        MAX_ROWS,
        "candidates in run.json",
    ));
    let lead = format!(
        "The mean score of each candidate on each objective. ≠ marks repeats that lie more than {} points apart.",
        shown(Some(margin))
    );
    section("map", "Candidates and objectives", &lead, &text)
}

fn cell(score: Option<f64>, apart: Option<[f64; 2]>) -> String {
    let Some(score) = score else {
        return format!("<td class=\"n\">{NOTHING}</td>");
    };
    let mark = apart.map_or_else(String::new, |[low, high]| {
        let (low, high) = (shown(Some(low)), shown(Some(high)));
        format!(
            "<span class=\"apart\" title=\"repeats disagree: {low} to {high}\"><span aria-hidden=\"true\">≠</span><span class=\"unseen\"> repeats disagree: {low} to {high}</span></span>"
        )
    });
    format!(
        "<td class=\"n h{}\">{}{mark}</td>",
        shade(score),
        number(score, &shown(Some(score)))
    )
}

/// One of ten shades.
fn shade(score: f64) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 9"
    )]
    {
        (score / 10.0).floor().clamp(0.0, 9.0) as u8
    }
}
