//! Commands: what reaches the program, and what is told of it.

use std::time::Duration;

use crate::quantity::ByteCount;
use crate::sandbox::{Area, CommandEnd, Sandbox, Stream};

use super::Harness;
use super::hands::{Heard, collect, command, file, run, shell};

/// Runs a script that must not fail. Returns what it printed.
pub(super) async fn shout(sandbox: &dyn Sandbox, script: &str) -> String {
    let (result, heard) = run(sandbox, &shell(script)).await;
    assert_eq!(
        result.end,
        CommandEnd::Exited(0),
        "{script}: {}",
        String::from_utf8_lossy(&heard.stderr)
    );
    heard.text()
}

/// A path of the layout as programs of the sandbox see it: a server for tests may have another folder in its
/// place.
async fn as_seen_inside(sandbox: &dyn Sandbox, path: &str) -> String {
    shout(sandbox, &format!("printf %s {path}")).await
}

pub(super) async fn arguments_arrive_byte_for_byte(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let long = "p\u{e4}r ".repeat(20_000)[..96 * 1024].to_owned();
    for text in [
        "",
        " ",
        "it's \"quoted\" `here` and \\ there",
        "$HOME ${HOME} $(date) %s ! # ~ * ? [a] {a,b} & ; | < > ()",
        "line\nline\r\n\ttab\n\n",
        "\u{1f389} caf\u{e9} \u{202e}",
        "--help",
        "\u{1}\u{7f}\u{1b}[31m",
        &long,
    ] {
        let mut printf = shell("printf %s, \"$#\" \"$@\"");
        printf.arguments.push("sh".to_owned());
        printf
            .arguments
            .extend([text.to_owned(), "last".to_owned()]);
        let (result, heard) = run(sandbox, &printf).await;
        assert_eq!(result.end, CommandEnd::Exited(0), "{text:?}");
        assert!(heard.text() == format!("2,{text},last,"), "{text:?}");
    }
}

pub(super) async fn the_environment_is_what_was_asked_for(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let mut env = command(&["env", "-0"]);
    env.env
        .insert("FORGE_TRIAL".to_owned(), "a b\n=\"$x'".to_owned());
    env.env.insert("EMPTY".to_owned(), String::new());
    let (result, heard) = run(sandbox, &env).await;
    assert_eq!(result.end, CommandEnd::Exited(0));
    let text = heard.text();
    let mut seen: Vec<_> = text.trim_end_matches('\0').split('\0').collect();
    seen.sort_unstable();
    // A provider may say what its user is called.
    let names = ["USER=", "LOGNAME=", "GIT_CONFIG_SYSTEM="];
    seen.retain(|it| !names.iter().any(|name| it.starts_with(name)));
    let layout = sandbox.layout();
    let (home, tmp) = (
        format!("HOME={}", as_seen_inside(sandbox, &layout.work).await),
        format!("TMPDIR={}", as_seen_inside(sandbox, &layout.tmp).await),
    );
    let exact = ["EMPTY=", "FORGE_TRIAL=a b\n=\"$x'", &home, "LANG=C.UTF-8"];
    assert_eq!(seen[..4], exact);
    assert!(seen[4].starts_with("PATH=/"), "{}", seen[4]);
    assert_eq!(seen[5..], [tmp]);
}

pub(super) async fn standard_input_is_closed(_: &dyn Harness, sandbox: &dyn Sandbox) {
    assert_eq!(shout(sandbox, "cat; echo end").await, "end\n");
}

pub(super) async fn the_streams_stay_apart(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let script = "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let (_, heard) = run(sandbox, &shell(script)).await;
    let lines = |word| {
        let lines: Vec<_> = (0..500).map(|i| format!("{word} {i}\n")).collect();
        lines.concat()
    };
    assert_eq!(heard.text(), lines("out"));
    assert_eq!(String::from_utf8_lossy(&heard.stderr), lines("err"));
}

