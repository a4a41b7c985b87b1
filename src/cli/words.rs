//! Words that are nearly a subcommand. Taken for a prompt, one would run every candidate, and cost money in
//! the cloud.

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;
use forge::problem::Problem;
use forge::suggest;

/// The most words of a text that may be a slip; longer ones are prompts.
const FEW: usize = 2;

/// The subcommand that was probably meant.
fn near(word: &str) -> Option<String> {
    let program = <super::Cli as clap::CommandFactory>::command();
    let known = program.get_subcommands().map(clap::Command::get_name);
    suggest::nearest(word, known.chain(["help"])).map(str::to_owned)
}

/// Why a text that was typed where a subcommand may be is no prompt: it is one or two words, and the first is
/// nearly a subcommand, or is one. The names of objectives and files stay what they are.
pub(super) fn misspelt(text: &str, objectives: &Path) -> Option<Problem> {
    let is_objective = |end| objectives.join(format!("{text}.{end}")).exists();
    if is_objective("yaml") || is_objective("yml") || Path::new(text).exists() {
        return None;
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    let first = words.first().filter(|_| words.len() <= FEW)?;
    let near = near(first)?;
    let message = if near == **first {
        format!("`{}` may be meant as a subcommand", shown(text))
    } else {
        format!("there is no subcommand or objective `{}`", shown(text))
    };
    let mut meant = vec![&*near];
    meant.extend(&words[1..]);
    let meant = shown(&meant.join(" "));
    let hint = format!(
        "did you mean `forge {meant}`? as a prompt it is `forge -o {}`",
        quoted(text)
    );
    Some(Problem::setting("OBJECTIVE", message).with_hint(hint))
}

/// The same for a command line whose options fit no objective, because they are the subcommand's.
pub(super) fn misspelt_before(error: &clap::Error, typed: Option<&OsString>) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let first = typed?.to_str().filter(|it| !it.starts_with('-'))?;
    let near = near(first).filter(|near| near != first)?;
    Some(format!(
        "hint: there is no subcommand `{}`: did you mean `forge {near}`?",
        shown(first)
    ))
}

fn shown(text: &str) -> String {
    forge::plain::short(text, 60)
}

/// A text as a shell takes it, as far as it can be shown in short.
fn quoted(text: &str) -> String {
    let shown = shown(text);
    if shown.contains(['"', '$', '`', '\\', '!']) {
        format!("'{shown}'")
    } else {
        format!("\"{shown}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_two_words_near_a_subcommand_are_no_prompt() {
        let here = Path::new("nowhere");
        for (text, meant) in [
            ("chekc", Some("check")),
            ("reprot latest", Some("report latest")),
            ("sweeep", Some("sweep")),
            ("list-", Some("list")),
            ("Doctor", Some("doctor")),
            (" docter ", Some("doctor")),
            ("hlep", Some("help")),
            ("list files", Some("list files")),
            ("list all files", None),
            ("Say hello", None),
            ("haiku", None),
            ("", None),
        ] {
            let hint = misspelt(text, here).and_then(|it| it.hint);
            let expected = meant.map(|meant| format!("did you mean `forge {meant}`?"));
            match (hint, expected) {
                (Some(hint), Some(expected)) => {
                    assert!(hint.starts_with(&expected), "{text}: {hint}");
                    assert!(hint.contains("`forge -o \""), "{hint}");
                }
                (hint, expected) => assert_eq!(hint, expected, "{text}"),
            }
        }
    }
}
