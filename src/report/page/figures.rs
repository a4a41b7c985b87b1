//! The figures: what each is made of, and how it is drawn. Every one has its numbers in a table beside it.

use super::draw::Chart;
use super::markup::escaped;
use super::table::Table;
use crate::report::Report;
use crate::summary::TrialRows;

pub(super) mod dots;
pub(super) mod forest;
pub(super) mod heat;
pub(super) mod phases;
pub(super) mod places;
pub(super) mod scatter;
pub(super) mod trend;

/// So many lines has a figure.
const MAX_TRACKS: usize = 60;

/// The lowest and the highest score of these trials, where those are further apart than `margin`.
fn disagreement(rows: TrialRows<'_>, margin: f64) -> Option<[f64; 2]> {
    let scores = rows.iter().filter_map(|row| Some(row.score()?.value()));
    let (low, high) = scores.fold((f64::MAX, f64::MIN), |(low, high), score| {
        (low.min(score), high.max(score))
    });
    (high - low > margin).then_some([low, high])
}

/// How far apart repeats must be to disagree, in points: what counts as a change.
pub(super) fn margin(report: &Report<'_>) -> f64 {
    let plan = report.summary.plan.as_ref();
    plan.map_or(5.0, |plan| {
        plan.rule.threshold(&crate::rule::Measure::Score)
    })
}

/// How a part of the page begins.
fn begin(id: &str, title: &str, lead: &str) -> String {
    let lead = match lead {
        "" => String::new(),
        lead => format!("<p class=\"soft\">{}</p>\n", escaped(lead)),
    };
    format!(
        "<section id=\"{id}\">\n<h2><a href=\"#{id}\">{}</a></h2>\n{lead}",
        escaped(title)
    )
}

/// How it ends.
const END: &str = "</section>\n";

/// A part of the page: its heading, what it shows, and what is in it.
pub(super) fn section(id: &str, title: &str, lead: &str, body: &str) -> String {
    format!("{}{body}{END}", begin(id, title, lead))
}

/// The numbers of a figure, folded.
pub(super) fn numbers(table: &Table, name: &str) -> String {
    let mut text = String::new();
    write_numbers(&mut text, table, name);
    text
}

/// The same, behind what is there.
fn write_numbers(text: &mut String, table: &Table, name: &str) {
    text.push_str("<details class=\"numbers\">\n<summary>The numbers</summary>\n");
    table.write(text, name);
    text.push_str("</details>\n");
}

/// A chart with its numbers.
pub(super) fn figure(chart: &Chart, table: &Table) -> String {
    format!(
        "<figure>\n{}{}</figure>\n",
        chart.markup(),
        numbers(table, &chart.title)
    )
}

/// What is said of the lines that a figure has no room for.
pub(super) fn left_out(all: usize, shown: usize, of: &str) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("<p class=\"soft\">… {more} more {of}</p>\n"),
    }
}
