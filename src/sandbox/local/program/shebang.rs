//! The first line of a script: which program it asks for.

use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest first line that the kernel reads.
const LONGEST: u64 = 256;

/// The program that a script asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// This name on the `PATH`.
    Name(String),
    /// This file.
    File(PathBuf),
}

/// Reads the first line of a file. `None` when it is no script.
pub(super) fn read(file: &Path) -> Option<Asked> {
    // Not what could block: a named pipe.
    let (file, _) = crate::tree::open_regular(file).ok()?;
    let mut start = Vec::new();
    file.take(LONGEST).read_to_end(&mut start).ok()?;
    parse(&String::from_utf8_lossy(&start))
}

fn parse(start: &str) -> Option<Asked> {
    let line = start.strip_prefix("#!")?.lines().next()?;
    let mut words = line.split_ascii_whitespace();
    let program = Path::new(words.next()?);
    if program.file_name()? != "env" {
        return program
            .is_absolute()
            .then(|| Asked::File(program.to_owned()));
    }
    while let Some(word) = words.next() {
        let word = match word {
            // Followed by what they are about.
            "-u" | "-C" | "--unset" | "--chdir" => {
                words.next();
                continue;
            }
            _ => word
                .strip_prefix("--split-string=")
                .or_else(|| word.strip_prefix("-S"))
                .unwrap_or(word),
        };
        if word.is_empty() || word.starts_with('-') || word.contains('=') {
            continue;
        }
        return Some(if word.starts_with('/') {
            Asked::File(word.into())
        } else {
            Asked::Name(word.to_owned())
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_names_a_program() {
        let name = |name: &str| Some(Asked::Name(name.to_owned()));
        let file = |file: &str| Some(Asked::File(file.into()));
        for (line, expected) in [
            ("#!/usr/bin/env python3\nx", name("python3")),
            ("#! /usr/bin/env  node\r\n", name("node")),
            ("#!/usr/bin/env -S python3 -u\n", name("python3")),
            ("#!/usr/bin/env -S -i -u HOME A=b node --x\n", name("node")),
            ("#!/usr/bin/env -Snode --x", name("node")),
            ("#!/usr/bin/env --split-string=node --x", name("node")),
            ("#!/usr/bin/env /a/python\n", file("/a/python")),
            (
                "#!/home/me/venv/bin/python -u\n",
                file("/home/me/venv/bin/python"),
            ),
            ("#!python\n", None),
            ("#!/usr/bin/env\n", None),
            ("#!\n", None),
            ("\u{7f}ELF", None),
            ("", None),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::RWXU;
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        assert_eq!(read(&pipe), None);
    }
}
