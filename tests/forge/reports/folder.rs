//! The run's folder: links, names that would collide, what the library leaves there, what is kept.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use forge::sandbox::local::LocalOptions;
use forge::trial::Keep;
use forge::{Forge, ForgeBuilder, Place};
use serde_json::Value;

use super::{HELLO, workspace};
use crate::support::workspace::{Workspace, read_json};

fn only_run(workspace: &Workspace) -> PathBuf {
    let mut runs: Vec<PathBuf> = fs::read_dir(workspace.path("artifacts"))
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|path| path.join("events.jsonl").is_file())
        .collect();
    assert_eq!(runs.len(), 1);
    runs.pop().unwrap()
}

#[test]
fn what_is_called_latest_stays_and_the_newest_run_is_found_all_the_same() {
    for what in ["artifacts/latest/mine.txt", "artifacts/latest"] {
        let workspace = workspace().file(what, "precious");
        let ended = workspace.forge(["task"]).expect(0);
        assert!(
            ended.stderr.contains("artifacts/latest") && ended.stderr.contains("which stays"),
            "{}",
            ended.stderr
        );
        assert_eq!(
            fs::read_to_string(workspace.path(what)).unwrap(),
            "precious"
        );
        let run = only_run(&workspace);
        let report = fs::read_to_string(run.join("report.md")).unwrap();
        assert!(report.contains("which stays"), "{report}");
        for command in ["report", "score"] {
            let shown = workspace.forge([command, "latest"]).expect(0);
            assert!(shown.stdout.contains("Winner: good"), "{}", shown.stdout);
        }
        let left = fs::read_dir(workspace.path("artifacts")).unwrap();
        assert_eq!(left.count(), 3, "the run, the history, and what was there");
    }
}

#[test]
fn a_copy_of_an_old_run_called_latest_is_not_the_newest() {
    let workspace = workspace();
    workspace.forge(["task"]).expect(0);
    let (old, latest) = (workspace.run_folder(), workspace.path("artifacts/latest"));
    fs::remove_file(&latest).unwrap();
    fs::create_dir(&latest).unwrap();
    for name in ["events.jsonl", "run.json"] {
        fs::copy(old.join(name), latest.join(name)).unwrap();
    }
    workspace.forge(["task", "-c", "good"]).expect(0);
    let shown = workspace.forge(["report", "latest", "--json"]).expect(0);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(shown["planned"], 1);
}

#[test]
fn names_that_would_collide_are_refused_with_a_remedy() {
    for name in ["winner", "Winner", "agent_winner"] {
        let workspace = workspace().candidate(&format!("{name}.sh"), HELLO);
        let refused = workspace.forge(["task"]).expect(2);
        let file = format!("candidates/{name}.sh");
        for part in [file.as_str(), "cannot be called", "`name`"] {
            assert!(refused.stderr.contains(part), "{}", refused.stderr);
        }
        assert!(!workspace.path("artifacts").exists());
        let named = workspace.file(&format!("candidates/{name}.yaml"), "name: best\n");
        named.forge(["task"]).expect(0);
        assert!(named.run_folder().join("task/best/1/trial.json").is_file());
    }
    for name in ["report.md", "Run.json", "events.jsonl"] {
        let workspace = workspace().file(&format!("objectives/{name}.yaml"), "prompt: do it\n");
        let refused = workspace.forge::<&str>([]).expect(2);
        let file = format!("objectives/{name}.yaml");
        for part in [file.as_str(), "cannot be called", "rename its file"] {
            assert!(refused.stderr.contains(part), "{}", refused.stderr);
        }
        workspace.forge(["task"]).expect(0);
    }
}

#[test]
fn a_folder_in_the_place_of_a_winner_stays_and_is_said() {
    let workspace = workspace();
    workspace.forge(["task"]).expect(0);
    // As an older forge left it of a candidate of that name.
    let winner = workspace.run_folder().join("task/winner");
    fs::remove_file(&winner).unwrap();
    fs::create_dir(&winner).unwrap();
    let shown = workspace.forge(["report", "latest"]).expect(0);
    for part in ["task/winner` cannot be made a link", "which stays"] {
        assert!(shown.stderr.contains(part), "{}", shown.stderr);
    }
    assert!(winner.is_dir());
}

fn builder(workspace: &Workspace) -> ForgeBuilder {
    let options = LocalOptions {
        base: workspace.path("tmp"),
        path: std::env::var_os("PATH").unwrap().into_string().unwrap(),
        helper: Some(env!("CARGO_BIN_EXE_forge").into()),
        ..forge::settings::local_options_without_helper(&BTreeMap::new())
    };
    Forge::builder()
        .candidates(workspace.path("candidates"))
        .objectives(workspace.path("objectives"))
        .artifacts(workspace.path("artifacts"))
        .place(Place::Local(options))
}

const REPORTS: [&str; 9] = [
    "run.json",
    "report.md",
    "report.html",
    "junit.xml",
    "trials.csv",
    "verdicts.csv",
    "comment.md",
    "badge.json",
    "trace.json",
];

#[tokio::test]
async fn the_library_leaves_the_reports_that_the_command_line_leaves() {
    let workspace = workspace();
    let run = builder(&workspace).build().run(["task".into()]);
    let result = run.await.unwrap();
    let folder = result.folder().path().to_owned();
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let before: Vec<Vec<u8>> = REPORTS.iter().map(|name| read(name)).collect();
    assert!(folder.join("task/winner/discord_post.md").is_file());
    assert_eq!(
        fs::canonicalize(workspace.path("artifacts/latest")).unwrap(),
        folder
    );
    workspace.forge(["report", "latest"]).expect(0);
    for (name, before) in REPORTS.iter().zip(before) {
        assert!(read(name) == before, "{name} differs");
    }
    let mut text = Vec::new();
    let format = forge::report::Format::Markdown;
    result.report(|it| it.write(format, &mut text)).unwrap();
    assert_eq!(text, read("report.md"));
}

