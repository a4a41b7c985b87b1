//! What a stored run kept, and `forge baseline`.

use std::fs;
use std::path::Path;

use forge::baseline::pack_all;
use forge::baseline::stored::{StoredRun, export};
use forge::candidate::load::load_dir;
use forge::name::CandidateName;
use forge::redact::Redactor;
use forge::secret::Secret;
use forge::store::{RunFolder, replay};
use serde_json::Value;

use crate::support::workspace::Workspace;

const GOOD: &str = "#!/bin/sh\necho '{\"cost_usd\": 0.5}' > \"$FORGE_ARTIFACTS/metrics.json\"\necho a good artifact > \"$2\"\n";
const BAD: &str = "#!/bin/sh\nexit 3\n";

fn workspace() -> Workspace {
    Workspace::with(&[("good.sh", GOOD), ("bad.sh", BAD)])
}

impl Workspace {
    fn artifacts(&self) -> std::path::PathBuf {
        self.path("artifacts")
    }

    fn find(&self, which: &str) -> Result<StoredRun, String> {
        let found = StoredRun::find(which, &self.artifacts(), None);
        found.map_err(|problem| forge::problem::Problems::from(problem).to_string())
    }

    /// The newest run, with packs of the candidates as they are.
    fn packed(&self) -> RunFolder {
        let folder = RunFolder::find(&self.artifacts(), "latest").unwrap();
        let candidates = load_dir(&self.path("candidates"), &[]).unwrap();
        let remarks = pack_all(&folder, &candidates, &Redactor::default());
        assert!(remarks.is_empty(), "{remarks:?}");
        folder
    }
}

fn name(text: &str) -> CandidateName {
    CandidateName::parse(text).unwrap()
}

/// The former `good`, with the text of its script.
fn former(stored: &StoredRun, scratch: &Path) -> (String, String, String) {
    let former = stored.former(&name("good"), scratch).unwrap().unwrap();
    let text = fs::read_to_string(&former.candidate.files[0].from).unwrap();
    let it = former.candidate;
    (it.name.to_string(), it.digest, text)
}

#[test]
fn a_run_that_kept_its_candidates_has_them_as_they_were() {
    let workspace = workspace();
    workspace.forge(["task", "-k2"]).expect(0);
    let folder = workspace.packed();
    let scratch = workspace.path("tmp");
    let workspace = workspace.candidate("good.sh", "#!/bin/sh\necho other > \"$2\"\n");
    let stored = workspace.find("latest").unwrap();
    let summary = replay(&folder).unwrap();
    assert_eq!(stored.rows, summary.trials);
    assert_eq!(Some(&stored.plan), summary.plan.as_ref());
    let digest = stored.digest(&name("good")).unwrap().to_owned();
    assert_eq!(
        former(&stored, &scratch),
        ("good@latest".to_owned(), digest.clone(), GOOD.to_owned())
    );
    let id = stored.run.to_string();
    let by_id = workspace.find(&id).unwrap();
    assert_eq!(
        former(&by_id, &scratch).0,
        format!("good@{}", stored.run.short())
    );
    // The whole run as one file says the same elsewhere.
    let file = workspace.path("night.forge");
    let exported = export(&folder, &mut fs::File::create(&file).unwrap()).unwrap();
    assert_eq!((exported.packs.len(), exported.without.len()), (2, 0));
    fs::rename(workspace.artifacts(), workspace.path("gone")).unwrap();
    let read = workspace.find(file.to_str().unwrap()).unwrap();
    assert_eq!((&read.rows, &read.plan), (&stored.rows, &stored.plan));
    assert_eq!((read.started, read.took), (stored.started, stored.took));
    assert_eq!(former(&read, &scratch).1, digest);
    workspace.assert_nothing_left();
}