pub(super) async fn output_over_the_limit_is_counted(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let mut flood = shell("head -c 300000 /dev/zero | tr '\\0' x; printf err >&2");
    flood.output_limit = ByteCount(100_000);
    let (result, heard) = run(sandbox, &flood).await;
    assert_eq!(result.end, CommandEnd::Exited(0));
    assert_eq!(heard.stdout.len(), 100_000);
    assert_eq!(heard.dropped.get(&Stream::Stdout), Some(&200_000));
    assert_eq!(heard.stderr, b"err");
    assert_eq!(heard.dropped.get(&Stream::Stderr), None);
}

pub(super) async fn exit_codes_are_told(_: &dyn Harness, sandbox: &dyn Sandbox) {
    for code in [0, 1, 2, 71, 100, 124, 125, 126, 127, 128, 137, 143, 255] {
        let (result, _) = run(sandbox, &shell(&format!("exit {code}"))).await;
        assert_eq!(result.end, CommandEnd::Exited(code));
    }
}

pub(super) async fn a_signal_is_told(_: &dyn Harness, sandbox: &dyn Sandbox) {
    for signal in [9, 15] {
        let (result, _) = run(sandbox, &shell(&format!("kill -{signal} $$"))).await;
        assert_eq!(result.end, CommandEnd::Signalled(signal));
    }
}

pub(super) async fn the_first_program_that_exists_is_run(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let mut tried = command(&["no-such-program", "1", "2"]);
    tried.programs.push(vec!["./nor-this".to_owned()]);
    tried
        .programs
        .push(vec!["printf".to_owned(), "%s+".to_owned()]);
    tried.programs.push(vec!["false".to_owned()]);
    let (result, heard) = run(sandbox, &tried).await;
    assert_eq!(
        (result.end, heard.text()),
        (CommandEnd::Exited(0), "1+2+".to_owned())
    );
}

pub(super) async fn missing_programs_are_named(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let mut missing = command(&["no-such-program"]);
    missing
        .programs
        .push(vec!["./nor-this".to_owned(), "x".to_owned()]);
    let (result, _) = run(sandbox, &missing).await;
    let names = ["no-such-program", "./nor-this"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(result.end, CommandEnd::NotFound(names));
}

pub(super) async fn what_cannot_start_is_told(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let files = [
        file(Area::Work, "plain", "#!/bin/sh\n", false),
        file(Area::Work, "orphan", "#!/no/such/interpreter\n", true),
    ];
    sandbox.upload(&files).await.unwrap();
    for program in ["./plain", "./orphan"] {
        let (result, _) = run(sandbox, &command(&[program])).await;
        assert!(
            matches!(&result.end, CommandEnd::CannotStart(_)),
            "{program}: {result:?}"
        );
    }
}

pub(super) async fn the_limit_ends_the_whole_tree_and_keeps_what_was_written(
    _: &dyn Harness,
    sandbox: &dyn Sandbox,
) {
    let script = "(while :; do echo >> beat; sleep 0.05; done) & \
        echo partial > out.md; echo said; echo warned >&2; sleep 60";
    let mut slow = shell(script);
    slow.limit = Duration::from_millis(700);
    let (result, heard) = run(sandbox, &slow).await;
    assert_eq!(result.end, CommandEnd::TimedOut);
    assert!(result.took >= slow.limit);
    assert_eq!(
        (heard.text().as_str(), &heard.stderr[..]),
        ("said\n", &b"warned\n"[..])
    );
    let (home, skipped) = collect(sandbox, &[]).await;
    assert_eq!(
        home.files,
        [(Area::Work, "out.md".to_owned(), b"partial\n".to_vec())]
    );
    assert_eq!(skipped, [""; 0]);
    let still = "cp beat one; sleep 0.3; cmp one beat";
    shout(sandbox, still).await;
}

pub(super) async fn a_dropped_command_ends_and_its_sandbox_lives(
    _: &dyn Harness,
    sandbox: &dyn Sandbox,
) {
    let mut heard = Heard::default();
    let slow = shell("echo here > out.md; sleep 60");
    let ran = sandbox.run(&slow, &mut heard);
    assert!(
        tokio::time::timeout(Duration::from_millis(500), ran)
            .await
            .is_err()
    );
    let (home, _) = collect(sandbox, &[]).await;
    assert_eq!(home.paths(), ["out.md"]);
}
