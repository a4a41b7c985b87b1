//! The last that a program said: a few lines of its log, harmless, for those who ask why it failed.
//!
//! Promises: bounded, however much was printed and however long its lines are; cut at the beginning, because
//! what went wrong stands at the end; of a line that was overwritten again and again (a progress bar) only
//! what stood there last.

use serde::{Deserialize, Serialize};

use crate::redact::Redactor;

/// So many lines are kept.
const MAX_LINES: usize = 12;
/// So many characters of a line, and of all lines together.
const MAX_LINE: usize = 500;
const MAX_CHARACTERS: usize = 2000;
/// How much of the end of a log is worth looking at, in bytes.
pub const LOOKED_AT: u64 = 32 << 10;

/// The last that a program said. Lines are single, and free of what steers terminals.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LastWords {
    /// The file with all that it printed, below the trial's folder; empty when it printed nothing.
    #[serde(default)]
    pub log: String,
    /// The last lines of that, oldest first; none when it printed nothing.
    #[serde(default)]
    pub lines: Vec<String>,
    /// What is known of such words, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl LastWords {
    /// The last lines of the end of a log. `is_all` when that end is all of it. What has become a secret without
    /// the escape sequences and invisible characters in it, such as one in two colours, is taken out here.
    #[must_use]
    pub fn of(log: &str, end: &[u8], is_all: bool, redactor: &Redactor) -> Self {
        let text = String::from_utf8_lossy(end);
        let shown = |line: &str| {
            // What a terminal shows of it at last.
            let last = line.rsplit('\r').find(|part| !part.trim().is_empty());
            let clean = super::line(last.unwrap_or_default().trim_end());
            super::last(&redactor.text(&clean), MAX_LINE)
        };
        let mut room = MAX_CHARACTERS;
        let printed: Vec<&str> = text.split('\n').collect();
        // Blank lines do not count, however many follow what was said.
        let said = printed.iter().enumerate().rev().filter_map(|(at, line)| {
            let mut line = shown(line);
            if line.trim().is_empty() {
                return None;
            }
            if at == 0 && !is_all && !line.starts_with('…') {
                line.insert(0, '…');
            }
            Some(line)
        });
        let mut lines: Vec<String> = said.take(200).collect();
        lines.reverse();
        let hint = lines.iter().rev().find_map(|line| hint(line));
        let mut lines = without_stacks(&lines);
        let kept = lines.iter().rev().take(MAX_LINES).take_while(|line| {
            let length = line.chars().count();
            let fits = length <= room;
            room = room.saturating_sub(length);
            fits
        });
        let from = lines.len() - kept.count();
        lines.drain(..from);
        Self {
            log: if lines.is_empty() { "" } else { log }.to_owned(),
            lines,
            hint,
        }
    }
}

/// The lines with only the first frame of every stack that is printed below its error, as Node and Java do.
fn without_stacks(lines: &[String]) -> Vec<String> {
    let is_frame =
        |line: &String| line.trim_start() != line && line.trim_start().starts_with("at ");
    let mut kept = Vec::new();
    for frames in lines.chunk_by(|a, b| is_frame(a) && is_frame(b)) {
        kept.extend(frames.iter().take(1).cloned());
        if frames.len() > 1 {
            kept.push(format!("    … {} more of the stack", frames.len() - 1));
        }
    }
    kept
}

