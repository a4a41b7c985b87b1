//! The journal: every event on disk, before anybody else hears of it; and reading it back.
//!
//! One line an event, each with its own checksum: a line that a crash has cut, or left with something else in it, is
//! told from one that was written. It is only ever appended to; what was cut off is taken away when a run goes on.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

use crate::event::{Event, Subscriber};
use crate::name::RelativePath;
use crate::tree::{named, open_inside};

mod line;
pub mod requests;
mod safe;
mod tail;

pub use tail::Tail;

use line::Line;
use safe::Safe;

/// The journal's file name in a run's folder.
pub const FILE: &str = "events.jsonl";

/// The format that is written, as it stands in the plan of every run. What is in a later one is not read; 1 had no
/// checksums.
pub const FORMAT: u32 = 2;

/// The longest line that is read, in bytes: what is longer than forge writes any would not fit into memory.
const MAX_LINE: u64 = 256 << 20;

/// Writes events, one line each, and all that come together at once.
#[derive(Debug)]
pub struct Journal {
    file: File,
    lines: Vec<u8>,
    failed: Option<io::Error>,
    safe: Option<Safe>,
}

impl Journal {
    /// Begins, or goes on with, the journal of a run's folder.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            file: appended(folder, FILE)?,
            lines: Vec::new(),
            failed: None,
            safe: None,
        })
    }

    /// Goes on with the journal of a run that may have been cut off: what is no whole line at its end is taken away.
    ///
    /// # Errors
    /// When the file cannot be opened or cut.
    pub fn resume(folder: &Path) -> io::Result<Self> {
        let mut whole = 0;
        for read in lines(BufReader::new(opened(folder, FILE)?), FILE) {
            let (_, line) = read?;
            match Line::parse(&line) {
                // What comes after the last line that is one was cut off.
                Line::Torn => break,
                Line::Event(_) | Line::NoEvent(_) => whole += line.len() as u64,
            }
        }
        let this = Self::open(folder)?;
        this.file.set_len(whole)?;
        Ok(this)
    }

    /// From now on results are safe from a power failure soon after they are written: those that cost money, or
    /// `all` of them.
    ///
    /// # Errors
    /// When the system has no descriptor or no thread left.
    pub fn keep_safe(&mut self, all: bool) -> io::Result<()> {
        self.safe = Some(Safe::start(self.file.try_clone()?, all)?);
        Ok(())
    }

    /// Writes these events down.
    pub fn write(&mut self, events: &[Event]) {
        if self.failed.is_some() {
            return;
        }
        self.lines.clear();
        for event in events {
            let end = self.lines.len();
            if let Err(error) = serde_json::to_writer(&mut self.lines, event) {
                self.lines.truncate(end);
                self.failed = Some(error.into());
                break;
            }
            line::seal(&mut self.lines, end);
        }
        // One write for whole lines: a crash can cut the last one, never mix two.
        let written = self.file.write_all(&self.lines);
        self.failed = self.failed.take().or(written.err());
        if let Some(safe) = &mut self.safe {
            safe.after(events);
        }
    }

    /// The first error, if any: from then on nothing was written.
    #[must_use]
    pub const fn error(&self) -> Option<&io::Error> {
        self.failed.as_ref()
    }

    /// The same, to keep.
    pub fn take_error(&mut self) -> Option<io::Error> {
        self.failed.take()
    }
}

impl Subscriber for Journal {
    fn on_event(&mut self, event: &Event) {
        self.write(std::slice::from_ref(event));
    }
}

/// Reads a journal back, event by event.
///
/// What a crash has cut off at the end is passed over.
///
/// # Errors
/// When the file cannot be opened; each item, when it cannot be read, is not an event, or is one of a later forge.
pub fn read(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<Event>> + use<>> {
    opened(folder, FILE).map(|file| events(BufReader::new(file)))
}

fn opened(folder: &Path, file: &str) -> io::Result<File> {
    let path = RelativePath::parse(file).map_err(io::Error::other)?;
    open_inside(folder, &path).map_err(named(&folder.join(file)))
}

/// Opens a file of a run's folder to add lines to it.
fn appended(folder: &Path, file: &str) -> io::Result<File> {
    // What somebody has put in its place is not written into.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let path = folder.join(file);
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .custom_flags(flags.bits().cast_signed())
        .open(&path)
        .map_err(&named)?;
    if !file.metadata()?.is_file() {
        return Err(named(io::Error::other("it is not a regular file")));
    }
    Ok(file)
}

/// The events of a journal, wherever it is kept.
///
/// # Errors
/// Each item, when it cannot be read, is not an event, or is one of a later forge.
pub fn events(reader: impl BufRead) -> impl Iterator<Item = io::Result<Event>> {
    let mut lines = lines(reader, FILE).peekable();
    std::iter::from_fn(move || {
        let (number, line) = match lines.next()? {
            Ok(read) => read,
            Err(error) => return Some(Err(error)),
        };
        let why = match Line::parse(&line) {
            Line::Event(event) => return Some(Ok(*event)),
            // The end of what was written; anywhere else, something was lost.
            Line::Torn if lines.peek().is_none() => return None,
            Line::Torn => "the line is not what was written: its checksum is another".to_owned(),
            Line::NoEvent(why) => why,
        };
        let text = format!("{FILE}:{number}: {why}");
        Some(Err(io::Error::new(io::ErrorKind::InvalidData, text)))
    })
}

/// The lines, each with its number from 1 and with its end, if that is there.
fn lines<R: BufRead>(
    mut reader: R,
    file: &'static str,
) -> impl Iterator<Item = io::Result<(u64, Vec<u8>)>> + use<R> {
    let mut number = 0_u64;
    std::iter::from_fn(move || {
        let mut line = Vec::new();
        number += 1;
        match (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line) {
            Err(error) => Some(Err(error)),
            Ok(0) => None,
            Ok(length) if length as u64 == MAX_LINE => Some(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{file}:{number}: the line is longer than forge writes any"),
            ))),
            Ok(_) => Some(Ok((number, line))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventKind;

    fn event(seq: u64) -> Event {
        Event {
            seq,
            at: jiff::Timestamp::UNIX_EPOCH,
            kind: EventKind::Warned {
                message: format!("number {seq}"),
            },
        }
    }

    #[test]
    fn events_come_back_as_they_were_and_a_cut_line_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(folder.path()).unwrap();
        for seq in 0..3 {
            journal.on_event(&event(seq));
        }
        assert!(journal.take_error().is_none());
        let path = folder.path().join(FILE);
        OpenOptions::new()
            .append(true)
            .open(path)
            .unwrap()
            .write_all(b"{\"seq\":3,")
            .unwrap();
        let events: Vec<Event> = read(folder.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(events, [event(0), event(1), event(2)]);
    }

    #[test]
    fn a_line_that_is_no_event_is_an_error_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE), "{}\n").unwrap();
        let error = read(folder.path()).unwrap().next().unwrap().unwrap_err();
        assert!(error.to_string().starts_with("events.jsonl:1:"), "{error}");
    }
}
