//! What candidates and graders need and this machine does not have, before any of them is started.
//!
//! Promises: asks the same as a trial does, so that what is found is what trials end with; nothing of a
//! candidate is executed.

use std::path::PathBuf;

use super::program::{Programs, is_executable};
use super::{LocalProvider, rungs};
use crate::candidate::{Candidate, Dependencies};
use crate::problem::Problem;
use crate::sandbox::FoundPython;
use crate::score::quality::Grader;

/// Words that a shell knows by itself.
const OF_SHELLS: [&str; 24] = [
    ".", ":", "[", "alias", "break", "cd", "command", "echo", "eval", "exec", "exit", "export",
    "false", "printf", "pwd", "read", "set", "test", "true", "type", "ulimit", "umask", "unset",
    "wait",
];

impl LocalProvider {
    /// What a candidate needs to be set up and started that is not here: each a problem that fails all of its
    /// trials, with the file and the path in it.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was asked.
    pub async fn missing(&self, candidate: &Candidate) -> Vec<Problem> {
        let (interpreters, programs) = (&self.shared.interpreters, &self.shared.programs);
        let mut problems = Vec::new();
        let start = &candidate.start;
        let declares = match candidate.dependencies {
            Dependencies::PythonFile(_) | Dependencies::PythonInline { .. } => true,
            Dependencies::None | Dependencies::Node { .. } => false,
        };
        let entry = start.programs.first().and_then(|words| words.first());
        let entry = entry.and_then(|program| program.strip_prefix("./"));
        if let Some(why) = &candidate.cannot_start {
            let file = file_of(candidate, entry.unwrap_or_default());
            problems.push(first_line(file, why.clone()));
            return problems;
        }
        let mut base = None;
        if (start.python || declares) && !candidate.python.is_none() {
            match interpreters.find(&candidate.python, programs).await {
                FoundPython::Found { python, .. } => base = python.map(PathBuf::from),
                FoundPython::Unknown => {}
                FoundPython::Missing(why) => {
                    let hint =
                        "install one that will do, with uv or pyenv, or change what is asked for";
                    problems.push(Problem::file(&candidate.source, why).with_hint(hint));
                    return problems;
                }
            }
        }
        // An environment brings programs of its own.
        let brings = declares && !start.python;
        if !brings && let Some((message, hint)) = programs.missing(&start.programs).await {
            problems.push(of(candidate, "run[0]", message).with_hint(hint));
        }
        if let Some(entry) = entry
            && let Some(file) = candidate.files.iter().find(|it| it.path.as_str() == entry)
        {
            let is_own = |path: &str| candidate.files.iter().any(|it| it.path.as_str() == path);
            let confined = self.confines().await;
            // A setup may change it.
            let refused = programs.refused(&file.from, is_own, confined).await;
            if let Some((message, hint)) = refused.filter(|_| candidate.setup.is_empty()) {
                problems.push(first_line(file_of(candidate, entry), message).with_hint(hint));
            }
        }
        // Without a Python to start, it is made inside, and not by uv.
        let by_uv = start.python && programs.named("uv").await.is_some();
        if declares
            && !by_uv
            && let Some((message, hint)) = self.no_environment(base, programs).await
        {
            problems.push(Problem::file(&candidate.source, message).with_hint(hint));
        }
        if let Dependencies::Node { .. } = candidate.dependencies
            && programs.named("npm").await.is_none()
        {
            let message =
                "`npm`, which installs what its `package.json` lists, is not installed here";
            let hint = "install Node with npm, in a folder of `PATH`";
            problems.push(Problem::file(&candidate.source, message).with_hint(hint));
        }
        for (index, line) in candidate.setup.iter().enumerate() {
            if let Some(program) = plain_program(line)
                && programs.named(program).await.is_none()
            {
                let message = format!("`{program}` is not installed here");
                let path = format!("setup[{index}]");
                let hint = "install it, in a folder of `PATH`";
                problems.push(of(candidate, &path, message).with_hint(hint));
            }
        }
        problems.iter_mut().for_each(crate::tree::locate);
        problems
    }

