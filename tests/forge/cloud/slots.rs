//! A slot is free when its sandbox is gone, and not before.

use std::time::Duration;

use super::{Cloud, WRITES};
use crate::support::fake_daytona::{Options, Quota};
use crate::support::workspace::Workspace;

#[test]
fn no_more_than_jobs_run_at_once_however_long_deletes_take() {
    let options = Options {
        warm: true,
        destroy: Duration::from_secs(2),
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    let ended = cloud.forge(["--daytona", "task", "-k12", "-j4"]).expect(0);
    let peak = cloud.fake.peak_alive();
    assert!(peak <= 4, "{peak} at once: {}", ended.stdout);
    cloud.assert_none_alive();
}

#[test]
fn no_trial_is_lost_to_a_quota_that_its_own_run_fills() {
    let options = Options {
        warm: true,
        destroy: Duration::from_millis(300),
        quota: Some(Quota {
            cpu: 4,
            ..Quota::UNLIMITED
        }),
        ..Options::default()
    };
    let cloud = Cloud::new(options, Workspace::with(&[("a.sh", WRITES)]));
    cloud.forge(["--daytona", "task", "-k40", "-j4"]).expect(0);
    let trials = cloud.workspace.trials();
    assert_eq!(trials.len(), 40);
    for (name, trial) in trials {
        assert_eq!(trial["error_kind"], serde_json::Value::Null, "{name}");
    }
    assert!(cloud.fake.peak_alive() <= 4);
    cloud.assert_none_alive();
}
