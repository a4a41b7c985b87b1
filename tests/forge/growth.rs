//! What forge does for a trial costs the same in a run of a few trials and in one of many. Counted, never timed: what is
//! asked of memory, written and made.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use forge::event::{Event, EventKind, Phase, StopCause, TrialEnd, TrialRecord};
use forge::name::{RunId, SandboxId, SandboxName};
use forge::report::{Format, Report};
use forge::resume::{self, Wishes};
use forge::run::order;
use forge::run::state::{Effect, Group, Input, Loss, Planned, SetupEnd, State};
use forge::sandbox::ledger::{self, Entry, Ledger};
use forge::sandbox::{ErrorKind, Remedy};
use forge::store::{RunFolder, replay};
use forge::summary::RunSummary;
use forge::verdict;
use serde_json::json;

use crate::support::allocations::{Allocations, counted};
use crate::support::calls;
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

/// What a run of so many trials begins with.
fn planned(trials: u32) -> (Group, Vec<Planned>) {
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
    (group, planned.collect())
}

/// A run of so many trials, all of which are lost once before they have their result.
fn decided(trials: u32) -> (usize, Allocations) {
    let (group, planned) = planned(trials);
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
                    | Effect::Record(_)
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

#[test]
fn what_is_known_of_a_trial_before_it_begins_takes_no_room_twice() {
    let [few, many] = [1_000, 20_000].map(|trials| {
        let (group, planned) = planned(trials);
        let (state, asked) = counted(|| State::new(vec![group], planned, 8));
        drop(state);
        (f64::from(trials), asked.most as f64)
    });
    let each = (many.1 - few.1) / (many.0 - few.0);
    // Besides what is planned: how often each was begun.
    assert!(each < 2.0, "{each:.1} bytes for every trial");
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

/// What a run of so many trials asks for when it is told to stop as soon as the first ones are under way.
fn stopped(trials: u32) -> Allocations {
    let (group, planned) = planned(trials);
    let (mut state, now) = (State::new(vec![group], planned, 8), Instant::now());
    drop(state.handle(Input::Tick, now));
    let (told, asked) = counted(move || {
        let (mut told, mut input) = (0, Input::Stop(StopCause::Deadline));
        loop {
            let effects = state.handle(input, now);
            let is_told = |it: &&Effect| matches!(it, Effect::Record(_));
            told += effects.iter().filter(is_told).count();
            if !effects.contains(&Effect::WakeAt(now)) {
                return told;
            }
            input = Input::Tick;
        }
    });
    assert_eq!(told + 8, trials as usize);
    asked
}

#[test]
fn what_waits_when_a_run_is_stopped_is_told_a_few_at_a_time() {
    let [few, many] = [1_000, 20_000].map(|trials| (f64::from(trials), stopped(trials)));
    let each = (many.1.most - few.1.most) as f64 / (many.0 - few.0);
    assert!(each < 50.0, "{each:.0} bytes for every trial that waits");
}

#[test]
fn the_order_of_trials_is_made_a_round_at_a_time() {
    let [few, many] = [100, 10_000].map(|rounds| {
        let turns = order::Turns {
            rounds,
            repeats: vec![rounds; 3],
        };
        let (slots, asked) = counted(|| order::interleaved(vec![turns], 1).count());
        assert_eq!(slots, rounds as usize * 3);
        asked.most
    });
    assert!(many <= few, "{few} bytes at most, then {many}");
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

/// A run of two candidates that did two objectives so often each, each in another time: well, but for what a gate refused.
fn folded(repeats: u32, disqualified: Option<&str>) -> (RunSummary, Allocations) {
    let record = |trial, millis: u32| {
        let mut record = TrialRecord::ended(trial, TrialEnd::Exited { code: 0 }, 1);
        let speed = 100.0 - f64::from(millis) / 1e6;
        record.runtime_s = Some(f64::from(millis) / 1e3);
        record.timings.create_ms = Some(u64::from(millis % 20));
        record.timings.run_ms = Some(millis.into());
        record.usage.peak_memory_bytes = Some(u64::from(millis) << 12);
        record.score = Some(
            serde_json::from_value(json!({
                "total": speed, "success": 100.0, "quality": null, "speed": speed,
                "disqualified": disqualified, "gates": [], "scorers": [], "explanation": "",
            }))
            .unwrap(),
        );
        record
    };
    let workspace = small_run();
    let folder = RunFolder::find(&workspace.path("artifacts"), "latest").unwrap();
    let mut plan = replay(&folder).unwrap().plan.unwrap();
    for objective in &mut plan.objectives {
        objective.repeats = repeats;
    }
    let trials = plan.clone();
    let finished = trials
        .trials()
        .zip(1..)
        .map(|(trial, millis)| EventKind::TrialFinished(Box::new(record(trial, millis % 60_000))));
    let begins = EventKind::RunStarted(Box::new(plan));
    let events = [begins].into_iter().chain(finished).zip(0..);
    counted(|| {
        let mut summary = RunSummary::default();
        for (kind, seq) in events {
            summary.apply(&Event {
                seq,
                at: jiff::Timestamp::UNIX_EPOCH,
                kind,
            });
        }
        summary
    })
}

#[test]
fn what_is_kept_of_a_trial_is_a_few_figures() {
    let [few, many] = [250_u32, 5_000].map(|repeats| {
        let (summary, kept) = folded(repeats, None);
        assert_eq!(summary.lost(), 0);
        let ranked = counted(|| summary.standings()).1;
        (f64::from(repeats * 4), kept.most as f64, ranked.most as f64)
    });
    let trials = many.0 - few.0;
    let each = (many.1 - few.1) / trials;
    assert!(each < 45.0, "{each:.0} bytes are kept of every trial");
    let each = (many.2 - few.2) / trials;
    assert!(
        each < 25.0,
        "{each:.0} bytes more for every trial to rank them"
    );
}

#[test]
fn reports_hold_no_list_of_what_failed() {
    let workspace = small_run();
    let folder = RunFolder::find(&workspace.path("artifacts"), "latest").unwrap();
    let [few, many] = [250_u32, 5_000].map(|repeats| {
        let why = "min_bytes 11: the artifact has 5 bytes";
        let (summary, _) = folded(repeats, Some(why));
        let ((), written) = counted(|| write_reports(&folder, &summary));
        (f64::from(repeats * 4), written.most as f64)
    });
    let each = (many.1 - few.1) / (many.0 - few.0);
    assert!(
        each < 25.0,
        "{each:.0} bytes more for every trial that failed"
    );
}

/// What it asks for to find out what became of so many sandboxes, all of which are gone but one.
fn looked_up(sandboxes: u64) -> Allocations {
    let folder = tempfile::tempdir().unwrap();
    let run = RunId::generate();
    let mut written = Ledger::open(folder.path(), false).unwrap();
    for serial in 0..=sandboxes {
        let name = SandboxName::new(&run, serial, "alpha");
        let id = SandboxId::new(serial.to_string());
        let made = [
            Entry::Create {
                provider: "local".to_owned(),
                account: None,
                name: name.clone(),
            },
            Entry::Created {
                name: name.clone(),
                id,
            },
        ];
        let gone = (serial > 0).then_some(Entry::Deleted { name });
        for entry in made.iter().chain(&gone) {
            written.append(entry).unwrap();
        }
    }
    let ids = ["0", "1", "none"].map(SandboxId::new).into();
    let deleted = || ledger::deleted(folder.path(), &BTreeSet::new(), &ids).unwrap();
    let (deleted, asked) = counted(deleted);
    assert_eq!(deleted.count, sandboxes);
    assert_eq!(deleted.ids, [SandboxId::new("1")].into());
    asked
}

#[test]
fn what_is_gone_is_counted_and_not_held() {
    let [few, many] = [10, 2_000].map(|sandboxes| looked_up(sandboxes).most);
    assert!(many < few + 512, "{few} bytes at most, then {many}");
}

/// What it asks for to decide how a finished run goes on, and to tell that.
fn go_on(mut summary: RunSummary) -> Allocations {
    let plan = summary.plan.clone().unwrap();
    let trials = summary.trials.len();
    let (kept, asked) = counted(|| {
        let decided = resume::decide(&summary, plan, &Wishes::default(), |_| true);
        let resumption = decided.unwrap().resumption;
        summary.apply(&Event {
            seq: summary.next_seq(),
            at: summary.last().unwrap(),
            kind: EventKind::RunResumed(Box::new(resumption)),
        });
        summary.trials.iter().filter(|it| it.has_result()).count()
    });
    assert_eq!(kept, trials);
    asked
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
        let resumed = go_on(summary);
        ((repeats * 4, read), (repeats * 4, reported), resumed)
    });
    assert_allocates_flat("reading", of.map(|it| it.0));
    assert_allocates_flat("reporting", of.map(|it| it.1));
    // As all of them stand, only that is noted.
    let resumed = of.map(|it| it.2.most);
    let each = (resumed[1] - resumed[0]) as f64 / f64::from(of[1].0.0 - of[0].0.0);
    assert!(
        each < 10.0,
        "{each:.0} bytes more for every trial when a run goes on"
    );
    // What is held for a trial that has nothing to say, besides what any run has.
    let [(few, less), (many, more)] = of.map(|it| it.0);
    let each = (more.most - less.most) as f64 / f64::from(many - few);
    assert!(each < 45.0, "{each:.0} bytes are held for every trial");
}

/// Bytes written, calls that write, and files made by a run of so many trials.
fn done(repeats: u32) -> [f64; 3] {
    let workspace = small_run();
    fs::remove_dir_all(workspace.path("artifacts")).unwrap();
    let repeats_text = repeats.to_string();
    let mut command = workspace.command(["--isolation", "process", "-j4", "-k", &repeats_text]);
    let calls = calls::of(&mut command);
    let files = files_below(&workspace.path("artifacts")) as f64;
    let trials = f64::from(repeats * 4);
    [
        calls.figure("wchar:") / trials,
        calls.figure("syscw:") / trials,
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
