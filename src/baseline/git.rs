//! Candidates as they are at a git revision.
//!
//! Promises: the work tree and the index are not touched, nor anything else of the repository; what is loaded is what
//! a checkout of that revision would have, links, modes, line ends and rules for what is left out included; where
//! that cannot be had, it is a problem with a remedy before anything starts. Blocks: git is another program.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use globset::Glob;

use super::{FLAG, Former, Scratch};
use crate::candidate::Candidate;
use crate::candidate::load::load_wanted;
use crate::name::CandidateName;
use crate::problem::{Problem, Problems};
use crate::suggest;
use crate::tree::{locate, reason};

mod ask;
mod resolve;
mod take;
mod today;
mod tree;

use ask::{Git, NoAnswer};
use take::Taken;

/// How many things of a kind are named.
const NAMED: usize = 5;

/// What is wanted of a revision.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The folder of today's candidates, as the user would type it.
    pub candidates: &'a Path,
    /// The revision, as git understands it.
    pub revision: &'a str,
    /// Those of today whose former selves are wanted.
    pub today: &'a [Candidate],
    /// Globs of the names that take part today; all of them without one.
    pub patterns: &'a [String],
    /// Where folders for the files are made: where local sandboxes are.
    pub scratch: &'a Path,
}

/// Candidates as they are at a revision.
#[derive(Debug, Clone)]
pub struct AtRevision {
    /// The commit, in full.
    pub commit: String,
    /// Its short form, which is in the names of the candidates.
    pub version: String,
    /// Those that were wanted and are there, by name, changed since then or not.
    pub formers: Vec<Former>,
    /// Those that were wanted and are not there.
    pub absent: Vec<CandidateName>,
    /// Those that are there, would take part, and are no more today.
    pub gone: Vec<String>,
    /// Files that git ignores and that a candidate has today, such as what was built for it: its former self is
    /// without, so it is not like for like.
    pub without: BTreeMap<CandidateName, Vec<String>>,
    /// What people should know about the comparison, a sentence each.
    pub remarks: Vec<String>,
}

/// Loads candidates as they are at a revision.
///
/// # Errors
/// [`Problems`]: git or the revision cannot be had, or what is there cannot be loaded as it was.
pub fn at_revision(request: &Request<'_>) -> Result<AtRevision, Problems> {
    let place = Place::find(&Git::new(request.candidates), request.candidates)?;
    let (commit, version) = resolve::resolve(&place, request.revision)?;
    let revision = Revision {
        place: &place,
        commit: &commit,
        version: &version,
    };
    revision.has_folder(request)?;
    let cannot = |error: &std::io::Error| {
        let message = format!(
            "cannot make a folder in `{}` for candidates as they were: {}",
            request.scratch.display(),
            reason(error)
        );
        Problem::setting(FLAG, message)
    };
    let scratch = Scratch::new(request.scratch).map_err(|error| cannot(&error))?;
    let taken = revision.take(scratch.path())?;
    let wanted: BTreeSet<&str> = request.today.iter().map(|it| it.name.as_str()).collect();
    let loaded = load_wanted(&taken.candidates, &|name| wanted.contains(name));
    let (candidates, names) = loaded.map_err(|problems| revision.name(problems, &taken))?;
    let absent: Vec<CandidateName> = request
        .today
        .iter()
        .filter(|today| candidates.iter().all(|it| it.name != today.name))
        .map(|today| today.name.clone())
        .collect();
    revision.is_whole(request, &candidates, &absent, &taken)?;
    let takes_part = |name: &str| {
        let globs = request.patterns.iter();
        let mut globs = globs.filter_map(|glob| Glob::new(glob).ok());
        request.patterns.is_empty() || globs.any(|glob| glob.compile_matcher().is_match(name))
    };
    let gone = names
        .into_iter()
        .filter(|name| !wanted.contains(&**name) && takes_part(name));
    let gone: Vec<String> = gone.collect();
    let files = Arc::new(scratch);
    let mut formers = Vec::new();
    for candidate in candidates {
        formers.push(Former {
            candidate: revision.former(candidate, &taken)?,
            files: Arc::clone(&files),
        });
    }
    let mut remarks = resolve::remarks(&place, request.revision, &version);
    let unlike = today::unlike(&place, request.today)?;
    remarks.extend(unlike.remarks(&version));
    Ok(AtRevision {
        commit,
        version,
        formers,
        absent,
        gone,
        without: unlike.ignored,
        remarks,
    })
}

