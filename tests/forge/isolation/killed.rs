//! `kill -9` at any moment, of forge, of its keepers, and of both; very many sandboxes; trees that do not want
//! to go. Counts are small unless the environment asks for more.

use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::{Level, Yard, on, on_each_level};
use crate::support::workspace::{finish, pause, wait};

on_each_level!(
    a_forge_that_is_killed_at_any_moment_leaves_nothing,
    keepers_that_are_killed_leave_nothing,
    helpers_that_are_stopped_go_on,
    a_spawner_that_is_killed_is_replaced,
    both_killed_leave_nothing_but_files_which_the_next_run_removes,
    many_sandboxes_at_once_are_all_served,
    trees_that_do_not_want_to_go_are_removed,
);

/// Slow in the kernel: each level of a deep tree costs more than the one above it.
#[test]
fn very_deep_and_very_wide_trees_are_removed() {
    on(Level::Namespaces, |level| {
        let levels = scaled("FORGE_TEST_LEVELS", 20_000);
        let entries = scaled("FORGE_TEST_ENTRIES", 20_000);
        trees_are_removed(level, levels, entries);
    });
}

/// A number of the environment.
fn scaled(name: &str, usual: u32) -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a test's own scale")]
    let value = std::env::var(name);
    value.map_or(usual, |text| text.parse().unwrap())
}

/// Stays, with a daemon of its own. The first is as fast as a program can be.
const STAYS: &str = "import os, sys, time\n\
    from common import neighbour\n\
    held = neighbour('hello ' + os.environ['FORGE_CANDIDATE'])\n\
    held.recv(3)\n\
    if os.fork() == 0:\n\
    \x20   os.setsid()\n\
    \x20   if os.fork(): os._exit(0)\n\
    time.sleep(300)\n";

fn yard() -> Yard {
    let candidates = ["one", "two", "three"].map(|name| (name, STAYS));
    Yard::new(&candidates)
        .objective("task", &json!({}), "network: open\n")
        .file("candidates/quick.sh", "#!/bin/sh\nexec sleep 300\n")
}

/// The processes of a forge that watch over programs: forge itself, run again, and again below that. The
/// spawner comes first; keepers that have lost theirs are nobody's children, and come last.
fn helpers(forge: u32, folder: &Path) -> Vec<Pid> {
    let mut found = children(forge);
    descend(&mut found);
    for pid in in_folder(folder) {
        if !found.contains(&pid) {
            found.push(pid);
        }
    }
    descend(&mut found);
    let is_helper = |pid: &u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).nth(1) == Some(b"__sandbox")
    };
    let pids = found.into_iter().filter(is_helper);
    pids.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
        .collect()
}

/// Adds all that is below these processes.
fn descend(found: &mut Vec<u32>) {
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        for below in children(*pid) {
            if !found.contains(&below) {
                found.push(below);
            }
        }
        next += 1;
    }
}

/// The processes that work in this folder.
fn in_folder(folder: &Path) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_here = |path: &Path| std::fs::read_link(path.join("cwd")).is_ok_and(|at| at == folder);
    all.filter(|it| is_here(&it.path()))
        .filter_map(|it| it.file_name().to_str()?.parse().ok())
        .collect()
}

fn children(of: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{of}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let lists: Vec<String> = threads
        .filter_map(|it| std::fs::read_to_string(it.path().join("children")).ok())
        .collect();
    let ids = lists.iter().flat_map(|it| it.split_whitespace());
    ids.filter_map(|id| id.parse().ok()).collect()
}

fn is_there(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut it| it.next().is_some())
}

/// Waits until nobody holds a connection to the neighbour.
#[track_caller]
fn assert_all_gone(yard: &Yard) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let report = yard.neighbour.report();
        if report["alive"] == json!({}) {
            return;
        }
        assert!(Instant::now() < until, "{report}");
        pause();
    }
}

/// The next start, which sweeps.
fn next_start(yard: &Yard, level: Level) {
    let next = ["-c", "next", "--timeout", "30s"];
    yard.forge(level, &next).expect(0);
    yard.workspace.assert_nothing_left();
}

const NEXT: &str = "import sys\nopen(sys.argv[2], 'w').write('the next one is here')\n";

