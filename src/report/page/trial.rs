//! What is known of one trial: how its score came about, what it wrote, what it printed.

use super::failures::quoted;
use super::markup::{escaped, line};
use super::preview::{self, Room, link};
use super::table::{Cell, Table};
use crate::event::{ArtifactRecord, TrialRecord};
use crate::quantity::ByteCount;
use crate::report::view::{figure, folder, score_in_words};
use crate::report::{Outcome, Part, Report};
use crate::summary::TrialRow;

/// So many gates, and so many scorers, files and metrics of a trial are shown; fewer where there is little room.
const MAX_PARTS: usize = 30;
const FEW_PARTS: usize = 12;
/// With less room than this for a text, everything is kept short.
const LITTLE: usize = 4000;

/// `typical`: that it is the one in the middle of its candidate's on the objective, in words.
pub(super) fn of(
    report: &Report<'_>,
    row: TrialRow<'_>,
    record: Option<&TrialRecord>,
    typical: Option<&str>,
    room: Room,
) -> String {
    let mut text = String::new();
    let why = Outcome::of(row, report.standings).why();
    if !why.is_empty() {
        add!(text, "<p>{}</p>\n", line(why, 300));
    }
    let Some(record) = record else {
        text.push_str("<p class=\"soft\">There is no record of it.</p>\n");
        return text;
    };
    if let Some(typical) = typical {
        add!(text, "<p class=\"soft\">{}</p>\n", escaped(typical));
    }
    text.push_str(&scored(report, row, record, room));
    text.push_str(&facts(row, record));
    if let Some(said) = &record.said {
        text.push_str("<h3>Said last</h3>\n");
        text.push_str(&quoted(said, row));
    }
    text.push_str(&wrote(report, row, record, room));
    text.push_str(&printed(report, row, record, room));
    text
}

const fn parts(room: Room) -> (usize, usize) {
    if room.text < LITTLE {
        (FEW_PARTS, 160)
    } else {
        (MAX_PARTS, 300)
    }
}

fn scored(report: &Report<'_>, row: TrialRow<'_>, record: &TrialRecord, room: Room) -> String {
    let Some(score) = &record.score else {
        return String::new();
    };
    let (most, length) = parts(room);
    let words = score_in_words(report, row, &score.explanation);
    let mut text = format!("<p>{}</p>\n", line(&words, 300));
    let mut table = Table::new(&["#result", "#weight", "what was checked", "why"]);
    let code = |what: &str| Cell::Markup(format!("<code>{}</code>", line(what, length)));
    for gate in score.gates.iter().take(most) {
        let (tone, said) = if gate.passed {
            ("", "held")
        } else {
            ("bad", "failed")
        };
        table.toned(
            tone,
            vec![
                Cell::Number(None, said.to_owned()),
                Cell::Number(None, "gate".to_owned()),
                code(&gate.gate),
                Cell::Markup(line(&gate.explanation, length)),
            ],
        );
    }
    for scorer in score.scorers.iter().take(most) {
        table.row(vec![
            scorer.points.map_or_else(
                || Cell::Number(None, "ungraded".to_owned()),
                |it| Cell::Number(Some(it.value()), it.to_string()),
            ),
            Cell::Number(Some(scorer.weight), scorer.weight.to_string()),
            code(&scorer.scorer),
            Cell::Markup(line(&scorer.explanation, length)),
        ]);
    }
    text.push_str(&table.markup("Gates and scorers"));
    let over = |all: usize| all.saturating_sub(most);
    text.push_str(&super::figures::left_out(
        over(score.gates.len()) + over(score.scorers.len()),
        0,
        "in run.json",
    ));
    for scorer in score.scorers.iter().take(most) {
        if let Some(said) = &scorer.said {
            add!(
                text,
                "<h3>Said last by {}</h3>\n",
                line(&scorer.scorer, length)
            );
            text.push_str(&quoted(said, row));
        }
    }
    text
}

