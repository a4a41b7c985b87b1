//! What those that failed said last, on a terminal.
//!
//! Promises: a quoted line begins with a bar, so that nothing quoted is at a line's start.

use super::{GAP, Page, Paint, wrap};
use crate::report::view::{Quote, View};

/// So much is quoted of those that failed, and so many lines of each.
const MAX_QUOTES: usize = 20;
const MAX_QUOTED: usize = 5;

/// What those that failed said last: one of each objective and candidate.
pub(super) fn quotes(page: &mut Page, view: &View, place: &str) {
    let folder = std::path::Path::new(place).parent();
    let mut shown = 0;
    let mut over = 0;
    for section in &view.sections {
        let mut said: Vec<&Quote> = Vec::new();
        for quote in &section.quotes {
            if said.iter().any(|old| old.who == quote.who) {
                continue;
            }
            said.push(quote);
            if shown == MAX_QUOTES {
                over += 1;
                continue;
            }
            if shown == 0 {
                page.blank();
                page.line(Paint::Bold, "What was said last");
            }
            shown += 1;
            let of = if view.sections.len() > 1 {
                format!(" on {}", section.name)
            } else {
                String::new()
            };
            let title = format!("{}{of}, {}", quote.who, quote.what);
            page.wrapped(Paint::Bad, GAP, &title);
            if quote.lines.is_empty() {
                page.wrapped(Paint::Dim, &format!("{GAP}{GAP}"), "it printed nothing");
                continue;
            }
            for line in brief(&quote.lines) {
                page.quoted(&crate::plain::last(line, 240));
            }
            if !quote.hint.is_empty() {
                page.wrapped(Paint::Warn, &format!("{GAP}{GAP}hint: "), &quote.hint);
            }
            let log = folder.map_or_else(
                || quote.log.clone(),
                |folder| folder.join(&quote.log).to_string_lossy().into_owned(),
            );
            page.path(
                Paint::Dim,
                &format!("{GAP}{GAP}all of it: "),
                &crate::plain::line(&log),
            );
        }
    }
    if over > 0 {
        page.wrapped(Paint::Dim, GAP, &format!("… and {over} more in the report"));
    }
}

/// The last lines, and the one with the error, should that stand above them.
fn brief(lines: &[String]) -> Vec<&str> {
    let is_error = |line: &String| {
        let word = line.split([':', ' ']).next().unwrap_or_default();
        word.ends_with("Error") || word.ends_with("Exception")
    };
    let from = lines.len().saturating_sub(MAX_QUOTED);
    let (above, last) = lines.split_at(from);
    let error = above.iter().rfind(|line| is_error(line));
    match error.filter(|_| !last.iter().any(is_error)) {
        None => last.iter().map(String::as_str).collect(),
        Some(error) => {
            let last = last.iter().skip(2).map(String::as_str);
            [error.as_str(), "…"].into_iter().chain(last).collect()
        }
    }
}

impl Page {
    /// A line that a program printed, with its indentation.
    fn quoted(&mut self, line: &str) {
        let bar = format!("{GAP}{GAP}| ");
        let blanks = line.len() - line.trim_start_matches(' ').len();
        let indent = " ".repeat(blanks.min(8));
        let first = bar.len() + indent.len();
        for part in wrap(line, first, first, self.width) {
            self.line(Paint::None, &format!("{bar}{indent}{part}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_with_the_error_is_among_the_few() {
        let lines = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        for (text, shown) in [
            ("a b", "a b"),
            ("a b c d e f", "b c d e f"),
            ("x KeyError: c d e f", "KeyError: c d e f"),
            ("KeyError: a b c d e f", "KeyError: … d e f"),
            ("KeyError: a b c d OSError: f", "b c d OSError: f"),
        ] {
            assert_eq!(brief(&lines(text)).join(" "), shown);
        }
    }
}
