//! Progress: what people see while a run goes on. The only file that knows indicatif.
//!
//! Promises: what a candidate says neither starts a line nor steers the terminal; a writer that fails is
//! ignored, because showing must never stop a run; memory grows with what is under way, not with what is
//! done. What a line says depends on the event alone; only the live form looks at a clock, for its timers.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{
    MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike,
};
use jiff::Timestamp;

use crate::event::{Event, EventKind, Phase, RunPlan, Subscriber};
use crate::name::TrialId;

mod lines;
mod pace;

pub use lines::Lines;
pub(crate) use lines::{Counts, Tally, line, outcome, tally, tally_of_row};
use lines::{is_of_a_trial, tag};
pub(crate) use pace::{Pace, in_words};

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Noise {
    /// Only what must not be missed: warnings, stopping, what was not deleted.
    Quiet,
    /// A line for each trial that has ended; on a terminal the counts, the last failures and what is running.
    Normal,
    /// All that happens to a trial, line by line, and trials that never ran.
    Verbose,
}

/// Where progress goes: standard error, at the edge.
pub type Output = Box<dyn Write + Send>;

/// Tells a terminal's size in columns and rows; asked again and again, since it can change.
pub type Size = Arc<dyn Fn() -> (u16, u16) + Send + Sync>;

/// So often the timers move.
const TICK: Duration = Duration::from_millis(250);
/// So many running trials have a line of their own at the most, each with its own timer.
const MAX_SHOWN: usize = 16;
/// So many of those that failed last are named.
const MAX_FAILURES: usize = 3;

/// When the last trial is thought to end; `None` where nobody can say.
type Until = Arc<Mutex<Option<Instant>>>;

/// Progress that stays in place at the bottom of a terminal, with the lines of [`Lines`] above it.
pub struct Live {
    bars: MultiProgress,
    /// All trials: the last line.
    overall: ProgressBar,
    /// How many running trials have no line: just above, when there are any.
    more: Option<ProgressBar>,
    running: BTreeMap<TrialId, Running>,
    counts: Counts,
    /// Those that failed last: above the running ones.
    failures: VecDeque<ProgressBar>,
    jobs: usize,
    pace: Pace,
    until: Until,
    /// How many there are, for what is planned later.
    objectives: u64,
    noise: Noise,
    size: Size,
}

/// A trial under way.
struct Running {
    since: Timestamp,
    phase: Option<Phase>,
    line: Option<ProgressBar>,
}

