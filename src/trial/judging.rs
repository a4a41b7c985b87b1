//! Judging where it can be ended: gates and built-in scorers in a process of their own, with limits.
//!
//! An artifact is hostile: a path such as `$..*..*`, a schema that refers to itself or a pattern can take any
//! time and memory over it, and no thread can be stopped. So what is not plain ([`Check::is_plain`]) is judged
//! by forge run again, one process at a time, for one trial each. The system ends it at its limits
//! (192 MiB of memory, 10 s of computing), and it ends when the future is dropped, and with forge.
//!
//! Promises: an artifact that passes a limit fails that gate, or has 0 points from that scorer, with the limit
//! named; all others are judged. One that breaks the process twice at the same place has 0 points there too:
//! breaking the judge does not help.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;

use crate::objective::Objective;
use crate::plain;
use crate::problem::{Problem, Problems};
use crate::quantity::{ByteCount, show_duration};
use crate::score::quality::Quality;
use crate::score::{Check, Evidence, Judgement, Limit};

pub mod process;

/// What judging a trial may take of memory, besides the program itself.
const MEMORY: ByteCount = ByteCount::mib(192);
/// What it may take of a processor's time.
const COMPUTING: Duration = Duration::from_secs(10);
/// How long it may take altogether, on a machine that is busy.
const ALTOGETHER: Duration = Duration::from_secs(120);
/// The longest artifact, in bytes, that is judged on the runtime's own threads, where that is plain.
const QUICK: u64 = 16 << 10;
/// How much of what a process says when it dies is read.
const LAST_WORDS: u64 = 4096;

/// Everything that a judging process is told.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    evidence: Arc<Evidence>,
    /// Gates before scorers. When a gate fails, only gates are judged.
    checks: Vec<Check>,
}

/// Where gates and built-in scorers judge. One for a run: only one trial at a time takes memory.
#[derive(Debug)]
pub struct Judging {
    /// Forge itself, or the helper that was found. Without it only what is plain can be judged.
    program: Option<PathBuf>,
    /// The folder in which private ones are made, for what is judged and has secrets in it.
    scratch: PathBuf,
    turn: Semaphore,
}

/// How a judging process ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It answered what it could.
    Done,
    /// The artifact passed a limit.
    Passed(Limit),
    /// It died for another reason.
    Died(String),
}

impl Judging {
    /// `program` is what is started: see [`crate::sandbox::local::LocalOptions::helper`]. Private folders are
    /// made in `scratch`.
    #[must_use]
    pub fn new(program: Option<PathBuf>, scratch: PathBuf) -> Self {
        let turn = Semaphore::new(1);
        Self {
            program,
            scratch,
            turn,
        }
    }

    /// The folder in which private ones are made.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// Looks whether these objectives can be judged at all.
    ///
    /// # Errors
    /// A problem for each that needs a program where there is none.
    pub fn can_judge<'a>(
        &self,
        objectives: impl IntoIterator<Item = &'a Objective>,
    ) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let needs = |it: &&Objective| self.program.is_none() && needs_program(it);
        for objective in objectives.into_iter().filter(needs) {
            let message = "it can only be judged with limits, by the program `forge`, which is neither beside \
                           this program nor on PATH";
            let hint =
                "install the same version of forge, or give its path to `ForgeBuilder::judge`";
            problems.push(Problem::setting(objective.name.as_str(), message).with_hint(hint));
        }
        problems.or(())
    }

    /// Judges the checks in their order; when a gate fails, only gates.
    ///
    /// # Errors
    /// When this machine cannot start a process, or it cannot be spoken to.
    ///
    /// # Cancel safety
    /// Dropping the future ends the process.
    pub(super) async fn judge(
        &self,
        evidence: &Arc<Evidence>,
        checks: Vec<Check>,
    ) -> io::Result<Vec<Judgement>> {
        let is_plain = checks.iter().all(Check::is_plain);
        if is_plain && evidence.bytes() <= QUICK {
            return Ok(judged_here(evidence, &checks));
        }
        // It is never closed.
        let _turn = self.turn.acquire().await.map_err(io::Error::other)?;
        if let Some(program) = &self.program {
            return judged_elsewhere(program, evidence, &checks).await;
        }
        let evidence = Arc::clone(evidence);
        let work = tokio::task::spawn_blocking(move || judged_here(&evidence, &checks));
        work.await.map_err(io::Error::other)
    }
}

