//! The summary on a terminal: who won and why first, then the standings, then what went wrong.
//!
//! Promises: no line is wider than asked for (nor than 40 columns, whichever is more), but for a path; columns line up by
//! what is seen, not by bytes; escape codes are there only when colour was asked for.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Report;
use super::view::{Fact, Headline, NOTHING, Row, Table, Tone, View};
use crate::quantity::counted;

mod quotes;

use quotes::quotes;

/// How to set the summary.
#[derive(Debug, Clone, Copy)]
pub struct Style<'a> {
    /// The terminal's width in columns; less than 40 counts as 40.
    pub width: usize,
    /// Whether to use colours.
    pub color: bool,
    /// Where the full report is, as the user would type it.
    pub place: &'a str,
    /// Whether to say how long the phases of trials took.
    pub verbose: bool,
}

const MIN_WIDTH: usize = 40;
/// The column that is given up first.
const INTERVAL: &str = "95 % interval";
/// The most of a metric's name that heads its column.
const MAX_TITLE: usize = 20;
/// Between two columns, and before the first.
const GAP: &str = "  ";

pub(super) fn render(report: &Report<'_>, style: &Style<'_>) -> String {
    let view = View::of(report);
    let mut page = Page {
        text: String::new(),
        width: style.width.max(MIN_WIDTH),
        color: style.color,
    };
    for line in &view.head {
        page.headline("", line);
    }
    for Fact { name, value } in &view.ungraded {
        page.wrapped(Paint::Bad, "Ungraded: ", &format!("{name}: {value}"));
    }
    for doubt in &view.doubts {
        page.wrapped(Paint::Warn, "Warning: ", doubt);
    }
    if !view.overall.rows.is_empty() {
        page.blank();
        let title = format!("Overall, the mean over {}", view.graded);
        page.line(Paint::Bold, &title);
        page.table(&view.overall);
    }
    for section in &view.sections {
        page.blank();
        if !view.overall.rows.is_empty() {
            match &section.headline {
                Some(headline) => page.headline(&section.name, headline),
                None => page.line(Paint::Bold, &section.name),
            }
        }
        page.table(&section.table);
    }
    quotes(&mut page, &view, style.place);
    if style.verbose {
        page.blank();
        phases(&mut page, &view);
    }
    page.blank();
    remarks(&mut page, &view);
    endings(&mut page, &view, report, style.place);
    page.text
}

/// Where the time went.
fn phases(page: &mut Page, view: &View) {
    if view.phases.is_empty() {
        return;
    }
    page.line(Paint::Bold, "Where the time went");
    let line = |cells: [&str; 6]| {
        let [phase, cells @ ..] = cells;
        let cells = cells.map(|cell| format!("{cell:>9}"));
        format!("{GAP}{phase:8}{}", cells.concat())
    };
    let titles = ["phase", "trials", "p50", "p90", "p95", "longest"];
    page.line(Paint::Dim, &line(titles));
    for it in &view.phases {
        let trials = it.trials.to_string();
        let cells = [it.phase, &trials, &it.p50, &it.p90, &it.p95, &it.max];
        page.line(Paint::None, &line(cells));
    }
}

/// What makes the tables less than the whole truth.
fn remarks(page: &mut Page, view: &View) {
    for Fact { name, value } in &view.unlike {
        page.wrapped(
            Paint::Warn,
            "* ",
            &format!("{name} is not like for like: {value}"),
        );
    }
    if !view.losses.is_empty() {
        page.wrapped(Paint::Warn, "", &view.losses);
    }
    if !view.spared.is_empty() {
        page.wrapped(Paint::None, "", &view.spared);
    }
    if !view.stopped.is_empty() {
        page.wrapped(Paint::Warn, "Stopped: ", &view.stopped);
    }
}

