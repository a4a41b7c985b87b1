//! What a candidate does to its own sandbox is how the candidate ends, never a failure of the infrastructure.

use std::time::Duration;

use forge::sandbox::daytona::DaytonaOptions;
use forge::sandbox::{Area, Collected, CommandEnd};

use super::{Home, Printed, Setup, collect, shell};
use crate::support::fake_daytona::{Options, Route};

/// Kills all other processes of the sandbox that pass a test of `$one`, a folder of `/proc`. As the machine is
/// shared, `kill -9 -1` itself would go too far.
fn killing(test: &str) -> String {
    format!(
        "for one in /proc/[0-9]*; do id=${{one#/proc/}}; \
         if [ $id != $$ ] && grep -qszFx -e \"HOME=$HOME\" $one/environ && {test}; then kill -9 $id; fi; done"
    )
}

/// What has the text of the program that watches over commands, or of the one that starts it. The patterns
/// do not match themselves, for this text is an argument of both.
const KEEPER: &str = "grep -qs '^serial=.1 limit=.[2]' $one/cmdline && \
                      ! grep -qs 'window=.1 forge=.[2]' $one/cmdline";
const STARTER: &str = "grep -qs 'window=.1 forge=.[2]' $one/cmdline";

async fn ends(setup: &Setup, text: &str) -> (CommandEnd, Printed, Home, Collected) {
    let sandbox = setup.sandbox().await;
    let mut command = shell(text);
    let what = collect(&["*"]);
    command.then_collect = Some(what.clone());
    let (mut printed, mut home) = (Printed::default(), Home::default());
    let result = sandbox.run(&command, &mut printed).await.unwrap();
    let collected = sandbox.collect(&what, &mut home).await.unwrap();
    setup.delete(sandbox.as_ref()).await;
    (result.end, printed, home, collected)
}

fn warm() -> Options {
    Options {
        warm: true,
        ..Options::default()
    }
}

#[tokio::test]
async fn whatever_a_candidate_kills_is_its_own_end_and_what_it_wrote_comes_home() {
    for (victims, then, end) in [
        ("true", "sleep 600", CommandEnd::Signalled(9)),
        // Nobody is left who could tell how it exited.
        ("true", "exit 0", CommandEnd::Signalled(9)),
        (KEEPER, "sleep 600", CommandEnd::Signalled(9)),
        (STARTER, "sleep 0.5; exit 3", CommandEnd::Exited(3)),
    ] {
        let setup = Setup::new(warm());
        let text = format!(
            "echo early; echo part >out.md; sleep 0.2; {}; {then}",
            killing(victims)
        );
        let (ended, printed, home, _) = ends(&setup, &text).await;
        assert_eq!(ended, end, "{victims}; {then}");
        assert_eq!(printed.texts().0, "early\n", "{victims}; {then}");
        let expected = [(Area::Work, "out.md", "part\n".to_owned())];
        assert_eq!(home.texts(), expected, "{victims}; {then}");
    }
}

/// In the time between two looks at a command whose answer does not come.
#[tokio::test]
async fn a_detached_command_whose_keeper_is_killed_is_not_waited_for_to_its_limit() {
    let ours = DaytonaOptions {
        detach_above: Duration::from_secs(1),
        ..DaytonaOptions::default()
    };
    let setup = Setup::with(warm(), ours);
    let sandbox = setup.sandbox().await;
    let mut command = shell(&format!(
        "echo early; sleep 2; {}; sleep 600",
        killing("true")
    ));
    command.limit = Duration::from_secs(3000);
    let mut printed = Printed::default();
    let result = sandbox.run(&command, &mut printed).await.unwrap();
    assert_eq!(result.end, CommandEnd::Signalled(9));
    assert_eq!(printed.texts().0, "early\n");
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn the_working_directory_has_nothing_of_forges_in_it() {
    let setup = Setup::new(warm());
    let (end, printed, _, _) = ends(&setup, "ls -A; cd ..; ls -A \"$HOME\"").await;
    assert_eq!(end, CommandEnd::Exited(0));
    assert_eq!(printed.texts().0, "");
}

#[tokio::test]
async fn a_candidate_that_clears_its_folders_loses_only_what_it_cleared() {
    for (text, kept) in [
        (
            "rm -rf ./* ./.* 2>/dev/null; echo fine; echo x >out.md; exit 4",
            true,
        ),
        (
            "rm -rf \"$HOME\"; mkdir \"$HOME\"; echo fine; echo x >\"$HOME/out.md\"; exit 4",
            true,
        ),
        (
            "git init -q . && git clean -fdxq; echo fine; echo x >out.md; exit 4",
            true,
        ),
        ("rm -rf /var/tmp/forge-*; echo x >out.md; exit 4", false),
        (
            "chmod 000 /var/tmp/forge-*/run-*/*; echo fine; echo x >out.md; exit 4",
            true,
        ),
    ] {
        let setup = Setup::new(warm());
        let (end, printed, home, collected) = ends(&setup, text).await;
        assert_eq!(end, CommandEnd::Exited(4), "{text}");
        if kept {
            assert_eq!(printed.texts().0, "fine\n", "{text}");
        }
        let expected = [(Area::Work, "out.md", "x\n".to_owned())];
        assert_eq!(home.texts(), expected, "{text}: {collected:?}");
        assert_eq!(setup.fake.requests_to(Route::Execute), 1, "{text}");
    }
}

#[tokio::test]
async fn a_named_pipe_in_the_place_of_what_forge_reads_costs_the_candidate_its_files_and_nothing_else()
 {
    let setup = Setup::new(warm());
    // It outlives the command, has neither its variables nor its streams, and waits for every bundle.
    let script = "for run in /var/tmp/forge-*; do forge=$run; done; export forge; echo out; echo x >out.md; \
                  env -i PATH=\"$PATH\" forge=$forge setsid sh -c '\
                  while [ -d \"$forge\" ]; do for run in \"$forge\"/run-*; do \
                  if [ -s $run/status ] && [ -f $run/bundle ]; then rm -f $run/bundle; mkfifo $run/bundle; fi; \
                  done; done' </dev/null >/dev/null 2>&1 &";
    let (end, _, home, collected) = ends(&setup, script).await;
    assert_eq!(end, CommandEnd::Exited(0));
    if home.texts().is_empty() {
        assert!(
            collected.skipped[0].reason.contains("taken away"),
            "{collected:?}"
        );
    }
}

#[tokio::test]
async fn pipes_that_a_candidate_leaves_for_forge_to_open_are_not_opened() {
    let setup = Setup::new(warm());
    let text = "echo x >out.md; for run in /var/tmp/forge-*/run-*; do cd $run; for name in \
                noted notes list found bundle status ready stdout.dropped code died started main room; do \
                rm -f $name; mkfifo $name; done; done; cd; exit 5";
    let (end, _, home, _) = ends(&setup, text).await;
    // The number of its exit went into the pipe.
    assert!(
        matches!(end, CommandEnd::Exited(5) | CommandEnd::TimedOut),
        "{end:?}"
    );
    assert_eq!(home.texts(), [(Area::Work, "out.md", "x\n".to_owned())]);
}