/// Whether an objective can only be judged in a process of its own.
fn needs_program(objective: &Objective) -> bool {
    checks(objective).iter().any(|check| !check.is_plain())
}

/// What of an objective is judged from the evidence alone: its gates, then its built-in scorers.
pub(super) fn checks(objective: &Objective) -> Vec<Check> {
    let scorers = objective.scoring.quality.iter().map(|it| &it.scorer);
    let gates = objective.gates.iter().cloned().map(Check::Gate);
    gates
        .chain(
            scorers
                .filter(|it| is_built_in(it))
                .cloned()
                .map(Check::Scorer),
        )
        .collect()
}

/// Whether a scorer needs nothing but the evidence.
pub(super) const fn is_built_in(quality: &Quality) -> bool {
    match quality {
        Quality::Contains(_)
        | Quality::Regex(..)
        | Quality::Length(..)
        | Quality::JsonSchema(_)
        | Quality::JsonPath(..)
        | Quality::Equals(_)
        | Quality::Golden { .. } => true,
        Quality::Command(_) | Quality::Own(_) => false,
    }
}

/// Judges in order, but no scorer once a gate has failed.
fn in_order<'a>(
    checks: &'a [Check],
    evidence: &'a Evidence,
) -> impl Iterator<Item = Judgement> + 'a {
    let mut is_disqualified = false;
    checks.iter().map_while(move |check| {
        if is_disqualified && matches!(check, Check::Scorer(_)) {
            return None;
        }
        let judgement = check.judge(evidence);
        is_disqualified |= judgement.disqualifies();
        Some(judgement)
    })
}

fn judged_here(evidence: &Evidence, checks: &[Check]) -> Vec<Judgement> {
    in_order(checks, evidence).collect()
}

async fn judged_elsewhere(
    program: &Path,
    evidence: &Arc<Evidence>,
    checks: &[Check],
) -> io::Result<Vec<Judgement>> {
    let mut judgements: Vec<Judgement> = Vec::new();
    let mut died_before = None;
    loop {
        let at = judgements.len();
        let is_disqualified = judgements.iter().any(Judgement::disqualifies);
        let left = checks.iter().skip(at);
        let left = left.filter(|check| !is_disqualified || matches!(check, Check::Gate(_)));
        let left: Vec<Check> = left.cloned().collect();
        let Some(next) = left.first().cloned() else {
            return Ok(judgements);
        };
        let question = Question {
            evidence: Arc::clone(evidence),
            checks: left,
        };
        let end = ask(program, &question, &mut judgements).await?;
        let stuck = checks.get(judgements.len()).cloned().unwrap_or(next);
        match end {
            End::Done => return Ok(judgements),
            End::Passed(limit) => judgements.push(stuck.refused(limit.to_string())),
            End::Died(why) if died_before == Some(judgements.len()) => {
                let why = format!("the artifact cannot be judged: {why}, twice");
                judgements.push(stuck.refused(why));
            }
            End::Died(_) => died_before = Some(judgements.len()),
        }
    }
}

/// Starts a process and takes its judgements until it ends.
async fn ask(
    program: &Path,
    question: &Question,
    judgements: &mut Vec<Judgement>,
) -> io::Result<End> {
    let (mut child, socket) = start(program)?;
    let (answers, mut to) = socket.into_split();
    let told = async {
        let mut text = serde_json::to_vec(question)?;
        text.push(b'\n');
        to.write_all(&text).await
    };
    let mut answers = BufReader::new(answers).lines();
    let deadline = tokio::time::Instant::now() + ALTOGETHER;
    let hear = async {
        match told.await {
            // It died before it had read everything, and says why by that.
            Ok(()) | Err(_) => {}
        }
        let is_understood = answers.next_line().await?.is_some();
        while let Some(line) = answers.next_line().await? {
            judgements.push(serde_json::from_str(&line)?);
        }
        let status = child.wait().await?;
        io::Result::Ok((is_understood, status))
    };
    let Ok(heard) = tokio::time::timeout_at(deadline, hear).await else {
        return Ok(End::Passed(Limit::Time(show_duration(ALTOGETHER))));
    };
    let said = last_words(&mut child).await;
    let (is_understood, status) = heard?;
    match end(status, &said) {
        // It never came to the artifact.
        End::Died(why) if !is_understood => Err(io::Error::other(why)),
        end @ (End::Done | End::Passed(_) | End::Died(_)) => Ok(end),
    }
}

