//! Which candidates there are: the scripts, programs and folders of `candidates/`.
//!
//! Promises: one order on every machine; every entry is a candidate, belongs to one, is known to be
//! something else, or is a problem; all problems of all candidates at once. How one candidate is put
//! together is in `assemble`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use globset::{Glob, GlobMatcher};

use super::Candidate;
use super::assemble::{Shape, assemble};
use super::beside::{Passed, is_no_program, looks_startable, passed};
use super::runtime;
use super::settings::Settings;
use crate::ignored::{FORGEIGNORE, Ignored, litter};
use crate::name::{CandidateName, RelativePath};
use crate::problem::{Problem, Problems};
use crate::suggest;
use crate::tree::{Folder, Located, TreeFile, reason};

const NONE_HINT: &str = "add a script such as `candidates/NAME.py`";
const NAME_HINT: &str = "rename it, or give it a `name` in `candidate.yaml` or its sidecar; if it is no candidate, name it in `.forgeignore`";
const IGNORE_HINT: &str = "to leave it out, name it in `.forgeignore`";

/// Loads the candidates of a folder whose names match one of the globs, sorted by name; all of them when
/// there is no glob. Those that do not match are left alone: their problems are not reported.
///
/// # Errors
/// [`Problems`] of all matching candidates; when the folder is missing, has no candidate, or none that
/// matches; when two names differ in case only.
pub fn load_dir(dir: &Path, patterns: &[String]) -> Result<Vec<Candidate>, Problems> {
    load_dir_and_tell(dir, patterns, &mut Vec::new())
}

/// The same, and tells what would be a candidate, were it not for `.gitignore`: each a sentence, with what to do.
///
/// # Errors
/// As [`load_dir`].
pub fn load_dir_and_tell(
    dir: &Path,
    patterns: &[String],
    left_out_by_git: &mut Vec<String>,
) -> Result<Vec<Candidate>, Problems> {
    let filter = filter(patterns)?;
    let folder = open(dir)?;
    let rules = Ignored::of(dir);
    let (mut found, by_git) = find(dir, &folder, &rules)?;
    left_out_by_git.extend(by_git.iter().map(|(_, path)| left_out(dir, path)));
    let names: Vec<String> = found.iter().filter_map(|one| one.name.clone()).collect();
    let unmatched = patterns.iter().zip(&filter).filter_map(|(pattern, glob)| {
        (!names.iter().any(|name| glob.is_match(name))).then_some(pattern)
    });
    if found.is_empty() {
        let message = "there are no candidates in this folder";
        let hint = by_git
            .first()
            .map_or_else(|| NONE_HINT.to_owned(), |(_, path)| left_out(dir, path));
        return Err(Problem::file(dir, message).with_hint(hint).into());
    }
    let unmatched = unmatched.map(|pattern| {
        let wanted = Glob::new(pattern).map(|glob| glob.compile_matcher());
        let ignored = by_git
            .iter()
            .find(|(stem, _)| wanted.as_ref().is_ok_and(|glob| glob.is_match(stem)));
        let hint = ignored.map_or_else(
            || suggest::advice(pattern, names.iter().map(String::as_str)),
            |(_, path)| left_out(dir, path),
        );
        let message = format!("no candidate matches `{pattern}`");
        Problem::setting("--candidate", message).with_hint(hint)
    });
    Problems(unmatched.collect()).or(())?;
    found.retain(|one| match &one.name {
        _ if filter.is_empty() => true,
        Some(name) => filter.iter().any(|glob| glob.is_match(name)),
        None => false,
    });
    finish(found, &folder, &rules)
}

