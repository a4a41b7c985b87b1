//! The places: scores with the intervals in which they lie, and all that the standings say.

use super::super::draw::{Chart, Drawing, Track, points_scale};
use super::super::table::{Cell, Table};
use super::{MAX_TRACKS, left_out};
use crate::quantity::counted;
use crate::report::view;
use crate::standings::Standing;

/// How a row feels, as a class.
pub(in crate::report::page) const fn class(tone: view::Tone) -> &'static str {
    match tone {
        view::Tone::Best => "best",
        view::Tone::Good => "good",
        view::Tone::Bad => "bad",
        view::Tone::Lost => "lost",
    }
}

/// The chart and its table. `rows` say the same as `standings`, in words.
pub(in crate::report::page) fn of(
    standings: &[Standing],
    rows: &view::Table,
    what: &str,
) -> String {
    let chart = Chart {
        title: format!("Scores with their 95 % intervals, {what}"),
        tracks: standings
            .iter()
            .zip(&rows.rows)
            .take(MAX_TRACKS)
            .map(|(standing, row)| track(standing, row))
            .collect(),
        scale: points_scale(),
    };
    let has_scores = standings.iter().any(|it| it.score.is_some());
    let drawn = if has_scores {
        format!(
            "{}{}",
            chart.markup(),
            left_out(standings.len(), MAX_TRACKS, "in the table")
        )
    } else {
        String::new()
    };
    format!(
        "<figure>\n{drawn}{}</figure>\n",
        table(standings, rows, what)
    )
}

fn track(standing: &Standing, row: &view::Row) -> Track {
    let mut drawing = Drawing::new(22);
    drawing.line("base", (0.0, 11.0), (100.0, 11.0));
    if let Some([low, high]) = standing.interval {
        drawing.line("interval", (low, 11.0), (high, 11.0));
    }
    if let Some(score) = standing.score {
        let tip = format!("{}: {}", row.candidate, row.score);
        drawing.dot("dot", (score.value(), 11.0), 5.5, &tip);
    }
    let value = match standing.interval {
        Some(_) => format!("{}  ({})", row.score, row.interval),
        None => row.score.clone(),
    };
    Track {
        name: format!("{}  {}", row.rank, row.candidate),
        drawing,
        value,
        tone: class(row.tone),
    }
}

/// The table of standings, as numbers.
pub(in crate::report::page) fn table(
    standings: &[Standing],
    rows: &view::Table,
    what: &str,
) -> String {
    let mut titles = vec!["#rank", "candidate", "#score"];
    if rows.intervals {
        titles.push("#95 % interval");
    }
    titles.extend(["#gates passed", "#quality", "#speed", "#median time"]);
    let metrics: Vec<String> = rows.metrics.iter().map(|it| format!("#{it}")).collect();
    titles.extend(metrics.iter().map(String::as_str));
    titles.push("note");
    let mut table = Table::new(&titles);
    for (standing, row) in standings.iter().zip(&rows.rows) {
        let points = |points: Option<crate::score::Points>, shown: &str| {
            Cell::Number(points.map(crate::score::Points::value), shown.to_owned())
        };
        let name = if row.unlike {
            format!("{} (not like for like)", row.candidate)
        } else {
            row.candidate.clone()
        };
        let mut cells = vec![
            Cell::Number(None, row.rank.clone()),
            Cell::Text(name),
            points(standing.score, &row.score),
        ];
        if rows.intervals {
            cells.push(standing.interval.map_or_else(
                || Cell::Number(None, row.interval.clone()),
                |ends| Cell::Between(ends.map(|it| (it, format!("{it:.1}")))),
            ));
        }
        cells.extend([
            Cell::Number(None, row.passed.clone()),
            points(standing.quality, &row.quality),
            points(standing.speed, &row.speed),
            Cell::Number(standing.median_seconds, row.median.clone()),
        ]);
        let values = rows.names.iter().zip(&row.metrics);
        cells.extend(
            values.map(|(name, shown)| {
                Cell::Number(standing.metrics.get(name).copied(), shown.clone())
            }),
        );
        cells.push(Cell::Text(row.note.clone()));
        table.toned(class(row.tone), cells);
    }
    let mut text = table.markup(&format!("Standings, {what}"));
    if !rows.metrics.is_empty() {
        let more = match rows.more_metrics {
            0 => String::new(),
            more => format!("; {} in trials.csv", counted(more, "more is", "more are")),
        };
        add!(
            text,
            "<p class=\"soft\">Metrics are the candidates’ own, the median over the trials with a verdict{more}.</p>\n"
        );
    }
    text
}
