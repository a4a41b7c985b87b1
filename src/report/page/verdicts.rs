//! The verdicts as tables: those that can fail the run, and the others.

use super::table::{Cell, Table};
use crate::report::view::{self, VerdictRow};

pub(super) fn of(rows: &view::Rows) -> String {
    let mut text = String::new();
    if !rows.gates.is_empty() {
        text.push_str(&table(&rows.gates, "Verdicts that can fail the run"));
    }
    if !rows.shown.is_empty() {
        text.push_str("<p class=\"soft\">Shown besides; these cannot fail the run:</p>\n");
        text.push_str(&table(&rows.shown, "Verdicts that are only shown"));
    }
    if rows.more > 0 {
        add!(
            text,
            "<p class=\"soft\">… {} more in verdicts.csv</p>\n",
            rows.more
        );
    }
    text
}

fn table(rows: &[VerdictRow], name: &str) -> String {
    let mut table = Table::new(&[
        "candidate",
        "against",
        "measure",
        "verdict",
        "#effect",
        "#95 % interval",
        "#p adjusted",
        "#sees",
    ]);
    for it in rows {
        let cells = [&it.candidate, &it.against, &it.measure].map(|it| Cell::text(it.as_str()));
        let numbers =
            [&it.effect, &it.interval, &it.p, &it.sees].map(|it| Cell::Number(None, it.clone()));
        let state = Cell::Markup(format!(
            "<span class=\"{}\">{}</span>",
            super::figures::places::class(it.tone),
            super::markup::escaped(&it.state)
        ));
        table.row(cells.into_iter().chain([state]).chain(numbers).collect());
    }
    table.markup(name)
}
