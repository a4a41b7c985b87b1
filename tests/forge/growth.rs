//! What forge does for a trial costs the same in a run of a few trials and in one of many. Counted, never timed: what is
//! asked of memory, written and made.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use forge::event::{Phase, TrialEnd, TrialRecord};
use forge::report::{Format, Report};
use forge::run::state::{Effect, Group, Input, Loss, Planned, SetupEnd, State};
use forge::sandbox::{ErrorKind, Remedy};
use forge::store::{RunFolder, replay};
use forge::summary::RunSummary;
use forge::verdict;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::support::allocations::{Allocations, counted};
use crate::support::stored;
use crate::support::workspace::Workspace;

/// What a trial of the largest may cost at the most, as a ratio to one of the smallest: the logarithm of a tree, and a
/// list that has doubled.
const FLAT: f64 = 1.5;

#[track_caller]
fn assert_flat(what: &str, [few, many]: [f64; 2]) {
    let ratio = many / few;
    assert!(
        ratio < FLAT,
        "{what}: {few:.1} a trial of few, {many:.1} of many"
    );
}

#[track_caller]
fn assert_allocates_flat(what: &str, of: [(u32, Allocations); 2]) {
    let each = |what: &dyn Fn(&Allocations) -> u64| {
        of.map(|(trials, it)| what(&it) as f64 / f64::from(trials))
    };
    assert_flat(&format!("{what}, allocations"), each(&|it| it.times));
    assert_flat(&format!("{what}, bytes asked for"), each(&|it| it.bytes));
}

/// A run of so many trials, all of which are lost once before they have their result.
fn decided(trials: u32) -> (usize, Allocations) {
    let group = Group {
        objective: "o".parse().unwrap(),
        candidate: "c".parse().unwrap(),
        class: 0,
        setup: 0,
    };
    let planned = (1..=trials).map(|repeat| Planned {
        group: 0,
        repeat,
        stage: 1,
        is_known: false,
    });
    let planned = planned.collect();
    counted(move || {
        let mut state = State::new(vec![group.clone()], planned, 8);
        let (mut now, mut told) = (Instant::now(), 0);
        let mut inputs = vec![Input::Tick];
        while let Some(input) = inputs.pop() {
            let effects = state.handle(input, now);
            told += effects.len();
            for effect in effects {
                match effect {
                    Effect::StartTrial(trial, attempt) => {
                        let repeat = u32::try_from(trial).unwrap() + 1;
                        let end = TrialEnd::Exited { code: 0 };
                        let record = TrialRecord::ended(group.trial(repeat), end, attempt);
                        let record = Box::new(record);
                        inputs.push(if attempt == 1 {
                            Input::Lost(trial, lost(record))
                        } else {
                            Input::Finished(trial, record, SetupEnd::Done)
                        });
                    }
                    Effect::WakeAt(_) if inputs.is_empty() => inputs.push(Input::Tick),
                    Effect::Finish => return told,
                    Effect::Emit(_)
                    | Effect::FailTrial(..)
                    | Effect::Press(_)
                    | Effect::WakeAt(_)
                    | Effect::Look(_)
                    | Effect::Confirm => {}
                }
            }
            if let [Input::Tick] = inputs[..] {
                now += Duration::from_secs(60);
            }
        }
        panic!("it does not end");
    })
}

fn lost(record: Box<TrialRecord>) -> Loss {
    Loss {
        phase: Phase::Creating,
        kind: ErrorKind::Server,
        remedy: Remedy::Retry { after: None },
        message: "the server is away".to_owned(),
        hint: None,
        record,
    }
}

#[test]
fn what_is_decided_about_a_trial_costs_the_same_however_many_there_are() {
    let [few, many] = [100, 3_000].map(|trials| (trials, decided(trials)));
    let effects = [few, many].map(|(trials, (told, _))| told as f64 / f64::from(trials));
    assert_flat("effects", effects);
    assert_allocates_flat(
        "decisions",
        [few, many].map(|(trials, (_, it))| (trials, it)),
    );
}

/// Two candidates do two objectives, each once.
fn small_run() -> Workspace {
    let script = "#!/bin/sh\necho 'what was asked for' > \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", script), ("b.sh", script)])
        .file("objectives/more.yaml", "prompt: do more\n");
    workspace.forge(["--isolation", "process"]).expect(0);
    workspace
}

fn write_reports(folder: &RunFolder, summary: &RunSummary) {
    let standings = summary.standings();
    let verdicts = verdict::of(summary, &standings);
    let (exit, reasons) = forge::exit::decide(summary, &standings, &verdicts);
    let report = Report {
        summary,
        standings: &standings,
        verdicts: &verdicts,
        exit,
        reasons: &reasons,
        sweep: "",
        details: folder,
    };
    for format in Format::ALL {
        report.write(format, &mut io::sink()).unwrap();
    }
}

#[test]
fn a_trial_of_a_stored_run_costs_the_same_to_be_read_and_reported_however_many_there_are() {
    let of = [25_u32, 250].map(|repeats| {
        let workspace = small_run();
        let path = workspace.run_folder();
        stored::multiply(&path, repeats as usize).unwrap();
        let folder = RunFolder::find(&workspace.path("artifacts"), "latest").unwrap();
        let (summary, read) = counted(|| replay(&folder).unwrap());
        assert_eq!(summary.trials.len(), repeats as usize * 4);
        assert_eq!(summary.lost(), 0);
        let ((), reported) = counted(|| write_reports(&folder, &summary));
        ((repeats * 4, read), (repeats * 4, reported))
    });
    assert_allocates_flat("reading", of.map(|it| it.0));
    assert_allocates_flat("reporting", of.map(|it| it.1));
    // What is held for a trial that has nothing to say, besides what any run has.
    let [(few, less), (many, more)] = of.map(|it| it.0);
    let each = (more.most - less.most) as f64 / f64::from(many - few);
    assert!(each < 150.0, "{each:.0} bytes are held for every trial");
}

/// Bytes written, calls that write, and files made by a run of so many trials.
fn done(repeats: u32) -> [f64; 3] {
    let workspace = small_run();
    fs::remove_dir_all(workspace.path("artifacts")).unwrap();
    let repeats_text = repeats.to_string();
    let mut command = workspace.command(["--isolation", "process", "-j4", "-k", &repeats_text]);
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // Of a process that has ended only root may open it, and whoever has it open read it.
    let mut done = File::open(format!("/proc/{}/io", child.id())).unwrap();
    let pid = Pid::from_child(&child);
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(pid), options).unwrap();
    // It has ended, and what it has done is still there to be read.
    let mut text = String::new();
    done.read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success());
    let figure = |name: &str| -> f64 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().parse().unwrap()
    };
    let files = files_below(&workspace.path("artifacts")) as f64;
    let trials = f64::from(repeats * 4);
    [
        figure("wchar:") / trials,
        figure("syscw:") / trials,
        files / trials,
    ]
}

fn files_below(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap();
    let each = entries.map(|entry| {
        let entry = entry.unwrap();
        let below = entry.file_type().unwrap().is_dir();
        1 + if below { files_below(&entry.path()) } else { 0 }
    });
    each.sum()
}

#[test]
fn a_run_writes_and_makes_as_much_for_a_trial_however_many_there_are() {
    let [few, many] = [5, 50].map(done);
    for (at, what) in ["bytes written", "writes", "files made"]
        .into_iter()
        .enumerate()
    {
        assert_flat(what, [few[at], many[at]]);
    }
}