fn a_forge_that_is_killed_at_any_moment_leaves_nothing(level: Level) {
    let yard = yard().file("candidates/next/main.py", NEXT);
    let count = scaled("FORGE_TEST_KILLS", 20);
    // Steps through the start of forge and of its sandboxes, again and again.
    for round in 0..count {
        let mut forge = yard
            .command(level, &["-c", "[oqt]*", "-j", "4"])
            .spawn()
            .unwrap();
        let moment = u64::from(round).wrapping_mul(7_919_117) % 160_000;
        spin(Duration::from_micros(moment));
        forge.kill().unwrap();
        forge.wait().unwrap();
    }
    assert_all_gone(&yard);
    // Nobody ends them but the keepers: the next start comes later.
    let until = Instant::now() + Duration::from_secs(20);
    while let left = yard.workspace.processes()
        && !left.is_empty()
    {
        assert!(Instant::now() < until, "{left:?}");
        pause();
    }
    next_start(&yard, level);
}

/// Waits for less than a scheduler promises.
fn spin(time: Duration) {
    if time > Duration::from_millis(2) {
        wait(u64::try_from(time.as_millis()).unwrap() - 2);
    }
    let until = Instant::now() + time.min(Duration::from_millis(2));
    while Instant::now() < until {
        std::hint::spin_loop();
    }
}

/// Waits until as many candidates are connected.
#[track_caller]
fn wait_for(yard: &Yard, count: usize) {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let report = yard.neighbour.report();
        if report["alive"].as_object().unwrap().len() == count {
            return;
        }
        assert!(Instant::now() < until, "{report}");
        pause();
    }
}

fn keepers_that_are_killed_leave_nothing(level: Level) {
    // All of them, or all but the first one, which starts the others.
    for spared in [0, 1] {
        let yard = yard();
        let arguments = ["-c", "one", "-c", "two", "-c", "three", "-j", "3"];
        let forge = yard.command(level, &arguments).spawn().unwrap();
        wait_for(&yard, 3);
        let (id, folder) = (forge.id(), yard.started_in());
        let (over, ended) = std::sync::mpsc::channel::<()>();
        // A lost trial is tried again, with another keeper.
        let killer = std::thread::spawn(move || {
            let tick = Duration::from_millis(50);
            while ended.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                for helper in helpers(id, &folder).into_iter().skip(spared) {
                    kill_process(helper, Signal::KILL).ok();
                }
            }
        });
        let ended = finish(forge);
        drop(over);
        killer.join().unwrap();
        assert_eq!(ended.code, Some(3), "{}{}", ended.stdout, ended.stderr);
        assert_all_gone(&yard);
        yard.workspace.assert_nothing_left();
    }
}

/// A keeper that lives on does not make forge wait for a spawner that is dead.
fn a_spawner_that_is_killed_is_replaced(level: Level) {
    let sleeps = |time: u32| {
        format!(
            "import os, sys, time\n\
            from common import neighbour\n\
            held = neighbour('hello ' + os.environ['FORGE_CANDIDATE'])\n\
            held.recv(3)\n\
            time.sleep({time})\n\
            open(sys.argv[2], 'w').write('done with the work')\n"
        )
    };
    let yard = Yard::new(&[("short", &sleeps(2)), ("long", &sleeps(4))]).objective(
        "task",
        &json!({}),
        "network: open\n",
    );
    let arguments = ["-k", "2", "-j", "2", "--timeout", "50s"];
    let forge = yard.command(level, &arguments).spawn().unwrap();
    // Both run, so that no keeper is just being started; the next one is, while the long one still runs.
    wait_for(&yard, 2);
    let spawner = helpers(forge.id(), &yard.started_in())[0];
    kill_process(spawner, Signal::KILL).unwrap();
    let ended = finish(forge).expect(0);
    assert!(!ended.stderr.contains("trying again"), "{}", ended.stderr);
    yard.workspace.assert_nothing_left();
}

/// What a program can do that is of forge's user, on the lowest level.
fn helpers_that_are_stopped_go_on(level: Level) {
    let brief = "import os, sys, time\n\
        from common import neighbour\n\
        held = neighbour('hello ' + os.environ['FORGE_CANDIDATE'])\n\
        held.recv(3)\n\
        time.sleep(1)\n\
        open(sys.argv[2], 'w').write('done with the work')\n";
    let yard = Yard::new(&[("one", brief), ("two", brief)]).objective(
        "task",
        &json!({}),
        "network: open\n",
    );
    let forge = yard
        .command(level, &["-j", "1", "--timeout", "5m"])
        .spawn()
        .unwrap();
    wait_for(&yard, 1);
    // The spawner, and the keeper of the first program.
    let stopped: Vec<Pid> = helpers(forge.id(), &yard.started_in())
        .into_iter()
        .take(2)
        .collect();
    assert_eq!(stopped.len(), 2);
    for helper in &stopped {
        kill_process(*helper, Signal::STOP).unwrap();
    }
    let ended = finish(forge);
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(!ended.stderr.contains("attempt"), "{}", ended.stderr);
    for helper in stopped {
        let there = rustix::process::test_kill_process(helper);
        assert!(there.is_err(), "{helper:?} outlives forge");
    }
    assert_all_gone(&yard);
    yard.workspace.assert_nothing_left();
}

