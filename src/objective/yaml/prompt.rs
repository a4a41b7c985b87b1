//! `prompt` of an objective: the text itself, or `file://` and the file that has it.

use std::path::Path;

use super::sources::{FILE, Sources};
use crate::name::RelativePath;
use crate::objective::check_prompt;
use crate::yaml::decode::Value;
use crate::yaml::place_of_byte;

pub(super) const HINT: &str = "say what is to be done, for example `prompt: Write a post about the week`; `prompt: file://prompt.txt` reads a file";
const FILE_HINT: &str =
    "a text file beside the objective, for example `prompt: file://prompts/weekly.md`";
/// What other tools would run for the prompt, and forge does not.
const PROGRAMS: [&str; 7] = ["py", "js", "mjs", "cjs", "ts", "mts", "sh"];
/// Files of nothing but text.
const TEXTS: [&str; 4] = ["txt", "md", "markdown", "prompt"];

pub(super) fn prompt(value: &Value<'_>, sources: &mut Sources<'_>) -> Option<String> {
    let text = value.text(HINT)?;
    if let Some(named) = text.trim().strip_prefix(FILE)
        && !named.contains(['\n', '\r'])
    {
        return from_file(value, named, sources);
    }
    if let Some(named) = path_alone(text.trim(), sources) {
        return value.problem(
            format!("`{}` is the name of a file, not what is to be done", text.trim()),
            format!("to have the file read: `prompt: file://{named}`; a prompt of one word that looks like this needs a second one"),
        );
    }
    match check_prompt(text) {
        Ok(()) => Some(text.to_owned()),
        Err(why) => value.problem(why, HINT),
    }
}

/// A prompt that is a path and nothing else: one that is there, or that nobody means anything else by.
fn path_alone<'t>(text: &'t str, sources: &Sources<'_>) -> Option<&'t str> {
    if text.is_empty() || text.contains(char::is_whitespace) {
        return None;
    }
    let named = text.strip_prefix('@').unwrap_or(text);
    let path = RelativePath::parse(named);
    let is_there = path.is_ok_and(|path| sources.has_file(&path));
    let is_text = Path::new(named)
        .extension()
        .is_some_and(|it| TEXTS.iter().any(|known| it.eq_ignore_ascii_case(known)));
    let starts = named.starts_with("./") || named.starts_with("../");
    (is_there || is_text || starts).then_some(named)
}

