//! What goes into a trial and comes home from it: many files, and large ones.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::workspace::{Workspace, read_json};

fn below(folder: &Path, above: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{above}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            below(&entry.path(), &path, found);
        } else {
            found.insert(path, std::fs::read(entry.path()).unwrap());
        }
    }
}

/// A project in which a candidate gets the files of `objectives/data`, and any that it leaves come home.
fn with_files(candidate: &str, script: &str) -> Workspace {
    let objective = "prompt: do it\ninputs: [data]\nartifacts: ['**']\n";
    Workspace::new()
        .file("objectives/task.yaml", objective)
        .candidate(candidate, script)
}

#[test]
fn thousands_of_files_go_in_and_come_home_as_they_were() {
    const COPIES: &str = "#!/bin/sh
for copy in 1 2 3 4; do cp -r \"$FORGE_INPUTS/data\" \"$FORGE_ARTIFACTS/$copy\"; done
echo 'copied all there was' > \"$2\"
";
    let mut workspace = with_files("copies.sh", COPIES);
    let mut expected = BTreeMap::new();
    for number in 0..1_500 {
        // Some where a neighbour's folder was held a moment ago, some deeper.
        let path = format!("{}/{}/{number}", number % 3, "deep/".repeat(number % 5));
        let path = path.replace("//", "/");
        workspace = workspace.file(&format!("objectives/data/{path}"), &path);
        for copy in 1..=4 {
            expected.insert(format!("/{copy}/{path}"), path.clone().into_bytes());
        }
    }
    workspace
        .forge(["task", "--isolation", "process"])
        .expect(0);
    let home = workspace.run_folder().join("task/copies/1");
    let mut found = BTreeMap::new();
    below(&home.join("files"), "", &mut found);
    let told = read_json(&home.join("trial.json"));
    let count = |key: &str| told[key].as_array().unwrap().len();
    assert_eq!((count("files"), count("skipped")), (expected.len(), 0));
    assert!(found == expected, "{} files came home", found.len());
}

/// How often forge, and the shell that it runs, read and write when so many files go in and other ones come home.
#[cfg(target_os = "linux")]
fn reads_and_writes(files: usize) -> [f64; 2] {
    const MAKES: &str = "#!/bin/sh
mkdir \"$FORGE_ARTIFACTS/data\"
for file in \"$FORGE_INPUTS/data\"/*; do echo new > \"$FORGE_ARTIFACTS/data/${file##*/}\"; done
echo 'made as many as there were' > \"$2\"
";
    let mut workspace = with_files("makes.sh", MAKES);
    for number in 0..files {
        workspace = workspace.file(&format!("objectives/data/{number}"), "some text");
    }
    let arguments = ["task", "--isolation", "process"];
    let calls = crate::support::calls::of(&mut workspace.command(arguments));
    let told = read_json(&workspace.run_folder().join("task/makes/1/trial.json"));
    assert_eq!(told["files"].as_array().unwrap().len(), files);
    ["syscr:", "syscw:"].map(|name| calls.figure(name))
}

/// What is asked of the system for each file besides opening and closing it.
#[cfg(target_os = "linux")]
#[test]
fn a_small_file_is_read_and_written_once_on_its_way() {
    let [few, many] = [100, 600].map(reads_and_writes);
    let each = [0, 1].map(|at| (many[at] - few[at]) / 500.0);
    // Looked at and hashed, each to its end; read on its way in; the other one on its way home. Written in, by the shell,
    // and home.
    assert!(each[0] < 6.5, "{} reads of each", each[0]);
    assert!(each[1] < 3.2, "{} writes of each", each[1]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_large_file_goes_in_and_comes_home_in_the_memory_that_a_small_one_takes() {
    const COPY: &str = "#!/bin/sh
cp \"$FORGE_INPUTS/large\" \"$FORGE_ARTIFACTS/large\"
echo 'copied all there was' > \"$2\"
";
    let peak = |bytes: usize| {
        let content: Vec<u8> = (0..bytes).map(|at| (at % 251).to_le_bytes()[0]).collect();
        let workspace = Workspace::new()
            .file(
                "objectives/task.yaml",
                "prompt: do it\ninputs: [large]\nartifacts: [large]\n",
            )
            .file("objectives/large", &content)
            .candidate("copy.sh", COPY);
        let child = workspace
            .command(["task", "--isolation", "process"])
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", child.id());
        let ended = std::thread::spawn(move || crate::support::workspace::finish(child));
        let mut peak = 0;
        while !ended.is_finished() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let told = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let told = told.and_then(|it| it.trim().trim_end_matches(" kB").parse().ok());
            peak = told.unwrap_or(0).max(peak);
            crate::support::workspace::wait(2);
        }
        ended.join().unwrap().expect(0);
        assert!(workspace.trial_file("copy", "files/large") == content);
        peak
    };
    let (small, large): (u64, u64) = (peak(1 << 20), peak(40 << 20));
    assert!(large < small + (12 << 10), "{small} kB, then {large} kB");
}
