//! Bringing files home from a sandbox whose programs may have been hostile.
//!
//! Promises: no link is followed; the order is that of the paths; what is in memory of it is bounded, however large.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, Dir, DirEntry, FileType};
use rustix::io::Errno;

use super::ahead::Ahead;
use super::place::open_folder;
use crate::name::RelativePath;
use crate::sandbox::patterns::{Patterns, shown};
use crate::sandbox::{Area, ArtifactSink, Collect, Collected, SandboxError, Skipped};
use reading::{Piece, Reading};
use written::since_then;

mod reading;
mod written;

const OPERATION: &str = "collect artifacts";
/// How deep folders are looked into. Each level costs a descriptor for a moment.
const MAX_DEPTH: usize = 32;
/// How many entries are looked at.
const MAX_ENTRIES: usize = 20_000;
/// How many skipped things are named.
const MAX_SKIPPED: usize = 100;

/// Brings home what is in folders of this machine: for a provider whose sandboxes' files are here, or were brought
/// here first, by a mount, a download or an archive. Whatever wrote them may have been hostile.
///
/// # Errors
/// [`SandboxError`] when a pattern makes no sense, this machine fails, or the sink does. A folder that cannot be
/// opened is one without files.
///
/// # Cancel safety
/// Dropping the future leaves the file that was being written unfinished in the sink.
pub async fn bring_home(
    work: &Path,
    artifacts: &Path,
    what: &Collect,
    home: &mut dyn ArtifactSink,
) -> Result<Collected, SandboxError> {
    let open = |folder: &Path| open_folder(rustix::fs::CWD, folder).ok();
    collect(open(work), open(artifacts), None, what, home).await
}

/// Collects. `work` and `artifacts` are the open folders; one that could not be opened is `None`. `since` is
/// when the last command began.
pub(super) async fn collect(
    work: Option<OwnedFd>,
    artifacts: Option<OwnedFd>,
    since: Option<SystemTime>,
    what: &Collect,
    home: &mut dyn ArtifactSink,
) -> Result<Collected, SandboxError> {
    let patterns = Patterns::new(&what.files, OPERATION)?;
    let mut reading = Reading::new(what);
    let mut written = Vec::new();
    if let Some(work) = work {
        reading.begin(Area::Work, work, vec![what.output.clone()]);
        reading = bring(reading, home).await?;
        if let Some(since) = since
            && let Some(work) = reading.where_nothing_was()
        {
            written = since_then(work, since);
        }
    }
    if let Some(artifacts) = artifacts
        && !what.files.is_empty()
    {
        let mut walk = Walk {
            patterns: &patterns,
            found: Vec::new(),
            entries: 0,
            skipped: &mut reading.skipped,
        };
        walk.folder(&artifacts, "", 0);
        let mut found = walk.found;
        found.sort();
        reading.begin(Area::Artifacts, artifacts, found);
        reading = bring(reading, home).await?;
    }
    Ok(Collected {
        written,
        ..reading.skipped.into_collected()
    })
}

#[derive(Debug, Default)]
struct Skips {
    named: Vec<Skipped>,
    unnamed: usize,
}

impl Skips {
    fn push(&mut self, path: &str, reason: impl Into<String>) {
        if self.named.len() == MAX_SKIPPED {
            self.unnamed += 1;
            return;
        }
        self.named.push(Skipped {
            path: path.to_owned(),
            reason: reason.into(),
        });
    }

    fn into_collected(mut self) -> Collected {
        self.named.sort_by(|a, b| a.path.cmp(&b.path));
        if self.unnamed > 0 {
            self.named.push(Skipped {
                path: format!("{} more", self.unnamed),
                reason: "were skipped too".to_owned(),
            });
        }
        Collected {
            skipped: self.named,
            written: Vec::new(),
        }
    }
}

