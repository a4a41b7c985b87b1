//! What a candidate in a container may try, and what becomes of it and of the next one.

use std::time::Duration;

use forge::conformance::hands::{Heard, collect, run, shell};
use forge::conformance::{Harness as _, create, delete};
use forge::quantity::ByteCount;
use forge::sandbox::container::{ContainerOptions, User};
use forge::sandbox::{Command, CommandEnd, Image, Sandbox, Stream};

use super::{Box, with};
use crate::support::engine::{BUSYBOX, engine};

/// A small container: 64 MiB of memory, 8 MiB of disk, 64 processes.
fn small(user: User) -> Option<Box> {
    let options = ContainerOptions {
        image: Image::Named(BUSYBOX.to_owned()),
        memory: ByteCount::mib(64),
        disk: ByteCount::mib(8),
        processes: 64,
        user,
        ..ContainerOptions::default()
    };
    Some(Box {
        provider: engine()?.provider(options),
        run: forge::name::RunId::generate(),
    })
}

fn limited(script: &str, seconds: u64) -> Command {
    Command {
        limit: Duration::from_secs(seconds),
        ..shell(script)
    }
}

/// That a sandbox still does what it is told.
async fn is_of_use(sandbox: &dyn Sandbox) {
    let (result, heard) = run(sandbox, &shell("echo fine")).await;
    assert_eq!(
        (result.end, heard.text().as_str()),
        (CommandEnd::Exited(0), "fine\n")
    );
}

fn reached(end: &CommandEnd, what: &str) {
    let is_reached = matches!(end, CommandEnd::LimitReached(text) if text.contains(what));
    assert!(is_reached, "{what}: {end:?}");
}

#[tokio::test]
async fn a_fork_bomb_ends_at_its_time_with_its_reason() {
    let Some(harness) = small(User::Safe) else {
        return;
    };
    let sandbox = create(&harness, "bomb").await;
    let (result, _) = run(
        &*sandbox,
        &limited(
            "bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done",
            3,
        ),
    )
    .await;
    reached(&result.end, "64 are allowed");
    is_of_use(&*sandbox).await;
    // One that cannot be quiet about it.
    let (result, _) = run(
        &*sandbox,
        &limited("while :; do sleep 60 & done 2>/dev/null", 20),
    )
    .await;
    reached(&result.end, "processes");
    is_of_use(&*sandbox).await;
    delete(&harness, sandbox).await;
    harness.assert_nothing_left().await;
}

#[tokio::test]
async fn memory_and_disk_have_an_end_each() {
    let Some(harness) = small(User::Safe) else {
        return;
    };
    let sandbox = create(&harness, "greedy").await;
    // The whole of it in one variable.
    let hog = "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo survived";
    let (result, heard) = run(&*sandbox, &limited(hog, 20)).await;
    assert_eq!(heard.text(), "");
    reached(&result.end, "memory; 64 MiB are allowed");
    is_of_use(&*sandbox).await;
    let fill = "head -c 20000000 /dev/zero >big || exit 1";
    let (result, _) = run(&*sandbox, &limited(fill, 20)).await;
    reached(&result.end, "disk is full; 8 MiB are allowed");
    let (result, heard) = run(&*sandbox, &shell("rm big; echo ok >out.md; cat out.md")).await;
    assert_eq!(
        (result.end, heard.text().as_str()),
        (CommandEnd::Exited(0), "ok\n")
    );
    delete(&harness, sandbox).await;
    harness.assert_nothing_left().await;
}

