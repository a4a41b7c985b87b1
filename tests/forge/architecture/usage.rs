//! The README and `--help` say the same: what is written exists, and what exists is written.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use regex::Regex;

use super::{SOURCES, assert_none, is_below, read};

/// What `--help` tells, by the words after `forge`: nothing, or a subcommand.
struct Help(BTreeMap<String, String>);

impl Help {
    /// Asks the program, and then its subcommands.
    fn ask() -> Self {
        let main = ask(&["--help"]);
        let names = subcommands(&main);
        let mut all: BTreeMap<String, String> = names
            .into_iter()
            .map(|name| {
                let help = ask(&[&name, "--help"]);
                // What is below it has options of its own.
                let below = subcommands(&help).into_iter();
                let below = below.map(|it| ask(&[&name, &it, "--help"]));
                let help = below.fold(help.clone(), |all, more| all + &more);
                (name, help)
            })
            .collect();
        all.insert(String::new(), main);
        Self(all)
    }

    /// Every option and variable that any of them shows.
    fn words(&self, pattern: &str) -> BTreeSet<String> {
        self.0.values().flat_map(|it| words(it, pattern)).collect()
    }
}

fn ask(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forge"));
    // Otherwise the help would show this environment's values.
    command.env_clear().stdin(Stdio::null());
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "forge {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names below `Commands:`.
fn subcommands(help: &str) -> Vec<String> {
    let lines = help.lines().skip_while(|it| *it != "Commands:").skip(1);
    let lines = lines.take_while(|it| !it.is_empty());
    // Deeper lines go on with what was said of a command.
    let names = lines.filter_map(|it| it.strip_prefix("  ")?.split(' ').next());
    names
        .filter(|name| !name.is_empty() && *name != "help")
        .map(str::to_owned)
        .collect()
}

const LONG: &str = r"(?:^|[\s\[,(`|])(--[a-z][a-z-]*)";
const SHORT: &str = r"(?:^|[\s\[,(`|])(-[a-zA-Z])\b";
const VARIABLE: &str = r"\b(FORGE_[A-Z_]*[A-Z])\b";

fn words(text: &str, pattern: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).unwrap();
    let found = pattern.captures_iter(text);
    found.map(|it| it[1].to_owned()).collect()
}

/// What a README says about forge: code that begins with `forge` or an option, inline and in blocks.
struct Said {
    /// Lines of blocks; what follows `forge` may be an objective.
    lines: Vec<String>,
    /// Inline; what follows `forge` is a subcommand.
    inline: Vec<String>,
}

impl Said {
    fn read(readme: &str) -> Self {
        let span = Regex::new("`([^`\n]+)`").unwrap();
        let (mut lines, mut inline) = (Vec::new(), Vec::new());
        let mut in_block = false;
        for line in readme.lines() {
            if line.trim_start().starts_with("```") {
                in_block = !in_block;
            } else if in_block {
                // Without what it says about itself.
                let line = line.split(" #").next().unwrap_or_default().trim();
                if line.starts_with("forge ") {
                    lines.push(line.to_owned());
                }
            } else {
                let spans = span.captures_iter(line).map(|it| it[1].to_owned());
                inline.extend(spans.filter(|it| it.starts_with('-') || it.starts_with("forge ")));
            }
        }
        Self { lines, inline }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.lines.iter().chain(&self.inline)
    }
}

/// Options and subcommands that a README has and the program does not.
fn unknown(said: &Said, help: &Help) -> Vec<String> {
    let mut breaches = Vec::new();
    for pattern in [LONG, SHORT] {
        let known = help.words(pattern);
        for text in said.all() {
            let unknown = words(text, pattern)
                .into_iter()
                .filter(|it| !known.contains(it));
            breaches.extend(unknown.map(|it| format!("README.md: `{text}`: there is no `{it}`")));
        }
    }
    for text in &said.inline {
        let name = text.strip_prefix("forge ").unwrap_or_default();
        let name = name.split(' ').next().unwrap_or_default();
        if name.starts_with(char::is_alphabetic) && !help.0.contains_key(name) {
            breaches.push(format!("README.md: `{text}`: there is no `forge {name}`"));
        }
    }
    breaches
}

