//! Small files of sandboxes that are over, to be written over for those to come: what most file systems are slowest at is
//! making files while others are removed.
//!
//! Promises: a file is written over only when nobody else has it open or can reach it by another name, and when nothing but
//! its contents differs from a new one: owner, group, mode, flags, no attributes; its times are those of now. The files lie
//! in a folder of the run's that other users cannot enter, and go with it.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::place::open_folder;
use super::spares::{NOW, Part, Reuse};
use super::upload::give;
use super::{kernel, moved, remove};

/// The folder, in that of the run.
const FOLDER: &str = ".blank";
/// Larger files, and more of them for the same sandboxes, are removed.
const MAX_BYTES: i64 = 64 * 1024;
const MAX_FILES: usize = 64;

/// What can be written over.
#[derive(Debug, Default)]
pub(super) struct Blanks {
    /// What a new file looks like: one that is not executable, and one that is.
    new: [OnceLock<Option<Part>>; 2],
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    folder: Option<(PathBuf, OwnedFd)>,
    all: HashMap<Reuse, Vec<CString>>,
    /// How many there were so far.
    made: usize,
    /// Nobody can know here who has a file open.
    is_closed: bool,
}

impl Blanks {
    /// Notes what a file looks like that was just made for a user.
    pub(super) fn learn(&self, file: &OwnedFd, executable: bool, user: Option<u32>) {
        self.new[usize::from(executable)].get_or_init(|| look(file, user));
    }

    /// Takes the small files out of a folder of a sandbox that is over. What cannot be used stays there.
    pub(super) fn keep(
        &self,
        reuse: &Reuse,
        run: &Path,
        folder: &OwnedFd,
    ) -> rustix::io::Result<()> {
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type() != FileType::RegularFile {
                continue;
            }
            let stat = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
            // What was preallocated behind a file's end is its own too.
            let is_large = stat.st_size > MAX_BYTES || stat.st_blocks * 512 > MAX_BYTES;
            if is_large || stat.st_nlink != 1 {
                continue;
            }
            let mut store = self.shelf();
            let count = store.all.get(reuse).map_or(0, Vec::len);
            if store.is_closed || count == MAX_FILES {
                return Ok(());
            }
            let blank = CString::new(store.made.to_string()).map_err(|_| Errno::INVAL)?;
            store.made += 1;
            rustix::fs::renameat(folder, name, store.folder(run)?, &blank)?;
            store.put(reuse, blank);
        }
        Ok(())
    }

    /// Puts one in the place of a new file, to be written from its beginning and cut off behind what was written. `None`
    /// when there is none, or it cannot be.
    pub(super) fn take(
        &self,
        reuse: &Reuse,
        folder: &OwnedFd,
        name: &str,
        executable: bool,
        user: Option<u32>,
    ) -> Option<OwnedFd> {
        let new = self.new[usize::from(executable)].get()?.as_ref()?;
        {
            let mut store = self.shelf();
            let blank = store.all.get_mut(reuse)?.pop()?;
            let (_, from) = store.folder.as_ref()?;
            // Never over another file.
            let moved =
                rustix::fs::renameat_with(from, &blank, folder, name, RenameFlags::NOREPLACE);
            match moved {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    store.put(reuse, blank);
                    return None;
                }
                Err(_) => return None,
            }
        }
        let ready = || -> io::Result<Option<OwnedFd>> {
            let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = rustix::fs::openat(folder, name, flags, Mode::empty())?;
            // Before anything of it is changed: by another name it could be a file of the machine's.
            let is_own = rustix::fs::fstat(&file)?.st_nlink == 1;
            let is_open_only_here = kernel::is_open_only_here(file.as_fd());
            self.shelf().is_closed |= is_open_only_here.is_err();
            if !is_own || !is_open_only_here? {
                return Ok(None);
            }
            give(&file, user)?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(new.mode))?;
            rustix::fs::futimens(&file, &NOW)?;
            Ok((look(&file, user).as_ref() == Some(new)).then_some(file))
        };
        let file = ready().ok().flatten();
        if file.is_none() {
            rustix::fs::unlinkat(folder, name, AtFlags::empty()).ok();
        }
        file
    }

    /// Removes all of them. Blocks.
    pub(super) fn clear(&self) {
        let Shelf { folder, .. } = std::mem::take(&mut *self.shelf());
        if let Some((path, folder)) = folder {
            // What stays is swept with the run's folder.
            remove::tree(&path).ok();
            // Where programs are this user, one of them may have moved it.
            moved::remove_moved(&folder).ok();
        }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn put(&mut self, reuse: &Reuse, blank: CString) {
        self.all.entry(reuse.clone()).or_default().push(blank);
    }

    /// The folder, which is made when the first file goes there.
    fn folder(&mut self, run: &Path) -> rustix::io::Result<&OwnedFd> {
        let folder = if let Some(folder) = self.folder.take() {
            folder
        } else {
            let path = run.join(FOLDER);
            rustix::fs::mkdir(&path, Mode::RWXU)?;
            let folder = open_folder(CWD, &path)?;
            (path, folder)
        };
        Ok(&self.folder.insert(folder).1)
    }
}