/// How many are done, and how: those that seldom are only where there are some.
fn counted(counts: &Counts, running: usize) -> String {
    let is_shown = |(tally, count): &(Tally, u64)| {
        matches!(tally, Tally::Passed | Tally::Failed) || *count > 0
    };
    let done = counts.each().into_iter().filter(is_shown);
    let done = done.map(|(tally, count)| (count, tally.as_str()));
    done.chain([(running as u64, "running")])
        .map(|(number, what)| format!("{number} {what}"))
        .collect::<Vec<_>>()
        .join(", ")
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("running", &self.running.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Live {
    /// Leaves a clean terminal when the run was given up.
    fn drop(&mut self) {
        self.finish();
    }
}

impl Subscriber for Live {
    fn on_event(&mut self, event: &Event) {
        let is_said = self.noise == Noise::Verbose || !is_of_a_trial(&event.kind);
        if let Some(line) = line(&event.kind, self.noise).filter(|_| is_said) {
            self.print(&line);
        }
        self.update(event);
    }
}

impl Live {
    /// Progress on the terminal that `to` writes to. Nothing is drawn before the run has started, and
    /// nothing stays after it has finished.
    #[must_use]
    pub fn new(to: Output, noise: Noise, size: Size) -> Self {
        let terminal = Terminal {
            to: Mutex::new(BufWriter::new(to)),
            size: Arc::clone(&size),
        };
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal), 10);
        Self {
            bars: MultiProgress::with_draw_target(target),
            overall: ProgressBar::hidden(),
            more: None,
            running: BTreeMap::new(),
            counts: Counts::default(),
            failures: VecDeque::new(),
            jobs: 1,
            pace: Pace::default(),
            until: Until::default(),
            objectives: 0,
            noise,
            size,
        }
    }

    fn begin(&mut self, plan: &RunPlan, done: u64) {
        self.objectives = plan.objectives.len() as u64;
        self.overall = self.bars.add(ProgressBar::new(plan.len() as u64));
        self.overall.set_position(done);
        self.jobs = plan.jobs;
        self.overall.set_style(overall_style(&self.until));
        self.overall.enable_steady_tick(TICK);
    }

    fn update(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted(plan) => self.begin(plan, 0),
            EventKind::RunResumed(it) => self.begin(&it.plan, it.kept),
            EventKind::TrialStarted { trial, .. } => {
                self.remove(trial);
                let running = Running {
                    since: event.at,
                    phase: None,
                    line: None,
                };
                self.running.insert(trial.clone(), running);
            }
            EventKind::PhaseStarted { trial, phase } => {
                if let Some(running) = self.running.get_mut(trial) {
                    running.phase = Some(*phase);
                    if let Some(line) = &running.line {
                        line.set_message(phase.as_str());
                    }
                }
            }
            EventKind::AttemptFailed { trial, .. } | EventKind::SlotRefused { trial, .. } => {
                self.remove(trial);
            }
            EventKind::TrialFinished(record) => {
                if let Some(running) = self.running.get(&record.trial) {
                    let took = event.at.duration_since(running.since);
                    self.pace.ended(took.unsigned_abs());
                }
                self.remove(&record.trial);
                let tally = tally(record);
                self.counts.add(tally);
                self.overall.inc(1);
                if matches!(tally, Tally::Failed | Tally::Lost) && self.noise == Noise::Normal {
                    self.tell_failure(&format!("{} {}", tag(&record.trial), outcome(record)));
                }
            }
            EventKind::ConfirmationPlanned(confirmation) => {
                let more = u64::from(confirmation.trials) * self.objectives * 2;
                self.overall.inc_length(more);
            }
            EventKind::RunFinished { .. } => return self.finish(),
            EventKind::Logged { .. }
            | EventKind::TrialRescored { .. }
            | EventKind::StopRequested { .. }
            | EventKind::BaselineRead(_)
            | EventKind::Looked(_)
            | EventKind::Warned { .. }
            | EventKind::CleanedUp(_) => return,
        }
        self.arrange(event.at);
    }

    /// Prints lines above, broken between words: a terminal would break them anywhere.
    fn print(&self, text: &str) {
        let columns = usize::from((self.size)().0.max(20));
        for line in text.lines() {
            let parts = crate::report::wrap(line, 0, 2, columns);
            for (at, part) in parts.iter().enumerate() {
                let indent = if at == 0 { "" } else { "  " };
                drop(self.bars.println(format!("{indent}{part}")));
            }
        }
    }

    /// Names one that failed, and the longest ago of the others no more.
    fn tell_failure(&mut self, what: &str) {
        let rows = usize::from((self.size)().1);
        // On a small terminal what is running matters more.
        let most = MAX_FAILURES.min(rows.saturating_sub(4) / 4);
        while self.failures.len() >= most.max(1) {
            let oldest = self.failures.pop_front();
            self.discard(oldest);
        }
        if most > 0 {
            let above = self.failures.len();
            let line = self.bars.insert(above, ProgressBar::new_spinner());
            line.set_style(style("  failed: {wide_msg}"));
            line.set_message(crate::plain::ends(what, 300));
            self.failures.push_back(line);
        }
    }

    /// When the last one ends, as far as that can be told.
    fn foresee(&self, now: Timestamp) {
        let planned = self.overall.length().unwrap_or(0);
        let waiting = planned.saturating_sub(self.overall.position() + self.running.len() as u64);
        let running = self.running.values();
        let running = running.map(|it| now.duration_since(it.since).unsigned_abs());
        let left = self.pace.left(waiting, running, self.jobs);
        let until = left.and_then(|left| Instant::now().checked_add(left));
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn remove(&mut self, trial: &TrialId) {
        let line = self.running.remove(trial).and_then(|it| it.line);
        self.discard(line);
    }

    fn discard(&self, line: Option<ProgressBar>) {
        if let Some(line) = line {
            line.finish_and_clear();
            self.bars.remove(&line);
        }
    }

    /// Gives lines to as many running trials as fit, and counts the others.
    fn arrange(&mut self, now: Timestamp) {
        // Left free: the overall line, the count of the others, and two lines of what was said.
        let rows = usize::from((self.size)().1);
        let room = rows.saturating_sub(4 + self.failures.len()).min(MAX_SHOWN);
        let mut shown = self.running.values().filter(|it| it.line.is_some()).count();
        let below = 1 + usize::from(self.more.is_some());
        for (trial, running) in &mut self.running {
            if running.line.is_none() && shown < room {
                let since = now.duration_since(running.since).unsigned_abs();
                let line = ProgressBar::new_spinner().with_elapsed(since);
                let line = self.bars.insert_from_back(below, line);
                line.set_style(style("  {elapsed:>4} {prefix} {wide_msg}"));
                line.set_prefix(tag(trial));
                line.set_message(running.phase.map_or("starting", Phase::as_str));
                line.enable_steady_tick(TICK);
                running.line = Some(line);
                shown += 1;
            }
        }
        let hidden = self.running.len() - shown;
        if hidden == 0 {
            let more = self.more.take();
            self.discard(more);
        } else {
            let more = self.more.get_or_insert_with(|| {
                let more = self.bars.insert_from_back(1, ProgressBar::new_spinner());
                more.set_style(style("  {wide_msg}"));
                more
            });
            more.set_message(format!("… and {hidden} more"));
        }
        self.foresee(now);
        let counts = counted(&self.counts, self.running.len());
        self.overall.set_message(counts);
    }

    fn finish(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
            self.discard(running.line);
        }
        for line in std::mem::take(&mut self.failures) {
            self.discard(Some(line));
        }
        let more = self.more.take();
        self.discard(more);
        self.overall.finish_and_clear();
        drop(self.bars.clear());
    }
}

