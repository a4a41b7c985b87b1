//! The ledger: an append-only log of what was created and deleted, for `forge sweep` after a crash.
//!
//! Promises: a sandbox's name is in the file before its create request leaves, and where that costs money,
//! safe from a power failure too; a line that was cut by a crash is passed over when read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::name::{RunId, SandboxId, SandboxName};
use crate::tree::named;

/// The ledger's file name in a run's folder.
pub const FILE: &str = "sandboxes.jsonl";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Entry {
    /// A create request is about to leave.
    Create {
        /// The provider.
        provider: String,
        /// Whose account with the provider, as [`crate::sandbox::Provider::account`] tells it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account: Option<String>,
        /// The name that it will have.
        name: SandboxName,
    },
    /// It exists.
    Created {
        /// Its name.
        name: SandboxName,
        /// Its id.
        id: SandboxId,
    },
    /// It was left on purpose.
    Kept {
        /// Its name.
        name: SandboxName,
    },
    /// It is confirmed gone, or never came to be.
    Deleted {
        /// Its name.
        name: SandboxName,
    },
}

/// A sandbox that the ledger does not know to be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// The provider.
    pub provider: String,
    /// Whose account with the provider, where that was told.
    pub account: Option<String>,
    /// Its name.
    pub name: SandboxName,
    /// Its id, where the create came to an end.
    pub id: Option<SandboxId>,
    /// Whether it was left on purpose.
    pub kept: bool,
}

/// Appends to a run's ledger.
#[derive(Debug)]
pub struct Ledger {
    file: Option<Arc<File>>,
    /// Whether a line must survive a power failure: where a lost name costs money.
    durable: bool,
}

impl Ledger {
    /// Opens, or begins, the ledger of a run's folder, and locks it for as long as it lives: whoever finds
    /// it locked knows that the run is alive.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(folder: &Path, durable: bool) -> io::Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(folder.join(FILE))
            .map_err(named(&folder.join(FILE)))?;
        // A file system without locks: `forge sweep --older-than` is then what spares a live run.
        if let Err(error) = file.try_lock() {
            tracing::debug!(%error, "the ledger is not locked");
        }
        Ok(Self {
            file: Some(Arc::new(file)),
            durable,
        })
    }

    /// The same ledger, whose lines must survive a power failure, or need not.
    #[must_use]
    pub fn durable(self, durable: bool) -> Self {
        Self { durable, ..self }
    }

    /// The highest number in a name of this run's, 0 where there is none: names are given once, also when the run
    /// goes on.
    pub(crate) fn last_serial(&self, run: &RunId) -> u64 {
        let Some(file) = &self.file else {
            return 0;
        };
        let entries = read_entries(FromStart { file, at: 0 }).map_while(Result::ok);
        let names = entries.filter_map(|entry| match entry {
            Entry::Create { name, .. } => name.serial(run),
            Entry::Created { .. } | Entry::Kept { .. } | Entry::Deleted { .. } => None,
        });
        names.max().unwrap_or(0)
    }

    /// A ledger that is not kept, for runs that leave no folder.
    #[must_use]
    pub const fn nowhere() -> Self {
        Self {
            file: None,
            durable: false,
        }
    }

    /// The same ledger, held by another process too: the lock is released when both have gone. `None` when it is
    /// not kept.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub(crate) fn share(&self) -> io::Result<Option<File>> {
        self.file.as_deref().map(File::try_clone).transpose()
    }

    /// The ledger of another process, by what that has [shared](Self::share).
    pub(crate) fn adopt(file: File) -> Self {
        Self {
            file: Some(Arc::new(file)),
            durable: false,
        }
    }

    /// What [`open_sandboxes`] reads, of this very file, wherever its folder is by now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn open_sandboxes(&self) -> io::Result<Vec<Open>> {
        match &self.file {
            Some(file) => still_open(read_entries(FromStart { file, at: 0 })),
            None => Ok(Vec::new()),
        }
    }

    /// Appends a line. A create must not begin before [`Ledger::sync`] has made it safe, where there is one.
    ///
    /// # Errors
    /// When it could not be written: then nothing may be created, because nobody could sweep it.
    pub fn append(&mut self, entry: &Entry) -> io::Result<()> {
        let Some(mut file) = self.file.as_deref() else {
            return Ok(());
        };
        let mut line = serde_json::to_vec(entry).map_err(io::Error::other)?;
        line.push(b'\n');
        // One write, so that lines of several writers cannot mix.
        file.write_all(&line)
    }

    /// What makes all lines appended so far survive a power failure; one call does for many lines. It blocks
    /// for as long as the disk takes. `None` where the lines need not survive.
    #[must_use]
    pub fn sync(&self) -> Option<impl FnOnce() -> io::Result<()> + Send + use<>> {
        let file = self.file.as_ref().filter(|_| self.durable)?;
        let file = Arc::clone(file);
        Some(move || file.sync_data())
    }
}

