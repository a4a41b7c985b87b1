//! The course of one command: when its time is over, what is said then, and how it ended.
//!
//! Promises: pure, and without a clock; whatever the lines say, it ends.

use std::time::Duration;

use tokio::time::Instant;

use crate::plain;
use crate::quantity::ByteCount;
use crate::sandbox::{Command, CommandEnd, Stream};

/// How long a sandbox may take to be cut off from the network before a command is started in it.
pub(crate) const CUT_OFF: Duration = Duration::from_secs(30);
/// How long what is not the program's own time may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a program may take to tidy up that was asked to end.
const GRACE: Duration = Duration::from_secs(2);

/// How much later something may be heard than it was said, on a machine that is not overloaded.
const LAG: Duration = Duration::from_millis(250);

/// What is to be said to the first process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Say {
    /// Asks every process to end.
    Term,
    /// Ends every process.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Starting,
    Running,
    Asked,
    Ending,
}

/// Why a course has no end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Astray {
    /// A line makes no sense.
    Nonsense(String),
    /// Nothing is heard.
    Silence,
}

/// What the first process says of the command itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    word: String,
    code: i32,
    pub(crate) took: Duration,
    /// Whether the network was tried and is shut; `None` when nobody asked.
    pub(crate) network: Option<bool>,
    reason: String,
}

/// What the kernel has counted since the sandbox began, and what was found at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Processes that would not end.
    pub(crate) left: u64,
    /// Processes that the kernel has ended because there was no memory.
    pub(crate) killed: u64,
    /// Processes that the kernel has refused.
    pub(crate) refused: u64,
    /// Processor time, in microseconds.
    pub(crate) spent: u64,
    /// Whether nothing more can be written into the home.
    pub(crate) is_full: bool,
}

/// What a sandbox may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) memory: ByteCount,
    pub(crate) disk: ByteCount,
    pub(crate) processes: u32,
}

/// The course.
#[derive(Debug)]
pub(crate) struct Course {
    step: Step,
    limit: Duration,
    /// When something must have been heard.
    pub(crate) deadline: Instant,
    is_overdue: bool,
    pub(crate) ended: Option<Ended>,
    /// When the program was started, and how long it ran as far as was seen from here.
    started: Option<Instant>,
    pub(crate) seen: Duration,
    pub(crate) tally: Option<Tally>,
    is_marked: bool,
}

impl Course {
    pub(crate) fn new(limit: Duration, now: Instant) -> Self {
        Self {
            step: Step::Starting,
            limit,
            deadline: now + CUT_OFF + PATIENCE,
            is_overdue: false,
            ended: None,
            started: None,
            seen: Duration::ZERO,
            tally: None,
            is_marked: false,
        }
    }

    /// Whether all is said.
    pub(crate) const fn is_over(&self) -> bool {
        self.tally.is_some() && self.is_marked
    }

    /// Hears a line, and decides what is to be said.
    pub(crate) fn hear(
        &mut self,
        stream: Stream,
        words: &str,
        now: Instant,
    ) -> Result<Option<Say>, Astray> {
        if stream == Stream::Stderr {
            self.is_marked = true;
            return Ok(None);
        }
        let nonsense = || Astray::Nonsense(plain::short(words, 100));
        let (word, rest) = words.split_once(' ').unwrap_or((words, ""));
        match (word, self.step) {
            ("started", Step::Starting) => {
                self.step = Step::Running;
                self.started = Some(now);
                self.deadline = now + self.limit;
                Ok(None)
            }
            ("ended", Step::Starting | Step::Running | Step::Asked) => {
                self.ended = Some(ended(rest).ok_or_else(nonsense)?);
                Ok(Some(self.end(now)))
            }
            ("gone", Step::Starting | Step::Running | Step::Asked) => Ok(Some(self.end(now))),
            ("left", Step::Ending) => {
                self.tally = Some(tally(rest).ok_or_else(nonsense)?);
                Ok(None)
            }
            // Said before it heard what was said to it.
            ("gone" | "ended", Step::Ending) => Ok(None),
            _ => Err(nonsense()),
        }
    }

    /// Decides what is to be said when nothing was heard until the deadline.
    pub(crate) fn wake(&mut self, now: Instant) -> Result<Say, Astray> {
        match self.step {
            Step::Running => {
                self.is_overdue = true;
                self.step = Step::Asked;
                self.deadline = now + GRACE;
                Ok(Say::Term)
            }
            Step::Asked => Ok(self.end(now)),
            Step::Starting | Step::Ending => Err(Astray::Silence),
        }
    }

    fn end(&mut self, now: Instant) -> Say {
        self.seen = self.started.map_or(Duration::ZERO, |started| now - started);
        self.step = Step::Ending;
        self.deadline = now + PATIENCE;
        Say::End
    }