/// The process, and the socket over which it is asked and answers, and with whose end it ends.
fn start(program: &Path) -> io::Result<(Child, UnixStream)> {
    let (mine, theirs) = std::os::unix::net::UnixStream::pair()?;
    mine.set_nonblocking(true)?;
    let child = Command::new(program)
        .arg(process::ARGUMENT)
        .env_clear()
        // Address space that is only kept in reserve would count.
        .env("MALLOC_ARENA_MAX", "1")
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        // What the terminal sends to forge is forge's to handle.
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            let text = format!("{}: {error}", program.display());
            io::Error::new(error.kind(), text)
        })?;
    Ok((child, UnixStream::from_std(mine)?))
}

async fn last_words(child: &mut Child) -> String {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // Nothing depends on it but the words for what went wrong.
        stderr.take(LAST_WORDS).read_to_end(&mut said).await.ok();
    }
    String::from_utf8_lossy(&said).into_owned()
}

/// What the end of a process means.
fn end(status: ExitStatus, said: &str) -> End {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = status
        .signal()
        .and_then(rustix::process::Signal::from_named_raw);
    match signal {
        None if status.success() => End::Done,
        Some(rustix::process::Signal::XCPU) => {
            let limit = format!("{} of computing time", show_duration(COMPUTING));
            End::Passed(Limit::Time(limit))
        }
        Some(rustix::process::Signal::ABORT) if said.contains("memory allocation of") => {
            End::Passed(Limit::Memory(format!("{MEMORY} of memory")))
        }
        Some(rustix::process::Signal::ABORT) if said.contains("overflowed its stack") => {
            End::Passed(Limit::Depth)
        }
        None | Some(_) => {
            let last = said.lines().rev().find(|line| !line.trim().is_empty());
            let last = last.map_or(String::new(), |line| {
                format!(": {}", plain::last(line, 120))
            });
            End::Died(format!("its process ended with {status}{last}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;
    use crate::score::gate::Gate;

    #[test]
    fn without_a_program_only_what_is_plain_can_be_judged() {
        let mut objective = Objective::literal("do it").unwrap();
        let judging =
            |program: Option<&str>| Judging::new(program.map(PathBuf::from), "/tmp".into());
        let mut check = |gate, can: bool| {
            objective.gates.push(gate);
            assert_eq!(judging(None).can_judge([&objective]).is_ok(), can);
            assert!(judging(Some("forge")).can_judge([&objective]).is_ok());
        };
        check(Gate::Contains("a".to_owned()), true);
        check(
            Gate::Regex(crate::score::pattern::compile("a").unwrap()),
            false,
        );
    }

    #[test]
    fn the_end_of_a_process_says_which_limit_was_passed() {
        let time =
            "the artifact passes a limit: judging it takes more than 10.0 s of computing time";
        let memory = "the artifact passes a limit: judging it takes more than 192 MiB of memory";
        let depth = "the artifact passes a limit: it is nested too deeply";
        for (status, said, words) in [
            (0, "", ""),
            (24, "", time),
            (6, "memory allocation of 8 bytes failed\n", memory),
            (6, "\nthread 'main' has overflowed its stack\nfatal", depth),
            (6, "", "its process ended with signal: 6 (SIGABRT)"),
            (
                101 << 8,
                "panicked\n\n",
                "its process ended with exit status: 101: panicked",
            ),
        ] {
            let shown = match end(ExitStatus::from_raw(status), said) {
                End::Done => String::new(),
                End::Passed(limit) => limit.to_string(),
                End::Died(why) => why,
            };
            assert!(
                shown.starts_with(words) && shown.is_empty() == words.is_empty(),
                "{shown}"
            );
        }
    }
}