/// The ledger of a dead run, held so that nobody else sweeps it meanwhile; `None` when its run is alive, or
/// somebody is sweeping it.
///
/// # Errors
/// When the file cannot be opened.
pub fn claim(folder: &Path) -> io::Result<Option<Ledger>> {
    let mut options = OpenOptions::new();
    let file = options.read(true).append(true).open(folder.join(FILE))?;
    match file.try_lock() {
        // Whoever held it until now may have taken the folder away.
        Ok(()) if !is_at(&file, &folder.join(FILE)) => Err(io::ErrorKind::NotFound.into()),
        Ok(()) => Ok(Some(Ledger {
            file: Some(Arc::new(file)),
            durable: false,
        })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether this is the file that is there.
fn is_at(file: &File, path: &Path) -> bool {
    let both = file.metadata().and_then(|it| Ok((it, path.metadata()?)));
    both.is_ok_and(|(open, there)| open.dev() == there.dev() && open.ino() == there.ino())
}

/// Whether a process of a run, or its watch, holds its ledger; `None` where that cannot be told, on a file system
/// without locks. Not to be asked of a run that may be about to begin.
#[must_use]
pub fn is_held(folder: &Path) -> Option<bool> {
    let file = match File::open(folder.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(false),
        Err(_) => return None,
    };
    match file.try_lock_shared() {
        // It is let go of when the file is closed.
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// The entries of a run's ledger, in order, as they are read; none when there is no ledger.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<Entry>>> {
    let file = match File::open(folder.join(FILE)) {
        Ok(file) => Some(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(file.into_iter().flat_map(read_entries))
}

/// Reads a file from its start, wherever its other holders are in it.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(into, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn read_entries(from: impl Read) -> impl Iterator<Item = io::Result<Entry>> {
    let lines = BufReader::new(from).split(b'\n');
    lines.filter_map(|line| match line {
        // A line that a crash has cut is not an entry: what it was about to say did not happen.
        Ok(line) => serde_json::from_slice(&line).ok().map(Ok),
        Err(error) => Some(Err(error)),
    })
}

/// Which sandboxes are known to be gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deleted {
    /// How many there were that had come to be.
    pub count: u64,
    /// Those of the names that were asked for.
    pub names: BTreeSet<SandboxName>,
    /// Those of the ids that were asked for.
    pub ids: BTreeSet<SandboxId>,
}

/// Reads how many sandboxes of a run are known to be gone, and which of these are. What is held grows with those that
/// are not gone, and with what is asked for.
///
/// # Errors
/// When the file exists and cannot be read.
pub fn deleted(
    folder: &Path,
    names: &BTreeSet<SandboxName>,
    ids: &BTreeSet<SandboxId>,
) -> io::Result<Deleted> {
    let mut made: BTreeMap<SandboxName, SandboxId> = BTreeMap::new();
    let mut deleted = Deleted::default();
    for entry in entries(folder)? {
        match entry? {
            Entry::Created { name, id } => drop(made.insert(name, id)),
            Entry::Deleted { name } => {
                if let Some(id) = made.remove(&name) {
                    deleted.count += 1;
                    deleted.ids.extend(Some(id).filter(|id| ids.contains(id)));
                }
                deleted
                    .names
                    .extend(Some(name).filter(|name| names.contains(name)));
            }
            // What was refused once is asked for again under its name.
            Entry::Create { name, .. } => drop(deleted.names.remove(&name)),
            Entry::Kept { .. } => {}
        }
    }
    Ok(deleted)
}

/// Reads which sandboxes of a run are not known to be gone, in the order of their names.
///
/// # Errors
/// When the file exists and cannot be read.
pub fn open_sandboxes(folder: &Path) -> io::Result<Vec<Open>> {
    entries(folder).and_then(still_open)
}

fn still_open(entries: impl Iterator<Item = io::Result<Entry>>) -> io::Result<Vec<Open>> {
    let mut open: BTreeMap<SandboxName, Open> = BTreeMap::new();
    for entry in entries {
        match entry? {
            Entry::Create {
                provider,
                account,
                name,
            } => {
                open.insert(
                    name.clone(),
                    Open {
                        provider,
                        account,
                        name,
                        id: None,
                        kept: false,
                    },
                );
            }
            Entry::Created { name, id } => {
                if let Some(sandbox) = open.get_mut(&name) {
                    sandbox.id = Some(id);
                }
            }
            Entry::Kept { name } => {
                if let Some(sandbox) = open.get_mut(&name) {
                    sandbox.kept = true;
                }
            }
            Entry::Deleted { name } => {
                open.remove(&name);
            }
        }
    }
    Ok(open.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::RunId;

    #[test]
    fn what_is_not_deleted_stays_open_and_a_cut_line_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunId::generate();
        let name = |serial| SandboxName::new(&run, serial, "alpha");
        let mut ledger = Ledger::open(folder.path(), true).unwrap();
        for serial in 0..3 {
            let create = Entry::Create {
                provider: "local".to_owned(),
                account: None,
                name: name(serial),
            };
            ledger.append(&create).unwrap();
        }
        ledger
            .append(&Entry::Created {
                name: name(1),
                id: SandboxId::new("one"),
            })
            .unwrap();
        ledger.append(&Entry::Kept { name: name(1) }).unwrap();
        ledger.append(&Entry::Deleted { name: name(0) }).unwrap();
        let mut file = OpenOptions::new()
            .append(true)
            .open(folder.path().join(FILE))
            .unwrap();
        file.write_all(b"{\"op\":\"deleted\",\"na").unwrap();
        let open = open_sandboxes(folder.path()).unwrap();
        let ids: Vec<_> = open
            .iter()
            .map(|it| (it.name.clone(), it.id.clone(), it.kept))
            .collect();
        assert_eq!(
            ids,
            [
                (name(1), Some(SandboxId::new("one")), true),
                (name(2), None, false)
            ]
        );
        assert_eq!(open_sandboxes(&folder.path().join("none")).unwrap(), []);
    }

    /// A create that the provider had no room for is asked for again: its name was closed then, and is open now.
    #[test]
    fn a_name_that_was_asked_for_again_is_not_known_to_be_gone() {
        let folder = tempfile::tempdir().unwrap();
        let name = SandboxName::new(&RunId::generate(), 1, "alpha");
        let mut ledger = Ledger::open(folder.path(), false).unwrap();
        let create = Entry::Create {
            provider: "local".to_owned(),
            account: None,
            name: name.clone(),
        };
        let gone = Entry::Deleted { name: name.clone() };
        for entry in [&create, &gone, &create] {
            ledger.append(entry).unwrap();
        }
        let deleted = || deleted(folder.path(), &[name.clone()].into(), &BTreeSet::new());
        assert_eq!(deleted().unwrap(), Deleted::default());
        assert_eq!(open_sandboxes(folder.path()).unwrap().len(), 1);
        ledger.append(&gone).unwrap();
        assert_eq!(deleted().unwrap().names, [name.clone()].into());
    }
}
