//! What a process does to itself on its way to becoming a candidate's program.
//!
//! Promises: nothing here can be undone by the program; the first thing that fails is reported, and then
//! the program is not started.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

#[cfg(target_os = "linux")]
use rustix::process::Pid;
use rustix::process::{Resource, Rlimit, Signal};

use super::processes;
use super::protocol::{Failure, Granted, Limits, Policy};
#[cfg(target_os = "linux")]
use super::{filter::Filters, protocol::Rung};

#[cfg(target_os = "linux")]
mod landlock;

/// The most files that a program can have open.
const FILES: u64 = 1024;
/// How many sandboxes full of processes a user may have at once, where the kernel counts all of them
/// together.
const COMMON_PROCESSES: u64 = 16;
/// What part of a user's quotas one sandbox may use up.
const SHARE: u64 = 16;
/// The least of them that programs do with: a queue of messages has 83 kB.
const QUEUES: u64 = 100_000;
const SIGNALS: u64 = 1024;
/// What is limited for each process, or for each user.
const LIMITED: &[Resource] = &[
    Resource::Data,
    Resource::Fsize,
    Resource::Core,
    Resource::Nofile,
    #[cfg(target_os = "linux")]
    Resource::Sigpending,
    #[cfg(target_os = "linux")]
    Resource::Msgqueue,
    Resource::Cpu,
    Resource::Nproc,
];

/// What the spawner has ready for all programs.
#[derive(Debug)]
pub(super) struct Common {
    /// How many processes and threads the user had.
    processes: u64,
    /// How many processors there are to use.
    processors: u64,
    /// The most that may be had of what is limited.
    most: Vec<(Resource, Option<u64>)>,
    #[cfg(target_os = "linux")]
    filters: Filters,
    /// What Landlock grants all of them.
    #[cfg(target_os = "linux")]
    grants: Option<landlock::Grants>,
    /// Who watches over programs.
    #[cfg(target_os = "linux")]
    watchers: Vec<Pid>,
}

impl Common {
    /// Makes it ready.
    pub(super) fn new() -> Self {
        // What the processor can do is remembered by each process, and asking takes long in virtual machines.
        #[cfg(target_arch = "x86_64")]
        let _known = std::arch::is_x86_feature_detected!("avx2");
        // In a user namespace they are all back.
        #[cfg(target_os = "linux")]
        forget_capabilities();
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let most = |it: &Resource| (*it, rustix::process::getrlimit(*it).maximum);
        Self {
            processes: processes::count_mine(),
            processors: processors as u64,
            most: LIMITED.iter().map(most).collect(),
            #[cfg(target_os = "linux")]
            filters: Filters::compile(),
            #[cfg(target_os = "linux")]
            grants: None,
            #[cfg(target_os = "linux")]
            watchers: [Some(rustix::process::getpid()), rustix::process::getppid()]
                .into_iter()
                .flatten()
                .collect(),
        }
    }

    /// Makes ready what is granted to the next program.
    #[cfg_attr(
        not(target_os = "linux"),
        expect(clippy::unused_self, reason = "nothing is granted here")
    )]
    pub(super) fn grant(&mut self, granted: Granted) {
        #[cfg(target_os = "linux")]
        if granted == Granted::Nothing {
            // Nobody else shall hold it.
            self.grants = None;
        } else if !self.grants.as_ref().is_some_and(|it| it.are_good(granted)) {
            self.grants = Some(landlock::Grants::make(granted));
        }
        #[cfg(not(target_os = "linux"))]
        let _ = granted;
    }
}

/// Becomes the program. Returns only when that fails.
///
/// `guard` is the way to the process that looks at what it changes, where the policy wants one.
pub(super) fn become_program(
    policy: &Policy,
    common: &Common,
    output: &[impl AsFd; 2],
    guard: Option<&UnixStream>,
) -> Failure {
    let confined = || -> Result<(), Failure> {
        start(policy, output)?;
        // Opened while everything can still be.
        #[cfg(target_os = "linux")]
        let landlock = landlock::by(policy, common.grants.as_ref())?;
        #[cfg(target_os = "linux")]
        drop_privileges(policy)?;
        limit(policy, common).map_err(Failure::at("limits"))?;
        #[cfg(target_os = "linux")]
        if let Some(landlock) = landlock {
            landlock::restrict(landlock)?;
        }
        #[cfg(target_os = "linux")]
        if let Some(guard) = guard {
            super::guard::submit(guard).map_err(Failure::at("guard attributes"))?;
        }
        #[cfg(target_os = "linux")]
        if let Some(filter) = common.filters.by(policy).map_err(Failure::at("seccomp"))? {
            let loaded = match watchers(policy, common) {
                Some(watchers) => filter.sparing(&watchers).and_then(|it| it.load()),
                None => filter.load(),
            };
            loaded.map_err(Failure::at("seccomp"))?;
        }
        Ok(())
    };
    match confined() {
        Ok(()) => exec(policy),
        Err(failure) => failure,
    }
}

/// The watchers that a program of forge's own user could end: forge, the spawner, its keeper.
#[cfg(target_os = "linux")]
fn watchers(policy: &Policy, common: &Common) -> Option<Vec<Pid>> {
    match policy.rung {
        Rung::Landlock | Rung::Process { .. } if policy.user.is_none() => {
            let mut watchers = common.watchers.clone();
            watchers.extend(rustix::process::getppid());
            Some(watchers)
        }
        Rung::Namespaces { .. } | Rung::Landlock | Rung::Process { .. } => None,
    }
}

