//! What a command is for a shell at a far end: words that nothing interprets, and what of its files is wanted.
//!
//! Promises: pure; every value is one word for any POSIX shell ([`quote`]); what no system would start is
//! refused before it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::quantity::ByteCount;
use crate::sandbox::patterns;
use crate::sandbox::{Collect, Command, CommandEnd, Layout, Stage};

/// The longest single argument or variable of a process on Linux, with its NUL.
const MAX_ARGUMENT: usize = 128 << 10;
/// What all arguments and variables together may have; the system's limit is 2 MiB.
const MAX_ARGUMENTS: usize = 1536 << 10;

/// Where one command leaves its files: `run-<name>` in forge's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) name: String,
    pub(crate) folder: String,
}

impl Place {
    pub(crate) fn new(layout: &Layout, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            folder: format!("{}/run-{name}", layout.forge),
            name,
        }
    }

    /// The path of one of its files.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Its name in a bundle, where everything is below forge's folder.
    pub(crate) fn in_bundle(&self, name: &str) -> String {
        format!("run-{}/{name}", self.name)
    }
}

/// The name of a file of the working directory in a bundle: forge's folder has a link to it.
pub(crate) fn work_in_bundle(path: &str) -> String {
    format!("work/{path}")
}

/// The name of the artifacts' folder in a bundle.
pub(crate) fn artifacts_in_bundle(layout: &Layout) -> &str {
    let below = layout.artifacts.strip_prefix(&layout.forge);
    below.unwrap_or(&layout.artifacts).trim_start_matches('/')
}

/// A text that any POSIX shell reads as exactly this one word. NUL has no such text.
pub(crate) fn quote(text: &str) -> String {
    let mut word = String::with_capacity(text.len() + 2);
    push_quoted(&mut word, text);
    word
}

/// Adds such a text at the end of another.
pub(crate) fn push_quoted(line: &mut String, text: &str) {
    line.push('\'');
    for (at, part) in text.split('\'').enumerate() {
        if at > 0 {
            line.push_str(r"'\''");
        }
        line.push_str(part);
    }
    line.push('\'');
}

/// Why a command cannot be started anywhere, if that is so.
pub(crate) fn refuse(command: &Command) -> Option<CommandEnd> {
    let refuse = |why: &str| Some(CommandEnd::CannotStart(why.to_owned()));
    let words = command.programs.iter().flatten().chain(&command.arguments);
    let variables = command
        .env
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let sizes: Vec<usize> = words
        .clone()
        .map(String::len)
        .chain(
            variables
                .clone()
                .map(|(name, value)| name.len() + 1 + value.len()),
        )
        .collect();
    let mut texts = words
        .map(String::as_str)
        .chain(variables.clone().flat_map(|(a, b)| [a, b]));
    if texts.any(|text| text.contains('\0')) {
        return refuse("an argument or a variable has a NUL in it");
    }
    if variables
        .clone()
        .any(|(name, _)| name.is_empty() || name.contains('='))
    {
        return refuse("a variable has a name that none can have");
    }
    // `env` would take it for a variable.
    if command
        .programs
        .iter()
        .any(|words| words.first().is_none_or(|word| word.contains('=')))
    {
        return refuse("a program has no name, or one with `=` in it");
    }
    if sizes.iter().any(|size| *size >= MAX_ARGUMENT) {
        return refuse("an argument or a variable is longer than 128 KiB");
    }
    if sizes.iter().sum::<usize>() > MAX_ARGUMENTS {
        return refuse("the arguments and variables are longer than 1.5 MiB together");
    }
    None
}

/// A command without a program: only what is there is packed.
pub(crate) fn only_collect(what: &Collect, limit: Duration) -> Command {
    Command {
        programs: Vec::new(),
        arguments: Vec::new(),
        read: Vec::new(),
        env: BTreeMap::new(),
        limit,
        output_limit: ByteCount(0),
        stage: Stage::Run,
        then_collect: Some(what.clone()),
    }
}

/// Rounded up, and at least one.
pub(crate) fn whole_seconds(time: Duration) -> u64 {
    (time.as_secs() + u64::from(time.subsec_nanos() > 0)).max(1)
}

/// The most that the bundle of a command can have: what it holds, and tar's own blocks and padding.
pub(crate) fn bundle_limit(command: &Command) -> u64 {
    let (limit, files) = match &command.then_collect {
        Some(what) => (what.limit.0, lines(what)),
        None => (0, 0),
    };
    let output = command.output_limit.0.saturating_mul(2);
    // 64 KiB of it are for the notes.
    let blocks = files.saturating_add(32).saturating_mul(4096);
    limit.saturating_add(output).saturating_add(blocks)
}

/// How many files the sandbox lists: more than are wanted, because some will turn out to be links, and so
/// that it shows when there are too many.
pub(crate) fn lines(what: &Collect) -> u64 {
    (what.max_files as u64).saturating_mul(2).saturating_add(64)
}

/// The artifact with the folders above it, and how `find` is to look for the other files.
pub(crate) fn collect_words(what: &Collect, place: &Place, layout: &Layout) -> Vec<String> {
    let output = what.output.as_str();
    let parents = output
        .match_indices('/')
        .map(|(at, _)| output[..at].to_owned());
    let parents: Vec<String> = parents.collect();
    let mut words = vec![output.to_owned(), parents.len().to_string()];
    words.extend(parents);
    if !what.files.is_empty() {
        words.extend(find_words(what, place, layout));
    }
    words
}

/// What `find` notes of what it does not list: the kind, and the path.
const NOTE: &str =
    r#"kind=$1; shift; for path; do printf '%s %s\000' "$kind" "$path"; done >>"$0""#;

