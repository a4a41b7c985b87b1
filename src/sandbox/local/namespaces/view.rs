//! The files that a program in a machine of its own sees: a root directory in memory, and what is mounted in it.
//!
//! Promises: what is not granted is not there; what is there of the machine cannot be written, but for the sandbox's own
//! folders; no link that an earlier program has left is followed.

use std::ffi::CString;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

use super::Outcome;
use super::points::{file_at, folder_at};
use crate::sandbox::local::folder::TMP;
use crate::sandbox::local::protocol::{Failure, Policy, Rung};
use crate::sandbox::local::{kernel, names, visible};

/// Something of the machine that is seen inside.
struct Seen {
    /// Where, as an absolute path.
    at: PathBuf,
    tree: OwnedFd,
    is_folder: bool,
}

/// A root directory under construction. It is mounted over the sandbox's own folder, which exists for sure.
pub(super) struct View {
    root: OwnedFd,
}

const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV);
const WRITABLE: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
const DEVICE: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

impl View {
    /// Makes the view, and makes it this process's.
    pub(super) fn make(policy: &Policy) -> Outcome<()> {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private)
            .map_err(|error| Failure::at("mount /")(error.into()))?;
        // All of it is held before anything is mounted over anything.
        let seen = everything(policy)?;
        let shared_proc = policy.rung == Rung::Namespaces { shared_proc: true };
        let proc = shared_proc.then(|| take(Path::new("/proc"), READ_ONLY));
        let proc = proc.transpose()?;
        file_system(
            "tmpfs",
            &policy.root,
            MountFlags::NOSUID | MountFlags::NODEV,
            Some(c"size=1m,nr_inodes=16k,mode=755"),
        )?;
        let open = || -> io::Result<Self> {
            std::env::set_current_dir(&policy.root)?;
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::open(".", flags, Mode::empty())?;
            Ok(Self { root })
        };
        let view = open().map_err(Failure::at("mount the root"))?;
        view.fill(&seen, proc.as_ref(), policy.root.parent())?;
        view.name_the_user(policy)?;
        view.enter().map_err(Failure::at("pivot_root"))
    }

    fn fill(&self, seen: &[Seen], proc: Option<&Seen>, run: Option<&Path>) -> Outcome<()> {
        let shape = || -> io::Result<()> {
            for folder in ["proc", "tmp", "dev/shm", "dev/pts", "var"] {
                self.point(Path::new(folder), true)?;
            }
            for (name, target) in [
                ("dev/fd", "/proc/self/fd"),
                ("dev/stdin", "/proc/self/fd/0"),
                ("dev/stdout", "/proc/self/fd/1"),
                ("dev/stderr", "/proc/self/fd/2"),
                ("dev/ptmx", "pts/ptmx"),
                ("var/tmp", "../tmp"),
            ] {
                rustix::fs::symlinkat(target, &self.root, name)?;
            }
            for path in visible::LINKED {
                if let Ok(target) = std::fs::read_link(path) {
                    rustix::fs::symlinkat(&target, &self.root, relative(Path::new(path)))?;
                }
            }
            Ok(())
        };
        shape().map_err(Failure::at("make the root"))?;
        let quiet = MountFlags::NOSUID | MountFlags::NODEV;
        if let Some(proc) = proc {
            self.place(proc)?;
        } else {
            // Of what can be written there, no program needs anything, and its claim to memory is not its own.
            let flags = quiet | MountFlags::NOEXEC | MountFlags::RDONLY;
            file_system("proc", "proc", flags, None)?;
        }
        let shm = quiet | MountFlags::NOEXEC;
        file_system(
            "tmpfs",
            "dev/shm",
            shm,
            Some(c"size=64m,nr_inodes=16k,mode=1777"),
        )?;
        // A program without terminals still does most things.
        file_system(
            "devpts",
            "dev/pts",
            MountFlags::NOSUID | MountFlags::NOEXEC,
            Some(c"newinstance,ptmxmode=0666,mode=0620,max=64"),
        )
        .ok();
        let tmp = Path::new(TMP);
        let covered = run.filter(|it| it.starts_with(tmp) && *it != tmp);
        for one in seen {
            self.place(one)?;
            if one.at == tmp
                && let Some(run) = covered
            {
                self.cover(run)?;
            }
        }
        covered.map_or(Ok(()), |run| self.close(run))
    }

    /// Hides the run's folder, where it is below that for temporary files, which is the sandbox's own and on a disk, under
    /// one in memory: the points for what is mounted there cost nothing then, and leave nothing behind.
    fn cover(&self, run: &Path) -> Outcome<()> {
        let at = relative(run);
        let point = self.point(at, true);
        point.map_err(|error| Failure::at(format!("bind {}", run.display()))(error.into()))?;
        // No program of the sandbox runs that could put a link there meanwhile.
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let options = c"size=64k,nr_inodes=256,mode=755";
        file_system("tmpfs", at, flags, Some(options))
    }

    /// Lets nobody write there.
    fn close(&self, run: &Path) -> Outcome<()> {
        let close = || -> io::Result<()> {
            let point = self.point(relative(run), true)?;
            let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into();
            kernel::restrict_mount(point.as_fd(), read_only, false)
        };
        close().map_err(Failure::at(format!("bind {}", run.display())))
    }

    /// Shows lists of users and groups of its own, where the system has some: whom a program runs as is in
    /// none of the machine's.
    fn name_the_user(&self, policy: &Policy) -> Outcome<()> {
        /// In the root directory, for a moment.
        const DRAFT: &str = ".list";
        let own = |id: u32| policy.user.unwrap_or(id);
        let user = own(rustix::process::geteuid().as_raw());
        let group = own(rustix::process::getegid().as_raw());
        for (at, text) in names::lists(user, group, &policy.work) {
            let stat = rustix::fs::statat(&self.root, at, AtFlags::SYMLINK_NOFOLLOW);
            if !stat.is_ok_and(|it| FileType::from_raw_mode(it.st_mode).is_file()) {
                continue;
            }
            let show = || -> io::Result<Seen> {
                let make = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                let draft = rustix::fs::openat(&self.root, DRAFT, make, Mode::RUSR)?;
                rustix::fs::fchmod(&draft, Mode::from_raw_mode(0o444))?;
                std::fs::File::from(draft).write_all(text.as_bytes())?;
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                let tree = rustix::mount::open_tree(&self.root, DRAFT, flags)?;
                kernel::restrict_mount(tree.as_fd(), READ_ONLY.bits().into(), false)?;
                Ok(Seen {
                    at: Path::new("/").join(at),
                    tree,
                    is_folder: false,
                })
            };
            let seen = show().map_err(Failure::at(format!("make {at}")))?;
            self.place(&seen)?;
            let unlinked = rustix::fs::unlinkat(&self.root, DRAFT, AtFlags::empty());
            unlinked.map_err(|error| Failure::at(format!("make {at}"))(error.into()))?;
        }
        Ok(())
    }

    /// Puts something in its place.
    fn place(&self, seen: &Seen) -> Outcome<()> {
        let put = || -> io::Result<()> {
            let point = self.point(relative(&seen.at), seen.is_folder)?;
            let by_descriptor =
                MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
            Ok(rustix::mount::move_mount(
                &seen.tree,
                "",
                &point,
                "",
                by_descriptor,
            )?)
        };
        put().map_err(Failure::at(format!("bind {}", seen.at.display())))
    }

    /// Opens the place for a mount, after making it if need be. Follows no link: some of the folders above
    /// it may be a program's, from an earlier command in this sandbox.
    fn point(&self, path: &Path, is_folder: bool) -> rustix::io::Result<OwnedFd> {
        let mut names = path.components().peekable();
        let mut above: Option<OwnedFd> = None;
        while let Some(Component::Normal(name)) = names.next() {
            let parent = above.as_ref().unwrap_or(&self.root).as_fd();
            let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
            above = Some(if names.peek().is_none() && !is_folder {
                file_at(parent, &name)?
            } else {
                folder_at(parent, &name)?
            });
        }
        above.ok_or(Errno::INVAL)
    }

    /// Makes it the root directory; nothing else can be reached then.
    fn enter(self) -> io::Result<()> {
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        kernel::restrict_mount(
            self.root.as_fd(),
            MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(),
            false,
        )
    }
}