/// Loads those of a folder whose names are wanted, sorted by name, and tells the names of all that are there and
/// may be of use. The others' problems are not reported; that there is none is no problem.
///
/// # Errors
/// [`Problems`] of those that are wanted; when the folder cannot be read.
pub fn load_wanted(
    dir: &Path,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<(Vec<Candidate>, BTreeSet<String>), Problems> {
    let folder = open(dir)?;
    let rules = Ignored::of(dir);
    let (mut found, _) = find(dir, &folder, &rules)?;
    let usable = found.iter().filter(|one| one.content.is_ok());
    let names = usable.filter_map(|one| one.name.clone()).collect();
    found.retain(|one| one.name.as_deref().is_some_and(wanted));
    Ok((finish(found, &folder, &rules)?, names))
}

fn open(dir: &Path) -> Result<Folder, Problem> {
    Folder::open(dir).map_err(|error| unreadable(dir, &error))
}

fn unreadable(dir: &Path, error: &std::io::Error) -> Problem {
    let message = format!("cannot read the candidates: {}", reason(error));
    Problem::file(dir, message).with_hint(NONE_HINT)
}

/// What git ignores and would be a candidate, by stem.
type ByGit = Vec<(String, PathBuf)>;

/// All that is a candidate or ought to be one.
fn find(dir: &Path, folder: &Folder, rules: &Ignored) -> Result<(Vec<Found>, ByGit), Problem> {
    let listing = Listing::read(dir, folder, rules);
    let mut listing = listing.map_err(|error| unreadable(dir, &error))?;
    let mut found: Vec<Found> = std::mem::take(&mut listing.entries)
        .into_iter()
        .map(|entry| listing.settle(entry))
        .collect();
    let (orphans, by_git) = listing.rest();
    found.extend(orphans);
    Ok((found, by_git))
}

fn left_out(dir: &Path, path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(
        "`{}` is no candidate, because `.gitignore` names it; `!/{name}` in `{}` takes it all the same",
        path.display(),
        dir.join(FORGEIGNORE).display()
    )
}

/// The patterns of `--candidate`, compiled.
fn filter(patterns: &[String]) -> Result<Vec<GlobMatcher>, Problems> {
    let mut problems = Problems::default();
    let globs = patterns
        .iter()
        .filter_map(|pattern| match Glob::new(pattern) {
            Ok(glob) => Some(glob.compile_matcher()),
            Err(error) => {
                let hint = "a name, in which `*` stands for anything: `-c 'fast*'`";
                let problem = Problem::setting("--candidate", error.to_string());
                problems.push(problem.with_hint(hint));
                None
            }
        })
        .collect();
    problems.or(globs)
}

fn finish(found: Vec<Found>, folder: &Folder, rules: &Ignored) -> Result<Vec<Candidate>, Problems> {
    let mut problems = Problems::default();
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut candidates = Vec::new();
    for one in found {
        if let (Some(name), Ok(_)) = (&one.name, &one.content)
            && let Some(other) = seen.insert(name.to_lowercase(), one.shown.clone())
        {
            let message = format!("`{}` has the same name, `{name}`", other.display());
            let hint = "rename one of the two, or give it a `name`; case does not tell names apart";
            problems.push(Problem::file(&one.shown, message).with_hint(hint));
            continue;
        }
        let candidate = one.content.and_then(|(name, shape, settings)| {
            assemble(name, &one.shown, folder, shape, settings, rules)
        });
        match candidate {
            Ok(candidate) => candidates.push(candidate),
            Err(more) => problems.0.extend(more.0),
        }
    }
    problems.0.extend(rules.problems().0);
    candidates.sort_by(|a, b| a.name.cmp(&b.name));
    problems.or(candidates)
}

/// An entry of the folder that is a candidate, or ought to be one.
#[derive(Debug)]
struct Found {
    /// As the user would type it.
    shown: PathBuf,
    /// What it is called, as far as that can be told.
    name: Option<String>,
    content: Result<(CandidateName, Shape, Option<Settings>), Problems>,
}

/// One entry, before its settings are known.
#[derive(Debug)]
struct Entry {
    shown: PathBuf,
    /// Its file name without extension and without `agent_`.
    stem: String,
    content: Result<Shape, Problem>,
}

/// What lies in the folder.
#[derive(Debug)]
struct Listing<'f> {
    folder: &'f Folder,
    entries: Vec<Entry>,
    /// By stem; `true` once a candidate has claimed them.
    sidecars: BTreeMap<String, (Vec<(PathBuf, TreeFile)>, bool)>,
    /// The stems of what is passed by because somebody said so, whose sidecars are passed by with them.
    unwanted: BTreeSet<String>,
    /// What would be a candidate, were it not for `.gitignore`, by stem.
    by_git: ByGit,
}

