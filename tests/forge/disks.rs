//! Where results go fails: a disk that is full, a folder that cannot be written to or is gone; and clocks that jump.
//!
//! Each time the run says why it ends, begins nothing more, deletes its sandboxes, and can be gone on with.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::isolation::passed_on;
use crate::support::skipped;
use crate::support::workspace::{Ended, Workspace, finish, pause, read_json};

/// The command inside of another one, the last of whose words is a script that has it as its arguments.
fn inside(outer: &[&str], command: &Command) -> Command {
    let mut through = Command::new(outer[0]);
    through.args(&outer[1..]).arg("sh");
    passed_on(through, command)
}

/// The trials of the newest run that have a score, and the ends of the others.
fn results(workspace: &Workspace) -> (usize, BTreeSet<String>) {
    let trials = workspace.trials();
    let scored = trials.values().filter(|it| it["score"].is_number()).count();
    let others = trials.values().filter(|it| !it["score"].is_number());
    let kind = |it: &Value| it["error_kind"].as_str().unwrap().to_owned();
    (scored, others.map(kind).collect())
}

#[track_caller]
fn assert_says(ended: &Ended, what: &str) {
    assert!(ended.stderr.contains(what), "{}", ended.stderr);
}

#[test]
fn a_full_disk_ends_the_run_and_with_more_room_it_goes_on() {
    let script = "#!/bin/sh\nhead -c 300000 /dev/zero | tr '\\0' x > \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", script)]);
    // A disk of its own, which only it sees, is made larger before the second time.
    let steps = "mkdir -p artifacts; mount -t tmpfs -o size=1200k none artifacts || exit 77; \
                 \"$@\" task -k8 -j2; [ $? = 3 ] || exit 1; \
                 mount -o remount,size=100m artifacts || exit 77; \
                 \"$@\" --resume latest; code=$?; \
                 cp -a artifacts kept && exit $code";
    let maps = if rustix::process::geteuid().is_root() {
        "--mount"
    } else {
        "--map-root-user"
    };
    let outer = ["unshare", "--mount", maps, "sh", "-c", steps];
    let forge = workspace.command(["--no-progress"; 0]);
    let ended = finish(inside(&outer, &forge).spawn().unwrap());
    if ended.code == Some(77) || ended.stderr.starts_with("unshare:") {
        return skipped("a full disk", "no disk can be mounted here");
    }
    let ended = ended.expect(0);
    assert_says(&ended, "the run's folder cannot be written to: ");
    assert_says(&ended, "No space left on device");
    let told = ended.stderr.matches("stopping: the run's folder").count();
    assert_eq!(told, 1, "{}", ended.stderr);
    assert!(ended.stdout.contains("Next: forge --resume"));
    std::fs::remove_dir_all(workspace.path("artifacts")).unwrap();
    std::fs::rename(workspace.path("kept"), workspace.path("artifacts")).unwrap();
    assert_eq!(results(&workspace), (8, BTreeSet::new()));
    // Those under way when it was full were begun twice, though that may not be told; of the others none was.
    let journal = std::fs::read_to_string(workspace.path("artifacts/latest/events.jsonl")).unwrap();
    let begun = journal.matches("\"event\":\"trial_started\"").count();
    assert!((8..=11).contains(&begun), "{begun}");
    workspace.assert_nothing_left();
}

#[test]
fn a_journal_that_cannot_be_written_ends_the_run_and_what_it_has_is_kept() {
    let script = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", script)]);
    let limited = "trap '' XFSZ; ulimit -f 60; exec \"$@\"";
    let forge = workspace.command(["task", "-k60", "-j2"]);
    let ended = finish(inside(&["sh", "-c", limited], &forge).spawn().unwrap()).expect(3);
    assert_says(
        &ended,
        "the run's folder cannot be written to: events.jsonl: File too large",
    );
    workspace.assert_nothing_left();
    let kept = |workspace: &Workspace| {
        let journal = workspace.path("artifacts/latest/events.jsonl");
        let journal = std::fs::read_to_string(journal).unwrap();
        let ends = |it: &&str| it.contains("\"event\":\"trial_finished\"") && it.ends_with('}');
        journal.lines().filter(ends).count()
    };
    let before = kept(&workspace);
    assert!((1..60).contains(&before), "{before}");
    workspace.forge(["--resume", "latest"]).expect(0);
    assert_eq!(results(&workspace), (60, BTreeSet::new()));
    assert_eq!(kept(&workspace), 60);
    workspace.assert_nothing_left();
}

