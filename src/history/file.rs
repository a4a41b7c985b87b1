//! The file: held by one writer at a time, read line by line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use super::{FILE, Line, SCHEMA_VERSION};
use crate::name::{CandidateName, RunId};
use crate::tree::named;

/// The longest line that is read, in bytes: far longer than forge writes any.
const MAX_LINE: u64 = 1 << 20;
/// How often it is tried to hold the file, and how long is waited between.
const TRIES: u32 = 1500;
const BETWEEN: Duration = Duration::from_millis(20);

/// The file, held: no other process writes it.
#[derive(Debug)]
pub(super) struct Held {
    file: File,
    path: PathBuf,
}

impl Held {
    /// Opens the history of a folder, makes it where there is none, and waits until nobody else has it.
    ///
    /// # Errors
    /// When it is no regular file or cannot be opened, or somebody holds it for too long.
    pub(super) fn open(artifacts: &Path) -> io::Result<Self> {
        let path = artifacts.join(FILE);
        for _ in 0..TRIES {
            let file = open(&path).map_err(named(&path))?;
            match file.try_lock() {
                Err(fs::TryLockError::WouldBlock) => wait(),
                Err(fs::TryLockError::Error(error)) => return Err(named(&path)(error)),
                // Who held it before may have put another in its place: this one is then nobody's.
                Ok(()) if is_at(&file, &path) => return Ok(Self { file, path }),
                Ok(()) => {}
            }
        }
        let text = format!(
            "{}: another process has held it for {} s",
            path.display(),
            (BETWEEN * TRIES).as_secs()
        );
        Err(io::Error::new(io::ErrorKind::WouldBlock, text))
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds whole lines by one write, behind what is there. What a crash has cut becomes a line of its own.
    pub(super) fn append(&self, lines: &[u8]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let length = self.file.metadata()?.len();
        let mut text = Vec::with_capacity(lines.len() + 1);
        if length > 0 {
            let mut last = [0];
            self.file.read_exact_at(&mut last, length - 1)?;
            if last != *b"\n" {
                text.push(b'\n');
            }
        }
        text.extend(lines);
        (&self.file).write_all(&text).map_err(|error| {
            // All of a run or nothing; if even that fails, it is a line that is passed over.
            self.file.set_len(length).ok();
            named(&self.path)(error)
        })
    }
}

fn open(path: &Path) -> io::Result<File> {
    // A FIFO does not hold anybody up, and where a link leads is not written into.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path)
        .map_err(|error| match fs::symlink_metadata(path) {
            Ok(data) if data.is_symlink() => io::Error::other("it is a link, and stays"),
            Ok(_) | Err(_) => error,
        })?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no regular file"))
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a lock has no event to wait for; others hold it for milliseconds"
)]
fn wait() {
    std::thread::sleep(BETWEEN);
}

/// Where a line is in its file, without its line break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    offset: u64,
    length: usize,
}

impl At {
    /// The line.
    pub(super) fn read(self, file: &File) -> io::Result<Vec<u8>> {
        let mut raw = vec![0; self.length];
        file.read_exact_at(&mut raw, self.offset)?;
        Ok(raw)
    }
}

/// How a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// With a whole line.
    Whole,
    /// With the beginning of one: it is being written, or was when a forge was killed.
    Cut,
}

/// Reads a file from its beginning, line by line; empty ones are left out, and of one that is longer than any only
/// the beginning is given. A last one without a line break is given where it is all there.
///
/// # Errors
/// When the file cannot be read, or what `each` says.
pub(super) fn scan(
    file: &File,
    mut each: impl FnMut(At, &[u8]) -> io::Result<()>,
) -> io::Result<Ends> {
    let mut reader = BufReader::with_capacity(64 << 10, file);
    reader.seek(SeekFrom::Start(0))?;
    let (mut offset, mut raw) = (0_u64, Vec::new());
    loop {
        raw.clear();
        let mut read = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut raw)? as u64;
        if read == 0 {
            return Ok(Ends::Whole);
        }
        let mut is_whole = raw.last() == Some(&b'\n');
        if is_whole {
            raw.pop();
        } else if read == MAX_LINE {
            let (more, ended) = skip(&mut reader)?;
            read += more;
            is_whole = ended;
        }
        let at = At {
            offset,
            length: raw.len(),
        };
        offset += read;
        if !is_whole && !matches!(parse(&raw), Parsed::Line(_) | Parsed::Later(_)) {
            return Ok(Ends::Cut);
        }
        if !raw.trim_ascii().is_empty() {
            each(at, &raw)?;
        }
    }
}

/// Passes over the rest of a line. Returns how much that was, and whether it ended.
fn skip(reader: &mut BufReader<&File>) -> io::Result<(u64, bool)> {
    let mut skipped = 0;
    loop {
        let chunk = reader.fill_buf()?;
        let (used, ended) = match chunk.iter().position(|it| *it == b'\n') {
            Some(at) => (at + 1, true),
            None => (chunk.len(), chunk.is_empty()),
        };
        let is_end = chunk.is_empty();
        reader.consume(used);
        skipped += used as u64;
        if ended {
            return Ok((skipped, !is_end));
        }
    }
}

/// What a line is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parsed {
    /// One of this form.
    Line(Box<Line>),
    /// One of a later form, with its date, if it has one.
    Later(Option<Timestamp>),
    /// None at all.
    Broken,
}

/// A line of a later form: only what it is filed under is looked at.
#[derive(Deserialize)]
struct Later {
    schema_version: u32,
    #[serde(default)]
    date: serde_json::Value,
}

/// What tells a line from others.
pub(super) type Key = (RunId, CandidateName);

/// Reads a line.
pub(super) fn parse(raw: &[u8]) -> Parsed {
    if let Ok(line) = serde_json::from_slice::<Line>(raw)
        && line.schema_version == SCHEMA_VERSION
    {
        return Parsed::Line(Box::new(line));
    }
    match serde_json::from_slice::<Later>(raw) {
        // One of the same version may have words in it that came later.
        Ok(later) if later.schema_version >= SCHEMA_VERSION => {
            let date = later.date.as_str().and_then(|date| date.parse().ok());
            Parsed::Later(date)
        }
        Ok(_) | Err(_) => Parsed::Broken,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_file_that_is_replaced_meanwhile_does_not_write_into_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let held = Held::open(folder.path()).unwrap();
        let waiting = open(&path).unwrap();
        assert!(waiting.try_lock().is_err(), "one holds it");
        assert!(is_at(&waiting, &path));
        crate::store::write_whole(&path, |to| to.write_all(b"new\n")).unwrap();
        drop(held);
        waiting.try_lock().unwrap();
        assert!(!is_at(&waiting, &path), "nobody will read it");
        let next = Held::open(folder.path()).unwrap();
        next.append(b"more\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\nmore\n");
        fs::remove_file(&path).unwrap();
        assert!(!is_at(next.file(), &path), "it is gone");
    }

    #[test]
    fn nothing_is_left_of_what_cannot_be_written_whole() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("report");
        fs::create_dir(&path).unwrap();
        let full = |_: &mut dyn io::Write| Err(io::ErrorKind::StorageFull.into());
        crate::store::write_whole(&root.path().join("other"), full).unwrap_err();
        crate::store::write_whole(&path, |to| to.write_all(b"text")).unwrap_err();
        let left = fs::read_dir(root.path()).unwrap();
        assert_eq!(left.count(), 1, "the folder that is in the way");
    }
}
