//! Artifacts side by side: the leader's beside the others', and a candidate's beside what it wrote at the baseline.

use similar::{Algorithm, ChangeTag, TextDiff};

use super::figures::section;
use super::markup::{anchor, block, escaped};
use crate::name::{CandidateName, ObjectiveName, TrialId};
use crate::report::{Outcome, Part, Report};
use crate::summary::TrialRow;

/// So many pairs are shown, and of each objective; so many lines of each; so many bytes of a line.
const MAX_PAIRS: usize = 24;
const MAX_OF_OBJECTIVE: usize = 4;
const MAX_LINES: usize = 160;
const MAX_LINE: usize = 600;
/// So many bytes, and so many lines, of an artifact are compared: what is compared with what takes the square of that.
const COMPARED: u64 = 32 << 10;
const COMPARED_LINES: usize = 1500;
/// So many bytes of the page are taken by all pairs.
const ROOM: usize = 600_000;

/// Two candidates on an objective.
#[derive(PartialEq, Eq)]
struct Pair<'a> {
    objective: &'a ObjectiveName,
    left: &'a CandidateName,
    right: &'a CandidateName,
}

pub(super) fn of(report: &Report<'_>) -> String {
    let pairs = pairs(report);
    let mut body = String::new();
    let mut shown = 0;
    for pair in pairs.iter().take(MAX_PAIRS) {
        if body.len() > ROOM {
            break;
        }
        if let Some(text) = drawn(report, pair) {
            body.push_str(&text);
            shown += 1;
        }
    }
    if shown == 0 {
        return String::new();
    }
    section(
        "side-by-side",
        "Artifacts side by side",
        "Of each candidate the trial with the median score. Lines that both have are shown around what differs.",
        &body,
    )
}

/// Who is compared with whom first, then the leader of each objective with those behind it.
fn pairs<'a>(report: &'a Report<'a>) -> Vec<Pair<'a>> {
    let mut pairs = Vec::new();
    for of in &report.standings.objectives {
        let has = |name: &CandidateName| of.standings.iter().any(|it| it.candidate == *name);
        let plan = report.summary.plan.iter();
        let mut own: Vec<Pair<'a>> = plan
            .flat_map(|plan| &plan.comparisons)
            .filter(|it| has(&it.candidate) && has(&it.against))
            .map(|it| Pair {
                objective: &of.objective,
                left: &it.against,
                right: &it.candidate,
            })
            .collect();
        if let Some((leader, others)) = of.standings.split_first() {
            own.extend(others.iter().map(|other| Pair {
                objective: &of.objective,
                left: &leader.candidate,
                right: &other.candidate,
            }));
        }
        own.truncate(MAX_OF_OBJECTIVE);
        for pair in own {
            if !pairs.contains(&pair) {
                pairs.push(pair);
            }
        }
    }
    pairs
}

/// The trial with the median score of those that ran.
fn typical<'a>(
    report: &Report<'a>,
    of: &ObjectiveName,
    name: &CandidateName,
) -> Option<&'a TrialRow> {
    let rows = report.summary.trials.iter();
    let mut judged: Vec<&TrialRow> = rows
        .filter(|row| row.trial.objective == *of && row.trial.candidate == *name)
        .filter(|row| row.score.is_some())
        .collect();
    judged.sort_by_key(|row| (row.score, row.trial.repeat));
    judged.get(judged.len().saturating_sub(1) / 2).copied()
}

fn artifact(report: &Report<'_>, trial: &TrialId) -> Option<String> {
    let record = report.details.record(trial)?;
    let piece = report
        .details
        .file(trial, &record.artifact?.path, Part::Beginning(COMPARED))?;
    let is_all = piece.bytes.len() as u64 == piece.total;
    let text = String::from_utf8(piece.bytes).or_else(|error| {
        let cut = error.utf8_error();
        let mut bytes = error.into_bytes();
        bytes.truncate(cut.valid_up_to());
        if is_all || cut.error_len().is_some() {
            return Err(());
        }
        String::from_utf8(bytes).map_err(|_| ())
    });
    text.ok().filter(|text| !text.contains('\0'))
}

fn drawn(report: &Report<'_>, pair: &Pair<'_>) -> Option<String> {
    let left = typical(report, pair.objective, pair.left)?;
    let right = typical(report, pair.objective, pair.right)?;
    let (old, new) = (
        artifact(report, &left.trial)?,
        artifact(report, &right.trial)?,
    );
    let name = format!("{}: {} and {}", pair.objective, pair.left, pair.right);
    let said = |row: &TrialRow| {
        let outcome = Outcome::of(row, report.standings).as_str();
        let score = row
            .score
            .map_or_else(String::new, |it| format!(", {it} points"));
        format!(
            "<a href=\"#{}\">{}</a> ({outcome}{score})",
            escaped(&anchor(&row.trial)),
            escaped(&row.trial.to_string())
        )
    };
    let mut text = format!(
        "<details class=\"diff\">\n<summary>{}{}</summary>\n<div class=\"wide\" role=\"group\" tabindex=\"0\" aria-label=\"{}\">\n<table>\n<thead><tr><td></td><th>{}</th><td></td><th>{}</th></tr></thead>\n<tbody>\n",
        escaped(&name),
        if old == new { ", the same" } else { "" },
        escaped(&name),
        said(left),
        said(right)
    );
    text.push_str(&lines(&old, &new));
    text.push_str("</tbody>\n</table>\n</div>\n</details>\n");
    Some(text)
}

