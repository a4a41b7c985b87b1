//! Asking git, the program.
//!
//! Promises: arguments, never a shell; no prompt, no pager, no hook; the index and the work tree are only read, and
//! not even refreshed.

use std::ffi::OsStr;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::plain;
use crate::quantity::ByteCount;
use crate::tree::reason;

/// What would lead git to another repository, as its hooks have it.
const ELSEWHERE: [&str; 7] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_NAMESPACE",
];

/// How much of what git says about itself is shown, in characters.
const MAX_SAID: usize = 300;

/// A folder in which git is asked.
#[derive(Debug, Clone)]
pub(super) struct Git {
    folder: PathBuf,
    program: PathBuf,
}

/// Why git gave no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoAnswer {
    /// There is no git.
    #[error("git is not installed, or not on the PATH")]
    Missing,
    /// It cannot be started or listened to.
    #[error("git cannot be run: {0}")]
    Failed(String),
    /// It said no.
    #[error("git says: {0}")]
    Refused(String),
    /// Its answer is longer than it may be.
    #[error("git's answer is longer than {0}")]
    TooLong(ByteCount),
}

impl Git {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            program: "git".into(),
        }
    }

    /// The same with another program for git.
    #[cfg(test)]
    pub(super) fn with_program(mut self, program: &str) -> Self {
        self.program = program.into();
        self
    }

    /// The same in another folder.
    pub(super) fn at(&self, folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            ..self.clone()
        }
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["--no-pager", "--no-optional-locks"])
            .args([
                "-c",
                "core.hooksPath=/dev/null",
                "-c",
                "core.fsmonitor=false",
            ])
            .args([
                "-c",
                "core.quotePath=false",
                "-c",
                "advice.objectNameWarning=false",
            ])
            .args(arguments)
            .current_dir(&self.folder)
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_TERMINAL_PROMPT", "0")
            // A `*` in a name is one.
            .env("GIT_LITERAL_PATHSPECS", "1")
            // What it says is read.
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for variable in ELSEWHERE {
            command.env_remove(variable);
        }
        command
    }

    /// What git prints.
    pub(super) fn ask<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Vec<u8>, NoAnswer> {
        let output = self.command(arguments).output();
        let output = output.map_err(|error| self.not_started(&error))?;
        if output.status.success() {
            Ok(output.stdout)
        } else {
            Err(refused(&output.stderr))
        }
    }

    /// The same where nothing may be found, as by grep.
    pub(super) fn search<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Vec<u8>, NoAnswer> {
        self.found(&mut self.command(arguments))
    }

    /// The same, given something to read.
    pub(super) fn search_in<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: &[u8],
    ) -> Result<Vec<u8>, NoAnswer> {
        // From a file, so that nobody waits for the other to read.
        let failed = |error: io::Error| NoAnswer::Failed(reason(&error));
        let mut file = tempfile::tempfile().map_err(failed)?;
        file.write_all(input).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut command = self.command(arguments);
        // Those who read names from there take them as they are, and refuse to be told so.
        command.env_remove("GIT_LITERAL_PATHSPECS").stdin(file);
        self.found(&mut command)
    }

    fn found(&self, command: &mut Command) -> Result<Vec<u8>, NoAnswer> {
        let output = command.output();
        let output = output.map_err(|error| self.not_started(&error))?;
        // 1 means that nothing was found.
        if output.status.success() || output.status.code() == Some(1) && output.stderr.is_empty() {
            Ok(output.stdout)
        } else {
            Err(refused(&output.stderr))
        }
    }

    /// What git prints as text, without the line's end.
    pub(super) fn line<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<String, NoAnswer> {
        let text = self.ask(arguments)?;
        let text = String::from_utf8_lossy(&text);
        Ok(text.trim_end_matches('\n').to_owned())
    }

    /// Puts what git prints into a file, up to a limit.
    pub(super) fn save<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        file: &mut std::fs::File,
        limit: ByteCount,
    ) -> Result<(), NoAnswer> {
        let failed = |error: io::Error| NoAnswer::Failed(reason(&error));
        let mut said = tempfile::tempfile().map_err(failed)?;
        let errors = said.try_clone().map_err(failed)?;
        let mut child = self
            .command(arguments)
            .stderr(errors)
            .spawn()
            .map_err(|error| self.not_started(&error))?;
        let copied = match child.stdout.take() {
            Some(stdout) => io::copy(&mut stdout.take(limit.0 + 1), file),
            None => Ok(0),
        };
        // Its pipe is closed: what would print more ends.
        let status = child.wait().map_err(failed)?;
        if copied.map_err(failed)? > limit.0 {
            return Err(NoAnswer::TooLong(limit));
        }
        if status.success() {
            return Ok(());
        }
        let mut text = Vec::new();
        said.seek(SeekFrom::Start(0)).map_err(failed)?;
        said.take(64 << 10).read_to_end(&mut text).map_err(failed)?;
        Err(refused(&text))
    }

    /// A folder that is gone looks like a program that is not there.
    fn not_started(&self, error: &io::Error) -> NoAnswer {
        if error.kind() == io::ErrorKind::NotFound && self.folder.is_dir() {
            NoAnswer::Missing
        } else {
            NoAnswer::Failed(reason(error))
        }
    }
}

fn refused(said: &[u8]) -> NoAnswer {
    let said = String::from_utf8_lossy(said);
    let lines = said.lines().map(|line| line.trim_start_matches("fatal: "));
    let said: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    NoAnswer::Refused(plain::short(&said.join(" "), MAX_SAID))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_is_asked_of_the_folder_and_of_nothing_that_a_hook_exports() {
        let command = Git::new(Path::new("/folder")).command(["status"]);
        let said: Vec<_> = command.get_envs().collect();
        for variable in ELSEWHERE {
            assert!(said.contains(&(OsStr::new(variable), None)), "{variable}");
        }
        for (variable, value) in [("GIT_OPTIONAL_LOCKS", "0"), ("GIT_TERMINAL_PROMPT", "0")] {
            assert!(said.contains(&(OsStr::new(variable), Some(OsStr::new(value)))));
        }
        assert_eq!(command.get_current_dir(), Some(Path::new("/folder")));
    }

    #[test]
    fn what_git_says_is_a_line_and_harmless() {
        let told = refused(b"fatal: not \x1b[31mred\nfatal: second\n\n").to_string();
        assert!(told.starts_with("git says: not "), "{told}");
        assert!(
            !told.contains('\u{1b}') && told.ends_with("second"),
            "{told}"
        );
        assert!(refused(&[b'x'; 5000]).to_string().chars().count() < 400);
    }
}
