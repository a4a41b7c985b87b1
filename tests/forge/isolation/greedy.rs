//! Candidates that want more than the limits: they do not get it, and the result says which limit it was.

use std::sync::{PoisonError, RwLock};

use serde_json::{Value, json};

use super::table::{compare, family};
use super::{Level, Verdicts, Yard, on, on_each_level};

const GREEDY: &str = include_str!("probes/greedy.py");

const MEMORY: u64 = 256 << 20;
const DISK: u64 = 128 << 20;
const PROCESSES: u64 = 100;

/// What forge itself ends, and the word that it has for the limit.
const ENDED: [(&str, &str); 22] = [
    ("memory-of-children", "memory"),
    ("abandoned-memory", "memory"),
    ("abandoned-memory-files", "memory"),
    ("hidden-memory", "memory"),
    ("memory-behind-files", "memory"),
    ("memory-in-flight", "memory"),
    ("memory-of-unreadable", "memory"),
    ("memory-without-first-thread", "memory"),
    ("memory-files-without-first-thread", "memory"),
    ("page-tables", "memory"),
    ("watched-descriptors", "e"),
    ("socket-buffers", "memory"),
    ("socket-buffers-without-senders", "memory"),
    ("connections-that-nobody-accepts", "memory"),
    ("connections-whose-senders-closed", "memory"),
    ("closed-files", "disk"),
    ("moving-files", "disk"),
    ("memory-files", "memory"),
    ("many-files", "disk"),
    ("temporary-files", "disk"),
    ("artifact-files", "disk"),
    ("unlinked-files", "disk"),
];

on_each_level!(
    nobody_gets_more_than_the_limits,
    who_fails_for_want_of_memory_has_reached_the_limit,
    what_a_trial_has_used_is_told,
    what_a_trial_has_used_until_it_was_ended_is_told,
    sandboxes_do_not_count_what_others_have,
    files_of_many_names_count_once,
);

fn limits() -> Value {
    json!({"memory": MEMORY, "disk": DISK, "processes": PROCESSES})
}

fn yard(candidates: &[&str]) -> Yard {
    let candidates: Vec<(&str, &str)> = candidates.iter().map(|name| (*name, GREEDY)).collect();
    Yard::new(&candidates)
        .objective("task", &limits(), "")
        .file(
            "forge.yaml",
            "local: {memory: 256MiB, disk: 128MiB, processes: 100}\n",
        )
}

/// Those that want many processes or threads. The kernel counts these for a user, so for a moment others of that
/// user are refused theirs too, here and in the other levels' tests.
const NUMEROUS: [&str; 4] = [
    "processes",
    "threads",
    "burst-of-processes",
    "burst-of-threads",
];
static NUMBERS: RwLock<()> = RwLock::new(());

/// Runs these, and says what was seen of each and what was wrong.
fn tried(level: Level, names: &[&str], jobs: &str) -> (Verdicts, Vec<String>) {
    let yard = yard(names);
    let ended = yard.forge(level, &["-j", jobs, "--timeout", "100s"]);
    // Some of them are ended, or all, which is their own doing.
    assert!(matches!(ended.code, Some(0 | 1)), "{}", ended.stderr);
    let mut verdicts = Verdicts::new();
    let mut wrong = Vec::new();
    for name in names {
        let trial = yard.trial(level, "task", name);
        let message = trial["error_message"].as_str().unwrap_or_default();
        if trial["error_kind"] == "limit" {
            let why = message.to_owned();
            verdicts.insert((*name).to_owned(), ("BLOCKED".to_owned(), why));
        } else {
            assert!(
                trial["error_kind"].is_null(),
                "{name}: {message} {}",
                yard.stderr("task", name)
            );
            let said = yard.verdicts(level, "task", name);
            let said = said.into_values().next().unwrap();
            verdicts.insert((*name).to_owned(), said);
        }
        let Some((_, word)) = ENDED.iter().find(|(ended, _)| ended == name) else {
            continue;
        };
        // `ended at 312 MiB of memory; 256 MiB are allowed`
        let figures = message.matches(char::is_numeric).count();
        if trial["error_kind"] != "limit" || !message.contains(word) || figures < 4 {
            wrong.push(format!("{name} should name {word}: {trial}"));
        }
    }
    yard.workspace.assert_nothing_left();
    (verdicts, wrong)
}

fn nobody_gets_more_than_the_limits(level: Level) {
    let (numerous, others): (Vec<&str>, Vec<&str>) = family("greedy/")
        .into_iter()
        .partition(|name| NUMEROUS.contains(name));
    // The many first: they can go on beside those of other levels.
    let (mut verdicts, mut wrong) = {
        let _together = NUMBERS.read().unwrap_or_else(PoisonError::into_inner);
        tried(level, &others, "3")
    };
    let (more, more_wrong) = {
        let _alone = NUMBERS.write().unwrap_or_else(PoisonError::into_inner);
        tried(level, &numerous, "1")
    };
    verdicts.extend(more);
    wrong.extend(more_wrong);
    wrong.extend(compare(level, "greedy", &verdicts));
    assert!(wrong.is_empty(), "{level:?}:\n{}", wrong.join("\n"));
}

