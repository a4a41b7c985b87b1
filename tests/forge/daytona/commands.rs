//! In a sandbox: what a trial costs, and what comes home of a command whatever happens to it.

use std::time::Duration;

use forge::quantity::ByteCount;
use forge::sandbox::daytona::DaytonaOptions;
use forge::sandbox::{Area, CommandEnd, ErrorKind, SandboxError, Skipped};

use super::{Home, Printed, Setup, collect, make, shell, upload};
use crate::support::fake_daytona::fault::{After, Before, Canned, During, Rule, When};
use crate::support::fake_daytona::{Options, Route};
use reqwest::StatusCode;

const AGENT: &str = "#!/bin/sh\necho \"out $1\"\necho err >&2\nprintf 'result of %s' \"$1\" >\"$2\"\n\
                     echo '{\"tokens\": 1}' >\"$FORGE_ARTIFACTS/metrics.json\"\n";

/// A whole trial. Gives what it printed, and what came home.
#[expect(clippy::unwrap_used, reason = "a test that cannot begin has failed")]
async fn trial(setup: &Setup) -> (Printed, Home) {
    let sandbox = setup.sandbox().await;
    sandbox
        .upload(&[upload("agent.sh", AGENT, true), upload("empty", "", false)])
        .await
        .unwrap();
    let layout = sandbox.layout();
    let mut command = shell("");
    command.programs = vec![vec!["no-such".to_owned()], vec!["./agent.sh".to_owned()]];
    command.arguments = vec![
        "it's \"$HOME\"\n😀".to_owned(),
        format!("{}/out.md", layout.work),
    ];
    command
        .env
        .insert("FORGE_ARTIFACTS".to_owned(), layout.artifacts.clone());
    let what = collect(&["*.json"]);
    command.then_collect = Some(what.clone());
    let (mut printed, mut home) = (Printed::default(), Home::default());
    let result = sandbox.run(&command, &mut printed).await.unwrap();
    assert_eq!(result.end, CommandEnd::Exited(0), "{:?}", printed.texts());
    let collected = sandbox.collect(&what, &mut home).await.unwrap();
    assert_eq!(collected.skipped, []);
    setup.delete(sandbox.as_ref()).await;
    (printed, home)
}

fn check_trial(printed: &Printed, home: &Home) {
    let (stdout, stderr) = printed.texts();
    assert_eq!(
        (stdout.as_str(), stderr.as_str()),
        ("out it's \"$HOME\"\n😀\n", "err\n")
    );
    let expected = [
        (
            Area::Work,
            "out.md",
            "result of it's \"$HOME\"\n😀".to_owned(),
        ),
        (
            Area::Artifacts,
            "metrics.json",
            "{\"tokens\": 1}\n".to_owned(),
        ),
    ];
    assert_eq!(home.texts(), expected);
}

#[tokio::test]
async fn a_warm_trial_is_six_calls_and_the_key_is_in_one_header_of_each() {
    let setup = Setup::new(Options {
        warm: true,
        ..Options::default()
    });
    let (printed, home) = trial(&setup).await;
    check_trial(&printed, &home);
    let book = setup.fake.book();
    assert_eq!(book.len(), 6, "{book:#?}");
    for seen in book {
        assert_eq!(seen.key_in, Vec::<String>::new(), "{}", seen.path);
    }
}

#[tokio::test]
async fn a_cold_trial_is_seven_calls() {
    let setup = Setup::new(Options {
        start: Duration::from_millis(200),
        ..Options::default()
    });
    let (printed, home) = trial(&setup).await;
    check_trial(&printed, &home);
    assert_eq!(setup.fake.requests(), 7);
}

