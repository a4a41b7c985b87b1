//! The files of a revision, put into a folder of ours.
//!
//! What `git archive` leaves out or changes because attributes say so (`export-ignore`, `export-subst`) is taken from
//! the repository itself: a checkout would have it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::tree::{self, Kind, Tree};
use super::{FLAG, Revision, no_answer};
use crate::archive::unpack::{Allowed, unpack};
use crate::ignored::FORGEIGNORE;
use crate::name::RelativePath;
use crate::problem::Problem;
use crate::quantity::ByteCount;
use crate::tree::{MAX_TREE_BYTES, named, open_regular, reason};

/// The most files below the folder of candidates.
const MAX_ENTRIES: usize = 50_000;
/// The most files that are asked for one by one.
const MAX_SINGLE: usize = 500;
/// What `export-subst` replaces.
const SUBSTITUTED: &str = "$Format:";
/// How a file begins that stands for one that Git LFS keeps.
const LFS: &[u8] = b"version https://git-lfs.github.com/spec/v1\n";
/// The longest such file, in bytes.
const MAX_LFS: u64 = 1024;

/// What was taken of a revision.
#[derive(Debug)]
pub(super) struct Taken {
    /// Where the repository's root would be.
    pub(super) root: PathBuf,
    /// The folder of candidates below it.
    pub(super) candidates: PathBuf,
    /// What a checkout would have and this has not.
    pub(super) holes: Vec<Hole>,
}

/// Something that could not be taken.
#[derive(Debug)]
pub(super) struct Hole {
    /// Where it would be.
    pub(super) path: PathBuf,
    is_submodule: bool,
}

impl Hole {
    pub(super) fn why(&self, taken: &Taken) -> String {
        let below = self.path.strip_prefix(&taken.root).unwrap_or(&self.path);
        let below = crate::plain::short(&below.to_string_lossy(), 100);
        if self.is_submodule {
            format!("`{below}` is a submodule, whose files are in another repository")
        } else {
            format!("`{below}` has a name that forge does not take")
        }
    }

    pub(super) const fn hint(&self) -> &'static str {
        if self.is_submodule {
            "compare with a run that kept it: `latest`, `blessed` or an id; or leave it out with `--candidate`"
        } else {
            "take a revision where it has another name, or leave that candidate out with `--candidate`"
        }
    }
}

/// Whether a file only stands for one that Git LFS keeps.
pub(super) fn is_lfs_pointer(file: &Path) -> bool {
    let Ok((file, data)) = open_regular(file) else {
        return false;
    };
    let mut begins = Vec::new();
    data.len() <= MAX_LFS
        && file.take(LFS.len() as u64).read_to_end(&mut begins).is_ok()
        && begins == LFS
}

