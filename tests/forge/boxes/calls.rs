//! What a trial costs in calls to the engine.

use std::collections::BTreeMap;

use super::{Boxes, WRITES};
use crate::support::counting::Counting;
use crate::support::workspace::finish;

const TRIALS: usize = 6;

/// Create, attach, start, delete: nothing is asked again and again. Further calls are those of a run.
#[test]
fn a_trial_costs_four_calls() {
    let Some(boxes) = Boxes::of(WRITES) else {
        return;
    };
    let proxy = Counting::before(&boxes.engine.socket());
    let trials = TRIALS.to_string();
    let mut command = boxes.command(["--container", "task", "-k", &trials, "-j", "2"]);
    command.env(
        "DOCKER_HOST",
        format!("unix://{}", proxy.socket().display()),
    );
    finish(command.spawn().unwrap()).expect(0);
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    for call in proxy.calls() {
        // Without the container's id.
        let parts = call.split('/').map(|part| {
            let is_id = part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
            if is_id { "ID" } else { part }
        });
        *counted
            .entry(parts.collect::<Vec<_>>().join("/"))
            .or_default() += 1;
    }
    for call in [
        "POST /containers/create",
        "POST /containers/ID/attach",
        "POST /containers/ID/start",
        "DELETE /containers/ID",
    ] {
        assert_eq!(counted.remove(call), Some(TRIALS), "{call}: {counted:?}");
    }
    let others: usize = counted.values().sum();
    assert!(others <= 3, "of the run: {counted:?}");
    let all = others + 4 * TRIALS;
    assert!(all <= 6 * TRIALS, "{all} calls for {TRIALS} trials");
}