/// Numbers and names, on one line.
fn facts(row: TrialRow<'_>, record: &TrialRecord) -> String {
    let mut facts = Vec::new();
    facts.push(format!(
        "all of it: {}",
        link(&format!("{}/", folder(row)), None)
    ));
    if let Some(code) = row.exit_code() {
        facts.push(format!("exit code {code}"));
    }
    if record.attempts > 1 {
        facts.push(format!("{} attempts", record.attempts));
    }
    if let Some(bytes) = record.usage.peak_memory_bytes {
        facts.push(format!("at the most {} of memory", ByteCount(bytes)));
    }
    if let Some(milliseconds) = record.usage.cpu_milliseconds {
        facts.push(format!("{milliseconds} ms of processor time"));
    }
    let metrics = record.metrics.iter().take(FEW_PARTS);
    facts.extend(metrics.map(|(name, value)| {
        let value_of = super::markup::number(*value, &figure(*value));
        format!("{} {value_of}", line(name, 60))
    }));
    if let Some(sandbox) = &record.sandbox {
        facts.push(format!("sandbox {}", line(sandbox.as_str(), 80)));
    }
    if !record.isolation.is_empty() {
        facts.push(format!("isolation {}", line(&record.isolation, 100)));
    }
    let mut text = format!("<p class=\"facts\">{}</p>\n", facts.join(" · "));
    for warning in record.warnings.iter().take(FEW_PARTS) {
        add!(text, "<p class=\"lost\">{}</p>\n", line(warning, 300));
    }
    text
}

fn wrote(report: &Report<'_>, row: TrialRow<'_>, record: &TrialRecord, room: Room) -> String {
    let mut text = String::new();
    let of = folder(row);
    let said = |file: &ArtifactRecord| {
        let mut said = link(&format!("{of}/{}", file.path), Some(file.bytes));
        if file.partial {
            said.push_str(", not finished");
        }
        if file.redacted {
            said.push_str(", without the secrets that were in it");
        }
        said
    };
    if let Some(file) = &record.artifact {
        let preview = preview::of(report.details, &row.trial(), &file.path, room);
        add!(
            text,
            "<h3>Artifact</h3>\n<p class=\"soft\">{}</p>\n<div class=\"artifact\">{preview}</div>\n",
            said(file)
        );
    } else if let Some(why) = &record.no_artifact {
        add!(
            text,
            "<h3>Artifact</h3>\n<p class=\"soft\">none: {}</p>\n",
            line(why, 300)
        );
    }
    if !record.files.is_empty() {
        text.push_str("<h3>More files</h3>\n<ul>\n");
        let mut room = room;
        for file in record.files.iter().take(FEW_PARTS) {
            add!(text, "<li>{}", said(file));
            if is_picture(&file.path) {
                let preview = preview::of(report.details, &row.trial(), &file.path, room);
                room.picture = room.picture.saturating_sub(preview.len());
                text.push_str(&preview);
            }
            text.push_str("</li>\n");
        }
        text.push_str("</ul>\n");
        text.push_str(&super::figures::left_out(
            record.files.len(),
            FEW_PARTS,
            "files in its folder",
        ));
    }
    for skipped in record.skipped.iter().take(FEW_PARTS) {
        add!(
            text,
            "<p class=\"soft\">not brought home: {} {}</p>\n",
            line(&skipped.path, 120),
            line(&skipped.reason, 120)
        );
    }
    text
}

fn is_picture(path: &str) -> bool {
    let ending = path.rsplit_once('.').map(|it| it.1.to_ascii_lowercase());
    ending.is_some_and(|it| ["png", "jpg", "jpeg", "gif", "webp"].contains(&it.as_str()))
}

fn printed(report: &Report<'_>, row: TrialRow<'_>, record: &TrialRecord, room: Room) -> String {
    let mut text = String::new();
    let printed = [&record.stderr, &record.stdout].into_iter();
    let printed = printed.filter(|it| it.bytes > 0);
    let mut logs: Vec<&str> = printed.map(|it| it.file.as_str()).collect();
    if let Some(said) = &record.said
        && !logs.contains(&said.log.as_str())
    {
        logs.push(&said.log);
    }
    for name in logs {
        // They are names, unless somebody has changed the file that they are from.
        if name.is_empty() || name.contains('/') {
            continue;
        }
        // Half of it is left to what marks take.
        let most = (room.text / 2) as u64;
        let Some(piece) = report.details.file(&row.trial(), name, Part::End(most)) else {
            continue;
        };
        if piece.total == 0 {
            continue;
        }
        let shown = String::from_utf8_lossy(&piece.bytes);
        let (markup, whole) = super::markup::block(&shown, room.text);
        let is_all = whole && piece.bytes.len() as u64 == piece.total;
        let cut = if is_all {
            ""
        } else {
            "<p class=\"soft\">Only its end is shown.</p>\n"
        };
        add!(
            text,
            "<details class=\"log\">\n<summary>{}, {}</summary>\n{cut}<pre tabindex=\"0\">{markup}</pre>\n<p class=\"soft\">all of it: {}</p>\n</details>\n",
            line(name, 60),
            ByteCount(piece.total),
            link(&format!("{}/{name}", folder(row)), None)
        );
    }
    text
}
