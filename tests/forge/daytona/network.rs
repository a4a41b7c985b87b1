//! A sandbox that is to be cut off from the network is seen to be, inside, before anything is started in it.

use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::time::Duration;

use forge::sandbox::daytona::DaytonaOptions;
use forge::sandbox::{Command, CommandEnd, ErrorKind, Network, Networks, SandboxSpec, Stage};

use super::{Printed, Setup, make, shell};
use reqwest::StatusCode;

use crate::support::fake_daytona::fault::{Before, Canned, Rule, When};
use crate::support::fake_daytona::{Options, Route};

/// What stands for the network, and where.
fn listen() -> (TcpListener, SocketAddrV4) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    match listener.local_addr().unwrap() {
        SocketAddr::V4(address) => (listener, address),
        SocketAddr::V6(address) => panic!("{address}"),
    }
}

fn setup(egress: SocketAddrV4, missing: &[&str]) -> Setup {
    let ours = DaytonaOptions {
        egress: vec![egress],
        ..DaytonaOptions::default()
    };
    let options = Options {
        warm: true,
        missing: missing.iter().map(|&it| it.to_owned()).collect(),
        ..Options::default()
    };
    Setup::with(options, ours)
}

fn spec(setup: &Setup, network: Network) -> SandboxSpec {
    SandboxSpec {
        networks: Networks::same(network),
        ..setup.spec(1)
    }
}

/// With each of the programs that it can be tried with.
#[tokio::test]
async fn nothing_is_started_until_the_network_is_shut() {
    for missing in [
        &[][..],
        &["bash"],
        &["bash", "python3"],
        &["bash", "python3", "curl"],
    ] {
        let (listener, egress) = listen();
        let setup = setup(egress, missing);
        let sandbox = make(&setup.daytona, &spec(&setup, Network::Block))
            .await
            .unwrap();
        // The rules come late.
        let shut = async {
            tokio::time::sleep(Duration::from_millis(700)).await;
            drop(listener);
        };
        let text = format!(
            "exec 2>/dev/null; if : <>/dev/tcp/{}/{}; then echo open; else echo shut; fi",
            egress.ip(),
            egress.port()
        );
        let mut command = shell("");
        command.programs = vec![vec!["/bin/bash".to_owned(), "-c".to_owned(), text]];
        let runs = async {
            for _ in 0..2 {
                let mut printed = Printed::default();
                let result = sandbox.run(&command, &mut printed).await.unwrap();
                assert_eq!(result.end, CommandEnd::Exited(0));
                assert_eq!(printed.texts().0, "shut\n", "without {missing:?}");
            }
        };
        futures::future::join(runs, shut).await;
        let isolation = "Daytona container, time to live untold, no network";
        assert_eq!(sandbox.isolation(), isolation);
        assert_eq!(setup.fake.requests_to(Route::Execute), 2);
        setup.delete(sandbox.as_ref()).await;
    }
}

