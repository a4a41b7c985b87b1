//! A sandbox that is to be cut off from the network is seen to be, inside, before anything is started in it.

use std::net::{SocketAddr, SocketAddrV4, TcpListener};
use std::time::Duration;

use forge::sandbox::daytona::DaytonaOptions;
use forge::sandbox::{CommandEnd, ErrorKind, Network, SandboxSpec};

use super::{Printed, Setup, make, shell};
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
        network,
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
        assert_eq!(sandbox.isolation(), "Daytona container, no network");
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
