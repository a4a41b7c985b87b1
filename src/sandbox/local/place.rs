//! Where local sandboxes are on the disk.
//!
//! ```text
//! <base>/forge-<uid>-<run>/        one per run, there while it has a sandbox; flocked by every live forge
//!     <sandbox name>/{work,tmp,artifacts,forge,gitconfig}
//!     .gone-<sandbox name>/        being removed
//!     .spare-<number>/             emptied, for a sandbox to come
//!     .blank/                      files to be written over, for a sandbox to come
//!     .kept-<sandbox name>         says that the sandbox is left for debugging, for a day from then
//! ```
//!
//! Promises: all of it is this user's, though `<base>` be everybody's, and others cannot look into it; where
//! programs run as a user of their own, that one can pass through, but sees only what is its. The folder of
//! a run whose forge is alive is never swept.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::upload::give;
use super::{moved, processes, remove};
use crate::name::{RunId, SandboxId, SandboxName};
use crate::sandbox::{Listed, Presence};

/// The folders of a sandbox, in the order of [`crate::sandbox::Layout`].
pub(super) const WORK: &str = "work";
pub(super) const ARTIFACTS: &str = "artifacts";
pub(super) const FORGE: &str = "forge";
pub(super) const TMP: &str = "tmp";
/// All of them.
pub(super) const AREAS: [&str; 4] = [WORK, ARTIFACTS, FORGE, TMP];

/// The mode of what something is mounted on.
const POINT: Mode = Mode::RWXU
    .union(Mode::RGRP)
    .union(Mode::XGRP)
    .union(Mode::ROTH)
    .union(Mode::XOTH);

const GONE: &str = ".gone-";
const KEPT: &str = ".kept-";
/// How long a kept sandbox outlives the runs that come after it.
const KEPT_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// Opens a folder, but no link to one.
pub(super) fn open_folder<P: rustix::path::Arg>(
    parent: impl AsFd,
    name: P,
) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}

fn prefix() -> String {
    format!("forge-{}-", rustix::process::geteuid().as_raw())
}

/// The folder of a run, below the base.
pub(super) fn run_folder(run: &RunId) -> String {
    format!("{}{}", prefix(), run.short())
}

/// A name as one component of a path, if it can be one: a name may come from a ledger that was edited.
fn component(name: &str) -> Option<&str> {
    let safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (!name.is_empty() && name.chars().all(safe)).then_some(name)
}

/// Where a sandbox is: its run's folder, and its name in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub run: PathBuf,
    name: String,
}

/// What is told of a sandbox of which nothing is left. One that was not there any more was not deleted here.
pub(super) const fn removed(was_there: bool) -> Presence {
    if was_there {
        Presence::Gone
    } else {
        Presence::Absent
    }
}

impl Place {
    /// The place of a new sandbox. `None` when its name could lead elsewhere.
    pub(super) fn of(base: &Path, run: &RunId, name: &SandboxName) -> Option<Self> {
        Some(Self {
            run: base.join(run_folder(run)),
            name: component(name.as_str())?.to_owned(),
        })
    }

    /// A place to try something out.
    pub(super) fn for_probe(scratch: &Scratch) -> Self {
        Self {
            run: scratch.path.clone(),
            name: "probe".to_owned(),
        }
    }

    /// The place that an id speaks of. `None` when it is no id of a sandbox of this user.
    pub(super) fn parse(base: &Path, id: &SandboxId) -> Option<Self> {
        let (run, name) = id.as_str().split_once('/')?;
        run.strip_prefix(&prefix()).and_then(component)?;
        Some(Self {
            run: base.join(run),
            name: component(name)?.to_owned(),
        })
    }

    /// The sandbox's folder.
    pub(super) fn root(&self) -> PathBuf {
        self.run.join(&self.name)
    }

    /// Whether there is a sandbox.
    pub(super) fn exists(&self) -> bool {
        self.root().is_dir()
    }

    /// Whether there is a sandbox, as it is told.
    pub(super) fn presence(&self) -> Presence {
        if self.exists() {
            Presence::Alive
        } else {
            Presence::Gone
        }
    }

    /// Its id: its path below the base.
    pub(super) fn id(&self) -> SandboxId {
        let run = self.run.file_name().unwrap_or_default().to_string_lossy();
        SandboxId::new(format!("{run}/{}", self.name))
    }