fn from_file(value: &Value<'_>, named: &str, sources: &mut Sources<'_>) -> Option<String> {
    let is_program = Path::new(named)
        .extension()
        .is_some_and(|it| PROGRAMS.iter().any(|known| it.eq_ignore_ascii_case(known)));
    if is_program {
        let message = format!("`{named}` is a program, and forge runs none for a prompt");
        return value.problem(message, "write what it prints into a text file");
    }
    let text = sources.read(value, FILE_HINT)?;
    // A mark at the beginning is the editor's, not the prompt's.
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    match check_prompt(text) {
        Ok(()) => Some(text.to_owned()),
        Err(why) => {
            let place = text.find('\0').map_or_else(String::new, |at| {
                let (line, column) = place_of_byte(text.as_bytes(), at);
                format!(":{line}:{column}")
            });
            value.problem(format!("`{named}`{place}: {why}"), FILE_HINT)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::objective::load::load_file;

    /// What becomes of an objective, with its folder called `DIR`.
    fn told(objective: &str) -> Result<String, String> {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        fs::create_dir_all(dir.path().join("prompts")).unwrap();
        for (path, bytes) in [
            ("prompt.txt", "Write a haiku.\n".as_bytes()),
            ("prompts/weekly.md", b"weekly\r\n"),
            ("haiku", b"as a file"),
            ("mark.txt", "\u{feff}marked ä".as_bytes()),
            ("latin.txt", b"a\ncaf\xe9"),
            ("nul.txt", b"a\nb\0c"),
            ("blank.txt", b" \n"),
            ("prompt.py", b"print(1)"),
            ("answer.md", b"42"),
        ] {
            fs::write(dir.path().join(path), bytes).unwrap();
        }
        fs::write(dir.path().join("long.txt"), "x".repeat(98_305)).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("out.txt")).unwrap();
        std::os::unix::fs::symlink("prompt.txt", dir.path().join("link.txt")).unwrap();
        let file = dir.path().join("o.yaml");
        fs::write(&file, objective).unwrap();
        match load_file(&file) {
            Ok(objective) => Ok(objective.prompt.to_string()),
            Err(problems) => Err(problems
                .to_string()
                .replace(&dir.path().display().to_string(), "DIR")),
        }
    }

    #[test]
    fn a_file_is_read_where_one_is_named() {
        for (objective, expected) in [
            ("prompt: file://prompt.txt", "Write a haiku.\n"),
            ("prompt: 'file://./prompt.txt '", "Write a haiku.\n"),
            ("prompt: |\n  file://prompt.txt\n", "Write a haiku.\n"),
            ("prompt: file://prompts/weekly.md", "weekly\r\n"),
            ("prompt: file://link.txt", "Write a haiku.\n"),
            ("prompt: file://mark.txt", "marked ä"),
            ("prompt: file://haiku", "as a file"),
            // A text is a text.
            ("prompt: Read file://prompt.txt", "Read file://prompt.txt"),
            (
                "prompt: |\n  file://prompt.txt\n  is a file\n",
                "file://prompt.txt\nis a file\n",
            ),
            ("prompt: prompt.txt, please", "prompt.txt, please"),
            ("prompt: poem", "poem"),
            ("prompt: '@alice'", "@alice"),
            ("prompt: and/or", "and/or"),
            ("prompt: prompts", "prompts"),
        ] {
            assert_eq!(told(objective).as_deref(), Ok(expected), "{objective}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_one_problem_with_its_place() {
        for (objective, expected) in [
            (
                "prompt: file://nowhere.txt",
                "o.yaml:1:9: prompt: `nowhere.txt` is not there\n  hint: paths are relative to",
            ),
            ("prompt: file://", "prompt: "),
            ("prompt: file:///etc/hosts", "/etc/hosts"),
            ("prompt: file://../o.txt", "../o.txt"),
            (
                "prompt: file://out.txt",
                "`out.txt` is a link that leads out of its folder",
            ),
            (
                "prompt: file://prompts",
                "`prompts` is a folder, not a file",
            ),
            (
                "prompt: file://latin.txt",
                "`latin.txt`:2:4: the byte 0xE9 is not UTF-8",
            ),
            (
                "prompt: file://nul.txt",
                "`nul.txt`:2:2: the prompt has a NUL",
            ),
            (
                "prompt: file://blank.txt",
                "`blank.txt`: the prompt is empty",
            ),
            ("prompt: file://long.txt", "has 98305 bytes; at most 98304"),
            (
                "prompt: file://prompt.py",
                "is a program, and forge runs none",
            ),
            (
                "title: t\nprompt: \"a\\0b\"",
                "o.yaml:2:9: prompt: there is a NUL",
            ),
            (
                "prompt: ./prompt.txt",
                "read: `prompt: file://./prompt.txt`",
            ),
            ("prompt: '@prompt.txt'", "read: `prompt: file://prompt.txt`"),
            ("prompt: prompts/weekly.md", "is the name of a file"),
            ("prompt: promt.txt", "is the name of a file"),
            ("prompt: haiku", "is the name of a file"),
            (
                "prompt: {file: prompt.txt}",
                "`prompt: file://prompt.txt` reads a file",
            ),
            (
                "prompt: p\ninputs: [file://nowhere]",
                "`nowhere` is not there",
            ),
            (
                "prompt: p\nscoring: {quality: [{equals: file://answer.md}]}",
                "`file://answer.md` would be taken as this very text",
            ),
            (
                "prompt: p\ngates: [{contains: file://answer.md}]",
                "`file://answer.md` would be taken as this very text",
            ),
            (
                "prompt: p\nscoring: {quality: [{command: [python3, file://prompt.py]}]}",
                "write the path alone, as beside the objective: `prompt.py`",
            ),
        ] {
            let told = told(objective).unwrap_err();
            assert!(told.contains(expected), "{objective}: {told}");
            assert_eq!(told.matches("error: ").count(), 1, "{told}");
        }
    }

    #[test]
    fn files_elsewhere_may_be_written_the_same_way() {
        let objective = "prompt: p\ninputs: [file://prompt.txt]\ngates: [{not_contains: 'file://'}]\n\
                         scoring: {quality: [{golden: file://answer.md}, {command: [cat], files: [file://answer.md]}]}";
        assert_eq!(told(objective).as_deref(), Ok("p"));
    }
}
