//! The system calls that no crate of the tree wraps: the only file of forge with `unsafe`.
//!
//! Promises: every function here is sound for any caller; those that are so only in a process with one
//! thread look whether it has one.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicI32, Ordering};

#[cfg(target_os = "linux")]
use rustix::io::Errno;
use rustix::process::Pid;

use crate::sandbox::Usage;

#[cfg(target_os = "linux")]
mod memory;
#[cfg(not(target_os = "linux"))]
mod memory {
    //! Nothing is known there of what a process need not hold.

    /// Does nothing here.
    pub const fn let_go_of_program() {}

    /// Does nothing here.
    pub const fn give_back_memory() {}
}

pub use memory::{give_back_memory, let_go_of_program};

/// Keeps from the programs of this process what it inherited itself: ignored signals (`nohup`, a shell's
/// background jobs), and descriptors that somebody above left open.
///
/// Descriptors stay where the system cannot do this (Linux before 5.11).
#[expect(
    unsafe_code,
    reason = "no crate of the tree wraps signal and close_range"
)]
pub(crate) fn disinherit() {
    for signal in 1..=31 {
        // SIGPIPE is the standard library's; the next two have its handlers for a stack that overflows.
        if ![libc::SIGPIPE, libc::SIGSEGV, libc::SIGBUS].contains(&signal) {
            // SAFETY: the default action is no handler, so no code of ours can run at a bad moment.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    #[cfg(target_os = "linux")]
    // SAFETY: nothing is closed in this process; descriptors are only marked, those of others too.
    unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        );
    }
}

/// From now on, and in programs that take this one's place, nothing but SIGKILL ends or stops this process by
/// another one's wish: hang-ups, interruptions, limits of the shell.
#[expect(unsafe_code, reason = "no crate of the tree wraps signal")]
pub(crate) fn ignore_stops() {
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGXCPU,
        libc::SIGXFSZ,
    ] {
        // SAFETY: to ignore is no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// What the ended children of this process used, with all whose end they waited for.
#[expect(unsafe_code, reason = "no crate of the tree wraps getrusage")]
pub(super) fn children_usage() -> Usage {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole `rusage`, for which all zeroes is a value whether it is filled or not.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let milliseconds = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1000
            + u64::try_from(time.tv_usec).unwrap_or(0) / 1000
    };
    // Linux counts kibibytes here, macOS bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    Usage {
        peak_memory_bytes: u64::try_from(usage.ru_maxrss)
            .ok()
            .map(|peak| peak.saturating_mul(unit)),
        cpu_milliseconds: Some(milliseconds(usage.ru_utime) + milliseconds(usage.ru_stime)),
    }
}

/// In which of the two processes a fork has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forked {
    /// In the one that forked; this is its new child.
    Parent(Pid),
    /// In the new one.
    Child,
}

/// Makes a second process like this one.
///
/// # Errors
/// What the system said; or that this process has threads, which its child would not have: what those
/// hold then stays held for ever.
#[expect(unsafe_code, reason = "no crate of the tree wraps fork")]
pub(super) fn fork() -> io::Result<Forked> {
    only_thread()?;
    // SAFETY: with one thread nothing is half done in the child.
    forked(i64::from(unsafe { libc::fork() }))
}

/// [`fork`] into new namespaces; `flags` are of `CLONE_NEW*` only.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate of the tree wraps clone")]
pub(super) fn clone(flags: i32) -> io::Result<Forked> {
    const NAMESPACES: i32 = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWNET;
    only_thread()?;
    let flags = libc::c_long::from((flags & NAMESPACES) | libc::SIGCHLD);
    // SAFETY: without a stack and without sharing, this is a fork; see there. What the C library keeps of
    // the process id is not used by it.
    forked(unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) })
}