/// Where today's candidates are in which repository.
#[derive(Debug)]
struct Place {
    /// Asks in the work tree's root.
    git: Git,
    /// The work tree's root, by its real path.
    root: PathBuf,
    /// The folder's path below that; empty for the root itself.
    folder: String,
    /// As the user would type it.
    shown: PathBuf,
    shallow: bool,
}

impl Place {
    fn find(git: &Git, candidates: &Path) -> Result<Self, Problem> {
        let shown = || candidates.display();
        let real = std::fs::canonicalize(candidates).map_err(|error| {
            let message = format!("cannot read `{}`: {}", shown(), reason(&error));
            Problem::setting(FLAG, message)
        })?;
        let leads_to = if std::fs::symlink_metadata(candidates).is_ok_and(|it| it.is_symlink()) {
            format!(", which leads to `{}`,", real.display())
        } else {
            String::new()
        };
        let git = git.at(&real);
        let facts = [
            "--is-inside-work-tree",
            "--is-shallow-repository",
            "--show-prefix",
        ];
        let facts = git.line(["rev-parse"].into_iter().chain(facts));
        let facts = facts.map_err(|no| match no {
            NoAnswer::Refused(said) if said.contains("not a git repository") => {
                let message = format!("`{}`{leads_to} is not inside a git repository", shown());
                Problem::setting(FLAG, message).with_hint(
                    "a revision needs one; without git, compare with a stored run: `latest`, `blessed`, its id or a file",
                )
            }
            other @ (NoAnswer::Refused(_)
            | NoAnswer::Missing
            | NoAnswer::Failed(_)
            | NoAnswer::TooLong(_)) => no_answer(&other),
        })?;
        let mut facts = facts.split('\n');
        let (inside, shallow) = (facts.next(), facts.next());
        if inside != Some("true") {
            let message = format!(
                "`{}`{leads_to} is inside a git repository without a work tree",
                shown()
            );
            let hint = "candidates are compared where they are checked out: `git worktree add`, or clone it";
            return Err(Problem::setting(FLAG, message).with_hint(hint));
        }
        let folder = facts
            .next()
            .unwrap_or_default()
            .trim_end_matches('/')
            .to_owned();
        let root = git.ask(["rev-parse", "--show-toplevel"]);
        let root = root.map_err(|no| no_answer(&no))?;
        let root = String::from_utf8_lossy(&root);
        let root = PathBuf::from(root.strip_suffix('\n').unwrap_or(&root));
        if root.join(&folder).canonicalize().ok().as_deref() != Some(&*real) {
            let message = format!("git does not know `{}` by a name that is text", shown());
            return Err(Problem::setting(FLAG, message).with_hint("rename the folders above it"));
        }
        Ok(Self {
            git: git.at(&root),
            root,
            folder,
            shown: candidates.to_owned(),
            shallow: shallow == Some("true"),
        })
    }

    /// A path of the repository that git knows, as it is said.
    fn folder_shown(&self) -> &str {
        if self.folder.is_empty() {
            "."
        } else {
            &self.folder
        }
    }
}

/// What git did not answer, as a problem.
fn no_answer(no: &NoAnswer) -> Problem {
    let problem = Problem::setting(FLAG, no.to_string());
    match no {
        NoAnswer::Missing => problem.with_hint(
            "install git, or compare with a stored run: `latest`, `blessed`, its id or a file",
        ),
        NoAnswer::Refused(said) if said.contains("safe.directory") => problem.with_hint(
            "git takes no repository of somebody else's, as in containers, unless you tell it to trust that folder: `git config --global --add safe.directory FOLDER`",
        ),
        NoAnswer::Failed(_) | NoAnswer::Refused(_) | NoAnswer::TooLong(_) => problem,
    }
}

/// A commit, and the folder of candidates in it.
#[derive(Clone, Copy)]
struct Revision<'a> {
    place: &'a Place,
    commit: &'a str,
    version: &'a str,
}

