//! Whether a candidate can read its prompt at all, as far as its files show. They are read, never executed.

use std::io::Read as _;

use super::{Candidate, Dependencies};
use crate::tree::open_regular;

/// How much of a candidate's files is read, in bytes; of more, nothing is said.
const MAX_READ: u64 = 1024 * 1024;

/// What there is in a script that reads an argument, a variable or a file of the prompt, or that leaves that to other
/// code. In lower case: the more of it, the less is said in error.
const READS: [&str; 29] = [
    "argv",
    "args",
    "arg[",
    "arg)",
    "argument",
    "argparse",
    "optparse",
    "getopt",
    "click",
    "typer",
    "docopt",
    "params",
    "$1",
    "${1",
    "$@",
    "${@",
    "$*",
    "${*",
    "@_",
    "shift",
    "prompt",
    "env",
    "exec",
    "eval",
    "subprocess",
    "popen",
    "system",
    "source ",
    "import(",
];

/// Whether nothing in a candidate's files reads the prompt. `false` where they are not all of it, or no text.
#[must_use]
pub fn never_reads_the_prompt(candidate: &Candidate) -> bool {
    let whole = candidate.setup.is_empty()
        && candidate.dependencies == Dependencies::None
        && candidate.imports.is_empty()
        && starts_own_script(candidate);
    let mut left = MAX_READ;
    whole
        && candidate.files.iter().all(|file| {
            let mut text = Vec::new();
            let opened = open_regular(&file.from);
            let read = opened.and_then(|(file, _)| file.take(left + 1).read_to_end(&mut text));
            let Ok(bytes) = read else { return false };
            let Some(rest) = left.checked_sub(bytes as u64) else {
                return false;
            };
            left = rest;
            String::from_utf8(text).is_ok_and(|text| {
                let text = text.to_lowercase();
                !text.contains('\0') && !READS.iter().any(|word| text.contains(word))
            })
        })
}

/// Whether what is started is one of its files, by an interpreter or by its own first line.
fn starts_own_script(candidate: &Candidate) -> bool {
    let is_own = |word: &str| {
        let word = word.strip_prefix("./").unwrap_or(word);
        candidate.files.iter().any(|it| it.path.as_str() == word)
    };
    let start = &candidate.start;
    match start.entry.as_slice() {
        [] => start
            .programs
            .iter()
            .all(|words| matches!(words.as_slice(), [program] if is_own(program))),
        [script] => is_own(script),
        [..] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn never(files: &[(&str, &str)]) -> bool {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let loaded = super::super::load::load_dir(dir.path(), &[]).unwrap();
        never_reads_the_prompt(&loaded[0])
    }

    #[test]
    fn only_what_is_plain_to_see_is_said() {
        for (files, expected) in [
            (&[("a.sh", "echo hello >out\n")][..], true),
            (&[("a.py", "print('hello')\n")], true),
            (&[("a.sh", "echo \"$1\" >\"$2\"\n")], false),
            (&[("a.sh", "cat \"$FORGE_PROMPT_FILE\"\n")], false),
            (&[("a.py", "import sys\nprint(sys.argv[1])\n")], false),
            (&[("a.py", "import openai\n")], false),
            (&[("a.py", "import os\nos.system('./other')\n")], false),
            (
                &[
                    ("a/main.py", "import own\n"),
                    ("a/own.py", "from sys import argv\n"),
                ],
                false,
            ),
            (
                &[("a/main.py", "import own\n"), ("a/own.py", "x = 1\n")],
                true,
            ),
            (
                &[
                    ("a.pl", "print 1;\n"),
                    ("a.yaml", "run: [perl, -w, a.pl]\n"),
                ],
                false,
            ),
            (
                &[("a.js", "console.log(1)\n"), ("a.yaml", "setup: [make]\n")],
                false,
            ),
        ] {
            assert_eq!(never(files), expected, "{files:?}");
        }
    }
}