    /// Makes the sandbox's folders, and in the one for temporary files those that lead to [`points`]; the run's folder is
    /// there. Returns the open root. `user` is the one that programs run as, where it is another.
    pub(super) fn create(
        &self,
        user: Option<u32>,
        points: &[OsString],
    ) -> rustix::io::Result<OwnedFd> {
        let root = self.root();
        let passable = if user.is_some() {
            Mode::RWXU | Mode::XOTH
        } else {
            Mode::RWXU
        };
        rustix::fs::mkdir(&root, passable)?;
        let fill = || {
            let open = open_folder(CWD, &root)?;
            for folder in AREAS {
                rustix::fs::mkdirat(&open, folder, Mode::RWXU)?;
                if user.is_some() {
                    give(&open_folder(&open, folder)?, user)?;
                }
            }
            if !points.is_empty() {
                let mut above = open_folder(&open, TMP)?;
                for point in points {
                    rustix::fs::mkdirat(&above, point, POINT)?;
                    above = open_folder(&above, point)?;
                    // Whatever the mask of this process is.
                    rustix::fs::fchmod(&above, POINT)?;
                }
            }
            if user.is_some() {
                // Whatever the mask of this process is, and for the run's folder too.
                rustix::fs::fchmod(&open, passable)?;
                rustix::fs::chmod(&self.run, passable)?;
            }
            Ok(open)
        };
        fill().inspect_err(|_| {
            // The first error is the one to tell; what stays is swept later.
            remove::tree(&root).ok();
        })
    }

    /// Ends the sandbox: from the first moment on it is not listed any more. What is left of its folder is `put_away`, or
    /// removed where that says so.
    pub(super) fn remove(&self, put_away: impl FnOnce(&Path) -> bool) -> io::Result<()> {
        let gone = self.run.join(format!("{GONE}{}", self.name));
        let is_put_away = match rustix::fs::rename(self.root(), &gone) {
            Ok(()) => put_away(&gone),
            // Not there, or one of this name is already on its way.
            Err(Errno::NOENT) => false,
            Err(_) => {
                remove::tree(&self.root())?;
                false
            }
        };
        if !is_put_away {
            remove::tree(&gone)?;
        }
        remove::tree(&self.mark())
    }

    /// Marks the sandbox as left for debugging, so that the runs of the next day leave it too.
    pub(super) fn keep(&self) -> io::Result<()> {
        std::fs::File::create(self.mark()).map(drop)
    }

    fn mark(&self) -> PathBuf {
        self.run.join(format!("{KEPT}{}", self.name))
    }
}

/// A private folder for what must not outlive a moment: removed when it is dropped, or, when forge was
/// killed, with the folders of dead runs.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    // Says that it is not dead.
    _hold: Hold,
}

impl Scratch {
    /// Makes one below `base`, which nobody else has or had. Blocks.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(base: &Path) -> io::Result<Self> {
        loop {
            // Numbers of processes come again, also with what a forge that was killed left under them.
            let path = base.join(format!("{}scratch-{}", prefix(), RunId::generate()));
            let taken = Hold::take(&path).map_err(|error| {
                let error = io::Error::from(error);
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })?;
            match taken {
                Taken::Held(hold) => return Ok(Self { path, _hold: hold }),
                // By another forge, between its being made and held.
                Taken::Swept => {}
            }
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is swept later.
        remove::tree(&self.path).ok();
    }
}

/// A forge's hold on the folder of its run.
#[derive(Debug)]
pub(super) struct Hold(OwnedFd);

/// What came of an attempt to take hold of a run's folder.
#[derive(Debug)]
pub(super) enum Taken {
    Held(Hold),
    /// Another forge is removing it just now.
    Swept,
}

impl Hold {
    /// Makes the folder if need be and holds it.
    pub(super) fn take(run: &Path) -> rustix::io::Result<Taken> {
        match rustix::fs::mkdir(run, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let folder = match open_folder(CWD, run) {
            Err(Errno::NOENT) => return Ok(Taken::Swept),
            other => other?,
        };
        let stat = rustix::fs::fstat(&folder)?;
        // In a folder of everybody's, anybody may have made this one first.
        if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
            return Err(Errno::PERM);
        }
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockShared) {
            Err(Errno::WOULDBLOCK) => return Ok(Taken::Swept),
            other => other?,
        }
        let hold = Self(folder);
        Ok(if hold.holds(run) {
            Taken::Held(hold)
        } else {
            Taken::Swept
        })
    }

    /// Whether the folder is still the one at that path.
    pub(super) fn holds(&self, run: &Path) -> bool {
        moved::is_same(&self.0, run)
    }

    /// Takes back what a program has closed to this user.
    pub(super) fn open_up(&self) {
        let mode = rustix::fs::fstat(&self.0).map(|stat| Mode::from_raw_mode(stat.st_mode));
        if let Ok(mode) = mode
            && !mode.contains(Mode::RWXU)
        {
            // Then what comes next says why it does not work.
            rustix::fs::fchmod(&self.0, mode | Mode::RWXU).ok();
        }
    }

    /// Removes the folder where it is not at this path any more, unless there is something in it.
    pub(super) fn remove_moved(&self, run: &Path) {
        if let Some(at) = moved::whereabouts(&self.0)
            && at != run
            && moved::is_same(&self.0, &at)
        {
            // Refused while there is another sandbox in it, which will do this too.
            rustix::fs::rmdir(&at).ok();
        }
    }
}