#[tokio::test]
async fn the_library_can_be_told_to_leave_no_reports() {
    let workspace = workspace();
    let forge = builder(&workspace).write_reports(false).build();
    let result = forge.run(["task".into()]).await.unwrap();
    let folder = result.folder().path();
    for name in REPORTS {
        assert!(!folder.join(name).exists(), "{name}");
    }
    assert!(!folder.join("task/winner").exists());
    assert!(folder.join("task/good/1/trial.json").is_file());
    // They can be had later.
    workspace.forge(["report", "latest"]).expect(0);
    assert!(folder.join("report.md").is_file());
}

fn settings(run: &Path) -> BTreeMap<String, (String, String)> {
    let run = read_json(&run.join("run.json"));
    let settings = run["plan"]["settings"].as_object().unwrap();
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    settings
        .iter()
        .map(|(name, it)| (name.clone(), (text(&it["value"]), text(&it["origin"]))))
        .collect()
}

#[track_caller]
fn assert_settings(run: &Path, expected: &[(&str, &str, &str)]) {
    let settings = settings(run);
    for (name, value, origin) in expected {
        let found = &settings[*name];
        assert_eq!(
            (found.0.as_str(), found.1.as_str()),
            (*value, *origin),
            "{name}"
        );
    }
    let unsaid: Vec<_> = settings.iter().filter(|it| it.1.0 == "-").collect();
    assert!(unsaid.is_empty(), "{unsaid:?}");
}

#[test]
fn settings_are_shown_as_they_are_in_force_and_where_they_come_from() {
    let workspace = workspace()
        .file(
            "objectives/slow.yaml",
            "prompt: p\nrepeat: 2\nlimits: {run: 90s}\n",
        )
        .file("forge.yaml", "local: {processes: 99}\n");
    let mut command = workspace.command(["--keep", "failed", "-j", "3", "--isolation", "process"]);
    command.env("FORGE_DEADLINE", "10m");
    crate::support::workspace::finish(command.spawn().unwrap()).expect(0);
    let run = workspace.run_folder();
    assert_settings(
        &run,
        &[
            ("jobs", "3", "flag"),
            ("keep", "failed", "flag"),
            ("deadline", "10m", "environment"),
            ("processes", "99", "forge.yaml"),
            ("memory", "2 GiB", "default"),
            ("network", "open", "default"),
            ("repeat", "2 or 1", "objective"),
            ("timeout", "1m 30s or 10m", "objective"),
            ("setup-timeout", "5m", "default"),
            ("daytona", "false", "default"),
            ("artifacts", "artifacts", "default"),
        ],
    );
    let isolation = &settings(&run)["isolation"];
    assert!(
        isolation.0.starts_with("process") && isolation.1 == "flag",
        "{isolation:?}"
    );
    let report = fs::read_to_string(run.join("report.md")).unwrap();
    assert!(
        report.contains("| timeout | 1m 30s or 10m | objective |"),
        "{report}"
    );
}

#[tokio::test]
async fn the_library_shows_its_settings_too() {
    let workspace = workspace();
    let builder = builder(&workspace).jobs(2).seed(7).keep(Keep::None);
    let builder = builder.deadline(Duration::from_secs(600));
    let result = builder.build().run(["task".into()]).await.unwrap();
    assert_settings(
        result.folder().path(),
        &[
            ("jobs", "2", "caller"),
            ("seed", "7", "caller"),
            ("deadline", "10m", "caller"),
            ("repeat", "1", "default"),
            ("timeout", "10m", "default"),
        ],
    );
}

#[test]
fn what_was_kept_is_told_where_it_is_and_swept_by_a_short_id() {
    let workspace = workspace();
    let ended = workspace.forge(["task", "--keep", "failed"]).expect(0);
    let folder = fs::read_dir(workspace.path("tmp"))
        .unwrap()
        .find_map(|run| {
            let inside = fs::read_dir(run.unwrap().path()).ok()?;
            let mut names = inside.map(|it| it.unwrap().path());
            names.find(|path| path.join("work").is_dir())
        });
    let folder = folder.unwrap().display().to_string();
    assert!(ended.stdout.contains(&folder), "{folder}: {}", ended.stdout);
    let report = || fs::read_to_string(workspace.run_folder().join("report.html")).unwrap();
    assert!(report().contains(&folder), "{}", report());
    let sweep = "forge sweep --run";
    assert!(report().contains(sweep));
    let again = workspace.forge(["report", "latest"]).expect(0);
    assert!(again.stdout.contains(&folder) && again.stdout.contains(sweep));

    let run = workspace.run_folder();
    let id = run.file_name().unwrap().to_str().unwrap();
    let none = workspace.forge(["sweep", "--run", "nope"]).expect(2);
    assert!(
        none.stderr.contains("there is no run `nope`"),
        "{}",
        none.stderr
    );
    let swept = workspace.forge(["sweep", "--run", &id[id.len() - 8..id.len() - 3]]);
    let swept = swept.expect(0);
    assert!(swept.stdout.contains("deleted forge-"), "{}", swept.stdout);
    assert!(!Path::new(&folder).exists());

    let later = workspace.forge(["report", "latest"]).expect(0);
    assert!(
        later.stdout.contains("1 deleted, 1 swept since"),
        "{}",
        later.stdout
    );
    assert!(!later.stdout.contains(&folder) && !report().contains(sweep));
    workspace.assert_nothing_left();
}
