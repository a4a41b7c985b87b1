//! Which limits of containers are enforced: tried from inside, each in a container of its own, with the small programs
//! of POSIX only. An engine may accept a limit and ignore it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use forge::event::Undeleted;
use forge::exit::ExitCode as End;
use forge::name::RunId;
use forge::quantity::ByteCount;
use forge::run::stop::Stopping;
use forge::sandbox::container::{ContainerOptions, Containers};
use forge::sandbox::ledger::Ledger;
use forge::sandbox::reaper::{Leaser, Patience, Reaper};
use forge::sandbox::{
    Command, CommandEnd, Network, Networks, OutputSink, SandboxError, SandboxSpec, Stage, Stream,
    Trust,
};

use crate::cli::signals;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Memory,
    Processes,
    Disk,
}

/// What came out of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Enforced {
    Yes,
    No,
    /// Why nobody can tell.
    Unknown(String),
}

const MEMORY: ByteCount = ByteCount::mib(64);
const DISK: ByteCount = ByteCount::mib(8);
const PROCESSES: u32 = 32;
/// How long one may take. A shell that may not start a process can try again for a while.
const PATIENCE: Duration = Duration::from_secs(40);

/// So much of each is used, or nearly.
const MUCH_MEMORY: u64 = 2 * MEMORY.0;
const MUCH_DISK: u64 = 2 * DISK.0;
const MANY: u64 = 3 * PROCESSES as u64;

/// Containers in which the limits are soon reached.
pub(super) fn small(options: ContainerOptions) -> ContainerOptions {
    ContainerOptions {
        memory: MEMORY,
        disk: DISK,
        processes: PROCESSES,
        ..options
    }
}

impl Limit {
    const ALL: [Self; 3] = [Self::Memory, Self::Processes, Self::Disk];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Disk => "disk",
        }
    }

    /// What to do where it does not hold.
    pub(super) const fn remedy(self) -> &'static str {
        match self {
            Self::Memory | Self::Processes => {
                "the engine needs the control group for it: as a user, with control groups version 2 and delegation \
                 (`systemctl edit user@.service`: `Delegate=cpu memory pids`), or as root"
            }
            Self::Disk => {
                "the engine ignores the size of a tmpfs; take another version or another engine"
            }
        }
    }

    /// Uses more than the limit, and prints how much it got.
    fn script(self) -> String {
        match self {
            // `tail` keeps what it is to print at the end.
            Self::Memory => format!(
                "[ \"$(head -c 9 /dev/zero | tail -c 5 | wc -c)\" -eq 5 ] || exit 9
                 head -c {MUCH_MEMORY} /dev/zero | tail -c {MUCH_MEMORY} | wc -c"
            ),
            Self::Processes => {
                format!("i=0; while [ $i -lt {MANY} ]; do sleep 60 & i=$((i + 1)); done; echo $i")
            }
            Self::Disk => format!("head -c {MUCH_DISK} /dev/zero >fill 2>/dev/null; wc -c <fill"),
        }
    }

    /// What is to be concluded of how the script ended and what it printed.
    fn judge(self, end: &CommandEnd, printed: &str) -> Enforced {
        let much = match self {
            Self::Memory => MUCH_MEMORY,
            Self::Processes => MANY,
            Self::Disk => MUCH_DISK,
        };
        let unknown = |why: String| Enforced::Unknown(why);
        match (self, end) {
            // A shell that cannot start a process ends, or tries again for long.
            (_, CommandEnd::LimitReached(_))
            | (Self::Processes, CommandEnd::Exited(1..) | CommandEnd::TimedOut)
            | (Self::Memory, CommandEnd::Signalled(_)) => Enforced::Yes,
            (_, CommandEnd::Exited(0)) => match printed.trim().parse::<u64>() {
                Ok(got) if got < much => Enforced::Yes,
                Ok(_) => Enforced::No,
                Err(_) => unknown("the image's programs print something else".to_owned()),
            },
            (_, CommandEnd::Exited(code)) => unknown(format!(
                "the image's programs do not do it (exit code {code})"
            )),
            (_, CommandEnd::Signalled(signal)) => unknown(format!("signal {signal} ended it")),
            (_, CommandEnd::TimedOut) => unknown("it takes too long".to_owned()),
            (_, CommandEnd::NotFound(_)) => unknown("the image has no shell".to_owned()),
            (_, CommandEnd::CannotStart(why)) => unknown(why.clone()),
        }
    }
}

/// What came of trying them.
pub(super) struct Tried {
    pub(super) limits: Vec<(Limit, Result<Enforced, SandboxError>)>,
    /// The containers that may still be there, and how to delete them.
    pub(super) left: Vec<Undeleted>,
    pub(super) sweep: String,
    /// How forge ends when somebody has stopped it.
    pub(super) stopped: Option<End>,
}

