//! The system calls that change what is not in a file: its mode, owner, times and attributes; and a filter that
//! has each of them answered by another process.

use std::io;

use libc::sock_filter;
use rustix::io::Errno;

/// What a call wants to change, and of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    pub target: Target,
    pub change: Change,
}

/// The file that a call is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// What is open.
    Descriptor(i32),
    /// What a path leads to.
    Path {
        /// The folder from which a relative one starts; `AT_FDCWD` is the working directory.
        folder: i32,
        /// Where in the caller's memory it is.
        at: u64,
        /// Whether a link at its end is followed.
        follow: bool,
        /// Whether an empty one is the folder itself.
        may_be_empty: bool,
    },
}

/// What it wants to change; numbers called `at` are addresses in the caller's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Mode(u32),
    Owner {
        user: u32,
        group: u32,
    },
    Times(Times),
    SetAttribute {
        name_at: u64,
        value_at: u64,
        size: u64,
        flags: u32,
    },
    RemoveAttribute {
        name_at: u64,
    },
}

/// The new times of last access and of last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    Now,
    /// Two `timespec`.
    Nanoseconds {
        at: u64,
    },
    /// Two `timeval`.
    Microseconds {
        at: u64,
    },
    /// One `utimbuf`: two numbers of seconds.
    Seconds {
        at: u64,
    },
}

/// All of them.
const CALLS: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
];

/// Calls with the same number everywhere, which the library does not know yet.
const FCHMODAT2: libc::c_long = 452;
/// The same on later kernels: programs take the older ones where these are missing.
const UNKNOWN: [u32; 3] = [SETXATTRAT, REMOVEXATTRAT, FILE_SETATTR];
const SETXATTRAT: u32 = 463;
const REMOVEXATTRAT: u32 = 466;
const FILE_SETATTR: u32 = 469;

/// What a call wants.
///
/// # Errors
/// What the kernel would say: its arguments make no sense, or it is none of these.
pub(super) fn wish(call: libc::c_long, arguments: [u64; 6]) -> Result<Wish, Errno> {
    let [first, second, third, fourth, fifth, _] = arguments;
    let path = |folder: i32, at: u64, follow: bool| Target::Path {
        folder,
        at,
        follow,
        may_be_empty: false,
    };
    let here = |at: u64, follow: bool| path(libc::AT_FDCWD, at, follow);
    let open = |number: u64| Target::Descriptor(int(number));
    let mode = |number: u64| Change::Mode(word(number) & 0o7777);
    let owner = |user: u64, group: u64| Change::Owner {
        user: word(user),
        group: word(group),
    };
    let attribute = || Change::SetAttribute {
        name_at: second,
        value_at: third,
        size: fourth,
        flags: word(fifth),
    };
    let (target, change) = match call {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chmod => (here(first, true), mode(second)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chown => (here(first, true), owner(second, third)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_lchown => (here(first, false), owner(second, third)),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utime => (here(first, true), times(second, |at| Times::Seconds { at })),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_utimes => (
            here(first, true),
            times(second, |at| Times::Microseconds { at }),
        ),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_futimesat => {
            let target = if second == 0 {
                open(first)
            } else {
                path(int(first), second, true)
            };
            (target, times(third, |at| Times::Microseconds { at }))
        }
        libc::SYS_fchmod => (open(first), mode(second)),
        libc::SYS_fchmodat => (path(int(first), second, true), mode(third)),
        FCHMODAT2 => (flagged(first, second, fourth)?, mode(third)),
        libc::SYS_fchown => (open(first), owner(second, third)),
        libc::SYS_fchownat => (flagged(first, second, fifth)?, owner(third, fourth)),
        libc::SYS_utimensat => {
            let target = if second == 0 {
                open(first)
            } else {
                flagged(first, second, fourth)?
            };
            (target, times(third, |at| Times::Nanoseconds { at }))
        }
        libc::SYS_setxattr => (here(first, true), attribute()),
        libc::SYS_lsetxattr => (here(first, false), attribute()),
        libc::SYS_fsetxattr => (open(first), attribute()),
        libc::SYS_removexattr => (
            here(first, true),
            Change::RemoveAttribute { name_at: second },
        ),
        libc::SYS_lremovexattr => (
            here(first, false),
            Change::RemoveAttribute { name_at: second },
        ),
        libc::SYS_fremovexattr => (open(first), Change::RemoveAttribute { name_at: second }),
        _ => return Err(Errno::NOSYS),
    };
    Ok(Wish { target, change })
}

fn times(at: u64, given: impl Fn(u64) -> Times) -> Change {
    Change::Times(if at == 0 { Times::Now } else { given(at) })
}

fn flagged(folder: u64, at: u64, flags: u64) -> Result<Target, Errno> {
    let flags = int(flags);
    if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(Errno::INVAL);
    }
    Ok(Target::Path {
        folder: int(folder),
        at,
        follow: flags & libc::AT_SYMLINK_NOFOLLOW == 0,
        may_be_empty: flags & libc::AT_EMPTY_PATH != 0,
    })
}

/// The lower half of a register, which is all that the kernel takes for most arguments.
fn word(register: u64) -> u32 {
    u32::try_from(register & u64::from(u32::MAX)).unwrap_or(0)
}

fn int(register: u64) -> i32 {
    word(register).cast_signed()
}

/// The number of this machine's ABI, as filters get it.
///
/// # Errors
/// On processors that are not known here.
pub(in super::super) fn abi() -> io::Result<u32> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(0xc000_003e),
        "aarch64" => Ok(0xc000_00b7),
        "riscv64" => Ok(0xc000_00f3),
        _ => Err(Errno::NOSYS.into()),
    }
}

