//! Room for the files that many sandboxes at once keep open.
//!
//! A shell often allows 256 or 1024 open files, and a trial that meets that limit is lost, so the limit is
//! raised as far as the run needs and the system lets it, and no further: candidates inherit it.

use forge::{ForgeBuilder, Place};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What one trial has open at most, its uploads, downloads and watching processes included.
const PER_TRIAL: u64 = 16;
/// What forge has open besides.
const OWN: u64 = 64;
/// The most that is open in a cloud besides one connection for each trial, over which its command is waited for: what
/// else they have open, such as files that come and go, is bounded, however many they are.
const FAR: u64 = 2048;

/// So many sandboxes at once, or as many as there is room for.
pub(super) fn with_jobs(builder: ForgeBuilder, place: &Place, jobs: usize) -> ForgeBuilder {
    let is_far = match place {
        Place::Own(provider) => provider.name() == "daytona",
        Place::Local(_) => false,
    };
    let room = make_room(jobs, is_far);
    let builder = builder.jobs(room);
    if room == jobs {
        return builder;
    }
    builder.warning(format!(
        "{room} sandboxes at once instead of {jobs}: more do not fit into this shell's limit of open files (`ulimit -n`)"
    ))
}

/// Makes room for that many trials at once. Returns for how many there is room.
fn make_room(jobs: usize, is_far: bool) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = needed(jobs, is_far).min(limit.maximum.unwrap_or(u64::MAX));
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return jobs.min(room(current, is_far));
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    let raised = setrlimit(Resource::Nofile, raised).is_ok();
    jobs.min(room(if raised { wanted } else { current }, is_far))
}

pub(super) fn needed(jobs: usize, is_far: bool) -> u64 {
    let jobs = u64::try_from(jobs).unwrap_or(u64::MAX);
    let here = jobs.saturating_mul(PER_TRIAL).saturating_add(OWN);
    let far = is_far.then(|| jobs.saturating_add(FAR));
    far.map_or(here, |far| far.min(here))
}

/// How many trials fit; one is always tried.
fn room(files: u64, is_far: bool) -> usize {
    let here = files.saturating_sub(OWN) / PER_TRIAL;
    let far = if is_far { files.saturating_sub(FAR) } else { 0 };
    usize::try_from(here.max(far)).map_or(usize::MAX, |jobs| jobs.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_room_enough() {
        for is_far in [false, true] {
            for jobs in [1, 2, 10, 130, 140, 1000, 10_000] {
                assert_eq!(room(needed(jobs, is_far), is_far), jobs);
            }
            assert_eq!(room(0, is_far), 1);
            assert_eq!(room(256, is_far), 12);
        }
        assert_eq!(needed(10_000, false), 160_064);
        assert_eq!(needed(10_000, true), 12_048);
    }
}