/// The sandboxes in a run's folder.
pub(super) fn list(base: &Path, run: &str) -> io::Result<Vec<Listed>> {
    let entries = match std::fs::read_dir(base.join(run)) {
        Err(error) if nothing_there(&error) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let Some(name) = name.to_str().and_then(component) else {
            continue;
        };
        // `SandboxName` reads what it writes; it has no other way in.
        let Ok(name) = serde_json::from_value::<SandboxName>(name.into()) else {
            continue;
        };
        found.push(Listed {
            id: SandboxId::new(format!("{run}/{name}")),
            name,
            presence: Presence::Alive,
        });
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// Whether nothing can be at a path: its folder is not there, or is no folder.
fn nothing_there(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// Looks for a sandbox in the folders of all runs.
pub(super) fn find(base: &Path, name: &SandboxName) -> io::Result<Option<SandboxId>> {
    let Some(name) = component(name.as_str()) else {
        return Ok(None);
    };
    for run in runs(base)? {
        if run.join(name).is_dir() {
            let place = Place {
                run,
                name: name.to_owned(),
            };
            return Ok(Some(place.id()));
        }
    }
    Ok(None)
}

/// The folders of this user's runs.
fn runs(base: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(base) {
        Err(error) if nothing_there(&error) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let run = name.to_str().and_then(|name| name.strip_prefix(&prefix()));
        if run.and_then(component).is_some() {
            found.push(base.join(name));
        }
    }
    found.sort();
    Ok(found)
}

/// See [`super::LocalProvider::sweep_dead`].
pub(super) fn sweep(base: &Path, older_than: Duration) -> io::Result<usize> {
    let mut swept = 0;
    for run in runs(base)? {
        let changed = std::fs::symlink_metadata(&run).and_then(|data| data.modified());
        let age = changed.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        if age.is_ok_and(|age| age >= older_than) && sweep_run(&run)? {
            swept += 1;
        }
    }
    Ok(swept)
}

/// Removes the folder of a run, but for the sandboxes in it that are kept, unless a forge is at it. Returns
/// whether all of it is gone. Blocks.
pub(super) fn sweep_run(run: &Path) -> io::Result<bool> {
    let Ok(folder) = open_folder(CWD, run) else {
        return Ok(false);
    };
    let stat = rustix::fs::fstat(&folder)?;
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    if rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(false);
    }
    processes::end_marked(run, processes::Mark::Environment);
    let kept = kept(run)?;
    if kept.is_empty() {
        remove::tree(run)?;
        return Ok(true);
    }
    for entry in std::fs::read_dir(run)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        if !kept.contains(name.strip_prefix(KEPT).unwrap_or(&name)) {
            remove::tree(&run.join(&*name))?;
        }
    }
    Ok(false)
}

/// The names of a run's sandboxes that are to be left for now.
fn kept(run: &Path) -> io::Result<BTreeSet<String>> {
    let mut kept = BTreeSet::new();
    for entry in std::fs::read_dir(run)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix(KEPT)) else {
            continue;
        };
        let marked = entry.metadata().and_then(|data| data.modified());
        let age = marked.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        if age.is_ok_and(|age| age < KEPT_FOR) && run.join(name).is_dir() {
            kept.insert(name.to_owned());
        }
    }
    Ok(kept)
}

