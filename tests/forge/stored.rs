//! Runs in an object store: written through, fetched, gone on with elsewhere, and merged.

mod others;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use forge::event::Part;
use forge::name::ObjectiveName;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::resuming::{TASK, steady, without_times};
use crate::support::s3::{Fault, KEY, SECRET, Server, until};
use crate::support::workspace::{Ended, Workspace, finish, pause};

const STORE: &str = "s3://runs/of/a night";
const SHARDS: u32 = 3;
/// A run that has said nothing for so long is not alive.
const LONG: Duration = Duration::from_secs(100);

/// A machine: a folder of its own with the same project.
pub(crate) fn machine(objectives: usize, seconds: &str) -> Workspace {
    let steady = steady(seconds);
    let workspace = Workspace::new()
        .candidate("a.sh", &steady)
        .candidate("b.sh", &steady)
        .file("forge.yaml", format!("artifacts: \"{STORE}\"\n"));
    (0..objectives).fold(workspace, |workspace, number| {
        workspace.file(&format!("objectives/o{number}.yaml"), TASK)
    })
}

fn command(machine: &Workspace, server: &Server, arguments: &[&str]) -> std::process::Command {
    let mut command = machine.command(arguments);
    command.envs(server.variables());
    command
}

fn forge(machine: &Workspace, server: &Server, arguments: &[&str]) -> Ended {
    finish(command(machine, server, arguments).spawn().unwrap())
}

/// The ids of the runs that are stored.
fn runs(server: &Server) -> BTreeSet<String> {
    let objects = server.objects().into_keys();
    let below = objects.filter_map(|key| {
        let below = key.strip_prefix("of/a night/")?;
        Some(below.split_once('/')?.0.to_owned())
    });
    below.collect()
}

/// What the store has of the journal of a run, in the pieces of one that goes on.
fn journal(server: &Server, run: &str) -> String {
    let prefix = format!("of/a night/{run}/events.jsonl+");
    let objects = server.objects().into_iter();
    let pieces = objects.filter(|(key, _)| key.starts_with(&prefix));
    let text: Vec<u8> = pieces.flat_map(|(_, bytes)| bytes.to_vec()).collect();
    String::from_utf8(text).unwrap()
}

/// Who says that it is at a run.
fn writer(server: &Server, run: &str) -> Value {
    let alive = server.objects()[&format!("of/a night/{run}/alive.json")].clone();
    serde_json::from_slice::<Value>(&alive).unwrap()["writer"].clone()
}

/// The trials that a journal tells of, as folders.
fn named(journal: &str, event: &str) -> BTreeSet<String> {
    let events = journal
        .lines()
        .map(|it| serde_json::from_str::<Value>(it).unwrap());
    let those = events.filter(|it| it["event"] == event);
    let named = |it: Value| {
        let (trial, repeat) = (&it["trial"], &it["trial"]["repeat"]);
        let text = |key: &str| trial[key].as_str().unwrap().to_owned();
        format!("{}/{}/{repeat}", text("objective"), text("candidate"))
    };
    those.map(named).collect()
}

/// The trials of which the store has the result and the files.
fn kept(server: &Server, run: &str) -> BTreeSet<String> {
    let objects = server.objects();
    let file = |trial: &String| format!("of/a night/{run}/{trial}/trial.json");
    let ended = named(&journal(server, run), "trial_finished");
    ended
        .into_iter()
        .filter(|it| objects.contains_key(&file(it)))
        .collect()
}

fn ended(journal: &str) -> usize {
    journal.matches("\"trial_finished\"").count()
}

/// Fails when a key is in any file below a folder, or in the store.
#[track_caller]
fn assert_no_key(folder: &Path, server: &Server) {
    let holds = |bytes: &[u8]| {
        let mut keys = [KEY, SECRET].into_iter().map(str::as_bytes);
        keys.any(|key| bytes.windows(key.len()).any(|it| it == key))
    };
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                assert!(!holds(&fs::read(entry.path()).unwrap()), "{entry:?}");
            }
        }
    }
    for (key, bytes) in server.objects() {
        assert!(!holds(&bytes), "{key}");
    }
}

