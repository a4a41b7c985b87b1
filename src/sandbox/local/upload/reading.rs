//! Reading what goes in, in the order in which it is written: small files together, ahead of the writing where there are many.
//!
//! Promises: only regular files are read, and no more of one than its size was when it was opened; what is read and not
//! written yet is bounded.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::sandbox::local::ahead::Ahead;
use crate::sandbox::{Content, Upload};

/// Larger files are copied on a thread that may block.
const LARGE: u64 = 256 * 1024;
/// A piece that has so much, or so many, gets no more.
const PIECE: usize = 64 * 1024;
const FILES: usize = 256;

/// What a file is to have in it.
pub(in crate::sandbox::local) enum Contents<'p> {
    Bytes(&'p [u8]),
    /// All that is in another.
    Large(File),
}

/// The contents of some files.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    /// How many of the bytes count, and how many were used.
    filled: usize,
    used: usize,
    files: VecDeque<io::Result<Found>>,
}

#[derive(Debug)]
enum Found {
    /// So many of the piece's bytes, behind those before.
    Small(usize),
    Large(File),
}

/// What is read of [`Upload`]s, one after the other.
#[derive(Debug)]
pub(in crate::sandbox::local) struct Reading<'u> {
    files: &'u [Upload],
    piece: Piece,
    ahead: Option<Ahead<Paths, Piece>>,
}

type Paths = std::vec::IntoIter<PathBuf>;

impl<'u> Reading<'u> {
    pub(in crate::sandbox::local) fn of(files: &'u [Upload]) -> Self {
        Self {
            files,
            piece: Piece::default(),
            ahead: None,
        }
    }

    /// What the next of them is to have in it.
    pub(in crate::sandbox::local) async fn contents<'s>(
        &'s mut self,
        upload: &'s Upload,
    ) -> io::Result<Contents<'s>> {
        if let Content::Bytes(bytes) = &upload.content {
            return Ok(Contents::Bytes(bytes));
        }
        if self.piece.files.is_empty() {
            self.next_piece().await;
        }
        let next = self.piece.files.pop_front();
        match next.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))? {
            Found::Small(length) => {
                let from = self.piece.used;
                self.piece.used += length;
                Ok(Contents::Bytes(&self.piece.bytes[from..self.piece.used]))
            }
            Found::Large(file) => Ok(Contents::Large(file)),
        }
    }

    async fn next_piece(&mut self) {
        let used = std::mem::take(&mut self.piece);
        if let Some(ahead) = &mut self.ahead {
            self.piece = ahead.next(used.emptied()).await.unwrap_or_default();
            return;
        }
        let mut paths = self
            .files
            .iter()
            .filter_map(|upload| match &upload.content {
                Content::File(path) => Some(path),
                Content::Bytes(_) => None,
            });
        if self.piece.fill(&mut paths) {
            let rest: Vec<PathBuf> = paths.cloned().collect();
            let fill = |rest: &mut Paths, piece: &mut Piece| Ok(piece.fill(rest));
            self.ahead = Some(Ahead::begin(rest.into_iter(), fill));
        }
    }
}

impl Piece {
    fn emptied(mut self) -> Self {
        (self.filled, self.used) = (0, 0);
        self
    }

    /// Reads files until there is enough. Returns whether there are more.
    fn fill(&mut self, paths: &mut impl Iterator<Item: AsRef<Path>>) -> bool {
        while self.filled < PIECE && self.files.len() < FILES {
            let Some(path) = paths.next() else {
                return false;
            };
            let found = self.read(path.as_ref());
            // Of those that are open there are few at once, and after an error none is asked for.
            let is_last = !matches!(found, Ok(Found::Small(_)));
            self.files.push_back(found);
            if is_last {
                break;
            }
        }
        true
    }

    fn read(&mut self, path: &Path) -> io::Result<Found> {
        let mut file = File::options()
            .read(true)
            // A named pipe would be waited for.
            .custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0))
            .open(path)?;
        let data = file.metadata()?;
        if !data.is_file() {
            return Err(io::Error::other(format!(
                "{} is not a regular file",
                path.display()
            )));
        }
        if data.len() > LARGE {
            return Ok(Found::Large(file));
        }
        let from = self.filled;
        let end = from + usize::try_from(data.len()).unwrap_or(0);
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        // By reading and writing, as anything else asks more of the system before it begins.
        while self.filled < end {
            match file.read(&mut self.bytes[self.filled..end]) {
                // It has shrunk.
                Ok(0) => break,
                Ok(length) => self.filled += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Found::Small(self.filled - from))
    }
}
