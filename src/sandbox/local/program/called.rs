//! Which interpreters the programs of a run may call, as far as their texts say.
//!
//! Promises: nothing is executed; what cannot be read, is too long, or leads to a program that is no part of the
//! system may call every interpreter, and so may a run of which nothing was told. Deliberately absent: names that
//! a program puts together while it runs. It finds what `PATH` leads to, and only what an interpreter would have
//! had to be asked for is not known of it.

use std::collections::{BTreeSet, HashSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::{is_script, is_system, search};
use crate::candidate::{Candidate, Dependencies};
use crate::objective::Objective;
use crate::score::quality::Quality;

/// What the names of interpreters begin with that may have to be asked where they are.
const INTERPRETERS: [&str; 3] = ["python", "node", "ruby"];
/// Programs without a text that call one of them.
const CALLERS: [(&str, &str); 2] = [("uv", "python"), ("uvx", "python")];
/// Programs that bring others, which may call anything.
const BRINGERS: [&str; 10] = [
    "curl", "wget", "git", "tar", "unzip", "npm", "npx", "pnpm", "yarn", "make",
];
/// What programs of the system's own kind begin with.
const ELF: &[u8] = b"\x7fELF";
/// How much is read, of all files together, in bytes.
const MOST: u64 = 128 * 1024;

/// What a run may start, and what that reads.
#[derive(Debug, Default)]
pub(in super::super) struct Told {
    files: BTreeSet<PathBuf>,
    lines: Vec<String>,
    called: OnceLock<BTreeSet<&'static str>>,
}

impl Told {
    /// By all that a run starts: candidates, and the graders of objectives.
    pub(in super::super) fn of<'a>(
        candidates: impl IntoIterator<Item = &'a Candidate>,
        objectives: impl IntoIterator<Item = &'a Objective>,
    ) -> Self {
        let mut told = Self::default();
        for candidate in candidates {
            told.files
                .extend(candidate.files.iter().map(|it| it.from.clone()));
            let started = candidate.start.programs.iter().flatten();
            let values = candidate.env.values();
            told.lines.extend(
                started
                    .chain(&candidate.start.entry)
                    .chain(&candidate.setup)
                    .chain(values)
                    .cloned(),
            );
            let installer = match candidate.dependencies {
                Dependencies::None => continue,
                Dependencies::PythonFile(_) | Dependencies::PythonInline { .. } => "python",
                Dependencies::Node { .. } => "node",
            };
            told.lines.push(installer.to_owned());
        }
        for objective in objectives {
            told.lines.push(objective.prompt.to_string());
            told.files
                .extend(objective.inputs.iter().map(|it| it.from.clone()));
            for weighted in &objective.scoring.quality {
                if let Quality::Command(grader) = &weighted.scorer {
                    told.lines.extend(grader.argv.iter().cloned());
                    told.files
                        .extend(grader.files.iter().map(|(_, from)| from.clone()));
                }
            }
        }
        told
    }

    /// Whether an interpreter with this name may be called, where `path` is the `PATH`.
    pub(super) fn may_call(&self, name: &str, path: &str) -> bool {
        let called = self.called.get_or_init(|| {
            let called = self.read(path);
            called.unwrap_or_else(|| INTERPRETERS.into())
        });
        called.iter().any(|stem| name.starts_with(stem))
    }

    /// All of them that may be called. `None` where that cannot be told.
    fn read(&self, path: &str) -> Option<BTreeSet<&'static str>> {
        let mut texts: Vec<Vec<u8>> = self.lines.iter().map(|it| it.clone().into()).collect();
        let mut left = MOST;
        for file in &self.files {
            let text = head(file, left + 1)?;
            left = left.checked_sub(text.len() as u64)?;
            texts.push(text);
        }
        let mut called = BTreeSet::new();
        let mut words = HashSet::new();
        let of_words = |byte: &u8| !(byte.is_ascii_alphanumeric() || b"._+-".contains(byte));
        for text in &texts {
            // What is packed says nothing of what is in it; a program has the names that it calls.
            if text.contains(&0) && !text.starts_with(ELF) {
                return None;
            }
            called.extend(mentioned(text));
            words.extend(text.split(of_words).filter(|word| !word.is_empty()));
        }
        for word in words {
            let Ok(word) = std::str::from_utf8(word) else {
                continue;
            };
            // The last of a sentence.
            let word = word.trim_end_matches('.');
            if called.len() == INTERPRETERS.len() {
                break;
            }
            if let Some(file) = search(path, word) {
                called.extend(of_program(word, &file)?);
            }
        }
        Some(called)
    }
}