/// Options and variables of a file of the command line that neither the help nor the README names.
fn hidden(path: &str, text: &str, help: &Help, readme: &str) -> Vec<String> {
    let mut declared = words(text, r#"\benv\s*=\s*"([A-Z_]+)""#);
    let long = words(text, r#"\blong\s*=\s*"([a-z-]+)""#);
    declared.extend(long.into_iter().map(|it| format!("--{it}")));
    let hidden = declared.into_iter().filter(|it| {
        let whole = Regex::new(&format!(r"(?:^|[^\w-]){it}(?:$|[^\w-])")).unwrap();
        !whole.is_match(readme) && !help.0.values().any(|help| whole.is_match(help))
    });
    hidden
        .map(|it| format!("{path}: `{it}` is neither in the README nor in the help"))
        .collect()
}

#[test]
fn every_option_and_subcommand_in_the_readme_exists() {
    let said = Said::read(&read("README.md"));
    assert!(
        said.lines.len() > 5 && said.inline.len() > 5,
        "nothing was read"
    );
    assert_none(&unknown(&said, &Help::ask()));
}

#[test]
fn every_option_and_variable_of_the_command_line_is_told() {
    let (help, readme) = (Help::ask(), read("README.md"));
    assert!(help.0.len() > 3, "no subcommands were found");
    assert!(help.words(LONG).len() > 20, "no options were found");
    let cli = SOURCES.iter().filter(|it| is_below(&it.module, "cli"));
    let breaches: Vec<String> = cli
        .flat_map(|it| hidden(&it.path, &it.text, &help, &readme))
        .collect();
    assert_none(&breaches);
}

#[test]
fn every_variable_of_forge_is_told_and_every_told_one_exists() {
    let readme = read("README.md");
    let mut told = words(&readme, VARIABLE);
    told.extend(Help::ask().words(VARIABLE));
    // Literals only: a comment reads nothing.
    let literal = r#""(FORGE_[A-Z_]*[A-Z])""#;
    let read: BTreeSet<String> = SOURCES
        .iter()
        .flat_map(|it| words(&it.text, literal))
        .collect();
    assert_eq!(told, read, "told, and read");
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "\
Which one?

Usage: forge [OPTIONS] [OBJECTIVE]...
       forge <COMMAND>

Commands:
  run     Run
          more of it
  sweep   Delete [aliases: clean]
  help    Print this

Options:
  -q, --quiet        Only the result
      --repeat <N>   Trials [env: FORGE_REPEAT=]
";

    fn help() -> Help {
        let pages = [
            ("", MAIN),
            ("sweep", "      --older-than <AGE>  Only those"),
        ];
        Help(
            pages
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into(),
        )
    }

    #[test]
    fn subcommands_are_found() {
        assert_eq!(subcommands(MAIN), ["run", "sweep"]);
    }

    #[test]
    fn what_does_not_exist_is_found() {
        let check = |readme: &str, expected: &[&str]| {
            let found = unknown(&Said::read(readme), &help());
            let found: Vec<&str> = found
                .iter()
                .map(|it| it.rsplit(' ').next().unwrap())
                .collect();
            assert_eq!(found, expected, "{readme}");
        };
        check(
            "Say `--quiet`, `-q`, `--repeat N` or `forge sweep --older-than 1h`.",
            &[],
        );
        check("Say `--loud`, `-l`.", &["`--loud`", "`-l`"]);
        check("Say `forge doctor`.", &["doctor`"]);
        check("Say `forge sweep --all`.", &["`--all`"]);
        check(
            "```sh\nforge weekly -q -k 5   # not --that\ncargo x --y\n```",
            &["`-k`"],
        );
        check("`cargo test --locked` and `a--b`", &[]);
    }

    #[test]
    fn what_is_not_told_is_found() {
        let check = |text: &str, readme: &str, expected: usize| {
            let found = hidden("src/cli.rs", text, &help(), readme);
            assert_eq!(found.len(), expected, "{text}: {found:?}");
        };
        check("#[arg(long, env = \"FORGE_REPEAT\")]", "", 0);
        check("#[arg(long, env = \"FORGE_SECRET\", hide = true)]", "", 1);
        check(
            "#[arg(long, env = \"FORGE_SECRET\", hide = true)]",
            "set FORGE_SECRET",
            0,
        );
        check("#[arg(long = \"quiet\")]", "", 0);
        check("#[arg(long = \"qui\")]", "", 1);
    }
}