/// A template of this file as a style.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn overall_style(until: &Until) -> ProgressStyle {
    let until = Arc::clone(until);
    let left = move |_: &ProgressState, to: &mut dyn fmt::Write| {
        let until = *until.lock().unwrap_or_else(PoisonError::into_inner);
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        // Before enough have ended there is nothing to tell the future from.
        let _: fmt::Result = match left {
            None => Ok(()),
            Some(left) => to.write_str(&in_words(left)),
        };
    };
    style("{bar:10} {pos}/{len} {wide_msg} {left}")
        .with_key("left", left)
        .progress_chars("━━─")
}

/// The writer, as the terminal that it leads to. Errors end here: whoever looked has gone away.
struct Terminal {
    to: Mutex<BufWriter<Output>>,
    size: Size,
}

impl fmt::Debug for Terminal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Terminal")
    }
}

impl Terminal {
    fn put(&self, text: fmt::Arguments<'_>) {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        drop(to.write_fmt(text));
    }

    /// Moves the cursor, in the direction of one of `ABCD`.
    fn shift(&self, by: usize, direction: char) {
        if by > 0 {
            self.put(format_args!("\u{1b}[{by}{direction}"));
        }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        (self.size)().0.max(20)
    }

    fn height(&self) -> u16 {
        (self.size)().1.max(5)
    }

