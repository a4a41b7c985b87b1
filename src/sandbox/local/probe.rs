//! Trying the rungs out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::protocol::{Failure, Policy, Rung};
use super::rungs::{self, Chosen, Refusal};
use super::users::{self, Who, WhyRoot};
use super::{Isolation, Shared, cgroup, place, run};
use crate::name::SandboxId;
use crate::quantity::ByteCount;
use crate::sandbox::{Command, CommandEnd, ErrorKind, OutputSink, SandboxError, Stream};

/// How often it is tried on a rung when the machine fails meanwhile: somebody may end what watches over it.
const TRIES: u32 = 3;
/// How long a program that does nothing may take.
const LIMIT: Duration = Duration::from_secs(20);

/// Chooses a rung.
///
/// # Errors
/// When none of those that were asked for works.
pub(super) async fn choose(shared: &Shared, asked: Isolation) -> Result<Chosen, SandboxError> {
    if shared.helper.is_none() {
        return match asked {
            Isolation::Auto | Isolation::Process => without_helper().allowed(shared.root),
            Isolation::Landlock | Isolation::Namespaces => Err(rungs::none(asked, &[])),
        };
    }
    let mut refusals = Vec::new();
    for rung in rungs::candidates(asked) {
        match attempt(shared, rung).await? {
            Ok(mut chosen) => {
                chosen.refusals = refusals;
                return chosen.allowed(shared.root);
            }
            Err(failure) => refusals.push(Refusal { rung, failure }),
        }
    }
    Err(rungs::none(asked, &refusals))
}

/// Says of each rung whether it works here, and else why not.
pub(super) async fn explain(shared: &Shared) -> Vec<String> {
    let mut lines = Vec::new();
    let mut works = false;
    for rung in rungs::candidates(Isolation::Auto) {
        let name = rungs::name(rung);
        let is_makeshift = matches!(
            rung,
            Rung::Namespaces { shared_proc: true } | Rung::Process { filtered: false }
        );
        if is_makeshift && works {
            continue;
        }
        let attempted = attempt(shared, rung).await;
        works = matches!(attempted, Ok(Ok(_)));
        lines.push(match attempted {
            Ok(Ok(chosen)) => match (&chosen.who, chosen.clone().allowed(shared.root)) {
                (Who::Root(why), Ok(_)) => {
                    format!("{name}: works, as root without capabilities: {why}")
                }
                (Who::Root(why), Err(_)) => {
                    format!("{name}: refused, because candidates would be root: {why}")
                }
                (Who::Mine | Who::Own, _) => format!("{name}: works"),
            },
            Ok(Err(failure)) => Refusal { rung, failure }.to_string(),
            Err(error) => format!("{name}: {error}"),
        });
    }
    lines
}

fn without_helper() -> Chosen {
    Chosen {
        rung: Rung::Process { filtered: false },
        who: match users::who() {
            Who::Mine => Who::Mine,
            Who::Own | Who::Root(_) => Who::Root(WhyRoot::NoHelper),
        },
        landlock: None,
        unguarded: None,
        cgroups: None,
        refusals: Vec::new(),
    }
}

/// Runs a program that does nothing on a rung.
async fn attempt(shared: &Shared, rung: Rung) -> Result<Result<Chosen, Failure>, SandboxError> {
    let landlock = landlock();
    if rung == Rung::Landlock
        && let Err(failure) = &landlock
    {
        return Ok(Err(failure.clone()));
    }
    let cgroups = cgroups().await;
    let chosen = |who: Who, unguarded: Option<Failure>| Chosen {
        rung,
        who,
        landlock: landlock.clone().ok(),
        unguarded,
        cgroups: cgroups.clone(),
        refusals: Vec::new(),
    };
    let who = match (users::who(), rung) {
        // What is bound is reached by another path.
        (Who::Own, Rung::Landlock | Rung::Process { .. }) => match closed(shared).await {
            Some(why) => Who::Root(why),
            None => Who::Own,
        },
        (who, _) => who,
    };
    let who = match who {
        Who::Own => match run_nothing(shared, rung, Trying::Another).await? {
            Ok(()) => return Ok(Ok(chosen(Who::Own, None))),
            Err(failure) => Who::Root(WhyRoot::Failed(failure)),
        },
        Who::Mine | Who::Root(_) => who,
    };
    // Landlock has no say in who changes a file's mode, and this user may be its owner.
    let unguarded = if rung == Rung::Landlock {
        match run_nothing(shared, rung, Trying::Guarded).await? {
            Ok(()) => return Ok(Ok(chosen(who, None))),
            Err(failure) => Some(failure),
        }
    } else {
        None
    };
    let tried = run_nothing(shared, rung, Trying::Plain).await?;
    Ok(tried.map(|()| chosen(who, unguarded)))
}

/// Where cgroups can be made, which is found out once.
async fn cgroups() -> Option<PathBuf> {
    let site = tokio::task::spawn_blocking(cgroup::site);
    site.await.ok().flatten().map(Path::to_owned)
}

