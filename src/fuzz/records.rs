//! What runs have written, as it is read back: journals, records, histories, and runs and candidates in archives.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::Path;

use jiff::Timestamp;

use super::{assert_plain, ends, fuzz, fuzz_slowly};
use crate::archive::Writer;
use crate::archive::unpack::{Allowed, unpack};
use crate::baseline::stored::StoredRun;
use crate::event::{
    Confirmation, Event, EventKind, Look, Measured, Phase, StopCause, Stopped, StoredObjective,
    StoredScores,
};
use crate::exit::decide;
use crate::name::{RelativePath, SandboxId, SandboxName};
use crate::quantity::ByteCount;
use crate::report::sample::{Memory, Run, event, failed, full, lost, passed, spared, trial};
use crate::rule::{How, Question};
use crate::score::Points;
use crate::store::RunFolder;
use crate::summary::{MAX_TRIALS, RunSummary};

/// The events of a run in which everything has happened that can.
fn events() -> Vec<Event> {
    let mut run = Run::new(&["alpha", "beta"], &["code", "daily"], 2);
    run.compare(Question::Baseline, "alpha", "alpha@4f1c9e2");
    run.compared(Question::Baseline, "beta", "beta@latest", How::Screened);
    run.plan.looks = 3;
    let measured = |score: f64| Measured {
        score: Points::clamped(score),
        passed: true,
        quality: Some(Points::clamped(score)),
        seconds: Some(0.5),
        peak_memory: Some(1 << 20),
        metrics: BTreeMap::from([("tokens".to_owned(), 12.0)]),
    };
    let stored = StoredScores {
        candidate: "beta@latest".to_owned().try_into().unwrap(),
        run: run.plan.run,
        started: Some(Timestamp::UNIX_EPOCH),
        place: "local".to_owned(),
        digest: "00".to_owned(),
        objectives: vec![StoredObjective {
            objective: "code".parse().unwrap(),
            digest: "00".to_owned(),
            conditions: String::new(),
            lost: 1,
            trials: vec![measured(80.0), measured(70.0)],
        }],
    };
    let alpha = trial("alpha", "code", 1);
    let mut kinds = vec![
        EventKind::RunStarted(Box::new(run.plan.clone())),
        EventKind::BaselineRead(stored),
        EventKind::Warned {
            message: "mind it".to_owned(),
        },
        EventKind::TrialStarted {
            trial: alpha.clone(),
            attempt: 1,
        },
        EventKind::PhaseStarted {
            trial: alpha.clone(),
            phase: Phase::Running,
        },
        EventKind::Logged {
            trial: alpha.clone(),
            message: "[Run] Executing...".to_owned(),
        },
        EventKind::SlotRefused {
            trial: alpha.clone(),
            message: "it is full".to_owned(),
        },
        EventKind::AttemptFailed {
            trial: alpha.clone(),
            attempt: 1,
            phase: Phase::Creating,
            message: "500".to_owned(),
        },
    ];
    let records = [
        full(alpha),
        passed(trial("alpha", "code", 2), 70.0),
        failed(trial("alpha", "daily", 1), "too short"),
        lost(trial("alpha", "daily", 2)),
        passed(trial("alpha@4f1c9e2", "code", 1), 90.0),
        passed(trial("alpha@4f1c9e2", "code", 2), 91.0),
        spared(trial("alpha@4f1c9e2", "daily", 1), "not needed"),
        passed(trial("beta", "code", 1), 10.0),
        passed(trial("beta", "daily", 1), 12.0),
    ];
    let scores: Vec<_> = records.iter().filter_map(|it| it.score.clone()).collect();
    kinds.extend(
        records
            .into_iter()
            .map(|it| EventKind::TrialFinished(Box::new(it))),
    );
    kinds.extend([
        EventKind::Looked(Look {
            look: 1,
            level: 0.01,
            stopped: vec![Stopped {
                candidate: "beta".parse().unwrap(),
                reason: "it is the worst".to_owned(),
            }],
        }),
        EventKind::ConfirmationPlanned(Confirmation {
            candidate: "alpha".parse().unwrap(),
            against: "alpha@4f1c9e2".to_owned().try_into().unwrap(),
            trials: 2,
        }),
        EventKind::TrialRescored {
            trial: trial("beta", "code", 1),
            score: scores[0].clone(),
        },
        EventKind::StopRequested {
            cause: StopCause::Deadline,
            hurry: true,
        },
        EventKind::CleanedUp(run.cleanup.clone()),
        EventKind::RunFinished { took_ms: 1500 },
    ]);
    kinds.into_iter().zip(0..).map(event).collect()
}