#[test]
fn a_bare_run_json_has_the_same_rows_and_no_files() {
    let workspace = workspace();
    workspace.forge(["task", "-k2"]).expect(0);
    let stored = workspace.find("latest").unwrap();
    let bare = workspace.path("artifacts/latest/run.json");
    let read = workspace.find(bare.to_str().unwrap()).unwrap();
    assert_eq!((stored.packs.len(), read.packs.len()), (2, 0));
    assert_eq!((&read.rows, &read.plan), (&stored.rows, &stored.plan));
    assert_eq!(
        (read.run, read.started, read.took),
        (stored.run, stored.started, stored.took)
    );
    assert!(
        read.rows.iter().any(|row| !row.metrics().is_empty()),
        "metrics are lost"
    );
    assert!(read.remarks[0].contains("has no files of candidates"));
    assert!(
        read.former(&name("good"), &workspace.path("tmp"))
            .unwrap()
            .is_none()
    );
    // Of a later form, of none, and with nothing in it.
    let mut document: Value = serde_json::from_slice(&fs::read(&bare).unwrap()).unwrap();
    let told = |change: &dyn Fn(&mut Value)| {
        let mut document = document.clone();
        change(&mut document);
        let file = workspace.path("changed.json");
        fs::write(&file, document.to_string()).unwrap();
        workspace.find(file.to_str().unwrap()).unwrap_err()
    };
    assert!(told(&|it| it["schema_version"] = 99.into()).contains("schema version 99"));
    assert!(told(&|it| it["plan"] = Value::Null).contains("it has no plan"));
    assert!(told(&|it| it["trials"] = Value::Array(Vec::new())).contains("has a score"));
    assert!(
        told(&|it| drop(it.as_object_mut().unwrap().remove("schema_version")))
            .contains("no `schema_version`")
    );
    document["trials"][0]["score"] = 500.into();
    let file = workspace.path("wrong.json");
    fs::write(&file, document.to_string()).unwrap();
    let told = workspace.find(file.to_str().unwrap()).unwrap_err();
    assert!(told.contains("between 0 and 100"), "{told}");
}

#[test]
fn what_is_no_stored_run_is_told_with_what_is() {
    let workspace = workspace();
    assert!(
        workspace
            .find("latest")
            .unwrap_err()
            .contains("there is no run in")
    );
    assert!(
        workspace
            .find("blessed")
            .unwrap_err()
            .contains("`forge baseline set RUN`")
    );
    workspace.forge(["task"]).expect(0);
    let id = workspace.find("latest").unwrap().run.to_string();
    let slip = format!("{}x", &id[..id.len() - 1]);
    assert!(
        workspace
            .find(&slip)
            .unwrap_err()
            .contains(&format!("did you mean `{id}`?"))
    );
    let told = workspace.find("main").unwrap_err();
    assert!(
        told.contains("a git revision has an `@` before it: `@main`"),
        "{told}"
    );
    let told = workspace.find("no/such.forge").unwrap_err();
    assert!(
        told.contains("there is no such file or folder either"),
        "{told}"
    );
    for (text, why) in [
        (&b""[..], "it is empty"),
        (b"{}", "it has no `schema_version`"),
        (b"{", "EOF"),
        (b"hello", "there is no `baseline.json` in it"),
    ] {
        let file = workspace.path("file");
        fs::write(&file, text).unwrap();
        let told = workspace.find(file.to_str().unwrap()).unwrap_err();
        assert!(
            told.contains("this is no stored run") && told.contains(why),
            "{told}"
        );
        assert!(
            told.contains("what `forge baseline export` wrote"),
            "{told}"
        );
    }
}

#[test]
fn latest_is_the_newest_run_that_has_something_to_compare() {
    let workspace = workspace();
    workspace.forge(["task"]).expect(0);
    let first = workspace.find("latest").unwrap().run;
    workspace.forge(["task"]).expect(0);
    let second = workspace.find("latest").unwrap().run;
    assert_ne!(first, second);
    let other = StoredRun::find("latest", &workspace.artifacts(), Some(second)).unwrap();
    assert_eq!(other.run, first);
    // One that was killed while it ran says nothing of its end.
    let journal = workspace.path(&format!("artifacts/{second}/events.jsonl"));
    let text = fs::read_to_string(&journal).unwrap();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("run_finished"))
        .collect();
    fs::write(&journal, lines.join("\n") + "\n").unwrap();
    let found = workspace.find("latest").unwrap();
    assert_eq!(found.run, first);
    assert!(
        found.remarks[0].contains(&format!("`{second}`, is not compared with: it is not over"))
    );
    let by_name = workspace.find(&second.to_string()).unwrap();
    assert!(
        by_name.remarks[0].contains("is not over"),
        "{:?}",
        by_name.remarks
    );
}

