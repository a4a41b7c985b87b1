//! The user's files on disk: read whole but bounded, found inside a folder, walked in one order.
//!
//! Promises: only regular files are opened, so a FIFO or a device cannot hold forge up; no link that
//! leaves the folder is followed, and none at all where a run has left files; a walk ends, at the latest at its bounds. Nothing is written, and
//! only `remove` removes.

use std::fs::{self, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::name::RelativePath;
use crate::problem::Problem;
use crate::quantity::ByteCount;
use crate::yaml::{MAX_YAML_BYTES, place_of_byte};

mod heavy;
mod open;
pub(crate) mod remove;

use heavy::By;
pub use open::{Inside, open_inside, open_regular};

/// The most files below one folder.
pub const MAX_FILES: usize = 10_000;
/// The most bytes of all files below one folder.
pub const MAX_TREE_BYTES: ByteCount = ByteCount(1024 * 1024 * 1024);

/// Whether there is nothing but folders on the way from a folder to one below it; links are none.
#[must_use]
pub fn is_folder_inside(folder: &Path, below: &Path) -> bool {
    let mut path = folder.to_owned();
    below.components().all(|part| {
        path.push(part);
        fs::symlink_metadata(&path).is_ok_and(|data| data.is_dir())
    })
}

/// The same error with the path that it is about.
pub fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn kind_of(data: &Metadata) -> &'static str {
    let kind = data.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_file() {
        "a file"
    } else {
        "a device"
    }
}

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// [`Problem`] when it cannot be read, is not a regular file, is too large or is not UTF-8.
pub fn read_text(path: &Path, limit: ByteCount) -> Result<String, Problem> {
    let cannot = |error: io::Error| {
        Problem::file(path, format!("cannot read this file: {}", reason(&error)))
    };
    let too_large = |bytes: u64| {
        Problem::file(
            path,
            format!("the file has {} and may have {limit}", ByteCount(bytes)),
        )
    };
    let (file, data) = open_regular(path).map_err(cannot)?;
    if data.len() > limit.0 {
        return Err(too_large(data.len()));
    }
    let mut bytes = Vec::new();
    // One more than allowed, for a file that has grown meanwhile.
    file.take(limit.0 + 1)
        .read_to_end(&mut bytes)
        .map_err(cannot)?;
    if bytes.len() as u64 > limit.0 {
        return Err(too_large(bytes.len() as u64));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let mut problem = Problem::file(
            path,
            format!("the byte 0x{:02X} is not UTF-8", error.as_bytes()[at]),
        )
        .with_hint("save the file as UTF-8");
        problem.at = Some(place_of_byte(error.as_bytes(), at));
        problem
    })
}

/// Finds the line and the column of a problem whose file, in YAML, and path in it are known.
pub fn locate(problem: &mut Problem) {
    let Some(file) = problem.file.as_deref() else {
        return;
    };
    if problem.at.is_none()
        && !problem.path.is_empty()
        && let Ok(text) = read_text(file, ByteCount(MAX_YAML_BYTES))
    {
        problem.at = crate::yaml::find(&text, &problem.path);
    }
}

/// What the system said, without its number.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "it is not there".to_owned();
    }
    let text = error.to_string();
    let cut = text.find(" (os error").unwrap_or(text.len());
    text[..cut].to_lowercase()
}

/// Why a file, or something in a folder, cannot be written; what is not there yet would be made. Makes nothing.
#[must_use]
pub fn cannot_write(path: &Path, is_folder: bool) -> Option<io::Error> {
    use rustix::fs::{Access, access};
    let inside = |folder: &Path| match folder.metadata() {
        Ok(data) if data.is_dir() => access(folder, Access::WRITE_OK | Access::EXEC_OK).err(),
        Ok(_) => Some(rustix::io::Errno::NOTDIR),
        Err(_) => Some(rustix::io::Errno::ACCESS),
    };
    let error = match path.metadata() {
        Ok(_) if is_folder => inside(path),
        Ok(data) if data.is_dir() => Some(rustix::io::Errno::ISDIR),
        Ok(_) => access(path, Access::WRITE_OK).err(),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Some(error),
        Err(_) => {
            let here = Path::new(".");
            let above = path.ancestors().skip(1);
            let above = above.map(|it| if it.as_os_str().is_empty() { here } else { it });
            let mut there = above.filter(|it| it.symlink_metadata().is_ok());
            there.next().and_then(inside)
        }
    };
    error.map(io::Error::from)
}