#[test]
fn a_run_whose_folder_is_gone_ends_and_leaves_nothing() {
    let script = "#!/bin/sh\nwhile ! [ -e \"$GONE\" ]; do sleep 0.05; done\n\
                  echo \"hello from the script\" > \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", script)]);
    let gone = workspace.path("gone");
    let gone = format!("GONE={}", gone.display());
    let arguments = ["task", "-k20", "-j2", "--isolation", "process", "--env"];
    let mut command = workspace.command(arguments.iter().copied().chain([gone.as_str()]));
    let running = command.spawn().unwrap();
    let all = workspace.path("artifacts");
    let begun = || {
        let runs = std::fs::read_dir(&all).into_iter().flatten().flatten();
        let mut trials = runs.map(|it| it.path().join("task/a/2"));
        trials.any(|it| it.exists())
    };
    while !begun() {
        pause();
    }
    let moved = workspace.path("moved");
    std::fs::rename(&all, moved).unwrap();
    std::fs::write(workspace.path("gone"), "").unwrap();
    let ended = finish(running).expect(3);
    assert_says(&ended, "the run's folder cannot be written to");
    assert_says(&ended, "No such file or directory");
    workspace.assert_nothing_left();
}

#[test]
fn a_folder_that_cannot_be_written_to_is_refused_before_anything_starts() {
    if rustix::process::geteuid().is_root() {
        return skipped("a folder that is read-only", "root writes everywhere");
    }
    let workspace = Workspace::with(&[("a.sh", "#!/bin/sh\necho started >&2\n")]);
    let folder = workspace.path("artifacts");
    std::fs::create_dir_all(&folder).unwrap();
    let mode = |mode| std::fs::set_permissions(&folder, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o555);
    let ended = workspace.forge(["task"]);
    mode(0o755);
    let ended = ended.expect(2);
    assert_says(&ended, "artifacts");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    workspace.assert_nothing_left();
}

/// The clock of day goes back an hour and then on two days, time and again, for whoever has this loaded.
const JUMPING: &str = "
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    static unsigned calls;
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, \"clock_gettime\");
    int code = real(clock, time);
    if (clock == CLOCK_REALTIME) {
        unsigned call = __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
        time->tv_sec += call % 7 == 3 ? -3600 : call % 7 == 5 ? 172800 : 0;
    }
    return code;
}
";

#[test]
fn a_clock_that_jumps_changes_neither_the_order_nor_the_result() {
    let script = "#!/bin/sh\nsleep 0.05\necho \"hello from the script\" > \"$2\"\n";
    let workspace = Workspace::with(&[("a.sh", script), ("b.sh", script)]);
    let library = workspace.path("clock.so");
    std::fs::write(workspace.path("clock.c"), JUMPING).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(workspace.path("clock.c"))
        .args(["-ldl"])
        .status();
    if !compiled.is_ok_and(|it| it.success()) {
        return skipped("a clock that jumps", "there is no C compiler");
    }
    let mut command = workspace.command(["task", "-k6", "-j3", "--deadline", "10m"]);
    command.env("LD_PRELOAD", &library);
    finish(command.spawn().unwrap()).expect(0);
    assert_eq!(results(&workspace), (12, BTreeSet::new()));
    let run = workspace.run_json();
    let took = run["took_seconds"].as_f64().unwrap();
    assert!((0.0..600.0).contains(&took), "{took}");
    let journal = std::fs::read_to_string(workspace.path("artifacts/latest/events.jsonl")).unwrap();
    let events: Vec<Value> = journal
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let times: Vec<jiff::Timestamp> = events
        .iter()
        .map(|it| it["at"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(times.is_sorted());
    // It did jump, be it at the first event.
    let ahead = times.last().unwrap().duration_since(jiff::Timestamp::now());
    assert!(ahead.as_hours() >= 24);
    // What was told is what can be told again.
    let live = read_json(&workspace.run_folder().join("run.json"));
    workspace.forge(["report", "latest"]).expect(0);
    assert_eq!(read_json(&workspace.run_folder().join("run.json")), live);
    workspace.assert_nothing_left();
}
