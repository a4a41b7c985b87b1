//! Histories put together: every line of all of them once, in the order of their dates.
//!
//! Of lines of the same run and candidate the latest revision stays; of several of the same revision the last of a
//! file, and between files the greater by its text, so that it does not matter which is merged into which.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::file::{At, Ends, Held, Key, Parsed, parse, scan};
use super::put;
use crate::store::write_whole;

/// What came of putting histories together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Merged {
    /// Lines of a run and candidate that had none.
    pub added: usize,
    /// Lines that superseded another.
    pub replaced: usize,
    /// Lines in the file now.
    pub lines: usize,
    /// Those among them that are of a later form than this forge knows.
    pub later: usize,
    /// Lines that make no sense, and were left out.
    pub broken: usize,
}

/// Adds the lines of another history that are not in this one, or are later revisions of what is.
///
/// # Errors
/// When either cannot be read, the other is no history, or the file cannot be replaced; then it stays as it was.
pub fn merge(artifacts: &Path, other: &File) -> io::Result<Merged> {
    std::fs::create_dir_all(artifacts)?;
    let held = Held::open(artifacts)?;
    let mut union = Union::default();
    let ours = union.add(held.file())?;
    let theirs = union.add(other)?;
    if theirs.known == 0 && theirs.broken > 0 {
        let text = "it is no history: no line of it is one";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    union.replace(&held, &ours, &theirs)
}

/// What a source had.
#[derive(Debug, Default)]
pub(super) struct Had {
    /// Lines that are some.
    known: usize,
    broken: usize,
    added: usize,
    replaced: usize,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    source: usize,
    at: At,
    date: Timestamp,
    revision: u32,
}

/// An index of lines, and the files that they are in.
#[derive(Debug, Default)]
pub(super) struct Union<'a> {
    sources: Vec<&'a File>,
    lines: BTreeMap<Key, Entry>,
    later: Vec<(Option<Timestamp>, usize, At)>,
    /// What the lines of later forms are, since nobody knows what they supersede.
    seen: BTreeSet<[u8; 32]>,
}

impl<'a> Union<'a> {
    pub(super) fn add(&mut self, file: &'a File) -> io::Result<Had> {
        let source = self.sources.len();
        self.sources.push(file);
        let mut had = Had::default();
        let ends = scan(file, |at, raw| {
            match parse(raw) {
                Parsed::Broken => had.broken += 1,
                Parsed::Later(date) => {
                    had.known += 1;
                    if self.seen.insert(Sha256::digest(raw).into()) {
                        self.later.push((date, source, at));
                        had.added += 1;
                    }
                }
                Parsed::Line(line) => {
                    had.known += 1;
                    let entry = Entry {
                        source,
                        at,
                        date: line.date,
                        revision: line.revision,
                    };
                    let key = (line.run, line.candidate);
                    match self.lines.get(&key) {
                        None => had.added += 1,
                        Some(old) if self.is_newer(old, &entry, raw)? => had.replaced += 1,
                        Some(_) => return Ok(()),
                    }
                    self.lines.insert(key, entry);
                }
            }
            Ok(())
        })?;
        match ends {
            Ends::Whole => {}
            Ends::Cut => had.broken += 1,
        }
        Ok(had)
    }

    fn is_newer(&self, old: &Entry, new: &Entry, raw: &[u8]) -> io::Result<bool> {
        Ok(match new.revision.cmp(&old.revision) {
            Ordering::Greater => true,
            Ordering::Less => false,
            Ordering::Equal if new.source == old.source => true,
            Ordering::Equal => raw > &*old.at.read(self.sources[old.source])?,
        })
    }

    /// Puts all of it into the place of what is held.
    pub(super) fn replace(self, held: &Held, ours: &Had, theirs: &Had) -> io::Result<Merged> {
        let mut order: Vec<(Option<Timestamp>, usize, At)> = self.later;
        let merged = Merged {
            added: theirs.added,
            replaced: theirs.replaced,
            lines: order.len() + self.lines.len(),
            later: order.len(),
            broken: ours.broken + theirs.broken,
        };
        let lines = self.lines.into_values();
        order.extend(lines.map(|it| (Some(it.date), it.source, it.at)));
        // Stable: what has the same date is in the order of runs and names.
        order.sort_by_key(|it| it.0.unwrap_or(Timestamp::MAX));
        write_whole(held.path(), |to| {
            for (_, source, at) in &order {
                put(to, &at.read(self.sources[*source])?)?;
            }
            Ok(())
        })?;
        Ok(merged)
    }
}