    fn move_cursor_up(&self, by: usize) -> io::Result<()> {
        self.shift(by, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, by: usize) -> io::Result<()> {
        self.shift(by, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, by: usize) -> io::Result<()> {
        self.shift(by, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, by: usize) -> io::Result<()> {
        self.shift(by, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.put(format_args!("{text}\n"));
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.put(format_args!("{text}"));
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.put(format_args!("\r\u{1b}[2K"));
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        drop(to.flush());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{
        Cleanup, PlannedCandidate, PlannedObjective, RunPlan, StopCause, TrialEnd, TrialRecord,
        Undeleted,
    };
    use crate::score::{GateResult, Points, Weights, combine};

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Screen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Broken;

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    fn trial(candidate: &str, repeat: u32) -> TrialId {
        TrialId {
            objective: "weekly".parse().unwrap(),
            candidate: candidate.parse().unwrap(),
            repeat,
        }
    }

    fn plan(repeats: u32) -> RunPlan {
        RunPlan {
            format: 1,
            run: "0190a5d0-0000-7000-8000-00000000beef".parse().unwrap(),
            forge_version: "0.1.0".to_owned(),
            mode: "local".to_owned(),
            mode_reason: String::new(),
            isolation: String::new(),
            seed: 1,
            jobs: 2,
            candidates: vec![PlannedCandidate {
                name: "alpha".parse().unwrap(),
                description: None,
                digest: String::new(),
                differs: Vec::new(),
                repeats: std::collections::BTreeMap::new(),
            }],
            objectives: vec![PlannedObjective {
                name: "weekly".parse().unwrap(),
                title: None,
                file: None,
                digest: String::new(),
                repeats,
                output: "post.md".to_owned(),
                weights: Weights::default(),
                run_limit_s: 60.0,
                network: "open".to_owned(),
            }],
            demands: crate::event::Demands::default(),
            rule: crate::rule::Rule::default(),
            comparisons: Vec::new(),
            looks: 1,
            rejects: false,
            confirm: None,
            shard: None,
            command: None,
            terms: BTreeMap::new(),
            price_per_hour: None,
            settings: BTreeMap::new(),
            host: BTreeMap::new(),
        }
    }

    fn scored(repeat: u32, held: bool) -> EventKind {
        let gate = GateResult {
            gate: "min_bytes 11".to_owned(),
            passed: held,
            explanation: "it has 5 bytes".to_owned(),
        };
        let score = combine(
            Weights::default(),
            vec![gate],
            Vec::new(),
            Points::clamped(50.0),
        );
        EventKind::TrialFinished(Box::new(TrialRecord {
            runtime_s: Some(0.12),
            score: Some(score),
            ..TrialRecord::ended(trial("alpha", repeat), TrialEnd::Exited { code: 0 }, 1)
        }))
    }

    fn started(repeat: u32, attempt: u32) -> EventKind {
        EventKind::TrialStarted {
            trial: trial("alpha", repeat),
            attempt,
        }
    }

    fn logged(message: &str) -> EventKind {
        EventKind::Logged {
            trial: trial("alpha", 1),
            message: message.to_owned(),
        }
    }

    fn story() -> Vec<EventKind> {
        vec![
            EventKind::RunStarted(Box::new(plan(3))),
            started(1, 1),
            EventKind::PhaseStarted {
                trial: trial("alpha", 1),
                phase: Phase::Running,
            },
            logged("[Run] Executing..."),
            EventKind::AttemptFailed {
                trial: trial("alpha", 1),
                attempt: 1,
                phase: Phase::Creating,
                message: "the server answered 500".to_owned(),
            },
            started(1, 2),
            scored(1, true),
            scored(2, false),
            EventKind::Warned {
                message: "the disk is nearly full".to_owned(),
            },
            EventKind::StopRequested {
                cause: StopCause::Interrupt,
                hurry: false,
            },
            EventKind::TrialFinished(Box::new(TrialRecord::not_run(
                trial("alpha", 3),
                "the run was stopped",
            ))),
            EventKind::CleanedUp(Cleanup {
                deleted: 2,
                unconfirmed: vec![Undeleted {
                    name: "forge-1".to_owned(),
                    id: None,
                    error: "boom".to_owned(),
                }],
                ..Cleanup::default()
            }),
            EventKind::RunFinished { took_ms: 1500 },
        ]
    }

    fn tell(subscriber: &mut dyn Subscriber, kinds: Vec<EventKind>) {
        for (seq, kind) in (0..).zip(kinds) {
            subscriber.on_event(&Event {
                seq,
                at: Timestamp::UNIX_EPOCH,
                kind,
            });
        }
    }

    fn lines(noise: Noise, kinds: Vec<EventKind>) -> String {
        let screen = Screen::default();
        tell(&mut Lines::new(Box::new(screen.clone()), noise), kinds);
        screen.text()
    }

    fn live(rows: u16) -> (Screen, Live) {
        let screen = Screen::default();
        let to = Box::new(screen.clone());
        (
            screen,
            Live::new(to, Noise::Normal, Arc::new(move || (100, rows))),
        )
    }

    #[test]
    fn every_line_names_its_trial() {
        let expected = "\
3 trials: 1 candidate, 1 objective, up to 2 at once
[alpha weekly#1] attempt 1 failed while creating, trying again: the server answered 500
[alpha weekly#1] done: 75.0 points in 0.12 s
[alpha weekly#2] done in 0.12 s: disqualified by min_bytes 11: it has 5 bytes
warning: the disk is nearly full
stopping: interrupted (SIGINT)
sandboxes: 2 deleted, 1 could not be confirmed deleted
finished in 1.50 s
";
        assert_eq!(lines(Noise::Normal, story()), expected);
    }

    #[test]
    fn quiet_says_what_must_not_be_missed() {
        let expected = "\
warning: the disk is nearly full
stopping: interrupted (SIGINT)
sandboxes: 2 deleted, 1 could not be confirmed deleted
";
        assert_eq!(lines(Noise::Quiet, story()), expected);
    }

    #[test]
    fn verbose_says_phases_and_what_never_ran() {
        let text = lines(Noise::Verbose, story());
        assert!(text.contains("[alpha weekly#1] running\n"), "{text}");
        assert!(
            text.contains("[alpha weekly#1] [Run] Executing...\n"),
            "{text}"
        );
        assert!(
            text.contains("[alpha weekly#3] not run: the run was stopped\n"),
            "{text}"
        );
    }

    #[test]
    fn nothing_hostile_starts_a_line_or_steers_the_terminal() {
        let hostile = "x\n::error::pwned\r\u{1b}[2Jy";
        let text = lines(Noise::Verbose, vec![logged(hostile)]);
        assert_eq!(text, "[alpha weekly#1] x⏎::error::pwned⏎y\n");
        let (screen, mut subscriber) = live(24);
        tell(
            &mut subscriber,
            vec![
                EventKind::RunStarted(Box::new(plan(1))),
                EventKind::Warned {
                    message: hostile.to_owned(),
                },
            ],
        );
        drop(subscriber);
        assert!(screen.text().contains("x⏎::error::pwned⏎y"));
        assert!(!screen.text().contains("\u{1b}[2J"));
    }

    #[test]
    fn what_is_folded_opens_and_closes_once_and_what_must_not_be_missed_is_below() {
        let screen = Screen::default();
        let mut folded = Lines::folded(Box::new(screen.clone()), Noise::Normal);
        let hostile = "::endgroup::\n::error::pwned";
        let kinds = vec![
            EventKind::Warned {
                message: "early".to_owned(),
            },
            EventKind::RunStarted(Box::new(plan(1))),
            logged(hostile),
            EventKind::Warned {
                message: hostile.to_owned(),
            },
            scored(1, true),
            EventKind::RunFinished { took_ms: 900 },
            EventKind::Warned {
                message: "late".to_owned(),
            },
        ];
        tell(&mut folded, kinds);
        drop(folded);
        let text = screen.text();
        let commands: Vec<&str> = text.lines().filter(|it| it.starts_with("::")).collect();
        let group = "::group::1 trial: 1 candidate, 1 objective, up to 2 at once";
        assert_eq!(commands, [group, "::endgroup::"], "{text}");
        let (inside, below) = text.split_once("\n::endgroup::\n").unwrap();
        assert!(
            inside.starts_with(&format!("warning: early\n{group}\n")),
            "{text}"
        );
        assert!(inside.ends_with("finished in 0.90 s"), "{text}");
        let again = "warning: ::endgroup::⏎::error::pwned\nwarning: late\n";
        assert_eq!(below, again);
    }

    #[test]
    fn a_fold_is_closed_when_the_run_is_given_up_and_not_made_for_nothing() {
        let folded = |noise| {
            let screen = Screen::default();
            let mut folded = Lines::folded(Box::new(screen.clone()), noise);
            tell(&mut folded, vec![EventKind::RunStarted(Box::new(plan(1)))]);
            drop(folded);
            screen.text()
        };
        assert!(folded(Noise::Normal).ends_with("\n::endgroup::\n"));
        assert_eq!(folded(Noise::Quiet), "");
    }

    #[test]
    fn a_reader_that_has_gone_away_stops_nothing() {
        tell(&mut Lines::new(Box::new(Broken), Noise::Verbose), story());
        let size: Size = Arc::new(|| (0, 0));
        tell(
            &mut Live::new(Box::new(Broken), Noise::Verbose, size),
            story(),
        );
    }

    #[test]
    fn the_live_form_counts_and_says_what_does_not_fit() {
        let (screen, mut subscriber) = live(6);
        let mut kinds = vec![EventKind::RunStarted(Box::new(plan(9)))];
        kinds.extend((1..=5).map(|repeat| started(repeat, 1)));
        kinds.extend([scored(1, true), scored(2, false)]);
        // A line above forces everything below to be drawn.
        kinds.push(EventKind::Warned {
            message: "look".to_owned(),
        });
        tell(&mut subscriber, kinds);
        let text = screen.text();
        let last = &text[text.rfind("look").unwrap()..];
        for part in [
            "[alpha weekly#3] starting",
            "[alpha weekly#4] starting",
            "… and 1 more",
            "2/9 1 passed, 1 failed, 3 running",
        ] {
            assert!(last.contains(part), "{part}: {last:?}");
        }
        assert!(!last.contains("#5]"), "{last:?}");
        let order = ["#3]", "#4]", "… and", "2/9"].map(|part| last.find(part).unwrap());
        assert!(order.is_sorted(), "{last:?}");
    }

    #[test]
    fn the_live_form_names_the_last_failures_and_estimates_when_it_can() {
        let (screen, mut subscriber) = live(24);
        let mut kinds = vec![EventKind::RunStarted(Box::new(plan(9)))];
        for repeat in 1..=6 {
            kinds.extend([
                started(repeat, 1),
                logged("chatter"),
                scored(repeat, repeat == 1),
            ]);
        }
        kinds.push(EventKind::Warned {
            message: "look".to_owned(),
        });
        tell(&mut subscriber, kinds);
        let text = screen.text();
        let last = &text[text.rfind("look").unwrap()..];
        for repeat in 4..=6 {
            let line = format!("failed: [alpha weekly#{repeat}] done in 0.12 s: disqualified by");
            assert!(last.contains(&line), "{line}: {last:?}");
        }
        assert!(
            !last.contains("weekly#3]") && !last.contains("weekly#1]"),
            "{last:?}"
        );
        assert!(last.contains("a few seconds left"), "{last:?}");
        assert!(
            !text.contains("chatter") && !text.contains("75.0 points"),
            "{text:?}"
        );
    }

    #[test]
    fn three_hundred_at_once_fit_the_screen() {
        let screen = Screen::default();
        let size: Size = Arc::new(|| (80, 24));
        let mut subscriber = Live::new(Box::new(screen.clone()), Noise::Normal, size);
        let mut kinds = vec![EventKind::RunStarted(Box::new(plan(900)))];
        kinds.extend((1..=300).map(|repeat| started(repeat, 1)));
        kinds.extend((301..=310).map(|repeat| scored(repeat, false)));
        kinds.push(EventKind::Warned {
            message: "look".to_owned(),
        });
        tell(&mut subscriber, kinds);
        let text = screen.text();
        let last = &text[text.rfind("look").unwrap()..];
        let lines: Vec<&str> = last.lines().collect();
        assert!(lines.len() <= 24, "{last}");
        for line in &lines[1..] {
            let line = line.replace("\u{1b}[2K", "");
            assert!(
                unicode_width::UnicodeWidthStr::width(line.trim_end()) <= 80,
                "{line:?}"
            );
        }
        assert!(last.contains("… and 284 more"), "{last}");
        assert!(
            last.contains("10/900 0 passed, 10 failed, 300 running"),
            "{last}"
        );
    }

    #[test]
    fn a_flood_is_summed_up() {
        let kinds = (1..=1_000)
            .map(|repeat| scored(repeat, repeat % 2 == 0))
            .collect();
        let text = lines(Noise::Normal, kinds);
        assert_eq!(text.lines().count(), 21, "{text}");
        let last = text.lines().last().unwrap();
        assert!(
            last.starts_with("… 980 more trials ended: 490 passed, 490 failed ("),
            "{last}"
        );
        let kinds = (1..=30).map(|repeat| scored(repeat, true)).collect();
        assert_eq!(lines(Noise::Verbose, kinds).lines().count(), 30);
    }

    #[test]
    fn the_live_form_leaves_nothing_behind() {
        let (screen, mut subscriber) = live(24);
        tell(&mut subscriber, story());
        drop(subscriber);
        let text = screen.text();
        assert!(text.contains("finished in 1.50 s"), "{text:?}");
        assert!(
            text.contains("3/3 1 passed, 1 failed, 1 not run, 0 running"),
            "{text:?}"
        );
        let end = &text[text.rfind("\u{1b}[2K").unwrap()..];
        assert!(!end.contains("/3"), "{end:?}");
    }
}