#[test]
fn a_pack_that_is_broken_or_somebody_elses_is_refused() {
    let workspace = workspace();
    workspace.forge(["task"]).expect(0);
    let folder = workspace.packed();
    let scratch = workspace.path("tmp");
    let pack = folder.path().join("candidates/good.tar");
    let other = folder.path().join("candidates/bad.tar");
    let told = || {
        let stored = workspace.find("latest").unwrap();
        let problem = stored.former(&name("good"), &scratch).unwrap_err();
        assert!(problem.hint.is_some());
        problem.message
    };
    let right = fs::read(&pack).unwrap();
    fs::copy(&other, &pack).unwrap();
    assert!(
        told().contains("its pack is of another candidate"),
        "{}",
        told()
    );
    fs::write(&pack, &right[..right.len() / 2]).unwrap();
    assert!(told().contains("cannot be had from the run"), "{}", told());
    let changed: Vec<u8> = String::from_utf8(right.clone())
        .unwrap()
        .replace("a good art", "an evil ar")
        .into_bytes();
    fs::write(&pack, changed).unwrap();
    assert!(
        told().contains("it is not the candidate that was packed"),
        "{}",
        told()
    );
    // A link in its place is not followed.
    fs::write(workspace.path("elsewhere.tar"), &right).unwrap();
    fs::remove_file(&pack).unwrap();
    std::os::unix::fs::symlink(workspace.path("elsewhere.tar"), &pack).unwrap();
    let stored = workspace.find("latest").unwrap();
    assert!(stored.former(&name("good"), &scratch).unwrap().is_none());
    workspace.assert_nothing_left();
}

#[test]
fn an_exported_file_that_is_cut_off_or_of_a_later_form_is_refused() {
    let workspace = workspace();
    workspace.forge(["task"]).expect(0);
    let file = workspace.path("night.forge");
    export(&workspace.packed(), &mut fs::File::create(&file).unwrap()).unwrap();
    let whole = fs::read(&file).unwrap();
    let path = file.to_str().unwrap();
    for length in [600, 1100, whole.len() / 2, whole.len() - 4000] {
        fs::write(&file, &whole[..length]).unwrap();
        let told = workspace.find(path).unwrap_err();
        assert!(told.contains("this is no stored run"), "{length}: {told}");
    }
    let later =
        String::from_utf8_lossy(&whole).replace("\"baseline_version\":1", "\"baseline_version\":7");
    fs::write(&file, later.as_bytes()).unwrap();
    let told = workspace.find(path).unwrap_err();
    assert!(told.contains("the form 7 of such files"), "{told}");
    export(&workspace.packed(), &mut fs::File::create(&file).unwrap()).unwrap();
    assert!(fs::read(&file).unwrap() == whole, "same run, same bytes");
}

#[test]
fn a_candidate_with_a_secret_in_it_is_not_kept_and_that_is_said() {
    let workspace = workspace();
    workspace.forge(["task"]).expect(0);
    let folder = RunFolder::find(&workspace.artifacts(), "latest").unwrap();
    let candidates = load_dir(&workspace.path("candidates"), &[]).unwrap();
    let redactor = Redactor::new([Secret::new("cost_usd\": 0.5".to_owned())]);
    // As the run itself kept them, which knew of no secret.
    fs::remove_dir_all(folder.path().join("candidates")).unwrap();
    let remarks = pack_all(&folder, &candidates, &redactor);
    assert_eq!(remarks.len(), 1);
    assert_eq!(
        remarks[0],
        "candidate `good`: it is not kept with this run, and cannot be run again from it: `good.sh` has a secret in it"
    );
    assert!(!folder.path().join("candidates/good.tar").exists());
    let stored = workspace.find("latest").unwrap();
    assert_eq!(
        stored
            .packs
            .keys()
            .map(CandidateName::as_str)
            .collect::<Vec<_>>(),
        ["bad"]
    );
}

