//! Everything that a script can try on its surroundings, all at once.

use serde_json::json;

use super::table::compare;
use super::{Level, Yard, launched, on, on_each_level};
use crate::support::workspace::finish;

const MAIN: &str = include_str!("probes/main.py");
const SIBLING: &str = include_str!("probes/sibling.py");
const MODULES: [(&str, &str); 4] = [
    ("files", include_str!("probes/files.py")),
    ("kernel", include_str!("probes/kernel.py")),
    ("network", include_str!("probes/network.py")),
    ("processes", include_str!("probes/processes.py")),
];

on_each_level!(what_a_script_tries_ends_as_the_table_says);

fn what_a_script_tries_ends_as_the_table_says(level: Level) {
    let mut yard = Yard::new(&[("quiet", MAIN), ("sibling", SIBLING)]);
    for (name, text) in MODULES {
        yard = yard.file(&format!("candidates/quiet/{name}.py"), text);
    }
    for network in ["open", "block"] {
        let settings = format!("network: {network}\ninputs: [forge.pid]\n");
        yard = yard.objective(network, &json!({}), &settings);
    }
    // It is there before the launcher writes it.
    let yard = yard.file("objectives/forge.pid", "0");
    let command = yard.command(level, &["-j", "4", "--timeout", "40s"]);
    let pid = yard.workspace.path("objectives/forge.pid");
    let pid = format!("pid={}", pid.display());
    let command = launched(&[&pid, "terminal"], &command).spawn().unwrap();
    finish(command).expect(0);

    let mut wrong = Vec::new();
    for network in ["open", "block"] {
        let mut verdicts = yard.verdicts(level, network, "quiet");
        for (probe, folder) in [
            ("plant_in_tmp", "/tmp"),
            ("plant_in_var_tmp", "/var/tmp"),
            ("plant_in_shared_memory", "/dev/shm"),
        ] {
            let planted = format!("{folder}/{}-{network}", yard.mark);
            let arrived = std::fs::remove_file(planted).is_ok();
            let verdict = verdicts.get_mut(probe).unwrap();
            assert!(
                !arrived || verdict.0 == "OPEN",
                "{probe} says that it did not work: {}",
                verdict.1
            );
            let word = if arrived { "OPEN" } else { "BLOCKED" };
            word.clone_into(&mut verdict.0);
        }
        wrong.extend(compare(level, network, &verdicts));
    }
    let sibling = yard.folder("open", "sibling").join("discord_post.md");
    let sibling = std::fs::read_to_string(sibling).unwrap();
    let planted = yard.verdicts(level, "open", "quiet")["write_sibling"].0 == "OPEN";
    assert_eq!(sibling.contains("and planted"), planted, "{sibling}");
    assert!(wrong.is_empty(), "{level:?}:\n{}", wrong.join("\n"));
    yard.workspace.assert_nothing_left();
}