/// What to do about a runtime that looked for a package in vain.
fn hint(line: &str) -> Option<String> {
    let quoted = |after: &str, quote: char| {
        let (_, rest) = line.split_once(after)?;
        let (name, _) = rest.split_once(quote)?;
        let is_name = |c: char| c.is_alphanumeric() || "@/._-".contains(c);
        (!name.is_empty() && name.len() <= 100 && name.chars().all(is_name)).then_some(name)
    };
    if let Some(module) = quoted("No module named '", '\'') {
        let package = module.split('.').next().unwrap_or(module);
        return Some(format!(
            "a package that a candidate needs has to be declared: `{package}`, in requirements.txt or a PEP 723 block"
        ));
    }
    let node =
        quoted("Cannot find package '", '\'').or_else(|| quoted("Cannot find module '", '\''));
    // A path is a file of its own that it misses.
    let package = node.filter(|name| !name.starts_with(['.', '/']))?;
    Some(format!(
        "a package that a candidate needs has to be declared: `{package}`, in package.json"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        LastWords::of("stderr.log", text.as_bytes(), true, &Redactor::default()).lines
    }

    #[test]
    fn the_last_lines_are_kept_and_cut_at_their_beginning() {
        assert_eq!(lines("a\n\nb\r\n  c \n\n"), ["a", "b", "  c"]);
        let many: Vec<String> = (0..50).map(|n| format!("line {n}")).collect();
        let many = many.join("\n");
        assert_eq!(lines(&many).first().unwrap(), "line 38");
        assert_eq!(lines(&many).last().unwrap(), "line 49");
        let long = format!("{}THE END", "x".repeat(100_000));
        let kept = lines(&long);
        assert!(kept[0].starts_with('…') && kept[0].ends_with("THE END"));
        assert_eq!(kept[0].chars().count(), MAX_LINE + 1);
        let all = lines(&format!("{long}\n").repeat(9));
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn blank_lines_below_what_was_said_hide_nothing() {
        assert_eq!(
            lines(&format!("why\n{}", " \n\t\r\n\n".repeat(999))),
            ["why"]
        );
    }

    #[test]
    fn of_a_progress_bar_only_its_last_state_is_kept() {
        let bar: Vec<String> = (0..=100).map(|n| format!("\r{n}% done")).collect();
        let bar = bar.concat();
        assert_eq!(
            lines(&format!("{bar}\r\nfailed\n")),
            ["100% done", "failed"]
        );
        assert_eq!(lines("working\r       \r"), ["working"]);
    }

    #[test]
    fn the_error_above_a_stack_is_kept() {
        let frames = "    at Module.load (node:internal:1)\n".repeat(20);
        let text = format!("SyntaxError: oops\n{frames}\nNode.js v20\n");
        let expected = [
            "SyntaxError: oops",
            "    at Module.load (node:internal:1)",
            "    … 19 more of the stack",
            "Node.js v20",
        ];
        assert_eq!(lines(&text), expected);
        assert_eq!(lines("at home\nat work\n"), ["at home", "at work"]);
    }

    #[test]
    fn nothing_hostile_is_kept_and_nothing_is_nothing() {
        assert_eq!(lines("\u{1b}[31mred\u{1b}[0m\u{202e}\n"), ["red"]);
        assert_eq!(lines("\u{1b}[0m\n \n"), [""; 0]);
        assert_eq!(
            LastWords::of("stderr.log", b"\n", true, &Redactor::default()),
            LastWords::default()
        );
        let cut = LastWords::of("stderr.log", b"half\nwhole\n", false, &Redactor::default());
        assert_eq!(cut.lines, ["…half", "whole"]);
    }

    #[test]
    fn a_secret_in_two_colours_is_none_without_them() {
        let redactor = Redactor::new([crate::secret::Secret::new("open-sesame-4711")]);
        let text = format!(
            "\u{1b}[31mopen-\u{1b}[0msesame-4711 and open-\u{200b}sesame-4711\n{}open\0-sesame-4711{}\n",
            "x".repeat(99),
            "y".repeat(MAX_LINE - 5),
        );
        let lines = LastWords::of("stderr.log", text.as_bytes(), true, &redactor).lines;
        assert_eq!(lines[0], "*** and ***");
        assert!(lines[1].starts_with("…xx***yy"), "{lines:?}");
    }

    #[test]
    fn a_package_that_is_missing_is_to_be_declared() {
        for (line, hint) in [
            (
                "ModuleNotFoundError: No module named 'requests'",
                "`requests`, in requirements.txt",
            ),
            (
                "ModuleNotFoundError: No module named 'yaml.nodes'",
                "`yaml`, in requirements.txt",
            ),
            (
                "Error [ERR_MODULE_NOT_FOUND]: Cannot find package '@a/b' imported from /x",
                "`@a/b`, in package.json",
            ),
            (
                "Error: Cannot find module 'left-pad'",
                "`left-pad`, in package.json",
            ),
            ("Error: Cannot find module './mine.js'", ""),
            ("No module named 'x y'", ""),
        ] {
            let words = LastWords::of("stderr.log", line.as_bytes(), true, &Redactor::default());
            assert!(
                words.hint.as_deref().unwrap_or_default().contains(hint),
                "{line}: {words:?}"
            );
            assert_eq!(words.hint.is_some(), !hint.is_empty(), "{line}");
        }
    }
}
