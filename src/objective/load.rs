//! Which objectives there are: the files of `objectives/`, and what was typed on the command line.
//!
//! Promises: one order on every machine, all problems of all files at once, and no typed path or
//! misspelt name is ever taken for a prompt.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Objective;
use crate::ignored::{FORGEIGNORE, Ignored};
use crate::name::{ObjectiveName, RelativePath};
use crate::problem::{Problem, Problems};
use crate::quantity::ByteCount;
use crate::suggest;
use crate::tree::{Folder, Located, read_text, reason};
use crate::yaml::MAX_YAML_BYTES;

const NONE_HINT: &str =
    "add `objectives/NAME.yaml` with a `prompt`, or type the prompt: `forge \"Write a post\"`";

/// Loads every `*.yaml` and `*.yml` of a folder, sorted by name; what begins with a dot, other files,
/// folders, and what `.forgeignore` or `.gitignore` names are left out.
///
/// # Errors
/// [`Problems`] of all files; when the folder is missing or has no objective; when two names differ in
/// case only.
pub fn load_dir(dir: &Path) -> Result<Vec<Objective>, Problems> {
    load_dir_and_tell(dir, &mut Vec::new())
}

/// The same, and tells what would be an objective, were it not for `.gitignore`: each a sentence, with what to do.
///
/// # Errors
/// As [`load_dir`].
pub fn load_dir_and_tell(
    dir: &Path,
    left_out_by_git: &mut Vec<String>,
) -> Result<Vec<Objective>, Problems> {
    let found = list(dir).map_err(|error| {
        let message = format!("cannot read the objectives: {}", reason(&error));
        Problem::file(dir, message).with_hint(NONE_HINT)
    })?;
    let rules = Ignored::of(dir);
    let (found, by_git) = wanted(dir, found, &rules);
    left_out_by_git.extend_from_slice(&by_git);
    let mut problems = rules.problems();
    if found.is_empty() && problems.0.is_empty() {
        let problem = Problem::file(dir, "there are no objectives in this folder");
        let hint = by_git.first().map_or(NONE_HINT, String::as_str);
        return Err(problem.with_hint(hint).into());
    }
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut objectives = Vec::new();
    for path in found {
        let stem = stem_of(&path).to_lowercase();
        if let Some(other) = seen.insert(stem, path.clone()) {
            problems.push(
                Problem::file(&path, format!("`{}` has the same name", other.display())).with_hint(
                    "rename one of the two; upper and lower case do not tell names apart",
                ),
            );
            continue;
        }
        match load_file(&path) {
            Ok(objective) => objectives.push(objective),
            Err(more) => problems.0.extend(more.0),
        }
    }
    objectives.sort_by(|a, b| a.name.cmp(&b.name));
    problems.or(objectives)
}

/// Takes out what is to be left out, and says what of it only git ignores.
fn wanted(dir: &Path, found: Vec<PathBuf>, rules: &Ignored) -> (Vec<PathBuf>, Vec<String>) {
    let real = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let mut by_git = Vec::new();
    let mut keep = |path: &PathBuf| {
        let Some(name) = path.file_name() else {
            return true;
        };
        let real = real.join(name);
        if rules.git(&real, false) && rules.forge(&real, false).is_none() {
            by_git.push(format!(
                "`{}` is left out, because `.gitignore` names it; `!/{}` in `{}` takes it all the same",
                path.display(),
                name.to_string_lossy(),
                dir.join(FORGEIGNORE).display()
            ));
            return false;
        }
        rules.forge(&real, false) != Some(true)
    };
    let kept = found.into_iter().filter(|path| keep(path)).collect();
    (kept, by_git)
}

