//! `forge gc` on folders of real runs: what stays whatever is asked for, what goes, and what becomes of it when it is
//! killed in between.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::workspace::{Workspace, finish, pause, wait};

const GOOD: &str = "#!/bin/sh\necho a good artifact > \"$2\"\n";
const DAY: u64 = 24 * 3600;

/// The id of a run that began so many days ago; `serial` tells those of one day apart.
fn id(days: u64, serial: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let millis = (now.as_secs() - days * DAY) * 1000;
    format!(
        "{:08x}-{:04x}-7000-8000-{serial:012x}",
        millis >> 16,
        millis & 0xffff
    )
}

/// A project with one run of today, and copies of that as old as `days` says.
struct Runs {
    workspace: Workspace,
    today: String,
    copies: Vec<String>,
}

impl Runs {
    fn new(days: &[u64]) -> Self {
        let workspace = Workspace::with(&[("good.sh", GOOD)]);
        workspace.forge(["task", "-q"]).expect(0);
        let name = workspace.run_folder().file_name().unwrap().to_owned();
        let runs = Self {
            workspace,
            today: name.into_string().unwrap(),
            copies: (1_u64..)
                .zip(days)
                .map(|(serial, days)| id(*days, serial))
                .collect(),
        };
        for copy in &runs.copies {
            copy_folder(&runs.at(&runs.today), &runs.at(copy));
        }
        runs
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.workspace.path("artifacts").join(name)
    }