/// The part with the most of so many objectives.
fn busiest(objectives: usize) -> u32 {
    let names = (0..objectives).map(|it| ObjectiveName::parse(&format!("o{it}")).unwrap());
    let names: Vec<ObjectiveName> = names.collect();
    let has = |part: &Part| names.iter().filter(|it| part.has_objective(it)).count();
    Part::all(SHARDS).max_by_key(has).unwrap().index
}

#[test]
fn shards_of_which_a_machine_is_lost_come_from_the_store_to_what_one_run_would() {
    let server = Server::start();
    let count = AtomicUsize::new(0);
    // Now and then it is busy, and an answer is lost.
    server.fails(
        move |_, _| match count.fetch_add(1, Ordering::Relaxed) % 9 {
            4 => Some(Fault::Refuse(503)),
            7 => Some(Fault::Lose),
            _ => None,
        },
    );
    let busy = busiest(6);
    for index in (1..=SHARDS).filter(|it| *it != busy) {
        let machine = machine(6, "0.2");
        let shard = format!("--shard={index}/{SHARDS}");
        let ended = forge(&machine, &server, &["-k3", "-q", &shard]).expect(0);
        assert!(
            ended
                .stderr
                .contains("the run is in `s3://runs/of/a night/"),
            "{ended:?}"
        );
        machine.assert_nothing_left();
        assert_no_key(&machine.path(""), &server);
    }
    let others = runs(&server);
    let shard = format!("--shard={busy}/{SHARDS}");
    let arguments = ["-k3", "-j1", "-q", &shard];
    let run = {
        // What was said since is lost with the machine.
        let machine = machine(6, "0.2");
        let mut child = command(&machine, &server, &arguments).spawn().unwrap();
        let run = || runs(&server).difference(&others).next().cloned();
        until("two trials are stored", || {
            run().is_some_and(|run| kept(&server, &run).len() >= 2)
        });
        child.kill().unwrap();
        finish(child);
        run().unwrap()
    };
    let before = journal(&server, &run);
    assert!(before.ends_with('\n'));
    let kept = kept(&server, &run);
    server.waits(LONG);
    // Another machine begins the same command, and goes on with what was cut off.
    let elsewhere = machine(6, "0.2");
    let mut again = command(&elsewhere, &server, &arguments);
    let told = finish(again.env("FORGE_RESUME", "auto").spawn().unwrap()).expect(0);
    assert!(told.stderr.contains("fetching the run from"), "{told:?}");
    let after = fs::read_to_string(elsewhere.run_folder().join("events.jsonl")).unwrap();
    assert!(
        after.starts_with(&before),
        "what was stored is gone on with"
    );
    let again = named(&after[before.len()..], "trial_started");
    assert!(again.is_disjoint(&kept), "{again:?}, {kept:?}");
    assert_eq!(
        elsewhere
            .run_folder()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap(),
        run
    );
    assert_eq!(journal(&server, &run), after);
    let whole = format!("of/a night/{run}/events.jsonl");
    assert_eq!(server.objects()[&whole], after);
    assert_eq!(server.loose(), 0);
    // The parts are nowhere here.
    let fourth = machine(6, "0.2");
    let all: BTreeSet<String> = others.iter().cloned().chain([run]).collect();
    let addresses: Vec<String> = all.iter().map(|run| format!("{STORE}/{run}")).collect();
    let (lost, rest) = addresses.split_last().unwrap();
    let few: Vec<&str> = rest.iter().map(String::as_str).collect();
    let missing = forge(&fourth, &server, &[&["merge", "-q"], &few[..]].concat()).expect(3);
    assert!(missing.stderr.contains("is missing"), "{missing:?}");
    let few: Vec<&str> = all.iter().map(String::as_str).chain([&**lost]).collect();
    forge(&fourth, &server, &[&["merge", "-q"], &few[..]].concat()).expect(0);
    let in_parts = fourth.run_json();
    // It went to the store as well.
    let merged = format!(
        "of/a night/{}/report.md",
        in_parts["plan"]["run"].as_str().unwrap()
    );
    assert!(server.objects().contains_key(&merged), "{merged}");
    let seed = format!("--seed={}", in_parts["plan"]["seed"]);
    fourth
        .forge(["-k3", "-q", &seed, "--artifacts", "here"])
        .expect(0);
    let whole = fs::read(fourth.path("here/latest/run.json")).unwrap();
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(without_times(&in_parts), without_times(&whole));
    assert_eq!(in_parts["verdicts"], whole["verdicts"]);
    fourth.assert_nothing_left();
}

