//! Reading what comes home, in pieces: what is small goes into one piece with its neighbours.
//!
//! Promises: no link is followed, not even among the folders above a file; only regular files are opened; no more is read
//! of a file than its size was when it was opened, and no more of all than may come home; a piece holds a bounded number
//! of bytes and files.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Skips, kind, peculiar, unreadable};
use crate::name::RelativePath;
use crate::quantity::ByteCount;
use crate::sandbox::local::neighbour::Neighbour;
use crate::sandbox::local::place::open_folder;
use crate::sandbox::{Area, ArtifactSink, Collect, SandboxError};

/// The most bytes of a piece.
const PIECE: usize = 64 * 1024;
/// The most steps of a piece: many files have nothing in them.
const STEPS: usize = 256;

/// Something for the sink.
#[derive(Debug)]
enum Step {
    Begin(Area, RelativePath, u64),
    /// So many of the piece's bytes, behind those before.
    Write(usize),
    End,
}

/// Some files, and parts of files, on their way.
#[derive(Debug, Default)]
pub(super) struct Piece {
    steps: Vec<Step>,
    bytes: Vec<u8>,
    /// How many of the bytes count.
    filled: usize,
}

impl Piece {
    /// Gives all of it to the sink. It can be filled again then.
    pub(super) async fn bring(&mut self, home: &mut dyn ArtifactSink) -> Result<(), SandboxError> {
        let mut bytes = &self.bytes[..self.filled];
        self.filled = 0;
        for step in self.steps.drain(..) {
            let taken = match step {
                Step::Begin(area, path, size) => home.begin(area, &path, size),
                Step::Write(count) => {
                    let (now, later) = bytes.split_at(count);
                    bytes = later;
                    home.write(now)
                }
                Step::End => home.end(),
            };
            taken.map_err(|error| SandboxError::home("store an artifact", error))?;
            // Thousands of them are no reason for others to wait.
            tokio::task::coop::consume_budget().await;
        }
        Ok(())
    }
}

/// The files of an area that are still to be read.
#[derive(Debug)]
struct Source {
    area: Area,
    folder: OwnedFd,
    last: Neighbour,
    paths: std::vec::IntoIter<RelativePath>,
    /// The one that is being read, and how much of it is left.
    open: Option<(File, u64)>,
}

/// The files to be read, and what may still pass.
#[derive(Debug)]
pub(super) struct Reading {
    source: Option<Source>,
    limit: ByteCount,
    bytes: u64,
    files: usize,
    max_files: usize,
    pub(super) skipped: Skips,
}

/// What opening found.
enum Opened {
    File(File, u64),
    Peculiar(String),
    Absent,
}

impl Reading {
    pub(super) fn new(what: &Collect) -> Self {
        Self {
            source: None,
            limit: what.limit,
            bytes: what.limit.0,
            files: what.max_files,
            max_files: what.max_files,
            skipped: Skips::default(),
        }
    }

    /// Begins with files of an area, in their order.
    pub(super) fn begin(&mut self, area: Area, folder: OwnedFd, paths: Vec<RelativePath>) {
        self.source = Some(Source {
            area,
            folder,
            last: Neighbour::default(),
            paths: paths.into_iter(),
            open: None,
        });
    }

    /// The folder that was read last, if nothing was there, nor in one before it.
    pub(super) fn where_nothing_was(&self) -> Option<&OwnedFd> {
        let is_absent = self.files == self.max_files && self.skipped.named.is_empty();
        let source = self.source.as_ref().filter(|_| is_absent);
        source.map(|source| &source.folder)
    }

    /// Reads until a piece is full. Returns whether there is more.
    pub(super) fn fill(&mut self, piece: &mut Piece) -> io::Result<bool> {
        while let Some(source) = &mut self.source {
            if piece.steps.len() >= STEPS {
                return Ok(true);
            }
            let Some((file, left)) = &mut source.open else {
                let Some(path) = source.paths.next() else {
                    break;
                };
                self.open(path, piece);
                continue;
            };
            let room = PIECE - piece.filled;
            let rest = usize::try_from(*left).unwrap_or(usize::MAX);
            // What fits into one piece is in one.
            if room < rest.min(PIECE) {
                return Ok(true);
            }
            let end = piece.filled + rest.min(room);
            if piece.bytes.len() < end {
                piece.bytes.resize(end, 0);
            }
            let length = match file.read(&mut piece.bytes[piece.filled..end]) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if length > 0 {
                piece.filled += length;
                piece.steps.push(Step::Write(length));
                *left -= length as u64;
                self.bytes -= length as u64;
            }
            // It is read, or it has shrunk.
            if *left == 0 || length == 0 {
                piece.steps.push(Step::End);
                source.open = None;
            }
        }
        Ok(false)
    }

    /// Opens the next file, unless it may not come home.
    fn open(&mut self, path: RelativePath, piece: &mut Piece) {
        let Some(source) = &mut self.source else {
            return;
        };
        let (file, size) = match open(&source.folder, &path, &mut source.last) {
            Opened::File(file, size) => (file, size),
            Opened::Absent => return,
            Opened::Peculiar(reason) => return self.skipped.push(path.as_str(), reason),
        };
        if size > self.bytes {
            let reason = if size > self.limit.0 {
                format!("is larger than {} (limits.artifacts)", self.limit)
            } else {
                format!(
                    "does not fit into what is left of {} (limits.artifacts)",
                    self.limit
                )
            };
            return self.skipped.push(path.as_str(), reason);
        }
        if self.files == 0 {
            let reason = format!(
                "is more than the {} files that may come home",
                self.max_files
            );
            return self.skipped.push(path.as_str(), reason);
        }
        self.files -= 1;
        piece.steps.push(Step::Begin(source.area, path, size));
        if size == 0 {
            piece.steps.push(Step::End);
        } else {
            source.open = Some((file, size));
        }
    }
}

/// Opens a regular file below a folder, through nothing but folders.
fn open(area: &OwnedFd, path: &RelativePath, last: &mut Neighbour) -> Opened {
    let enter = |parent: &OwnedFd, part: &str| {
        open_folder(parent, part).map_err(|error| match error {
            Errno::NOENT => Opened::Absent,
            Errno::NOTDIR | Errno::LOOP => {
                Opened::Peculiar(format!("`{part}` above it is not a folder"))
            }
            error => Opened::Peculiar(unreadable(error)),
        })
    };
    let (folder, name) = match last.folder_of(area, path, enter) {
        Ok(found) => found,
        Err(why) => return why,
    };
    // Asked before opening, because opening a device can have effects; and after, because it may be another file by then.
    match kind(folder, name).map(peculiar) {
        Ok(None) => {}
        Ok(Some(reason)) => return Opened::Peculiar(reason.to_owned()),
        Err(Errno::NOENT) => return Opened::Absent,
        Err(error) => return Opened::Peculiar(unreadable(error)),
    }
    // Should it have been replaced since: neither a link nor a named pipe traps this.
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(folder, name, flags, Mode::empty()) {
        Ok(file) => file,
        Err(error) => return Opened::Peculiar(unreadable(error)),
    };
    match rustix::fs::fstat(&file) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => {
            Opened::File(file.into(), u64::try_from(stat.st_size).unwrap_or(0))
        }
        Ok(_) => Opened::Peculiar("is not a regular file".to_owned()),
        Err(error) => Opened::Peculiar(unreadable(error)),
    }
}
