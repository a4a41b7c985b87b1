//! Everything that a script can try on its surroundings, all at once.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::table::compare_for;
use super::{Level, Yard, is_root, launched, on, on_each_level, python, set_mode};
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
    check(level, None);
}

/// Root's sandboxes are other users only where those can read the interpreter.
#[test]
fn a_root_whose_python_nobody_else_may_read_is_as_good_as_a_user() {
    if !is_root() || !python().starts_with('/') {
        crate::support::skipped(
            "a root whose python is its own",
            "this is not root, or there is no python of the system",
        );
        return;
    }
    let closed = tempfile::tempdir().unwrap();
    set_mode(closed.path(), 0o700);
    let copy = closed.path().join("python3");
    std::fs::copy(std::fs::canonicalize(python()).unwrap(), &copy).unwrap();
    // On the third one they are root, and what only root may read is open to them.
    for level in [Level::Namespaces, Level::Landlock] {
        on(level, |level| check(level, Some(closed.path())));
    }
}

/// Tries it all; `closed`: with the interpreter there, which only root may read.
fn check(level: Level, closed: Option<&Path>) {
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
    let mut command = yard.command(level, &["-j", "4", "--timeout", "40s"]);
    if let Some(closed) = closed {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", closed.display());
        command.env("PATH", path).env("FORGE_LOCAL_ROOT", "allow");
    }
    let pid = yard.workspace.path("objectives/forge.pid");
    let pid = format!("pid={}", pid.display());
    let command = launched(&[&pid, "terminal"], &command).spawn().unwrap();
    finish(command).expect(0);

    let mut wrong = Vec::new();
    for network in ["open", "block"] {
        let mut verdicts = yard.verdicts(level, network, "quiet");
        for (probe, folder) in [
            ("write_project", yard.workspace.path("")),
            ("write_elsewhere", yard.elsewhere.path().to_owned()),
            ("plant_in_tmp", PathBuf::from("/tmp")),
            ("plant_in_var_tmp", PathBuf::from("/var/tmp")),
            ("plant_in_shared_memory", PathBuf::from("/dev/shm")),
        ] {
            let planted = folder.join(format!("{}-{network}", yard.mark));
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
        let own_users = is_root() && (closed.is_none() || level == Level::Namespaces);
        if closed.is_some() {
            // Its own processes have capabilities that this one has not.
            verdicts.remove("slow_others").unwrap();
        }
        wrong.extend(compare_for(level, network, &verdicts, own_users));
    }
    let sibling = yard.folder("open", "sibling").join("discord_post.md");
    let sibling = std::fs::read_to_string(sibling).unwrap();
    let planted = yard.verdicts(level, "open", "quiet")["write_sibling"].0 == "OPEN";
    assert_eq!(sibling.contains("and planted"), planted, "{sibling}");
    assert!(wrong.is_empty(), "{level:?}:\n{}", wrong.join("\n"));
    yard.workspace.assert_nothing_left();
}