/// The SHA-256 of a regular file, in hex, read piece by piece.
///
/// # Errors
/// When it cannot be read.
pub fn hash_file(path: &Path) -> io::Result<String> {
    let (mut file, data) = open_regular(path)?;
    let mut hasher = Sha256::new();
    // A byte more than there should be, so that most files are read at once.
    let size = usize::try_from(data.len()).unwrap_or(usize::MAX);
    let mut piece = vec![0; size.clamp(1, 64 * 1024 - 1) + 1];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(crate::plain::hex(&hasher.finalize())),
            n => hasher.update(&piece[..n]),
        }
    }
}

/// What a path of a folder leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// A regular file, by its real path.
    File(TreeFile),
    /// A folder.
    Folder,
}

/// A regular file below a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TreeFile {
    /// Its path below the folder.
    pub path: RelativePath,
    /// Where it really is.
    pub from: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Whether anybody may execute it.
    pub executable: bool,
}

impl TreeFile {
    fn of(path: RelativePath, from: PathBuf, data: &Metadata) -> Self {
        Self {
            path,
            from,
            bytes: data.len(),
            executable: data.permissions().mode() & 0o111 != 0,
        }
    }
}

/// Something in a folder that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// Its path below the folder, for people.
    pub path: String,
    /// What is wrong with it, to be read after the path: `leads out of the folder`.
    pub message: String,
    /// Whether it simply is not there.
    pub missing: bool,
    /// Where a bound is passed: the largest parts of the folder, for people.
    pub largest: Vec<String>,
}

impl Obstacle {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
            missing: false,
            largest: Vec::new(),
        }
    }
}

/// A folder that nothing leaves.
#[derive(Debug, Clone)]
pub struct Folder {
    real: PathBuf,
}

impl Folder {
    /// Opens a folder.
    ///
    /// # Errors
    /// When it is not there or is not a folder.
    pub fn open(path: &Path) -> io::Result<Self> {
        // The parent of `a.yaml` is the empty path.
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let real = fs::canonicalize(path)?;
        if !fs::metadata(&real)?.is_dir() {
            return Err(io::Error::other("it is not a folder"));
        }
        Ok(Self { real })
    }

    /// Opens a folder of this one as one of its own: nothing leaves that either.
    ///
    /// # Errors
    /// When it is not there or is not a folder.
    pub fn open_below(&self, path: &RelativePath) -> io::Result<Self> {
        Self::open(&self.real.join(path))
    }

    /// Where it really is.
    #[must_use]
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// Finds what a path leads to, links followed as long as they stay inside.
    ///
    /// # Errors
    /// [`Obstacle`] when nothing is there, a link leads out, or it is neither a file nor a folder.
    pub fn locate(&self, path: &RelativePath) -> Result<Located, Obstacle> {
        let refuse = |message: String| Obstacle::new(path.as_str(), message);
        let from = fs::canonicalize(self.real.join(path)).map_err(|error| Obstacle {
            missing: error.kind() == io::ErrorKind::NotFound
                && fs::symlink_metadata(self.real.join(path)).is_err(),
            ..refuse(match fs::symlink_metadata(self.real.join(path)) {
                Ok(data) if data.is_symlink() => "is a link that leads nowhere".to_owned(),
                Ok(_) | Err(_) if error.kind() == io::ErrorKind::NotFound => {
                    "is not there".to_owned()
                }
                Ok(_) | Err(_) => format!("cannot be read: {}", reason(&error)),
            })
        })?;
        if !from.starts_with(&self.real) {
            return Err(refuse("is a link that leads out of its folder".to_owned()));
        }
        let data = fs::metadata(&from)
            .map_err(|error| refuse(format!("cannot be read: {}", reason(&error))))?;
        if data.is_dir() {
            return Ok(Located::Folder);
        }
        if !data.is_file() {
            return Err(refuse(format!("is {}, not a regular file", kind_of(&data))));
        }
        Ok(Located::File(TreeFile::of(path.clone(), from, &data)))
    }

    /// Finds a regular file.
    ///
    /// # Errors
    /// [`Obstacle`] as for [`Folder::locate`], and for a folder.
    pub fn file(&self, path: &RelativePath) -> Result<TreeFile, Obstacle> {
        match self.locate(path)? {
            Located::File(file) => Ok(file),
            Located::Folder => Err(Obstacle::new(path.as_str(), "is a folder, not a file")),
        }
    }

