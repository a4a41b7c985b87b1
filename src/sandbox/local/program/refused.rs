//! Why a program will not start, where that is plain to see before anything is started.
//!
//! Promises: what is found here is what the trial ends with; nothing is executed but what [`Programs`] asks.

use std::path::Path;

use super::super::visible::is_system;
use super::shebang::{self, Asked};
use super::{MAX_SCRIPTS, Programs, is_executable};

const BY_NAME: &str = "`#!/usr/bin/env NAME` finds what `PATH` leads to";

/// A sentence, and what to do about it.
pub(in super::super) type Why = (String, String);

impl Programs {
    /// Why none of these alternatives can be started by their names or absolute paths. What is named by a
    /// relative path is the caller's to find.
    pub(in super::super) async fn missing(&self, alternatives: &[Vec<String>]) -> Option<Why> {
        let mut names = Vec::new();
        for program in alternatives.iter().filter_map(|words| words.first()) {
            let found = if program.contains('/') {
                !program.starts_with('/') || Path::new(program).is_file()
            } else {
                self.named(program).await.is_some()
            };
            if found {
                return None;
            }
            names.push(format!("`{}`", crate::plain::short(program, 80)));
        }
        let first = names.first()?.trim_matches('`').to_owned();
        let (is, them) = match names.len() {
            1 => ("is not", "it"),
            _ => ("are not", "one of them"),
        };
        let message = format!("{} {is} installed here", names.join(" and "));
        let hint = if first.contains('/') {
            "correct its path, or put it there".to_owned()
        } else {
            format!("install {them}, in a folder of `PATH`")
        };
        Some((message, hint))
    }

    /// Why the system will not start a script of the candidate's own by its first line. `is_own` tells which
    /// relative paths are its files; `confined` whether it sees of this machine only what it is shown.
    pub(in super::super) async fn refused(
        &self,
        script: &Path,
        is_own: impl Fn(&str) -> bool,
        confined: bool,
    ) -> Option<Why> {
        let shell = self.shell().await;
        let shown = |file: &Path| format!("`{}`", crate::plain::short(&file.to_string_lossy(), 80));
        match shebang::read(script)? {
            Asked::Name(name) if name.contains(char::is_whitespace) => Some((
                format!("its first line asks `env` for one program called `{name}`"),
                format!("options need `-S`: `#!/usr/bin/env -S {name}`"),
            )),
            Asked::Name(name) => {
                let alternatives = [vec![name]];
                let (message, hint) = self.missing(&alternatives).await?;
                let message = message.replace(" is not", ", which its first line asks for, is not");
                Some((message, hint))
            }
            Asked::File(file) if file.is_relative() => {
                let path = file.to_string_lossy();
                let own = is_own(path.strip_prefix("./").unwrap_or(&path));
                let message = format!("its first line names {}, which is no program", shown(&file));
                (!own).then(|| (message, BY_NAME.to_owned()))
            }
            Asked::File(file) if !is_executable(&file) => {
                let what = if file.exists() {
                    "cannot be executed"
                } else {
                    "is not there"
                };
                let message = format!("its first line names {}, which {what}", shown(&file));
                Some((message, BY_NAME.to_owned()))
            }
            Asked::File(file) => {
                let granted = self.asked(shell, script, &[], MAX_SCRIPTS);
                let mut granted = granted.iter().chain(&shell.read);
                let seen = is_system(&file) || granted.any(|root| file.starts_with(root));
                let message = format!(
                    "its first line names {}, which candidates are not shown with this isolation",
                    shown(&file)
                );
                let hint = format!("put its folder on `PATH`; {BY_NAME}");
                (confined && !seen).then_some((message, hint))
            }
        }
    }
}

/// The name that a script's first line asks for.
pub(in super::super) fn asked_name(script: &Path) -> Option<String> {
    match shebang::read(script)? {
        Asked::Name(name) => Some(name),
        Asked::File(_) => None,
    }
}
