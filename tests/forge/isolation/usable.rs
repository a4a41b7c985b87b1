//! What programs do, and still can.

use std::process::Command;

use serde_json::json;

use super::table::compare;
use super::{Level, Yard, on, on_each_level, succeeds};
use crate::support::workspace::finish;

const USABLE: &str = include_str!("probes/usable.py");
const FORKED: &str = include_str!("probes/forked.py");
const WASM: &str = include_str!("probes/wasm.mjs");

on_each_level!(
    what_programs_need_works_as_the_table_says,
    an_interpreter_is_asked_only_where_something_calls_it,
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
        crate::support::skipped("WebAssembly", "there is no node");
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

fn an_interpreter_is_asked_only_where_something_calls_it(level: Level) {
    let folder = tempfile::tempdir().unwrap();
    super::set_mode(folder.path(), 0o755);
    let shim = folder.path().join("python3");
    let log = folder.path().join("log");
    let text = format!(
        "#!/bin/sh\necho asked >> '{}'\nexec {} \"$@\"\n",
        log.display(),
        super::python()
    );
    std::fs::write(&shim, text).unwrap();
    super::set_mode(&shim, 0o755);
    let run = |yard: &Yard| {
        let mut command = yard.command(level, &[]);
        let path = format!("{}:/usr/bin:/bin", folder.path().display());
        finish(command.env("PATH", path).spawn().unwrap()).expect(0);
        std::fs::read_to_string(&log).unwrap_or_default()
    };
    let shell = "#!/bin/sh\necho \"nothing was done about: $1\" > \"$2\"\n";
    let yard = Yard::new(&[])
        .file("candidates/one.sh", shell)
        .file("candidates/two.sh", shell)
        .file("objectives/task.yaml", "prompt: do it\n");
    assert_eq!(run(&yard), "");
    let calls = "#!/bin/sh\npython3 -c 'print(\"a post of some length\")' > \"$2\"\n";
    let yard = yard
        .file("candidates/one.sh", calls)
        .file("candidates/two.sh", calls);
    assert_eq!(run(&yard), "asked\n");
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
