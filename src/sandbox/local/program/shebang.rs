//! The first line of a script: which program it asks for.

use std::io::Read as _;
use std::path::{Path, PathBuf};

/// The longest first line that the kernel reads.
const LONGEST: u64 = 256;
/// Whether all that follows the program is one argument.
const ONE_ARGUMENT: bool = cfg!(target_os = "linux");

/// The program that a script asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// This name on the `PATH`.
    Name(String),
    /// This file; where its path is relative, from the working directory on.
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
    let line = start.strip_prefix("#!")?.lines().next()?.trim();
    let (program, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let program = Path::new(program);
    if program.file_name()? != "env" || !program.is_absolute() {
        return Some(Asked::File(program.to_owned()));
    }
    let rest = rest.trim();
    let of_one = |c: char| !c.is_ascii_whitespace() && c != '=';
    if ONE_ARGUMENT && !rest.starts_with('-') && rest.starts_with(of_one) && !rest.contains('=') {
        return Some(named(rest));
    }
    let mut words = rest.split_ascii_whitespace();
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
        return Some(named(word));
    }
    None
}

/// What `env` is asked for.
fn named(word: &str) -> Asked {
    if word.contains('/') {
        Asked::File(word.into())
    } else {
        Asked::Name(word.to_owned())
    }
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
            ("#!python\n", file("python")),
            ("#!../env x\n", file("../env")),
            ("#!/usr/bin/env ../x\n", file("../x")),
            ("#!/usr/bin/env\n", None),
            ("#!\n", None),
            ("\u{7f}ELF", None),
            ("", None),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn options_without_a_split_are_part_of_the_name() {
        for (line, expected) in [
            (
                "#!/usr/bin/env python3 -u\n",
                Asked::Name("python3 -u".to_owned()),
            ),
            (
                "#!/usr/bin/env /a/python -u\n",
                Asked::File("/a/python -u".into()),
            ),
        ] {
            assert_eq!(parse(line), Some(expected), "{line}");
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
