//! Where the key and the URL come from, and what is said and done when they are not there or wrong.

use std::time::{Duration, Instant};

use super::{Cloud, WRITES};
use crate::support::fake_daytona::{ORGANIZATION, Options};
use crate::support::workspace::{Ended, Workspace, finish};

const FALLBACK: &str = "Execution: LOCAL\n  (Daytona not configured, falling back to local)\n";

/// Runs with these variables, and no others of Daytona's.
fn forge_with(cloud: &Cloud, variables: &[(&str, &str)]) -> Ended {
    let mut command = cloud.workspace.command(["--daytona", "task"]);
    command.envs(variables.iter().copied());
    finish(command.spawn().unwrap())
}

#[test]
fn a_wrong_key_ends_the_run_at_once_and_nothing_runs_anywhere() {
    let marks = "#!/bin/sh\ntouch \"$MARK\"\n";
    let cloud = Cloud::of(marks, vec![]);
    let mark = cloud.workspace.path("mark");
    let began = Instant::now();
    let mut command = cloud.command(["--daytona", "task", "--env"]);
    command
        .arg(format!("MARK={}", mark.display()))
        .env("DAYTONA_API_KEY", "wrong-key-7c1b");
    let ended = finish(command.spawn().unwrap()).expect(3);
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(ended.stdout, "Execution: DAYTONA\n");
    assert!(ended.stderr.contains("DAYTONA_API_KEY"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("wrong-key"), "{}", ended.stderr);
    assert_eq!(cloud.fake.rows(), []);
    assert!(!mark.exists() && !cloud.workspace.path("artifacts/latest").exists());
}

#[test]
fn without_a_key_it_runs_here_and_says_so() {
    let cloud = Cloud::of(WRITES, vec![]);
    let ended = forge_with(&cloud, &[]).expect(0);
    assert!(ended.stdout.starts_with(FALLBACK), "{}", ended.stdout);
    for key in ["your_api_key_here", "YOUR-KEY", "<key>", "***", " "] {
        let ended = forge_with(&cloud, &[("DAYTONA_API_KEY", key)]).expect(0);
        assert!(
            ended.stdout.starts_with(FALLBACK),
            "{key}: {}",
            ended.stdout
        );
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(
            said.contains("ignoring a placeholder in DAYTONA_API_KEY"),
            "{key}: {said}"
        );
    }
    assert_eq!(cloud.fake.requests(), 0);
}

/// What does not count may be why it does not work; there is no report to say so.
#[test]
fn what_is_passed_over_is_said_when_nothing_runs_as_well() {
    let cloud = Cloud::of(WRITES, vec![]);
    let mut command = cloud.workspace.command(["--require-daytona", "task"]);
    command.env("DAYTONA_API_KEY", "your_key");
    let ended = finish(command.spawn().unwrap()).expect(2);
    let note = "ignoring a placeholder in DAYTONA_API_KEY";
    assert!(ended.stderr.contains(note), "{}", ended.stderr);

    let url = "DAYTONA_API_URL=http://127.0.0.1:9/api\n";
    std::fs::write(cloud.workspace.path(".env"), url).unwrap();
    let mut command = cloud.command(["--daytona", "task"]);
    command.env("DAYTONA_API_KEY", "wrong-key-7c1b");
    let ended = finish(command.spawn().unwrap()).expect(3);
    let note = "ignoring DAYTONA_API_URL of .env";
    assert!(ended.stderr.contains(note), "{}", ended.stderr);
}

#[test]
fn a_token_needs_its_organization() {
    let options = Options {
        warm: true,
        jwt: Some("a.jwt.token".to_owned()),
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    let url = cloud.fake.api_url();
    let mut variables = vec![
        ("DAYTONA_JWT_TOKEN", "a.jwt.token"),
        ("DAYTONA_API_URL", &url),
    ];
    let ended = forge_with(&cloud, &variables).expect(2);
    assert!(
        ended.stderr.contains("DAYTONA_ORGANIZATION_ID"),
        "{}",
        ended.stderr
    );
    assert_eq!(cloud.fake.requests(), 0);
    variables.push(("DAYTONA_ORGANIZATION_ID", ORGANIZATION));
    forge_with(&cloud, &variables).expect(0);
    assert_eq!(cloud.fake.rows().len(), 1);
}

#[test]
fn dotenv_files_are_read_and_their_urls_only_beside_their_keys() {
    let cloud = Cloud::of(WRITES, vec![]);
    let (key, url) = (cloud.fake.api_key().to_owned(), cloud.fake.api_url());
    let both = format!("DAYTONA_API_KEY='{key}'\nexport DAYTONA_API_URL={url} # here\n");
    let Cloud { fake, workspace } = cloud;
    let cloud = Cloud {
        workspace: workspace.file(".env", &both),
        fake,
    };
    let ended = forge_with(&cloud, &[]).expect(0);
    assert!(
        ended.stdout.starts_with("Execution: DAYTONA\n"),
        "{}",
        ended.stdout
    );
    assert_eq!(cloud.fake.rows().len(), 1);

    // A hostile folder's URL does not get a key that it does not hold.
    let hostile = Cloud::of(WRITES, vec![]);
    let Cloud { fake, workspace } = hostile;
    let hostile = Cloud {
        workspace: workspace.file(
            ".env.local",
            format!("DAYTONA_API_URL={}\n", fake.api_url()),
        ),
        fake,
    };
    let variables = [
        ("DAYTONA_API_KEY", key.as_str()),
        ("DAYTONA_API_URL", url.as_str()),
    ];
    let ended = forge_with(&hostile, &variables).expect(0);
    let said = format!("{}{}", ended.stdout, ended.stderr);
    assert!(
        said.contains("ignoring DAYTONA_API_URL of .env.local"),
        "{said}"
    );
    assert_eq!(hostile.fake.requests(), 0);
    assert_eq!(cloud.fake.rows().len(), 2);
}

#[test]
fn a_url_that_is_not_the_api_is_called_so() {
    let cloud = Cloud::of(WRITES, vec![]);
    let url = cloud.fake.api_url();
    let dashboard = url.strip_suffix("/api").unwrap();
    let key = cloud.fake.api_key();
    let ended = forge_with(
        &cloud,
        &[("DAYTONA_API_KEY", key), ("DAYTONA_API_URL", dashboard)],
    );
    let ended = ended.expect(3);
    assert!(ended.stderr.contains("wrong API URL?"), "{}", ended.stderr);
    assert_eq!(cloud.fake.rows(), []);
}

#[test]
fn what_forge_yaml_says_of_sandboxes_is_kept() {
    let yaml = "provider: daytona\ndaytona: {network: block, auto_stop: 7m, target: eu}\n";
    let cloud = Cloud::of(WRITES, vec![]);
    let Cloud { fake, workspace } = cloud;
    let cloud = Cloud {
        workspace: workspace.file("forge.yaml", yaml),
        fake,
    };
    let made = |arguments: &[&str]| {
        cloud.forge(arguments.iter().copied()).expect(0);
        let row = cloud.fake.newest();
        let text = |name: &str| row[name].to_string();
        [
            text("networkBlockAll"),
            text("autoStopInterval"),
            text("target"),
        ]
    };
    assert_eq!(made(&["task"]), ["true", "7", "\"eu\""]);
    let flags = ["task", "--network", "open", "--target", "us"];
    assert_eq!(
        made(&flags),
        ["false", "7", "\"us\""],
        "a flag is above the file"
    );
}
