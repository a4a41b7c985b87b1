//! The folders of sandboxes that are over, emptied and used again: what most file systems are slowest at is making
//! folders while others are removed.
//!
//! Promises: what is used again is as it was made, in everything that a program could have changed of it: nothing in the
//! folders, their owner, group, mode, size and flags those of new ones, their times those of now, and no attributes at all.
//! Whatever else there is, is removed. Where programs can reach a spare, it is looked at again when it is used. The spares
//! lie in the run's folder, and go with it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;

use super::blanks::Blanks;
use super::moved::{Fate, Folders};
use super::place::{AREAS, Place, TMP, open_folder};
use super::upload::give;
use super::{names, remove};
use crate::name::CandidateName;

/// What a spare is called, before its number.
const SPARE: &str = ".spare-";

/// More of them are removed.
const MAX_SPARES: usize = 1024;
/// As much of the list of a folder's attributes is looked at; a longer one is an error.
const MAX_ATTRIBUTES: usize = 64;
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: UTIME_NOW,
};
/// The times of what is used again.
pub(super) const NOW: Timestamps = Timestamps {
    last_access: AT_ONCE,
    last_modification: AT_ONCE,
};

/// What can be used again.
#[derive(Debug, Default)]
pub(super) struct Spares {
    shelf: Mutex<Shelf>,
    /// What the first sandbox looked like when it was new.
    new: OnceLock<Option<New>>,
    /// Files that were in them.
    pub blanks: Blanks,
}

/// Among which sandboxes what one has left is used again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Reuse {
    ByAll,
    /// Those of one candidate's trials.
    ByCandidate(CandidateName),
    Never,
}

#[derive(Debug, Default)]
struct Shelf {
    all: HashMap<Reuse, Vec<Spare>>,
    /// How many there are, and how many there were so far.
    count: usize,
    made: usize,
}

#[derive(Debug)]
struct Spare {
    path: PathBuf,
    folders: Option<Folders>,
}

/// What a sandbox is like that is new.
#[derive(Debug)]
struct New {
    look: Look,
    /// See [`super::folder::points`].
    points: Vec<OsString>,
}

/// All of a sandbox that outlives what is in it.
#[derive(Debug, PartialEq, Eq)]
struct Look {
    whole: Part,
    areas: Vec<Part>,
    points: Vec<Part>,
    git_settings: Part,
}

/// What of a folder or file a program could change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub mode: u32,
    links: u64,
    /// A folder that has held much stays large on many file systems.
    bytes: u64,
    group: u32,
    /// Of the file system's own, such as that what is in it is compressed. `None` where it has none.
    flags: Option<u32>,
}

impl Spares {
    /// Notes what a sandbox looks like that was just made. Before that, nothing is kept.
    pub(super) fn learn(&self, root: &OwnedFd, points: Vec<OsString>) {
        self.new.get_or_init(|| {
            let look = Open::of(root, &points).and_then(|it| it.look());
            Some(New {
                look: look.ok().flatten()?,
                points,
            })
        });
    }

    /// Puts a spare in the place of a new sandbox: its folder, and what holds all of them, where programs may move them.
    /// `None` when there is none, or it cannot be.
    pub(super) fn take(
        &self,
        reuse: &Reuse,
        place: &Place,
        user: Option<u32>,
    ) -> Option<(OwnedFd, Option<Folders>)> {
        let spare = self.shelf().pop(reuse)?;
        let take = || -> rustix::io::Result<OwnedFd> {
            // Never over another sandbox, be it empty.
            let whole = place.root();
            rustix::fs::renameat_with(CWD, &spare.path, CWD, &whole, RenameFlags::NOREPLACE)?;
            let root = open_folder(CWD, &whole)?;
            // Whoever may move it may have put something there meanwhile.
            let is_reached = spare.folders.is_some();
            if is_reached && !self.is_as_made(reuse, &place.run, &root).unwrap_or(false) {
                return Err(Errno::PERM);
            }
            if user.is_some() {
                for area in AREAS {
                    give(&open_folder(&root, area)?, user)?;
                }
            }
            Ok(root)
        };
        match take() {
            Ok(root) => Some((root, spare.folders)),
            Err(Errno::EXIST) => {
                self.shelf().push(reuse, spare);
                None
            }
            Err(_) => {
                spare.remove();
                remove::tree(&place.root()).ok();
                None
            }
        }
    }

