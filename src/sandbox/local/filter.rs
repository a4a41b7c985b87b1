//! The system calls that are refused: what no candidate needs, and what reaches past a sandbox.
//!
//! Compiled once per run, by the spawner; each program loads it last of all before it starts.

use std::collections::BTreeMap;
use std::io;

use rustix::process::Pid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::protocol::{Policy, Rung};

mod steps;

/// Refused whatever their arguments are.
const REFUSED: &[libc::c_long] = &[
    // Into other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Large parts of the kernel that have let programs out before.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // The keyring knows no namespaces.
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Another view of files.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    // The machine itself.
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_personality,
    // Memory that outlives its makers and that no process is charged for.
    libc::SYS_shmget,
    libc::SYS_msgget,
    // Few groups for each user, and they see what others do with files.
    libc::SYS_fanotify_init,
];

/// Refused where there is no IPC namespace.
const SHARED_IPC: &[libc::c_long] = &[libc::SYS_shmat, libc::SYS_semget, libc::SYS_mq_open];

/// Ways to watch files, of which a user has few. Programs take this for having used them up.
const WATCHES: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_inotify_init,
    libc::SYS_inotify_init1,
];

/// Which filter a program gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// It has IPC and file namespaces of its own, and with them whatever network it may use.
    Apart,
    /// It may use the network of the machine, but no sockets that are files.
    Network,
    /// It may use the network of the machine, with the sockets that are files.
    AllSockets,
    /// It may make no socket.
    NoSockets,
}

impl Wanted {
    const ALL: [Self; 4] = [
        Self::Apart,
        Self::Network,
        Self::AllSockets,
        Self::NoSockets,
    ];

    fn by(policy: &Policy) -> Option<Self> {
        match (policy.rung, policy.network) {
            (Rung::Process { filtered: false }, _) => None,
            (Rung::Namespaces { .. }, _) => Some(Self::Apart),
            (Rung::Landlock | Rung::Process { .. }, false) => Some(Self::NoSockets),
            (Rung::Landlock, true) => Some(Self::Network),
            (Rung::Process { .. }, true) => Some(Self::AllSockets),
        }
    }
}

/// All of them, compiled. One that this processor does not have is `None`.
#[derive(Debug)]
pub(super) struct Filters {
    /// For programs whose quotas are their own.
    own: [Option<Filter>; Wanted::ALL.len()],
    /// For programs that share them with all else that is forge's user's.
    shared: [Option<Filter>; Wanted::ALL.len()],
}

impl Filters {
    /// Compiles them.
    pub(super) fn compile() -> Self {
        let of = |shared: bool| Wanted::ALL.map(|wanted| Filter::compile(wanted, shared).ok());
        Self {
            own: of(false),
            shared: of(true),
        }
    }

    /// The one for a policy, or that there is none.
    ///
    /// # Errors
    /// When there should be one.
    pub(super) fn by(&self, policy: &Policy) -> io::Result<Option<&Filter>> {
        let Some(wanted) = Wanted::by(policy) else {
            return Ok(None);
        };
        let all = match policy.rung {
            Rung::Landlock | Rung::Process { .. } if policy.user.is_none() => &self.shared,
            // A user namespace has quotas of its own.
            Rung::Namespaces { .. } | Rung::Landlock | Rung::Process { .. } => &self.own,
        };
        let filter = all.get(wanted as usize).and_then(Option::as_ref);
        filter
            .map(Some)
            .ok_or_else(|| rustix::io::Errno::NOSYS.into())
    }
}

/// A compiled filter.
#[derive(Debug, Clone)]
pub(super) struct Filter(BpfProgram);