/// The rows of a comparison: a line on each side, with its number.
fn lines(old: &str, new: &str) -> String {
    if old == new {
        return "<tr><td></td><td>not a line differs</td><td></td><td></td></tr>\n".to_owned();
    }
    let (old, new) = (head(old), head(new));
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .diff_lines(old, new);
    let mut text = String::new();
    let mut count = 0;
    for (at, group) in diff.grouped_ops(2).iter().enumerate() {
        if at > 0 {
            text.push_str("<tr class=\"gap\"><td>⋮</td><td></td><td>⋮</td><td></td></tr>\n");
        }
        let mut gone: Vec<(usize, &str)> = Vec::new();
        let mut come: Vec<(usize, &str)> = Vec::new();
        for op in group {
            for change in diff.iter_changes(op) {
                let value = change.value();
                match change.tag() {
                    ChangeTag::Delete => gone.push((change.old_index().unwrap_or(0), value)),
                    ChangeTag::Insert => come.push((change.new_index().unwrap_or(0), value)),
                    ChangeTag::Equal => {
                        count += pairwise(&mut text, &mut gone, &mut come);
                        let sides = [change.old_index(), change.new_index()];
                        let [left, right] = sides.map(|it| Some((it.unwrap_or(0), value)));
                        text.push_str(&row("", left, right));
                        count += 1;
                    }
                }
                if count + gone.len().max(come.len()) > MAX_LINES {
                    pairwise(&mut text, &mut gone, &mut come);
                    text.push_str(
                        "<tr class=\"gap\"><td>…</td><td>and more</td><td></td><td></td></tr>\n",
                    );
                    return text;
                }
            }
        }
        count += pairwise(&mut text, &mut gone, &mut come);
    }
    text
}

/// The first lines of a text.
fn head(text: &str) -> &str {
    let end = text.match_indices('\n').nth(COMPARED_LINES - 1);
    end.map_or(text, |(at, _)| &text[..=at])
}

type Side<'a> = Option<(usize, &'a str)>;

/// What has gone beside what has come. Returns how many rows that are.
fn pairwise<'a>(
    text: &mut String,
    gone: &mut Vec<(usize, &'a str)>,
    come: &mut Vec<(usize, &'a str)>,
) -> usize {
    let rows = gone.len().max(come.len());
    for at in 0..rows {
        text.push_str(&row("other", gone.get(at).copied(), come.get(at).copied()));
    }
    gone.clear();
    come.clear();
    rows
}

fn row(class: &str, left: Side<'_>, right: Side<'_>) -> String {
    let side = |side: Side<'_>, kind: &str, mark: &str| match side {
        None => "<td></td><td></td>".to_owned(),
        Some((at, line)) => {
            let (line, whole) = block(line.trim_end_matches(['\r', '\n']), MAX_LINE);
            let more = if whole { "" } else { "…" };
            let class = if class.is_empty() { "" } else { kind };
            let mark = if class.is_empty() { "" } else { mark };
            format!(
                "<td class=\"n\">{}{mark}</td><td class=\"code {class}\">{line}{more}</td>",
                at + 1
            )
        }
    };
    format!(
        "<tr>{}{}</tr>\n",
        side(left, "gone", " −"),
        side(right, "come", " +")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_beside_what_they_became() {
        let rows = lines("a\nb\nc\n", "a\nB\nc\nd<\n");
        assert_eq!(
            rows,
            "<tr><td class=\"n\">1</td><td class=\"code \">a</td><td class=\"n\">1</td><td class=\"code \">a</td></tr>\n\
             <tr><td class=\"n\">2 −</td><td class=\"code gone\">b</td><td class=\"n\">2 +</td><td class=\"code come\">B</td></tr>\n\
             <tr><td class=\"n\">3</td><td class=\"code \">c</td><td class=\"n\">3</td><td class=\"code \">c</td></tr>\n\
             <tr><td></td><td></td><td class=\"n\">4 +</td><td class=\"code come\">d&lt;</td></tr>\n"
        );
    }

    #[test]
    fn long_ones_are_cut() {
        let old = "x\n".repeat(10_000);
        let new: Vec<String> = (0..10_000).map(|it| format!("{it}\n")).collect();
        let new = new.concat();
        let rows = lines(&old, &new);
        assert!(
            rows.contains("and more") && rows.len() < 60_000,
            "{}",
            rows.len()
        );
    }
}