/// Loads one file; its stem is the objective's name.
///
/// # Errors
/// [`Problems`]: all that is wrong with the file and the files that it names.
pub fn load_file(path: &Path) -> Result<Objective, Problems> {
    let Some(file_name) = path.file_name().and_then(|name| name.to_str()) else {
        let problem = Problem::file(path, "the file's name is not UTF-8");
        return Err(problem.with_hint("rename the file").into());
    };
    let name = ObjectiveName::parse(&stem_of(path)).map_err(|error| {
        Problem::file(path, error.to_string())
            .with_hint("rename the file: its name without `.yaml` is the objective's name")
    })?;
    let unusable = |why: &str| Problem::file(path, format!("cannot read this file: it {why}"));
    let folder = Folder::open(path.parent().unwrap_or(Path::new("."))).map_err(|error| {
        Problem::file(path, format!("cannot read this file: {}", reason(&error)))
    })?;
    let relative =
        RelativePath::parse(file_name).map_err(|error| Problem::file(path, error.to_string()))?;
    folder
        .file(&relative)
        .map_err(|obstacle| unusable(&obstacle.message))?;
    let text = read_text(path, ByteCount(MAX_YAML_BYTES))?;
    super::yaml::load(name, path, &text, &folder)
}

/// Finds out what was typed: a stem in `dir`, else a path that exists, else the text of a prompt. What
/// looks like a path but is not there, and a single word that is nearly a stem, are mistakes.
///
/// # Errors
/// [`Problems`] of all arguments and their files.
pub fn resolve(arguments: &[String], dir: &Path) -> Result<Vec<Objective>, Problems> {
    // A folder that is missing has no stems; only literal texts and paths are left then.
    let known: BTreeMap<String, PathBuf> = list(dir)
        .unwrap_or_default()
        .into_iter()
        .map(|path| (stem_of(&path), path))
        .collect();
    let mut problems = Problems::default();
    let mut objectives: Vec<Objective> = Vec::new();
    for argument in arguments {
        match resolve_one(argument, &known) {
            Err(more) => problems.0.extend(more.0),
            Ok(objective) => match place_among(&mut objectives, objective) {
                Ok(()) => {}
                Err(problem) => problems.push(problem),
            },
        }
    }
    problems.or(objectives)
}

fn resolve_one(argument: &str, known: &BTreeMap<String, PathBuf>) -> Result<Objective, Problems> {
    if let Some(path) = known.get(argument) {
        return load_file(path);
    }
    let wrong = |message: String, hint: String| {
        Err(Problem::setting("OBJECTIVE", message)
            .with_hint(hint)
            .into())
    };
    let shown = crate::plain::short(argument, 60);
    // `file://prompt.txt` and `@prompt.txt` are how other tools name the file of a prompt.
    let marked = argument.strip_prefix("file://");
    let marked = marked.or_else(|| argument.strip_prefix('@'));
    if let Some(file) = marked
        && Path::new(file).is_file()
    {
        let shown = crate::plain::short(file, 60);
        return wrong(
            format!("`{argument}` names a file, and what is typed is the prompt itself"),
            format!("its text as a prompt is `forge \"$(cat {shown})\"`"),
        );
    }
    let path = Path::new(argument);
    if std::fs::symlink_metadata(path).is_ok() {
        if path.is_dir() {
            return wrong(
                format!("`{shown}` is a folder"),
                format!("`--objectives {shown}` runs every objective of a folder"),
            );
        }
        if !is_yaml(path) {
            return wrong(
                format!("`{shown}` is a file, but not a `.yaml` file"),
                format!("its text as a prompt is `forge \"$(cat {shown})\"`"),
            );
        }
        return load_file(path);
    }
    let stem = stem_of(path);
    let stems = known.keys().map(String::as_str);
    let near = suggest::nearest(&stem, stems.clone());
    let one_word = !argument.contains(char::is_whitespace);
    if is_yaml(path) || (one_word && argument.contains('/')) {
        let hint = match near {
            Some(stem) => format!("did you mean `{stem}`?"),
            None if known.is_empty() => NONE_HINT.to_owned(),
            None => format!("known are {}", suggest::list(stems)),
        };
        return wrong(format!("there is no file `{shown}`"), hint);
    }
    if let (true, Some(stem)) = (one_word, near) {
        return wrong(
            format!("there is no objective `{shown}`"),
            format!("did you mean `{stem}`? a prompt of one word needs a second one"),
        );
    }
    Objective::literal(argument).or_else(|why| {
        wrong(
            why,
            "type what is to be done: `forge \"Write a post\"`".to_owned(),
        )
    })
}

