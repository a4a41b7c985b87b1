//! What the files of a Python candidate import: read line by line, never executed.
//!
//! Absent on purpose: telling whether an import is ever reached, and imports by a name that is made at run
//! time. What is told is what is written.

use std::collections::BTreeSet;
use std::io::Read as _;

use super::dependencies::extension;
use crate::tree::{TreeFile, open_regular};

/// How much of a file is read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// How many files are read.
const MAX_FILES: usize = 500;

/// The modules that come with Python 3.10 to 3.14, on one system or another.
const STANDARD: &str = "\
    abc aifc antigravity argparse array ast asynchat asyncio asyncore atexit audioop base64 bdb
    binascii binhex bisect builtins bz2 cProfile calendar cgi cgitb chunk cmath cmd code codecs
    codeop collections colorsys compileall concurrent configparser contextlib contextvars copy
    copyreg crypt csv ctypes curses dataclasses datetime dbm decimal difflib dis distutils
    doctest email encodings ensurepip enum errno faulthandler fcntl filecmp fileinput fnmatch
    fractions ftplib functools gc genericpath getopt getpass gettext glob graphlib grp gzip
    hashlib heapq hmac html http idlelib imaplib imghdr imp importlib inspect io ipaddress
    itertools json keyword lib2to3 linecache locale logging lzma mailbox mailcap marshal math
    mimetypes mmap modulefinder msilib msvcrt multiprocessing netrc nis nntplib nt ntpath
    nturl2path numbers opcode operator optparse os ossaudiodev pathlib pdb pickle pickletools
    pipes pkgutil platform plistlib poplib posix posixpath pprint profile pstats pty pwd
    py_compile pyclbr pydoc pydoc_data pyexpat queue quopri random re readline reprlib resource
    rlcompleter runpy sched secrets select selectors shelve shlex shutil signal site smtpd
    smtplib sndhdr socket socketserver spwd sqlite3 sre_compile sre_constants sre_parse ssl stat
    statistics string stringprep struct subprocess sunau symtable sys sysconfig syslog tabnanny
    tarfile telnetlib tempfile termios textwrap this threading time timeit tkinter token tokenize
    tomllib trace traceback tracemalloc tty turtle turtledemo types typing unicodedata unittest
    urllib uu uuid venv warnings wave weakref webbrowser winreg winsound wsgiref xdrlib xml
    xmlrpc zipapp zipfile zipimport zlib zoneinfo annotationlib compression";

/// The modules that a candidate's files import and that neither Python nor the candidate brings.
pub(super) fn undeclared(entry: Option<&TreeFile>, own: &[TreeFile]) -> BTreeSet<String> {
    let is_python = |file: &&TreeFile| {
        extension(&file.path) == "py" || entry.is_some_and(|entry| entry.path == file.path)
    };
    let mut imported = BTreeSet::new();
    for file in own.iter().filter(is_python).take(MAX_FILES) {
        let mut text = Vec::new();
        let read = open_regular(&file.from)
            .and_then(|(file, _)| file.take(MAX_FILE).read_to_end(&mut text));
        if read.is_ok() {
            imported.extend(imports(&String::from_utf8_lossy(&text)));
        }
    }
    let brought = |module: &String| {
        let of_file = |file: &TreeFile| {
            let mut parts = file.path.as_str().split('/');
            parts.any(|part| part.split('.').next() == Some(module))
        };
        own.iter().any(of_file)
    };
    imported.retain(|module| {
        !module.starts_with('_')
            && !STANDARD.split_whitespace().any(|known| known == module)
            && !brought(module)
    });
    imported
}

/// The first parts of the modules that a text imports.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut quote: Option<&str> = None;
    for line in text.lines() {
        let outside = quote.is_none();
        for sign in triple_quotes(line) {
            quote = match quote {
                None => Some(sign),
                Some(open) if open == sign => None,
                open @ Some(_) => open,
            };
        }
        if outside {
            for statement in line.split(';') {
                found.extend(imported(statement));
            }
        }
    }
    found
}

/// The triple quotes of a line, in order.
fn triple_quotes(line: &str) -> impl Iterator<Item = &str> {
    let code = if line.trim_start().starts_with('#') {
        ""
    } else {
        line
    };
    let mut rest = code;
    std::iter::from_fn(move || {
        let at = ["\"\"\"", "'''"]
            .iter()
            .filter_map(|sign| rest.find(sign))
            .min()?;
        let (sign, after) = rest[at..].split_at(3);
        rest = after;
        Some(sign)
    })
}

fn imported(statement: &str) -> Vec<String> {
    let statement = statement.trim();
    let statement = statement.split('#').next().unwrap_or_default();
    let first = |path: &str| {
        let name = path.trim().split(['.', ' ', '\t']).next()?;
        let is_name = !name.is_empty()
            && name.len() <= 100
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_name.then(|| name.to_owned())
    };
    if let Some(modules) = statement.strip_prefix("import ") {
        return modules.split(',').filter_map(first).collect();
    }
    match statement.strip_prefix("from ") {
        Some(rest) if rest.contains(" import") => first(rest).into_iter().collect(),
        Some(_) | None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found: Vec<String> = imports(text).into_iter().collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn imports_are_what_is_written_as_such() {
        check("import sys, requests.auth as a\n", &["requests", "sys"]);
        check(
            "from a.b import (c,\n d)\nfrom .own import x\nfrom . import y\n",
            &["a"],
        );
        check(
            "try:\n    import fast # or not\nexcept ImportError: pass\n",
            &["fast"],
        );
        check("import sys; import rich\n", &["rich", "sys"]);
        check(
            "# import no\nx = 'import no'\nimportant = 1\nfrom nowhere to\n",
            &[],
        );
        check("\"\"\"\nimport no\n\"\"\"\nimport yes\n", &["yes"]);
        check("x = '''import no\nimport no\n'''\nimport yes\n", &["yes"]);
        check("\"\"\"one line\"\"\"\nimport yes\n", &["yes"]);
    }
}