#[tokio::test]
async fn a_sandbox_that_stays_open_is_lost_before_the_candidate_is_started() {
    let (_listener, egress) = listen();
    let setup = setup(egress, &[]);
    let outside = Network::Allow(vec!["10.0.0.0/8".to_owned()]);
    let sandbox = make(&setup.daytona, &spec(&setup, outside)).await.unwrap();
    let result = sandbox
        .run(&shell("echo x >ran"), &mut Printed::default())
        .await;
    let error = result.expect_err("it is open");
    assert_eq!(error.kind, ErrorKind::Server, "{error}");
    assert!(
        error
            .message
            .contains("nothing of the candidate was started"),
        "{error}"
    );
    let home = setup.fake.home(sandbox.id().as_str()).unwrap();
    assert!(!home.join("ran").exists());
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn what_could_not_be_checked_is_said() {
    let tools = ["bash", "python3", "curl", "nc", "perl"];
    for (network, missing, said) in [
        (
            Network::Block,
            &tools[..],
            "no network (unchecked: the image has no bash",
        ),
        (
            Network::Allow(vec!["127.0.0.0/8".to_owned()]),
            &[],
            "listed networks only (unchecked: they hold all",
        ),
        (Network::Open, &[], "network as the account allows"),
    ] {
        let (_listener, egress) = listen();
        let setup = setup(egress, missing);
        let sandbox = make(&setup.daytona, &spec(&setup, network)).await.unwrap();
        let result = sandbox
            .run(&shell("exit 0"), &mut Printed::default())
            .await
            .unwrap();
        assert_eq!(result.end, CommandEnd::Exited(0));
        assert!(
            sandbox.isolation().contains(said),
            "{}",
            sandbox.isolation()
        );
        setup.delete(sandbox.as_ref()).await;
    }
}

/// What has been started before the rules were there may have been used before them.
#[tokio::test]
async fn a_sandbox_with_rules_is_never_taken_from_the_warm_ones() {
    let (listener, egress) = listen();
    drop(listener);
    let setup = setup(egress, &[]);
    for (network, is_warm) in [(Network::Open, true), (Network::Block, false)] {
        let before = setup.fake.requests_to(Route::Get);
        let sandbox = make(&setup.daytona, &spec(&setup, network)).await.unwrap();
        let looks = setup.fake.requests_to(Route::Get) - before;
        assert_eq!(looks == 0, is_warm, "{looks}");
        setup.delete(sandbox.as_ref()).await;
    }
}

/// A command of the setup.
fn first(text: &str) -> Command {
    Command {
        stage: Stage::Setup,
        ..shell(text)
    }
}

fn open_then(run: Network) -> Networks {
    Networks {
        setup: Network::Open,
        run,
    }
}

#[tokio::test]
async fn the_rules_of_the_run_are_told_once_and_seen_before_its_first_command() {
    let (listener, egress) = listen();
    let setup = setup(egress, &[]);
    let spec = SandboxSpec {
        networks: open_then(Network::Block),
        ..setup.spec(1)
    };
    let sandbox = make(&setup.daytona, &spec).await.unwrap();
    assert_eq!(
        sandbox.isolation(),
        "Daytona container, time to live untold, no network (setup: network as the account allows)"
    );
    let address = format!("{}/{}", egress.ip(), egress.port());
    let text = format!("bash -c ': <>/dev/tcp/{address}' 2>/dev/null && echo open || echo shut");
    let try_it = async |command: Command| {
        let mut printed = Printed::default();
        let result = sandbox.run(&command, &mut printed).await.unwrap();
        assert_eq!(result.end, CommandEnd::Exited(0));
        printed.texts().0
    };
    for _ in 0..2 {
        assert_eq!(try_it(first(&text)).await, "open\n");
    }
    assert_eq!(setup.fake.requests_to(Route::NetworkSettings), 0);
    assert_eq!(setup.fake.newest()["networkBlockAll"], false);
    // The rules come late.
    let shut = async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        drop(listener);
    };
    let (said, ()) = futures::future::join(try_it(shell(&text)), shut).await;
    assert_eq!(said, "shut\n");
    assert_eq!(try_it(shell(&text)).await, "shut\n");
    // Nothing leads back.
    assert_eq!(try_it(first(&text)).await, "shut\n");
    assert_eq!(setup.fake.requests_to(Route::NetworkSettings), 1);
    assert_eq!(setup.fake.newest()["networkBlockAll"], true);
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn a_network_may_be_opened_after_the_setup_and_a_list_taken_back() {
    let list = || Network::Allow(vec!["10.0.0.0/8".to_owned()]);
    for (before, after, block, allowed) in [
        (
            Network::Block,
            Network::Open,
            false,
            serde_json::Value::Null,
        ),
        (list(), Network::Open, false, serde_json::Value::Null),
        (Network::Block, list(), false, "10.0.0.0/8".into()),
        (list(), Network::Block, true, serde_json::Value::Null),
    ] {
        let (listener, egress) = listen();
        drop(listener);
        let setup = setup(egress, &[]);
        let networks = Networks {
            setup: before,
            run: after,
        };
        let spec = SandboxSpec {
            networks,
            ..setup.spec(1)
        };
        let sandbox = make(&setup.daytona, &spec).await.unwrap();
        for command in [first("exit 0"), shell("exit 0")] {
            let result = sandbox.run(&command, &mut Printed::default()).await;
            assert_eq!(result.unwrap().end, CommandEnd::Exited(0));
        }
        let row = setup.fake.newest();
        assert_eq!(row["networkBlockAll"], block);
        let told = row.get("networkAllowList").cloned().unwrap_or_default();
        if !block {
            assert_eq!(told, allowed);
        }
        setup.delete(sandbox.as_ref()).await;
    }
}

#[tokio::test]
async fn no_command_of_the_run_is_sent_where_the_rules_cannot_be_changed() {
    let nest = Canned::error(
        StatusCode::NOT_FOUND,
        "Cannot POST /api/sandbox/x/network-settings",
    );
    let tier = Canned::error(
        StatusCode::FORBIDDEN,
        "Network access overrides are not available",
    );
    for (answer, kind, again) in [
        (nest, ErrorKind::Invalid, Some(ErrorKind::Invalid)),
        (tier, ErrorKind::Invalid, Some(ErrorKind::Invalid)),
        (
            Canned::error(StatusCode::CONFLICT, "Sandbox was modified"),
            ErrorKind::Busy,
            None,
        ),
        (
            Canned::status(StatusCode::INTERNAL_SERVER_ERROR),
            ErrorKind::Server,
            None,
        ),
    ] {
        let (listener, egress) = listen();
        drop(listener);
        let setup = setup(egress, &[]);
        let refuses = Rule::route(Route::NetworkSettings, When::Always, Before::Answer(answer));
        setup.fake.add_fault(refuses);
        let spec = |serial| SandboxSpec {
            networks: open_then(Network::Block),
            ..setup.spec(serial)
        };
        let sandbox = make(&setup.daytona, &spec(1)).await.unwrap();
        let first = sandbox.run(&first("exit 0"), &mut Printed::default()).await;
        assert_eq!(first.unwrap().end, CommandEnd::Exited(0));
        for _ in 0..2 {
            let run = sandbox
                .run(&shell("echo x >ran"), &mut Printed::default())
                .await;
            let error = run.expect_err("a refusal");
            assert_eq!(error.kind, kind, "{error}");
            let is_told = error.hint.is_some_and(|it| it.contains("setup: block"));
            assert_eq!(is_told, again.is_some());
        }
        assert_eq!(setup.fake.requests_to(Route::Execute), 1);
        let home = setup.fake.home(sandbox.id().as_str()).unwrap();
        assert!(!home.join("ran").exists());
        setup.delete(sandbox.as_ref()).await;
        // A refusal that every sandbox would meet is not met by the next one.
        let creates = setup.fake.requests_to(Route::Create);
        match make(&setup.daytona, &spec(2)).await {
            Ok(sandbox) => {
                assert_eq!(again, None);
                setup.delete(sandbox.as_ref()).await;
            }
            Err(error) => {
                assert_eq!(Some(error.kind), again, "{error}");
                assert_eq!(setup.fake.requests_to(Route::Create), creates);
            }
        }
    }
}
