//! Candidates that want to outlive their trial.

use serde_json::json;

use super::table::{compare, family};
use super::{Level, Verdicts, Yard, on, on_each_level};
use crate::support::workspace::wait;

const LASTING: &str = include_str!("probes/lasting.py");

on_each_level!(nothing_outlives_its_trial);

fn nothing_outlives_its_trial(level: Level) {
    let names: Vec<&str> = family("lasting/").into_iter().collect();
    let candidates: Vec<(&str, &str)> = names.iter().map(|name| (*name, LASTING)).collect();
    let yard = Yard::new(&candidates).objective("task", &json!({}), "network: open\n");
    yard.forge(level, &["-j", "4", "--timeout", "2s"]).expect(0);
    // The other end of a connection may learn a little later.
    for _ in 0..100 {
        if yard.neighbour.report()["alive"] == json!({}) {
            break;
        }
        wait(20);
    }
    let report = yard.neighbour.report();
    let mut verdicts = Verdicts::new();
    for name in names {
        assert_eq!(report["seen"][name], 1, "{name} was not there: {report}");
        let trial = yard.trial(level, "task", name);
        let expected = if name.ends_with("-limit") {
            json!("timeout")
        } else {
            json!(null)
        };
        assert_eq!(trial["error_kind"], expected, "{name}: {trial}");
        let alive = !report["alive"][name].is_null();
        let word = if alive { "OPEN" } else { "BLOCKED" };
        verdicts.insert(name.to_owned(), (word.to_owned(), report.to_string()));
    }
    let wrong = compare(level, "lasting", &verdicts);
    assert!(wrong.is_empty(), "{level:?}:\n{}", wrong.join("\n"));
    yard.workspace.assert_nothing_left();
}