    /// How long it took: what was measured beside it, but never much less than what was seen from here, because the
    /// line could be the program's.
    pub(crate) fn took(&self) -> Duration {
        let said = self.ended.as_ref().map_or(self.seen, |ended| ended.took);
        said.max(self.seen.saturating_sub(LAG))
    }

    /// How it ended. `before` is the tally at the end of the command before it, `said` the first line of its errors.
    /// `None` where it was not started, because the network is open that was to be shut.
    pub(crate) fn judge(
        &self,
        command: &Command,
        before: &Tally,
        limits: &Limits,
        said: &str,
    ) -> Option<CommandEnd> {
        let now = self.tally.unwrap_or_default();
        let killed = now.killed > before.killed;
        let refused = now.refused > before.refused;
        let processes = || {
            let allowed = limits.processes;
            CommandEnd::LimitReached(format!(
                "no more processes could be started; {allowed} are allowed"
            ))
        };
        let end = match &self.ended {
            _ if self.is_overdue => CommandEnd::TimedOut,
            // Its shell was killed: by whom, if not by the program.
            None => CommandEnd::Signalled(9),
            Some(ended) => ended.told(command, said)?,
        };
        let has_failed = match end {
            CommandEnd::Exited(code) => code != 0,
            CommandEnd::Signalled(_) | CommandEnd::TimedOut => true,
            CommandEnd::LimitReached(_) | CommandEnd::NotFound(_) | CommandEnd::CannotStart(_) => {
                false
            }
        };
        Some(match (has_failed, killed, refused, now.is_full) {
            (true, true, ..) => CommandEnd::LimitReached(format!(
                "ran out of memory; {} are allowed, files included",
                limits.memory
            )),
            (true, false, true, _) => processes(),
            (true, false, false, true) => {
                CommandEnd::LimitReached(format!("its disk is full; {} are allowed", limits.disk))
            }
            (true, false, false, false) | (false, ..) => end,
        })
    }
}

impl Ended {
    /// What it says of a command. `None` when that was not started, because of the network.
    fn told(&self, command: &Command, said: &str) -> Option<CommandEnd> {
        Some(match (self.word.as_str(), self.code) {
            ("open", _) => return None,
            ("notfound", _) => {
                let programs = command.programs.iter().filter_map(|words| words.first());
                CommandEnd::NotFound(programs.cloned().collect())
            }
            ("cannotstart", _) => CommandEnd::CannotStart(plain::ends(&self.reason, 200)),
            ("nowhere", _) => {
                CommandEnd::CannotStart("its working directory cannot be entered".to_owned())
            }
            ("signalled", code) => CommandEnd::Signalled(code),
            (_, code @ (126 | 127)) => match said.strip_prefix("env: ") {
                Some(why) => CommandEnd::CannotStart(plain::ends(why, 200)),
                None => CommandEnd::Exited(code),
            },
            (_, code) => CommandEnd::Exited(code),
        })
    }
}

/// Reads `END CODE TOOK CHECKED REASON...`.
fn ended(text: &str) -> Option<Ended> {
    let mut words = text.splitn(5, ' ');
    let (word, code) = (words.next()?, words.next()?.parse().ok()?);
    let took = Duration::from_nanos(words.next()?.parse().ok()?);
    let network = match words.next()? {
        "no" => None,
        "yes" => Some(true),
        "unable" => Some(false),
        _ => return None,
    };
    let known = [
        "exited",
        "signalled",
        "notfound",
        "cannotstart",
        "nowhere",
        "open",
    ];
    known.contains(&word).then(|| Ended {
        word: word.to_owned(),
        code,
        took,
        network,
        reason: words.next().unwrap_or_default().to_owned(),
    })
}