    /// Empties the folder of a sandbox that is over, and keeps it and what holds its folders, when it is as it was made;
    /// otherwise it is to be removed. Blocks.
    pub(super) fn keep(&self, gone: &Path, fate: &mut Fate) -> bool {
        let Fate { folders, reuse } = fate;
        if *reuse == Reuse::Never || self.shelf().count >= MAX_SPARES {
            return false;
        }
        let is_as_made = || -> io::Result<bool> {
            let is_there = folders.as_ref().is_none_or(|it| it.are_in(gone));
            let run = gone.parent().unwrap_or(gone);
            Ok(is_there && self.is_as_made(reuse, run, &open_folder(CWD, gone)?)?)
        };
        if !is_as_made().unwrap_or(false) {
            return false;
        }
        let mut spares = self.shelf();
        let path = gone.with_file_name(format!("{SPARE}{}", spares.made));
        if rustix::fs::rename(gone, &path).is_err() {
            return false;
        }
        spares.made += 1;
        let folders = folders.take();
        spares.push(reuse, Spare { path, folders });
        true
    }

    /// Empties a sandbox's folder in that of its run; its small files are then anybody's who may have them. Whether it is
    /// as it was made then; its times are those of now.
    fn is_as_made(&self, reuse: &Reuse, run: &Path, root: &OwnedFd) -> io::Result<bool> {
        let Some(Some(new)) = self.new.get() else {
            return Ok(false);
        };
        let folders = Open::of(root, &new.points)?;
        for folder in &folders.areas {
            // What does not go there is removed.
            self.blanks.keep(reuse, run, folder).ok();
        }
        folders.empty()?;
        if folders.look()?.as_ref() != Some(&new.look) {
            return Ok(false);
        }
        let own = [&folders.git_settings, root];
        for it in folders.areas.iter().chain(&folders.points).chain(own) {
            rustix::fs::futimens(it, &NOW)?;
        }
        Ok(true)
    }

    /// Removes all of them. Blocks.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.shelf()).all;
        all.values().flatten().for_each(Spare::remove);
        self.blanks.clear();
    }

    /// Whether there are none.
    pub(super) fn are_none(&self) -> bool {
        self.shelf().count == 0
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn push(&mut self, reuse: &Reuse, spare: Spare) {
        self.all.entry(reuse.clone()).or_default().push(spare);
        self.count += 1;
    }

    fn pop(&mut self, reuse: &Reuse) -> Option<Spare> {
        let spare = self.all.get_mut(reuse)?.pop()?;
        self.count -= 1;
        Some(spare)
    }
}

impl Spare {
    /// Removes it, wherever it is. What stays is swept with the run's folder.
    fn remove(&self) {
        remove::tree(&self.path).ok();
        self.folders.as_ref().map(Folders::remove);
    }
}

/// All of a sandbox that outlives what is in it, open.
struct Open<'r> {
    root: &'r OwnedFd,
    areas: Vec<OwnedFd>,
    names: &'r [OsString],
    points: Vec<OwnedFd>,
    git_settings: OwnedFd,
}

impl<'r> Open<'r> {
    fn of(root: &'r OwnedFd, names: &'r [OsString]) -> io::Result<Self> {
        let areas = AREAS.iter().map(|area| open_folder(root, *area));
        let mut points: Vec<OwnedFd> = Vec::with_capacity(names.len());
        for name in names {
            let above = match points.last() {
                Some(above) => above,
                None => &open_folder(root, TMP)?,
            };
            points.push(open_folder(above, name)?);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(Self {
            root,
            areas: areas.collect::<rustix::io::Result<_>>()?,
            names,
            points,
            git_settings: rustix::fs::openat(root, names::GIT_SETTINGS, flags, Mode::empty())?,
        })
    }

    /// Removes all that programs have put there.
    fn empty(&self) -> io::Result<()> {
        let mut next = self.names.iter().map(OsString::as_os_str);
        for (area, name) in self.areas.iter().zip(AREAS) {
            let but = if name == TMP { next.next() } else { None };
            remove::entries(area, but)?;
        }
        for point in &self.points {
            remove::entries(point, next.next())?;
        }
        for entry in Dir::read_from(self.root)? {
            let entry = entry?;
            let name = entry.file_name();
            let mut own = AREAS.iter().chain(&[names::GIT_SETTINGS, ".", ".."]);
            if !own.any(|it| it.as_bytes() == name.to_bytes()) {
                rustix::fs::unlinkat(self.root, name, AtFlags::empty())?;
            }
        }
        Ok(())
    }

    /// What there is to see of it when it is empty; `None` where it is not as forge makes them.
    fn look(&self) -> io::Result<Option<Look>> {
        let me = rustix::process::geteuid().as_raw();
        let of = |it: &OwnedFd| Part::of(it, me);
        let own = of(self.root)?.zip(of(&self.git_settings)?);
        let Some(((whole, owner), (git_settings, settings_owner))) = own else {
            return Ok(None);
        };
        let points: Option<Vec<_>> = self.points.iter().map(of).collect::<io::Result<_>>()?;
        let (points, point_owners): (Vec<Part>, Vec<u32>) =
            points.unwrap_or_default().into_iter().unzip();
        let areas: Option<Vec<_>> = self.areas.iter().map(of).collect::<io::Result<_>>()?;
        let (areas, mut owners): (Vec<Part>, Vec<u32>) =
            areas.unwrap_or_default().into_iter().unzip();
        // Those of the areas are whoever the programs ran as, who can give them to nobody else.
        owners.dedup();
        let is_whole = (owner, settings_owner) == (me, me)
            && owners.len() == 1
            && point_owners.len() == self.points.len()
            && point_owners.iter().all(|it| *it == me)
            && names::are_git_settings(self.git_settings.try_clone()?);
        Ok(is_whole.then_some(Look {
            whole,
            areas,
            points,
            git_settings,
        }))
    }
}

impl Part {
    /// The same of one with anything in it.
    pub(super) fn however_full(self) -> Self {
        Self { bytes: 0, ..self }
    }