fn journal() -> Vec<u8> {
    let mut text = Vec::new();
    for event in events() {
        serde_json::to_writer(&mut text, &event).unwrap();
        text.push(b'\n');
    }
    text
}

/// What a journal adds up to, as far as it can be read.
fn replayed(bytes: &[u8]) -> RunSummary {
    let mut summary = RunSummary::default();
    for event in crate::journal::events(bytes) {
        let Ok(event) = event else { break };
        summary.apply(&event);
    }
    assert!(
        summary.trials.len() <= MAX_TRIALS,
        "{} trials",
        summary.trials.len()
    );
    summary
}

/// Everything that is said of a run can be said of this one.
fn assert_reported(summary: &RunSummary) {
    let standings = summary.standings();
    let verdicts = crate::verdict::of(summary, &standings);
    let (exit, reasons) = decide(summary, &standings, &verdicts);
    let details = Run::new(&["alpha"], &["code"], 1);
    let report = crate::report::Report {
        summary,
        standings: &standings,
        verdicts: &verdicts,
        exit,
        reasons: &reasons,
        sweep: "forge sweep",
        details: &details,
    };
    assert_plain(&report.terminal(&crate::report::Style {
        width: 100,
        color: false,
        place: "artifacts/x",
        verbose: true,
    }));
    report.write_all(&Memory::default()).unwrap();
    ends(report.outputs());
    ends(report.notes());
    ends(crate::history::lines(summary, &standings, &verdicts));
}

/// What is said of a file is for people: little, and harmless.
#[track_caller]
fn assert_told(told: &str) {
    assert_plain(told);
    assert!(told.chars().count() < 2000, "{} bytes", told.len());
}

#[test]
fn fuzz_journal() {
    fuzz_slowly(file!(), &[&journal()], 2, |bytes| {
        assert_reported(&replayed(bytes));
    });
}

/// Read in the code, and too rare to be met by chance.
#[test]
fn a_confirmation_of_more_trials_than_a_run_can_have_is_none() {
    let mut events = events();
    for event in &mut events {
        if let EventKind::ConfirmationPlanned(confirmation) = &mut event.kind {
            confirmation.trials = 400_000;
        }
    }
    assert_eq!(RunSummary::of(&events).trials.len(), 12);
}

/// Found after minutes.
#[test]
fn an_event_after_which_none_can_come_is_the_last() {
    let mut events = events();
    events.last_mut().unwrap().seq = u64::MAX;
    assert_eq!(RunSummary::of(&events).next_seq(), u64::MAX);
}

/// A run that is looked at while it goes on is read in pieces: it is the same, but for lines that are no events.
#[test]
fn fuzz_journal_tail() {
    let folder = tempfile::tempdir().unwrap();
    fuzz_slowly(file!(), &[&journal()], 2, |bytes| {
        fs::write(folder.path().join(crate::journal::FILE), bytes).unwrap();
        let mut tail = crate::journal::Tail::open(folder.path()).unwrap();
        let mut seen = Vec::new();
        while let Some(event) = tail.read().unwrap() {
            seen.push(event);
        }
        let whole: Vec<Event> = crate::journal::events(bytes)
            .map_while(Result::ok)
            .collect();
        assert!(seen.starts_with(&whole));
    });
}

/// A run's folder from the journal on: by its `run.json` alone, too.
#[test]
fn fuzz_run_json() {
    let folder = tempfile::tempdir().unwrap();
    let summary = replayed(&journal());
    let standings = summary.standings();
    let verdicts = crate::verdict::of(&summary, &standings);
    let (exit, reasons) = decide(&summary, &standings, &verdicts);
    let report = crate::report::Report {
        summary: &summary,
        standings: &standings,
        verdicts: &verdicts,
        exit,
        reasons: &reasons,
        sweep: "forge sweep",
        details: &Run::new(&["alpha"], &["code"], 1),
    };
    let mut sample = Vec::new();
    report
        .write(crate::report::Format::Json, &mut sample)
        .unwrap();
    let file = folder.path().join("run.json");
    let find = |bytes: &[u8]| {
        fs::write(&file, bytes).unwrap();
        StoredRun::find(file.to_str().unwrap(), folder.path(), None)
    };
    find(&sample).unwrap();
    // What is wrong is quoted, however long it is.
    let long = format!(
        r#"{{"schema_version": 1, "took_seconds": "{}"}}"#,
        "x".repeat(5000)
    );
    fuzz(file!(), &[&sample, long.as_bytes()], |bytes| {
        match find(bytes) {
            Ok(run) => {
                assert!(run.rows.len() <= MAX_TRIALS);
                ends(run.can_be_blessed());
            }
            Err(problem) => assert_told(&problem.to_string()),
        }
    });
}

