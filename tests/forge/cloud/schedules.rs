//! Random schedules of what goes wrong between a create and its end, and of signals: whatever comes, nothing
//! runs that forge did not name, and exit code, ledger and server agree.
//!
//! A schedule follows from its seed alone. `FORGE_SCHEDULES=1000` tries so many, from the seed in
//! `FORGE_SCHEDULES_FROM` on; a failure names both variables for its own seed. When nobody says how many,
//! a few are tried in which nothing hangs, because forge waits a minute or two for what does.

mod draw;
mod verdict;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::process::Child;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{Cloud, signal};
use crate::support::fake_daytona::Deletion;
use crate::support::fake_daytona::fault::Rule;
use crate::support::workspace::{Ended, Workspace, wait};
use draw::{Moment, Schedule};
use verdict::Seen;

/// How many are tried when nobody says.
const FEW: usize = 30;

/// How many are under way at once: nearly all of their time is waiting.
const AT_ONCE: usize = 32;

/// A program that takes longer than this hangs. The longest that forge waits for anything is two minutes.
const PATIENCE: Duration = Duration::from_secs(420);

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?;
    let text = text.to_string_lossy();
    let number = text.parse();
    Some(number.unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

/// The schedules to try.
fn schedules() -> Vec<Schedule> {
    let from = number("FORGE_SCHEDULES_FROM").unwrap_or(0);
    match number("FORGE_SCHEDULES") {
        Some(count) => (from..from + count).map(Schedule::draw).collect(),
        None => (from..)
            .map(Schedule::draw)
            .filter(|schedule| !schedule.takes_minutes())
            .take(FEW)
            .collect(),
    }
}

#[test]
fn whatever_goes_wrong_nothing_runs_that_was_not_named() {
    let schedules = schedules();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(schedule) = schedules.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let wrong = follow(schedule);
                    if !wrong.is_empty() {
                        failures.lock().unwrap().push((schedule, wrong));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort_by_key(|(schedule, _)| schedule.seed);
    // Each line of what is wrong begins with its kind.
    let mut kinds = BTreeMap::<&str, usize>::new();
    for line in failures.iter().flat_map(|(_, wrong)| wrong) {
        let (kind, _) = line.split_once(": ").unwrap_or((line, ""));
        *kinds.entry(kind).or_default() += 1;
    }
    let mut text = format!("{kinds:#?}\n");
    for (schedule, wrong) in &failures {
        let seed = schedule.seed;
        writeln!(
            text,
            "\nFORGE_SCHEDULES=1 FORGE_SCHEDULES_FROM={seed}: {schedule:#?}"
        )
        .unwrap();
        for line in wrong {
            writeln!(text, "  WRONG {line}").unwrap();
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} schedules went wrong:\n{text}",
        failures.len(),
        schedules.len()
    );
}

/// Plays a schedule, then sweeps without its faults. Gives what is wrong.
fn follow(schedule: &Schedule) -> Vec<String> {
    let workspace = Workspace::with(&[("a.sh", schedule.script)]);
    let mut options = schedule.options.clone();
    options.faults = schedule
        .faults
        .iter()
        .map(|(route, when, fault)| Rule::route(*route, *when, fault.clone()))
        .collect();
    let cloud = Cloud::new(options, workspace);
    // What is wrong is gathered, and must not be hidden by a panic.
    cloud.fake.allow_leaks();
    let child = cloud.start(schedule.arguments.iter().map(String::as_str));
    let Some((ended, signals)) = play(&cloud, child, &schedule.signals) else {
        return vec!["it hangs".to_owned()];
    };
    let seen = Seen::of(&cloud, ended, signals);
    let mut wrong = seen.wrong(schedule);
    cloud.fake.clear_faults();
    cloud.fake.advance(Duration::from_secs(600));
    wrong.extend(sweep(&cloud, &seen));
    wrong
}

/// Sends the signals at their moments. Gives how the program ended and how many it was sent, or that it hangs.
fn play(cloud: &Cloud, child: Child, moments: &[Moment]) -> Option<(Ended, usize)> {
    let began = Instant::now();
    let mut child = Draining::new(child);
    let mut sent = 0;
    for moment in moments {
        while cloud.fake.requests() < moment.requests && child.runs() {
            if began.elapsed() > PATIENCE {
                child.kill();
                return None;
            }
            wait(5);
        }
        wait(moment.milliseconds);
        if !child.runs() {
            break;
        }
        signal(&child.child, "INT");
        sent += 1;
    }
    while child.runs() {
        if began.elapsed() > PATIENCE {
            child.kill();
            return None;
        }
        wait(20);
    }
    Some((child.ended(), sent))
}

/// A program whose output is read while it runs.
struct Draining {
    child: Child,
    outputs: [std::thread::JoinHandle<String>; 2],
}

impl Draining {
    fn new(mut child: Child) -> Self {
        let read = |mut pipe: Box<dyn std::io::Read + Send>| {
            std::thread::spawn(move || {
                let mut bytes = Vec::new();
                pipe.read_to_end(&mut bytes).unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let outputs = [
            read(Box::new(child.stdout.take().unwrap())),
            read(Box::new(child.stderr.take().unwrap())),
        ];
        Self { child, outputs }
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn ended(mut self) -> Ended {
        let code = self.child.wait().unwrap().code();
        let [stdout, stderr] = self.outputs.map(|output| output.join().unwrap());
        Ended {
            code,
            stdout,
            stderr,
        }
    }
}

/// Sweeps what the run left. Gives what is wrong.
fn sweep(cloud: &Cloud, seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let Some(run) = &seen.run else {
        return wrong;
    };
    let child = cloud.start(["sweep", "--run", run]);
    let Some((ended, _)) = play(cloud, child, &[]) else {
        return vec!["the sweep hangs".to_owned()];
    };
    let said = format!("{}{}", ended.stdout, ended.stderr);
    let alive = cloud.fake.alive();
    for row in &alive {
        let named = said.contains(&row.id) || said.contains(&row.given_name);
        if !named {
            wrong.push(format!("not named by the sweep: {row:?}; it said {said}"));
        } else if row.deletion == Deletion::NotAsked {
            wrong.push(format!("alive after the sweep: {row:?}; it said {said}"));
        }
    }
    let hidden = cloud.fake.rows().iter().any(|row| row.hidden);
    let right = match ended.code {
        Some(0) => alive.is_empty(),
        Some(4) => hidden || !alive.is_empty() || seen.unclear(),
        Some(_) | None => false,
    };
    if !right {
        let (code, count) = (ended.code, alive.len());
        wrong.push(format!(
            "wrong exit code of the sweep: {code:?}, {count} alive; it said {said}"
        ));
    }
    if cloud.fake.foreign_lost() {
        wrong.push("the sweep deleted what is somebody else's".to_owned());
    }
    wrong
}
