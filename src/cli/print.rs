//! The one place that writes to the process's own streams.
//!
//! A reader that has gone (`forge | head`) is no error: what it does not want is not written.

use std::io::{BufRead as _, IsTerminal, Write};

/// Writes to stdout and stderr.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer {
    is_for_programs: bool,
}

impl Printer {
    pub(super) const fn new() -> Self {
        Self {
            is_for_programs: false,
        }
    }

    /// The same where a program is to read what is on stdout, as it is with `--json`.
    pub(super) const fn for_programs(mut self, is_for_programs: bool) -> Self {
        self.is_for_programs = is_for_programs;
        self
    }

    pub(super) const fn is_for_programs(self) -> bool {
        self.is_for_programs
    }

    /// A text for stdout, as it is.
    #[expect(clippy::unused_self, reason = "a printer is what may print")]
    pub(super) fn out(self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        drop(
            stdout
                .write_all(text.as_bytes())
                .and_then(|()| stdout.flush()),
        );
    }

    /// The same for what somebody asked for: whether all of it was taken, or nobody reads any more.
    #[expect(clippy::unused_self, reason = "a printer is what may print")]
    pub(super) fn whole(self, text: &str) -> std::io::Result<()> {
        let mut stdout = std::io::stdout().lock();
        match stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
        {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// A line for stderr.
    #[expect(clippy::unused_self, reason = "a printer is what may print")]
    pub(super) fn note(self, line: &str) {
        let mut stderr = std::io::stderr().lock();
        drop(writeln!(stderr, "{line}"));
    }

    /// Asks a person something, if there is one at a terminal.
    pub(super) fn ask(self, question: &str) -> Option<bool> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        self.note(&format!("{question} [y/N]"));
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        Some(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes"))
    }

    /// An error with its causes and advice, on stderr.
    pub(super) fn error(self, error: &(dyn std::error::Error + 'static), hint: Option<&str>) {
        self.note(&format!(
            "error: {}",
            forge::plain::text(&error.to_string())
        ));
        let mut cause = error.source();
        while let Some(error) = cause {
            self.note(&format!(
                "  caused by: {}",
                forge::plain::line(&error.to_string())
            ));
            cause = error.source();
        }
        if let Some(hint) = hint {
            self.note(&format!("hint: {}", forge::plain::line(hint)));
        }
    }
}

/// An error and its causes, as one line.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Whether stdout is a terminal.
pub(super) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether stderr is a terminal.
pub(super) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// Whether the terminal can be steered: colours, and lines that are written over.
pub(super) fn can_be_steered(variable: impl Fn(&str) -> Option<String>) -> bool {
    variable("TERM").is_some_and(|term| term != "dumb")
}

/// Whether a text may have colours, by what the user exported: <https://no-color.org> first, then
/// <https://bixense.com/clicolors>. `variable` gives no blank ones.
pub(super) fn may_color(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> bool {
    let is = |name: &str, text: &str| variable(name).is_some_and(|value| value == text);
    if variable("NO_COLOR").is_some() {
        false
    } else if variable("CLICOLOR_FORCE").is_some() && !is("CLICOLOR_FORCE", "0") {
        true
    } else {
        is_terminal && can_be_steered(&variable) && !is("CLICOLOR", "0")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_that_have_them_and_for_those_who_ask() {
        for (is_terminal, variables, expected) in [
            (true, &["TERM=xterm"][..], true),
            (false, &["TERM=xterm"], false),
            (true, &["TERM=dumb"], false),
            (true, &[], false),
            (true, &["TERM=xterm", "NO_COLOR=1"], false),
            (true, &["TERM=xterm", "CLICOLOR=0"], false),
            (true, &["TERM=xterm", "CLICOLOR=1"], true),
            (false, &["TERM=xterm", "CLICOLOR=1"], false),
            (false, &["CLICOLOR_FORCE=1"], true),
            (false, &["CLICOLOR_FORCE=0"], false),
            (true, &["TERM=dumb", "CLICOLOR_FORCE=1"], true),
            (true, &["CLICOLOR_FORCE=1", "NO_COLOR=1"], false),
        ] {
            let variable = |name: &str| {
                let mut pairs = variables.iter().filter_map(|it| it.split_once('='));
                let found = pairs.find(|it| it.0 == name);
                found.map(|it| it.1.to_owned())
            };
            assert_eq!(may_color(is_terminal, variable), expected, "{variables:?}");
        }
    }
}