/// The filter. Calls of another processor's ABI are for the filter of all programs, which refuses them.
///
/// # Errors
/// On processors that are not known here.
pub(super) fn filter() -> io::Result<Vec<sock_filter>> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    /// Where the number of the call and the ABI are in `seccomp_data`.
    const CALL: u32 = 0;
    const ABI: u32 = 4;
    /// Calls of x32, which have other numbers.
    const X32: u32 = 0x4000_0000;
    let unsupported = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    let abi = abi()?;
    let step = |code: u32, k: u32, jt: u8, jf: u8| -> io::Result<sock_filter> {
        let code = u16::try_from(code).map_err(io::Error::other)?;
        Ok(sock_filter { code, jt, jf, k })
    };
    let mut steps = vec![
        step(LOAD, ABI, 0, 0)?,
        step(EQUAL, abi, 1, 0)?,
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0)?,
        step(LOAD, CALL, 0, 0)?,
        step(AT_LEAST, X32, 0, 1)?,
        step(RETURN, unsupported, 0, 0)?,
    ];
    for call in UNKNOWN {
        steps.push(step(EQUAL, call, 0, 1)?);
        steps.push(step(RETURN, unsupported, 0, 0)?);
    }
    for call in CALLS {
        let call = u32::try_from(*call).map_err(io::Error::other)?;
        steps.push(step(EQUAL, call, 0, 1)?);
        steps.push(step(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0)?);
    }
    steps.push(step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0)?);
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter answers, step by step as the kernel does it.
    fn answer(call: u32, abi: u32) -> u32 {
        let steps = filter().unwrap();
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = steps[at];
            at += 1;
            match u32::from(step.code) {
                0x20 => loaded = if step.k == 0 { call } else { abi },
                0x15 => at += usize::from(if loaded == step.k { step.jt } else { step.jf }),
                0x35 => at += usize::from(if loaded >= step.k { step.jt } else { step.jf }),
                0x06 => return step.k,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_calls_are_answered_elsewhere_and_no_others() {
        const HERE: u32 = 0xc000_003e;
        let number = |call: libc::c_long| u32::try_from(call).unwrap();
        for call in CALLS {
            assert_eq!(
                answer(number(*call), HERE),
                libc::SECCOMP_RET_USER_NOTIF,
                "{call}"
            );
        }
        for call in [libc::SYS_read, libc::SYS_openat, libc::SYS_stat] {
            assert_eq!(
                answer(number(call), HERE),
                libc::SECCOMP_RET_ALLOW,
                "{call}"
            );
        }
        let unsupported = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
        for call in [SETXATTRAT, REMOVEXATTRAT, FILE_SETATTR, 0x4000_005a] {
            assert_eq!(answer(call, HERE), unsupported, "{call}");
        }
        // Of 32 bits.
        assert_eq!(answer(15, 0x4000_0003), libc::SECCOMP_RET_ALLOW);
    }

    #[test]
    fn every_call_of_the_filter_is_understood() {
        for call in CALLS {
            assert!(wish(*call, [1, 2, 3, 0, 0, 0]).is_ok(), "{call}");
        }
        assert_eq!(wish(libc::SYS_read, [0; 6]), Err(Errno::NOSYS));
    }

    #[test]
    fn flags_and_missing_paths_mean_what_they_do_to_the_kernel() {
        let minus_100 = u64::from(libc::AT_FDCWD.cast_unsigned());
        let Ok(Wish { target, change }) = wish(libc::SYS_utimensat, [7, 0, 0, 0, 0, 0]) else {
            panic!("not understood");
        };
        assert_eq!(target, Target::Descriptor(7));
        assert_eq!(change, Change::Times(Times::Now));
        let link = wish(
            libc::SYS_fchownat,
            [minus_100, 16, 5, 0xffff_ffff, 0x100, 0],
        )
        .unwrap();
        let target = Target::Path {
            folder: libc::AT_FDCWD,
            at: 16,
            follow: false,
            may_be_empty: false,
        };
        assert_eq!(link.target, target);
        let owner = Change::Owner {
            user: 5,
            group: u32::MAX,
        };
        assert_eq!(link.change, owner);
        let odd = wish(libc::SYS_fchownat, [3, 16, 5, 5, 0x8000, 0]);
        assert_eq!(odd, Err(Errno::INVAL));
    }
}