/// What there is to see of a file of a user's, whatever is in it.
fn look(file: &OwnedFd, user: Option<u32>) -> Option<Part> {
    let me = rustix::process::geteuid().as_raw();
    let (part, owner) = Part::of(file, me).ok().flatten()?;
    let is_file = FileType::from_raw_mode(part.mode) == FileType::RegularFile;
    let is_whole = is_file && owner == user.unwrap_or(me);
    is_whole.then(|| part.however_full())
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use std::fs::{File, Permissions};
    use std::io::Write as _;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    /// A run's folder with one file of a sandbox in it.
    struct Run {
        folder: tempfile::TempDir,
        work: OwnedFd,
        blanks: Blanks,
    }

    impl Run {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            std::fs::create_dir(folder.path().join("work")).unwrap();
            let work = open_folder(CWD, folder.path().join("work")).unwrap();
            let this = Self {
                folder,
                work,
                blanks: Blanks::default(),
            };
            std::fs::write(this.file(), "what was in it").unwrap();
            let file = File::open(this.file()).unwrap();
            this.blanks.learn(&file.into(), false, None);
            this
        }

        fn file(&self) -> PathBuf {
            self.folder.path().join("work/file")
        }

        fn keep(&self) {
            self.blanks
                .keep(&Reuse::ByAll, self.folder.path(), &self.work)
                .unwrap();
        }

        fn take(&self, name: &str, executable: bool) -> Option<File> {
            let taken = self
                .blanks
                .take(&Reuse::ByAll, &self.work, name, executable, None);
            taken.map(File::from)
        }
    }

    #[test]
    fn a_file_is_written_over_and_has_nothing_of_what_it_was() {
        let run = Run::new();
        let was = std::fs::metadata(run.file()).unwrap();
        std::fs::set_permissions(run.file(), Permissions::from_mode(0o600)).unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        File::open(run.file())
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        run.keep();
        assert!(!run.file().exists());
        let mut file = run.take("another", false).unwrap();
        let path = run.folder.path().join("work/another");
        file.write_all(b"new").unwrap();
        let is = std::fs::metadata(&path).unwrap();
        assert_eq!((is.ino(), is.mode()), (was.ino(), was.mode()));
        assert!(is.mtime() >= was.mtime());
        assert!(run.take("one more", false).is_none());
        run.blanks.clear();
        assert!(!run.folder.path().join(FOLDER).exists());
    }

    #[test]
    fn what_somebody_has_open_or_has_changed_for_good_is_not_written_over() {
        type Change = fn(&Path) -> Option<File>;
        let changes: [(&str, Change); 4] = [
            ("open to be written", |path| {
                File::options().write(true).open(path).ok()
            }),
            ("open to be read", |path| File::open(path).ok()),
            ("another name", |path| {
                std::fs::hard_link(path, path.with_file_name("../elsewhere")).unwrap();
                None
            }),
            ("large", |path| {
                std::fs::write(path, vec![b'x'; 100 << 10]).unwrap();
                None
            }),
        ];
        for (what, change) in changes {
            let run = Run::new();
            let _open = change(&run.file());
            run.keep();
            assert!(run.take("another", false).is_none(), "{what}");
            assert!(!run.folder.path().join("work/another").exists(), "{what}");
        }
        let run = Run::new();
        std::os::unix::fs::symlink("nowhere", run.folder.path().join("work/link")).unwrap();
        std::fs::create_dir(run.folder.path().join("work/folder")).unwrap();
        run.keep();
        // Of the kind that was never made nothing is known.
        assert!(run.take("another", true).is_none());
        assert!(run.take("another", false).is_some());
        assert!(run.take("one more", false).is_none());
    }

    #[test]
    fn what_a_program_has_moved_away_is_removed_too() {
        let run = Run::new();
        run.keep();
        let elsewhere = run.folder.path().join("elsewhere");
        std::fs::rename(run.folder.path().join(FOLDER), &elsewhere).unwrap();
        run.blanks.clear();
        assert!(!elsewhere.exists());
    }

    #[test]
    fn no_other_user_comes_to_what_is_kept_and_nothing_is_put_over_anything() {
        let run = Run::new();
        run.keep();
        let mode = run.folder.path().join(FOLDER).metadata().unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::write(run.file(), "there").unwrap();
        assert!(run.take("file", false).is_none());
        assert_eq!(std::fs::read_to_string(run.file()).unwrap(), "there");
        assert!(run.take("another", false).is_some());
    }
}