#[test]
fn a_store_that_cannot_be_written_is_told_before_anything_is_started() {
    let server = Server::start();
    let machine = machine(1, "0.02");
    let of = |change: (&str, &str)| {
        let mut command = command(&machine, &server, &["-q"]);
        finish(command.env(change.0, change.1).spawn().unwrap())
    };
    let wrong_key = of(("AWS_SECRET_ACCESS_KEY", "another-secret-key-0123456789")).expect(3);
    assert!(
        wrong_key.stderr.contains("SignatureDoesNotMatch"),
        "{wrong_key:?}"
    );
    assert!(
        wrong_key.stderr.contains("hint: AWS_ACCESS_KEY_ID"),
        "{wrong_key:?}"
    );
    // Nobody listens on a port that was just given up.
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nowhere = of(("AWS_ENDPOINT_URL", &format!("http://{gone}"))).expect(3);
    assert!(
        nowhere
            .stderr
            .contains("cannot write `s3://runs/of/a night/"),
        "{nowhere:?}"
    );
    assert!(nowhere.stderr.contains("nothing was run"), "{nowhere:?}");
    let plain = of(("AWS_ALLOW_HTTP", "false")).expect(2);
    assert!(
        plain.stderr.contains("AWS_ALLOW_HTTP=true allows that"),
        "{plain:?}"
    );
    let no_bucket = forge(&machine, &server, &["-q", "--artifacts", "s3://others/x"]).expect(3);
    assert!(no_bucket.stderr.contains("NoSuchBucket"), "{no_bucket:?}");
    let other = machine
        .forge(["-q", "--artifacts", "gs://runs/x"])
        .expect(2);
    assert!(
        other.stderr.contains("expected a folder, s3://BUCKET or"),
        "{other:?}"
    );
    assert!(!machine.path("artifacts").exists(), "nothing was started");
    assert!(server.objects().is_empty());
    let machine = machine.file("forge.yaml", "jobs: 2\nartifacts: s3:/runs\n");
    for what in ["check", "plan"] {
        let written = machine.forge([what]).expect(2);
        assert!(
            written
                .stderr
                .contains("forge.yaml:2:12: artifacts: `s3:/runs`"),
            "{written:?}"
        );
    }
    // A folder that is typed is above what is written.
    machine
        .file("forge.yaml", format!("artifacts: \"{STORE}\"\n"))
        .forge(["-q", "--seed=1", "-k3", "--artifacts", "here"])
        .expect(0);
    assert!(server.objects().is_empty());
}

