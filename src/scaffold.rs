//! New files: a project that runs at once, a candidate, an objective. What `forge init` and `forge new` write.
//!
//! Promises: nothing that is there is changed, and all or nothing is written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use crate::name::{CandidateName, ObjectiveName};
use crate::schema::Kind;
use crate::tree::named;

mod language;

pub use language::Language;

/// The folder of a project in which the schemas for editors are.
pub const SCHEMAS: &str = ".forge/schemas";

/// A file to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFile {
    /// Its path, relative to the project's folder.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
    /// Whether it can be started.
    pub executable: bool,
    /// What it is, in a few words; empty where that need not be told.
    pub about: &'static str,
}

impl NewFile {
    fn new(path: impl Into<PathBuf>, text: impl Into<String>, about: &'static str) -> Self {
        Self {
            path: path.into(),
            text: text.into(),
            executable: false,
            about,
        }
    }

    fn executable(self) -> Self {
        Self {
            executable: true,
            ..self
        }
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum NotWritten {
    /// Something is there already.
    #[error("{} would be overwritten", crate::suggest::list(.0.iter().map(|it| it.to_str().unwrap_or("a file"))))]
    Taken(Vec<PathBuf>),
    /// The file system refused. What had been written by then was removed.
    #[error("cannot write")]
    Io(#[from] io::Error),
}

/// A project with two candidates and an objective that tells them apart.
#[must_use]
pub fn project() -> Vec<NewFile> {
    let mut files = vec![
        NewFile::new(
            "candidates/quick.sh",
            include_str!("scaffold/demo/quick.sh"),
            "a candidate, in shell",
        )
        .executable(),
        NewFile::new(
            "candidates/quick.yaml",
            include_str!("scaffold/demo/quick.yaml"),
            "",
        ),
        NewFile::new(
            "candidates/careful.py",
            include_str!("scaffold/demo/careful.py"),
            "another one, in Python",
        )
        .executable(),
        NewFile::new(
            "candidates/careful.yaml",
            include_str!("scaffold/demo/careful.yaml"),
            "",
        ),
        NewFile::new(
            "objectives/release-notes.yaml",
            include_str!("scaffold/demo/release-notes.yaml"),
            "what both are to do, and how it is judged",
        ),
        NewFile::new(
            "objectives/data/commits.txt",
            include_str!("scaffold/demo/commits.txt"),
            "what they are given for it",
        ),
        NewFile::new(
            "objectives/checks/release-notes.md",
            include_str!("scaffold/demo/release-notes.md"),
            "the answer that is expected; no candidate sees it",
        ),
        NewFile::new(
            "forge.yaml",
            include_str!("scaffold/demo/forge.yaml"),
            "the project's defaults",
        ),
        NewFile::new(
            ".gitignore",
            include_str!("scaffold/demo/gitignore"),
            "results and keys stay out of git",
        ),
        NewFile::new(
            ".github/workflows/forge.yml",
            include_str!("scaffold/demo/nightly.yml"),
            "all of it every night, on GitHub",
        ),
    ];
    files.extend([Kind::Forge, Kind::Objective, Kind::Candidate].map(schema));
    files
}

/// What an editor checks a file by.
fn schema(kind: Kind) -> NewFile {
    NewFile::new(
        format!("{SCHEMAS}/{}.json", kind.name()),
        kind.text(),
        "for editors",
    )
}

/// A script in `folder`, the candidates' folder by its path from the project's, with its settings beside it; the name
/// without a version.
#[must_use]
pub fn candidate(folder: &Path, name: &CandidateName, language: Language) -> Vec<NewFile> {
    let script = format!("{}.{}", name.base(), language.extension());
    let settings = "description: what is special about it, in a line\n";
    vec![
        NewFile::new(folder.join(script), language.template(), "the candidate").executable(),
        NewFile::new(
            folder.join(format!("{}.yaml", name.base())),
            modeline(folder, Kind::Candidate) + settings,
            "its settings",
        ),
    ]
}

/// An objective in `folder`, the objectives' folder by its path from the project's.
#[must_use]
pub fn objective(folder: &Path, name: &ObjectiveName) -> Vec<NewFile> {
    let text = include_str!("scaffold/objective.yaml").replace("TITLE", name.as_str());
    vec![NewFile::new(
        folder.join(format!("{name}.yaml")),
        modeline(folder, Kind::Objective) + &text,
        "the objective",
    )]
}

/// The schema that a new file in `folder` names, where the project has none yet.
#[must_use]
pub fn schema_for(project: &Path, folder: &Path, kind: Kind) -> Option<NewFile> {
    let file = schema(kind);
    let named = !modeline(folder, kind).is_empty();
    (named && fs::symlink_metadata(project.join(&file.path)).is_err()).then_some(file)
}

/// What tells an editor where the schema is: a path from the file's folder, because that is right without a network.
/// Nothing for a folder outside of the project, from where no path is right on every machine.
fn modeline(folder: &Path, kind: Kind) -> String {
    let mut up = String::new();
    for part in folder.components() {
        match part {
            Component::Normal(_) => up.push_str("../"),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return String::new();
            }
        }
    }
    let name = kind.name();
    format!("# yaml-language-server: $schema={up}{SCHEMAS}/{name}.json\n")
}

/// Which of these files, or of the folders that they need, are something else already.
#[must_use]
pub fn taken(project: &Path, files: &[NewFile]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for file in files {
        if fs::symlink_metadata(project.join(&file.path)).is_ok() {
            found.push(file.path.clone());
        }
        for folder in folders(&file.path) {
            // A link to a folder may lead out of the project.
            let is_other = fs::symlink_metadata(project.join(folder)).is_ok_and(|it| !it.is_dir());
            if is_other && !found.iter().any(|it| it == folder) {
                found.push(folder.to_owned());
            }
        }
    }
    found
}

/// The folders that a file is in, the outermost first.
fn folders(path: &Path) -> Vec<&Path> {
    let mut folders: Vec<&Path> = path
        .ancestors()
        .skip(1)
        .filter(|it| !it.as_os_str().is_empty())
        .collect();
    folders.reverse();
    folders
}

/// Writes files below a project's folder, which is made where it is not there.
///
/// # Errors
/// [`NotWritten`]: what is there already; what the file system refused.
pub fn write(project: &Path, files: &[NewFile]) -> Result<(), NotWritten> {
    let taken = taken(project, files);
    if !taken.is_empty() {
        return Err(NotWritten::Taken(taken));
    }
    let mut made = Made::default();
    let written = files.iter().try_for_each(|file| {
        let path = project.join(&file.path);
        made.folders(path.parent().unwrap_or(project))?;
        made.file(&path, file).map_err(named(&path))
    });
    if let Err(error) = written {
        made.remove();
        return Err(error.into());
    }
    Ok(())
}

/// What was made until now, so that nothing half is left.
#[derive(Debug, Default)]
struct Made(Vec<PathBuf>);

impl Made {
    fn folders(&mut self, folder: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> = folder
            .ancestors()
            .take_while(|it| !it.as_os_str().is_empty() && !it.is_dir())
            .collect();
        while let Some(folder) = missing.pop() {
            fs::create_dir(folder).map_err(named(folder))?;
            self.0.push(folder.to_owned());
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, file: &NewFile) -> io::Result<()> {
        let mode = if file.executable { 0o777 } else { 0o666 };
        let mut options = OpenOptions::new();
        // One that has come to be meanwhile is not written over.
        let mut to = options.write(true).create_new(true).mode(mode).open(path)?;
        self.0.push(path.to_owned());
        to.write_all(file.text.as_bytes())
    }

    /// The last first: a folder is empty when its turn comes, or somebody else's too, and stays.
    fn remove(self) {
        for path in self.0.iter().rev() {
            drop(fs::remove_file(path).or_else(|_| fs::remove_dir(path)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_project_is_one_that_can_be_loaded() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir.path().join("a/b"), &project()).unwrap();
        let dir = dir.path().join("a/b");
        let candidates = crate::candidate::load::load_dir(&dir.join("candidates"), &[]).unwrap();
        let names: Vec<&str> = candidates.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["careful", "quick"]);
        assert!(candidates.iter().all(|it| it.description.is_some()));
        let objectives = crate::objective::load::load_dir(&dir.join("objectives")).unwrap();
        assert_eq!(objectives.len(), 1);
        assert!(objectives[0].reference.is_some());
        assert!(crate::project::Project::load(&dir.join("forge.yaml")).is_ok());
    }

    #[test]
    fn what_is_there_is_named_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("forge.yaml"), "mine").unwrap();
        fs::write(dir.path().join("objectives"), "a file").unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join(".gitignore")).unwrap();
        match write(dir.path(), &project()) {
            Err(NotWritten::Taken(found)) => {
                let found: Vec<&str> = found.iter().map(|it| it.to_str().unwrap()).collect();
                assert_eq!(found, ["objectives", "forge.yaml", ".gitignore"]);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn what_cannot_be_finished_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let long = "x".repeat(300);
        let files = [
            NewFile::new("a/b", "text", ""),
            NewFile::new(format!("c/{long}"), "text", ""),
        ];
        assert!(matches!(write(dir.path(), &files), Err(NotWritten::Io(_))));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_editor_finds_the_schema_from_the_files_own_folder() {
        for (folder, expected) in [
            ("", "=.forge/schemas/objective.json\n"),
            ("objectives", "=../.forge/schemas/objective.json\n"),
            ("./a/b", "=../../.forge/schemas/objective.json\n"),
            ("../a", ""),
            ("/a", ""),
        ] {
            let line = modeline(Path::new(folder), Kind::Objective);
            let line = line.trim_start_matches("# yaml-language-server: $schema");
            assert_eq!(line, expected, "{folder}");
        }
    }

    #[test]
    fn every_language_gives_a_candidate_that_is_loaded() {
        for language in Language::ALL {
            let dir = tempfile::tempdir().unwrap();
            let name = CandidateName::parse("mine").unwrap();
            let folder = Path::new("candidates");
            write(dir.path(), &candidate(folder, &name, language)).unwrap();
            let loaded = crate::candidate::load::load_dir(&dir.path().join(folder), &[]);
            let loaded = loaded.unwrap();
            assert_eq!(loaded[0].name, name);
            assert!(loaded[0].cannot_start.is_none(), "{language:?}");
        }
    }
}
