//! A guard over what Landlock has no say in: modes, owners, times and attributes of files.
//!
//! A program that is the user who runs forge owns that user's files, and an owner may change these. So its system
//! calls that do are answered by its keeper (`SECCOMP_RET_USER_NOTIF`): what lies in the sandbox's own folders
//! it changes as it was asked to, and refuses the rest.
//!
//! Promises: what is changed is what was looked at, because it is held open from then on; nothing that a program
//! does keeps the keeper waiting, because nothing is opened for more than its name; what the keeper may do and the
//! program may not (root's capabilities) is not done for it.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags,
};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::kernel::{self, Asked};
use super::protocol::Policy;
pub(super) use calls::abi;
use calls::{Change, Target, Times};

mod calls;

/// The longest path, name and value of an attribute, in bytes; as the kernel has it.
const PATH: usize = 4096;
const NAME: usize = 256;
const VALUE: usize = 65_536;

/// Puts this process, and what it becomes, under the guard of the process at the other end of a socket.
///
/// # Errors
/// When the kernel cannot (Linux before 5.0), has such a filter for it already, or does not let its memory be read.
pub(super) fn submit(to: &UnixStream) -> io::Result<()> {
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if matches!(scope.trim(), "2" | "3") && !rustix::process::geteuid().is_root() {
        return Err(Errno::PERM.into());
    }
    let listener = kernel::install_listener(&calls::filter()?)?;
    let descriptors = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    rustix::net::sendmsg(to, &[IoSlice::new(b"l")], &mut control, SendFlags::empty())?;
    Ok(())
}

/// The end that answers.
#[derive(Debug)]
pub(super) struct Guard {
    listener: OwnedFd,
    /// The folders in which everything may be changed, without links.
    own: Vec<PathBuf>,
}

impl Guard {
    /// Waits for a program to submit. `None` when it ended before that.
    pub(super) fn receive(from: &UnixStream, policy: &Policy) -> Option<Self> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        loop {
            let mut into = [IoSliceMut::new(&mut byte)];
            match rustix::net::recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                Ok(received) if received.bytes > 0 => break,
                Ok(_) | Err(_) => return None,
            }
        }
        let mut listener = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                listener = listener.or_else(|| descriptors.next());
            }
        }
        let listener = listener?;
        let folders = policy.writable.iter().chain([&policy.tmp]);
        let own = folders.filter_map(|it| std::fs::canonicalize(it).ok());
        Some(Self {
            listener,
            own: own.collect(),
        })
    }

    /// What to wait at for a call.
    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// Answers one call. Returns whether there can be another.
    pub(super) fn answer_one(&self) -> bool {
        let asked = match kernel::next_asked(self.listener()) {
            Ok(asked) => asked,
            // Whoever asked is gone.
            Err(Errno::INTR | Errno::NOENT) => return true,
            Err(_) => return false,
        };
        let done = without_capabilities(|| self.act(&asked));
        // Whoever asked may be gone.
        kernel::answer(self.listener(), &asked, done).ok();
        true
    }

    fn act(&self, asked: &Asked) -> Result<(), Errno> {
        let wish = calls::wish(asked.call, asked.arguments)?;
        let caller = Caller::of(asked.thread)?;
        let file = caller.open(&wish.target)?;
        let change = caller.read(&wish.change)?;
        // What was read and opened is the caller's only if nobody else has its number by now.
        kernel::still_asks(self.listener(), asked)?;
        if !self.owns(&file)? {
            return Err(Errno::PERM);
        }
        change.make(&file)
    }

    /// Whether a file is the sandbox's own, or nobody's: a pipe, a file in memory only.
    fn owns(&self, file: &OwnedFd) -> Result<bool, Errno> {
        let place = rustix::fs::readlink(link_to(file), Vec::new())?;
        let path = Path::new(std::ffi::OsStr::from_bytes(place.as_bytes()));
        if self.own.iter().any(|own| path.starts_with(own)) {
            return Ok(true);
        }
        let nameless = [&b"pipe:["[..], b"socket:[", b"/memfd:"];
        Ok(nameless.iter().any(|it| place.as_bytes().starts_with(it))
            && (!path.is_absolute() || rustix::fs::fstat(file)?.st_nlink == 0))
    }
}