impl<'f> Listing<'f> {
    fn read(dir: &Path, folder: &'f Folder, rules: &Ignored) -> std::io::Result<Self> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            names.push(entry?.file_name());
        }
        names.sort();
        let mut listing = Self {
            folder,
            entries: Vec::new(),
            sidecars: BTreeMap::new(),
            unwanted: BTreeSet::new(),
            by_git: Vec::new(),
        };
        for name in names {
            let shown = dir.join(&name);
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let stem = stem_of(Path::new(&name));
            match passed(rules, &folder.real().join(&name)) {
                Passed::No => {}
                Passed::AsLitter => continue,
                Passed::ByForge => {
                    listing.unwanted.insert(stem);
                    continue;
                }
                Passed::ByGit => {
                    listing.pass_by(shown, stem);
                    continue;
                }
            }
            let path = match name.to_str().map(RelativePath::parse) {
                Some(Ok(path)) => path,
                Some(Err(error)) => {
                    let problem = Problem::file(&shown, error.to_string()).with_hint(NAME_HINT);
                    listing.entries.push(Entry {
                        shown,
                        stem,
                        content: Err(problem),
                    });
                    continue;
                }
                None => {
                    let problem = Problem::file(&shown, "the name is not UTF-8")
                        .with_hint("rename it with ASCII letters and digits");
                    listing.entries.push(Entry {
                        shown,
                        stem,
                        content: Err(problem),
                    });
                    continue;
                }
            };
            listing.take(shown, stem, &path);
        }
        Ok(listing)
    }

    /// Remembers what git ignores, when it looks like a candidate.
    fn pass_by(&mut self, shown: PathBuf, stem: String) {
        if looks_startable(&shown) {
            self.by_git.push((stem.clone(), shown));
        }
        self.unwanted.insert(stem);
    }

    fn take(&mut self, shown: PathBuf, stem: String, path: &RelativePath) {
        let extension = extension_of(path);
        let content = match self.folder.locate(path) {
            Err(obstacle) => Err(Problem::file(&shown, format!("it {}", obstacle.message))
                .with_hint(format!(
                    "only files and folders below the candidates' folder can be candidates; {IGNORE_HINT}"
                ))),
            Ok(Located::Folder) => Ok(Shape::Folder(path.clone())),
            Ok(Located::File(file)) if matches!(extension.as_str(), "yaml" | "yml") => {
                self.sidecars.entry(stem).or_default().0.push((shown, file));
                return;
            }
            Ok(Located::File(_)) if is_no_program(path.as_str(), &extension) => return,
            Ok(Located::File(file))
                if file.executable || runtime::for_extension(&extension).is_some() =>
            {
                Ok(Shape::File(file))
            }
            Ok(Located::File(_)) => Err(Problem::file(
                &shown,
                "this is neither executable nor a known kind of script",
            )
            .with_hint(format!(
                "make it executable with `chmod +x`, or use a known extension: {}; {IGNORE_HINT}",
                runtime::COMMON
            ))),
        };
        // The whole name of a folder is its name.
        let stem = match &content {
            Ok(Shape::Folder(_)) => without_agent(path.as_str()).to_owned(),
            Ok(Shape::File(_)) | Err(_) => stem,
        };
        self.entries.push(Entry {
            shown,
            stem,
            content,
        });
    }

    /// Finds the settings of an entry, and with them its name.
    fn settle(&mut self, entry: Entry) -> Found {
        let Entry {
            shown,
            stem,
            content,
        } = entry;
        let settings = match &content {
            Ok(Shape::File(_)) => self.claim(&stem),
            Ok(Shape::Folder(path)) => self.of_folder(&shown, path),
            Err(_) => Ok(None),
        };
        let given = match &settings {
            Ok(Some(settings)) => settings.name.as_ref().map(ToString::to_string),
            Ok(None) | Err(_) => None,
        };
        let name = given.unwrap_or(stem);
        let content = content.map_err(Problems::from).and_then(|shape| {
            let settings = settings?;
            let name = CandidateName::parse(&name)
                .map_err(|error| Problem::file(&shown, error.to_string()).with_hint(NAME_HINT))?;
            Ok((name, shape, settings))
        });
        Found {
            shown,
            name: Some(name),
            content,
        }
    }

    fn claim(&mut self, stem: &str) -> Result<Option<Settings>, Problems> {
        let Some((files, claimed)) = self.sidecars.get_mut(stem) else {
            return Ok(None);
        };
        *claimed = true;
        one_of(files)
    }

    fn of_folder(&self, shown: &Path, path: &RelativePath) -> Result<Option<Settings>, Problems> {
        let mut files = Vec::new();
        for name in ["candidate.yaml", "candidate.yml"] {
            let file = shown.join(name);
            let below = RelativePath::parse(&format!("{path}/{name}"))
                .map_err(|error| Problem::file(&file, error.to_string()))?;
            match self.folder.file(&below) {
                Ok(found) => files.push((file, found)),
                Err(obstacle) if obstacle.missing => {}
                Err(obstacle) => {
                    return Err(Problem::file(file, format!("it {}", obstacle.message)).into());
                }
            }
        }
        one_of(&files)
    }

    /// Sidecars of nobody, and what git ignores.
    fn rest(self) -> (Vec<Found>, ByGit) {
        let unwanted = self.unwanted;
        let orphans = self
            .sidecars
            .into_iter()
            .filter(|(stem, (_, claimed))| !claimed && !unwanted.contains(stem))
            .flat_map(|(stem, (files, _))| {
                files
                    .into_iter()
                    .map(move |(shown, _)| (stem.clone(), shown))
            })
            .filter(|(_, shown)| {
                let name = shown.file_name().unwrap_or_default();
                !litter::is_document(&name.to_string_lossy())
            })
            .map(|(stem, shown)| {
                let folder = shown.with_file_name(&stem);
                let hint = if folder.is_dir() {
                    format!(
                        "the settings of a folder are in `{}/candidate.yaml`",
                        folder.display()
                    )
                } else {
                    format!("it would belong to a script such as `{stem}.py` beside it")
                };
                let problem = Problem::file(&shown, "these are settings of no candidate");
                Found {
                    shown,
                    name: Some(stem),
                    content: Err(problem.with_hint(hint).into()),
                }
            })
            .collect();
        (orphans, self.by_git)
    }
}