impl Revision<'_> {
    /// Puts the folder of candidates, and what says what is left out of it, below `scratch`.
    pub(super) fn take(&self, scratch: &Path) -> Result<Taken, Problem> {
        let folder = &self.place.folder;
        let all = tree::below(&self.place.git, self.commit, folder).map_err(|no| no_answer(&no))?;
        self.is_not_too_much(&all)?;
        let root = scratch.join("tree");
        let candidates = root.join(folder);
        let unusable = |error: &io::Error| {
            let message = format!("cannot unpack candidates as they were: {}", reason(error));
            Problem::setting(FLAG, message)
        };
        fs::create_dir_all(&candidates).map_err(|error| unusable(&error))?;
        let unpacked = self.unpack(scratch, &root)?;
        let mut holes = Vec::new();
        let mut single = BTreeSet::new();
        for (path, entry) in &all {
            let hole = |is_submodule| Hole {
                path: root.join(path),
                is_submodule,
            };
            match (&entry.kind, RelativePath::parse(path)) {
                (Kind::Submodule, _) => holes.push(hole(true)),
                (Kind::File { .. } | Kind::Link, Ok(known))
                    if known.as_str() == path && !path.contains(char::REPLACEMENT_CHARACTER) =>
                {
                    if !unpacked.contains(&known) {
                        single.insert(path.clone());
                    }
                }
                (Kind::File { .. } | Kind::Link, Ok(_) | Err(_)) => holes.push(hole(false)),
            }
        }
        single.extend(self.substituted(&all)?);
        if single.len() > MAX_SINGLE {
            let message = format!(
                "`git archive` leaves out or changes {} files of `{}` at {}, as `.gitattributes` says (`export-ignore`, `export-subst`)",
                single.len(),
                self.place.folder_shown(),
                self.version
            );
            let hint = format!(
                "forge takes up to {MAX_SINGLE} such files one by one; take another revision"
            );
            return Err(Problem::setting(FLAG, message).with_hint(hint));
        }
        for path in single {
            let is_link = all.get(&path).is_some_and(|it| it.kind == Kind::Link);
            self.take_one(&root, &path, is_link)?;
        }
        for (path, entry) in &all {
            if let Kind::File { executable } = entry.kind {
                set_executable(&root.join(path), executable).map_err(|error| unusable(&error))?;
            }
        }
        // Rules are read up to here, whatever is around it.
        let end = root.join(".git");
        if fs::symlink_metadata(&end).is_err() {
            fs::write(&end, "").map_err(|error| unusable(&error))?;
        }
        Ok(Taken {
            root,
            candidates,
            holes,
        })
    }

    fn is_not_too_much(&self, all: &Tree) -> Result<(), Problem> {
        let bytes: u64 = all.values().map(|entry| entry.bytes).sum();
        let what = if bytes > MAX_TREE_BYTES.0 {
            MAX_TREE_BYTES.to_string()
        } else if all.len() > MAX_ENTRIES {
            format!("{MAX_ENTRIES} files")
        } else {
            return Ok(());
        };
        let message = format!(
            "`{}` has more than {what} at {}",
            self.place.folder_shown(),
            self.version
        );
        let hint = "keep candidates in a folder of their own: `--candidates DIR`";
        Err(Problem::setting(FLAG, message).with_hint(hint))
    }

    fn unpack(&self, scratch: &Path, root: &Path) -> Result<BTreeSet<RelativePath>, Problem> {
        let problem = |why: &dyn std::fmt::Display| {
            let message = format!("cannot unpack what git has at {}: {why}", self.version);
            Problem::setting(FLAG, message)
        };
        let mut arguments = vec![
            "-c",
            "tar.umask=0022",
            "archive",
            "--format=tar",
            self.commit,
        ];
        let rules = self.rules_above()?;
        if !self.place.folder.is_empty() {
            arguments.push("--");
            arguments.push(&self.place.folder);
            arguments.extend(rules.iter().map(String::as_str));
        }
        let mut archive = tempfile::tempfile_in(scratch).map_err(|error| problem(&error))?;
        // Line ends and tar's own blocks come on top.
        let limit = ByteCount(MAX_TREE_BYTES.0 * 2);
        self.place
            .git
            .save(arguments, &mut archive, limit)
            .map_err(|no| no_answer(&no))?;
        let allowed = Allowed {
            bytes: limit,
            entries: MAX_ENTRIES * 2,
            foreign: true,
        };
        let unpacked = unpack(&mut archive, root, &allowed).map_err(|error| problem(&error))?;
        Ok(unpacked.files)
    }

    /// The files of the folders above that say what is left out.
    fn rules_above(&self) -> Result<Vec<String>, Problem> {
        let mut wanted = Vec::new();
        let mut folder = self.place.folder.as_str();
        while !folder.is_empty() {
            folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
            let slash = if folder.is_empty() { "" } else { "/" };
            wanted.extend([FORGEIGNORE, ".gitignore"].map(|name| format!("{folder}{slash}{name}")));
        }
        if wanted.is_empty() {
            return Ok(wanted);
        }
        let arguments = [
            "ls-tree",
            "-z",
            "--name-only",
            "--full-tree",
            self.commit,
            "--",
        ];
        let arguments = arguments
            .into_iter()
            .chain(wanted.iter().map(String::as_str));
        let listed = self.place.git.ask(arguments).map_err(|no| no_answer(&no))?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        Ok(listed.split_terminator('\0').map(str::to_owned).collect())
    }

    /// Files that `git archive` may have changed.
    fn substituted(&self, all: &Tree) -> Result<Vec<String>, Problem> {
        let mut arguments = vec![
            "grep",
            "-l",
            "-z",
            "-F",
            "--full-name",
            "--no-recurse-submodules",
        ];
        arguments.extend(["-e", SUBSTITUTED, self.commit]);
        if !self.place.folder.is_empty() {
            arguments.extend(["--", &self.place.folder]);
        }
        let found = self
            .place
            .git
            .search(arguments)
            .map_err(|no| no_answer(&no))?;
        let found = String::from_utf8_lossy(&found).into_owned();
        let found = found
            .split_terminator('\0')
            .filter_map(|it| it.split_once(':'));
        let found = found.map(|(_, path)| path.to_owned());
        Ok(found
            .filter(|path| all.contains_key(path) && RelativePath::parse(path).is_ok())
            .collect())
    }

    /// Takes one file as a checkout would have it.
    fn take_one(&self, root: &Path, path: &str, is_link: bool) -> Result<(), Problem> {
        let kind = if is_link { "blob" } else { "--filters" };
        let object = format!("{}:{path}", self.commit);
        let content = self.place.git.ask(["cat-file", kind, &object]);
        let content = content.map_err(|no| no_answer(&no))?;
        let to = root.join(path);
        let put = || -> io::Result<()> {
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)?;
            }
            match fs::remove_file(&to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            if is_link {
                use std::os::unix::ffi::OsStrExt as _;
                return symlink(std::ffi::OsStr::from_bytes(&content), &to);
            }
            let mut file = fs::File::create_new(&to)?;
            io::Write::write_all(&mut file, &content)
        };
        put().map_err(|error| Problem::setting(FLAG, named(&to)(error).to_string()))
    }
}

/// Who executes a file is for git's tree to say, whatever umask an archive was made with.
fn set_executable(file: &Path, executable: bool) -> io::Result<()> {
    let data = match fs::symlink_metadata(file) {
        Ok(data) if data.is_file() => data,
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mode = if executable { 0o755 } else { 0o644 };
    if data.permissions().mode() & 0o777 == mode {
        return Ok(());
    }
    fs::set_permissions(file, fs::Permissions::from_mode(mode))
}
