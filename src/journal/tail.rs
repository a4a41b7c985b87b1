//! The end of a journal that is still written: what has come since the last look.
//!
//! Promises: an event is given once and whole; a line that is not finished yet is kept until it is; a line that is no
//! event, of a later forge say, is counted and passed over.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::Path;

use super::{FILE, Line, MAX_LINE};
use crate::event::Event;
use crate::name::RelativePath;
use crate::tree::{named, open_inside};

/// A journal that is read while it grows.
#[derive(Debug)]
pub struct Tail {
    reader: BufReader<File>,
    /// The beginning of a line whose end has not been written yet.
    held: Vec<u8>,
    unknown: u64,
}

impl Tail {
    /// Opens the journal of a run's folder, at its beginning.
    ///
    /// # Errors
    /// When the file cannot be opened, or is reached through a link.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let file = RelativePath::parse(FILE).map_err(io::Error::other)?;
        let file = open_inside(folder, &file).map_err(named(&folder.join(FILE)))?;
        Ok(Self {
            reader: BufReader::new(file),
            held: Vec::new(),
            unknown: 0,
        })
    }

    /// The next event; `None` when no whole line has come yet. Never waits.
    ///
    /// # Errors
    /// When it cannot be read, or a line is longer than forge writes any.
    pub fn read(&mut self) -> io::Result<Option<Event>> {
        loop {
            let room = MAX_LINE.saturating_sub(self.held.len() as u64);
            if room == 0 {
                let text = format!("{FILE}: a line is longer than forge writes any");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            (&mut self.reader)
                .take(room)
                .read_until(b'\n', &mut self.held)?;
            if self.held.last() != Some(&b'\n') {
                return Ok(None);
            }
            let line = Line::parse(&self.held);
            self.held.clear();
            match line {
                Line::Event(event) => return Ok(Some(*event)),
                Line::Torn | Line::NoEvent(_) => self.unknown += 1,
            }
        }
    }

    /// How many lines were no events.
    #[must_use]
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_line_is_given_when_its_end_has_come() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let mut file = File::create(path).unwrap();
        let mut tail = Tail::open(folder.path()).unwrap();
        let mut write = |text: &str| file.write_all(text.as_bytes()).unwrap();
        assert_eq!(tail.read().unwrap(), None);
        let line = |seq: u32| {
            format!(
                "{{\"seq\":{seq},\"at\":\"2026-01-01T00:00:00Z\",\"event\":\"warned\",\"message\":\"x\"}}\n"
            )
        };
        let (begin, end) = (line(0)[..20].to_owned(), line(0)[20..].to_owned());
        write(&begin);
        assert_eq!(tail.read().unwrap(), None);
        write(&format!("{end}{{\"event\":\"of another forge\"}}\n"));
        assert_eq!(tail.read().unwrap().map(|it| it.seq), Some(0));
        assert_eq!(tail.read().unwrap(), None);
        assert_eq!(tail.unknown(), 1);
        write(&line(1));
        assert_eq!(tail.read().unwrap().map(|it| it.seq), Some(1));
    }
}