#[tokio::test]
async fn each_of_these_failures_changes_nothing_of_a_trial() {
    let status = |status| Before::Answer(Canned::status(status));
    for rule in [
        Rule::route(
            Route::BulkUpload,
            When::First(2),
            status(StatusCode::BAD_GATEWAY),
        ),
        Rule::route(Route::BulkUpload, When::Nth(1), After::Drop),
        Rule::route(Route::Execute, When::Nth(1), After::Drop),
        Rule::route(
            Route::Execute,
            When::Nth(1),
            After::Answer(Canned::error(
                StatusCode::REQUEST_TIMEOUT,
                "request timeout",
            )),
        ),
        Rule::route(
            Route::Execute,
            When::Nth(1),
            After::Answer(Canned::status(StatusCode::BAD_GATEWAY)),
        ),
        Rule::route(Route::Execute, When::Nth(1), After::Truncate(5)),
        Rule::route(
            Route::Download,
            When::Nth(1),
            status(StatusCode::SERVICE_UNAVAILABLE),
        ),
        Rule::route(Route::Download, When::Nth(1), Before::Drop),
        Rule::route(Route::Download, When::First(3), After::Truncate(1000)),
    ] {
        let shown = format!("{rule:?}");
        let setup = Setup::with_fault(rule);
        let (printed, home) = trial(&setup).await;
        check_trial(&printed, &home);
        assert_eq!(setup.fake.requests_to(Route::Execute), 1, "{shown}");
        assert_eq!(setup.fake.rows().len(), 1, "{shown}");
    }
}

/// What was not announced with a command is packed by a call of its own, whether or not there is a tar.
#[tokio::test]
async fn what_was_not_announced_costs_one_call_more_and_comes_home_alike() {
    for (missing, downloads) in [(vec![], 1), (vec!["tar".to_owned()], 2)] {
        let setup = Setup::new(Options {
            warm: true,
            missing,
            ..Options::default()
        });
        brings_what_was_not_announced(&setup, downloads).await;
    }
}