#[test]
fn what_a_store_refuses_on_the_way_is_told_and_can_be_written_again() {
    let server = Server::start();
    let machine = machine(2, "0.05");
    // As when a session's keys end.
    let mut is_over = false;
    server.fails(move |method, key| {
        is_over |= key.ends_with("trial.json");
        (is_over && *method == "PUT").then_some(Fault::Refuse(403))
    });
    let ended = forge(&machine, &server, &["-k4", "-q"]).expect(3);
    assert!(
        ended
            .stderr
            .contains("error: the run is not all in `s3://runs/of/a night/"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("16 trials in"), "{ended:?}");
    let told = machine.run_json()["exit"].clone();
    assert_eq!(told["code"], 3, "{told}");
    assert_eq!(told["reasons"].as_array().unwrap().len(), 1, "{told}");
    let audit = forge(&machine, &server, &["audit", "latest", "--json"]).expect(0);
    let audit: serde_json::Value = serde_json::from_str(&audit.stdout).unwrap();
    assert_eq!(audit["store"], STORE, "{audit}");
    assert_eq!(audit["left_this_machine"], true);
    machine.assert_nothing_left();
    let run = machine.run_folder();
    let run = run.file_name().unwrap().to_str().unwrap();
    server.is_well();
    let hint = ended
        .stderr
        .split('`')
        .find(|it| it.starts_with("forge export "));
    let again: Vec<&str> = hint.unwrap().splitn(4, ' ').skip(1).collect();
    forge(&machine, &server, &again).expect(0);
    let here = machine.forge(["report", run, "--json"]).expect(0);
    let elsewhere = Workspace::new();
    let there = forge(
        &elsewhere,
        &server,
        &["report", &format!("{STORE}/{run}"), "--json"],
    );
    assert_eq!(there.expect(0).stdout, here.stdout);
    elsewhere.assert_nothing_left();
    // It cannot be waited for for ever.
    let (tell, told) = std::sync::mpsc::channel();
    server.fails(move |method, key| {
        let is_last = *method == "PUT" && key.ends_with("report.md");
        is_last.then(|| {
            tell.send(()).ok();
            Fault::Hold
        })
    });
    let child = command(&machine, &server, &["-q"]).spawn().unwrap();
    told.recv_timeout(Duration::from_secs(120)).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = finish(child).expect(3);
    assert!(ended.stderr.contains("is not all in"), "{ended:?}");
    assert!(ended.stderr.contains("came first"), "{ended:?}");
}

#[test]
fn a_signal_is_heard_while_a_store_says_nothing_at_the_start() {
    let server = Server::start();
    let machine = machine(1, "0.02");
    let (tell, told) = std::sync::mpsc::channel();
    server.fails(move |_, _| {
        tell.send(()).ok();
        Some(Fault::Hold)
    });
    let child = command(&machine, &server, &["-q"]).spawn().unwrap();
    told.recv_timeout(Duration::from_secs(120)).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    finish(child).expect(130);
    assert!(!machine.path("artifacts").exists());
    machine.assert_nothing_left();
}

/// Answers whoever asks with a body that does not end.
fn endless(status: &'static str) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 4096];
                let _read = stream.read(&mut request);
                let head =
                    format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\n<ListBucketResult>");
                let mut answered = stream.write_all(head.as_bytes());
                while answered.is_ok() {
                    answered = stream.write_all(&[b'x'; 4096]);
                }
            });
        }
    });
    address
}

#[test]
fn an_answer_without_an_end_is_not_read_for_ever() {
    for status in ["200 OK", "403 Forbidden"] {
        let machine = Workspace::new();
        let mut command = machine.command(["report", "s3://runs/of/latest"]);
        command
            .env("AWS_ENDPOINT_URL", endless(status))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", "somebody")
            .env("AWS_SECRET_ACCESS_KEY", "something long")
            .env("AWS_REGION", "here-1");
        finish(command.spawn().unwrap()).expect(3);
        machine.assert_nothing_left();
    }
}

#[test]
fn a_run_that_is_alive_is_not_taken_from_whoever_is_at_it() {
    let server = Server::start();
    let held = "#!/bin/sh\nsleep 1000.25\necho 'as the seed says: 1' > \"$2\"\n";
    let quick = "#!/bin/sh\necho 'as the seed says: 1' > \"$2\"\n";
    let other = || {
        let both = machine(1, "0.02").candidate("a.sh", quick);
        both.candidate("b.sh", quick)
    };
    let here = other().candidate("a.sh", held);
    let arguments = ["-k2", "-j1", "-q"];
    let child = command(&here, &server, &arguments).spawn().unwrap();
    let sleeping = || -> Option<Pid> {
        let all = here.processes();
        let it = all.iter().find(|it| it.contains("sleep\u{0}1000.25"))?;
        Pid::from_raw(it.split_once(':')?.0.parse().ok()?)
    };
    let run = || runs(&server).into_iter().next();
    let alive = |run: &str| format!("of/a night/{run}/alive.json");
    until("the candidate is held", || {
        let is_alive = |run: String| server.objects().contains_key(&alive(&run));
        sleeping().is_some() && run().is_some_and(is_alive)
    });
    let run = run().unwrap();
    until("it is known by which command", || {
        !journal(&server, &run).is_empty()
    });
    let there = other();
    for which in [run.clone(), format!("{STORE}/{run}"), "latest".to_owned()] {
        let refused = forge(&there, &server, &["--resume", &which, "-q"]).expect(2);
        assert!(
            refused
                .stderr
                .contains("is alive: another forge wrote to it"),
            "{refused:?}"
        );
        assert!(refused.stderr.contains("hint: wait until"), "{refused:?}");
    }
    assert!(!there.path("artifacts").exists(), "nothing was fetched");
    let mut auto = command(&there, &server, &arguments);
    let begun = finish(auto.env("FORGE_RESUME", "auto").spawn().unwrap()).expect(0);
    assert!(begun.stderr.contains("this is a new run"), "{begun:?}");
    assert_eq!(there.trials().len(), 4);
    assert_eq!(runs(&server).len(), 2);
    // Whoever is at it has lost nothing.
    for _trial in 0..2 {
        until("it is held", || sleeping().is_some());
        let pid = sleeping().unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        until("it goes on", || sleeping() != Some(pid));
    }
    finish(child).expect(0);
    let trials = here.trials();
    assert_eq!(trials.len(), 4);
    assert!(trials.values().all(|it| it["artifact"].is_object()));
    assert!(!server.objects().contains_key(&alive(&run)), "it is over");
    here.assert_nothing_left();
    // So nobody has to wait until it has been over for long.
    forge(&there, &server, &["--resume", &run, "-k3", "-q"]).expect(0);
}