    /// It, and its owner; `me` is this user. `None` where it has attributes: a program may have changed what is in them.
    pub(super) fn of(it: &OwnedFd, me: u32) -> io::Result<Option<(Self, u32)>> {
        let data = File::from(it.try_clone()?).metadata()?;
        match rustix::fs::flistxattr(it, &mut [0_u8; MAX_ATTRIBUTES]) {
            Ok(0) | Err(Errno::NOTSUP) => {}
            Ok(_) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        #[cfg(target_os = "linux")]
        let flags = rustix::fs::ioctl_getflags(it).ok().map(|it| it.bits());
        #[cfg(not(target_os = "linux"))]
        let flags = None;
        // A user of a sandbox's own has a group of the same number.
        let is_own_group = data.uid() != me && data.gid() == data.uid();
        let part = Self {
            mode: data.mode(),
            links: data.nlink(),
            bytes: data.len(),
            group: if is_own_group { 0 } else { data.gid() },
            flags,
        };
        Ok(Some((part, data.uid())))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::place::WORK;
    use super::super::protocol::Rung;
    use super::*;
    use crate::name::{RunId, SandboxName};

    struct Base {
        folder: tempfile::TempDir,
        run: RunId,
        spares: Spares,
        points: Vec<OsString>,
        reuse: Reuse,
    }

    impl Base {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let run = RunId::generate();
            let place = Self::place_in(folder.path(), &run, "none");
            std::fs::create_dir(&place.run).unwrap();
            Self {
                folder,
                run,
                spares: Spares::default(),
                points: Vec::new(),
                reuse: Reuse::ByAll,
            }
        }

        /// One in whose sandboxes something is mounted at `tmp/x/run`.
        fn with_points() -> Self {
            let points = ["x", "run"].map(OsString::from).into();
            let without = Self::new();
            Self { points, ..without }
        }

        fn place_in(folder: &Path, run: &RunId, name: &str) -> Place {
            let name: SandboxName = serde_json::from_value(name.into()).unwrap();
            Place::of(folder, run, &name).unwrap()
        }

        fn place(&self, name: &str) -> Place {
            Self::place_in(self.folder.path(), &self.run, name)
        }

        /// A new sandbox in a folder that was made for it.
        fn made(&self, name: &str) -> Place {
            let place = self.place(name);
            let root = place.create(None, &self.points).unwrap();
            futures::executor::block_on(names::name_committer(&root)).unwrap();
            self.spares.learn(&root, self.points.clone());
            place
        }

        /// Whether the folder of a sandbox is used again after this was done in it.
        fn is_kept_after(&self, what: impl FnOnce(&Path)) -> bool {
            let place = self.made("one");
            let rung = Rung::Process { filtered: true };
            let mut fate = Fate {
                folders: Folders::hold(&place.root(), rung, None),
                reuse: self.reuse.clone(),
            };
            what(&place.root());
            let mut is_kept = false;
            let put_away = |gone: &Path| {
                is_kept = self.spares.keep(gone, &mut fate);
                is_kept
            };
            place.remove(put_away).unwrap();
            if let Some(folders) = fate.folders {
                folders.remove().unwrap();
            }
            assert!(!place.exists());
            is_kept
        }
    }

    #[test]
    fn a_folder_that_is_used_again_is_empty_and_nothing_is_made() {
        let base = Base::new();
        let mut inode = 0;
        assert!(base.is_kept_after(|root| {
            inode = std::fs::metadata(root.join(WORK)).unwrap().ino();
            for folder in ["work/a/b/c", "artifacts/x", "tmp/y", "forge/z"] {
                std::fs::create_dir_all(root.join(folder)).unwrap();
            }
            std::fs::write(root.join("beside"), "").unwrap();
            set_time(&root.join("tmp"), LONG_AGO);
            std::fs::write(root.join("work/a/file"), "").unwrap();
            std::os::unix::fs::symlink("..", root.join("work/up")).unwrap();
        }));
        let place = base.place("two");
        let (_root, folders) = base.spares.take(&Reuse::ByAll, &place, None).unwrap();
        assert!(folders.unwrap().are_in(&place.root()));
        let mut there: Vec<_> = walk(&place.root());
        there.sort();
        assert_eq!(there, ["artifacts", "forge", "gitconfig", "tmp", "work"]);
        let data = std::fs::metadata(place.root().join(WORK)).unwrap();
        assert_eq!(data.ino(), inode);
        let changed = std::fs::metadata(place.root().join("tmp")).unwrap().mtime();
        assert!(changed > LONG_AGO, "{changed}");
        assert!(base.spares.are_none());
        assert!(
            base.spares
                .take(&Reuse::ByAll, &base.place("three"), None)
                .is_none()
        );
    }

    const LONG_AGO: i64 = 1_000_000_000;

    fn set_time(path: &Path, seconds: i64) {
        let time = Timespec {
            tv_sec: seconds,
            tv_nsec: 0,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        rustix::fs::utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
    }

    #[test]
    fn what_one_candidate_has_left_is_used_again_for_it_alone() {
        let of = |name: &str| Reuse::ByCandidate(CandidateName::parse(name).unwrap());
        let base = Base {
            reuse: of("a"),
            ..Base::new()
        };
        assert!(base.is_kept_after(|root| std::fs::write(root.join("work/x"), "").unwrap()));
        let place = base.place("two");
        for others in [of("b"), Reuse::ByAll, Reuse::Never] {
            assert!(base.spares.take(&others, &place, None).is_none());
        }
        assert!(base.spares.take(&of("a"), &place, None).is_some());
        let base = Base {
            reuse: Reuse::Never,
            ..Base::new()
        };
        assert!(!base.is_kept_after(|_| {}));
        assert!(base.spares.are_none());
    }

    #[test]
    fn a_spare_that_somebody_reached_is_emptied_again_or_not_used() {
        let base = Base::new();
        let spare = || base.place("none").run.join(format!("{SPARE}0"));
        assert!(base.is_kept_after(|_| {}));
        std::fs::write(spare().join("work/planted"), "").unwrap();
        base.spares
            .take(&Reuse::ByAll, &base.place("two"), None)
            .unwrap();
        assert_eq!(walk(&base.place("two").root().join(WORK)), [""; 0]);
        let base = Base::new();
        let spare = || base.place("none").run.join(format!("{SPARE}0"));
        assert!(base.is_kept_after(|_| {}));
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(spare().join(WORK), open).unwrap();
        assert!(
            base.spares
                .take(&Reuse::ByAll, &base.place("two"), None)
                .is_none()
        );
        assert!(!base.place("two").exists());
    }

    fn walk(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        let below = entries.flat_map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            let is_folder = entry.file_type().unwrap().is_dir();
            let below = if is_folder {
                walk(&entry.path())
            } else {
                Vec::new()
            };
            let below = below
                .iter()
                .map(|it| format!("{name}/{it}"))
                .collect::<Vec<_>>();
            [name].into_iter().chain(below)
        });
        below.collect()
    }