    /// All files below a path of the folder (or below the folder itself), sorted by path. What `skip` says
    /// is left out, whatever it is: it is asked with the path of each entry, and whether that is a folder or a
    /// link to one. Links to files inside are followed, links to folders are refused.
    ///
    /// # Errors
    /// Every [`Obstacle`] on the way; one alone when a bound is passed.
    pub fn walk(
        &self,
        below: Option<&RelativePath>,
        skip: &dyn Fn(&Path, bool) -> bool,
    ) -> Result<Vec<TreeFile>, Vec<Obstacle>> {
        let mut walk = Walk::default();
        let mut folders = vec![below.cloned()];
        while let Some(folder) = folders.pop() {
            if let Err(passed) = self.walk_one(folder.as_ref(), skip, &mut folders, &mut walk) {
                let (mut obstacle, by) = passed;
                if let Some(by) = by {
                    let start =
                        below.map_or_else(|| self.real.clone(), |path| self.real.join(path));
                    obstacle.largest = heavy::heaviest(&start, by, skip);
                }
                return Err(vec![obstacle]);
            }
        }
        if walk.obstacles.is_empty() {
            walk.files.sort();
            Ok(walk.files)
        } else {
            walk.obstacles.sort_by(|a, b| a.path.cmp(&b.path));
            Err(walk.obstacles)
        }
    }

    fn walk_one(
        &self,
        folder: Option<&RelativePath>,
        skip: &dyn Fn(&Path, bool) -> bool,
        folders: &mut Vec<Option<RelativePath>>,
        walk: &mut Walk,
    ) -> Result<(), (Obstacle, Option<By>)> {
        let shown = folder.map_or(".", RelativePath::as_str);
        let unreadable = |error: &io::Error| {
            let message = format!("cannot be read: {}", reason(error));
            (Obstacle::new(shown, message), None)
        };
        let named = folder.map_or_else(|| self.real.clone(), |path| self.real.join(path));
        // What is in it and no link is where its name says, and need not be looked for.
        let real = fs::canonicalize(&named).map_err(|error| unreadable(&error))?;
        let is_inside = real.starts_with(&self.real);
        for entry in fs::read_dir(&named).map_err(|error| unreadable(&error))? {
            let entry = entry.map_err(|error| unreadable(&error))?;
            let kind = entry.file_type().ok();
            let is_link = kind.is_some_and(|kind| kind.is_symlink());
            let is_folder = match kind {
                Some(kind) if !is_link => kind.is_dir(),
                Some(_) | None => fs::metadata(entry.path()).is_ok_and(|data| data.is_dir()),
            };
            if skip(&entry.path(), is_folder) {
                continue;
            }
            walk.entries += 1;
            if walk.entries > MAX_FILES {
                let message = format!("holds more than {MAX_FILES} files");
                return Err((Obstacle::new(shown, message), Some(By::Files)));
            }
            let name = entry.file_name();
            let lossy = name.to_string_lossy();
            let full = folder.map_or_else(|| lossy.to_string(), |path| format!("{path}/{lossy}"));
            if name.to_str().is_none() {
                walk.obstacles
                    .push(Obstacle::new(full, "has a name that is not UTF-8"));
                continue;
            }
            let path = match RelativePath::parse(&full) {
                Ok(path) => path,
                Err(error) => {
                    walk.obstacles
                        .push(Obstacle::new(full, format!("cannot be used: {error}")));
                    continue;
                }
            };
            let located = match kind.filter(|_| is_inside) {
                Some(kind) if kind.is_dir() => Ok(Located::Folder),
                Some(kind) if kind.is_file() => match entry.metadata() {
                    Ok(data) if data.is_file() => Ok(Located::File(TreeFile::of(
                        path.clone(),
                        real.join(&name),
                        &data,
                    ))),
                    // Not any more.
                    Ok(_) | Err(_) => self.locate(&path),
                },
                Some(_) | None => self.locate(&path),
            };
            match located {
                Ok(Located::Folder) if is_link => walk.obstacles.push(Obstacle::new(
                    full,
                    "is a link to a folder; only links to files are followed",
                )),
                Ok(Located::Folder) => folders.push(Some(path)),
                Ok(Located::File(file)) => {
                    walk.bytes = walk.bytes.saturating_add(file.bytes);
                    if walk.bytes > MAX_TREE_BYTES.0 {
                        let message = format!("brings the folder over {MAX_TREE_BYTES}");
                        return Err((Obstacle::new(full, message), Some(By::Bytes)));
                    }
                    walk.files.push(file);
                }
                Err(obstacle) => walk.obstacles.push(obstacle),
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Walk {
    files: Vec<TreeFile>,
    obstacles: Vec<Obstacle>,
    entries: usize,
    bytes: u64,
}