fn who_fails_for_want_of_memory_has_reached_the_limit(level: Level) {
    // Long enough for the meter to see it.
    let hungry = "import time\n\
        held = []\n\
        try:\n\
        \x20   while True: held.append(bytearray(b'x') * (1 << 20))\n\
        except MemoryError: time.sleep(1); raise\n";
    let sated = "import sys, time\n\
        held = bytearray(b'x') * (100 << 20)\n\
        time.sleep(1)\n\
        sys.exit(7)\n";
    // What is mapped from a file is the kernel's to take away again.
    let reader = "import mmap, sys, time\n\
        with open('big', 'wb') as file:\n\
        \x20   for _ in range(320): file.write(b'x' * (1 << 20))\n\
        file = open('big', 'rb')\n\
        held = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)\n\
        for at in range(0, len(held), 4096): held[at]\n\
        time.sleep(1)\n\
        sys.exit(7)\n";
    let yard = Yard::new(&[("hungry", hungry), ("sated", sated), ("reader", reader)])
        .objective("task", &json!({}), "")
        .file("forge.yaml", "local: {memory: 256MiB}\n");
    yard.forge(level, &["--timeout", "40s"]).expect(1);
    let trial = yard.trial(level, "task", "hungry");
    assert_eq!(trial["error_kind"], "limit", "{trial}");
    let message = trial["error_message"].as_str().unwrap();
    assert!(
        message.ends_with(" of memory; 256 MiB are allowed"),
        "{trial}"
    );
    for name in ["sated", "reader"] {
        let trial = yard.trial(level, "task", name);
        assert_eq!(trial["error_kind"], "candidate", "{trial}");
        assert_eq!(trial["exit_code"], 7, "{trial}");
    }
}

/// Two seconds of work, and 100 MB.
const BUSY: &str = "import sys, time\n\
    held = bytearray(100_000_000)\n\
    held[::4096] = b'x' * len(range(0, len(held), 4096))\n\
    while time.process_time() < 0.5: pass\n\
    open(sys.argv[2], 'w').write('done with the work')\n";

fn what_a_trial_has_used_is_told(level: Level) {
    let yard = Yard::new(&[("busy", BUSY)]).objective("task", &json!({}), "");
    yard.forge(level, &["--timeout", "40s"]).expect(0);
    let usage = yard.trial(level, "task", "busy")["usage"].clone();
    let memory = usage["peak_memory_bytes"].as_u64().unwrap();
    assert!((100_000_000..400_000_000).contains(&memory), "{usage}");
    let cpu = usage["cpu_milliseconds"].as_u64().unwrap();
    assert!((500..20_000).contains(&cpu), "{usage}");
}

fn what_a_trial_has_used_until_it_was_ended_is_told(level: Level) {
    let endless = BUSY.replace("time.process_time() < 0.5", "True");
    let yard = Yard::new(&[("endless", &endless)]).objective("task", &json!({}), "");
    yard.forge(level, &["--timeout", "2s"]).expect(1);
    let trial = yard.trial(level, "task", "endless");
    assert_eq!(trial["error_kind"], "timeout", "{trial}");
    let cpu = trial["usage"]["cpu_milliseconds"].as_u64().unwrap();
    assert!((100..20_000).contains(&cpu), "{trial}");
}

/// Has 100 processes for a second.
const CROWD: &str = "import os, sys, time\n\
    for _ in range(100):\n\
    \x20   if os.fork() == 0: time.sleep(1); os._exit(0)\n\
    for _ in range(100): os.wait()\n\
    open(sys.argv[2], 'w').write('all of them came')\n";

fn sandboxes_do_not_count_what_others_have(level: Level) {
    let yard = Yard::new(&[("one", CROWD), ("two", CROWD), ("three", CROWD)])
        .objective("task", &json!({}), "")
        .file("forge.yaml", "local: {processes: 110}\n");
    yard.forge(level, &["-j", "3", "--timeout", "40s"])
        .expect(0);
    for name in ["one", "two", "three"] {
        let trial = yard.trial(level, "task", name);
        assert!(trial["error_kind"].is_null(), "{trial}");
    }
}

/// One file of 64 MiB.
const LINKS: &str = "import os, sys, time\n\
    with open('file', 'wb') as file:\n\
    \x20   for _ in range(64): file.write(b'x' * (1 << 20))\n\
    for name in range(20): os.link('file', f'link{name}')\n\
    time.sleep(1)\n\
    open(sys.argv[2], 'w').write('still here, and alone')\n";

fn files_of_many_names_count_once(level: Level) {
    let yard = Yard::new(&[("links", LINKS)])
        .objective("task", &json!({}), "")
        .file("forge.yaml", "local: {disk: 128MiB}\n");
    yard.forge(level, &["--timeout", "40s"]).expect(0);
    let trial = yard.trial(level, "task", "links");
    assert!(trial["error_kind"].is_null(), "{trial}");
}
