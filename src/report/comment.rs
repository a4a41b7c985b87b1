//! `comment.md`: the body of a sticky comment on a pull request, short enough for one.
//!
//! Promises: its first line is a marker that nobody sees, by which it is found again; at most 60 lines and 8 KiB,
//! whatever the run has; escaped like `report.md`.

use std::io::{self, Write};

use serde::Serialize;
use tera::Context;

use super::Report;
use super::markdown::engine;
use super::view::{Fact, Headline, Row, VerdictRow, View};
use crate::plain::ends;

const NAME: &str = "comment.md";
/// The most bytes.
const MAX_BYTES: usize = 8 << 10;
/// The most lines.
const MAX_LINES: usize = 60;
/// The longest text in characters, and the most rows of a table: the first of these with which it is short enough.
const CUTS: [Cut; 4] = [
    Cut(300, 12),
    Cut(200, 8),
    Cut(120, 5),
    // The worst that escaping makes of a character is five bytes: this always is.
    Cut(60, 3),
];
/// So many reasons, and so many ungraded objectives, are said.
const MAX_LISTED: usize = 3;

#[derive(Clone, Copy)]
struct Cut(usize, usize);

impl Cut {
    fn text(self, text: &str) -> String {
        ends(text, self.0)
    }

    fn rows<T, U>(self, rows: &[T], row: impl Fn(&T) -> U) -> (Vec<U>, usize) {
        let shown: Vec<U> = rows.iter().take(self.1).map(row).collect();
        let more = rows.len() - shown.len();
        (shown, more)
    }
}

#[derive(Serialize)]
struct Comment {
    lines: Vec<String>,
    remarks: Vec<String>,
    verdicts: Vec<[String; 6]>,
    more_verdicts: usize,
    /// Of what the standings are.
    of: String,
    standings: Vec<[String; 5]>,
    more_standings: usize,
    /// Empty before anything was planned.
    run: String,
}

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let view = View::of(report);
    let tera = engine(NAME, include_str!("templates/comment.md"))?;
    let mut text = String::new();
    for cut in CUTS {
        let context = Context::from_serialize(&Comment::of(report, &view, cut));
        let context = context.map_err(io::Error::other)?;
        text = tera.render(NAME, &context).map_err(io::Error::other)?;
        if text.len() <= MAX_BYTES && text.lines().count() <= MAX_LINES {
            break;
        }
    }
    to.write_all(text.as_bytes())
}

impl Comment {
    fn of(report: &Report<'_>, view: &View, cut: Cut) -> Self {
        let line = |it: &Headline| cut.text(&format!("{}{}", it.begin, it.text));
        let (verdicts, more_verdicts) = cut.rows(&view.verdicts.gates, |it| verdict(it, cut));
        // One objective has no table of its own for all of them.
        let only = view.sections.first().filter(|_| view.sections.len() == 1);
        let (of, table) = match only {
            Some(section) => (section.name.clone(), &section.table),
            None => (
                format!("All objectives: the mean over {}", view.graded),
                &view.overall,
            ),
        };
        let (standings, more_standings) = cut.rows(&table.rows, |it| standing(it, cut));
        let plan = report.summary.plan.as_ref();
        Self {
            lines: view.head.iter().map(line).collect(),
            remarks: remarks(view, cut),
            verdicts,
            more_verdicts,
            of: cut.text(&of),
            standings,
            more_standings,
            run: plan.map_or_else(String::new, |plan| plan.run.to_string()),
        }
    }
}

/// What makes the rest less than the whole truth.
fn remarks(view: &View, cut: Cut) -> Vec<String> {
    let ungraded = view.ungraded.iter().take(MAX_LISTED);
    let ungraded = ungraded.map(|Fact { name, value }| format!("Ungraded: {name}: {value}"));
    let exit = &view.exit;
    // What is in the lines above, or in a longer one below, is not said again.
    let is_told = |reason: &&String| {
        let is_above = |it: &Headline| reason.ends_with(it.text.as_str());
        view.head.iter().any(is_above) || view.losses.starts_with(reason.as_str())
    };
    let reasons = exit.reasons.iter().filter(|it| !is_told(it));
    let reasons = reasons.take(MAX_LISTED);
    let reasons =
        reasons.map(|reason| format!("Exit code {} ({}): {reason}", exit.code, exit.name));
    let others = [&view.losses, &view.spared].into_iter();
    let others = others.filter(|it| !it.is_empty()).cloned();
    let all = ungraded.chain(reasons).chain(others);
    all.map(|it| cut.text(&it)).collect()
}

fn verdict(row: &VerdictRow, cut: Cut) -> [String; 6] {
    let cells = [
        &row.candidate,
        &row.against,
        &row.measure,
        &row.state,
        &row.effect,
        &row.interval,
    ];
    cells.map(|it| cut.text(it))
}

fn standing(row: &Row, cut: Cut) -> [String; 5] {
    let cells = [
        &row.rank,
        &row.candidate,
        &row.score,
        &row.interval,
        &row.passed,
    ];
    cells.map(|it| cut.text(it))
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::sample::*;
    use super::*;

    #[test]
    fn a_comment_says_the_verdict_first_and_how_to_look() {
        let text = regressed().written(Format::Comment);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("<!-- forge:verdict -->"));
        let first = lines.next().unwrap();
        let begin = "### Verdict: REGRESSION  gamma lost ";
        assert!(first.starts_with(begin), "{text}");
        for part in [
            "\nWinner: ",
            "\n| candidate | against | measure | verdict | effect | 95 % interval |\n|",
            "\n| gamma | gamma@\u{200b}4f1c9e2 | score | REGRESSION | \u{2212}",
            "\n| rank | candidate | score | 95 % interval | gates passed |\n|",
            "`forge report 0190a5d0-0000-7000-8000-00000000beef`",
        ] {
            assert!(text.contains(part), "{part:?}\n{text}");
        }
        assert!(!text.contains("\n\n\n"), "{text}");
    }

    #[test]
    fn a_comment_is_two_screens_at_most_and_pings_nobody() {
        let hostile = "@octocat #12 & <b> ".repeat(50);
        let names: Vec<String> = (0..60)
            .map(|n| format!("{}{n:02}", "c".repeat(62)))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut run = Run::new(&names, &["weekly", "daily"], 2);
        for name in &names[1..] {
            run.compare(crate::rule::Question::Control, name, names[0]);
            for objective in ["weekly", "daily"] {
                run.add(passed(trial(name, objective, 1), 10.0));
                run.add(failed(trial(name, objective, 2), &hostile));
            }
        }
        let text = run.written(Format::Comment);
        assert!(text.len() <= MAX_BYTES, "{}", text.len());
        assert!(text.lines().count() <= MAX_LINES, "{text}");
        assert!(
            !text.contains("@octocat") && !text.contains("#12"),
            "{text}"
        );
        assert!(text.contains("more"), "{text}");
        let text = super::super::tests::hostile_run().written(Format::Comment);
        assert!(
            !text.contains("@octocat") && !text.contains("<script"),
            "{text}"
        );
    }
}
