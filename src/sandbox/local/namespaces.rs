//! A program in a machine of its own: files, processes, IPC, host name and, if wanted, network.
//!
//! Promises: what is not granted does not exist inside; all of it ends with its first process, which ends
//! with the keeper; nothing outside of it is changed, no mount, no name. The sequence is that of
//! `unshare`, made with the newer mount calls, which keep the flags that a mount is locked with.
//!
//! ```text
//! keeper ── clone ──▶ init (process 1: makes the view, waits, reaps) ── fork ──▶ program (process 2)
//! ```

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use rustix::process::{Pid, Signal, WaitOptions};

use super::cgroup::Cgroup;
use super::confine::{self, Common};
use super::kernel::{self, Forked};
use super::protocol::{Failure, Policy, Rung};
use super::{names, processes, visible};
use points::{file_at, folder_at};

mod points;

type Outcome<T> = Result<T, Failure>;

/// A machine that was started, as its keeper knows it.
#[derive(Debug)]
pub(super) struct Machine {
    /// Its process 1.
    pub init: Pid,
    /// Says how the program ended, when it did.
    status: PipeReader,
}

impl Machine {
    /// Starts one, with the program in it. Why that did not work comes over `report`, or is the error.
    pub(super) fn start(
        policy: &Policy,
        common: &Common,
        output: [OwnedFd; 2],
        mut report: PipeWriter,
        cgroup: Option<&Cgroup>,
    ) -> Outcome<Self> {
        let pipes = || Ok::<_, io::Error>((io::pipe()?, io::pipe()?));
        let ((ready, say_ready), (status, say_status)) =
            pipes().map_err(Failure::at("make a pipe"))?;
        let mut flags = libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP;
        if !policy.network {
            flags |= libc::CLONE_NEWNET;
        }
        match kernel::clone(flags).map_err(Failure::at("clone"))? {
            Forked::Child => {
                drop((say_ready, status));
                let inside = Inside { policy, common };
                let Err(failure) = inside.first(ready, output, &report, say_status);
                // The keeper is told by the end of this process if it cannot be by this.
                serde_json::to_writer(&mut report, &failure).ok();
                kernel::exit_at_once(1)
            }
            Forked::Parent(init) => {
                let machine = Self { init, status };
                drop((ready, say_status, output, report));
                processes::doom(init);
                // It has only waited so far. The limits are held without it too.
                cgroup.map(|it| it.admit(init));
                let mapped = map_users(init, policy.user);
                match mapped.and_then(|()| (&say_ready).write_all(b"y")) {
                    Ok(()) => Ok(machine),
                    Err(error) => {
                        machine.end();
                        Err(Failure::at("map users")(error))
                    }
                }
            }
        }
    }

    /// Asks the program to end.
    pub(super) fn ask_to_end(&self) {
        // It may be gone since.
        rustix::process::kill_process(self.init, Signal::TERM).ok();
    }

    /// Ends all of it, and waits until it is gone. Returns how the program ended, if it did by itself:
    /// its exit code, or the negative number of the signal.
    pub(super) fn end(mut self) -> Option<i32> {
        rustix::process::kill_process(self.init, Signal::KILL).ok();
        // Returns only when nothing in the namespace is left.
        while let Err(Errno::INTR) = rustix::process::waitpid(Some(self.init), WaitOptions::empty())
        {
        }
        let mut status = [0; size_of::<i32>()];
        self.status.read_exact(&mut status).ok()?;
        Some(i32::from_ne_bytes(status))
    }
}

/// Says who is who inside: this user, and for root also the one that programs run as.
fn map_users(init: Pid, user: Option<u32>) -> io::Result<()> {
    let write = |name: &str, text: &str| std::fs::write(format!("/proc/{init}/{name}"), text);
    let (uid, gid) = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getegid().as_raw(),
    );
    let other = user.map_or_else(String::new, |other| format!("{other} {other} 1\n"));
    if user.is_none() {
        // Else the kernel lets nobody but root say which groups there are.
        write("setgroups", "deny")?;
    }
    write("uid_map", &format!("{uid} {uid} 1\n{other}"))?;
    write("gid_map", &format!("{gid} {gid} 1\n{other}"))
}

/// What never comes back: the process becomes another, or ends.
enum Never {}

/// The processes inside.
struct Inside<'a> {
    policy: &'a Policy,
    common: &'a Common,
}