fn forked(result: i64) -> io::Result<Forked> {
    match i32::try_from(result) {
        Ok(0) => Ok(Forked::Child),
        // Nothing negative may become a `Pid`, not even to be looked at.
        Ok(pid @ 1..) => Pid::from_raw(pid)
            .map(Forked::Parent)
            .ok_or_else(io::Error::last_os_error),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Whether this process has one thread. Where that cannot be told, callers are believed.
fn only_thread() -> io::Result<()> {
    let threads = std::fs::metadata("/proc/self/task").map(|data| {
        use std::os::unix::fs::MetadataExt as _;
        data.nlink().saturating_sub(2)
    });
    match threads {
        Ok(2..) => Err(io::Error::other("a process with threads cannot fork")),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Ends this process at once, and nothing else: what it shares with its parent is left as it is.
#[expect(unsafe_code, reason = "no crate of the tree wraps _exit")]
pub(super) fn exit_at_once(code: i32) -> ! {
    // SAFETY: it does not return.
    unsafe { libc::_exit(code) }
}

/// Children of this process leave no zombies, and their ends are not told.
#[expect(unsafe_code, reason = "no crate of the tree wraps signal")]
pub(super) fn forget_children() {
    // SAFETY: to ignore is no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
}

/// Takes back what [`forget_children`] has said.
#[expect(unsafe_code, reason = "no crate of the tree wraps signal")]
pub(super) fn remember_children() {
    // SAFETY: the default action is no handler.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// The group that gets what [`pass_on_termination`] receives. Nobody has number 0.
#[cfg(target_os = "linux")]
static TERMINATED: AtomicI32 = AtomicI32::new(0);

/// From now on, SIGTERM to this process goes to a process group in its place; to none for `None`.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate of the tree wraps signal")]
pub(super) fn pass_on_termination(group: Option<Pid>) {
    extern "C" fn pass_on(_: libc::c_int) {
        let group = TERMINATED.load(Ordering::SeqCst);
        if group > 1 {
            // SAFETY: `kill` may be called in a handler.
            unsafe { libc::kill(-group, libc::SIGTERM) };
        }
    }
    let group = group.map_or(0, |group| group.as_raw_nonzero().get());
    TERMINATED.store(group, Ordering::SeqCst);
    // SAFETY: the handler does nothing that a handler may not.
    unsafe { libc::signal(libc::SIGTERM, pass_on as *const () as libc::sighandler_t) };
}

/// `struct mount_attr` of the kernel.
#[cfg(target_os = "linux")]
#[repr(C)]
#[derive(Debug, Default)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    namespace: u64,
}

/// Whether nobody but this holds a file open, be it to read, to write or in memory; so say the rules for a lease to write:
/// fcntl(2), `F_SETLEASE`.
///
/// # Errors
/// Where the file system has no leases, or this user may have none on the file.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate of the tree wraps leases")]
pub(super) fn is_open_only_here(file: BorrowedFd<'_>) -> io::Result<bool> {
    // The same number everywhere but on parisc, which Rust does not have.
    const F_SETSIG: libc::c_int = 10;
    let file = file.as_raw_fd();
    // Whoever opens it just now is waited for with a signal, which is one that nobody heeds.
    // SAFETY: all of them take a number.
    let leased = unsafe {
        libc::fcntl(file, F_SETSIG, libc::SIGURG) == 0
            && libc::fcntl(file, libc::F_SETLEASE, libc::F_WRLCK) == 0
            && libc::fcntl(file, libc::F_SETLEASE, libc::F_UNLCK) == 0
    };
    match io::Error::last_os_error() {
        _ if leased => Ok(true),
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_open_only_here(_: BorrowedFd<'_>) -> io::Result<bool> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sets attributes (`MOUNT_ATTR_*`) of a mount, and of all below it if so wanted; those that it has stay.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate of the tree wraps mount_setattr")]
pub(super) fn restrict_mount(
    mount: BorrowedFd<'_>,
    attributes: u64,
    recursive: bool,
) -> io::Result<()> {
    // The same number everywhere but on alpha, which Rust does not have.
    const MOUNT_SETATTR: libc::c_long = 442;
    let attributes = MountAttributes {
        set: attributes,
        ..MountAttributes::default()
    };
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string, and the size is that of the structure.
    let result = unsafe {
        libc::syscall(
            MOUNT_SETATTR,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    checked(result)
}

/// What a system call that answers 0 has come to.
#[cfg(target_os = "linux")]
fn checked(result: libc::c_long) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Brings up the loopback interface of this process's network namespace.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate of the tree wraps SIOCSIFFLAGS")]
pub(super) fn raise_loopback(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: all zeroes is a value of `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // Fits: it is 1.
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap_or(1);
    // SAFETY: the pointer is to a whole `ifreq`, which this call only reads.
    let result = unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as libc::Ioctl,
            &raw const request,
        )
    };
    checked(result.into())
}

/// The version of Landlock that the kernel has switched on.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "the crate `landlock` does not tell it")]
pub(super) fn landlock_version() -> io::Result<u32> {
    const CREATE_RULESET: libc::c_long = 444;
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel takes no structure.
    let version = unsafe {
        libc::syscall(
            CREATE_RULESET,
            std::ptr::null::<libc::c_void>(),
            0_usize,
            VERSION,
        )
    };
    u32::try_from(version).map_err(|_| io::Error::last_os_error())
}

/// A system call that waits for an answer.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    id: u64,
    /// The thread that made it.
    pub(super) thread: u32,
    /// Its number.
    pub(super) call: libc::c_long,
    pub(super) arguments: [u64; 6],
}

/// Loads a filter of system calls for this thread, for good, and returns where those wait whose answer it leaves
/// to somebody else. Needs that no new privileges can be had.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "seccompiler has no filters with a listener")]
pub(super) fn install_listener(filter: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let load = |flags: libc::c_ulong| {
        let program = libc::sock_fprog {
            len: u16::try_from(filter.len()).unwrap_or(0),
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: the program is as long as it says, and is only read.
        unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                flags,
                &raw const program,
            )
        }
    };
    // Signals do not disturb a call whose answer is on its way; not there before Linux 5.19.
    let mut listener =
        load(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
    if listener < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        listener = load(libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    }
    match i32::try_from(listener) {
        // SAFETY: the kernel has just made it, for this process, and nobody else knows of it.
        Ok(listener @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(listener) }),
        Ok(_) | Err(_) => Err(io::Error::last_os_error()),
    }
}

/// The next call that waits. Does not wait where `poll` says that there is one.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "no crate of the tree wraps SECCOMP_IOCTL_NOTIF_RECV"
)]
pub(super) fn next_asked(listener: BorrowedFd<'_>) -> Result<Asked, Errno> {
    const RECEIVE: libc::Ioctl = 0xc050_2100;
    // SAFETY: all zeroes is a value of it, and what the kernel wants to find there.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: the number has the size of the structure in it, which the kernel fills.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE, &raw mut asked) };
    errno(result.into())?;
    Ok(Asked {
        id: asked.id,
        thread: asked.pid,
        call: asked.data.nr.into(),
        arguments: asked.data.args,
    })
}

/// Whether a call still waits, and its thread's number is still that of its thread.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "no crate of the tree wraps SECCOMP_IOCTL_NOTIF_ID_VALID"
)]
pub(super) fn still_asks(listener: BorrowedFd<'_>, asked: &Asked) -> Result<(), Errno> {
    const IS_VALID: libc::Ioctl = 0x4008_2102;
    // SAFETY: the pointer is to the whole number, which is only read.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), IS_VALID, &raw const asked.id) };
    errno(result.into())
}

/// Ends a call: with 0, or with an error.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "no crate of the tree wraps SECCOMP_IOCTL_NOTIF_SEND"
)]
pub(super) fn answer(
    listener: BorrowedFd<'_>,
    asked: &Asked,
    done: Result<(), Errno>,
) -> Result<(), Errno> {
    const SEND: libc::Ioctl = 0xc018_2101;
    let answer = libc::seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error: done.map_or_else(|error| -error.raw_os_error(), |()| 0),
        flags: 0,
    };
    // SAFETY: the number has the size of the structure in it, which is only read.
    let result = unsafe { libc::ioctl(listener.as_raw_fd(), SEND, &raw const answer) };
    errno(result.into())
}

#[cfg(target_os = "linux")]
fn errno(result: libc::c_long) -> Result<(), Errno> {
    checked(result).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Reads a socket's option that is a list of numbers. Those that the kernel does not know are 0.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no crate of the tree wraps these two options")]
fn socket_numbers(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<[u32; 9]> {
    let mut numbers = [0_u32; 9];
    let mut length = libc::socklen_t::try_from(size_of_val(&numbers)).unwrap_or(0);
    // SAFETY: the kernel writes no more than `length` bytes, of which any are numbers.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            numbers.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    checked(result.into())?;
    Ok(numbers)
}

/// How much memory waits in a socket, received and to be sent, in bytes.
#[cfg(target_os = "linux")]
pub(super) fn socket_memory(socket: BorrowedFd<'_>) -> io::Result<u64> {
    const RECEIVED: usize = 0;
    const SENT: usize = 2;
    const QUEUED: usize = 5;
    const BACKLOG: usize = 7;
    let numbers = socket_numbers(socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    let [received, sent, queued, backlog] =
        [RECEIVED, SENT, QUEUED, BACKLOG].map(|at| u64::from(numbers[at]));
    // One byte stands for nothing, and each way of counting leaves something out.
    let sent = sent.saturating_sub(1).max(queued);
    Ok(received + sent + backlog)
}

/// How many connections wait to be accepted by a listening TCP socket.
#[cfg(target_os = "linux")]
pub(super) fn pending_connections(socket: BorrowedFd<'_>) -> u64 {
    /// `tcpi_unacked`, which is this number for such a socket.
    const WAITING: usize = 6;
    let numbers = socket_numbers(socket, libc::IPPROTO_TCP, libc::TCP_INFO);
    numbers.map_or(0, |numbers| numbers[WAITING].into())
}

/// Whether the other end of a TCP connection has not said that it has sent everything.
#[cfg(target_os = "linux")]
pub(super) fn may_receive(socket: BorrowedFd<'_>) -> bool {
    /// `tcpi_state`: established, and the two of an own end that is closed for sending.
    const OPEN: [u8; 3] = [1, 4, 5];
    let numbers = socket_numbers(socket, libc::IPPROTO_TCP, libc::TCP_INFO);
    numbers.is_ok_and(|numbers| OPEN.contains(&numbers[0].to_ne_bytes()[0]))
}