    /// The names in the artifacts folder that are no files.
    fn left(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.workspace.path("artifacts")).unwrap();
        let entries = entries.map(Result::unwrap);
        let folders = entries.filter(|it| !it.file_type().unwrap().is_file());
        folders
            .map(|it| it.file_name().into_string().unwrap())
            .collect()
    }

    /// The same, as they should be.
    fn these<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> BTreeSet<String> {
        let names = names.into_iter().cloned();
        names
            .chain([self.today.clone(), "latest".to_owned()])
            .collect()
    }

    fn json(&self, arguments: &[&str], code: i32) -> Value {
        let arguments = ["gc", "--json"].iter().chain(arguments);
        let ended = self.workspace.forge(arguments).expect(code);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// What was decided about each run, and why.
    fn reasons(&self, arguments: &[&str], code: i32) -> BTreeMap<String, String> {
        let document = self.json(arguments, code);
        let runs = document["runs"].as_array().unwrap().iter();
        runs.map(|it| {
            let reason = it["reason"].as_str().unwrap_or("remove").to_owned();
            (it["run"].as_str().unwrap().to_owned(), reason)
        })
        .collect()
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(status.unwrap().success());
}

#[test]
fn the_plan_is_shown_and_done_when_somebody_agrees() {
    let mut ages = vec![40, 41, 42];
    ages.extend(1..20);
    let runs = Runs::new(&ages);
    let history = fs::read(runs.at("history.jsonl")).unwrap();
    let all = runs.left();
    assert_eq!(all.len(), 24);

    let shown = runs.workspace.forge(["gc", "--dry-run"]).expect(0).stdout;
    for run in &runs.copies[..3] {
        assert!(shown.contains(&format!("would remove  {run}")), "{shown}");
    }
    for told in [
        "20 stay: the newest 20, what is younger than 30 days\n",
        "would remove 3 runs, ",
    ] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    assert_eq!(shown.lines().count(), 5, "{shown}");
    assert_eq!(runs.left(), all);

    let ended = runs.workspace.forge(["gc"]).expect(2);
    assert!(
        ended.stderr.contains("`--yes` removes it"),
        "{}",
        ended.stderr
    );
    assert_eq!(runs.left(), all, "nobody was there to be asked");
    runs.json(&[], 2);
    assert_eq!(runs.left(), all);

    let told = runs.workspace.forge(["gc", "--yes"]).expect(0).stdout;
    assert!(told.contains("removed 3 runs, "), "{told}");
    assert!(told.contains(" freed; 20 left\n"), "{told}");
    assert_eq!(runs.left(), runs.these(&runs.copies[3..]));
    assert_eq!(fs::read(runs.at("history.jsonl")).unwrap(), history);
    let told = runs.workspace.forge(["gc"]).expect(0).stdout;
    assert!(told.ends_with("nothing to remove\n"), "{told}");
    runs.workspace.forge(["report", "latest", "-q"]).expect(0);
    runs.workspace.assert_nothing_left();
}

#[test]
fn a_limit_that_is_given_is_what_is_meant() {
    let runs = Runs::new(&[9, 8, 7, 6, 5]);
    let [nine, eight, seven, six, five] = [0, 1, 2, 3, 4].map(|at| &runs.copies[at]);
    let reasons = runs.reasons(&["--older-than", "6d", "--dry-run"], 0);
    for (run, reason) in [(nine, "remove"), (six, "remove"), (five, "young")] {
        assert_eq!(reasons[run], reason);
    }
    assert_eq!(reasons[&runs.today], "latest");
    let reasons = runs.reasons(&["--keep", "3", "--dry-run"], 0);
    for (run, reason) in [(seven, "remove"), (six, "newest"), (five, "newest")] {
        assert_eq!(reasons[run], reason);
    }
    // All are as large as the other.
    let bytes = runs.json(&["--dry-run"], 0)["runs"][0]["bytes"]
        .as_u64()
        .unwrap();
    let room = (bytes * 5 / 2 + bytes).to_string();
    let reasons = runs.reasons(&["--max-size", &room, "--yes"], 0);
    for (run, reason) in [
        (eight, "remove"),
        (seven, "remove"),
        (six, "fits"),
        (five, "fits"),
    ] {
        assert_eq!(reasons[run], reason, "{room} {reasons:?}");
    }
    assert_eq!(runs.left(), runs.these([six, five]));
    let document = runs.json(&["--keep", "0", "--yes"], 0);
    let freed = document["freed_bytes"].as_u64().unwrap();
    assert_eq!(freed, bytes * 3, "{document}");
    assert_eq!(
        runs.left(),
        BTreeSet::new(),
        "not even a link that leads nowhere"
    );
    runs.workspace.forge(["gc"]).expect(0);
    for bad in [
        ["--keep", "x"],
        ["--older-than", "5"],
        ["--max-size", "much"],
    ] {
        runs.workspace.forge(["gc"].iter().chain(&bad)).expect(2);
    }
}

#[test]
fn what_others_are_compared_with_stays() {
    let runs = Runs::new(&[99, 98, 97]);
    let [blessed, baseline, other] = [0, 1, 2].map(|at| &runs.copies[at]);
    // Blessed by hand: `forge baseline set` takes what the journal calls the run.
    symlink(format!("./{blessed}"), runs.at("blessed")).unwrap();
    let settings = format!("baseline: {{run: {baseline}}}\n");
    fs::write(runs.workspace.path("forge.yaml"), settings).unwrap();
    fs::remove_file(runs.at("latest")).unwrap();
    symlink(other, runs.at("latest")).unwrap();
    let told = runs
        .workspace
        .forge(["gc", "--keep", "1", "--yes"])
        .expect(0)
        .stdout;
    for told_of in ["it is blessed", "`forge.yaml` compares others with it"] {
        assert!(told.contains(told_of), "{told_of}: {told}");
    }
    assert!(runs.at(other).exists(), "`latest` leads to it");
    let reasons = runs.reasons(&["--keep", "0", "--older-than", "1d", "--yes"], 0);
    let expected = [
        (blessed.clone(), "blessed".to_owned()),
        (baseline.clone(), "baseline".to_owned()),
        (other.clone(), "remove".to_owned()),
        (runs.today.clone(), "young".to_owned()),
    ];
    assert_eq!(reasons, expected.into());
    let latest = fs::read_link(runs.at("latest")).unwrap();
    assert_eq!(
        latest,
        Path::new(&runs.today),
        "it leads to the newest that is left"
    );
    // Which run is blessed cannot be told: then nothing goes.
    fs::remove_file(runs.at("blessed")).unwrap();
    symlink("blessed", runs.at("blessed")).unwrap();
    runs.workspace
        .forge(["gc", "--keep", "0", "--yes"])
        .expect(3);
    assert!(runs.at(blessed).exists());
}

#[test]
fn what_is_no_run_is_not_touched() {
    let runs = Runs::new(&[50]);
    let elsewhere = runs.workspace.path("elsewhere");
    copy_folder(&runs.at(&runs.today), &elsewhere);
    let link = id(60, 1);
    symlink(&elsewhere, runs.at(&link)).unwrap();
    let bare = id(60, 2);
    fs::create_dir(runs.at(&bare)).unwrap();
    fs::write(runs.at(&bare).join("mine.txt"), "x").unwrap();
    let journal_is_a_folder = id(60, 3);
    fs::create_dir_all(runs.at(&journal_is_a_folder).join("events.jsonl")).unwrap();
    let upper = id(60, 0xabc).to_uppercase();
    copy_folder(&elsewhere, &runs.at(&upper));
    let random = "3f2b8c1e-9f70-4a57-8a3e-5d2f6c7b8a90".to_owned();
    copy_folder(&elsewhere, &runs.at(&random));
    copy_folder(&elsewhere, &runs.at("notes"));
    copy_folder(&elsewhere, &runs.at(".gc-notes"));
    let going = format!(".gc-{}", id(60, 4));
    symlink(&elsewhere, runs.at(&going)).unwrap();
    // One that may be about to take hold of its folder, and one that never did.
    let (beginning, never) = (id(0, 5), id(60, 6));
    for run in [&beginning, &never] {
        fs::create_dir(runs.at(run)).unwrap();
        fs::write(runs.at(run).join("events.jsonl"), "").unwrap();
    }
    let odd = [
        beginning,
        link,
        bare,
        journal_is_a_folder,
        upper,
        random,
        "notes".to_owned(),
        ".gc-notes".to_owned(),
        going,
        // To the newest that others would take for a run.
        "latest".to_owned(),
    ];
    let document = runs.json(&["--keep", "0", "--yes"], 0);
    assert_eq!(document["runs"].as_array().unwrap().len(), 4, "{document}");
    assert_eq!(runs.left(), odd.into());
    assert!(elsewhere.join("events.jsonl").exists());
    // One that leads in circles is put right.
    fs::remove_file(runs.at("latest")).unwrap();
    symlink("latest", runs.at("latest")).unwrap();
    runs.workspace
        .forge(["gc", "--keep", "0", "--yes"])
        .expect(0);
    assert!(runs.at("latest/events.jsonl").is_file());
}

/// What is below a run's folder may lead anywhere.
#[test]
fn no_link_is_followed_and_no_mode_keeps_it() {
    let runs = Runs::new(&[50]);
    let elsewhere = runs.workspace.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("mine.txt"), "x").unwrap();
    let old = runs.at(&runs.copies[0]);
    symlink(&elsewhere, old.join("link")).unwrap();
    let shut = old.join("task/shut");
    fs::create_dir_all(shut.join("in")).unwrap();
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o000)).unwrap();
    runs.workspace
        .forge(["gc", "--keep", "1", "--yes"])
        .expect(0);
    assert_eq!(runs.left(), runs.these([]));
    assert!(elsewhere.join("mine.txt").exists());
}