/// Adds an objective under a name that none before it has.
fn place_among(objectives: &mut Vec<Objective>, mut new: Objective) -> Result<(), Problem> {
    let taken = |name: &str| {
        objectives
            .iter()
            .find(|other| other.name.as_str().eq_ignore_ascii_case(name))
    };
    if let Some(other) = taken(new.name.as_str()) {
        match (&new.source, &other.source) {
            (Some(path), Some(first)) => {
                let message = if path == first {
                    format!("`{}` is given twice", new.name)
                } else {
                    format!(
                        "`{}` and `{}` have the same name",
                        first.display(),
                        path.display()
                    )
                };
                return Err(Problem::setting("OBJECTIVE", message)
                    .with_hint("give each objective once, under a name of its own"));
            }
            // Files keep their names: a literal before one of the same name would have to give way,
            // and then its name would depend on what follows it.
            (Some(path), None) => {
                let message = format!(
                    "`{}` has the same name as a prompt before it",
                    path.display()
                );
                return Err(Problem::setting("OBJECTIVE", message)
                    .with_hint("give the file before the prompt"));
            }
            (None, _) => {
                let base = new.name.to_string();
                let free = (2..=u64::MAX)
                    .map(|number| format!("{base}-{number}"))
                    .find(|name| taken(name).is_none());
                if let Some(Ok(name)) = free.map(|name| ObjectiveName::parse(&name)) {
                    new.name = name;
                }
            }
        }
    }
    objectives.push(new);
    Ok(())
}

/// The YAML files of a folder, sorted by name. A link that leads nowhere is listed, and fails later.
fn list(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let folder = Folder::open(dir)?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let name = entry?.file_name();
        let is_folder = name
            .to_str()
            .and_then(|name| RelativePath::parse(name).ok())
            .is_some_and(|path| matches!(folder.locate(&path), Ok(Located::Folder)));
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if !hidden && !is_folder && is_yaml(Path::new(&name)) {
            found.push(dir.join(name));
        }
    }
    found.sort();
    Ok(found)
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| {
        extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml")
    })
}

