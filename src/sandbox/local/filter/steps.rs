//! Filters step by step: what the kernel goes through when a filter is loaded, for each number that a call can have,
//! and makes machine code of for each process. So they are short, and decide by the number soon.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rustix::process::Pid;
use seccompiler::{BpfProgram, sock_filter};

use crate::sandbox::local::guard;

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const AT_LEAST: u32 = libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K;
const JUMP: u32 = libc::BPF_JMP | libc::BPF_JA;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
/// Where the number of the call and the ABI are in `seccomp_data`.
const CALL: u32 = 0;
const ABI: u32 = 4;

fn step(code: u32, k: u32, jt: usize, jf: usize) -> io::Result<sock_filter> {
    let near = |steps: usize| u8::try_from(steps).map_err(io::Error::other);
    Ok(sock_filter {
        code: u16::try_from(code).map_err(io::Error::other)?,
        jt: near(jt)?,
        jf: near(jf)?,
        k,
    })
}

fn answer(error: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | error.unsigned_abs()
}

/// One program of two: what the first allows, the second decides. The kernel would take them apart too, but
/// makes machine code of each, for each process.
pub(super) fn followed_by(mut first: BpfProgram, second: BpfProgram) -> io::Result<BpfProgram> {
    let length = first.len();
    for (at, instruction) in first.iter_mut().enumerate() {
        if u32::from(instruction.code) == RETURN && instruction.k == libc::SECCOMP_RET_ALLOW {
            instruction.code = u16::try_from(JUMP).map_err(io::Error::other)?;
            // Counted from the next instruction.
            instruction.k = u32::try_from(length - at - 1).map_err(io::Error::other)?;
        }
    }
    first.extend(second);
    Ok(first)
}

/// What becomes of a call by its number alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum ByNumber {
    Allowed,
    Refused(i32),
    /// Decided by what follows.
    LookedAt,
}

/// The same program, which now looks only at calls with these numbers, allows all others, and refuses some with the
/// errors that are given for them.
///
/// # Errors
/// When it does not begin as programs for one processor do: with a look at that, and with the call's number.
pub(super) fn by_number(
    refused: &BTreeMap<i64, i32>,
    looked_at: &BTreeSet<i64>,
    mut program: BpfProgram,
) -> io::Result<BpfProgram> {
    const BEGINNING: usize = 4;
    let last = program.get(BEGINNING - 1);
    if !last.is_some_and(|it| u32::from(it.code) == LOAD && it.k == CALL) {
        return Err(rustix::io::Errno::NOSYS.into());
    }
    let mut known: BTreeMap<i64, ByNumber> = BTreeMap::new();
    known.extend(
        refused
            .iter()
            .map(|(call, error)| (*call, ByNumber::Refused(*error))),
    );
    known.extend(looked_at.iter().map(|call| (*call, ByNumber::LookedAt)));
    // From each number on, until the next.
    let mut ranges = vec![(0, ByNumber::Allowed)];
    for (call, what) in &known {
        let call = u32::try_from(*call).map_err(io::Error::other)?;
        for (from, what) in [(call, *what), (call + 1, ByNumber::Allowed)] {
            ranges.retain(|(other, _)| *other != from);
            ranges.push((from, what));
        }
    }
    ranges.dedup_by_key(|(_, what)| *what);
    let mut answers: Vec<ByNumber> = ranges.iter().map(|(_, what)| *what).collect();
    answers.sort();
    answers.dedup();
    // What is looked at goes on behind the answers.
    answers.retain(|it| *it != ByNumber::LookedAt);
    answers.push(ByNumber::LookedAt);
    let mut steps = Vec::new();
    let all = ranges.len() - 1;
    search(&ranges, all, &answers, &mut steps)?;
    for what in answers {
        let answer = match what {
            ByNumber::Allowed => libc::SECCOMP_RET_ALLOW,
            ByNumber::Refused(error) => answer(error),
            ByNumber::LookedAt => continue,
        };
        steps.push(step(RETURN, answer, 0, 0)?);
    }
    program.splice(BEGINNING..BEGINNING, steps);
    Ok(program)
}