/// What keeps other users from running what they are to run.
async fn closed(shared: &Shared) -> Option<WhyRoot> {
    if !users::passable_to_all(&shared.base) {
        return Some(WhyRoot::Unreachable(shared.base.clone()));
    }
    let program = shared.programs.named("python3").await?;
    let in_the_way = !users::open_to_all(&program.file) && shared.programs.may_call("python3");
    in_the_way.then_some(WhyRoot::Unreadable(program.file))
}

#[cfg(target_os = "linux")]
fn landlock() -> Result<u32, Failure> {
    let version = super::kernel::landlock_version().map_err(Failure::at("landlock"))?;
    if version < rungs::LANDLOCK_FILES {
        return Err(Failure {
            stage: "landlock".to_owned(),
            errno: libc::EOPNOTSUPP,
        });
    }
    Ok(version)
}

#[cfg(not(target_os = "linux"))]
fn landlock() -> Result<u32, Failure> {
    Err(Failure {
        stage: "landlock".to_owned(),
        errno: libc::ENOSYS,
    })
}

fn command(program: &[&str]) -> Command {
    Command {
        programs: vec![program.iter().map(|&word| word.to_owned()).collect()],
        arguments: Vec::new(),
        read: Vec::new(),
        env: std::collections::BTreeMap::new(),
        limit: LIMIT,
        output_limit: ByteCount(0),
        stage: crate::sandbox::Stage::Run,
        then_collect: None,
    }
}

/// Nothing is written.
struct Nowhere;

impl OutputSink for Nowhere {
    fn write(&mut self, _: Stream, _: &[u8]) {}
    fn dropped(&mut self, _: Stream, _: u64) {}
}

/// How a program that does nothing is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trying {
    /// As this user.
    Plain,
    /// As this user, with a guard over the attributes of files.
    Guarded,
    /// As a user of its own.
    Another,
}

async fn run_nothing(
    shared: &Shared,
    rung: Rung,
    how: Trying,
) -> Result<Result<(), Failure>, SandboxError> {
    let mut left = TRIES;
    loop {
        left -= 1;
        match try_nothing(shared, rung, how).await {
            Ok(Tried::Worked) => return Ok(Ok(())),
            // It says nothing of the rung that somebody has ended it.
            Ok(Tried::Killed(_)) | Err(_) if left > 0 => {}
            Ok(Tried::Refused(failure) | Tried::Killed(failure)) => return Ok(Err(failure)),
            Err(error) => return Err(error),
        }
    }
}

/// What came of trying once.
enum Tried {
    Worked,
    Refused(Failure),
    Killed(Failure),
}

async fn try_nothing(shared: &Shared, rung: Rung, how: Trying) -> Result<Tried, SandboxError> {
    let user = (how == Trying::Another).then(|| shared.users.next());
    // Held, so that no forge beside this one sweeps it.
    let made = place::Scratch::create(&shared.base);
    let scratch = made.map_err(|error| {
        SandboxError::new(ErrorKind::Machine, "create a sandbox", error.to_string())
            .with_hint(super::BASE_HINT)
    })?;
    let place = place::Place::for_probe(&scratch);
    let root = place.root();
    if let Err(error) = place.create(user, &[]) {
        let failure = Failure::at("make a folder")(error.into());
        return Ok(Tried::Refused(failure));
    }
    let command = command(&["true"]);
    let policy = Policy {
        rung,
        program: rungs::nothing().unwrap_or_else(|| "/bin/true".into()),
        arguments: Vec::new(),
        env: Vec::new(),
        work: root.join(place::WORK),
        writable: vec![root.join(place::WORK)],
        readable: Vec::new(),
        tmp: root.join(place::TMP),
        root,
        network: true,
        user,
        guarded: how == Trying::Guarded,
        cgroups: cgroups().await,
        limits: shared.limits,
        limit: LIMIT,
    };
    let id = SandboxId::new("probe");
    let context = run::Context {
        helper: shared.helper.as_ref(),
        id: &id,
        orphans: &shared.orphans,
    };
    let ran = run::run(&context, &policy, &command, &mut Nowhere).await?;
    // A sandbox in which nothing can run.
    let nothing_runs = || Failure {
        stage: format!("run {}", policy.program.display()),
        errno: libc::EPERM,
    };
    Ok(match ran {
        run::Ran::Refused(failure) => Tried::Refused(failure),
        run::Ran::Ended(result) => match result.end {
            CommandEnd::Exited(0) => Tried::Worked,
            CommandEnd::Signalled(libc::SIGKILL) => Tried::Killed(nothing_runs()),
            CommandEnd::Exited(_)
            | CommandEnd::Signalled(_)
            | CommandEnd::TimedOut
            | CommandEnd::LimitReached(_)
            | CommandEnd::NotFound(_)
            | CommandEnd::CannotStart(_) => Tried::Refused(nothing_runs()),
        },
    })
}
