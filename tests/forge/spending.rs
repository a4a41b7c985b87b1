//! How trials are spent: the control's repeats, looks that spare the rest, and what is run again to be sure.

use crate::support::workspace::Workspace;

const GOOD: &str = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";

#[test]
fn a_control_does_all_of_the_repeats_that_are_planned_for_it() {
    let names = ["a.sh", "b.sh", "c.sh", "d.sh", "e.sh"];
    let workspace = Workspace::with(&names.map(|name| (name, GOOD)));
    // √4 times as often as each of the four others.
    workspace.forge(["task", "--control", "a", "-k2"]).expect(0);
    let trials = workspace.trials();
    assert_eq!(trials.len(), 4 + 4 * 2);
    for (id, row) in &trials {
        assert!(row["score"].is_number(), "{id}: {row}");
    }
    assert!(trials.contains_key("task/a/4"));
    workspace.forge(["task", "--control", "a", "-k2", "--control-repeats", "1"]);
    assert_eq!(workspace.trials().len(), 1 + 4 * 2);
    workspace.assert_nothing_left();
}