#[test]
fn a_run_that_goes_on_stays_and_so_does_one_that_alone_knows_of_its_sandboxes() {
    let workspace = Workspace::with(&[("slow.sh", "#!/bin/sh\necho began\nsleep 600\n")]);
    let mut child = workspace
        .command(["task", "--no-progress"])
        .spawn()
        .unwrap();
    let began = || fs::read_to_string(workspace.path("artifacts/latest/task/slow/1/stdout.log"));
    while !began().is_ok_and(|text| text.contains("began")) {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        pause();
    }
    let gc = || {
        workspace
            .forge(["gc", "--keep", "0", "--yes"])
            .expect(0)
            .stdout
    };
    let told = gc();
    assert!(told.contains("it is running"), "{told}");
    let run = workspace.run_folder();
    child.kill().unwrap();
    finish(child);
    let told = loop {
        let told = gc();
        if !told.contains("it is running") {
            break told;
        }
        pause();
    };
    let id = run.file_name().unwrap().to_str().unwrap().to_owned();
    for part in [
        "only it knows of 1 sandbox",
        &format!("`forge sweep --run {id}` first"),
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(run.exists());
    workspace.forge(["sweep", "--run", &id]).expect(0);
    let told = gc();
    assert!(
        told.contains("not finished") && told.contains("removed 1 run, "),
        "{told}"
    );
    assert!(!run.exists() && fs::symlink_metadata(workspace.path("artifacts/latest")).is_err());
    workspace.assert_nothing_left();
}

#[test]
fn what_will_not_go_is_named_and_the_rest_goes() {
    let runs = Runs::new(&[50, 49]);
    let [stays, goes] = [0, 1].map(|at| &runs.copies[at]);
    // A folder cannot take the place of a file, whoever asks.
    fs::write(runs.at(&format!(".gc-{stays}")), "x").unwrap();
    let ended = runs
        .workspace
        .forge(["gc", "--keep", "1", "--yes"])
        .expect(3);
    assert!(
        ended
            .stderr
            .contains(&format!("not removed: artifacts/{stays}: ")),
        "{}",
        ended.stderr
    );
    assert!(ended.stdout.contains("removed 1 run, "), "{}", ended.stdout);
    assert_eq!(runs.left(), runs.these([stays]));
    assert!(!runs.at(goes).exists());
    let document = runs.json(&["--keep", "1", "--yes"], 3);
    assert_eq!(document["problems"].as_array().unwrap().len(), 1);
    assert_eq!(document["freed_bytes"], 0);
    fs::remove_file(runs.at(&format!(".gc-{stays}"))).unwrap();
    runs.workspace
        .forge(["gc", "--keep", "1", "--yes"])
        .expect(0);
    assert_eq!(runs.left(), runs.these([]));
}

/// At thirty moments: what readers see is whole or not there, `latest` leads to a run, and the next one ends it.
#[test]
fn killed_in_between_it_leaves_whole_runs_and_the_next_one_goes_on() {
    let runs = Runs::new(&[]);
    let model = runs.workspace.path("model");
    copy_folder(&runs.at(&runs.today), &model);
    for file in 0..300 {
        let folder = model.join(format!("task/good/1/files/{}", file % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(file.to_string()), "x").unwrap();
    }
    let mut cut_short = 0;
    for round in 0..30 {
        let old: Vec<String> = (0..3).map(|serial| id(50, serial)).collect();
        for run in &old {
            copy_folder(&model, &runs.at(run));
        }
        fs::remove_file(runs.at("latest")).unwrap();
        // The first to go: it is to lead elsewhere before that.
        symlink(&old[0], runs.at("latest")).unwrap();
        let words = ["gc", "--keep", "0", "--older-than", "1d", "--yes"];
        let mut child = runs.workspace.command(words).spawn().unwrap();
        wait(round % 15);
        child.kill().unwrap();
        finish(child);
        for run in runs.left() {
            if run.starts_with(".gc-") {
                cut_short += 1;
            } else {
                let run = runs.at(&run);
                assert!(
                    run.join("run.json").is_file() && run.join("task/good/1").is_dir(),
                    "{run:?}"
                );
            }
        }
        assert!(runs.at("latest").join("events.jsonl").is_file());
        runs.workspace.forge(words).expect(0);
        assert_eq!(runs.left(), runs.these([]), "round {round}");
        let latest = fs::read_link(runs.at("latest")).unwrap();
        assert_eq!(latest, Path::new(&runs.today));
    }
    // By hand too: those above may all have been too early or too late.
    let left = format!(".gc-{}", id(50, 9));
    copy_folder(&model, &runs.at(&left));
    fs::remove_file(runs.at(&left).join("events.jsonl")).unwrap();
    let told = runs.workspace.forge(["gc", "--yes"]).expect(0).stdout;
    assert!(told.contains("what a killed `forge gc` left"), "{told}");
    assert_eq!(
        runs.left(),
        runs.these([]),
        "{cut_short} were cut short by being killed"
    );
}

#[test]
fn several_at_once_do_no_more_than_one() {
    let runs = Runs::new(&(40..60).collect::<Vec<_>>());
    let words = ["gc", "--yes", "--json", "--keep", "2"];
    let at_once: Vec<_> = (0..4)
        .map(|_| runs.workspace.command(words).spawn().unwrap())
        .collect();
    let mut removed = Vec::new();
    for child in at_once {
        let ended = finish(child).expect(0);
        let document: Value = serde_json::from_str(&ended.stdout).unwrap();
        let all = document["runs"].as_array().unwrap().iter();
        let gone = all.filter(|it| it["removed"] == true);
        removed.extend(gone.map(|it| it["run"].as_str().unwrap().to_owned()));
    }
    removed.sort();
    let mut expected = runs.copies[1..].to_vec();
    expected.sort();
    assert_eq!(removed, expected, "each by one of them");
    assert_eq!(runs.left(), runs.these(&runs.copies[..1]));
}
