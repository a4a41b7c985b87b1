//! Programs of this machine, for people who want to know what candidates would find.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

use super::LocalProvider;
use super::missing::plain_program;
use super::program::asked_name;
use crate::candidate::{Candidate, Dependencies};

/// The longest that a program may take to say its version.
const LIMIT: Duration = Duration::from_secs(5);

/// A program that candidates find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Where it is.
    pub path: PathBuf,
    /// What it says that it is; `None` when it does not say.
    pub version: Option<String>,
}

impl LocalProvider {
    /// A program that candidates find by this name; it is asked for its version.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was asked.
    pub async fn tool(&self, name: &str) -> Option<Tool> {
        let programs = &self.shared.programs;
        let program = programs.named(name).await?;
        let question: &[&str] = match name {
            // There is no question that every shell answers.
            "sh" => &[],
            "lua" | "luajit" => &["-v"],
            "go" => &["version"],
            _ => &["--version"],
        };
        let mut version = None;
        if !question.is_empty() {
            let asked = tokio::process::Command::new(&program.file)
                .args(question)
                .env_clear()
                .envs(programs.interpreter_env())
                .env("PATH", &program.path)
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output();
            if let Ok(Ok(said)) = tokio::time::timeout(LIMIT, asked).await {
                version = number(&said.stdout).or_else(|| number(&said.stderr));
            }
        }
        Some(Tool {
            path: program.file,
            version,
        })
    }

    /// The names of the programs that a candidate is set up and started with; of alternatives the one that is
    /// here, else the first.
    ///
    /// # Cancel safety
    /// As [`LocalProvider::tool`].
    pub async fn tools_of(&self, candidate: &Candidate) -> Vec<String> {
        let programs = &self.shared.programs;
        let mut names = Vec::new();
        let alternatives = candidate.start.programs.iter();
        let alternatives: Vec<&String> = alternatives.filter_map(|words| words.first()).collect();
        let mut found = None;
        for name in alternatives.iter().filter(|name| !name.contains('/')) {
            if found.is_none() && programs.named(name).await.is_some() {
                found = Some((*name).clone());
            }
        }
        let first = alternatives.first().filter(|name| !name.contains('/'));
        names.extend(found.or_else(|| first.map(|name| (*name).clone())));
        if let Some(own) = alternatives.first().and_then(|it| it.strip_prefix("./")) {
            let file = candidate.files.iter().find(|it| it.path.as_str() == own);
            names.extend(file.and_then(|file| asked_name(&file.from)));
        }
        match candidate.dependencies {
            Dependencies::None => {}
            Dependencies::PythonFile(_) | Dependencies::PythonInline { .. } => {
                names.push("python3".to_owned());
            }
            Dependencies::Node { .. } => names.push("npm".to_owned()),
        }
        let lines = candidate.setup.iter();
        names.extend(lines.filter_map(|line| plain_program(line).map(str::to_owned)));
        names.retain(|name| !name.contains(char::is_whitespace));
        names.sort();
        names.dedup();
        names
    }
}

/// The first number of a version in what a program says.
fn number(said: &[u8]) -> Option<String> {
    static PATTERN: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"\d+(?:\.\d+)+[0-9A-Za-z.+-]*").ok());
    let said = String::from_utf8_lossy(said);
    let found = PATTERN.as_ref()?.find(&said)?.as_str();
    Some(crate::plain::short(
        found.trim_end_matches(['.', '-', '+']),
        40,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_is_said() {
        for (said, expected) in [
            ("Python 3.11.7\n", Some("3.11.7")),
            ("v22.22.2\n", Some("22.22.2")),
            (
                "This is perl 5, version 36, subversion 0 (v5.36.0) built",
                Some("5.36.0"),
            ),
            (
                "GNU bash, version 5.2.15(1)-release (x86_64)",
                Some("5.2.15"),
            ),
            (
                "cc (Debian 12.2.0-14+deb12u1) 12.2.0",
                Some("12.2.0-14+deb12u1"),
            ),
            ("nothing", None),
        ] {
            assert_eq!(number(said.as_bytes()).as_deref(), expected, "{said}");
        }
    }
}