/// The thread that asks.
struct Caller {
    thread: u32,
    memory: File,
}

impl Caller {
    fn of(thread: u32) -> Result<Self, Errno> {
        let memory = File::open(format!("/proc/{thread}/mem")).map_err(|_| Errno::PERM)?;
        Ok(Self { thread, memory })
    }

    /// Takes hold of what a call is about, without opening it for anything.
    fn open(&self, target: &Target) -> Result<OwnedFd, Errno> {
        let hold = OFlags::PATH | OFlags::CLOEXEC;
        match *target {
            Target::Descriptor(descriptor) => self.descriptor(descriptor),
            Target::Path {
                folder,
                at,
                follow,
                may_be_empty,
            } => {
                let path = self.text(at, PATH, Errno::NAMETOOLONG)?;
                if path.is_empty() && may_be_empty {
                    return self.descriptor(folder);
                }
                let flags = if follow {
                    hold
                } else {
                    hold | OFlags::NOFOLLOW
                };
                let path = self.own_view(path);
                let start = if path.starts_with(b"/") {
                    None
                } else {
                    Some(self.descriptor(folder)?)
                };
                let start = start.as_ref().map_or(CWD, OwnedFd::as_fd);
                rustix::fs::openat(start, path, flags, Mode::empty())
            }
        }
    }

    fn descriptor(&self, descriptor: i32) -> Result<OwnedFd, Errno> {
        let thread = self.thread;
        let (path, missing) = match descriptor {
            libc::AT_FDCWD => (format!("/proc/{thread}/cwd"), Errno::NOENT),
            0.. => (format!("/proc/{thread}/fd/{descriptor}"), Errno::BADF),
            _ => return Err(Errno::BADF),
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).map_err(|_| missing)
    }

    /// What is the caller's own is that of another process here.
    fn own_view(&self, path: Vec<u8>) -> Vec<u8> {
        let own = format!("/proc/{}/", self.thread);
        for (prefix, below) in [
            (&b"/proc/self/"[..], ""),
            (b"/proc/thread-self/", ""),
            (b"/dev/fd/", "fd/"),
        ] {
            if let Some(rest) = path.strip_prefix(prefix) {
                return [own.as_bytes(), below.as_bytes(), rest].concat();
            }
        }
        path
    }

    fn read(&self, change: &Change) -> Result<Ready, Errno> {
        Ok(match *change {
            Change::Mode(mode) => Ready::Mode(Mode::from_raw_mode(mode)),
            Change::Owner { user, group } => {
                // The highest number leaves it as it is.
                let given = |id: u32| (id != u32::MAX).then_some(id);
                Ready::Owner(
                    given(user).map(Uid::from_raw),
                    given(group).map(Gid::from_raw),
                )
            }
            Change::Times(times) => Ready::Times(self.times(times)?),
            Change::SetAttribute {
                name_at,
                value_at,
                size,
                flags,
            } => {
                let size = usize::try_from(size).unwrap_or(usize::MAX);
                if size > VALUE {
                    return Err(Errno::TOOBIG);
                }
                let mut value = vec![0; size];
                let whole = self.memory.read_exact_at(&mut value, value_at);
                whole.map_err(|_| Errno::FAULT)?;
                let flags = XattrFlags::from_bits_retain(flags);
                Ready::Set(self.text(name_at, NAME, Errno::RANGE)?, value, flags)
            }
            Change::RemoveAttribute { name_at } => {
                Ready::Remove(self.text(name_at, NAME, Errno::RANGE)?)
            }
        })
    }