/// How it ended, and where to read on.
fn endings(page: &mut Page, view: &View, report: &Report<'_>, place: &str) {
    let sandboxes = &view.sandboxes;
    if !sandboxes.unconfirmed.is_empty() {
        let title = "Sandboxes that may still exist, and cost money:";
        page.wrapped(Paint::Bad, "", title);
        for Fact { name, value } in &sandboxes.unconfirmed {
            page.wrapped(Paint::None, GAP, &format!("{name}: {value}"));
        }
    }
    if !sandboxes.kept.is_empty() {
        page.wrapped(Paint::Warn, "", "Sandboxes that were kept:");
        for id in &sandboxes.kept {
            page.wrapped(Paint::None, GAP, id);
        }
    }
    if sandboxes.more > 0 {
        let more = format!("{GAP}… and {} more", sandboxes.more);
        page.line(Paint::None, &more);
    }
    if !sandboxes.sweep.is_empty() {
        page.wrapped(Paint::None, "Delete what is left with: ", &sandboxes.sweep);
    }
    for reason in &view.exit.reasons {
        let exit = format!("Exit code {} ({}): ", view.exit.code, view.exit.name);
        page.wrapped(Paint::Bad, &exit, reason);
    }
    let trials = counted(report.summary.trials.len(), "trial", "trials");
    let took = report.summary.took.map_or_else(String::new, |took| {
        format!(" in {}", crate::quantity::show_duration(took))
    });
    let tail = format!("{trials}{took}; sandboxes: {}", sandboxes.summary);
    page.wrapped(Paint::Dim, "", &tail);
    if !place.is_empty() {
        page.path(Paint::None, "Report: ", &crate::plain::line(place));
    }
}

#[derive(Clone, Copy)]
enum Paint {
    None,
    Bold,
    Dim,
    Best,
    Warn,
    Bad,
}

impl Paint {
    const fn codes(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Bold => "\u{1b}[1m",
            Self::Dim => "\u{1b}[2m",
            Self::Best => "\u{1b}[1;32m",
            Self::Warn => "\u{1b}[33m",
            Self::Bad => "\u{1b}[31m",
        }
    }

    const fn of(tone: Tone) -> Self {
        match tone {
            Tone::Best => Self::Best,
            Tone::Good => Self::None,
            Tone::Bad => Self::Bad,
            Tone::Lost => Self::Warn,
        }
    }
}

/// What has been set so far.
struct Page {
    text: String,
    width: usize,
    color: bool,
}

impl Page {
    /// An empty line, unless there is one already.
    fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// One line that is known to fit.
    fn line(&mut self, paint: Paint, text: &str) {
        self.painted(paint, text.trim_end());
        self.text.push('\n');
    }

    fn painted(&mut self, paint: Paint, text: &str) {
        let codes = if self.color { paint.codes() } else { "" };
        self.text.push_str(codes);
        self.text.push_str(text);
        if !codes.is_empty() {
            self.text.push_str("\u{1b}[0m");
        }
    }

    /// A label in colour, then a text that goes on below itself where it does not fit.
    fn wrapped(&mut self, paint: Paint, label: &str, text: &str) {
        let indent = if label.is_empty() { 0 } else { GAP.len() };
        let mut lines = wrap(text, label.width(), indent, self.width).into_iter();
        let first = lines.next().unwrap_or_default();
        if label.trim().is_empty() {
            self.text.push_str(label);
            self.painted(paint, &first);
        } else {
            self.painted(paint, label);
            self.text.push_str(&first);
        }
        self.text.push('\n');
        for line in lines {
            let line = format!("{}{line}", " ".repeat(indent));
            self.line(
                if label.trim().is_empty() {
                    paint
                } else {
                    Paint::None
                },
                &line,
            );
        }
    }

    /// A label and a path, which is never broken: somebody will copy it.
    fn path(&mut self, paint: Paint, label: &str, path: &str) {
        if label.width() + path.width() <= self.width {
            return self.wrapped(paint, label, path);
        }
        self.line(paint, label);
        self.line(Paint::None, &format!("{GAP}{path}"));
    }

    fn headline(&mut self, of: &str, headline: &Headline) {
        let begin = headline.begin.clone();
        let (label, paint) = if of.is_empty() {
            let paint = match headline.tone {
                Tone::Good => Paint::Bold,
                Tone::Best | Tone::Bad | Tone::Lost => Paint::of(headline.tone),
            };
            (begin, paint)
        } else {
            (format!("{of}  {begin}"), Paint::Bold)
        };
        self.wrapped(paint, &label, &headline.text);
    }

