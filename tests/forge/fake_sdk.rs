//! The official Python SDK, unmodified, drives `FakeDaytona`: what it understands is Daytona's interface.
//!
//! The SDK is installed once, below the folder that cargo gives to tests. Where that is impossible the
//! test says so and passes, except in CI.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::support::fake_daytona::{FakeDaytona, Options};

const SDK: &str = "daytona==0.226.1";

/// Runs a program to its end, or kills it after three minutes.
async fn run(command: &mut Command) -> io::Result<ExitStatus> {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).status();
    tokio::time::timeout(Duration::from_secs(180), running)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// A Python that has the SDK, or why there is none.
async fn python() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(SDK.replace("==", "-"));
    let (python, ready) = (folder.join("bin/python"), folder.join("ready"));
    if ready.exists() {
        return Ok(python);
    }
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    // What is killed tidies nothing up.
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let steps: [(&Path, Vec<&str>); 2] = [
        (Path::new("python3"), vec!["-m", "venv", "--clear"]),
        (&python, [&install[..], &["--retries", "1", SDK]].concat()),
    ];
    for (program, arguments) in steps {
        let mut command = Command::new(program);
        command.args(&arguments).env("TMPDIR", scratch.path());
        if program != python {
            command.arg(&folder);
        }
        let ended = run(&mut command).await;
        if !ended.as_ref().is_ok_and(ExitStatus::success) {
            return Err(format!("{} {arguments:?}: {ended:?}", program.display()));
        }
    }
    std::fs::write(&ready, "").map_err(|error| error.to_string())?;
    Ok(python)
}

#[tokio::test]
async fn the_official_sdk_works_against_the_fake() {
    let python = match python().await {
        Ok(python) => python,
        Err(reason) => {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI must have the SDK: {reason}"
            );
            let why = format!("no {SDK}: {reason}");
            crate::support::skipped("the_official_sdk_works_against_the_fake", &why);
            return;
        }
    };
    let fake = FakeDaytona::start(Options {
        start: Duration::from_millis(100),
        destroy: Duration::from_millis(100),
        tombstones: false,
        ..Options::default()
    })
    .expect("a server");
    let empty = tempfile::tempdir().expect("a folder without a dotenv file");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/forge/support/sdk_check.py");
    let ended = run(Command::new(python)
        .arg(script)
        .current_dir(&empty)
        .env("DAYTONA_API_KEY", fake.api_key())
        .env("DAYTONA_API_URL", fake.api_url())
        .env_remove("DAYTONA_JWT_TOKEN")
        .env_remove("DAYTONA_ORGANIZATION_ID")
        .env_remove("DAYTONA_TARGET"))
    .await;
    let leftover = fake.alive();
    fake.allow_leaks();
    assert!(
        ended.is_ok_and(|status| status.success()),
        "see the SDK's output"
    );
    assert_eq!(leftover, [], "the SDK deleted what it created");
    let told: Vec<_> = fake
        .book()
        .into_iter()
        .filter(|seen| !seen.key_in.is_empty())
        .collect();
    assert!(
        told.is_empty(),
        "the key is in the authorization header only: {told:#?}"
    );
}