impl Revision<'_> {
    fn has_folder(&self, request: &Request<'_>) -> Result<(), Problem> {
        let Place {
            git, folder, shown, ..
        } = self.place;
        let (at, typed) = (self.version, request.revision);
        let there = tree::kind_of(git, self.commit, folder).map_err(|no| no_answer(&no))?;
        let what = match there.as_deref() {
            Some("tree") => return Ok(()),
            Some("link") => "is a link, which is not followed,",
            Some("commit") => "is a submodule",
            Some(_) => "is a file",
            None => "was not there",
        };
        let message = format!(
            "`{}` {what} at `{typed}` ({at}): forge looked for the folder `{}` of the repository",
            shown.display(),
            self.place.folder_shown()
        );
        let name = folder.rsplit('/').next().unwrap_or_default();
        let sources = request
            .today
            .iter()
            .filter_map(|it| it.source.file_name()?.to_str());
        let sources: Vec<&str> = sources.collect();
        let others = tree::folders_like(git, self.commit, name, &sources);
        let others = others.map_err(|no| no_answer(&no))?;
        let hint = if others.is_empty() {
            "there is no folder like it; take a revision that has one".to_owned()
        } else {
            let named = suggest::list(others.iter().take(NAMED).map(String::as_str));
            format!(
                "was it renamed? at that revision, candidates may be in {named}; take a revision since then, or the packs of a run: `latest` or `blessed`"
            )
        };
        Err(Problem::setting(FLAG, message).with_hint(hint))
    }

    /// Whether all of each candidate is there that a checkout would have, unless it is today's anyway.
    fn is_whole(
        &self,
        request: &Request<'_>,
        candidates: &[Candidate],
        absent: &[CandidateName],
        taken: &Taken,
    ) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let at = self.version;
        let mut lacks = |name: &CandidateName, why: String, hint: &str| {
            let message = format!("`{name}` cannot be had as it was at {at}: {why}");
            problems.push(Problem::setting(FLAG, message).with_hint(hint));
        };
        for today in request.today.iter().filter(|it| absent.contains(&it.name)) {
            let source = today.source.file_name().unwrap_or_default();
            let source = taken.candidates.join(source);
            if let Some(hole) = taken.holes.iter().find(|it| it.path == source) {
                lacks(&today.name, hole.why(taken), hole.hint());
            }
        }
        for former in candidates {
            let same =
                |today: &&Candidate| today.name == former.name && today.digest == former.digest;
            if request.today.iter().any(|today| same(&today)) {
                continue;
            }
            for hole in taken
                .holes
                .iter()
                .filter(|it| it.path.starts_with(&former.source))
            {
                lacks(&former.name, hole.why(taken), hole.hint());
            }
            if let Some(file) = former
                .files
                .iter()
                .find(|it| take::is_lfs_pointer(&it.from))
            {
                let why = format!(
                    "`{}` is kept by Git LFS, and only its pointer is here",
                    file.path
                );
                let hint = format!(
                    "`git lfs install`, then `git lfs fetch origin {}`",
                    self.commit
                );
                lacks(&former.name, why, &hint);
            }
        }
        problems.or(())
    }

    /// The candidate under the name that it has beside today's.
    fn former(&self, candidate: Candidate, taken: &Taken) -> Result<Candidate, Problem> {
        let name = candidate.name.at(self.version);
        let name = name.map_err(|error| Problem::setting(FLAG, error.to_string()))?;
        Ok(Candidate {
            name,
            source: self.shown(&candidate.source, taken),
            settings: candidate
                .settings
                .as_deref()
                .map(|it| self.shown(it, taken)),
            ..candidate
        })
    }

    /// `4f1c9e2:candidates/gamma.py`, as git itself names it.
    fn shown(&self, file: &Path, taken: &Taken) -> PathBuf {
        match file.strip_prefix(&taken.root) {
            Ok(below) => PathBuf::from(format!("{}:{}", self.version, below.display())),
            Err(_elsewhere) => file.to_owned(),
        }
    }

    /// Problems with files of the revision, told of it instead of where they were unpacked.
    fn name(&self, mut problems: Problems, taken: &Taken) -> Problems {
        let unpacked = format!("{}/", taken.root.display());
        let said = format!("{}:", self.version);
        for problem in &mut problems.0 {
            locate(problem);
            problem.file = problem.file.as_deref().map(|it| self.shown(it, taken));
            problem.message = problem.message.replace(&unpacked, &said);
            let hint = problem
                .hint
                .take()
                .map(|hint| hint.replace(&unpacked, &said));
            let past = "that is how it was then: take another revision, or leave that candidate out with `--candidate`";
            problem.hint =
                Some(hint.map_or_else(|| past.to_owned(), |hint| format!("{past} ({hint})")));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_it_is_said_what_else_there_is() {
        let folder = tempfile::tempdir().unwrap();
        let git = Git::new(folder.path()).with_program("forge-has-no-such-program");
        let problem = Place::find(&git, folder.path()).unwrap_err();
        assert_eq!(problem.message, "git is not installed, or not on the PATH");
        assert!(
            problem
                .hint
                .unwrap()
                .starts_with("install git, or compare with a stored run")
        );
    }
}