#[test]
fn whoever_was_killed_goes_on_in_its_own_folder_at_once() {
    let server = Server::start();
    let here = machine(1, "0.2");
    let mut child = command(&here, &server, &["-k6", "-j1", "-q", "--seed=1"])
        .spawn()
        .unwrap();
    let run = || runs(&server).into_iter().next();
    let names_ledger = |run: &str| {
        let objects = server.objects();
        let said = objects.get(&format!("of/a night/{run}/alive.json"));
        said.is_some_and(|it| serde_json::from_slice::<Value>(it).unwrap()["ledger"].is_string())
    };
    until("it is known which folder is written through", || {
        run().is_some_and(|run| names_ledger(&run))
    });
    child.kill().unwrap();
    finish(child);
    forge(&here, &server, &["--resume", "latest", "-q"]).expect(0);
    assert_eq!(here.trials().len(), 12);
}

#[test]
fn of_two_that_go_on_with_one_run_the_second_to_write_learns_of_it() {
    let server = Server::start();
    let (here, there) = (machine(1, "0.3"), machine(1, "0.3"));
    let child = command(&here, &server, &["-k30", "-j1", "-q"])
        .spawn()
        .unwrap();
    let run = || runs(&server).into_iter().next();
    until("two trials are stored", || {
        run().is_some_and(|run| ended(&journal(&server, &run)) >= 2)
    });
    let run = run().unwrap();
    // Its machine falls asleep, and is taken for lost.
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).unwrap();
    server.waits(LONG);
    let is_held = Arc::new(AtomicBool::new(true));
    let held = Arc::clone(&is_held);
    server.fails(move |method, key| {
        let is_piece = *method == "PUT" && key.contains("/events.jsonl+");
        (is_piece && held.load(Ordering::Relaxed)).then_some(Fault::Refuse(503))
    });
    let sleeper = writer(&server, &run);
    let second = command(&there, &server, &["--resume", &run, "-j8", "-q"])
        .spawn()
        .unwrap();
    until("the second has claimed it", || {
        writer(&server, &run) != sleeper
    });
    // What the first had under way arrives, where the second goes on.
    let before = journal(&server, &run).len();
    let piece = format!("of/a night/{run}/events.jsonl+{before:020}");
    server.put(&piece, b"{}\n");
    is_held.store(false, Ordering::Relaxed);
    until("the second has written", || {
        server.objects()[&piece].len() > 3
    });
    kill_process(pid, Signal::CONT).unwrap();
    let (first, second) = (finish(child).expect(3), finish(second));
    let lost = |it: &Ended| {
        it.stderr
            .contains("another forge has gone on with this run")
    };
    assert!(lost(&first) && !lost(&second), "{first:?}\n{second:?}");
    // What is stored is one history, and the whole of it.
    let folder = there.run_folder();
    let stored = server.objects()[&format!("of/a night/{run}/events.jsonl")].clone();
    assert_eq!(fs::read(folder.join("events.jsonl")).unwrap(), stored);
    // Nor can the other go on from what it has.
    let refused = forge(&here, &server, &["--resume", "latest", "-q"]).expect(2);
    assert!(
        refused.stderr.contains("another machine has gone on"),
        "{refused:?}"
    );
}