    #[test]
    fn what_a_program_has_changed_for_good_is_not_used_again() {
        type Change = fn(&Path);
        let changes: [(&str, Change); 8] = [
            ("mode", |root| {
                let mode = std::fs::Permissions::from_mode(0o711);
                std::fs::set_permissions(root.join("tmp"), mode).unwrap();
            }),
            ("mode of all", |root| {
                let mode = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(root, mode).unwrap();
            }),
            ("gone", |root| {
                std::fs::remove_dir(root.join("artifacts")).unwrap();
            }),
            ("a link", |root| {
                std::fs::remove_dir(root.join("artifacts")).unwrap();
                std::os::unix::fs::symlink("work", root.join("artifacts")).unwrap();
            }),
            ("another", |root| {
                std::fs::rename(root.join("work"), root.join("../elsewhere")).unwrap();
                std::fs::create_dir(root.join("work")).unwrap();
                let mode = std::fs::Permissions::from_mode(0o700);
                std::fs::set_permissions(root.join("work"), mode).unwrap();
            }),
            ("settings", |root| {
                let path = root.join(names::GIT_SETTINGS);
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::write(&path, text.replace("candidate", "somebody_")).unwrap();
            }),
            ("settings elsewhere", |root| {
                let path = root.join(names::GIT_SETTINGS);
                std::fs::hard_link(path, root.join("../link")).unwrap();
            }),
            ("a folder beside", |root| {
                std::fs::create_dir_all(root.join("beside/below")).unwrap();
            }),
        ];
        for (what, change) in changes {
            let base = Base::new();
            assert!(!base.is_kept_after(change), "{what}");
            assert!(base.spares.are_none());
            let _link = std::fs::remove_file(base.place("link").root());
            let left: Vec<_> = walk(&base.place("none").run);
            assert_eq!(left, [""; 0], "{what}");
        }
        // Nothing but what is in it.
        assert!(Base::new().is_kept_after(|_| {}));
    }