impl Filter {
    /// Compiles one.
    ///
    /// # Errors
    /// On processors that are not known here.
    fn compile(wanted: Wanted, shared: bool) -> io::Result<Self> {
        // By their arguments.
        let mut refused: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
        let mut by_number: BTreeMap<i64, i32> = BTreeMap::new();
        by_number.extend(REFUSED.iter().map(|call| (*call, libc::EPERM)));
        if wanted == Wanted::Apart {
            // There may be as many of them as anybody likes, for which no process is charged.
            refused.insert(libc::SYS_semget, vec![large_sets()?]);
        } else {
            by_number.extend(SHARED_IPC.iter().map(|call| (*call, libc::EPERM)));
        }
        let mut clone = new_namespaces()?;
        clone.extend(threads_apart()?);
        refused.insert(libc::SYS_clone, clone);
        refused.insert(libc::SYS_close_range, vec![descriptors_apart()?]);
        refused.insert(libc::SYS_ioctl, controls()?);
        refused.insert(libc::SYS_socket, families(wanted)?);
        refused.insert(libc::SYS_prctl, hiding()?);
        refused.insert(libc::SYS_prlimit64, limits_of_others()?);
        if matches!(wanted, Wanted::Network | Wanted::NoSockets) {
            refused.insert(libc::SYS_socketpair, pairs_of_datagrams()?);
        }
        by_number.extend([
            // Flags behind a pointer cannot be looked at; the C library then takes `clone`.
            (libc::SYS_clone3, libc::ENOSYS),
            // Memory that nobody but its maker can sum up, or that a pipe holds, large pages for small ones.
            (libc::SYS_memfd_secret, libc::ENOSYS),
            (libc::SYS_vmsplice, libc::ENOSYS),
            // The machine has few of these for all users.
            (libc::SYS_io_setup, libc::ENOSYS),
            // Allocates faster than any meter sees.
            (libc::SYS_fallocate, libc::EOPNOTSUPP),
        ]);
        if shared {
            by_number.extend(WATCHES.iter().map(|call| (*call, libc::EMFILE)));
        }
        // As where there are no such pages: no process is charged for them.
        let huge = BTreeMap::from([
            (libc::SYS_mmap, vec![flag(3, libc::MAP_HUGETLB)?]),
            (
                libc::SYS_memfd_create,
                vec![flag(1, libc::MFD_HUGETLB.cast_signed())?],
            ),
        ]);
        let looked_at = refused.keys().chain(huge.keys()).copied().collect();
        let whole =
            steps::followed_by(program(huge, libc::ENOMEM)?, program(refused, libc::EPERM)?)?;
        Ok(Self(steps::by_number(&by_number, &looked_at, whole)?))
    }

    /// The same, which also keeps a program that is forge's own user from signalling what watches over it. Other
    /// users' programs, and those in a namespace, cannot anyway.
    ///
    /// # Errors
    /// On processors that are not known here.
    pub(super) fn sparing(&self, watchers: &[Pid]) -> io::Result<Self> {
        steps::followed_by(steps::spare(watchers)?, self.0.clone()).map(Self)
    }

    /// Loads it for this thread, for good; needs that no new privileges can be had.
    pub(super) fn load(&self) -> io::Result<()> {
        seccompiler::apply_filter(&self.0).map_err(errno)
    }
}

fn program(rules: BTreeMap<i64, Vec<SeccompRule>>, answer: i32) -> io::Result<BpfProgram> {
    let processor = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let answer = SeccompAction::Errno(answer.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, processor)
        .and_then(BpfProgram::try_from)
        .map_err(io::Error::other)
}

fn errno(error: seccompiler::Error) -> io::Error {
    match error {
        seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error) => error,
        other @ (seccompiler::Error::Backend(_)
        | seccompiler::Error::EmptyFilter
        | seccompiler::Error::ThreadSync(_)) => io::Error::other(other),
    }
}

fn rule(argument: u8, operation: SeccompCmpOp, value: u64) -> io::Result<SeccompRule> {
    all_of(vec![condition(argument, operation, value)?])
}

fn condition(argument: u8, operation: SeccompCmpOp, value: u64) -> io::Result<SeccompCondition> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operation, value)
        .map_err(io::Error::other)
}

fn all_of(conditions: Vec<SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(io::Error::other)
}

