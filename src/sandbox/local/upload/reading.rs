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
    /// To be opened when it is its turn: of those that are open there is one at a time.
    Large,
}

/// What is read of some [`Upload`]s, one after the other.
#[derive(Debug)]
pub(in crate::sandbox::local) struct Reading {
    piece: Piece,
    ahead: Ahead<std::vec::IntoIter<PathBuf>, Piece>,
}

impl Reading {
    pub(in crate::sandbox::local) fn of(files: &[Upload]) -> Self {
        let paths = files.iter().filter_map(|upload| match &upload.content {
            Content::File(path) => Some(path.clone()),
            Content::Bytes(_) => None,
        });
        let paths: Vec<PathBuf> = paths.collect();
        Self {
            piece: Piece::default(),
            ahead: Ahead::of(paths.into_iter(), |paths, piece| Ok(piece.fill(paths))),
        }
    }

    /// What the next of them is to have in it.
    pub(in crate::sandbox::local) async fn contents<'s>(
        &'s mut self,
        upload: &'s Upload,
    ) -> io::Result<Contents<'s>> {
        let path = match &upload.content {
            Content::File(path) => path,
            Content::Bytes(bytes) => return Ok(Contents::Bytes(bytes)),
        };
        if self.piece.files.is_empty() {
            let used = std::mem::take(&mut self.piece);
            let next = self.ahead.next(used.emptied()).await?;
            self.piece = next.unwrap_or_default();
        }
        let next = self.piece.files.pop_front();
        match next.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()))? {
            Found::Small(length) => {
                let from = self.piece.used;
                self.piece.used += length;
                Ok(Contents::Bytes(&self.piece.bytes[from..self.piece.used]))
            }
            Found::Large => Ok(Contents::Large(open(path)?.0)),
        }
    }
}

impl Piece {
    fn emptied(mut self) -> Self {
        (self.filled, self.used) = (0, 0);
        self
    }

    /// Reads files until there is enough. Returns whether there are more.
    fn fill(&mut self, paths: &mut impl Iterator<Item = PathBuf>) -> bool {
        while self.filled < PIECE && self.files.len() < FILES {
            let Some(path) = paths.next() else {
                return false;
            };
            let found = self.read(&path);
            let has_failed = found.is_err();
            self.files.push_back(found);
            if has_failed {
                // Nobody asks for more.
                return false;
            }
        }
        true
    }

    fn read(&mut self, path: &Path) -> io::Result<Found> {
        let (mut file, size) = open(path)?;
        if size > LARGE {
            return Ok(Found::Large);
        }
        let from = self.filled;
        let end = from + usize::try_from(size).unwrap_or(0);
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

/// Opens a regular file, and says how large it is.
fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::options()
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
    Ok((file, data.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::RelativePath;
    use crate::sandbox::Area;

    #[tokio::test]
    async fn all_is_read_in_order_and_what_cannot_be_is_told_in_its_place() {
        let root = tempfile::tempdir().unwrap();
        let large = usize::try_from(LARGE).unwrap();
        // The sizes around what a piece and a small file may have, and many more than a piece may.
        let mut sizes = vec![
            0,
            1,
            PIECE - 1,
            PIECE,
            PIECE + 1,
            large,
            large + 1,
            3,
            large,
            5,
        ];
        sizes.extend((0..600).map(|number| number % 7));
        let upload = |content| Upload {
            area: Area::Work,
            path: RelativePath::parse("a").unwrap(),
            content,
            executable: false,
        };
        let mut files = Vec::new();
        let mut expected = Vec::new();
        for (number, size) in sizes.into_iter().enumerate() {
            let path = root.path().join(number.to_string());
            let bytes: Vec<u8> = number.to_string().bytes().cycle().take(size).collect();
            std::fs::write(&path, &bytes).unwrap();
            expected.push(bytes);
            files.push(upload(Content::File(path)));
            if number % 100 == 0 {
                expected.push(b"at hand".to_vec());
                files.push(upload(Content::Bytes(
                    expected[expected.len() - 1].as_slice().into(),
                )));
            }
        }
        files.push(upload(Content::File(root.path().to_owned())));
        files.push(upload(Content::File(root.path().join("0"))));
        let mut reading = Reading::of(&files);
        for (file, expected) in files.iter().zip(&expected) {
            match reading.contents(file).await.unwrap() {
                Contents::Bytes(bytes) => assert!(bytes == expected),
                Contents::Large(mut large) => {
                    let mut bytes = Vec::new();
                    large.read_to_end(&mut bytes).unwrap();
                    assert!(bytes.len() > PIECE && &bytes == expected);
                }
            }
        }
        let told = reading
            .contents(&files[expected.len()])
            .await
            .err()
            .unwrap();
        assert!(told.to_string().contains("is not a regular file"), "{told}");
    }
}
