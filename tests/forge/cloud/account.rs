//! What an account limits: the pace of creates, the pool of sandboxes, the features of its tier.

use std::time::Duration;

use super::{Cloud, WRITES};
use crate::support::fake_daytona::fault::{Before, Canned, During, Rule, When};
use crate::support::fake_daytona::outside::Outside;
use crate::support::fake_daytona::{
    ORGANIZATION, Options, Quota, RateLimit, RateLimits, Route, ToolboxUrl,
};
use crate::support::skipped;
use crate::support::workspace::{Ended, Workspace, finish};

fn attempts(cloud: &Cloud) -> Vec<u64> {
    let folder = cloud.workspace.run_folder().join("task/a");
    std::fs::read_dir(folder)
        .unwrap()
        .map(|trial| trial.unwrap().path().join("trial.json"))
        .filter(|path| path.exists())
        .map(|path| {
            crate::support::workspace::read_json(&path)["attempts"]
                .as_u64()
                .unwrap()
        })
        .collect()
}

#[test]
fn creates_keep_the_pace_of_the_account_and_no_trial_fails() {
    let limit = RateLimit {
        requests: 5,
        window: Duration::from_secs(1),
    };
    let limits = RateLimits {
        sandbox_create: Some(limit),
        ..RateLimits::default()
    };
    let options = Options {
        warm: true,
        limits,
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    cloud.forge(["--daytona", "task", "-k20", "-j4"]).expect(0);
    assert_eq!(attempts(&cloud), [1; 20]);
    assert_eq!(cloud.fake.throttled(), 0, "the headers tell");
    assert_eq!(cloud.fake.requests_to(Route::Create), 20);
    cloud.assert_none_alive();
}

#[test]
fn a_small_pool_is_waited_for_and_costs_no_attempt() {
    let options = Options {
        warm: true,
        quota: Some(Quota {
            cpu: 3,
            memory: 3,
            disk: 9,
            ..Quota::UNLIMITED
        }),
        destroy: Duration::from_millis(50),
        ..Options::default()
    };
    let works = "#!/bin/sh\nsleep 0.2\necho \"hello from the cloud\" > \"$2\"\n";
    let graded = "prompt: do it\nscoring:\n  quality:\n    - {command: [sh, grade.sh]}\n";
    let workspace = Workspace::with(&[("a.sh", works)])
        .file("objectives/task.yaml", graded)
        .file("objectives/grade.sh", "echo '{\"score\": 70}'\n");
    let cloud = Cloud::new(options, workspace);
    cloud.forge(["--daytona", "task", "-k8", "-j8"]).expect(0);
    assert_eq!(attempts(&cloud), [1; 8]);
    assert!(cloud.fake.peak_alive() <= 3, "{}", cloud.fake.peak_alive());
    for (name, trial) in cloud.workspace.trials() {
        assert_eq!(trial["quality"], 70.0, "{name} was not graded: {trial:#}");
    }
    cloud.assert_none_alive();
}

#[test]
fn a_feature_that_the_tier_lacks_is_one_error_and_the_rest_goes_on() {
    let options = Options {
        warm: true,
        network_override: false,
        ..Options::default()
    };
    let workspace = Workspace::new()
        .candidate("a.sh", WRITES)
        .file("objectives/open.yaml", "prompt: do it\n")
        .file("objectives/closed.yaml", "prompt: do it\nnetwork: block\n");
    let cloud = Cloud::new(options, workspace);
    let ended = cloud.forge(["--daytona", "-k4", "-j8"]).expect(3);
    let kinds = |objective: &str| -> Vec<String> {
        let trials = cloud.workspace.trials();
        let mine = trials
            .iter()
            .filter(|(name, _)| name.starts_with(objective));
        let mut kinds: Vec<String> = mine.map(|(_, row)| row["error_kind"].to_string()).collect();
        kinds.sort();
        kinds
    };
    let not_run = "\"not_run\"";
    assert_eq!(
        kinds("closed"),
        ["\"infrastructure\"", not_run, not_run, not_run]
    );
    assert_eq!(kinds("open"), ["null"; 4], "{}", ended.stdout);
    let report = std::fs::read_to_string(cloud.workspace.run_folder().join("report.md")).unwrap();
    assert!(report.contains("Network access overrides"), "{report}");
    cloud.assert_none_alive();
}

/// An account with room for ten small sandboxes, which locks an address out at its first wrong key.
fn small_account() -> Options {
    let per_minute = |requests| {
        Some(RateLimit {
            requests,
            window: Duration::from_secs(60),
        })
    };
    Options {
        quota: Some(Quota {
            cpu: 10,
            memory: 10,
            disk: 30,
            ..Quota::UNLIMITED
        }),
        limits: RateLimits {
            sandbox_create: per_minute(300),
            failed_auth: per_minute(1),
            ..RateLimits::default()
        },
        jwt: Some("a.b.c".to_owned()),
        ..Options::default()
    }
}

impl Cloud {
    /// `forge doctor` with a token in the place of the key.
    fn doctor_with_token(&self, token: &str) -> Ended {
        let mut command = self.command(["doctor"]);
        command
            .env_remove("DAYTONA_API_KEY")
            .env("DAYTONA_JWT_TOKEN", token)
            .env("DAYTONA_ORGANIZATION_ID", ORGANIZATION);
        finish(command.spawn().unwrap())
    }
}

#[track_caller]
fn assert_says(ended: &Ended, needles: &[&str]) {
    for needle in needles {
        let said = &ended.stdout;
        assert!(said.contains(needle), "no {needle} in {said}");
    }
}

#[test]
fn doctor_tells_what_the_key_can_and_asks_nothing_that_a_key_may_not_ask() {
    let cloud = Cloud::new(small_account(), Workspace::new());
    let ended = cloud.forge(["doctor"]).expect(0);
    let permissions = "write:sandboxes, delete:sandboxes";
    assert_says(
        &ended,
        &["0.190.0", permissions, "sandboxCreate: 300 in 60 s"],
    );
    assert_eq!(cloud.fake.requests_to(Route::Usage), 0);
    cloud.fake.set_permissions(&["write:sandboxes"]);
    let ended = cloud.forge(["doctor"]).expect(3);
    assert_says(&ended, &["lacks the permission `delete:sandboxes`"]);
    assert_eq!(cloud.fake.rows(), []);
}

#[test]
fn doctor_tells_a_token_how_many_sandboxes_fit_and_asks_nothing_that_a_token_may_not_ask() {
    let cloud = Cloud::new(small_account(), Workspace::new());
    let ended = cloud.doctor_with_token("a.b.c").expect(0);
    let fits = "10 sandboxes, 10 of them now (1 CPU, 1 GiB memory, 3 GiB disk each)";
    assert_says(&ended, &[fits, "token: works"]);
    assert_eq!(cloud.fake.requests_to(Route::CurrentKey), 0);
    let medium = "daytona: {snapshot: daytona-medium}\n";
    let cloud = Cloud {
        workspace: cloud.workspace.file("forge.yaml", medium),
        fake: cloud.fake,
    };
    let ended = cloud.doctor_with_token("a.b.c").expect(0);
    assert_says(&ended, &["2 sandboxes, 2 of them now"]);
}

#[test]
fn doctor_says_what_it_means_that_an_address_is_locked_out() {
    let cloud = Cloud::new(small_account(), Workspace::new());
    cloud.doctor_with_token("wrong").expect(3);
    let ended = cloud.doctor_with_token("a.b.c").expect(3);
    let meaning = "too many requests with a wrong key came from this address";
    assert_says(&ended, &[meaning]);
}

#[test]
fn a_pool_in_which_not_one_fits_is_one_error_at_once() {
    let options = Options {
        warm: true,
        quota: Some(Quota {
            cpu: 0,
            ..Quota::UNLIMITED
        }),
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    let ended = cloud.forge(["--daytona", "task", "-k6", "-j2"]).expect(3);
    assert!(
        cloud.fake.requests_to(Route::Create) <= 2,
        "{}",
        ended.stderr
    );
    let report = std::fs::read_to_string(cloud.workspace.run_folder().join("report.md")).unwrap();
    assert!(report.contains("Total CPU limit exceeded"), "{report}");
    cloud.assert_none_alive();
}

#[test]
fn a_refusal_of_the_account_is_told_in_the_servers_words() {
    for (answer, said) in [
        (Canned::suspended(), "Organization is suspended"),
        (Canned::region_denied(), "Region us is not available"),
    ] {
        let rule = Rule::route(Route::Create, When::Always, Before::Answer(answer));
        let cloud = Cloud::of(WRITES, vec![rule]);
        let ended = cloud.forge(["--daytona", "task", "-k4"]).expect(3);
        let report = cloud.workspace.run_folder().join("report.md");
        let text = std::fs::read_to_string(report).unwrap();
        assert!(text.contains(said), "{text}{}", ended.stderr);
    }
}

#[test]
fn a_toolbox_that_refuses_everybody_is_one_error_for_the_run() {
    let options = Options {
        warm: true,
        toolbox_url: ToolboxUrl::Host("127.0.0.2".to_owned()),
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    cloud.forge(["--daytona", "task", "-k6", "-j1"]).expect(3);
    assert_eq!(cloud.fake.requests_to(Route::Create), 1);
    let report = std::fs::read_to_string(cloud.workspace.run_folder().join("report.md")).unwrap();
    assert!(report.contains("nobody answers at"), "{report}");
    cloud.assert_none_alive();
}

#[test]
fn a_candidate_with_a_shut_network_starts_when_it_is_shut_and_not_before() {
    if let Err(error) = Outside::open() {
        skipped("network rules", &format!("no network namespace: {error}"));
        return;
    }
    let reach = "#!/bin/bash\nif (: <>/dev/tcp/1.1.1.1/443) 2>/dev/null; then echo open; else echo the network is shut; fi >\"$2\"\n";
    let late = During::RulesLate(Duration::from_millis(1500));
    let options = Options {
        warm: true,
        outside: true,
        faults: vec![Rule::route(Route::Create, When::Always, late)],
        ..Options::default()
    };
    let workspace = Workspace::new()
        .candidate("a.sh", reach)
        .file("objectives/task.yaml", "prompt: do it\nnetwork: block\n");
    let cloud = Cloud::new(options, workspace);
    cloud.forge(["--daytona", "task"]).expect(0);
    let artifact = cloud
        .workspace
        .run_folder()
        .join("task/a/1/discord_post.md");
    assert_eq!(
        std::fs::read_to_string(artifact).unwrap(),
        "the network is shut\n"
    );
    cloud.assert_none_alive();
}