/// Adds the steps that find the range which a number lies in: one for each but the first. The answers begin at
/// step `end`.
fn search(
    ranges: &[(u32, ByNumber)],
    end: usize,
    answers: &[ByNumber],
    steps: &mut Vec<sock_filter>,
) -> io::Result<()> {
    let (below, from) = ranges.split_at(ranges.len() / 2);
    let (Some(_), Some((first, _))) = (below.first(), from.first()) else {
        return Ok(());
    };
    let here = steps.len();
    let leads_to = |ranges: &[(u32, ByNumber)], behind: usize| match ranges {
        [(_, what)] => {
            let answer = answers.iter().position(|it| it == what).unwrap_or(0);
            end + answer - here - 1
        }
        _ => behind,
    };
    let (yes, no) = (leads_to(from, below.len() - 1), leads_to(below, 0));
    steps.push(step(AT_LEAST, *first, yes, no)?);
    search(below, end, answers, steps)?;
    search(from, end, answers, steps)
}

/// Refuses signals to these processes, to each alone, to the groups that they lead, and to all that the user has;
/// looking whether they are there is no signal.
///
/// # Errors
/// On processors that are not known here.
pub(super) fn spare(watchers: &[Pid]) -> io::Result<BpfProgram> {
    const F_SETSIG: u32 = 10;
    const F_SETOWN_EX: u32 = 15;
    // The same of a socket; whom is behind a pointer, which cannot be looked at.
    const FIOSETOWN: u32 = 0x8901;
    const SIOCSPGRP: u32 = 0x8902;
    let ids = watchers.iter().map(|pid| pid.as_raw_nonzero().get());
    let targets: Vec<u32> = ids
        .flat_map(|id| [id, -id])
        .chain([-1])
        .map(i32::cast_unsigned)
        .collect();
    let argument = |index: u32| 16 + 8 * index;
    let call = |number: libc::c_long| u32::try_from(number).map_err(io::Error::other);
    let refused = || step(RETURN, answer(libc::EPERM), 0, 0);
    let allowed = || step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0);
    // Ends with both answers: the first is reached past the end of what is compared.
    let one_of = |values: &[u32]| -> io::Result<Vec<sock_filter>> {
        let mut steps = Vec::new();
        for (index, value) in values.iter().enumerate() {
            steps.push(step(EQUAL, *value, values.len() - index, 0)?);
        }
        steps.extend([allowed()?, refused()?]);
        Ok(steps)
    };
    let whom = |index: u32| -> io::Result<Vec<sock_filter>> {
        Ok([vec![step(LOAD, argument(index), 0, 0)?], one_of(&targets)?].concat())
    };
    // No signal is no harm.
    let signal = |index: u32| -> io::Result<Vec<sock_filter>> {
        let is_none = [
            step(LOAD, argument(index), 0, 0)?,
            step(EQUAL, 0, 0, 1)?,
            allowed()?,
        ];
        Ok([is_none.to_vec(), whom(0)?].concat())
    };
    let owner = vec![
        step(LOAD, argument(1), 0, 0)?,
        step(EQUAL, F_SETSIG, 1, 0)?,
        step(EQUAL, F_SETOWN_EX, 0, 1)?,
        refused()?,
        step(EQUAL, libc::F_SETOWN.cast_unsigned(), 1, 0)?,
        allowed()?,
    ];
    let controls = [
        vec![step(LOAD, argument(1), 0, 0)?],
        one_of(&[FIOSETOWN, SIOCSPGRP])?,
    ];
    let parts: [(&[libc::c_long], Vec<sock_filter>); 5] = [
        (
            &[libc::SYS_kill, libc::SYS_tkill, libc::SYS_rt_sigqueueinfo],
            signal(1)?,
        ),
        (&[libc::SYS_tgkill, libc::SYS_rt_tgsigqueueinfo], signal(2)?),
        (&[libc::SYS_fcntl], [owner, whom(2)?].concat()),
        (&[libc::SYS_ioctl], controls.concat()),
        // Whom a descriptor means cannot be looked at; programs then do it by number.
        (
            &[libc::SYS_pidfd_send_signal],
            vec![step(RETURN, answer(libc::ENOSYS), 0, 0)?],
        ),
    ];
    let mut program = vec![
        step(LOAD, ABI, 0, 0)?,
        step(EQUAL, guard::abi()?, 1, 0)?,
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0)?,
        step(LOAD, CALL, 0, 0)?,
    ];
    for (calls, steps) in parts {
        for (index, number) in calls.iter().enumerate() {
            let is_last = index + 1 == calls.len();
            let otherwise = if is_last { steps.len() } else { 0 };
            program.push(step(
                EQUAL,
                call(*number)?,
                calls.len() - index - 1,
                otherwise,
            )?);
        }
        program.extend(steps);
    }
    program.push(allowed()?);
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a program answers to a call of this machine's ABI, step by step as the kernel does it.
    fn answered(program: &[sock_filter], call: libc::c_long, arguments: [i32; 3]) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let step = &program[at];
            at += 1;
            let jump = |yes: bool| usize::from(if yes { step.jt } else { step.jf });
            match u32::from(step.code) {
                LOAD => {
                    loaded = match step.k {
                        CALL => u32::try_from(call).unwrap(),
                        ABI => guard::abi().unwrap(),
                        argument => {
                            arguments[usize::try_from(argument / 8 - 2).unwrap()].cast_unsigned()
                        }
                    }
                }
                EQUAL => at += jump(loaded == step.k),
                AT_LEAST => at += jump(loaded >= step.k),
                JUMP => at += usize::try_from(step.k).unwrap(),
                RETURN => return step.k,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[test]
    fn each_number_is_decided_as_was_said() {
        const LOOKED_AT: u32 = 7;
        let mut rest = spare(&[]).unwrap();
        rest.truncate(4);
        rest.push(step(RETURN, LOOKED_AT, 0, 0).unwrap());
        let refused = BTreeMap::from([(0, 1), (5, 1), (6, 1), (7, 38), (9, 1), (400, 22)]);
        let looked_at = BTreeSet::from([8, 10, 11, 300]);
        let program = by_number(&refused, &looked_at, rest).unwrap();
        for number in (0..500).chain([0x4000_0005]) {
            let expected = match refused.get(&number) {
                Some(error) => answer(*error),
                None if looked_at.contains(&number) => LOOKED_AT,
                None => libc::SECCOMP_RET_ALLOW,
            };
            assert_eq!(answered(&program, number, [0; 3]), expected, "{number}");
        }
        let nothing = by_number(&refused, &looked_at, Vec::new());
        assert!(nothing.is_err());
    }

    #[test]
    fn who_watches_gets_no_signal_and_others_do() {
        let watchers = [40, 41].map(|id| Pid::from_raw(id).unwrap());
        let program = spare(&watchers).unwrap();
        let allow = libc::SECCOMP_RET_ALLOW;
        let refuse = answer(libc::EPERM);
        let term = libc::SIGTERM;
        for (call, arguments, expected) in [
            (libc::SYS_kill, [40, term, 0], refuse),
            (libc::SYS_kill, [-41, term, 0], refuse),
            (libc::SYS_kill, [-1, term, 0], refuse),
            (libc::SYS_kill, [40, 0, term], allow),
            (libc::SYS_kill, [42, term, 0], allow),
            (libc::SYS_kill, [0, term, 0], allow),
            (libc::SYS_tkill, [41, term, 0], refuse),
            (libc::SYS_rt_sigqueueinfo, [41, term, 0], refuse),
            (libc::SYS_tgkill, [40, 40, term], refuse),
            (libc::SYS_tgkill, [40, 40, 0], allow),
            (libc::SYS_tgkill, [42, 40, term], allow),
            (libc::SYS_rt_tgsigqueueinfo, [41, 41, term], refuse),
            (libc::SYS_fcntl, [3, libc::F_SETOWN, 40], refuse),
            (libc::SYS_fcntl, [3, libc::F_SETOWN, 42], allow),
            (libc::SYS_fcntl, [3, libc::F_GETFD, 40], allow),
            (libc::SYS_fcntl, [3, 10, 0], refuse),
            (libc::SYS_fcntl, [3, 15, 0], refuse),
            (libc::SYS_ioctl, [3, 0x8901, 0], refuse),
            (libc::SYS_ioctl, [3, 0x8902, 0], refuse),
            (libc::SYS_ioctl, [3, 0x5401, 0], allow),
            (libc::SYS_pidfd_send_signal, [3, 0, 0], answer(libc::ENOSYS)),
            (libc::SYS_read, [40, term, 0], allow),
        ] {
            let found = answered(&program, call, arguments);
            assert_eq!(found, expected, "{call} {arguments:?}");
        }
        // What it allows, the next decides.
        let both = followed_by(program.clone(), program).unwrap();
        assert_eq!(answered(&both, libc::SYS_kill, [40, term, 0]), refuse);
        assert_eq!(answered(&both, libc::SYS_kill, [42, term, 0]), allow);
    }
}