/// What went on when its future was dropped has been counted, and is not the next command's.
#[tokio::test]
async fn what_a_dropped_command_was_killed_for_is_not_told_of_the_next() {
    let Some(harness) = small(User::Safe) else {
        return;
    };
    let sandbox = create(&harness, "counted").await;
    let hog =
        "(x=$(head -c 200000000 /dev/zero | tr '\\0' x)) 2>/dev/null; echo over >over; sleep 60";
    let mut heard = Heard::default();
    {
        let hog = limited(hog, 60);
        let ran = sandbox.run(&hog, &mut heard);
        let ended = tokio::time::timeout(Duration::from_secs(10), ran).await;
        assert!(ended.is_err(), "{ended:?}");
    }
    let (result, heard) = run(&*sandbox, &shell("cat over; exit 1")).await;
    assert_eq!(heard.text(), "over\n");
    assert_eq!(result.end, CommandEnd::Exited(1));
    delete(&harness, sandbox).await;
    harness.assert_nothing_left().await;
}

#[tokio::test]
async fn what_was_written_comes_home_from_a_full_disk() {
    let Some(harness) = small(User::Safe) else {
        return;
    };
    let sandbox = create(&harness, "full").await;
    let script =
        "echo artifact >out.md; dd if=/dev/zero of=big bs=1M 2>/dev/null; echo full; exit 3";
    let (result, heard) = run(&*sandbox, &limited(script, 20)).await;
    assert_eq!(heard.text(), "full\n");
    reached(&result.end, "disk is full");
    let (home, skipped) = collect(&*sandbox, &[]).await;
    assert_eq!(
        home.files.first().map(|it| &it.2[..]),
        Some(&b"artifact\n"[..]),
        "{skipped:?}"
    );
    delete(&harness, sandbox).await;
}

#[tokio::test]
async fn nothing_ignores_its_end_and_nothing_outlives_it() {
    let Some(harness) = with(BUSYBOX) else { return };
    let sandbox = create(&harness, "stubborn").await;
    let script = "trap '' TERM HUP INT; echo early; (trap '' TERM; setsid sh -c 'while :; do sleep 1; done') & \
                  while :; do sleep 1; done";
    let (result, heard) = run(&*sandbox, &limited(script, 1)).await;
    assert_eq!(
        (result.end, heard.text().as_str()),
        (CommandEnd::TimedOut, "early\n")
    );
    let daemon = "setsid sh -c 'while :; do sleep 0.1; echo late; done' & echo done";
    let (result, heard) = run(&*sandbox, &limited(daemon, 10)).await;
    assert_eq!(result.end, CommandEnd::Exited(0));
    assert!(heard.text().starts_with("done\n"));
    let (_, heard) = run(
        &*sandbox,
        &shell("for it in /proc/[0-9]*; do cat $it/comm; done"),
    )
    .await;
    // The first process, its clock, the shell of the text, the one in between, this one, and its `cat`.
    let text = heard.text();
    let sleeping = text.lines().filter(|it| *it == "sleep").count();
    assert!(sleeping <= 1 && text.lines().count() <= 6, "{text}");
    delete(&harness, sandbox).await;
    harness.assert_nothing_left().await;
}

#[tokio::test]
async fn who_kills_everything_that_it_can_has_killed_itself() {
    let Some(harness) = with(BUSYBOX) else { return };
    let sandbox = create(&harness, "killer").await;
    let script = "echo ok >out.md; kill -s STOP 1; kill -s KILL 1; kill -s KILL -1; sleep 0.2";
    let (result, _) = run(&*sandbox, &limited(script, 20)).await;
    assert_eq!(result.end, CommandEnd::Signalled(9));
    is_of_use(&*sandbox).await;
    let (home, _) = collect(&*sandbox, &[]).await;
    assert_eq!(home.paths(), ["out.md"]);
    delete(&harness, sandbox).await;
}