fn number(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

/// A process in new namespaces has all capabilities there.
fn new_namespaces() -> io::Result<Vec<SeccompRule>> {
    let flags = [
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWNS,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWNET,
    ];
    flags.iter().map(|it| flag(0, *it)).collect()
}

/// That an argument has a flag.
fn flag(argument: u8, flag: i32) -> io::Result<SeccompRule> {
    rule(argument, SeccompCmpOp::MaskedEq(number(flag)), number(flag))
}

/// More semaphores at once than databases take.
fn large_sets() -> io::Result<SeccompRule> {
    const MOST: u64 = 32;
    rule(1, SeccompCmpOp::Gt, MOST)
}

/// A thread with descriptors of its own, in which the meter does not look.
fn threads_apart() -> io::Result<Vec<SeccompRule>> {
    let both = number(libc::CLONE_THREAD | libc::CLONE_FILES);
    let thread = number(libc::CLONE_THREAD);
    Ok(vec![rule(0, SeccompCmpOp::MaskedEq(both), thread)?])
}

/// The same for a thread that is there.
fn descriptors_apart() -> io::Result<SeccompRule> {
    flag(2, libc::CLOSE_RANGE_UNSHARE.cast_signed())
}

/// Typing for the user into a terminal that was passed on; and flags, labels and keys of files and file systems,
/// for which a descriptor that reads is enough.
fn controls() -> io::Result<Vec<SeccompRule>> {
    const TIOCLINUX: u64 = 0x541c;
    const TIOCSTI: u64 = 0x5412;
    const FS_IOC_SETFLAGS: u64 = 0x4008_6602;
    const FS_IOC32_SETFLAGS: u64 = 0x4004_6602;
    const FS_IOC_SETVERSION: u64 = 0x4008_7602;
    const FS_IOC32_SETVERSION: u64 = 0x4004_7602;
    const FS_IOC_FSSETXATTR: u64 = 0x401c_5820;
    const FS_IOC_SETFSLABEL: u64 = 0x4100_9432;
    const FS_IOC_SET_ENCRYPTION_POLICY: u64 = 0x800c_6613;
    const FS_IOC_ADD_ENCRYPTION_KEY: u64 = 0xc050_6617;
    const FS_IOC_ENABLE_VERITY: u64 = 0x4080_6685;
    [
        TIOCSTI,
        TIOCLINUX,
        FS_IOC_SETFLAGS,
        FS_IOC32_SETFLAGS,
        FS_IOC_SETVERSION,
        FS_IOC32_SETVERSION,
        FS_IOC_FSSETXATTR,
        FS_IOC_SETFSLABEL,
        FS_IOC_SET_ENCRYPTION_POLICY,
        FS_IOC_ADD_ENCRYPTION_KEY,
        FS_IOC_ENABLE_VERITY,
    ]
    .iter()
    .map(|request| rule(1, SeccompCmpOp::Eq, *request))
    .collect()
}

/// What would keep the meter of a user from looking into a process.
fn hiding() -> io::Result<Vec<SeccompRule>> {
    Ok(vec![rule(
        0,
        SeccompCmpOp::Eq,
        number(libc::PR_SET_DUMPABLE),
    )?])
}

/// A limit of processor time ends whom it is set for, and Landlock has no say in it. Nor does a namespace
/// protect its own first process, with which the trial would be lost and not the candidate's to answer for.
fn limits_of_others() -> io::Result<Vec<SeccompRule>> {
    let not_zero = |argument| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Ne, 0)
            .map_err(io::Error::other)
    };
    let rule = SeccompRule::new(vec![not_zero(0)?, not_zero(2)?]).map_err(io::Error::other)?;
    Ok(vec![rule])
}

/// Each of such a pair can send to every other datagram socket that is a file, such as that of the log.
fn pairs_of_datagrams() -> io::Result<Vec<SeccompRule>> {
    const KIND: u64 = 0xf;
    [libc::SOCK_DGRAM, libc::SOCK_RAW]
        .iter()
        .map(|kind| rule(1, SeccompCmpOp::MaskedEq(KIND), number(*kind)))
        .collect()
}

/// Kinds of sockets that a program may not make. Pairs of sockets are no matter of this.
fn families(wanted: Wanted) -> io::Result<Vec<SeccompRule>> {
    let allowed: &[i32] = match wanted {
        Wanted::Apart | Wanted::AllSockets => &[
            libc::AF_INET,
            libc::AF_INET6,
            libc::AF_NETLINK,
            libc::AF_UNIX,
        ],
        // Every socket of the machine could be reached by its path.
        Wanted::Network => &[libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK],
        Wanted::NoSockets => &[],
    };
    let conditions = allowed.iter().map(|family| {
        SeccompCondition::new(
            0,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::Ne,
            number(*family),
        )
    });
    let conditions: Vec<_> = conditions
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    if conditions.is_empty() {
        return Ok(Vec::new());
    }
    let rule = SeccompRule::new(conditions).map_err(io::Error::other)?;
    Ok(vec![rule])
}