    /// A text that ends with a zero byte.
    fn text(&self, at: u64, most: usize, too_long: Errno) -> Result<Vec<u8>, Errno> {
        let mut text = vec![0; most];
        // Less where memory ends that can be read.
        let read = self.memory.read_at(&mut text, at);
        text.truncate(read.map_err(|_| Errno::FAULT)?);
        match text.iter().position(|byte| *byte == 0) {
            Some(end) => {
                text.truncate(end);
                Ok(text)
            }
            None if text.len() == most => Err(too_long),
            None => Err(Errno::FAULT),
        }
    }

    fn times(&self, times: Times) -> Result<Timestamps, Errno> {
        const NOW: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: rustix::fs::UTIME_NOW,
        };
        let two = |[last_access, last_modification]: [Timespec; 2]| Timestamps {
            last_access,
            last_modification,
        };
        match times {
            Times::Now => Ok(two([NOW, NOW])),
            Times::Nanoseconds { at } => {
                let numbers: [i64; 4] = self.numbers(at)?;
                Ok(two([&numbers[..2], &numbers[2..]].map(|pair| Timespec {
                    tv_sec: pair[0],
                    tv_nsec: pair[1],
                })))
            }
            Times::Microseconds { at } => {
                let numbers: [i64; 4] = self.numbers(at)?;
                let is_part = |number: i64| (0..1_000_000).contains(&number);
                if !(is_part(numbers[1]) && is_part(numbers[3])) {
                    return Err(Errno::INVAL);
                }
                Ok(two([&numbers[..2], &numbers[2..]].map(|pair| Timespec {
                    tv_sec: pair[0],
                    tv_nsec: pair[1] * 1000,
                })))
            }
            Times::Seconds { at } => {
                let seconds: [i64; 2] = self.numbers(at)?;
                Ok(two(seconds.map(|tv_sec| Timespec { tv_sec, tv_nsec: 0 })))
            }
        }
    }

    fn numbers<const COUNT: usize>(&self, at: u64) -> Result<[i64; COUNT], Errno> {
        let mut numbers = [0; COUNT];
        for (index, number) in (0..).zip(&mut numbers) {
            let mut bytes = [0; size_of::<i64>()];
            let whole = self
                .memory
                .read_exact_at(&mut bytes, at.saturating_add(index * 8));
            whole.map_err(|_| Errno::FAULT)?;
            *number = i64::from_ne_bytes(bytes);
        }
        Ok(numbers)
    }
}

/// A change with all that belongs to it.
enum Ready {
    Mode(Mode),
    Owner(Option<Uid>, Option<Gid>),
    Times(Timestamps),
    Set(Vec<u8>, Vec<u8>, XattrFlags),
    Remove(Vec<u8>),
}

impl Ready {
    /// Makes it on what is held, whatever has its name by now.
    fn make(&self, file: &OwnedFd) -> Result<(), Errno> {
        let path = link_to(file);
        let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
        let is_link = kind == FileType::Symlink;
        match self {
            Self::Mode(_) if is_link => Err(Errno::OPNOTSUPP),
            Self::Set(..) | Self::Remove(_) if is_link => Err(Errno::PERM),
            Self::Mode(mode) => rustix::fs::chmod(path, *mode),
            Self::Owner(user, group) => {
                rustix::fs::chownat(file, "", *user, *group, AtFlags::EMPTY_PATH)
            }
            Self::Times(times) if is_link => {
                rustix::fs::utimensat(file, "", times, AtFlags::EMPTY_PATH)
            }
            Self::Times(times) => rustix::fs::utimensat(CWD, path, times, AtFlags::empty()),
            Self::Set(name, value, flags) => {
                rustix::fs::setxattr(path, name.as_slice(), value, *flags)
            }
            Self::Remove(name) => rustix::fs::removexattr(path, name.as_slice()),
        }
    }
}

/// The path of what this process has open.
fn link_to(file: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Does something as root's programs do it.
fn without_capabilities(act: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    if !rustix::process::geteuid().is_root() {
        return act();
    }
    let mine = rustix::thread::capabilities(None)?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        ..mine
    };
    rustix::thread::set_capabilities(None, none)?;
    let done = act();
    rustix::thread::set_capabilities(None, mine)?;
    done
}
