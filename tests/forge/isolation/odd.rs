//! Artifacts and failures that are not what they seem.

use std::path::Path;

use serde_json::json;

use super::{Level, Yard, on, on_each_level};
use crate::support::workspace::finish;

const ODD: &str = include_str!("probes/odd.py");

on_each_level!(
    only_regular_files_of_the_sandbox_come_home,
    a_temporary_folder_of_ones_own_will_do,
);

fn only_regular_files_of_the_sandbox_come_home(level: Level) {
    let sockets = level != Level::Landlock;
    let yard = Yard::new(&[("odd", ODD)]).objective(
        "task",
        &json!({"sockets": sockets}),
        "artifacts: ['**/*.txt']\nlimits: {artifacts: 1MiB}\n",
    );
    // The output is a link, so there is none.
    yard.forge(level, &["--timeout", "40s"]).expect(1);
    let trial = yard.trial(level, "task", "odd");
    assert_eq!(trial["exit_code"], 0, "{}", yard.stderr("task", "odd"));
    assert!(trial["artifact"].is_null(), "{trial}");
    let row = yard.workspace.trials()["task/odd/1"].clone();
    let files = row["files"].as_array().unwrap();
    let mut files: Vec<&str> = files
        .iter()
        .map(|it| it["path"].as_str().unwrap())
        .collect();
    // Those that are closed to their owner may come, or be skipped.
    files.retain(|path| !path.contains("closed"));
    assert_eq!(files, ["files/good.txt"], "{row}");
    let skipped = row["skipped"].as_array().unwrap().len();
    assert!(skipped >= 4, "{row}");
    let needle = yard.needle();
    assert_holds_not(&yard.workspace.run_folder().join("task"), needle.as_bytes());
    yard.workspace.assert_nothing_left();
}

fn assert_holds_not(folder: &Path, needle: &[u8]) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        assert!(kind.is_dir() || kind.is_file() || entry.file_name() == "winner");
        if kind.is_dir() {
            assert_holds_not(&entry.path(), needle);
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            let found = bytes.windows(needle.len()).any(|it| it == needle);
            assert!(!found, "{}", entry.path().display());
        }
    }
}

/// Burns the time of the first process of its namespace, after limiting that.
const FRATRICIDE: &str = "import os, resource, signal, sys, time\n\
    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
    for process in (1, os.getppid()):\n\
    \x20   try: resource.prlimit(process, resource.RLIMIT_CPU, (1, 1))\n\
    \x20   except OSError as error: print(error)\n\
    until = time.monotonic() + 5\n\
    try:\n\
    \x20   while time.monotonic() < until: os.kill(1, signal.SIGTERM)\n\
    except OSError as error: print(error)\n\
    sys.exit(3)\n";

#[test]
fn who_ends_what_is_above_it_has_lost_all_the_same() {
    on(Level::Namespaces, |level| {
        let yard = Yard::new(&[("cain", FRATRICIDE)]).objective("task", &json!({}), "");
        // Its own failure, and not that of the infrastructure.
        yard.forge(level, &["--timeout", "40s"]).expect(1);
        let trial = yard.trial(level, "task", "cain");
        assert_eq!(trial["exit_code"], 3, "{trial}");
        assert_eq!(trial["error_kind"], "candidate", "{trial}");
    });
}

fn a_temporary_folder_of_ones_own_will_do(level: Level) {
    let yard = Yard::new(&[("plain", PLAIN)]).objective("task", &json!({}), "");
    let own = yard.workspace.path("own");
    std::fs::create_dir(&own).unwrap();
    super::set_mode(&own, 0o700);
    let mut command = yard.command(level, &["--timeout", "40s"]);
    // There, the sandboxes of root are root.
    command.env("FORGE_LOCAL_ROOT", "allow");
    finish(command.env("TMPDIR", &own).spawn().unwrap()).expect(0);
    assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0);
}

/// Needs its own folders by their whole names.
const PLAIN: &str = "import os, sys, tempfile\n\
    tempfile.mkstemp()\n\
    os.listdir(os.environ['HOME'])\n\
    open(sys.argv[2], 'w').write('done with the work')\n";