    /// Why a grader cannot be started here, and what to do about it.
    ///
    /// # Cancel safety
    /// As [`LocalProvider::missing`].
    pub async fn missing_of_grader(&self, grader: &Grader) -> Option<(String, String)> {
        let programs = &self.shared.programs;
        let program = grader.argv.first()?;
        let own = |path: &str| grader.files.iter().find(|(own, _)| own.as_str() == path);
        let bare = program.strip_prefix("./").unwrap_or(program);
        if !program.contains('/')
            && own(program).is_some()
            && programs.named(program).await.is_none()
        {
            let message = format!("`{program}` is looked for on `PATH`, and is not there");
            return Some((
                message,
                format!("`./{program}` is the objective's own file"),
            ));
        }
        let alternatives = [vec![program.clone()]];
        if let Some(why) = programs.missing(&alternatives).await {
            return Some(why);
        }
        if program.starts_with('/') || !program.contains('/') {
            return None;
        }
        let Some((_, file)) = own(bare) else {
            let message = format!("`{program}` is not there");
            return Some((
                message,
                "paths are relative to the objective's folder".to_owned(),
            ));
        };
        if !is_executable(file) {
            let message = format!("`{program}` cannot be executed");
            return Some((
                message,
                format!("make it so: `chmod +x {}`", file.display()),
            ));
        }
        let is_own = |path: &str| own(path).is_some();
        programs.refused(file, is_own, self.confines().await).await
    }

    /// Why no environment with packages can be made with `venv`; of this Python, or of the usual one.
    async fn no_environment(
        &self,
        base: Option<PathBuf>,
        programs: &Programs,
    ) -> Option<(String, String)> {
        let usual = || self.shared.interpreters.usual(programs);
        let file = match base {
            Some(file) => Some(file),
            None => usual().await.map(|(file, _)| file),
        };
        let Some(file) = file else {
            let message = "its packages cannot be installed: there is no `python3` here";
            let hint = "install it, in a folder of `PATH`";
            return Some((message.to_owned(), hint.to_owned()));
        };
        let asked = tokio::process::Command::new(&file)
            .args(["-I", "-c", "import venv, ensurepip"])
            .env_clear()
            .envs(programs.interpreter_env())
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .status();
        let good = asked.await.is_ok_and(|status| status.success());
        (!good).then(|| {
            let message = format!(
                "its packages cannot be installed: {} has no `venv` and `ensurepip`",
                file.display()
            );
            let hint = "install `uv`, or what your system calls `python3-venv`";
            (message, hint.to_owned())
        })
    }

    /// Whether candidates see of this machine only what they are shown. What there is none of is told
    /// elsewhere.
    async fn confines(&self) -> bool {
        let chosen = self.shared.chosen().await;
        chosen.is_ok_and(|chosen| rungs::confines_files(chosen.rung))
    }
}

/// A problem with what the settings of a candidate say, or without settings with itself.
fn of(candidate: &Candidate, path: &str, message: String) -> Problem {
    match &candidate.settings {
        Some(file) => Problem::value(file, path, message),
        None => Problem::file(&candidate.source, message),
    }
}

fn first_line(file: PathBuf, message: String) -> Problem {
    Problem {
        at: Some((1, 1)),
        ..Problem::file(file, message)
    }
}

/// How people call a file of the candidate.
fn file_of(candidate: &Candidate, path: &str) -> PathBuf {
    let source = &candidate.source;
    if source.is_dir() {
        source.join(path)
    } else {
        source.clone()
    }
}

/// The program of a shell line that is nothing but a program and its arguments, looked up on the `PATH`.
pub(super) fn plain_program(line: &str) -> Option<&str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ./_-+:,@%".contains(c);
    let program = line.split_whitespace().next()?;
    let looked_up = !program.contains('/') && !OF_SHELLS.contains(&program);
    (looked_up && line.chars().all(plain)).then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_line_is_read() {
        for (line, expected) in [
            ("make -j2 all", Some("make")),
            ("cd x", None),
            ("./build.sh", None),
            ("make || true", None),
            ("A=b make", None),
            ("", None),
        ] {
            assert_eq!(plain_program(line), expected, "{line}");
        }
    }
}