#[test]
fn fuzz_trial_json() {
    let record = full(trial("alpha", "code", 1));
    let whole = crate::store::trial_json::render(&record, Some("out"), Some("text"));
    let sample = serde_json::to_vec(&whole).unwrap();
    fuzz(file!(), &[&sample], |bytes| {
        if let Ok(record) = crate::store::trial_json::record(bytes) {
            let mut events = events();
            events.insert(2, event((EventKind::TrialFinished(Box::new(record)), 2)));
            ends(RunSummary::of(&events).standings());
        }
    });
}

/// What a killed run left: never more sandboxes than it wrote lines, none of them twice.
#[test]
fn fuzz_ledger() {
    let sample = br#"{"op":"create","provider":"daytona","account":"here","name":"forge-1"}
{"op":"created","name":"forge-1","id":"a"}
{"op":"create","provider":"local","name":"forge-2"}
{"op":"kept","name":"forge-1"}
{"op":"deleted","name":"forge-2"}
"#;
    let folder = tempfile::tempdir().unwrap();
    fuzz(file!(), &[sample], |bytes| {
        fs::write(folder.path().join(crate::sandbox::ledger::FILE), bytes).unwrap();
        let open = crate::sandbox::ledger::open_sandboxes(folder.path()).unwrap();
        assert!(open.len() <= bytes.split(|byte| *byte == b'\n').count());
        let asked = ["forge-1", "forge-2"].map(SandboxName::existing).into();
        let asked_ids = [SandboxId::new("a")].into();
        let deleted = crate::sandbox::ledger::deleted(folder.path(), &asked, &asked_ids).unwrap();
        // Made again under its old name, it would be open again.
        assert!(
            deleted
                .names
                .iter()
                .all(|it| open.iter().all(|open| open.name != *it))
        );
        ends(deleted);
    });
}

#[test]
fn fuzz_history() {
    let summary = replayed(&journal());
    let standings = summary.standings();
    let verdicts = crate::verdict::of(&summary, &standings);
    let lines = crate::history::lines(&summary, &standings, &verdicts);
    let mut sample = Vec::new();
    for line in &lines {
        serde_json::to_writer(&mut sample, line).unwrap();
        sample.push(b'\n');
    }
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.jsonl");
    fs::write(&other, &sample).unwrap();
    fuzz(file!(), &[&sample], |bytes| {
        fs::write(folder.path().join(crate::history::FILE), bytes).unwrap();
        let trends = crate::history::read(folder.path(), None, 3).unwrap();
        for points in trends.of.values() {
            assert!(points.len() <= 3);
            ends(crate::history::sparkline(points));
        }
        crate::history::merge(folder.path(), &fs::File::open(&other).unwrap()).unwrap();
    });
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (name, mut content) in files.iter().copied() {
        let path = RelativePath::parse(name).unwrap();
        writer
            .file(&path, true, content.len() as u64, &mut content)
            .unwrap();
    }
    writer.finish().unwrap()
}

/// The names below a folder, of what is no folder; how many bytes they have; whether there is a link.
fn below(folder: &Path) -> (Vec<String>, u64, bool) {
    let (mut names, mut bytes, mut has_link) = (Vec::new(), 0, false);
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let data = fs::symlink_metadata(&path).unwrap();
            if data.is_dir() {
                folders.push(path);
                continue;
            }
            has_link |= data.is_symlink();
            bytes += data.len();
            let name = path.strip_prefix(folder).unwrap();
            names.push(name.to_str().unwrap().to_owned());
        }
    }
    names.sort();
    (names, bytes, has_link)
}

/// The checksums of all headers made right, so that changes get past them.
fn with_right_sums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.as_chunks_mut::<512>().0 {
        let others = block[..148].iter().chain(&block[156..]);
        let sum: u64 = others.map(|byte| u64::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 256).as_bytes());
    }
    bytes
}