/// Takes hold of all that is seen inside, the folders above before those below.
fn everything(policy: &Policy) -> Outcome<Vec<Seen>> {
    let mut seen = Vec::new();
    for device in visible::DEVICES {
        let path = Path::new("/dev").join(device);
        if path.exists() {
            seen.push(take(&path, DEVICE)?);
        }
    }
    let is_own_folder = |path: &&Path| std::fs::symlink_metadata(path).is_ok_and(|it| it.is_dir());
    let system = visible::SYSTEM
        .iter()
        .chain(&visible::LINKED)
        .map(Path::new);
    for path in system.filter(is_own_folder) {
        seen.push(take(path, READ_ONLY)?);
    }
    let mut readable = policy.readable.clone();
    readable.extend(visible::moved());
    readable.sort();
    let mut last: Option<PathBuf> = None;
    for path in readable {
        let within = |above: &PathBuf| path.starts_with(above);
        if !visible::is_system(&path) && !last.as_ref().is_some_and(within) && path.exists() {
            seen.push(take(&path, READ_ONLY)?);
            last = Some(path);
        }
    }
    for path in &policy.writable {
        seen.push(take(path, WRITABLE)?);
    }
    let mut tmp = take(&policy.tmp, WRITABLE)?;
    tmp.at = TMP.into();
    seen.push(tmp);
    seen.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(seen)
}

/// Takes hold of a file or folder, with all that is mounted below it.
fn take(path: &Path, attributes: MountAttrFlags) -> Outcome<Seen> {
    let hold = || -> io::Result<Seen> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_RECURSIVE;
        let tree = rustix::mount::open_tree(CWD, path, flags)?;
        kernel::restrict_mount(tree.as_fd(), attributes.bits().into(), true)?;
        let mode = rustix::fs::fstat(&tree)?.st_mode;
        Ok(Seen {
            at: path.to_owned(),
            tree,
            is_folder: rustix::fs::FileType::from_raw_mode(mode).is_dir(),
        })
    };
    hold().map_err(Failure::at(format!("bind {}", path.display())))
}

fn relative(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn file_system(
    kind: &str,
    at: impl AsRef<Path>,
    flags: MountFlags,
    options: Option<&std::ffi::CStr>,
) -> Outcome<()> {
    rustix::mount::mount(kind, at.as_ref(), kind, flags, options)
        .map_err(|error| Failure::at(format!("mount {kind}"))(error.into()))
}