/// Reads `LEFT KILLED REFUSED SPENT FREE`.
/// Reads what follows `left`.
pub(crate) fn tally(text: &str) -> Option<Tally> {
    let mut words = text.split(' ');
    let mut number = || words.next()?.parse::<u64>().ok();
    Some(Tally {
        left: number()?,
        killed: number()?,
        refused: number()?,
        spent: number()?,
        is_full: words.next()? == "0",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Stage;

    fn command() -> Command {
        Command {
            programs: vec![vec!["agent".to_owned()], vec!["other".to_owned()]],
            arguments: Vec::new(),
            read: Vec::new(),
            env: std::collections::BTreeMap::new(),
            limit: Duration::from_secs(10),
            output_limit: ByteCount(1),
            stage: Stage::Run,
            then_collect: None,
        }
    }

    const LIMITS: Limits = Limits {
        memory: ByteCount::mib(64),
        disk: ByteCount::mib(1),
        processes: 100,
    };

    fn judged(lines: &[&str], said: &str) -> Option<CommandEnd> {
        let now = Instant::now();
        let mut course = Course::new(Duration::from_secs(10), now);
        for line in lines {
            if *line == "wait" {
                course.wake(now).unwrap();
            } else {
                course.hear(Stream::Stdout, line, now).unwrap();
            }
        }
        course.hear(Stream::Stderr, "", now).unwrap();
        assert!(course.is_over());
        course.judge(&command(), &Tally::default(), &LIMITS, said)
    }

    #[test]
    fn how_a_command_ended_is_told_by_what_is_known() {
        let left = "left 0 0 0 5 900";
        let reached = |what: &str| Some(CommandEnd::LimitReached(what.to_owned()));
        let memory = reached("ran out of memory; 64 MiB are allowed, files included");
        let processes = reached("no more processes could be started; 100 are allowed");
        for (lines, said, expected) in [
            (
                vec!["started", "ended exited 7 5 no -", left],
                "",
                Some(CommandEnd::Exited(7)),
            ),
            (
                vec!["started", "ended signalled 9 5 no -", left],
                "",
                Some(CommandEnd::Signalled(9)),
            ),
            (
                vec!["started", "gone", left],
                "",
                Some(CommandEnd::Signalled(9)),
            ),
            (
                vec!["started", "ended exited 0 5 no -", "gone", left],
                "",
                Some(CommandEnd::Exited(0)),
            ),
            (
                vec!["started", "wait", "wait", left],
                "",
                Some(CommandEnd::TimedOut),
            ),
            (
                vec!["started", "wait", "ended exited 0 5 no -", left],
                "",
                Some(CommandEnd::TimedOut),
            ),
            (
                vec!["ended notfound 0 0 no -", left],
                "",
                Some(CommandEnd::NotFound(vec![
                    "agent".to_owned(),
                    "other".to_owned(),
                ])),
            ),
            (vec!["ended open 0 0 yes -", left], "", None),
            (
                vec!["started", "ended exited 127 5 no -", left],
                "env: x: No such file",
                Some(CommandEnd::CannotStart("x: No such file".to_owned())),
            ),
            (
                vec!["started", "ended exited 1 5 no -", "left 0 1 0 5 900"],
                "",
                memory.clone(),
            ),
            (
                vec!["started", "gone", "left 0 2 9 5 0"],
                "",
                memory.clone(),
            ),
            (
                vec!["started", "ended exited 0 5 no -", "left 0 1 1 5 0"],
                "",
                Some(CommandEnd::Exited(0)),
            ),
            (
                vec!["started", "ended exited 1 5 no -", "left 0 0 3 5 0"],
                "",
                processes.clone(),
            ),
            (
                vec!["started", "wait", "wait", "left 0 0 3 5 0"],
                "",
                processes,
            ),
            (
                vec!["started", "wait", "wait", "left 0 1 0 5 9"],
                "",
                memory,
            ),
            (
                vec!["started", "wait", "wait", "left 0 0 0 5 9"],
                "",
                Some(CommandEnd::TimedOut),
            ),
            (
                vec!["started", "ended exited 1 5 no -", "left 0 0 0 5 0"],
                "",
                reached("its disk is full; 1 MiB are allowed"),
            ),
        ] {
            assert_eq!(judged(&lines, said), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_is_not_believed() {
        let now = Instant::now();
        let after = |seconds| now + Duration::from_secs(seconds);
        for (said, seen, took) in [("5000000000", 5, 5000), ("1", 5, 4750), ("1", 0, 0)] {
            let mut course = Course::new(Duration::from_secs(10), now);
            course.hear(Stream::Stdout, "started", now).unwrap();
            let line = format!("ended exited 0 {said} no -");
            course.hear(Stream::Stdout, &line, after(seen)).unwrap();
            assert_eq!(course.took().as_millis(), took, "{said}");
        }
    }

    #[test]
    fn what_makes_no_sense_and_silence_are_no_ends() {
        let now = Instant::now();
        let mut course = Course::new(Duration::from_secs(1), now);
        for bad in [
            "",
            "left 0 0 0 5 1",
            "ended",
            "ended flew 0 1 no -",
            "ended exited x 1 no -",
        ] {
            assert!(course.hear(Stream::Stdout, bad, now).is_err(), "{bad}");
        }
        assert_eq!(course.wake(now), Err(Astray::Silence));
        let mut course = Course::new(Duration::from_secs(1), now);
        assert_eq!(course.hear(Stream::Stdout, "gone", now), Ok(Some(Say::End)));
        assert_eq!(course.wake(now), Err(Astray::Silence));
    }
}
