//! The first line of an executable file: what it asks to be run with.

use std::io::Read as _;

use crate::tree::{TreeFile, open_regular};

/// The longest first line that the kernel reads.
const LONGEST: u64 = 256;

/// What a `#!` line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asks {
    /// The system's plain shell.
    Sh,
    /// The `python3` of the `PATH`, or `python`.
    Python,
    /// uv, to install what the script's block lists and to run it.
    Uv,
    /// uv with more than that, which only uv understands.
    UvWithMore,
    /// Something else, or nothing.
    Other,
}

/// The first line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FirstLine(String);

impl FirstLine {
    /// Reads it; empty when the file cannot be read.
    pub(super) fn of(file: &TreeFile) -> Self {
        let mut head = Vec::new();
        let read = open_regular(&file.from)
            .and_then(|(file, _)| file.take(LONGEST).read_to_end(&mut head));
        let first = head.split(|byte| *byte == b'\n').next();
        Self(match (read, first) {
            (Ok(_), Some(line)) => String::from_utf8_lossy(line).into_owned(),
            (Ok(_), None) | (Err(_), _) => String::new(),
        })
    }

    /// The program that the kernel looks for in vain because the line ends as on Windows: its last word,
    /// without the end of the line.
    pub(super) fn with_carriage_return(&self) -> Option<&str> {
        let line = self.0.strip_prefix("#!")?.strip_suffix('\r')?;
        line.split_ascii_whitespace().last()
    }

    /// Whether it ends as on Windows, a `#!` line or not.
    pub(super) fn is_of_windows(&self) -> bool {
        self.0.ends_with('\r')
    }

    pub(super) fn asks(&self) -> Asks {
        let Some(line) = self.0.strip_prefix("#!") else {
            return Asks::Other;
        };
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let words = match &words[..] {
            ["/usr/bin/env" | "/bin/env", "-S", rest @ ..]
            | ["/usr/bin/env" | "/bin/env", rest @ ..] => rest,
            ["/bin/sh" | "/usr/bin/sh"] => return Asks::Sh,
            _ => return Asks::Other,
        };
        match words {
            ["sh"] => Asks::Sh,
            ["python3" | "python"] => Asks::Python,
            ["uv", "run", options @ ..] => {
                let plain = ["--script", "-s", "--quiet", "-q", "--no-project"];
                if options.iter().all(|option| plain.contains(option)) {
                    Asks::Uv
                } else {
                    Asks::UvWithMore
                }
            }
            _ => Asks::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_asks_for_a_program() {
        for (line, expected) in [
            ("#!/bin/sh", Asks::Sh),
            ("#!/usr/bin/env sh\r", Asks::Sh),
            ("#!/usr/bin/env python3", Asks::Python),
            ("#!/usr/bin/env -S python3", Asks::Python),
            ("#!/usr/bin/env -S python3 -O", Asks::Other),
            ("#!/opt/python/bin/python3", Asks::Other),
            ("#!/usr/bin/env -S uv run --script", Asks::Uv),
            ("#!/usr/bin/env -S uv run -q -s", Asks::Uv),
            (
                "#!/usr/bin/env -S uv run --script --with rich",
                Asks::UvWithMore,
            ),
            ("#!/bin/bash", Asks::Other),
            ("print(1)", Asks::Other),
            ("", Asks::Other),
        ] {
            assert_eq!(FirstLine(line.to_owned()).asks(), expected, "{line}");
        }
    }

    #[test]
    fn a_line_of_windows_names_what_is_looked_for_in_vain() {
        for (line, expected) in [
            ("#!/bin/sh\r", Some("/bin/sh")),
            ("#!/usr/bin/env python3\r", Some("python3")),
            ("#!/bin/sh", None),
            ("print(1)\r", None),
        ] {
            let line = FirstLine(line.to_owned());
            assert_eq!(line.with_carriage_return(), expected, "{line:?}");
        }
    }
}