/// How often folders are opened, for tests.
#[cfg(target_os = "linux")]
#[cfg(test)]
pub(super) mod opens {
    use std::mem::MaybeUninit;
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};

    /// Notes whenever a folder is opened, or something in it.
    pub(in crate::sandbox::local) struct Opens(OwnedFd);

    impl Opens {
        pub(in crate::sandbox::local) fn of(folder: &Path) -> Self {
            let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
            add_watch(&watch, folder, WatchFlags::OPEN).unwrap();
            Self(watch)
        }

        /// How often since the last time; the same twice in a row counts once.
        pub(in crate::sandbox::local) fn count(&mut self) -> usize {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut reader = Reader::new(&self.0, &mut buffer);
            let mut count = 0;
            while let Ok(event) = reader.next() {
                count += usize::from(event.events().contains(ReadFlags::OPEN));
            }
            count
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_names_lead_nowhere_else() {
        let base = Path::new("/base");
        let mine = prefix();
        for bad in [
            String::new(),
            "/etc".to_owned(),
            "..".to_owned(),
            format!("{mine}abc"),
            format!("{mine}abc/"),
            format!("{mine}abc/../x"),
            format!("{mine}../x"),
            format!("{mine}abc/x/y"),
            format!("{mine}/x"),
            "tmp/x".to_owned(),
        ] {
            assert_eq!(
                Place::parse(base, &SandboxId::new(bad.clone())),
                None,
                "{bad}"
            );
        }
        let id = SandboxId::new(format!("{mine}abc/forge-abc-1-x"));
        let place = Place::parse(base, &id).unwrap();
        assert_eq!(place.id(), id);
        assert!(place.root().starts_with(base));
        let name: SandboxName = serde_json::from_value("../../etc".into()).unwrap();
        assert_eq!(Place::of(base, &RunId::generate(), &name), None);
    }

    #[test]
    fn a_live_run_is_not_swept_and_a_dead_one_is() {
        let base = tempfile::tempdir().unwrap();
        let run = base.path().join(run_folder(&RunId::generate()));
        let Taken::Held(hold) = Hold::take(&run).unwrap() else {
            panic!("not held");
        };
        std::fs::create_dir(run.join("x")).unwrap();
        assert_eq!(sweep(base.path(), Duration::ZERO).unwrap(), 0);
        drop(hold);
        assert_eq!(sweep(base.path(), Duration::from_secs(3600)).unwrap(), 0);
        assert_eq!(sweep(base.path(), Duration::ZERO).unwrap(), 1);
        assert!(!run.exists());
    }

    #[test]
    fn what_is_being_tried_out_is_not_swept() {
        let base = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(base.path()).unwrap();
        let probe = Place::for_probe(&scratch);
        probe.create(None, &[]).unwrap();
        assert_eq!(sweep(base.path(), Duration::ZERO).unwrap(), 0);
        assert!(probe.exists());
        drop(scratch);
        assert!(!probe.run.exists());
    }

    #[test]
    fn a_kept_sandbox_outlives_the_next_runs_but_not_for_ever() {
        let base = tempfile::tempdir().unwrap();
        let id = RunId::generate();
        let run = base.path().join(run_folder(&id));
        std::fs::create_dir(&run).unwrap();
        let place = |serial| Place::of(base.path(), &id, &SandboxName::new(&id, serial, "x"));
        let (left, dead) = (place(1).unwrap(), place(2).unwrap());
        left.create(None, &[]).unwrap();
        left.keep().unwrap();
        dead.create(None, &[]).unwrap();
        assert_eq!(sweep(base.path(), Duration::ZERO).unwrap(), 0);
        assert!(left.root().exists() && !dead.root().exists());
        let yesterday = SystemTime::now() - KEPT_FOR;
        let mark = std::fs::File::open(left.mark()).unwrap();
        mark.set_modified(yesterday).unwrap();
        assert_eq!(sweep(base.path(), Duration::ZERO).unwrap(), 1);
        assert!(!run.exists());
    }

    #[test]
    fn a_folder_that_was_replaced_is_not_held() {
        let base = tempfile::tempdir().unwrap();
        let run = base.path().join(run_folder(&RunId::generate()));
        let Taken::Held(hold) = Hold::take(&run).unwrap() else {
            panic!("not held");
        };
        assert!(hold.holds(&run));
        std::fs::rename(&run, base.path().join("away")).unwrap();
        std::fs::create_dir(&run).unwrap();
        assert!(!hold.holds(&run));
    }

    #[test]
    fn a_link_in_place_of_a_run_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let run = base.path().join(run_folder(&RunId::generate()));
        std::fs::create_dir(base.path().join("trap")).unwrap();
        std::os::unix::fs::symlink("trap", &run).unwrap();
        assert!(Hold::take(&run).is_err());
        assert_eq!(sweep(base.path(), Duration::ZERO).unwrap(), 0);
        assert!(run.is_symlink() && base.path().join("trap").exists());
    }
}