impl Inside<'_> {
    /// Process 1: makes the view, starts the program, waits for it, and ends; then the kernel ends the rest.
    fn first(
        &self,
        mut ready: PipeReader,
        output: [OwnedFd; 2],
        report: &PipeWriter,
        mut say_status: PipeWriter,
    ) -> Outcome<Never> {
        let die = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
        die.map_err(|error| Failure::at("start")(error.into()))?;
        // Without an answer the keeper is gone.
        if !matches!(ready.read(&mut [0]), Ok(1)) {
            kernel::exit_at_once(1);
        }
        drop(ready);
        if !self.policy.network {
            raise_loopback().map_err(Failure::at("raise the loopback interface"))?;
        }
        // A name that is found without asking the network.
        rustix::system::sethostname(b"localhost")
            .map_err(|error| Failure::at("set the host name")(error.into()))?;
        limit_watches();
        View::make(self.policy)?;
        let program = match kernel::fork().map_err(Failure::at("fork"))? {
            Forked::Child => {
                drop(say_status);
                let failure = confine::become_program(self.policy, self.common, &output, None);
                let mut report = report;
                serde_json::to_writer(&mut report, &failure).ok();
                kernel::exit_at_once(127)
            }
            Forked::Parent(program) => program,
        };
        drop(output);
        kernel::pass_on_termination(Some(program));
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) if pid == program => {
                    kernel::pass_on_termination(None);
                    let code = processes::code_of(status).unwrap_or(-1);
                    // Without it the keeper says that it does not know.
                    say_status.write_all(&code.to_ne_bytes()).ok();
                    kernel::exit_at_once(0)
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => kernel::exit_at_once(1),
            }
        }
    }
}

/// Leaves the user's other programs their part of what each user has few of. The kernel counts for this
/// namespace, and for the user too.
fn limit_watches() {
    const SHARE: u64 = 16;
    const LEAST: u64 = 4;
    for (of_all, own) in [
        ("max_user_instances", "max_inotify_instances"),
        ("max_user_watches", "max_inotify_watches"),
    ] {
        let all = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{of_all}"));
        let all = all.ok().and_then(|text| text.trim().parse::<u64>().ok());
        let share = (all.unwrap_or(0) / SHARE).max(LEAST);
        // A kernel without inotify has none of these, and a container may forbid it.
        std::fs::write(format!("/proc/sys/user/{own}"), share.to_string()).ok();
    }
}

fn raise_loopback() -> io::Result<()> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )?;
    kernel::raise_loopback(socket.as_fd())
}

/// Something of the machine that is seen inside.
struct Seen {
    /// Where, as an absolute path.
    at: PathBuf,
    tree: OwnedFd,
    is_folder: bool,
}

/// A root directory under construction. It is mounted over the sandbox's own folder, which exists for sure.
struct View {
    root: OwnedFd,
}

/// Where programs have their temporary files.
const TMP: &str = "/tmp";

const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY
    .union(MountAttrFlags::MOUNT_ATTR_NOSUID)
    .union(MountAttrFlags::MOUNT_ATTR_NODEV);
const WRITABLE: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
const DEVICE: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

impl View {
    /// Makes the view, and makes it this process's.
    fn make(policy: &Policy) -> Outcome<()> {
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
        view.fill(&seen, proc.as_ref())?;
        view.name_the_user(policy)?;
        view.enter().map_err(Failure::at("pivot_root"))
    }

    fn fill(&self, seen: &[Seen], proc: Option<&Seen>) -> Outcome<()> {
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
        let covered = below_tmp(seen);
        for one in seen {
            self.place(one)?;
            if one.at == tmp {
                covered.iter().try_for_each(|it| self.cover(it))?;
            }
        }
        covered.iter().try_for_each(|it| self.close(it))
    }

    /// Hides a folder below that for temporary files, which is the sandbox's own and on a disk, under one in memory:
    /// the points for what is mounted there cost nothing then, and leave nothing behind.
    fn cover(&self, name: &OsStr) -> Outcome<()> {
        let at = relative(Path::new(TMP)).join(name);
        let point = self.point(&at, true);
        point.map_err(|error| Failure::at(format!("bind /{}", at.display()))(error.into()))?;
        // No program of the sandbox runs that could put a link there meanwhile.
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        file_system(
            "tmpfs",
            &at,
            flags,
            Some(c"size=64k,nr_inodes=256,mode=755"),
        )
    }

    /// Lets nobody write there.
    fn close(&self, name: &OsStr) -> Outcome<()> {
        let close = || -> io::Result<()> {
            let point = self.point(&relative(Path::new(TMP)).join(name), true)?;
            kernel::restrict_mount(
                point.as_fd(),
                MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(),
                false,
            )
        };
        close().map_err(Failure::at(format!("bind {TMP}/{}", name.display())))
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

/// The names below the folder for temporary files that are only on the way to what is seen.
fn below_tmp(seen: &[Seen]) -> Vec<OsString> {
    let mut names = Vec::new();
    for one in seen {
        let Ok(below) = one.at.strip_prefix(TMP) else {
            continue;
        };
        let mut parts = below.components();
        if let (Some(Component::Normal(name)), Some(_)) = (parts.next(), parts.next())
            && !names.iter().any(|it| it == name)
            && !seen.iter().any(|it| it.at == Path::new(TMP).join(name))
        {
            names.push(name.to_owned());
        }
    }
    names
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
