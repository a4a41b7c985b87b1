//! Which candidates there are: the scripts, programs and folders of `candidates/`.
//!
//! Promises: one order on every machine; every entry is a candidate, belongs to one, is known to be
//! something else, or is a problem; all problems of all candidates at once. How one candidate is put
//! together is in [`super::assemble`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobMatcher};

use super::Candidate;
use super::assemble::{Shape, assemble};
use super::runtime;
use super::settings::Settings;
use crate::name::{CandidateName, RelativePath};
use crate::problem::{Problem, Problems};
use crate::suggest;
use crate::tree::{Folder, Located, TreeFile, reason};

const NONE_HINT: &str = "add a script such as `candidates/NAME.py`";
const NAME_HINT: &str = "rename it, or give it a `name` in `candidate.yaml` or its sidecar";
/// Folders that tools leave behind.
const TOOL_FOLDERS: [&str; 2] = ["__pycache__", "node_modules"];
/// Extensions of what lies beside candidates and is none.
const DOCUMENTS: [&str; 4] = ["md", "txt", "toml", "json"];

/// Loads the candidates of a folder whose names match one of the globs, sorted by name; all of them when
/// there is no glob. Those that do not match are left alone: their problems are not reported.
///
/// # Errors
/// [`Problems`] of all matching candidates; when the folder is missing, has no candidate, or none that
/// matches; when two names differ in case only.
pub fn load_dir(dir: &Path, patterns: &[String]) -> Result<Vec<Candidate>, Problems> {
    let filter = filter(patterns)?;
    let cannot = |error: &std::io::Error| {
        let message = format!("cannot read the candidates: {}", reason(error));
        Problem::file(dir, message).with_hint(NONE_HINT)
    };
    let folder = Folder::open(dir).map_err(|error| cannot(&error))?;
    let mut listing = Listing::read(dir, &folder).map_err(|error| cannot(&error))?;
    let mut found: Vec<Found> = std::mem::take(&mut listing.entries)
        .into_iter()
        .map(|entry| listing.settle(entry))
        .collect();
    found.extend(listing.orphans());
    let names: Vec<String> = found.iter().filter_map(|one| one.name.clone()).collect();
    let unmatched = patterns.iter().zip(&filter).find_map(|(pattern, glob)| {
        (!names.iter().any(|name| glob.is_match(name))).then_some(pattern)
    });
    if found.is_empty() {
        let message = "there are no candidates in this folder";
        return Err(Problem::file(dir, message).with_hint(NONE_HINT).into());
    }
    if let Some(pattern) = unmatched {
        let hint = suggest::advice(pattern, names.iter().map(String::as_str));
        let message = format!("no candidate matches `{pattern}`");
        return Err(Problem::setting("--candidate", message)
            .with_hint(hint)
            .into());
    }
    found.retain(|one| match &one.name {
        _ if filter.is_empty() => true,
        Some(name) => filter.iter().any(|glob| glob.is_match(name)),
        None => false,
    });
    finish(found, &folder)
}

/// The patterns of `--candidate`, compiled.
fn filter(patterns: &[String]) -> Result<Vec<GlobMatcher>, Problems> {
    let mut problems = Problems::default();
    let globs = patterns
        .iter()
        .filter_map(|pattern| match Glob::new(pattern) {
            Ok(glob) => Some(glob.compile_matcher()),
            Err(error) => {
                problems.push(Problem::setting("--candidate", error.to_string()));
                None
            }
        })
        .collect();
    problems.or(globs)
}

fn finish(found: Vec<Found>, folder: &Folder) -> Result<Vec<Candidate>, Problems> {
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
            assemble(name, &one.shown, folder, shape, settings)
        });
        match candidate {
            Ok(candidate) => candidates.push(candidate),
            Err(more) => problems.0.extend(more.0),
        }
    }
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
}

impl<'f> Listing<'f> {
    fn read(dir: &Path, folder: &'f Folder) -> std::io::Result<Self> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir)? {
            names.push(entry?.file_name());
        }
        names.sort();
        let mut listing = Self {
            folder,
            entries: Vec::new(),
            sidecars: BTreeMap::new(),
        };
        for name in names {
            let shown = dir.join(&name);
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let stem = stem_of(Path::new(&name));
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

    fn take(&mut self, shown: PathBuf, stem: String, path: &RelativePath) {
        let extension = extension_of(path);
        let content = match self.folder.locate(path) {
            Err(obstacle) => Err(Problem::file(&shown, format!("it {}", obstacle.message))
                .with_hint(
                    "only files and folders below the candidates' folder can be candidates",
                )),
            Ok(Located::Folder) if TOOL_FOLDERS.contains(&path.as_str()) => return,
            Ok(Located::Folder) => Ok(Shape::Folder(path.clone())),
            Ok(Located::File(file)) if matches!(extension.as_str(), "yaml" | "yml") => {
                self.sidecars.entry(stem).or_default().0.push((shown, file));
                return;
            }
            Ok(Located::File(_))
                if DOCUMENTS.contains(&extension.as_str())
                    || path.as_str().to_ascii_lowercase().starts_with("readme") =>
            {
                return;
            }
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
                "make it executable with `chmod +x`, or use a known extension: {}",
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

    /// Sidecars of nobody.
    fn orphans(self) -> Vec<Found> {
        self.sidecars
            .into_iter()
            .filter(|(_, (_, claimed))| !claimed)
            .flat_map(|(stem, (files, _))| {
                files
                    .into_iter()
                    .map(move |(shown, _)| (stem.clone(), shown))
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
            .collect()
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