#[test]
fn fuzz_unpack() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let sample = archive(&[
        ("a", b"x"),
        ("b/c.md", &[b'y'; 700]),
        (&long, b"long"),
        ("empty", b""),
    ]);
    // The same with names that lead elsewhere, and with a link on the way.
    let renamed = |from: &str, to: &str| {
        let at = sample
            .windows(from.len())
            .position(|it| it == from.as_bytes());
        let mut bytes = sample.clone();
        bytes[at.unwrap()..][..to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let above = renamed("b/c.md", "b/../../new");
    let absolute = renamed("b/c.md", "/tmp/forge-fuzz");
    let mut through = renamed("b/c.md", "l/new\0");
    through[0] = b'l';
    through[156] = b'2';
    through[157..159].copy_from_slice(b"..");
    let samples = [&sample, &above, &absolute, &through].map(Vec::as_slice);
    fuzz_slowly(file!(), &samples, 2, |bytes| {
        for (bytes, foreign) in [
            (bytes.to_vec(), true),
            (with_right_sums(bytes), true),
            (with_right_sums(bytes), false),
        ] {
            let place = tempfile::tempdir().unwrap();
            let to = place.path().join("to");
            fs::create_dir(&to).unwrap();
            fs::write(place.path().join("mine"), "mine").unwrap();
            let allowed = Allowed {
                bytes: ByteCount(4096),
                entries: 8,
                foreign,
            };
            let unpacked = unpack(&mut Cursor::new(&bytes), &to, &allowed);
            let (names, size, has_link) = below(&to);
            assert!(
                size <= 4096 + if foreign { 8 * 4096 } else { 0 },
                "{size} bytes"
            );
            assert!(names.len() <= 8 && (foreign || !has_link), "{names:?}");
            if let Ok(unpacked) = unpacked {
                let told: Vec<&str> = unpacked.files.iter().map(RelativePath::as_str).collect();
                assert_eq!(told, names, "what is told is what is there");
            }
            let (beside, ..) = below(place.path());
            let beside = beside.iter().filter(|name| !name.starts_with("to/"));
            assert_eq!(beside.collect::<Vec<_>>(), ["mine"]);
        }
    });
}

/// A whole run from elsewhere: `forge report FILE`, `forge compare FILE …`.
#[test]
fn fuzz_exported_run() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let about = br#"{"export_version": 1, "forge_version": "0.1.0"}"#;
    let export = archive(&[("export.json", about), ("events.jsonl", &journal)]);
    let run = replayed(&journal).plan.unwrap().run;
    let about = format!(
        r#"{{"baseline_version": 1, "forge_version": "0.1.0", "run": "{run}", "packs": ["alpha"]}}"#
    );
    let baseline = archive(&[
        ("baseline.json", about.as_bytes()),
        ("events.jsonl", &journal),
        ("candidates/alpha.tar", b"none"),
    ]);
    let file = folder.path().join("run.tar");
    fuzz_slowly(file!(), &[&export, &baseline], 2, |bytes| {
        for bytes in [bytes.to_vec(), with_right_sums(bytes)] {
            fs::write(&file, bytes).unwrap();
            match RunFolder::open_export(&file) {
                Ok(opened) => {
                    let (names, _, has_link) = below(opened.folder().path());
                    assert!(!has_link, "{names:?}");
                    ends(crate::store::replay(opened.folder()));
                }
                Err(why) => assert_told(&crate::plain::line(&why)),
            }
            let found = StoredRun::find(file.to_str().unwrap(), folder.path(), None);
            if let Err(problem) = &found {
                assert_told(&problem.to_string());
            }
            if let Ok(found) = found {
                let scratch = folder.path().join("scratch");
                fs::create_dir_all(&scratch).unwrap();
                for name in found.today() {
                    ends(found.former(name, &scratch));
                }
                fs::remove_dir_all(&scratch).unwrap();
            }
        }
    });
}

/// What a run kept of a candidate.
#[test]
fn fuzz_pack() {
    let script: &[u8] = b"#!/bin/sh\necho hello\n";
    let about = br#"{"pack_version": 1, "forge_version": "0.1.0", "name": "alpha", "digest": "00", "settings_apart": null}"#;
    let sample = archive(&[
        (".forge-pack.json", about),
        ("alpha.sh", script),
        ("alpha.yaml", b"env: {A: b}\n"),
    ]);
    fuzz_slowly(file!(), &[&sample], 2, |bytes| {
        for bytes in [bytes.to_vec(), with_right_sums(bytes)] {
            let place = tempfile::tempdir().unwrap();
            let to = place.path().join("to");
            fs::create_dir(&to).unwrap();
            if let Err(why) = crate::candidate::pack::load(&mut Cursor::new(bytes), &to) {
                ends(why.to_string());
            }
            let (names, _, has_link) = below(place.path());
            assert!(
                !has_link && names.iter().all(|name| name.starts_with("to/")),
                "{names:?}"
            );
        }
    });
}
