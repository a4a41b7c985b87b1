//! Room for the files that many sandboxes at once keep open.
//!
//! A shell often allows 256 or 1024 open files, and a trial that meets that limit is lost, so the limit is
//! raised as far as the run needs and the system lets it, and no further: candidates inherit it.

use forge::ForgeBuilder;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What one trial has open at most, its uploads, downloads and watching processes included.
const PER_TRIAL: u64 = 16;
/// What forge has open besides.
const OWN: u64 = 64;

/// So many sandboxes at once, or as many as there is room for.
pub(super) fn with_jobs(builder: ForgeBuilder, jobs: usize) -> ForgeBuilder {
    let room = make_room(jobs);
    let builder = builder.jobs(room);
    if room == jobs {
        return builder;
    }
    builder.warning(format!(
        "{room} sandboxes at once instead of {jobs}: more do not fit into this shell's limit of open files (`ulimit -n`)"
    ))
}

/// Makes room for that many trials at once. Returns for how many there is room.
pub(super) fn make_room(jobs: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = needed(jobs).min(limit.maximum.unwrap_or(u64::MAX));
    let current = limit.current.unwrap_or(u64::MAX);
    if current >= wanted {
        return jobs.min(room(current));
    }
    let raised = Rlimit {
        current: Some(wanted),
        maximum: limit.maximum,
    };
    let raised = setrlimit(Resource::Nofile, raised).is_ok();
    jobs.min(room(if raised { wanted } else { current }))
}

pub(super) fn needed(jobs: usize) -> u64 {
    u64::try_from(jobs)
        .unwrap_or(u64::MAX)
        .saturating_mul(PER_TRIAL)
        .saturating_add(OWN)
}

/// How many trials fit; one is always tried.
fn room(files: u64) -> usize {
    usize::try_from(files.saturating_sub(OWN) / PER_TRIAL).map_or(usize::MAX, |jobs| jobs.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_room_enough() {
        for jobs in [1, 2, 10, 1000] {
            assert_eq!(room(needed(jobs)), jobs);
        }
        assert_eq!(room(0), 1);
        assert_eq!(room(256), 12);
    }
}
