//! The key is in no file, no output, no argument and no environment but forge's own.

use std::collections::BTreeSet;
use std::path::Path;

use axum::http::StatusCode;

use super::{Cloud, signal};
use crate::support::fake_daytona::Route;
use crate::support::fake_daytona::fault::{Before, Canned, Rule, When};
use crate::support::workspace::{finish, wait};

fn holds(bytes: &[u8], key: &str) -> bool {
    bytes
        .windows(key.len())
        .any(|window| window == key.as_bytes())
}

fn search(folder: &Path, key: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            search(&path, key, found);
        } else if holds(&std::fs::read(&path).unwrap(), key) {
            found.push(path.display().to_string());
        }
    }
}

/// The processes below one, as far as `/proc` tells.
fn descendants(root: u32) -> BTreeSet<u32> {
    let parent = |pid: u32| -> Option<u32> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        fields.split_whitespace().nth(1)?.parse().ok()
    };
    let all: Vec<(u32, u32)> = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, parent(pid)?)))
        .collect();
    let mut found = BTreeSet::from([root]);
    loop {
        let more = all
            .iter()
            .filter(|(_, parent)| found.contains(parent))
            .map(|(pid, _)| *pid);
        let grown: BTreeSet<u32> = found.iter().copied().chain(more).collect();
        if grown.len() == found.len() {
            return found;
        }
        found = grown;
    }
}

/// While forge runs: the key is in no arguments, and in no environment below its own.
#[track_caller]
fn assert_no_process_has_it(forge: u32, key: &str) {
    for pid in descendants(forge) {
        let read = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        assert!(!holds(&read("cmdline"), key), "in the arguments of {pid}");
        let is_its_own = pid == forge || read("exe").is_empty() && read("cmdline").is_empty();
        assert!(
            is_its_own || !holds(&read("environ"), key),
            "in the environment of {pid}"
        );
    }
}

#[test]
fn the_key_is_nowhere() {
    let nosy = "#!/bin/sh\necho began\nenv; echo \"$@\"; env > \"$2\"\nsleep 2\n";
    for mode in [&["--daytona"][..], &[]] {
        let cloud = Cloud::of(nosy, vec![]);
        let key = cloud.fake.api_key().to_owned();
        let arguments = mode.iter().copied();
        let arguments = arguments.chain(["task", "-v", "--log-file", "forge.log"]);
        let child = cloud
            .command(arguments)
            .env("RUST_LOG", "trace")
            .spawn()
            .unwrap();
        let forge = child.id();
        wait(1200);
        assert_no_process_has_it(forge, &key);
        let ended = finish(child).expect(0);
        for text in [&ended.stdout, &ended.stderr] {
            assert!(!holds(text.as_bytes(), &key), "{text}");
        }
        let mut found = Vec::new();
        search(&cloud.workspace.path("."), &key, &mut found);
        assert_eq!(found, [""; 0]);
        let log = cloud.workspace.path("forge.log").metadata().unwrap().len();
        assert!(log > 0, "there was something to search");
        for seen in cloud.fake.book() {
            assert_eq!(seen.key_in, [""; 0], "{} {}", seen.method, seen.path);
        }
    }
}

/// A proxy or a server may put what it was sent into its complaint.
#[test]
fn the_key_is_nowhere_when_the_server_repeats_it() {
    let cloud = Cloud::of(super::WRITES, vec![]);
    let key = cloud.fake.api_key().to_owned();
    let says = Canned::error(StatusCode::BAD_REQUEST, &format!("bad header Bearer {key}"));
    let rule = Rule::route(Route::Create, When::Nth(1), Before::Answer(says));
    cloud.fake.add_fault(rule);
    let mut command = cloud.command(["--daytona", "task", "-v", "--log-file", "forge.log"]);
    let child = command.env("RUST_LOG", "trace").spawn().unwrap();
    let ended = finish(child).expect(3);
    assert!(ended.stderr.contains("bad header"), "{}", ended.stderr);
    assert!(!holds(
        format!("{}{}", ended.stdout, ended.stderr).as_bytes(),
        &key
    ));
    let mut found = Vec::new();
    search(&cloud.workspace.path("."), &key, &mut found);
    assert_eq!(found, [""; 0]);
}

/// Errors, too, and what is left when it was interrupted.
#[test]
fn the_key_is_nowhere_when_things_go_wrong() {
    let cloud = Cloud::of(super::SLEEPS, vec![]);
    let key = cloud.fake.api_key().to_owned();
    let arguments = ["--daytona", "task", "--log-file", "forge.log"];
    let child = cloud
        .command(arguments)
        .env("RUST_LOG", "trace")
        .spawn()
        .unwrap();
    cloud.wait_for_candidate();
    cloud.fake.set_permissions(&[]);
    signal(&child, "TERM");
    let ended = finish(child).expect(4);
    assert!(!holds(
        format!("{}{}", ended.stdout, ended.stderr).as_bytes(),
        &key
    ));
    let mut found = Vec::new();
    search(&cloud.workspace.path("."), &key, &mut found);
    assert_eq!(found, [""; 0]);
    cloud.fake.allow_leaks();
}
