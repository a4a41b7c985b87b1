//! Standings: over all objectives first, and of each by itself.

use super::figures::{places, section};
use super::markup::escaped;
use crate::report::Report;
use crate::report::view::{self, View};
use crate::standings::ObjectiveStandings;

/// The places of all, or of the only objective.
pub(super) fn overall(report: &Report<'_>, view: &View) -> String {
    let standings = &report.standings;
    if !view.overall.rows.is_empty() {
        let lead = format!(
            "The mean over {}, each the mean over its trials. Lines are 95 % intervals.",
            view.graded
        );
        let body = places::of(&standings.overall, &view.overall, "all objectives");
        return section("standings", "Standings", &lead, &body);
    }
    let (Some(of), Some(only)) = (shown(report).next(), view.sections.first()) else {
        return String::new();
    };
    let body = format!(
        "{}{}",
        said(only),
        places::of(&of.standings, &only.table, of.objective.as_str())
    );
    section("standings", "Standings", "", &body)
}

/// Those of what was run.
fn shown<'a>(report: &Report<'a>) -> impl Iterator<Item = &'a ObjectiveStandings> + use<'a> {
    let objectives = report.standings.objectives.iter();
    objectives.filter(|of| !of.standings.is_empty())
}

/// Under which conditions, and which trials speak for the others.
fn said(of: &view::Section) -> String {
    let mut text = String::new();
    if !of.title.is_empty() {
        add!(text, "<p>{}</p>\n", escaped(&of.title));
    }
    if let Some(headline) = &of.headline {
        add!(
            text,
            "<p>{}</p>\n",
            escaped(&format!("{}{}", headline.begin, headline.text))
        );
    }
    if !of.conditions.is_empty() {
        let left_out = match of.left_out.as_str() {
            "" => String::new(),
            left_out => format!(" {left_out}."),
        };
        add!(
            text,
            "<p class=\"soft\">{}</p>\n",
            escaped(&format!("{}.{left_out}", of.conditions))
        );
    }
    text
}

/// Objective by objective, where there are several.
pub(super) fn each(report: &Report<'_>, view: &View) -> String {
    if view.overall.rows.is_empty() {
        return String::new();
    }
    let mut body = String::new();
    for (of, section) in shown(report).zip(&view.sections) {
        add!(
            body,
            "<details id=\"objective-{name}\">\n<summary><b>{name}</b></summary>\n{}{}</details>\n",
            said(section),
            places::table(&of.standings, &section.table, of.objective.as_str()),
            name = escaped(of.objective.as_str()),
        );
    }
    section("objectives", "Objective by objective", "", &body)
}
