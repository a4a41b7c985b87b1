//! The one place that writes to the process's own streams.
//!
//! A reader that has gone (`forge | head`) is no error: what it does not want is not written.

use std::io::{IsTerminal, Write};

/// Writes to stdout and stderr.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printer;

impl Printer {
    pub(super) const fn new() -> Self {
        Self
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

    /// A line for stderr.
    #[expect(clippy::unused_self, reason = "a printer is what may print")]
    pub(super) fn note(self, line: &str) {
        let mut stderr = std::io::stderr().lock();
        drop(writeln!(stderr, "{line}"));
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

/// Whether stdout is a terminal.
pub(super) fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}

/// Whether stderr is a terminal.
pub(super) fn stderr_is_terminal() -> bool {
    std::io::stderr().is_terminal()
}