    #[test]
    fn what_something_is_mounted_on_stays_when_it_is_as_it_was_made() {
        type Change = fn(&Path);
        let base = Base::with_points();
        let mut inode = 0;
        assert!(base.is_kept_after(|root| {
            inode = std::fs::metadata(root.join("tmp/x/run")).unwrap().ino();
            for path in ["tmp/own", "tmp/x/own", "tmp/x/run/own"] {
                std::fs::write(root.join(path), "").unwrap();
            }
        }));
        let place = base.place("two");
        base.spares.take(&Reuse::ByAll, &place, None).unwrap();
        assert_eq!(walk(&place.root().join("tmp")), ["x", "x/run"]);
        let point = std::fs::metadata(place.root().join("tmp/x/run")).unwrap();
        assert_eq!((point.ino(), point.mode() & 0o777), (inode, 0o755));
        let changes: [(&str, Change); 3] = [
            ("mode", |root| {
                let mode = std::fs::Permissions::from_mode(0o777);
                std::fs::set_permissions(root.join("tmp/x"), mode).unwrap();
            }),
            ("gone", |root| {
                std::fs::remove_dir(root.join("tmp/x/run")).unwrap();
            }),
            ("a link", |root| {
                std::fs::remove_dir_all(root.join("tmp/x")).unwrap();
                std::os::unix::fs::symlink("../work", root.join("tmp/x")).unwrap();
            }),
        ];
        for (what, change) in changes {
            let base = Base::with_points();
            assert!(!base.is_kept_after(change), "{what}");
            assert_eq!(walk(&base.place("none").run), [""; 0], "{what}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn attributes_of_a_folder_do_not_come_back() {
        use rustix::fs::{IFlags, XattrFlags};
        let base = Base::new();
        let place = base.made("tried");
        let root = open_folder(CWD, place.root()).unwrap();
        let work = open_folder(&root, WORK).unwrap();
        let can_label = rustix::fs::fsetxattr(&work, "user.x", b"", XattrFlags::empty()).is_ok();
        let can_flag = rustix::fs::ioctl_setflags(&work, IFlags::NODUMP).is_ok();
        if can_label {
            assert!(!base.is_kept_after(|root| {
                let work = root.join(WORK);
                rustix::fs::setxattr(work, "user.x", b"", XattrFlags::empty()).unwrap();
            }));
        } else {
            eprintln!(
                "skipped: attributes_of_a_folder_do_not_come_back (labels): not on this file system"
            );
        }
        if can_flag {
            assert!(!base.is_kept_after(|root| {
                let work = open_folder(CWD, root.join(WORK)).unwrap();
                rustix::fs::ioctl_setflags(&work, IFlags::NODUMP).unwrap();
            }));
        } else {
            eprintln!(
                "skipped: attributes_of_a_folder_do_not_come_back (flags): not on this file system"
            );
        }
        assert!(base.is_kept_after(|_| {}));
    }
}