/// The interpreters that a text has the names of, in whatever letters.
fn mentioned(text: &[u8]) -> Vec<&'static str> {
    let text = text.to_ascii_lowercase();
    let has = |name: &&str| text.windows(name.len()).any(|it| it == name.as_bytes());
    INTERPRETERS.into_iter().filter(has).collect()
}

/// Those that a program on the `PATH` may call. `None` where that cannot be told.
fn of_program(name: &str, file: &Path) -> Option<Vec<&'static str>> {
    if BRINGERS.contains(&name) {
        return None;
    }
    if let Some((_, interpreter)) = CALLERS.iter().find(|(caller, _)| *caller == name) {
        return Some(vec![interpreter]);
    }
    let real = std::fs::canonicalize(file).ok()?;
    if !is_system(file) || !is_system(&real) {
        return None;
    }
    if is_script(&real) {
        return head(&real, MOST).map(|text| mentioned(&text));
    }
    Some(Vec::new())
}

/// The first so many bytes of a file.
fn head(file: &Path, most: u64) -> Option<Vec<u8>> {
    let (file, _) = crate::tree::open_regular(file).ok()?;
    let mut text = Vec::new();
    file.take(most).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::super::tests::executable;
    use super::*;

    fn called(folder: &Path, texts: &[&[u8]], line: &str) -> Vec<&'static str> {
        let path = format!("{}:/usr/bin:/bin", folder.join("bin").display());
        let mut told = Told::default();
        for (index, text) in texts.iter().enumerate() {
            let file = folder.join(index.to_string());
            std::fs::write(&file, text).unwrap();
            told.files.insert(file);
        }
        told.lines.push(line.to_owned());
        let all = INTERPRETERS.into_iter();
        all.filter(|name| told.may_call(name, &path)).collect()
    }

    #[test]
    fn who_names_no_interpreter_calls_none() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tool", "uv"] {
            executable(&folder.path().join("bin").join(name), "#!/bin/sh\n");
        }
        let check = |text: &[u8], line: &str, expected: &[&str]| {
            let found = called(folder.path(), &[b"#!/bin/sh\n", text], line);
            assert_eq!(found, expected, "{line} {}", String::from_utf8_lossy(text));
        };
        check(b"cat <<END | sort > \"$2\"\nit works.\nEND", "sh a.sh", &[]);
        check(b"x=$(python3 -c 1)", "", &["python"]);
        check(b"exec \"$PYTHON\"", "", &["python"]);
        check(b"", "sh -c 'cd x && node x.js'", &["node"]);
        check(b"\x7fELF\x00\xff/usr/bin/ruby\x00", "", &["ruby"]);
        check(b"uv run x", "", &["python"]);
        check(b"\x1f\x8b\x08\x00packed", "", &INTERPRETERS);
        check(b"tar xzf x.tgz", "", &INTERPRETERS);
        // What a program that is no part of the system does, nobody knows.
        check(b"Then tool.\n", "", &INTERPRETERS);
        let long = vec![b'x'; usize::try_from(MOST).unwrap() + 1];
        check(&long, "", &INTERPRETERS);
    }

    #[test]
    fn what_cannot_be_read_may_call_all() {
        let told = Told {
            files: ["/nowhere/x".into()].into(),
            ..Told::default()
        };
        assert!(told.may_call("python3", "/usr/bin"));
        assert!(!told.may_call("perl", "/usr/bin"));
    }
}