    fn table(&mut self, table: &Table) {
        let rows = &table.rows;
        let columns = columns(table, self.width);
        let used: usize = columns.iter().map(|column| GAP.len() + column.width).sum();
        let room = self.width.saturating_sub(used + GAP.len());
        let header: Vec<String> = columns.iter().map(|it| it.set(&it.title)).collect();
        self.line(Paint::Dim, &format!("{GAP}{}", header.join(GAP)));
        for (at, row) in rows.iter().enumerate() {
            let cells: Vec<String> = columns.iter().map(|it| it.set(&it.cells[at])).collect();
            let cells = format!("{GAP}{}", cells.join(GAP));
            let fits = row.note.width() <= room;
            match row.tone {
                Tone::Best => self.painted(Paint::Best, &cells),
                Tone::Good | Tone::Bad | Tone::Lost => self.painted(Paint::None, &cells),
            }
            if row.note.is_empty() {
                self.text.truncate(self.text.trim_end_matches(' ').len());
            } else if fits {
                self.text.push_str(GAP);
                self.painted(Paint::of(row.tone), &row.note);
            }
            self.text.push('\n');
            if !fits {
                let indent = GAP.len() * 2 + columns[0].width;
                for line in wrap(&row.note, indent, indent, self.width) {
                    self.text.push_str(&" ".repeat(indent));
                    self.line(Paint::of(row.tone), &line);
                }
            }
        }
    }
}

struct Column {
    title: String,
    cells: Vec<String>,
    /// Whether it is given up before the others, and the last of these first.
    is_extra: bool,
    left: bool,
    width: usize,
}

impl Column {
    fn set(&self, text: &str) -> String {
        let text = cut(text, self.width);
        let pad = " ".repeat(self.width.saturating_sub(text.width()));
        if self.left {
            format!("{text}{pad}")
        } else {
            format!("{pad}{text}")
        }
    }
}

type Cell = fn(&Row) -> String;

/// The columns that say something and fit, the least important ones given up first.
fn columns(table: &Table, width: usize) -> Vec<Column> {
    let all: [(&'static str, Cell, bool); 8] = [
        ("rank", |row| row.rank.clone(), false),
        ("candidate", named, true),
        ("score", |row| row.score.clone(), false),
        (INTERVAL, |row| row.interval.clone(), false),
        ("passed", |row| row.passed.clone(), false),
        ("quality", |row| row.quality.clone(), false),
        ("speed", |row| row.speed.clone(), false),
        ("median time", |row| row.median.clone(), false),
    ];
    let column = |title: String, cells: Vec<String>, left, is_extra| {
        let widest = cells.iter().map(|cell| cell.width()).max();
        Column {
            width: widest.unwrap_or_default().max(title.width()),
            title,
            cells,
            is_extra,
            left,
        }
    };
    let cells = |cell: &dyn Fn(&Row) -> String| table.rows.iter().map(cell).collect::<Vec<_>>();
    let mut columns: Vec<Column> = all
        .into_iter()
        .map(|(title, cell, left)| column(title.to_owned(), cells(&cell), left, false))
        .chain(table.metrics.iter().enumerate().map(|(at, name)| {
            let cells = cells(&|row| row.metrics.get(at).cloned().unwrap_or_default());
            column(cut(name, MAX_TITLE), cells, false, true)
        }))
        .filter(|column| column.cells.iter().any(|cell| cell != NOTHING))
        .collect();
    let total =
        |columns: &[Column]| -> usize { columns.iter().map(|it| GAP.len() + it.width).sum() };
    // A candidate's name may be cut, but not so far that it says nothing.
    let names = columns.iter().find(|column| column.left);
    let spare = names.map_or(0, |column| column.width.saturating_sub(16));
    // The report has it.
    if total(&columns) > width {
        columns.retain(|column| column.title != INTERVAL);
    }
    while total(&columns) > width
        && let Some(last) = columns.iter().rposition(|column| column.is_extra)
    {
        columns.remove(last);
    }
    for title in ["speed", "quality", "median time"] {
        if total(&columns) > width + spare {
            columns.retain(|column| column.title != title);
        }
    }
    let over = total(&columns).saturating_sub(width);
    if let Some(names) = columns.iter_mut().find(|column| column.left) {
        names.width = names.width.saturating_sub(over);
    }
    columns
}

fn named(row: &Row) -> String {
    let mark = if row.unlike { "*" } else { "" };
    format!("{}{mark}", row.candidate)
}

/// The text, or as much of it as fits into `width` columns with `…` at its end.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = 1;
    let mut shown: String = text
        .chars()
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= width
        })
        .collect();
    shown.push('…');
    shown
}

/// Breaks a text into lines: the first begins `first` columns from the left, the others `indent`. None
/// begins with a colon: CI systems obey a line that begins with `::`, be it indented.
pub(crate) fn wrap(text: &str, first: usize, indent: usize, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut column = first;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let fresh = lines.last().is_none_or(String::is_empty);
        let blank = usize::from(!fresh);
        if !fresh && column + blank + word.width() > width {
            lines.push(String::new());
            column = indent;
        } else if !fresh {
            push(&mut lines, ' ');
            column += 1;
        }
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if column + wide > width {
                lines.push(String::new());
                column = indent;
            }
            if c == ':' && lines.last().is_none_or(String::is_empty) {
                push(&mut lines, '…');
                column += 1;
            }
            push(&mut lines, c);
            column += wide;
        }
    }
    lines
}

