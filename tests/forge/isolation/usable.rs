//! What programs do, and still can.

use std::process::Command;

use serde_json::json;

use super::table::compare;
use super::{Level, Yard, on, on_each_level, succeeds};

const USABLE: &str = include_str!("probes/usable.py");
const FORKED: &str = include_str!("probes/forked.py");
const WASM: &str = include_str!("probes/wasm.mjs");

on_each_level!(
    what_programs_need_works_as_the_table_says,
    workers_that_share_memory_are_counted_once,
);

fn what_programs_need_works_as_the_table_says(level: Level) {
    let mut yard = Yard::new(&[("usable", USABLE)])
        .objective("open", &json!({}), "network: open\n")
        .objective("block", &json!({}), "network: block\n");
    let node = succeeds(Command::new("node").arg("--version"));
    if node {
        yard = yard.file("candidates/wasm.mjs", WASM);
    } else {
        eprintln!("SKIPPED: WebAssembly, there is no node");
    }
    yard.forge(level, &["-j", "4", "--timeout", "40s"])
        .expect(0);
    let mut wrong = Vec::new();
    for network in ["open", "block"] {
        let mut verdicts = yard.verdicts(level, network, "usable");
        if node {
            verdicts.append(&mut yard.verdicts(level, network, "wasm"));
        }
        wrong.extend(compare(level, network, &verdicts));
    }
    assert!(wrong.is_empty(), "{level:?}:\n{}", wrong.join("\n"));
    yard.workspace.assert_nothing_left();
}

fn workers_that_share_memory_are_counted_once(level: Level) {
    let yard = Yard::new(&[("forked", FORKED)])
        .objective("task", &json!({}), "")
        .file("forge.yaml", "local: {memory: 2GiB}\n");
    yard.forge(level, &["--timeout", "50s"]).expect(0);
    let verdicts = yard.verdicts(level, "task", "forked");
    let wrong = compare(level, "open", &verdicts);
    assert!(wrong.is_empty(), "{level:?}: {wrong:?}");
    let peak = yard.trial(level, "task", "forked")["usage"]["peak_memory_bytes"].clone();
    let peak = peak.as_u64().unwrap();
    assert!(peak > 550_000_000, "{peak}");
}