/// The search for wanted files.
struct Walk<'a> {
    patterns: &'a Patterns,
    found: Vec<RelativePath>,
    entries: usize,
    skipped: &'a mut Skips,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &OwnedFd, path: &str, depth: usize) {
        let entries = match Dir::read_from(folder) {
            Ok(entries) => entries,
            Err(error) => return self.skipped.push(path, unreadable(error)),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.skipped.push(path, unreadable(error)),
            };
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            if self.entries == MAX_ENTRIES {
                return self.skipped.push(
                    if path.is_empty() { "." } else { path },
                    format!(
                        "holds more than {MAX_ENTRIES} files and folders; not all were looked at"
                    ),
                );
            }
            self.entries += 1;
            self.entry(folder, path, &entry, depth);
        }
    }

    fn entry(&mut self, folder: &OwnedFd, above: &str, entry: &DirEntry, depth: usize) {
        let name = entry.file_name();
        // What is not a name here is shown without its dangerous characters.
        let text = name.to_string_lossy();
        let path = match above {
            "" => text.into_owned(),
            above => format!("{above}/{text}"),
        };
        let below = self.patterns.wants_below(&path);
        let wanted = self.patterns.wants(&path);
        if !below && !wanted {
            return;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => match kind(folder, name) {
                Ok(kind) => kind,
                Err(error) => return self.skipped.push(&shown(&path), unreadable(error)),
            },
            known @ (FileType::RegularFile
            | FileType::Directory
            | FileType::Symlink
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice) => known,
        };
        if kind == FileType::Directory {
            if self.patterns.names(&path) {
                self.skipped.push(&shown(&path), "is a folder");
            } else if below && depth == MAX_DEPTH {
                self.skipped.push(
                    &shown(&path),
                    format!("is more than {MAX_DEPTH} folders deep"),
                );
            } else if below {
                match open_folder(folder, name) {
                    Ok(inner) => self.folder(&inner, &path, depth + 1),
                    Err(error) => self.skipped.push(&shown(&path), unreadable(error)),
                }
            }
            return;
        }
        // A link where a folder with something wanted could be is worth a word too.
        if !wanted && kind != FileType::Symlink {
            return;
        }
        match (peculiar(kind), name.to_str(), RelativePath::parse(&path)) {
            (Some(reason), _, _) => self.skipped.push(&shown(&path), reason),
            (None, Ok(_), Ok(path)) => self.found.push(path),
            (None, Err(_), _) | (None, _, Err(_)) => self
                .skipped
                .push(&shown(&path), "has a name that is not plain text"),
        }
    }
}

fn kind<P: rustix::path::Arg>(folder: &OwnedFd, name: P) -> rustix::io::Result<FileType> {
    let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}

/// Why something of this kind is not brought home. `None` for a regular file.
fn peculiar(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile => None,
        FileType::Symlink => Some("is a symbolic link"),
        FileType::Directory => Some("is a folder"),
        FileType::Fifo => Some("is a named pipe"),
        FileType::Socket => Some("is a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("is a device"),
        FileType::Unknown => Some("is not a regular file"),
    }
}

fn unreadable(error: Errno) -> String {
    format!(
        "cannot be read: {}",
        io::Error::from(error).to_string().to_lowercase()
    )
}

/// Reads and brings home, at the same time where there is more than one piece of it.
async fn bring(reading: Reading, home: &mut dyn ArtifactSink) -> Result<Reading, SandboxError> {
    let cannot = |error| SandboxError::machine(OPERATION, error);
    let mut ahead = Ahead::of(reading, Reading::fill);
    let mut piece = Piece::default();
    while let Some(next) = ahead.next(piece).await.map_err(cannot)? {
        piece = next;
        piece.bring(home).await?;
    }
    ahead.end().map_err(cannot)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::quantity::ByteCount;
    use crate::sandbox::local::place::opens::Opens;

    /// Knows how much came home.
    #[derive(Default)]
    struct Home(Vec<u8>, usize);

    impl ArtifactSink for Home {
        fn begin(&mut self, _: Area, _: &RelativePath, _: u64) -> io::Result<()> {
            Ok(())
        }

        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }

        fn end(&mut self) -> io::Result<()> {
            self.1 += 1;
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_folder_is_not_opened_again_for_each_of_its_files() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("artifacts/a/b");
        std::fs::create_dir_all(&deep).unwrap();
        // More than there are in a piece.
        for number in 0..300 {
            std::fs::write(deep.join(number.to_string()), "x").unwrap();
        }
        let mut opens = Opens::of(&root.path().join("artifacts/a"));
        let mut opens_inside = Opens::of(&deep);
        let what = Collect {
            output: RelativePath::parse("out.md").unwrap(),
            files: vec!["**".to_owned()],
            limit: ByteCount::kib(1),
            max_files: 1_000,
        };
        let mut home = Home::default();
        let (work, artifacts) = (root.path().join("none"), root.path().join("artifacts"));
        bring_home(&work, &artifacts, &what, &mut home)
            .await
            .unwrap();
        assert_eq!((home.0.len(), home.1), (300, 300));
        // To be looked into, and to be read from: each is two, and each has one in it.
        assert!(opens.count() <= 6);
        // The files themselves, once each.
        assert!(opens_inside.count() <= 304);
    }
}
