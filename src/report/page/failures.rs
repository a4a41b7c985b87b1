//! What failed, grouped by the reason, the most frequent first, with what was said last.

use std::collections::{BTreeMap, BTreeSet};

use super::figures::{left_out, section};
use super::markup::{anchor, escaped, line};
use super::preview::link;
use crate::name::CandidateName;
use crate::plain::LastWords;
use crate::quantity::counted;
use crate::report::view::folder;
use crate::report::{Outcome, Report};
use crate::summary::TrialRow;

/// So many groups are shown, so many trials of each are named, and so many candidates.
const MAX_GROUPS: usize = 50;
const MAX_TRIALS: usize = 12;
const MAX_NAMES: usize = 8;
/// So many lines are shown of what was said last, and so many characters of each.
const MAX_LINES: usize = 12;
const MAX_LINE: usize = 500;

/// Trials that failed for one reason: of all of them, no more than is shown.
struct Group<'a> {
    what: &'static str,
    why: &'a str,
    trials: usize,
    first: Vec<TrialRow<'a>>,
    /// The place of the last one in the plan.
    last: Option<usize>,
    candidates: BTreeSet<&'a CandidateName>,
    /// The scorer that failed, by its place, where it was one.
    scorer: Option<usize>,
}

pub(super) fn of(report: &Report<'_>) -> String {
    let (failed, groups) = groups(report);
    if groups.is_empty() {
        return String::new();
    }
    let mut body = String::new();
    for group in groups.iter().take(MAX_GROUPS) {
        body.push_str(&drawn(report, group));
    }
    body.push_str(&left_out(groups.len(), MAX_GROUPS, "reasons in trials.csv"));
    let lead = format!(
        "{} of {}, by reason. What infrastructure lost counts against nobody.",
        failed,
        counted(report.summary.trials.len(), "trial", "trials")
    );
    section("failures", "What failed", &lead, &body)
}

/// The same reason with other numbers in it is the same reason.
fn shape(why: &str) -> String {
    let mut shape = String::with_capacity(why.len());
    let mut in_number = false;
    for c in why.chars() {
        let is_digit = c.is_ascii_digit() || (in_number && matches!(c, ',' | '.'));
        if !is_digit {
            shape.push(c);
        } else if !in_number {
            shape.push('#');
        }
        in_number = is_digit;
    }
    shape
}

/// How many trials failed, and why.
fn groups<'a>(report: &Report<'a>) -> (usize, Vec<Group<'a>>) {
    let mut groups: BTreeMap<(&str, String), Group<'a>> = BTreeMap::new();
    let mut add = |what: &'static str, why: &'a str, (at, row): (usize, TrialRow<'a>), scorer| {
        let group = groups.entry((what, shape(why))).or_insert_with(|| Group {
            what,
            why,
            trials: 0,
            first: Vec::new(),
            last: None,
            candidates: BTreeSet::new(),
            scorer,
        });
        // Several graders may fail for one reason.
        if group.last.replace(at) == Some(at) {
            return;
        }
        group.trials += 1;
        group.candidates.insert(row.candidate());
        if group.first.len() < MAX_TRIALS {
            group.first.push(row);
        }
    };
    let mut failed = 0;
    for (at, row) in report.summary.trials.iter().enumerate() {
        let mut has_failed = false;
        let outcome = Outcome::of(row, report.standings);
        if let Outcome::Failed(_, why) | Outcome::Lost(_, why) = outcome {
            // The gate says less than how the candidate ended.
            add(
                outcome.as_str(),
                row.error_message().unwrap_or(why),
                (at, row),
                None,
            );
            has_failed = true;
        }
        for grader in row.graders().iter().filter(|it| it.went.failed()) {
            add("scorer", &grader.why, (at, row), Some(grader.at));
            has_failed = true;
        }
        failed += usize::from(has_failed);
    }
    let mut groups: Vec<Group<'a>> = groups.into_values().collect();
    groups.sort_by_key(|it| std::cmp::Reverse(it.trials));
    (failed, groups)
}

fn drawn(report: &Report<'_>, group: &Group<'_>) -> String {
    let names = &group.candidates;
    let mut who: Vec<String> = names
        .iter()
        .take(MAX_NAMES)
        .map(ToString::to_string)
        .collect();
    if names.len() > MAX_NAMES {
        who.push(format!("{} more", names.len() - MAX_NAMES));
    }
    let mut text = format!(
        "<article class=\"failure\">\n<h3><span class=\"count\">{}×</span> {}</h3>\n<p class=\"soft\">{}: {}</p>\n",
        group.trials,
        line(group.why, 300),
        escaped(group.what),
        escaped(&who.join(", "))
    );
    if let Some(first) = group.first.first()
        && let Some(record) = report.details.record(&first.trial())
    {
        let said = match group.scorer {
            None => record.said.as_ref(),
            Some(at) => {
                let scorers = record.score.as_ref().map(|it| &it.scorers);
                scorers.and_then(|it| it.get(at)?.said.as_ref())
            }
        };
        if let Some(said) = said {
            text.push_str(&quoted(said, *first));
        }
    }
    let links: Vec<String> = group
        .first
        .iter()
        .map(|row| {
            format!(
                "<a href=\"#{}\">{}</a>",
                escaped(&anchor(&row.trial())),
                escaped(&row.trial().to_string())
            )
        })
        .collect();
    let more = match group.trials.saturating_sub(MAX_TRIALS) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    add!(
        text,
        "<p class=\"soft\">{}{more}</p>\n</article>\n",
        links.join(", ")
    );
    text
}

/// What was said last, and where all of it is.
pub(super) fn quoted(said: &LastWords, row: TrialRow<'_>) -> String {
    let mut text = String::new();
    if said.lines.is_empty() {
        text.push_str("<p class=\"soft\">It printed nothing.</p>\n");
    } else {
        text.push_str("<pre tabindex=\"0\">");
        // They may come from a file that somebody has changed.
        let from = said.lines.len().saturating_sub(MAX_LINES);
        for it in &said.lines[from..] {
            add!(text, "{}&#10;", line(it, MAX_LINE));
        }
        text.push_str("</pre>\n");
    }
    if let Some(hint) = &said.hint {
        add!(text, "<p class=\"lost\">hint: {}</p>\n", line(hint, 300));
    }
    if !said.log.is_empty() && !said.log.contains('/') {
        let log = format!("{}/{}", folder(row), said.log);
        add!(
            text,
            "<p class=\"soft\">all of it: {}</p>\n",
            link(&log, None)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn other_numbers_are_the_same_reason() {
        for (one, two) in [
            ("it has 5 bytes", "it has 2,048 bytes"),
            ("timed out after 1.5 s", "timed out after 60 s"),
        ] {
            assert_eq!(super::shape(one), super::shape(two));
        }
        assert_ne!(
            super::shape("exited with code 3"),
            super::shape("ended by signal 9")
        );
    }
}