fn both_killed_leave_nothing_but_files_which_the_next_run_removes(level: Level) {
    let yard = yard().file("candidates/next/main.py", NEXT);
    let arguments = ["-c", "one", "-c", "two", "-c", "three", "-j", "3"];
    let mut forge = yard.command(level, &arguments).spawn().unwrap();
    wait_for(&yard, 3);
    let helpers = helpers(forge.id(), &yard.started_in());
    assert!(helpers.len() >= 3, "{helpers:?}");
    // Stopped first, so that none sees another's end.
    for helper in &helpers {
        kill_process(*helper, Signal::STOP).unwrap();
    }
    forge.kill().unwrap();
    forge.wait().unwrap();
    for helper in helpers {
        kill_process(helper, Signal::KILL).unwrap();
    }
    if level == Level::Namespaces {
        assert_all_gone(&yard);
    }
    assert!(is_there(&yard.workspace.path("tmp")), "who removed it?");
    next_start(&yard, level);
    assert_all_gone(&yard);
}

fn many_sandboxes_at_once_are_all_served(level: Level) {
    let count = scaled("FORGE_TEST_SANDBOXES", 40).to_string();
    let together = "#!/bin/sh\nsleep 2\necho \"here, like all the others\" > \"$2\"\n";
    let yard = Yard::new(&[])
        .file("candidates/together.sh", together)
        .objective("task", &json!({}), "");
    let arguments = ["-k", &count, "-j", &count, "--timeout", "50s"];
    yard.forge(level, &arguments).expect(0);
    let run = yard.workspace.run_json();
    let trials = run["trials"].as_array().unwrap();
    assert_eq!(trials.len().to_string(), count);
    for trial in trials {
        assert!(trial["error_kind"].is_null(), "{trial}");
    }
    yard.workspace.assert_nothing_left();
}

const TREES: &str = "import os, sys\n\
    def deep(levels):\n\
    \x20   here = os.open('.', os.O_RDONLY)\n\
    \x20   for _ in range(levels):\n\
    \x20       os.mkdir('d'); os.chdir('d')\n\
    \x20   os.fchdir(here)\n\
    def wide(count, folders):\n\
    \x20   for folder in range(folders):\n\
    \x20       os.mkdir(f'w{folder}')\n\
    \x20       for index in range(count // folders):\n\
    \x20           os.symlink('x', f'w{folder}/{index}')\n\
    def closed():\n\
    \x20   os.makedirs('c/c/c'); open('c/c/c/f', 'w').close()\n\
    \x20   for path in ['c/c/c', 'c/c', 'c']: os.chmod(path, 0)\n\
    LEVELS, ENTRIES = LIMITS\n\
    deep(LEVELS)\n\
    closed()\n\
    os.chdir(os.environ['TMPDIR']); deep(LEVELS // 10); wide(ENTRIES, 7); closed()\n\
    os.chdir(os.environ['FORGE_ARTIFACTS']); wide(500, 1); closed()\n\
    open(sys.argv[2], 'w').write('now remove all of this')\n\
    for folder in [os.environ['FORGE_ARTIFACTS'], os.environ['TMPDIR'], os.environ['HOME']]:\n\
    \x20   try: os.chmod(folder, 0o700)\n\
    \x20   except OSError: pass\n";

fn trees_that_do_not_want_to_go_are_removed(level: Level) {
    trees_are_removed(level, 2000, 2000);
}

fn trees_are_removed(level: Level, levels: u32, entries: u32) {
    let script = TREES.replace("LIMITS", &format!("{levels}, {entries}"));
    let yard = Yard::new(&[("trees", &script)])
        .objective("task", &json!({}), "")
        .file("forge.yaml", "local: {disk: 8GiB}\n");
    yard.forge(level, &["--timeout", "55s"]).expect(0);
    yard.workspace.assert_nothing_left();
}