/// Tries all of them, one after the other, and deletes what it made. Heeds signals as a run does.
pub(super) async fn all(containers: Arc<Containers>) -> Result<Tried, SandboxError> {
    let machine = |error| SandboxError::machine("try limits", error);
    let run = RunId::generate();
    let (stop, stopping) = tokio::sync::watch::channel(Stopping::No);
    let (mut causes, listen) = signals::listen().map_err(machine)?;
    let (_folder, reaper) = begin(containers, run, stopping).map_err(machine)?;
    let leaser = reaper.leaser();
    let mut tried = Tried {
        limits: Vec::new(),
        left: Vec::new(),
        sweep: format!("forge sweep --run {run} --yes"),
        stopped: None,
    };
    let trying = async {
        for limit in Limit::ALL {
            let outcome = tokio::select! {
                outcome = one(limit, &leaser, run) => outcome,
                Some(cause) = causes.recv() => {
                    tried.stopped = Some(signals::end_of(cause));
                    stop.send_replace(Stopping::Stop);
                    break;
                }
            };
            let failed = outcome.is_err();
            tried.limits.push((limit, outcome));
            // What one container cannot, the next cannot either.
            if failed {
                break;
            }
        }
        let closing = reaper.close();
        tokio::pin!(closing);
        let report = loop {
            tokio::select! {
                report = &mut closing => break report,
                Some(cause) = causes.recv() => {
                    tried.stopped = Some(signals::end_of(cause));
                    stop.send_replace(Stopping::Hurry);
                }
            }
        };
        tried.left.clone_from(&report.cleanup().unconfirmed);
    };
    let gave_up = tokio::select! {
        () = trying => None,
        // What was started ends when forge does.
        end = listen => Some(end),
    };
    tried.stopped = gave_up.or(tried.stopped);
    Ok(tried)
}

fn begin(
    containers: Arc<Containers>,
    run: RunId,
    stopping: tokio::sync::watch::Receiver<Stopping>,
) -> io::Result<(tempfile::TempDir, Reaper)> {
    let folder = tempfile::tempdir()?;
    let ledger = Ledger::open(folder.path(), false)?;
    let reaper = Reaper::start(containers, run, ledger, 1, stopping, Patience::default())?;
    Ok((folder, reaper))
}

async fn one(limit: Limit, leaser: &Leaser, run: RunId) -> Result<Enforced, SandboxError> {
    let spec = SandboxSpec {
        name: leaser.name(limit.name()),
        run,
        labels: BTreeMap::new(),
        lifetime: 2 * PATIENCE,
        networks: Networks::same(Network::Block),
        candidate: None,
        trust: Trust::Trusted,
        image: None,
        python: None,
        may_be_kept: false,
    };
    let lease = leaser.acquire(spec, None).await?;
    let command = Command {
        programs: vec![vec!["/bin/sh".to_owned()]],
        arguments: vec!["-c".to_owned(), limit.script()],
        stage: Stage::Run,
        read: Vec::new(),
        env: BTreeMap::new(),
        limit: PATIENCE,
        output_limit: ByteCount::kib(4),
        then_collect: None,
    };
    let mut printed = Printed::default();
    let result = lease.run(&command, &mut printed).await?;
    let printed = String::from_utf8_lossy(&printed.0).into_owned();
    Ok(limit.judge(&result.end, &printed))
}

/// The standard output.
#[derive(Default)]
struct Printed(Vec<u8>);

impl OutputSink for Printed {
    fn write(&mut self, stream: Stream, bytes: &[u8]) {
        if stream == Stream::Stdout {
            self.0.extend_from_slice(bytes);
        }
    }

    fn dropped(&mut self, _stream: Stream, _bytes: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_passed_is_not_enforced() {
        let exited = CommandEnd::Exited(0);
        let check = |limit: Limit, end: &CommandEnd, printed: &str, expected: Enforced| {
            let judged = limit.judge(end, printed);
            assert_eq!(judged, expected, "{limit:?} {end:?} {printed}");
        };
        for limit in Limit::ALL {
            check(limit, &exited, "5\n", Enforced::Yes);
            check(limit, &exited, "999999999", Enforced::No);
            let reached = CommandEnd::LimitReached("memory".to_owned());
            check(limit, &reached, "", Enforced::Yes);
        }
        check(Limit::Processes, &CommandEnd::Exited(2), "", Enforced::Yes);
        check(Limit::Processes, &CommandEnd::TimedOut, "", Enforced::Yes);
        check(Limit::Memory, &CommandEnd::Signalled(9), "", Enforced::Yes);
        let judged = Limit::Memory.judge(&CommandEnd::Exited(9), "");
        assert!(matches!(judged, Enforced::Unknown(_)), "{judged:?}");
    }
}