fn one_of(files: &[(PathBuf, TreeFile)]) -> Result<Option<Settings>, Problems> {
    match files {
        [] => Ok(None),
        [(shown, file)] => Settings::load(shown, &file.from).map(Some),
        [(first, _), (second, _), ..] => {
            let message = format!("`{}` has settings of the same candidate", first.display());
            Err(Problem::file(second, message)
                .with_hint("keep one of the two")
                .into())
        }
    }
}

/// The file name without its extension and without a leading `agent_`.
fn stem_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    without_agent(&stem).to_owned()
}

fn without_agent(stem: &str) -> &str {
    stem.strip_prefix("agent_").unwrap_or(stem)
}

fn extension_of(path: &RelativePath) -> String {
    Path::new(path.as_str())
        .extension()
        .map_or_else(String::new, |extension| {
            extension.to_string_lossy().to_ascii_lowercase()
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidate::Dependencies;
    use crate::sandbox::{Image, Trust};
    use std::ffi::OsStr;
    use std::fs::{self, File, Permissions};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::TempDir;

    /// A folder of files; one whose text starts with `#!` is executable.
    fn folder(files: &[(&str, &str)]) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            if text.starts_with("#!") {
                fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            }
        }
        dir
    }

    fn load(files: &[(&str, &str)]) -> Vec<Candidate> {
        let dir = folder(files);
        load_dir(dir.path(), &[]).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn one(files: &[(&str, &str)]) -> Candidate {
        let mut all = load(files);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// The problems as text, with the folder called `DIR`.
    fn told(dir: &TempDir, filter: Option<&str>) -> String {
        let patterns: Vec<String> = filter.map(str::to_owned).into_iter().collect();
        let problems = load_dir(dir.path(), &patterns).map(|_| ()).unwrap_err();
        problems
            .to_string()
            .replace(&dir.path().display().to_string(), "DIR")
    }

    fn check(files: &[(&str, &str)], expected: &str) {
        assert_eq!(told(&folder(files), None), expected, "{files:?}");
    }

    fn paths(candidate: &Candidate) -> Vec<&str> {
        candidate
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect()
    }

    fn started(candidate: &Candidate) -> String {
        let programs: Vec<String> = candidate
            .start
            .programs
            .iter()
            .map(|words| words.join(" "))
            .collect();
        format!(
            "{} + {}",
            programs.join(" | "),
            candidate.start.entry.join(" ")
        )
    }

    #[test]
    fn scripts_start_with_the_interpreter_of_their_extension() {
        for (file, name, start) in [
            (
                "agent_claude.py",
                "claude",
                "python3 -u | python -u + agent_claude.py",
            ),
            ("a.mjs", "a", "node + a.mjs"),
            (
                "a.ts",
                "a",
                "bun | deno run -A | tsx | node --experimental-strip-types + a.ts",
            ),
            ("a.sh", "a", "bash | sh + a.sh"),
            ("a.R", "a", "Rscript + a.R"),
            ("v1.2.rb", "v1.2", "ruby + v1.2.rb"),
        ] {
            let candidate = one(&[(file, "x")]);
            assert_eq!(
                (candidate.name.as_str(), started(&candidate).as_str()),
                (name, start)
            );
        }
        let program = one(&[("agent_fast", "#!/bin/sh\n")]);
        assert_eq!(started(&program), "./agent_fast + ");
        assert!(program.files[0].executable);
        assert_eq!(program.name.as_str(), "fast");
    }

    #[test]
    fn what_lies_beside_candidates_is_left_out() {
        let all = load(&[
            ("b.py", "x"),
            ("a.sh", "x"),
            (".hidden.py", "x"),
            ("README", "x"),
            ("README.py", "x"),
            ("notes.md", "x"),
            ("pyproject.toml", "[tool.x]"),
            ("package.json", "{}"),
            ("__pycache__/b.pyc", "x"),
            ("node_modules/x/main.js", "x"),
        ]);
        let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn a_folder_starts_with_its_entry() {
        for (files, start) in [
            (
                &[("f/main.py", "x"), ("f/agent.py", "x")][..],
                "python3 -u | python -u + main.py",
            ),
            (
                &[("f/agent.js", "x"), ("f/other.js", "x")],
                "node + agent.js",
            ),
            (&[("f/f", "#!/bin/sh"), ("f/main.md", "x")], "./f + "),
            (&[("agent_f/f.sh", "x")], "bash | sh + f.sh"),
            (
                &[
                    ("f/candidate.yaml", "run: [python3, -X, utf8, src/go.py]"),
                    ("f/src/go.py", "x"),
                ],
                "python3 + -X utf8 src/go.py",
            ),
            (
                &[
                    ("f/candidate.yaml", "run: [./bin/go]"),
                    ("f/bin/go", "#!/bin/sh"),
                ],
                "./bin/go + ",
            ),
            (
                &[
                    ("f/candidate.yaml", "run: [./made]\nsetup: [make]"),
                    ("f/Makefile", "x"),
                ],
                "./made + ",
            ),
        ] {
            let candidate = one(files);
            assert_eq!(started(&candidate), start);
            assert_eq!(candidate.name.as_str(), "f");
        }
        let files = one(&[
            ("f/main.py", "x"),
            ("f/lib/a.py", "x"),
            ("f/.git/config", "x"),
            ("f/lib/__pycache__/a.pyc", "x"),
            ("f/.venv/x", "x"),
            ("f/.env.example", "x"),
        ]);
        assert_eq!(paths(&files), [".env.example", "lib/a.py", "main.py"]);
    }

    #[test]
    fn dependencies_are_found_beside_the_entry() {
        let block = "# /// script\n# dependencies = [\"rich\"]\n# ///\n";
        let path = |text: &str| RelativePath::parse(text).unwrap();
        let packages = r#"{"dependencies": {"left-pad": "1"}}"#;
        for (files, dependencies, uploaded) in [
            (
                &[("a.py", "x"), ("requirements.txt", "rich")][..],
                Dependencies::PythonFile(path("requirements.txt")),
                &["a.py", "requirements.txt"][..],
            ),
            (
                &[("a.py", block), ("requirements.txt", "other")],
                Dependencies::PythonInline {
                    packages: vec!["rich".to_owned()],
                    listed_in: "its block",
                },
                &["a.py"],
            ),
            (
                &[("a.sh", "x"), ("requirements.txt", "rich")],
                Dependencies::None,
                &["a.sh"],
            ),
            (
                &[
                    ("a.ts", "x"),
                    ("package.json", packages),
                    ("package-lock.json", "{}"),
                ],
                Dependencies::Node {
                    folder: None,
                    locked: true,
                },
                &["a.ts", "package-lock.json", "package.json"],
            ),
            (
                &[("a.js", "x"), ("package.json", r#"{"type": "module"}"#)],
                Dependencies::None,
                &["a.js", "package.json"],
            ),
            (
                &[
                    ("f/candidate.yaml", "run: [node, src/go.js]"),
                    ("f/src/go.js", "x"),
                    ("f/src/package.json", packages),
                    ("f/requirements.txt", "rich"),
                ],
                Dependencies::Node {
                    folder: Some(path("src")),
                    locked: false,
                },
                &[
                    "candidate.yaml",
                    "requirements.txt",
                    "src/go.js",
                    "src/package.json",
                ],
            ),
            (
                &[("f/main.sh", "x"), ("f/requirements.txt", "rich")],
                Dependencies::PythonFile(path("requirements.txt")),
                &["main.sh", "requirements.txt"],
            ),
        ] {
            let candidate = one(files);
            assert_eq!(candidate.dependencies, dependencies, "{files:?}");
            assert_eq!(paths(&candidate), uploaded, "{files:?}");
        }
    }

    #[test]
    fn an_image_is_named_or_built_from_what_is_beside() {
        let built = |files: &[(&str, &str)]| match one(files).image {
            None => "none".to_owned(),
            Some(Image::Named(name)) => name,
            Some(Image::Built { dockerfile, files }) => {
                let names: Vec<&str> = files.iter().map(|file| file.path.as_str()).collect();
                format!("{dockerfile} with {}", names.join(" "))
            }
        };
        for (files, expected) in [
            (&[("a.py", "x")][..], "none"),
            (
                &[("a.py", "x"), ("a.yaml", "image: python:3.13-slim")],
                "python:3.13-slim",
            ),
            (
                &[("a.py", "x"), ("a.Dockerfile", "FROM x")],
                "FROM x with a.Dockerfile a.py",
            ),
            (&[("a.py", "x"), ("Dockerfile", "FROM x")], "none"),
            (
                &[("f/main.py", "x"), ("f/Dockerfile", "FROM x")],
                "FROM x with Dockerfile main.py",
            ),
            (
                &[
                    ("f/main.py", "x"),
                    ("f/Dockerfile", "FROM x"),
                    ("f/candidate.yaml", "image: mine"),
                ],
                "mine",
            ),
        ] {
            assert_eq!(built(files), expected, "{files:?}");
        }
    }

    #[test]
    fn a_sidecar_says_the_rest() {
        let settings = "\
name: quick
description: Does it fast
run: [python3, -O, agent_fast.py]
setup: [make]
env: {MODE: fast}
pass_env: [OPENAI_API_KEY, TOKEN=MY_TOKEN]
limits: {run: 5s}
trust: untrusted
";
        for sidecar in ["fast.yaml", "agent_fast.yml"] {
            let candidate = one(&[("agent_fast.py", "x"), (sidecar, settings)]);
            assert_eq!(candidate.name.as_str(), "quick");
            assert_eq!(candidate.env["MODE"], "fast");
            assert_eq!(candidate.pass_env[1].host_name, "MY_TOKEN");
            assert_eq!(candidate.trust, Trust::Untrusted);
            assert_eq!(
                candidate.limits.run,
                Some(std::time::Duration::from_secs(5))
            );
            assert_eq!(started(&candidate), "python3 + -O agent_fast.py");
            assert!(candidate.start.python);
            assert_eq!(paths(&candidate), ["agent_fast.py"]);
        }
    }

    #[test]
    fn the_digest_covers_contents_modes_and_settings() {
        let base = one(&[("a.py", "x")]).digest;
        assert_eq!(base, one(&[("a.py", "x")]).digest);
        for files in [
            &[("a.py", "y")][..],
            &[("b.py", "x")],
            &[("a.py", "x"), ("a.yaml", "env: {A: b}")],
            &[("a.py", "x"), ("requirements.txt", "")],
        ] {
            assert_ne!(one(files).digest, base, "{files:?}");
        }
        let shebang = folder(&[("a.py", "#!")]);
        let digest = || load_dir(shebang.path(), &[]).unwrap().remove(0).digest;
        let executable = digest();
        fs::set_permissions(shebang.path().join("a.py"), Permissions::from_mode(0o644)).unwrap();
        assert_ne!(digest(), executable);
    }

    #[test]
    fn every_wrong_candidate_is_told_with_a_remedy() {
        check(
            &[
                ("a.py", "x"),
                ("A.js", "x"),
                ("b b.py", "x"),
                ("c.exe", "x"),
                ("d/notes.md", "x"),
                ("e/main.py", "x"),
                ("e/main.js", "x"),
                ("f.yaml", "name: x"),
                ("e.yaml", "name: x"),
                ("g.py", "# /// script\n# dependencies = 5\n# ///\n"),
                ("h/candidate.yaml", "run: [./go]"),
                ("h/go.sh", "x"),
                ("i/candidate.yaml", "run: [./go.sh]"),
                ("i/go.sh", "x"),
            ],
            "\
error: DIR/a.py: `DIR/A.js` has the same name, `a`
  hint: rename one of the two, or give it a `name`; case does not tell names apart
error: DIR/b b.py: a name consists of ASCII letters, digits, `-`, `_` and `.`; ' ' is none of them
  hint: rename it, or give it a `name` in `candidate.yaml` or its sidecar; if it is no candidate, name it in `.forgeignore`
error: DIR/c.exe: this is neither executable nor a known kind of script
  hint: make it executable with `chmod +x`, or use a known extension: `.py`, `.js`, `.ts`, `.sh`, `.rb`, `.pl`, `.php`, `.lua`, `.R`, `.jl`; to leave it out, name it in `.forgeignore`
error: DIR/d: nothing in this folder can be started
  hint: add `main.py` or the like, an executable `d`, or a `candidate.yaml` with `run: [...]`; if it is no candidate, name it in `.forgeignore`
error: DIR/e: which file starts it? there are `main.js`, `main.py`
  hint: say it in `candidate.yaml`, for example `run: [node, main.js]`
error: DIR/g.py:2:1: the `# /// script` block is wrong: invalid type: integer `5`, expected a sequence
  hint: for example `# dependencies = [\"requests\"]` between `# /// script` and `# ///`
error: DIR/h: `run` starts `./go`, which is not there
  hint: it must be one of the candidate's files, or be made by `setup`
error: DIR/i: `run` starts `./go.sh`, which is not executable
  hint: make it so: `chmod +x ./go.sh`
error: DIR/e.yaml: these are settings of no candidate
  hint: the settings of a folder are in `DIR/e/candidate.yaml`
error: DIR/f.yaml: these are settings of no candidate
  hint: it would belong to a script such as `f.py` beside it",
        );
        check(
            &[
                ("a.py", "x"),
                (
                    "a.yaml",
                    "run: []\nsetup: make\nenv: {HOME: x, A-B: y, A: z}\npass_env: [A, A=B=C, DAYTONA_API_KEY]\ntrust: maybe\ntimeout: 5s\nname: ../x\n",
                ),
            ],
            "\
error: DIR/a.yaml:1:6: run: the program is missing
  hint: a list of the program and its arguments, for example `[python3, main.py]`
error: DIR/a.yaml:2:8: setup: expected a list, got the text \"make\"
  hint: a list of shell commands, for example `setup: [make]`
error: DIR/a.yaml:3:7: env.HOME: `HOME` is set by forge for every candidate alike
  hint: give the variable another name
error: DIR/a.yaml:3:16: env.A-B: a variable's name has only letters, digits and `_`, and starts with no digit
  hint: give the variable another name
error: DIR/a.yaml:4:15: pass_env[1]: a variable's name has only letters, digits and `_`, and starts with no digit
  hint: names, for example `pass_env: [OPENAI_API_KEY, TOKEN=MY_TOKEN]`, and those whose values are no secrets: `- plain: [DEBUG]`
error: DIR/a.yaml:4:22: pass_env[2]: `DAYTONA_API_KEY` is for forge alone; no candidate gets it
  hint: names, for example `pass_env: [OPENAI_API_KEY, TOKEN=MY_TOKEN]`, and those whose values are no secrets: `- plain: [DEBUG]`
error: DIR/a.yaml:5:8: trust: unknown word \"maybe\"
  hint: known are `trusted`, `untrusted`
error: DIR/a.yaml:6:1: unknown key `timeout`
  hint: known are `name`, `description`, `run`, `setup`, `env`, `pass_env`, `limits`, `trust`, `image`
error: DIR/a.yaml:7:7: name: a name consists of ASCII letters, digits, `-`, `_` and `.`; '/' is none of them
  hint: for example `name: fast`",
        );
    }

    #[test]
    fn nothing_special_and_nothing_from_outside_is_taken() {
        let dir = folder(&[("ok.py", "x"), ("f/main.py", "x"), ("f/data/a", "a")]);
        symlink("/etc/hosts", dir.path().join("out.py")).unwrap();
        symlink("/tmp", dir.path().join("outdir")).unwrap();
        let name = |bytes| OsStr::from_bytes(bytes);
        fs::write(dir.path().join(name(b"caf\xe9.py")), "x").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("p.py"), 0o600.into()).unwrap();
        let inside = dir.path().join("f");
        symlink("../ok.py", inside.join("other.py")).unwrap();
        symlink("..", inside.join("up")).unwrap();
        symlink("data", inside.join("loop")).unwrap();
        fs::write(inside.join(name(b"\xff.txt")), "x").unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, inside.join("pipe"), 0o600.into()).unwrap();
        let hint = "\n  hint: a candidate is uploaded whole: remove or replace it, or name it in `.forgeignore`\n";
        let outside = "\n  hint: only files and folders below the candidates' folder can be candidates; to leave it out, name it in `.forgeignore`";
        assert_eq!(
            told(&dir, None),
            format!(
                "error: DIR/caf\u{fffd}.py: the name is not UTF-8
  hint: rename it with ASCII letters and digits
error: DIR/f/loop: it is a link to a folder; only links to files are followed{hint}\
error: DIR/f/other.py: it is a link that leads out of its folder{hint}\
error: DIR/f/pipe: it is a FIFO, not a regular file{hint}\
error: DIR/f/up: it is a link that leads out of its folder{hint}\
error: DIR/f/\u{fffd}.txt: it has a name that is not UTF-8{hint}\
error: DIR/out.py: it is a link that leads out of its folder{outside}
error: DIR/outdir: it is a link that leads out of its folder{outside}
error: DIR/p.py: it is a FIFO, not a regular file{outside}"
            )
        );
    }

    #[test]
    fn a_link_to_a_file_inside_is_uploaded_as_that_file() {
        let dir = folder(&[("f/main.py", "x"), ("f/data/a", "content")]);
        symlink("data/a", dir.path().join("f/b")).unwrap();
        let candidate = load_dir(dir.path(), &[]).unwrap().remove(0);
        assert_eq!(paths(&candidate), ["b", "data/a", "main.py"]);
        assert_eq!(
            fs::read_to_string(&candidate.files[0].from).unwrap(),
            "content"
        );
        assert!(
            !fs::symlink_metadata(&candidate.files[0].from)
                .unwrap()
                .is_symlink()
        );
    }

    #[test]
    fn folders_have_bounds_and_large_scripts_are_taken() {
        let dir = folder(&[("f/main.py", "x")]);
        for number in 0..crate::tree::MAX_FILES {
            File::create(dir.path().join(format!("f/{number}"))).unwrap();
        }
        let many = told(&dir, None);
        assert!(
            many.contains("DIR/f: it holds more than 10000 files"),
            "{many}"
        );
        fs::create_dir_all(dir.path().join("f/data/raw")).unwrap();
        for number in 0..10 {
            File::create(dir.path().join(format!("f/data/raw/{number}"))).unwrap();
        }
        let many = told(&dir, None);
        assert!(
            many.contains("in `DIR/f/.forgeignore`; largest are `data/` (10 files), `0` (1 file)"),
            "{many}"
        );
        let dir = folder(&[("f/main.py", "x")]);
        let huge = File::create(dir.path().join("f/huge")).unwrap();
        huge.set_len(2 << 30).unwrap();
        let huge = told(&dir, None);
        assert!(
            huge.contains("DIR/f/huge: it brings the folder over 1 GiB"),
            "{huge}"
        );
        assert!(
            huge.contains("largest are `huge` (2 GiB), `main.py` (1 B)"),
            "{huge}"
        );
        let large = "# x\n".repeat(1_000_000);
        assert_eq!(one(&[("a.py", &large)]).files.len(), 1);
    }

    #[test]
    fn a_shell_script_gets_the_shell_that_it_asks_for() {
        let first = |script: &str| one(&[("a.sh", script)]).start.programs.remove(0);
        assert_eq!(first("#!/bin/sh\nexit\n"), ["sh"]);
        assert_eq!(first("#!/usr/bin/env sh\r\n"), ["sh"]);
        assert_eq!(first("#!/bin/bash\nexit\n"), ["bash"]);
        assert_eq!(first("exit\n"), ["bash"]);
    }

    #[test]
    fn a_filter_picks_by_name_and_ignores_the_others() {
        let dir = folder(&[("fast.py", "x"), ("slow.py", "x"), ("broken.xyz", "x")]);
        let pick = |globs: &[&str]| {
            let globs: Vec<String> = globs.iter().map(|&glob| glob.to_owned()).collect();
            load_dir(dir.path(), &globs).map(|picked| picked.len())
        };
        assert_eq!(pick(&["fa*"]), Ok(1));
        assert_eq!(pick(&["fa*", "slow"]), Ok(2));
        assert!(pick(&["fast", "none"]).is_err());
        assert_eq!(
            told(&dir, Some("fsat")),
            "error: --candidate: no candidate matches `fsat`\n  hint: did you mean `fast`?"
        );
        assert!(told(&dir, Some("b*")).contains("DIR/broken.xyz: this is neither"));
        let empty = folder(&[("README.md", "x")]);
        assert!(told(&empty, Some("x")).contains("DIR: there are no candidates in this folder"));
        assert!(told(&empty, None).contains("DIR: there are no candidates in this folder"));
    }
}
