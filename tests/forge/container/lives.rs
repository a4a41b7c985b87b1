//! How long containers live, and what they may reach.

use std::time::{Duration, Instant};

use forge::conformance::hands::{command, run, shell};
use forge::conformance::{Harness as _, create, delete, make, spec};
use forge::sandbox::{
    Command, CommandEnd, ErrorKind, Network, Networks, Presence, Provider, SandboxSpec, Stage,
};

use super::{Box, with};
use crate::support::engine::{BASH, BUSYBOX, PYTHON, engine, engine_with_python};

/// Waits, and fails when it takes far too long.
async fn until_gone(harness: &Box, what: &str) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !harness
        .provider
        .list(&harness.run)
        .await
        .unwrap()
        .is_empty()
    {
        assert!(Instant::now() < patience, "{what}: it is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What a killed forge leaves: the line to the container is cut, and nobody deletes it.
#[tokio::test]
async fn a_container_that_everybody_has_forgotten_goes_by_itself() {
    let Some(harness) = with(BUSYBOX) else { return };
    let sandbox = create(&harness, "forgotten").await;
    let (_, heard) = run(&*sandbox, &shell("sleep 1000 & echo there")).await;
    assert_eq!(heard.text(), "there\n");
    drop(sandbox);
    // The provider holds the line.
    assert_eq!(harness.provider.list(&harness.run).await.unwrap().len(), 1);
    let gone = Box {
        provider: engine().unwrap().containers(BUSYBOX),
        run: harness.run,
    };
    drop(harness);
    until_gone(&gone, "without forge").await;
}

/// All users of the machine see the arguments of all processes, and the engine shows them.
#[tokio::test]
async fn values_of_variables_are_no_arguments_of_processes() {
    for image in [BUSYBOX, PYTHON, BASH] {
        if image != BUSYBOX && engine_with_python().is_none() {
            continue;
        }
        let Some(harness) = with(image) else { return };
        let sandbox = create(&harness, "arguments").await;
        let mut spies = shell(
            "for i in 1 2 3 4 5; do cat /proc/[0-9]*/cmdline; done | tr '\\0' '\\n'; echo \"=$SECRET=\"; env",
        );
        let value = "s3cret\nHOME=of it";
        spies.env.insert("SECRET".to_owned(), value.to_owned());
        let (_, heard) = run(&*sandbox, &spies).await;
        let text = heard.text();
        let (arguments, environment) = text.split_once(&format!("={value}=\n")).unwrap();
        assert!(arguments.contains("cmdline"), "{arguments}");
        assert!(!arguments.contains("s3cret"), "{image}: {arguments}");
        let home = format!("HOME={}\n", sandbox.layout().work);
        assert!(environment.contains(&home), "{environment}");
        delete(&harness, sandbox).await;
    }
}

#[tokio::test]
async fn one_that_is_kept_lives_until_its_time_is_over() {
    let Some(harness) = with(BUSYBOX) else { return };
    let spec = SandboxSpec {
        may_be_kept: true,
        lifetime: Duration::from_secs(3),
        ..spec(harness.run(), "kept")
    };
    let began = Instant::now();
    let sandbox = make(harness.provider(), &spec).await.unwrap();
    let id = sandbox.id().clone();
    drop(sandbox);
    harness.provider.kept(&id);
    // It is there without anybody who holds the line.
    tokio::time::sleep(Duration::from_millis(500)).await;
    if began.elapsed() < Duration::from_secs(2) {
        assert_eq!(harness.provider.look(&id).await.unwrap(), Presence::Alive);
    }
    until_gone(&harness, "its time is over").await;
    assert!(
        began.elapsed() >= Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn one_whose_time_is_over_goes_while_forge_is_there() {
    let Some(harness) = with(BUSYBOX) else { return };
    let spec = SandboxSpec {
        lifetime: Duration::from_secs(1),
        ..spec(harness.run(), "over")
    };
    let sandbox = make(harness.provider(), &spec).await.unwrap();
    until_gone(&harness, "its time is over").await;
    let error = sandbox
        .run(
            &command(&["true"]),
            &mut forge::conformance::hands::Heard::default(),
        )
        .await;
    assert_eq!(error.unwrap_err().kind, ErrorKind::Lost);
}

/// A container that is taken away under forge's hands is the world's failure, not the candidate's.
#[tokio::test]
async fn one_that_somebody_else_removes_is_lost() {
    let Some(harness) = with(BUSYBOX) else { return };
    let sandbox = create(&harness, "removed").await;
    let mut heard = forge::conformance::hands::Heard::default();
    let long = shell("sleep 1000");
    let running = sandbox.run(&long, &mut heard);
    let removing = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let id = sandbox.id().as_str();
        let removed = engine()
            .unwrap()
            .podman()
            .args(["rm", "--force", "--time", "0", id])
            .output();
        assert!(removed.unwrap().status.success());
    };
    let (result, ()) = futures::join!(running, removing);
    assert_eq!(result.unwrap_err().kind, ErrorKind::Lost);
    assert_eq!(
        harness.provider.delete(sandbox.id()).await.unwrap(),
        Presence::Absent
    );
}

fn networks(setup: Network, run: Network) -> Networks {
    Networks { setup, run }
}

const INTERFACES: &str = "ls /sys/class/net | tr '\\n' ' '";

#[tokio::test]
async fn without_a_network_there_is_none() {
    let Some(harness) = with(BUSYBOX) else { return };
    let spec = SandboxSpec {
        networks: Networks::same(Network::Block),
        ..spec(harness.run(), "blocked")
    };
    let sandbox = make(harness.provider(), &spec).await.unwrap();
    let (_, heard) = run(&*sandbox, &shell(INTERFACES)).await;
    assert_eq!(heard.text(), "lo ");
    assert!(
        sandbox.isolation().contains("no network"),
        "{}",
        sandbox.isolation()
    );
    delete(&harness, sandbox).await;
}

#[tokio::test]
async fn the_network_of_a_setup_is_shut_for_its_run() {
    let Some(harness) = with(BUSYBOX) else { return };
    let spec = SandboxSpec {
        networks: networks(Network::Open, Network::Block),
        ..spec(harness.run(), "shut")
    };
    let sandbox = match make(harness.provider(), &spec).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            // Some machines let nobody have a bridge.
            crate::support::skipped(
                "the_network_of_a_setup_is_shut_for_its_run",
                &error.to_string(),
            );
            return;
        }
    };
    let setup = Command {
        stage: Stage::Setup,
        ..shell(INTERFACES)
    };
    let (_, heard) = run(&*sandbox, &setup).await;
    assert!(heard.text().contains("eth0"), "{}", heard.text());
    for _ in 0..2 {
        let (result, heard) = run(&*sandbox, &shell(INTERFACES)).await;
        assert_eq!(result.end, CommandEnd::Exited(0));
        assert!(!heard.text().contains("eth"), "{}", heard.text());
    }
    // Nothing leads back.
    let (_, heard) = run(&*sandbox, &setup).await;
    assert!(!heard.text().contains("eth"), "{}", heard.text());
    delete(&harness, sandbox).await;
}

#[tokio::test]
async fn what_no_engine_can_is_refused_before_anything_exists() {
    let Some(harness) = with(BUSYBOX) else { return };
    let list = || Network::Allow(vec!["10.0.0.0/8".to_owned()]);
    for networks in [
        Networks::same(list()),
        networks(list(), Network::Block),
        networks(Network::Block, Network::Open),
    ] {
        let error = harness
            .provider
            .preflight(std::slice::from_ref(&networks))
            .await;
        assert_eq!(error.unwrap_err().kind, ErrorKind::Invalid);
        let spec = SandboxSpec {
            networks,
            ..spec(harness.run(), "refused")
        };
        let failed = harness.provider().create(&spec).await.unwrap_err();
        assert_eq!(failed.error.kind, ErrorKind::Invalid);
    }
    harness.assert_nothing_left().await;
}

/// It holds its first process's input open, so that this never ends, and has stopped its clock.
#[tokio::test]
async fn one_that_keeps_itself_alive_ends_when_its_time_is_over() {
    let Some(harness) = with(BUSYBOX) else { return };
    let spec = SandboxSpec {
        lifetime: Duration::from_secs(4),
        ..spec(harness.run(), "clinging")
    };
    let sandbox = make(harness.provider(), &spec).await.unwrap();
    let script = "exec 9<>/proc/1/fd/0; for it in /proc/[0-9]*; do
          if [ \"$(cat $it/comm 2>/dev/null)\" = sleep ]; then kill -9 ${it#/proc/}; fi
        done; echo holding; while :; do sleep 1; done";
    let mut heard = forge::conformance::hands::Heard::default();
    let clinging = shell(script);
    let running = sandbox.run(&clinging, &mut heard);
    // Forge is gone in the middle of it.
    tokio::time::timeout(Duration::from_secs(2), running)
        .await
        .unwrap_err();
    // A line feed may be the beginning of something else.
    assert_eq!(heard.text().trim_end(), "holding");
    let gone = Box {
        provider: engine().unwrap().containers(BUSYBOX),
        run: harness.run,
    };
    drop((sandbox, harness));
    until_gone(&gone, "its time is over").await;
}