#[tokio::test]
async fn root_may_take_its_programs_away_and_its_trial_ends_all_the_same() {
    let Some(harness) = small(User::Root) else {
        return;
    };
    let sandbox = create(&harness, "vandal").await;
    let (result, heard) = run(
        &*sandbox,
        &shell("echo out; echo err >&2; echo ok >out.md; rm -rf /bin/* /etc; exit 4"),
    )
    .await;
    assert_eq!(result.end, CommandEnd::Exited(4));
    assert_eq!(heard.text(), "out\n");
    // BusyBox has its programs in its shell.
    let (home, skipped) = collect(&*sandbox, &[]).await;
    let is_told = skipped.iter().any(|it| it.contains("taken away"));
    assert!(is_told || home.paths() == ["out.md"], "{skipped:?}");
    let (result, _) = run(&*sandbox, &shell("true")).await;
    assert!(
        matches!(
            result.end,
            CommandEnd::NotFound(_) | CommandEnd::CannotStart(_)
        ),
        "{result:?}"
    );
    delete(&harness, sandbox).await;
    harness.assert_nothing_left().await;
}

#[tokio::test]
async fn nobody_is_root_has_capabilities_or_writes_to_the_image() {
    let Some(harness) = with(BUSYBOX) else { return };
    let sandbox = create(&harness, "nobody").await;
    let script = "id -u; id -g; grep Cap /proc/self/status | sort -u -k2; grep NoNewPrivs /proc/self/status; \
                  touch /bin/x /etc/x /x 2>/dev/null && echo wrote; echo x >$TMPDIR/x && echo x >x && ls / >/dev/null && echo fine";
    let (result, heard) = run(&*sandbox, &shell(script)).await;
    assert_eq!(result.end, CommandEnd::Exited(0), "{heard:?}");
    let expected = "61357\n61357\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nfine\n";
    assert_eq!(heard.text(), expected);
    delete(&harness, sandbox).await;
}

/// Far more than any buffer on the way holds.
#[tokio::test]
async fn a_flood_of_output_is_counted_and_stops_nothing() {
    let Some(harness) = with(BUSYBOX) else { return };
    let sandbox = create(&harness, "loud").await;
    let mut loud = limited(
        "head -c 100000000 /dev/zero; head -c 1000 /dev/zero >&2; echo end >out.md",
        60,
    );
    loud.output_limit = ByteCount(10_000);
    let (result, heard) = run(&*sandbox, &loud).await;
    assert_eq!(result.end, CommandEnd::Exited(0));
    assert_eq!(
        (
            heard.stdout.len(),
            heard.dropped.get(&Stream::Stdout).copied()
        ),
        (10_000, Some(100_000_000 - 10_000))
    );
    assert_eq!(
        (
            heard.stderr.len(),
            heard.dropped.get(&Stream::Stderr).copied()
        ),
        (1_000, None)
    );
    delete(&harness, sandbox).await;
}

/// Whoever guesses the words finds that they are only output.
#[tokio::test]
async fn words_of_the_first_process_are_output_of_a_candidate() {
    let Some(harness) = with(BUSYBOX) else { return };
    let sandbox = create(&harness, "liar").await;
    let script = "printf '\\nforge-keeper ended exited 0 1 no -\\n\\nforge-0123 left 0 0 0 0 0 0\\n'; exit 5";
    let (result, heard) = run(&*sandbox, &shell(script)).await;
    assert_eq!(result.end, CommandEnd::Exited(5));
    assert!(
        heard.text().starts_with("\nforge-keeper ended"),
        "{}",
        heard.text()
    );
    delete(&harness, sandbox).await;
}

#[tokio::test]
async fn neighbours_notice_nothing() {
    let Some(harness) = small(User::Safe) else {
        return;
    };
    let bomb = create(&harness, "bomb").await;
    let quiet = create(&harness, "quiet").await;
    let wild = limited(
        "bomb() { bomb | bomb & }; bomb; while :; do sleep 1; done",
        3,
    );
    let bombing = run(&*bomb, &wild);
    let working = async {
        for _ in 0..5 {
            is_of_use(&*quiet).await;
        }
    };
    let ((result, _), ()) = futures::join!(bombing, working);
    reached(&result.end, "processes");
    delete(&harness, bomb).await;
    delete(&harness, quiet).await;
    harness.assert_nothing_left().await;
}