/// Leaves the keeper's session, and takes its own outputs and folder.
fn start(policy: &Policy, output: &[impl AsFd; 2]) -> Result<(), Failure> {
    let own = || -> io::Result<()> {
        rustix::process::setsid()?;
        #[cfg(target_os = "linux")]
        {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            if !matches!(policy.rung, Rung::Namespaces { .. }) {
                processes::doom("self");
            }
        }
        rustix::stdio::dup2_stdout(&output[0])?;
        rustix::stdio::dup2_stderr(&output[1])?;
        Ok(())
    };
    own().map_err(Failure::at("start"))?;
    std::env::set_current_dir(&policy.work).map_err(Failure::at("enter the working directory"))
}

/// Gives up the user, when there is another to be, and every capability.
#[cfg(target_os = "linux")]
fn drop_privileges(policy: &Policy) -> Result<(), Failure> {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{CapabilitySet, CapabilitySets};

    // Elsewhere the spawner has done that for all.
    if matches!(policy.rung, Rung::Namespaces { .. }) {
        forget_capabilities();
    }
    let switch = |user: u32| -> rustix::io::Result<()> {
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        rustix::thread::set_thread_groups(&[])?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        // Another user's processes get no signal from their parent's end unless they ask again.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
    };
    if let Some(user) = policy.user {
        switch(user).map_err(|error| Failure::at("change the user")(error.into()))?;
    }
    let give_up = || -> rustix::io::Result<()> {
        rustix::thread::set_no_new_privs(true)?;
        // Not there before Linux 4.3.
        rustix::thread::clear_ambient_capability_set().ok();
        let none = CapabilitySet::empty();
        rustix::thread::set_capabilities(
            None,
            CapabilitySets {
                effective: none,
                permitted: none,
                inheritable: none,
            },
        )
    };
    give_up().map_err(|error| Failure::at("drop capabilities")(error.into()))
}

/// Keeps programs that this process becomes, or its children, from capabilities that their files would give them. What
/// it has itself stays.
#[cfg(target_os = "linux")]
fn forget_capabilities() {
    // One that does not exist is refused, and so are all of them to a user who has none.
    for bit in 0..u64::BITS {
        let capability = rustix::thread::CapabilitySet::from_bits_retain(1 << bit);
        if rustix::thread::remove_capability_from_bounding_set(capability).is_err() {
            break;
        }
    }
}

/// Sets what the kernel counts for each process, or for each user.
fn limit(policy: &Policy, common: &Common) -> io::Result<()> {
    let Limits {
        memory,
        disk,
        processes,
    } = policy.limits;
    let seconds = policy.limit.as_secs().saturating_add(1);
    let there = |resource: Resource| {
        let found = common.most.iter().find(|(it, _)| *it == resource);
        found.and_then(|(_, most)| *most)
    };
    let set = |resource, most: u64| -> io::Result<()> {
        let most = Some(there(resource).map_or(most, |there| there.min(most)));
        let limit = Rlimit {
            current: most,
            maximum: most,
        };
        Ok(rustix::process::setrlimit(resource, limit)?)
    };
    // Not the address space: node and WebAssembly reserve more of that than they use.
    set(Resource::Data, memory)?;
    set(Resource::Fsize, disk)?;
    set(Resource::Core, 0)?;
    set(Resource::Nofile, FILES)?;
    #[cfg(target_os = "linux")]
    for (resource, least) in [
        (Resource::Sigpending, SIGNALS),
        (Resource::Msgqueue, QUEUES),
    ] {
        let share = there(resource).map_or(least, |there| (there / SHARE).max(least));
        set(resource, share)?;
    }
    set(Resource::Cpu, seconds.saturating_mul(common.processors))?;
    set(
        Resource::Nproc,
        most_processes(policy, common, processes.into()),
    )
}

/// In a user namespace the kernel counts what is in it, and of a user of its own what is the sandbox's; else
/// whatever the user has, and then the meter is what counts, and this is for what is faster than the meter.
fn most_processes(policy: &Policy, common: &Common, processes: u64) -> u64 {
    #[cfg(target_os = "linux")]
    if matches!(policy.rung, Rung::Namespaces { .. }) {
        // One more, for the sandbox's first process.
        return processes.saturating_add(1);
    }
    if policy.user.is_some() {
        // Not less than the meter ends: a user may be given out again.
        return processes.saturating_add(1);
    }
    let most = rustix::process::getrlimit(Resource::Nproc).current;
    shared_processes(processes, common.processes, most)
}

/// The same for a user who has others besides, and may have `most`: the user's other programs can go on
/// forking.
fn shared_processes(processes: u64, others: u64, most: Option<u64>) -> u64 {
    let wanted = processes
        .saturating_mul(COMMON_PROCESSES)
        .saturating_add(others);
    let left = most.map_or(u64::MAX, |most| most.saturating_sub(others));
    wanted.min(others.saturating_add(left / 4 * 3))
}

fn exec(policy: &Policy) -> Failure {
    let error = Command::new(&policy.program)
        .args(&policy.arguments)
        .env_clear()
        .envs(policy.env.iter().map(|(name, value)| (name, value)))
        .exec();
    Failure::at(Failure::EXEC)(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_of_the_same_user_can_go_on_forking() {
        assert_eq!(shared_processes(256, 100, None), 4196);
        assert_eq!(shared_processes(256, 100, Some(96_365)), 4196);
        assert_eq!(shared_processes(256, 100, Some(500)), 400);
        assert_eq!(shared_processes(256, 600, Some(500)), 600);
    }
}