#[test]
fn a_run_is_blessed_shown_exported_and_forgotten() {
    let workspace = workspace();
    let told = workspace.forge(["baseline", "show"]).expect(2);
    assert!(
        told.stderr.contains("no run of `artifacts` is blessed"),
        "{}",
        told.stderr
    );
    assert!(
        told.stderr.contains("`forge baseline set RUN`"),
        "{}",
        told.stderr
    );
    let told = workspace.forge(["baseline", "export", "x.forge"]).expect(2);
    assert!(told.stderr.contains("is blessed"), "{}", told.stderr);
    workspace.forge(["baseline", "set", "latest"]).expect(2);
    workspace.forge(["task"]).expect(0);
    let folder = workspace.packed();
    let set = workspace.forge(["baseline", "set", "latest"]).expect(0);
    assert!(set.stdout.starts_with("blessed: "), "{}", set.stdout);
    assert_eq!(set.stderr, "");
    let link = fs::read_link(workspace.path("artifacts/blessed")).unwrap();
    assert_eq!(link.to_str(), folder.path().file_name().unwrap().to_str());
    // A later run is not it.
    workspace.forge(["task"]).expect(0);
    let blessed = workspace.find("blessed").unwrap();
    assert_eq!(blessed.version, "blessed");
    assert_eq!(
        folder.path().file_name().unwrap().to_str().unwrap(),
        blessed.run.to_string()
    );
    let report = workspace.forge(["report", "blessed"]).expect(0);
    assert!(
        report.stdout.contains(&blessed.run.to_string()),
        "{}",
        report.stdout
    );
    let shown = workspace.forge(["baseline", "show"]).expect(0);
    assert!(
        shown.stdout.contains(&blessed.run.to_string()),
        "{}",
        shown.stdout
    );
    assert_eq!(
        shown.stdout.matches("can be run again").count(),
        2,
        "{}",
        shown.stdout
    );
    let json = workspace.forge(["baseline", "show", "--json"]).expect(0);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["run"], blessed.run.to_string());
    assert_eq!(json["candidates"][1]["pack"], true);
    assert_eq!((&json["trials"], &json["lost"]), (&2.into(), &0.into()));
    workspace
        .forge(["baseline", "export", "night.forge"])
        .expect(0);
    let file = workspace.path("night.forge");
    assert_eq!(
        workspace.find(file.to_str().unwrap()).unwrap().run,
        blessed.run
    );
    // Where a path leads is written, and what leads there stays: a device as well.
    let alias = workspace.path("alias.forge");
    std::os::unix::fs::symlink(&file, &alias).unwrap();
    workspace
        .forge(["baseline", "export", "alias.forge"])
        .expect(0);
    assert!(fs::symlink_metadata(&alias).unwrap().is_symlink());
    workspace
        .forge(["baseline", "export", "/dev/null"])
        .expect(0);
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    fs::remove_dir_all(workspace.path("artifacts/latest/candidates")).unwrap();
    let other = workspace
        .forge(["baseline", "export", "other.forge", "latest"])
        .expect(0);
    assert!(
        other.stderr.contains("has no files of `bad`, `good`"),
        "{}",
        other.stderr
    );
    let clear = workspace.forge(["baseline", "clear"]).expect(0);
    assert!(
        clear.stdout.contains("its folder stays"),
        "{}",
        clear.stdout
    );
    assert!(folder.path().is_dir());
    let again = workspace.forge(["baseline", "clear"]).expect(0);
    assert_eq!(again.stdout, "no run was blessed\n");
    let json = workspace.forge(["baseline", "show", "--json"]).expect(2);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["exit"]["code"], 2);
    assert!(
        json["problems"][0]["hint"]
            .as_str()
            .unwrap()
            .contains("baseline set")
    );
}