fn stem_of(path: &Path) -> String {
    path.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    /// Problems as text, with the folder called `DIR`.
    fn told<T>(dir: &TempDir, result: Result<T, Problems>) -> String {
        let text = result.map(|_| ()).unwrap_err().to_string();
        text.replace(&dir.path().display().to_string(), "DIR")
    }

    fn names(objectives: &[Objective]) -> Vec<&str> {
        objectives
            .iter()
            .map(|objective| objective.name.as_str())
            .collect()
    }

    #[test]
    fn a_folder_gives_its_yaml_files_by_name() {
        let dir = folder(&[
            ("b.yml", "prompt: b"),
            ("A.yaml", "prompt: a"),
            (".hidden.yaml", "nonsense: ["),
            ("notes.md", "x"),
            ("folder.yaml/x", "y"),
            ("b-2.YAML", "prompt: c"),
        ]);
        assert_eq!(names(&load_dir(dir.path()).unwrap()), ["A", "b", "b-2"]);
    }

    #[test]
    fn all_problems_of_all_files_are_told() {
        let dir = folder(&[
            ("a.yaml", "prompt: 1"),
            ("b.yaml", "prompt: b"),
            ("B.yml", "prompt: b"),
            ("c c.yaml", "prompt: c"),
            ("d.yaml", "x: ["),
        ]);
        assert_eq!(
            told(&dir, load_dir(dir.path())),
            "error: DIR/a.yaml:1:9: expected a text, got the number 1"
                .replace("1:9: expected", "1:9: prompt: expected")
                + "
  hint: put it into quotes to make it a text
error: DIR/b.yaml: `DIR/B.yml` has the same name
  hint: rename one of the two; upper and lower case do not tell names apart
error: DIR/c c.yaml: a name consists of ASCII letters, digits, `-`, `_` and `.`; ' ' is none of them
  hint: rename the file: its name without `.yaml` is the objective's name
error: DIR/d.yaml:2:1: this is not YAML: did not find expected node content, while parsing a flow node
  hint: check the indentation, brackets and quotes here and on the line above"
        );
    }

    #[test]
    fn what_is_left_out_is_said_when_only_git_names_it() {
        let dir = folder(&[
            ("o/a.yaml", "prompt: a"),
            ("o/b.yaml", "prompt: b"),
            ("o/broken.yaml", "x: ["),
            ("o/data.yaml", "- 1"),
            ("o/a.yaml~", "x"),
            ("o/._a.yaml", "x"),
            (".gitignore", "b*.yaml\n"),
            ("o/.forgeignore", "data.yaml\n"),
        ]);
        let objectives = dir.path().join("o");
        assert_eq!(names(&load_dir(&objectives).unwrap()), ["a"]);
        let mut said = Vec::new();
        load_dir_and_tell(&objectives, &mut said).unwrap();
        let said = said.join("\n");
        assert_eq!(
            said.replace(&dir.path().display().to_string(), "DIR"),
            "`DIR/o/b.yaml` is left out, because `.gitignore` names it; `!/b.yaml` in `DIR/o/.forgeignore` takes it all the same\n\
             `DIR/o/broken.yaml` is left out, because `.gitignore` names it; `!/broken.yaml` in `DIR/o/.forgeignore` takes it all the same"
        );
        // What is named is taken.
        let named = resolve(&["b".to_owned()], &objectives).unwrap();
        assert_eq!(names(&named), ["b"]);
        fs::write(objectives.join(".forgeignore"), "data.yaml\n!/b.yaml\n").unwrap();
        assert_eq!(names(&load_dir(&objectives).unwrap()), ["a", "b"]);
        fs::write(objectives.join(".forgeignore"), "*.yaml\n[z-a]\n").unwrap();
        assert!(told(&dir, load_dir(&objectives)).contains("o/.forgeignore:2:1: "));
        fs::remove_file(objectives.join(".forgeignore")).unwrap();
        fs::write(dir.path().join(".gitignore"), "*.yaml\n").unwrap();
        assert!(told(&dir, load_dir(&objectives)).contains("hint: `DIR/o/a.yaml` is left out"));
    }

    #[test]
    fn a_folder_without_objectives_is_a_problem() {
        let dir = folder(&[("notes.md", "x")]);
        assert!(told(&dir, load_dir(dir.path())).contains("DIR: there are no objectives"));
        let missing = load_dir(&dir.path().join("nowhere"));
        assert!(
            told(&dir, missing)
                .contains("DIR/nowhere: cannot read the objectives: it is not there")
        );
    }

    #[test]
    fn hostile_files_are_refused_without_waiting() {
        let dir = folder(&[]);
        let large = File::create(dir.path().join("large.yaml")).unwrap();
        large.set_len(100 * 1024 * 1024).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo.yaml"), 0o600.into()).unwrap();
        symlink("/etc/hosts", dir.path().join("out.yaml")).unwrap();
        symlink("/dev/zero", dir.path().join("zero.yaml")).unwrap();
        symlink("nowhere", dir.path().join("dangling.yaml")).unwrap();
        fs::write(
            dir.path().join("latin.yaml"),
            b"prompt: x\ntitle: caf\xe9\n",
        )
        .unwrap();
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.yaml");
        fs::write(dir.path().join(name), "prompt: x").unwrap();
        assert_eq!(
            told(&dir, load_dir(dir.path())),
            "\
error: DIR/caf\u{fffd}.yaml: the file's name is not UTF-8
  hint: rename the file
error: DIR/dangling.yaml: cannot read this file: it is a link that leads nowhere
error: DIR/fifo.yaml: cannot read this file: it is a FIFO, not a regular file
error: DIR/large.yaml: the file has 100 MiB and may have 1 MiB
error: DIR/latin.yaml:2:11: the byte 0xE9 is not UTF-8
  hint: save the file as UTF-8
error: DIR/out.yaml: cannot read this file: it is a link that leads out of its folder
error: DIR/zero.yaml: cannot read this file: it is a link that leads out of its folder"
        );
    }

    #[test]
    fn an_input_folder_with_something_special_is_refused() {
        let dir = folder(&[("o.yaml", "prompt: p\ninputs: [data]\n"), ("data/a", "a")]);
        let data = dir.path().join("data");
        rustix::fs::mkfifoat(rustix::fs::CWD, data.join("pipe"), 0o600.into()).unwrap();
        symlink("..", data.join("up")).unwrap();
        fs::write(data.join(std::ffi::OsStr::from_bytes(b"\xff")), "x").unwrap();
        let told = told(&dir, load_dir(dir.path()));
        for part in [
            "`data/pipe` is a FIFO",
            "`data/up` is a link to a folder",
            "is not UTF-8",
        ] {
            assert!(told.contains(part), "{told}");
        }
    }

    fn check(typed: &[&str], expected: Result<&[&str], &str>) {
        let dir = folder(&[
            ("weekly.yaml", "prompt: w"),
            ("daily.yml", "prompt: d"),
            ("write-a-post.yaml", "prompt: d"),
            ("elsewhere/weekly.yaml", "prompt: w"),
            ("notes.txt", "x"),
        ]);
        let inside = |text: &&str| text.replace("DIR", &dir.path().display().to_string());
        let typed_paths: Vec<String> = typed.iter().map(inside).collect();
        match (resolve(&typed_paths, dir.path()), expected) {
            (Ok(got), Ok(expected)) => assert_eq!(names(&got), expected, "{typed:?}"),
            (Err(problems), Err(expected)) => {
                assert_eq!(told(&dir, Err::<(), _>(problems)), expected, "{typed:?}");
            }
            (got, expected) => panic!("{typed:?}: {:?}, not {expected:?}", got.map(|_| ())),
        }
    }

    #[test]
    fn what_is_typed_is_a_stem_a_path_or_a_prompt() {
        check(&["weekly", "daily"], Ok(&["weekly", "daily"]));
        check(&["DIR/elsewhere/weekly.yaml"], Ok(&["weekly"]));
        check(
            &["Write a post", "write a POST!"],
            Ok(&["write-a-post", "write-a-post-2"]),
        );
        check(
            &["write-a-post", "Write a post"],
            Ok(&["write-a-post", "write-a-post-2"]),
        );
        check(&["Compare a/b and c/d"], Ok(&["compare-a-b-and-c-d"]));
        check(&["Summarise"], Ok(&["summarise"]));
        check(&["-"], Ok(&["objective"]));
    }

    #[test]
    fn what_is_probably_a_mistake_is_no_prompt() {
        check(
            &["weekli"],
            Err(
                "error: OBJECTIVE: there is no objective `weekli`\n  hint: did you mean `weekly`? a prompt of one word needs a second one",
            ),
        );
        check(
            &["objectives/dayly.yaml"],
            Err(
                "error: OBJECTIVE: there is no file `objectives/dayly.yaml`\n  hint: did you mean `daily`?",
            ),
        );
        check(
            &["weekly.yaml"],
            Err("error: OBJECTIVE: there is no file `weekly.yaml`\n  hint: did you mean `weekly`?"),
        );
        check(
            &["some/where"],
            Err(
                "error: OBJECTIVE: there is no file `some/where`\n  hint: known are `daily`, `weekly`, `write-a-post`",
            ),
        );
        check(
            &["DIR/elsewhere"],
            Err(
                "error: OBJECTIVE: `DIR/elsewhere` is a folder\n  hint: `--objectives DIR/elsewhere` runs every objective of a folder",
            ),
        );
        check(
            &["weekly", "DIR/elsewhere/weekly.yaml"],
            Err(
                "error: OBJECTIVE: `DIR/weekly.yaml` and `DIR/elsewhere/weekly.yaml` have the same name\n  hint: give each objective once, under a name of its own",
            ),
        );
        check(
            &["weekly", "weekly"],
            Err(
                "error: OBJECTIVE: `weekly` is given twice\n  hint: give each objective once, under a name of its own",
            ),
        );
        check(
            &[""],
            Err(
                "error: OBJECTIVE: the prompt is empty\n  hint: type what is to be done: `forge \"Write a post\"`",
            ),
        );
    }
}