#[test]
fn names_in_a_store_that_lead_elsewhere_are_refused() {
    let server = Server::start();
    let run = "01a228ed-93ea-7700-afec-9fa6b1351cf9";
    let address = format!("{STORE}/{run}");
    let below = |name: &str| format!("of/a night/{run}/{name}");
    for name in [
        "../../../../escaped",
        "task/../../escaped",
        "/escaped",
        "a\\escaped",
        "task//escaped",
    ] {
        server.forget();
        server.put(&below("events.jsonl"), b"{}\n");
        server.put(&below(name), b"theirs");
        let machine = Workspace::new();
        for arguments in [["report", &address], ["--resume", &address]] {
            let refused = forge(&machine, &server, &arguments);
            assert_eq!(refused.code, Some(3), "{name}: {refused:?}");
            assert!(refused.stderr.contains("escaped"), "{refused:?}");
        }
        machine.assert_nothing_left();
        let left = fs::read_dir(machine.path("artifacts")).unwrap();
        assert_eq!(left.count(), 0, "{name}");
        assert!(!machine.path("../escaped").exists());
    }
}

#[test]
fn what_cannot_be_read_from_a_store_is_told_with_what_helps() {
    let server = Server::start();
    let machine = Workspace::new();
    let run = "01a228ed-93ea-7700-afec-9fa6b1351cf9";
    for which in ["latest", run, "abcd"] {
        let address = format!("s3://runs/nothing/{which}");
        for arguments in [["report", &address], ["--resume", &address]] {
            let none = forge(&machine, &server, &arguments).expect(2);
            assert!(none.stderr.contains("there is no such run"), "{none:?}");
            let hint = "hint: it was looked for in `s3://runs/nothing`";
            assert!(none.stderr.contains(hint), "{none:?}");
        }
    }
    let bucket = forge(&machine, &server, &["report", "s3://others/x/latest"]).expect(3);
    assert!(bucket.stderr.contains("NoSuchBucket"), "{bucket:?}");
    assert!(bucket.stderr.contains("hint: is the bucket"), "{bucket:?}");
    for (name, code) in [
        ("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"),
        ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch"),
    ] {
        for which in ["latest", run] {
            let address = format!("s3://runs/nothing/{which}");
            let mut wrong = command(&machine, &server, &["--resume", &address]);
            let wrong = finish(wrong.env(name, "another-key").spawn().unwrap()).expect(3);
            assert!(wrong.stderr.contains(code), "{wrong:?}");
            assert!(
                wrong.stderr.contains("hint: AWS_ACCESS_KEY_ID"),
                "{wrong:?}"
            );
        }
    }
}

#[test]
fn a_large_artifact_goes_and_comes_in_pieces() {
    let server = Server::start();
    let large = 64 << 20;
    let script = |bytes: usize| format!("#!/bin/sh\nhead -c {bytes} /dev/zero > \"$2\"\n");
    let machine = Workspace::with(&[("a.sh", &script(100))])
        .file(
            "objectives/task.yaml",
            "prompt: do it\nlimits: {artifacts: 100MiB}\n",
        )
        .file("forge.yaml", format!("artifacts: \"{STORE}\"\n"));
    let most = |machine: &Workspace, arguments: &[&str]| {
        let mut child = command(machine, &server, arguments).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut most = 0;
        while child.try_wait().unwrap().is_none() {
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|it| it.strip_prefix("VmHWM:"));
            let kib = line.and_then(|it| it.trim().strip_suffix(" kB")?.parse().ok());
            most = most.max(kib.unwrap_or(0_u64) << 10);
            pause();
        }
        finish(child).expect(0);
        most
    };
    let little = most(&machine, &["-q"]);
    let machine = machine.candidate("a.sh", &script(large));
    let writing = most(&machine, &["-q"]);
    let run = machine.run_folder();
    let run = run.file_name().unwrap().to_str().unwrap();
    let key = format!("of/a night/{run}/task/a/1/discord_post.md");
    assert_eq!(server.objects()[&key].len(), large);
    assert_eq!(server.loose(), 0);
    let reading = most(&machine, &["report", &format!("{STORE}/{run}"), "-q"]);
    for most in [writing, reading] {
        let more = most.saturating_sub(little) >> 20;
        assert!(more < 48, "{more} MiB more than {} MiB", little >> 20);
    }
}