#[test]
fn a_run_that_is_not_whole_is_not_blessed_and_nothing_else_is_replaced() {
    let workspace = workspace();
    workspace.forge(["task"]).expect(0);
    let journal = workspace.run_folder().join("events.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let without = |what: &[&str]| {
        let lines = text
            .lines()
            .filter(|line| what.iter().all(|what| !line.contains(what)));
        let lines: Vec<&str> = lines.collect();
        fs::write(&journal, lines.join("\n") + "\n").unwrap();
        let told = workspace
            .forge(["baseline", "set", "latest"])
            .expect(2)
            .stderr;
        assert!(told.contains("hint: "), "{told}");
        assert!(!workspace.path("artifacts/blessed").exists());
        told
    };
    assert!(without(&["run_finished"]).contains("is not over, or was killed"));
    assert!(without(&["trial_finished"]).contains("no trial of the run"));
    let one_lost = text
        .lines()
        .find(|line| line.contains("trial_finished"))
        .unwrap();
    let told = without(&[&one_lost[..30]]);
    assert!(told.contains("1 of the 2 trials of the run"), "{told}");
    fs::write(&journal, &text).unwrap();
    fs::create_dir(workspace.path("artifacts/blessed")).unwrap();
    let told = workspace.forge(["baseline", "set", "latest"]).expect(3);
    assert!(told.stderr.contains("which stays"), "{}", told.stderr);
    let told = workspace.forge(["baseline", "clear"]).expect(3);
    assert!(
        told.stderr.contains("is no link, and stays"),
        "{}",
        told.stderr
    );
    fs::remove_dir(workspace.path("artifacts/blessed")).unwrap();
    // By another name, it is the same run; and a link to a folder that somebody has removed.
    workspace
        .forge(["baseline", "set", "artifacts/latest"])
        .expect(0);
    let link = fs::read_link(workspace.path("artifacts/blessed")).unwrap();
    assert_ne!(link.to_str(), Some("latest"));
    let elsewhere = workspace.run_folder();
    let told = workspace
        .forge([
            "baseline",
            "set",
            elsewhere.to_str().unwrap(),
            "--artifacts",
            "other",
        ])
        .expect(2);
    assert!(
        told.stderr.contains("so it cannot be blessed there"),
        "{}",
        told.stderr
    );
    fs::remove_dir_all(workspace.run_folder()).unwrap();
    let told = workspace.forge(["baseline", "show"]).expect(2);
    assert!(
        told.stderr.contains("is not in `artifacts` any more"),
        "{}",
        told.stderr
    );
}

#[test]
fn a_candidate_beside_itself_is_nothing_to_compare_others_with() {
    let workspace = workspace();
    workspace.forge(["aa", "good", "-n1", "-k2"]).expect(0);
    let told = workspace.forge(["baseline", "set", "latest"]).expect(2);
    assert!(
        told.stderr.contains("is one of `forge aa`"),
        "{}",
        told.stderr
    );
    assert!(!workspace.path("artifacts/blessed").exists());
}

#[test]
fn a_baseline_that_was_scored_again_since_is_compared_with_nothing_and_that_is_the_verdict() {
    let workspace = workspace();
    workspace.forge(["task", "-k2"]).expect(0);
    workspace.forge(["baseline", "set", "latest"]).expect(0);
    workspace.forge(["score", "blessed"]).expect(0);
    let told = workspace.forge(["task", "-k2", "--baseline=blessed", "--fail-on=drifted"]);
    for part in ["Verdict: INVALID", "anew"] {
        assert!(told.stdout.contains(part), "{}", told.stdout);
    }
    assert_eq!(told.code, Some(2), "{}", told.stdout);
}

#[test]
fn no_objective_is_called_like_the_folder_of_packs() {
    let workspace = workspace().file("objectives/candidates.yaml", "prompt: x\n");
    let told = workspace.forge(["candidates"]).expect(2);
    assert!(
        told.stderr
            .contains("an objective cannot be called `candidates`"),
        "{}",
        told.stderr
    );
}