#[expect(clippy::unwrap_used, reason = "a test that cannot begin has failed")]
async fn brings_what_was_not_announced(setup: &Setup, downloads: usize) {
    let sandbox = setup.sandbox().await;
    let text = "echo result >out.md; cd /var/tmp/forge-*/artifacts; mkdir -p charts/deep; echo 1 >charts/a.png; \
                echo 2 >charts/deep/b.png; echo no >c.txt; head -c 2000000 /dev/zero >charts/big.png";
    let result = sandbox
        .run(&shell(text), &mut Printed::default())
        .await
        .unwrap();
    assert_eq!(result.end, CommandEnd::Exited(0));
    for (files, names) in [
        (vec!["charts/*.png"], vec!["out.md", "charts/a.png"]),
        (
            vec!["**/*.png"],
            vec!["out.md", "charts/a.png", "charts/deep/b.png"],
        ),
        (vec![], vec!["out.md"]),
    ] {
        let calls = || {
            let calls = [Route::Execute, Route::Download].map(|it| setup.fake.requests_to(it));
            (calls[0], calls[1], setup.fake.requests())
        };
        let before = calls();
        let mut home = Home::default();
        let collected = sandbox.collect(&collect(&files), &mut home).await.unwrap();
        let after = calls();
        assert_eq!((after.0 - before.0, after.1 - before.1), (1, downloads));
        assert_eq!(after.2 - before.2, 1 + downloads);
        let came: Vec<&str> = home.texts().iter().map(|(_, path, _)| *path).collect();
        assert_eq!(came, names);
        let skipped: Vec<&str> = collected
            .skipped
            .iter()
            .map(|skipped| skipped.path.as_str())
            .collect();
        assert_eq!(
            skipped,
            if files.is_empty() {
                vec![]
            } else {
                vec!["charts/big.png"]
            }
        );
    }
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn what_is_not_a_small_regular_file_stays_and_is_named() {
    let setup = Setup::new(Options {
        warm: true,
        ..Options::default()
    });
    let sandbox = setup.sandbox().await;
    let text = "ln -s /etc/passwd out.md; cd /var/tmp/forge-*/artifacts; mkfifo f; mkdir d; ln -s /etc l; \
                head -c 2000000 /dev/zero >big; echo x >fine; ln fine hard; echo y >other.txt";
    let mut command = shell(text);
    let mut what = collect(&["?", "big", "fine", "hard"]);
    what.max_files = 2;
    command.then_collect = Some(what.clone());
    sandbox
        .run(&command, &mut Printed::default())
        .await
        .unwrap();
    let mut home = Home::default();
    let mut collected = sandbox.collect(&what, &mut home).await.unwrap();
    let expected = [
        (Area::Artifacts, "fine", "x\n".to_owned()),
        (Area::Artifacts, "hard", "x\n".to_owned()),
    ];
    assert_eq!(home.texts(), expected);
    collected.skipped.sort_by(|a, b| a.path.cmp(&b.path));
    let skipped = |path: &str, reason: &str| Skipped {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let expected = [
        skipped("big", "is larger than 1 MiB (limits.artifacts)"),
        skipped("f", "is not a regular file"),
        skipped("l", "is a symbolic link"),
        skipped("out.md", "is a symbolic link"),
    ];
    assert_eq!(collected.skipped, expected);
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn where_there_is_no_artifact_what_was_written_instead_is_named() {
    let setup = Setup::new(Options {
        warm: true,
        ..Options::default()
    });
    let sandbox = setup.sandbox().await;
    let text = "mkdir -p .cache notes/deep; echo x >.cache/x; echo x >answer.md; echo x >'a b.txt'; \
                echo x >notes/part.md; echo x >notes/deep/no; ln -s answer.md link";
    let mut command = shell(text);
    let what = collect(&[]);
    command.then_collect = Some(what.clone());
    sandbox
        .run(&command, &mut Printed::default())
        .await
        .unwrap();
    let collected = sandbox.collect(&what, &mut Home::default()).await.unwrap();
    assert_eq!(collected.written, ["a b.txt", "answer.md", "notes/part.md"]);
    assert_eq!(collected.skipped, []);
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn what_was_printed_and_written_until_the_limit_comes_home() {
    let setup = Setup::new(Options {
        warm: true,
        ..Options::default()
    });
    let sandbox = setup.sandbox().await;
    let mut command = shell("echo early; echo part >out.md; setsid sleep 500 & sleep 500");
    command.limit = Duration::from_millis(600);
    let what = collect(&[]);
    command.then_collect = Some(what.clone());
    let (mut printed, mut home) = (Printed::default(), Home::default());
    let result = sandbox.run(&command, &mut printed).await.unwrap();
    assert_eq!(result.end, CommandEnd::TimedOut);
    assert!(result.took >= command.limit);
    sandbox.collect(&what, &mut home).await.unwrap();
    assert_eq!(printed.texts().0, "early\n");
    assert_eq!(home.texts(), [(Area::Work, "out.md", "part\n".to_owned())]);
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn each_byte_comes_once_whether_it_is_fetched_live_or_not() {
    let live = Some(Duration::from_millis(30));
    for (live_interval, detach_above) in
        [(None, 240), (live, 240), (None, 0), (live, 0), (None, 10)]
            .map(|(l, d)| (l, Duration::from_secs(d)))
    {
        let ours = DaytonaOptions {
            live_interval,
            detach_above,
            ..DaytonaOptions::default()
        };
        let setup = Setup::with(
            Options {
                warm: true,
                ..Options::default()
            },
            ours,
        );
        let sandbox = setup.sandbox().await;
        let mut command = shell(
            "for n in 1 2 3 4 5; do echo $n; echo e$n >&2; sleep 0.1; done; head -c 5000 /dev/zero",
        );
        command.output_limit = ByteCount(3000);
        let mut printed = Printed::default();
        let result = sandbox.run(&command, &mut printed).await.unwrap();
        assert_eq!(result.end, CommandEnd::Exited(0));
        let (stdout, stderr) = printed.texts();
        assert_eq!(stdout, format!("1\n2\n3\n4\n5\n{}", "\0".repeat(2990)));
        assert_eq!(
            (stderr.as_str(), printed.dropped),
            ("e1\ne2\ne3\ne4\ne5\n", 2010)
        );
        // Two at the end is what there is without looking in between.
        assert_eq!(
            printed.writes > 3,
            live_interval.is_some(),
            "{}",
            printed.writes
        );
        setup.delete(sandbox.as_ref()).await;
    }
}

/// Ten thousand commands at once do not have a connection each.
#[tokio::test]
async fn only_so_many_commands_are_waited_for_with_a_connection_and_the_others_end_as_well() {
    let ours = DaytonaOptions {
        waiting: 1,
        ..DaytonaOptions::default()
    };
    let warm = Options {
        warm: true,
        ..Options::default()
    };
    let setup = Setup::with(warm, ours);
    let first = setup.sandbox().await;
    let second = make(&setup.daytona, &setup.spec(2)).await.unwrap();
    let mut printed = [(); 3].map(|()| Printed::default());
    let [one, two, three] = &mut printed;
    let waits = shell("until [ -e go ]; do sleep 0.05; done; echo first");
    let waiting = first.run(&waits, one);
    let meanwhile = async {
        until(|| setup.fake.requests_to(Route::Execute) == 1).await;
        let fails = shell("echo second; exit 3");
        let looked_for = second.run(&fails, two).await.unwrap();
        assert_eq!(looked_for.end, CommandEnd::Exited(3));
        let looks = setup.fake.requests_to(Route::Download);
        first.upload(&[upload("go", "", false)]).await.unwrap();
        looks
    };
    let (waited, looks) = tokio::join!(waiting, meanwhile);
    assert_eq!(waited.unwrap().end, CommandEnd::Exited(0));
    assert!(
        looks > 1,
        "its end was looked for, and its bundle fetched: {looks}"
    );
    // Who has no turn gets the next one, and waits for the command that runs already.
    let sent = || setup.fake.requests_to(Route::Execute);
    let before = sent();
    let as_long = shell("echo third; until [ -e on ]; do sleep 0.05; done; echo fourth");
    let waits = shell("until [ -e on ]; do sleep 0.05; done");
    let mut nothing = Printed::default();
    let releasing = async {
        until(|| sent() == before + 2).await;
        first.upload(&[upload("on", "", false)]).await.unwrap();
        until(|| sent() == before + 3).await;
        second.upload(&[upload("on", "", false)]).await.unwrap();
    };
    let in_turn = async {
        let waiting = first.run(&waits, &mut nothing);
        let left = async {
            until(|| sent() == before + 1).await;
            second.run(&as_long, three).await
        };
        tokio::join!(waiting, left, releasing)
    };
    let (waited, left, ()) = in_turn.await;
    for result in [waited, left] {
        assert_eq!(result.unwrap().end, CommandEnd::Exited(0));
    }
    assert_eq!(sent(), before + 3);
    let texts = printed.each_ref().map(|it| it.texts().0);
    assert_eq!(texts, ["first\n", "second\n", "third\nfourth\n"]);
    for sandbox in [first, second] {
        setup.delete(sandbox.as_ref()).await;
    }
}

/// What is asked beside the sign of its end says nothing, where it is not answered.
#[tokio::test]
async fn a_command_that_runs_is_not_lost_because_a_look_at_it_goes_unanswered() {
    let timeout = Canned::error(StatusCode::REQUEST_TIMEOUT, "request timeout");
    let silent = Rule::route(Route::FileInfo, When::Always, Before::Answer(timeout));
    let ours = DaytonaOptions {
        detach_above: Duration::ZERO,
        ..DaytonaOptions::default()
    };
    let warm = Options {
        warm: true,
        faults: vec![silent],
        ..Options::default()
    };
    let setup = Setup::with(warm, ours);
    let sandbox = setup.sandbox().await;
    let asked = || setup.fake.requests_to(Route::FileInfo);
    let waits = shell("until [ -e on ]; do sleep 0.05; done; echo done");
    let mut printed = Printed::default();
    let releasing = async {
        until(|| asked() > 0).await;
        sandbox.upload(&[upload("on", "", false)]).await.unwrap();
    };
    let (result, ()) = tokio::join!(sandbox.run(&waits, &mut printed), releasing);
    assert_eq!(result.unwrap().end, CommandEnd::Exited(0));
    assert_eq!(printed.texts().0, "done\n");
    setup.delete(sandbox.as_ref()).await;
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// One request for what ends soon, whatever its limit; more for what does not.
#[tokio::test]
async fn a_long_limit_costs_nothing_as_long_as_it_is_not_needed() {
    for (seconds, looks) in [("0.1", false), ("1.5", true)] {
        let ours = DaytonaOptions {
            detach_above: Duration::from_secs(1),
            ..DaytonaOptions::default()
        };
        let warm = Options {
            warm: true,
            ..Options::default()
        };
        let setup = Setup::with(warm, ours);
        let sandbox = setup.sandbox().await;
        let command = shell(&format!("sleep {seconds}; echo done"));
        let mut printed = Printed::default();
        let result = sandbox.run(&command, &mut printed).await.unwrap();
        assert_eq!(result.end, CommandEnd::Exited(0));
        assert_eq!(printed.texts().0, "done\n");
        let executes = setup.fake.requests_to(Route::Execute);
        let downloads = setup.fake.requests_to(Route::Download);
        assert_eq!(
            (executes, downloads > 1),
            (1, looks),
            "{seconds}: {downloads}"
        );
        setup.delete(sandbox.as_ref()).await;
    }
}

#[expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot begin has failed"
)]
async fn fails(rule: Rule) -> SandboxError {
    let setup = Setup::with_fault(rule);
    let sandbox = setup.sandbox().await;
    let result = sandbox
        .run(&shell("sleep 1; echo x >ran"), &mut Printed::default())
        .await;
    let home = setup.fake.home(sandbox.id().as_str()).unwrap();
    assert!(!home.join("ran").exists());
    setup.delete(sandbox.as_ref()).await;
    result.expect_err("a failure")
}

#[tokio::test]
async fn a_command_that_never_reached_the_sandbox_is_not_waited_for() {
    let error = fails(Rule::route(Route::Execute, When::Nth(1), Before::Drop)).await;
    assert_eq!(
        (error.kind, error.attempts),
        (ErrorKind::Unreachable, 1),
        "{error}"
    );
}

#[tokio::test]
async fn a_daemon_that_dies_is_a_lost_sandbox() {
    let dies = During::DaemonDies(Duration::from_millis(300));
    let error = fails(Rule::route(Route::Execute, When::Nth(1), dies)).await;
    assert_eq!(error.kind, ErrorKind::Lost, "{error}");
}

/// What has come home while it lived is not lost with it.
#[tokio::test]
async fn what_was_printed_survives_a_daemon_that_dies_for_good() {
    let mut ours = DaytonaOptions::default();
    // As it is, but sooner.
    ours.live_interval = ours.live_interval.map(|it| it / 25);
    let warm = Options {
        warm: true,
        ..Options::default()
    };
    let setup = Setup::with(warm, ours);
    let dies = During::DaemonDies(Duration::from_secs(3));
    setup
        .fake
        .add_fault(Rule::route(Route::Execute, When::Nth(1), dies));
    let sandbox = setup.sandbox().await;
    let mut printed = Printed::default();
    let command = shell("echo early; echo warning >&2; sleep 20; echo late");
    let error = sandbox.run(&command, &mut printed).await;
    assert_eq!(error.expect_err("a failure").kind, ErrorKind::Lost);
    let (stdout, stderr) = printed.texts();
    assert_eq!((stdout.as_str(), stderr.as_str()), ("early\n", "warning\n"));
    setup.delete(sandbox.as_ref()).await;
}

/// A gateway's page is neither what was printed nor a bundle without an artifact: the candidate must not
/// lose for it.
#[tokio::test]
async fn a_page_in_the_place_of_a_file_is_a_failure_of_the_infrastructure() {
    let page = Before::Answer(Canned::html());
    let setup = Setup::with_fault(Rule::route(Route::Download, When::Nth(1), page));
    let sandbox = setup.sandbox().await;
    let mut command = shell("echo printed; echo wanted >out.md");
    command.then_collect = Some(collect(&[]));
    let mut printed = Printed::default();
    let error = sandbox.run(&command, &mut printed).await;
    assert_eq!(error.expect_err("a failure").kind, ErrorKind::Protocol);
    assert_eq!(printed.texts().0, "");
    setup.delete(sandbox.as_ref()).await;
}

/// What says that it is a bundle and is none: it is made again.
#[tokio::test]
async fn a_bundle_that_is_none_costs_the_candidate_nothing() {
    let junk = Canned {
        status: StatusCode::PARTIAL_CONTENT,
        headers: vec![("content-type", "application/octet-stream".to_owned())],
        body: "not an archive".to_owned(),
    };
    let junk = Before::Answer(junk);
    let setup = Setup::with_fault(Rule::route(Route::Download, When::Nth(1), junk));
    let (printed, home) = trial(&setup).await;
    check_trial(&printed, &home);
}

/// Packing for a call of its own may be sent again, which a command never is.
#[tokio::test]
async fn a_packing_that_got_lost_is_sent_again() {
    for fault in [
        Rule::route(Route::Execute, When::Nth(2), Before::Drop),
        Rule::route(Route::Execute, When::Nth(2), After::Drop),
    ] {
        let setup = Setup::with_fault(fault);
        let sandbox = setup.sandbox().await;
        let command = shell("echo result >out.md");
        sandbox
            .run(&command, &mut Printed::default())
            .await
            .unwrap();
        let mut home = Home::default();
        sandbox.collect(&collect(&[]), &mut home).await.unwrap();
        assert_eq!(
            home.texts(),
            [(Area::Work, "out.md", "result\n".to_owned())]
        );
        setup.delete(sandbox.as_ref()).await;
    }
}

/// What was uploaded since a command ended is not hidden by what was packed at its end.
#[tokio::test]
async fn an_upload_makes_a_bundle_old() {
    let setup = Setup::started(true);
    let sandbox = setup.sandbox().await;
    let mut command = shell("echo old >out.md");
    command.then_collect = Some(collect(&[]));
    sandbox
        .run(&command, &mut Printed::default())
        .await
        .unwrap();
    assert!(sandbox.has_at_hand(&collect(&[])));
    sandbox
        .upload(&[upload("out.md", "new", false)])
        .await
        .unwrap();
    assert!(!sandbox.has_at_hand(&collect(&[])));
    let mut home = Home::default();
    sandbox.collect(&collect(&[]), &mut home).await.unwrap();
    assert_eq!(home.texts(), [(Area::Work, "out.md", "new".to_owned())]);
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn a_sandbox_that_is_gone_is_lost_and_not_a_wrong_key() {
    let setup = Setup::new(Options {
        warm: true,
        ..Options::default()
    });
    let sandbox = setup.sandbox().await;
    setup.delete(sandbox.as_ref()).await;
    let result = sandbox.run(&shell("true"), &mut Printed::default()).await;
    assert_eq!(result.expect_err("a failure").kind, ErrorKind::Lost);
    let result = sandbox.upload(&[upload("a", "b", false)]).await;
    assert_eq!(result.expect_err("a failure").kind, ErrorKind::Lost);
}