/// The arguments of a `find` that prints the regular files that may be wanted, a line each, and notes
/// everything else that may be: links, also in the place of a folder that is looked into; folders where
/// a file was named; what is neither; what is too large; and what has no name for a line of its own.
fn find_words(what: &Collect, place: &Place, layout: &Layout) -> Vec<String> {
    let artifacts = format!("./{}", artifacts_in_bundle(layout));
    let notes = place.file("noted");
    let any_of = |globs: &[String]| {
        let path = |glob: &String| format!("{artifacts}/{}", widen(glob));
        // No path is the first one: an alternative of none is none.
        let paths = std::iter::once("/".to_owned()).chain(globs.iter().map(path));
        let tests: Vec<[String; 2]> = paths.map(|path| ["-path".to_owned(), path]).collect();
        let or = ["-o".to_owned()];
        [
            ["(".to_owned()].to_vec(),
            tests.join(&or[..]),
            [")".to_owned()].to_vec(),
        ]
        .concat()
    };
    let over = format!("-{}c", what.limit.0.saturating_add(1));
    let files = any_of(&what.files);
    let links = any_of(&[&what.files[..], &patterns::folders(&what.files)].concat());
    let literal = any_of(&patterns::literal(&what.files));
    // tar has a meaning of its own for a backslash in a list.
    let unnamed: &[&str] = &["(", "-name", "*\n*", "-o", "-name", r"*\\*", ")", "-prune"];
    let mut words = vec![artifacts.clone()];
    for (kind, tests, paths) in [
        ("named", unnamed, &Vec::new()),
        ("link", &["-type", "l"], &links),
        ("folder", &["-type", "d"], &literal),
        ("special", &["!", "-type", "d", "!", "-type", "f"], &files),
        ("large", &["-type", "f", "!", "-size", &over], &files),
    ] {
        words.extend(tests.iter().map(|test| (*test).to_owned()));
        words.extend_from_slice(paths);
        let note = [
            "-exec", "/bin/sh", "-c", NOTE, &notes, kind, "{}", "+", "-o",
        ];
        words.extend(note.map(str::to_owned));
    }
    words.extend(["-type", "f"].map(str::to_owned));
    words.extend(files);
    words.push("-print".to_owned());
    words
}

/// A pattern of `find -path` that matches whatever the glob does, and perhaps more: the exact choice is
/// made at home.
fn widen(glob: &str) -> String {
    let mut wide = String::new();
    let mut chars = glob.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => {
                // `**/` matches nothing as well.
                let mut stars = 1;
                while chars.next_if_eq(&'*').is_some() {
                    stars += 1;
                }
                if stars > 1 {
                    chars.next_if_eq(&'/');
                }
                wide.push('*');
            }
            // Alternatives, classes and escapes: anything from here on.
            '{' | '[' | '\\' => {
                wide.push('*');
                break;
            }
            c => wide.push(c),
        }
    }
    // A trailing `/**` matches what is below; the slash stays.
    wide
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command as Process, Stdio};
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn command(programs: &[&[&str]], arguments: &[&str]) -> Command {
        let words = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Command {
            programs: programs.iter().map(|program| words(program)).collect(),
            arguments: words(arguments),
            read: Vec::new(),
            env: std::collections::BTreeMap::new(),
            limit: Duration::from_secs(20),
            output_limit: ByteCount::kib(64),
            stage: crate::sandbox::Stage::Run,
            then_collect: None,
        }
    }

    /// The text fed to a shell. Gives what it printed, and its exit code.
    fn feed(shell: &str, text: &str) -> (Vec<u8>, Option<i32>) {
        let mut child = Process::new(shell)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        (output.stdout, output.status.code())
    }

    #[test]
    fn what_cannot_be_an_argument_is_refused_before_it_is_sent() {
        let long = "x".repeat(MAX_ARGUMENT);
        for (command, refused) in [
            (command(&[&["true"]], &["fine"]), false),
            (command(&[&["true"]], &["a\0b"]), true),
            (command(&[&["true"]], &[&long]), true),
            (command(&[&["true"]], &[&long[1..]]), false),
            (command(&[&["true"]], &[&long[1..]; 13]), true),
            (command(&[&["a=b"]], &[]), true),
        ] {
            assert_eq!(
                refuse(&command).is_some(),
                refused,
                "{:?}",
                command.programs
            );
        }
    }

    #[test]
    fn a_glob_is_widened_and_never_narrowed() {
        for (glob, wide) in [
            ("*.png", "*.png"),
            ("charts/*.png", "charts/*.png"),
            ("**/*.png", "**.png"),
            ("charts/**", "charts/*"),
            ("{a,b}.png", "*"),
            ("x[!a].png", "x*"),
            ("a?b", "a?b"),
        ] {
            assert_eq!(widen(glob), wide);
        }
    }

    static SHELLS: LazyLock<Vec<&str>> = LazyLock::new(|| {
        let there = |shell: &&str| Process::new(shell).arg("-c").arg(":").status().is_ok();
        ["sh", "bash", "dash", "zsh"]
            .into_iter()
            .filter(there)
            .collect()
    });

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_shell_reads_a_quoted_text_as_that_text(text in r"[^\x00]{0,60}", other in "[ '\"$`\\\\!\n*~{}-]{0,20}") {
            for shell in SHELLS.iter() {
                let line = format!("printf '%s|%s|' {} {}\n", quote(&text), quote(&other));
                let (said, code) = feed(shell, &line);
                prop_assert_eq!(code, Some(0));
                prop_assert_eq!(String::from_utf8(said).unwrap(), format!("{text}|{other}|"));
            }
        }
    }
}