fn push(lines: &mut [String], c: char) {
    if let Some(line) = lines.last_mut() {
        line.push(c);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::*;
    use super::*;
    use crate::event::{EventKind, StopCause, Undeleted};
    use crate::rule::{How, Question};

    fn shown(run: &Run, width: usize) -> String {
        run.report(|report| {
            report.terminal(&Style {
                width,
                color: false,
                place: "artifacts/latest/report.md",
                verbose: false,
            })
        })
    }

    #[test]
    fn the_winner_comes_first_and_one_objective_makes_one_table() {
        let mut run = Run::new(&["alpha", "beta", "gamma"], &["weekly"], 1);
        run.add(passed(trial("alpha", "weekly", 1), 70.0));
        run.add(passed(trial("beta", "weekly", 1), 80.0));
        run.add(failed(
            trial("gamma", "weekly", 1),
            "the artifact has 5 bytes",
        ));
        let expected = "\
Winner: beta with 86.0 points; its lead of 6.0 over alpha may be chance (p =
  0.50); so few trials show no lead, `-k 3` could

  rank  candidate  score  passed  quality  speed  median time
   1–3  beta        86.0     1/1     80.0   90.0       0.12 s
   1–3  alpha       80.0     1/1     70.0   90.0       0.12 s
   1–3  gamma        0.0     0/1        –      –       0.12 s
        disqualified by min_bytes 11: the artifact has 5 bytes

3 trials in 1.50 s; sandboxes: 1 deleted
Report: artifacts/latest/report.md
";
        assert_eq!(shown(&run, 80), expected);
    }

    #[test]
    fn ties_and_losses_are_said() {
        let mut run = Run::new(&["alpha", "beta", "gamma"], &["weekly"], 2);
        run.plan.candidates[1].differs = vec!["run limit 2m".to_owned()];
        for repeat in 1..=2 {
            run.add(passed(trial("alpha", "weekly", repeat), 80.0));
            run.add(passed(trial("beta", "weekly", repeat), 80.0));
        }
        run.add(lost(trial("gamma", "weekly", 1)));
        run.more.push(EventKind::StopRequested {
            cause: StopCause::Deadline,
            hurry: false,
        });
        run.cleanup.unconfirmed.push(Undeleted {
            name: "forge-beef-1".to_owned(),
            id: Some(crate::name::SandboxId::new("sb-1")),
            error: "the server answered 500".to_owned(),
        });
        let expected = "\
Tie: alpha and beta, with 86.0 points each

  rank  candidate  score  95 % interval  passed  quality  speed  median time
   1–2  alpha       86.0      13.6–97.8     2/2     80.0   90.0       0.12 s  tied
   1–2  beta*       86.0      13.6–97.8     2/2     80.0   90.0       0.12 s  tied
     –  gamma          –              –       –        –      –            –  1 lost to infrastructure, 1 not run: while creating: the server answered 500

* beta is not like for like: run limit 2m
no verdict on 2 of 6 trials, not counted: 1 lost to infrastructure, 1 not run
Stopped: the deadline was reached
Sandboxes that may still exist, and cost money:
  forge-beef-1 (id sb-1): the server answered 500
Delete what is left with: forge sweep --run beef
Exit code 4 (undeleted): 1 sandbox could not be confirmed deleted
6 trials in 1.50 s; sandboxes: 1 deleted, 1 not confirmed deleted
Report: artifacts/latest/report.md
";
        assert_eq!(shown(&run, 160), expected);
    }

    #[test]
    fn the_verdict_comes_first_and_what_was_is_below_without_a_place() {
        let text = shown(&regressed(), 160);
        let mut lines = text.lines();
        let first = lines.next().unwrap();
        assert!(
            first.starts_with("Verdict: REGRESSION  gamma lost "),
            "{text}"
        );
        assert!(
            lines.next().unwrap().starts_with("Winner: gamma with "),
            "{text}"
        );
        let table: Vec<&str> = lines
            .skip_while(|it| !it.contains("95 % interval"))
            .collect();
        let place = |row: &str| row.split_whitespace().next().unwrap().to_owned();
        let places: Vec<String> = table[1..5].iter().map(|row| place(row)).collect();
        assert_eq!(places, ["1–3", "1–2", "2–3", "–"], "{text}");
        assert!(table[4].contains("gamma@4f1c9e2") && table[4].ends_with("what gamma was"));
        assert!(text.contains("\nExit code 1 (below): REGRESSION"), "{text}");
        // The interval is the first to go.
        let narrow = shown(&regressed(), 70);
        assert!(
            !narrow.contains("95 % interval\n") && !narrow.contains("score  95 %"),
            "{narrow}"
        );
        assert!(narrow.contains("median time"), "{narrow}");
    }

    #[test]
    fn only_verdicts_that_say_something_have_a_line_and_not_all_of_many() {
        let names: Vec<String> = (0..9).map(|n| format!("c{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut run = Run::new(&names, &["weekly"], 1);
        for name in &names[1..] {
            run.compare(Question::Control, name, "c0");
        }
        run.compared(Question::Baseline, "c1", "c1@old", How::Unchanged);
        let text = shown(&run, 120);
        assert_eq!(text.matches("Verdict: INVALID  ").count(), 6, "{text}");
        assert!(
            text.contains("\n… and 2 more in run.json\nNo winner: "),
            "{text}"
        );
        assert!(!text.contains("UNCHANGED"), "{text}");
        let mut quiet = Run::new(&[], &["weekly"], 1);
        quiet.compared(Question::Baseline, "c1", "c1@old", How::Unchanged);
        let text = shown(&quiet, 120);
        assert!(
            text.starts_with("Verdict: UNCHANGED  c1 is what it was"),
            "{text}"
        );
        assert!(!text.contains("No winner"), "{text}");
    }

    #[test]
    fn what_was_spared_is_counted_by_itself() {
        let mut run = Run::new(&["alpha", "beta"], &["weekly"], 3);
        for name in ["alpha", "beta"] {
            run.add(passed(trial(name, "weekly", 1), 80.0));
            for repeat in 2..=3 {
                run.add(spared(trial(name, "weekly", repeat), "no_change at look 1"));
            }
        }
        let text = shown(&run, 160);
        let line = "\n4 spared of 6 trials, not needed: no_change at look 1\n";
        assert!(text.contains(line), "{text}");
        assert!(!text.contains("no verdict on"), "{text}");
        assert!(text.contains("tied; 2 spared\n"), "{text}");
    }

    #[test]
    fn no_winner_says_why() {
        let check = |run: &Run, why: &str| {
            let text = shown(run, 80);
            assert!(text.starts_with(&format!("No winner: {why}\n")), "{text}");
        };
        let mut run = Run::new(&["alpha", "beta"], &["weekly"], 1);
        check(&run, "no trial has a verdict");
        run.add(failed(trial("alpha", "weekly", 1), "x"));
        check(&run, "no candidate passed its gates");
        let mut run = Run::new(&["alpha"], &["daily", "weekly"], 1);
        run.add(passed(trial("alpha", "weekly", 1), 80.0));
        check(
            &run,
            "nobody who passed the gates has a verdict on every objective",
        );
        check(&Run::new(&[], &[], 1), "nothing was planned");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long = "x".repeat(64);
        let mut run = Run::new(&["alpha", &long], &["weekly", "daily"], 1);
        let wide = "日本語のとても長い説明 ".repeat(20);
        for objective in ["weekly", "daily"] {
            run.add(passed(trial("alpha", objective, 1), 80.0));
            run.add(failed(trial(&long, objective, 1), &wide));
        }
        for width in [40, 60, 80, 120, 200] {
            let text = shown(&run, width);
            for line in text.lines() {
                assert!(line.width() <= width, "{width}: {line}");
                assert_eq!(line.trim_end(), line);
            }
            assert!(
                text.contains("Overall, the mean over 2 objectives"),
                "{text}"
            );
        }
    }

    #[test]
    fn colour_changes_nothing_else() {
        let mut run = Run::new(&["alpha", "beta"], &["weekly"], 1);
        run.add(passed(trial("alpha", "weekly", 1), 80.0));
        run.add(failed(trial("beta", "weekly", 1), "x"));
        let style = Style {
            width: 80,
            color: true,
            place: "artifacts/latest/report.md",
            verbose: false,
        };
        let colored = run.report(|report| report.terminal(&style));
        assert!(colored.contains("\u{1b}[1;32m"));
        assert_eq!(crate::plain::text(&colored), shown(&run, 80));
    }
}
