//! Files that only grow, in a store that cannot append: what comes of them is put as objects of their own, named by where
//! in the file they begin.
//!
//! Promises: pieces end where lines do; the same pieces make the same file, in whatever order they are listed; one that
//! is missing is told, and not passed over.

use std::collections::BTreeMap;

use crate::{journal, sandbox::ledger};

/// The files of a run that grow.
pub(super) const FILES: [&str; 2] = [journal::FILE, ledger::FILE];

/// Between the name of the file and where the piece begins; no file of a run's folder is called so.
const FROM: char = '+';
/// The digits of where it begins: sorted by name, they are sorted by place.
const DIGITS: usize = 20;

/// What of one file is in a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Growing {
    /// The bytes of the file as a whole, from when the run was over, or had not begun.
    whole: Option<u64>,
    /// Pieces: where each begins, and how long it is.
    pieces: BTreeMap<u64, u64>,
}

/// An object that is a part of a file: its name, from which of its bytes on, and how many from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) object: String,
    pub(super) skip: u64,
    pub(super) bytes: u64,
}

/// The name of the piece that begins there.
pub(super) fn piece_name(file: &str, from: u64) -> String {
    format!("{file}{FROM}{from:0DIGITS$}")
}

/// Of which growing file an object is a piece, and where in it that begins.
pub(super) fn piece_of(object: &str) -> Option<(&'static str, u64)> {
    let (file, from) = object.split_once(FROM)?;
    let file = FILES.into_iter().find(|it| *it == file)?;
    let is_place = from.len() == DIGITS && from.bytes().all(|it| it.is_ascii_digit());
    Some((file, from.parse().ok().filter(|_| is_place)?))
}

impl Growing {
    /// What of `file` is among these objects, by name and size.
    pub(super) fn of<'o>(file: &str, objects: impl Iterator<Item = (&'o str, u64)>) -> Self {
        let mut growing = Self::default();
        for (object, bytes) in objects {
            if object == file {
                growing.whole = Some(bytes);
            } else if let Some((of, from)) = piece_of(object)
                && of == file
            {
                growing.pieces.insert(from, bytes);
            }
        }
        growing
    }

    /// Whether there is anything of it, be it empty.
    pub(super) fn is_there(&self) -> bool {
        self.whole.is_some() || !self.pieces.is_empty()
    }

    /// The objects that it is made of, in order; or where something is missing.
    pub(super) fn made_of(&self, file: &str) -> Result<Vec<Piece>, u64> {
        let mut made_of = Vec::new();
        let mut until = 0;
        if let Some(bytes) = self.whole {
            let object = file.to_owned();
            made_of.push(Piece {
                object,
                skip: 0,
                bytes,
            });
            until = bytes;
        }
        for (from, bytes) in &self.pieces {
            let end = from.saturating_add(*bytes);
            if *from > until {
                return Err(until);
            }
            // The whole file has it already, but for what came after.
            if end > until {
                made_of.push(Piece {
                    object: piece_name(file, *from),
                    skip: until - from,
                    bytes: end - until,
                });
                until = end;
            }
        }
        Ok(made_of)
    }
}

/// How many bytes of these are whole lines.
pub(super) fn whole_lines(bytes: &[u8]) -> usize {
    let last = bytes.iter().rposition(|it| *it == b'\n');
    last.map_or(0, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "events.jsonl";

    fn made_of(whole: Option<u64>, pieces: &[(u64, u64)]) -> Result<Vec<(String, u64, u64)>, u64> {
        let names: Vec<(String, u64)> = pieces
            .iter()
            .map(|(from, bytes)| (piece_name(FILE, *from), *bytes))
            .chain(whole.map(|bytes| (FILE.to_owned(), bytes)))
            .chain([("task/a/1/events.jsonl".to_owned(), 9)])
            .collect();
        let objects = names.iter().map(|(name, bytes)| (name.as_str(), *bytes));
        let made_of = Growing::of(FILE, objects).made_of(FILE)?;
        let short = |name: &str| {
            name.trim_start_matches(FILE)
                .trim_start_matches(['+', '0'])
                .to_owned()
        };
        Ok(made_of
            .into_iter()
            .map(|it| (short(&it.object), it.skip, it.bytes))
            .collect())
    }

    #[test]
    fn a_file_is_made_of_its_pieces_each_byte_once() {
        let of = |parts: &[(&str, u64, u64)]| -> Result<Vec<(String, u64, u64)>, u64> {
            Ok(parts
                .iter()
                .map(|(name, skip, bytes)| ((*name).to_owned(), *skip, *bytes))
                .collect())
        };
        assert_eq!(made_of(None, &[]), of(&[]));
        assert_eq!(
            made_of(None, &[(7, 3), (0, 7)]),
            of(&[("", 0, 7), ("7", 0, 3)])
        );
        // It was over, and its pieces could not be deleted; then it went on.
        assert_eq!(made_of(Some(10), &[(0, 7), (7, 3)]), of(&[("", 0, 10)]));
        assert_eq!(
            made_of(Some(8), &[(0, 7), (7, 3), (10, 5)]),
            of(&[("", 0, 8), ("7", 1, 2), ("10", 0, 5)])
        );
        assert_eq!(made_of(Some(0), &[(0, 4)]), of(&[("", 0, 0), ("", 0, 4)]));
    }

    #[test]
    fn a_piece_that_is_missing_is_told() {
        assert_eq!(made_of(None, &[(7, 3)]), Err(0));
        assert_eq!(made_of(None, &[(0, 7), (10, 3)]), Err(7));
        assert_eq!(made_of(Some(5), &[(10, 3)]), Err(5));
    }

    #[test]
    fn only_pieces_of_growing_files_are_pieces() {
        let name = piece_name(FILE, 4711);
        assert_eq!(piece_of(&name), Some((FILE, 4711)));
        for other in [
            "events.jsonl",
            "events.jsonl+1",
            "run.json+00000000000000004711",
            "a+b",
        ] {
            assert_eq!(piece_of(other), None, "{other}");
        }
        assert_eq!(whole_lines(b"a\nb\nc"), 4);
        assert_eq!(whole_lines(b"abc"), 0);
    }
}
