//! Candidates that do not behave: floods, hangs, hidden processes, hostile text, secrets.

use std::time::Instant;

use sha2::{Digest as _, Sha256};

use crate::support::workspace::{Workspace, finish};

#[test]
fn a_large_script_and_a_large_binary_artifact_come_through_unchanged() {
    let padding = "# padding\n".repeat(30_000);
    let script =
        format!("#!/bin/sh\n{padding}head -c 5000000 /dev/urandom > \"$2\"\nsha256sum < \"$2\"\n");
    assert!(script.len() > 300_000);
    let workspace = Workspace::with(&[("big.sh", &script)]);
    workspace.forge(["task"]).expect(0);
    let artifact = workspace.trial_file("big", "discord_post.md");
    assert_eq!(artifact.len(), 5_000_000);
    let digest = forge::plain::hex(&Sha256::digest(&artifact));
    let printed = String::from_utf8(workspace.trial_file("big", "stdout.log")).unwrap();
    assert_eq!(printed.split_whitespace().next().unwrap(), digest);
    assert_eq!(
        workspace.trials()["task/big/1"]["artifact"]["sha256"],
        digest.as_str()
    );
}

#[test]
fn a_flood_on_stdout_is_capped_and_said() {
    let flood = "#!/bin/sh\nhead -c 200000000 /dev/zero | tr '\\0' x\necho \"hello from the script\" > \"$2\"\n";
    let workspace = Workspace::with(&[("flood.sh", flood)]);
    let ended = workspace.forge(["task"]).expect(0);
    assert_eq!(workspace.trial_file("flood", "stdout.log").len(), 10 << 20);
    let stdout = &workspace.trials()["task/flood/1"]["stdout"];
    assert_eq!(stdout["bytes"], 200_000_000, "{stdout}");
    assert_eq!(stdout["dropped"], 200_000_000 - (10 << 20), "{stdout}");
    assert!(
        ended
            .stderr
            .contains("stdout.log holds the first 10 MiB of"),
        "{}",
        ended.stderr
    );
}

#[test]
fn candidates_that_hang_with_grandchildren_all_end_and_keep_what_they_wrote() {
    let hang = "#!/bin/sh\ntrap '' TERM\necho began\necho \"written before the limit\" > \"$2\"\n\
                (trap '' TERM; sleep 300) &\n(setsid sh -c 'trap \"\" TERM; sleep 300' &) &\nsleep 300\nsleep 300\n";
    let names: Vec<String> = (1..=8).map(|n| format!("hang{n}.sh")).collect();
    let candidates: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), hang)).collect();
    let workspace = Workspace::with(&candidates);
    let began = Instant::now();
    workspace
        .forge(["task", "--timeout", "1s", "-j8"])
        .expect(1);
    assert!(began.elapsed().as_secs() < 30, "the limit did not hold");
    for (name, row) in workspace.trials() {
        assert_eq!(row["error_kind"], "timeout", "{name}: {row}");
        assert_eq!(row["artifact"]["partial"], true, "{name}: {row}");
    }
    assert_eq!(workspace.trial_file("hang1", "stdout.log"), b"began\n");
    assert_eq!(
        workspace.trial_file("hang1", "discord_post.md"),
        b"written before the limit\n"
    );
    workspace.assert_nothing_left();
}

#[test]
fn a_daemon_that_outlives_its_parent_does_not_outlive_the_trial() {
    let daemon = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n\
                  setsid sh -c 'setsid sh -c \"sleep 300\" & exit' &\nexit 0\n";
    let workspace = Workspace::with(&[("daemon.sh", daemon)]);
    workspace.forge(["task"]).expect(0);
    workspace.assert_nothing_left();
}

#[test]
fn what_is_not_a_regular_file_stays_where_it_is() {
    let script = "#!/bin/sh\nln -s /etc/passwd \"$2\"\ncd \"$FORGE_ARTIFACTS\"\nmkfifo pipe.txt\n\
                  ln -s /etc/passwd link.txt\nln -s / root\nmkdir dir.txt\ntruncate -s 900M sparse.txt\necho fine > good.txt\n";
    let workspace = Workspace::with(&[("odd.sh", script)]).file(
        "objectives/task.yaml",
        "prompt: x\nartifacts: ['**/*.txt']\n",
    );
    workspace.forge(["task"]).expect(1);
    let row = &workspace.trials()["task/odd/1"];
    assert!(row["artifact"].is_null(), "{row}");
    let files: Vec<&str> = row["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap())
        .collect();
    assert_eq!(files, ["files/good.txt"], "{row}");
    assert!(row["skipped"].as_array().unwrap().len() >= 4, "{row}");
    workspace.assert_nothing_left();
}

#[test]
fn nothing_a_candidate_says_starts_a_line_or_steers_the_terminal() {
    let script = "#!/bin/sh\nprintf '::error::boo\\n\\033]0;title\\007\\033[2J::set-output name=x::y\\n' >&2\n\
                  printf '=cmd|calc\\n<script>alert(1)</script>\\n' > \"$2\"\nprintf '{\"=m::<b>\": 1}' > \"$FORGE_ARTIFACTS/metrics.json\"\nexit 1\n";
    let workspace = Workspace::with(&[("evil.sh", script)]);
    let ended = workspace.forge(["task", "-v"]).expect(1);
    for text in [&ended.stdout, &ended.stderr] {
        assert!(
            !text.lines().any(|line| line.trim_start().starts_with("::")),
            "{text:?}"
        );
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
    let read = |name: &str| std::fs::read_to_string(workspace.run_folder().join(name)).unwrap();
    for report in ["report.html", "report.md", "junit.xml"] {
        assert!(!read(report).contains("m::<b>"), "{report}");
        assert!(!read(report).contains("<script>"), "{report}");
    }
    for line in read("trials.csv").lines() {
        assert!(
            !line
                .split(',')
                .any(|cell| cell.trim_matches('"').starts_with('=')),
            "{line}"
        );
    }
}

#[test]
fn a_secret_is_nowhere_in_what_a_run_leaves() {
    let script = "#!/bin/sh\nprintf 'sk-very-'; sleep 0.1; printf 'secret-1234\\n'\necho \"$KEY\" >&2\n\
                  echo \"the key is $KEY, again $KEY\" > \"$2\"\necho \"$KEY\" > \"$FORGE_ARTIFACTS/more.txt\"\n\
                  printf '{\"%s\": 1}' \"$KEY\" > \"$FORGE_ARTIFACTS/metrics.json\"\nexit 1\n";
    let workspace = Workspace::with(&[("leaky.sh", script)])
        .file("objectives/task.yaml", "prompt: x\nartifacts: ['*']\ngates:\n  - exit_code: 1\nscoring:\n  quality:\n    - {command: [sh, -c, 'cat discord_post.md; env; exit 3']}\n");
    let child = workspace
        .command(["task", "--pass-env", "KEY", "-v", "--log-file", "debug.log"])
        .env("KEY", "sk-very-secret-1234")
        .spawn()
        .unwrap();
    let ended = finish(child).expect(3);
    let mut texts = vec![ended.stdout, ended.stderr];
    let mut folders = vec![workspace.path("artifacts")];
    texts.push(std::fs::read_to_string(workspace.path("debug.log")).unwrap());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let text = std::fs::read(entry.path()).unwrap();
                texts.push(format!(
                    "{}: {}",
                    entry.path().display(),
                    String::from_utf8_lossy(&text)
                ));
            }
        }
    }
    for text in texts {
        assert!(!text.contains("sk-very-secret-1234"), "{text}");
    }
    let artifact = String::from_utf8(workspace.trial_file("leaky", "discord_post.md")).unwrap();
    assert_eq!(artifact, "the key is ***, again ***\n");
    assert_eq!(workspace.trial_file("leaky", "stdout.log"), b"***\n");
}

#[test]
fn what_a_candidate_says_begins_no_wrapped_line_either() {
    let fail = "printf '::error::boo ##[x]b ##vso[y]b\\n' >&2\nexit 3\n";
    for padding in (0..48).step_by(4) {
        let setup = format!("setup: [sh fail.sh {}]\n", "a".repeat(padding));
        let workspace = Workspace::with(&[])
            .file("candidates/evil/main.sh", "")
            .file("candidates/evil/fail.sh", fail)
            .file("candidates/evil/candidate.yaml", setup);
        let ended = workspace.forge(["task"]).expect(1);
        let printed = ended.stdout + &ended.stderr;
        assert!(printed.contains("boo # #[x]b # #vso[y]b"), "{printed}");
        for line in printed.lines() {
            assert!(!line.trim_start().starts_with("::"), "{printed}");
        }
        assert!(!printed.contains("##["), "{printed}");
    }
}

#[test]
fn a_secret_in_the_name_of_a_file_stays_away_too() {
    let script = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\ncd \"$FORGE_ARTIFACTS\"\n\
                  mkdir \"$KEY\"\necho one > \"$KEY.txt\"\necho two > \"$KEY$KEY.txt\"\necho three > '***.txt'\necho in > \"$KEY/in.txt\"\n";
    let workspace = Workspace::with(&[("leaky.sh", script)]).file(
        "objectives/task.yaml",
        "prompt: x\nartifacts: ['**']\nscoring:\n  quality:\n    - contains: sk-very-secret-1234\n",
    );
    let child = workspace
        .command(["task", "--pass-env", "KEY"])
        .env("KEY", "sk-very-secret-1234")
        .spawn()
        .unwrap();
    finish(child).expect(0);
    let run = std::fs::read_to_string(workspace.run_folder().join("run.json")).unwrap();
    assert!(!run.contains("sk-very-secret"), "{run}");
    let files = workspace.trials()["task/leaky/1"]["files"].clone();
    let mut paths: Vec<String> = files
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["path"].as_str().unwrap().to_owned())
        .collect();
    paths.sort();
    paths.dedup();
    assert_eq!(paths.len(), 4, "{files}");
    for path in paths {
        assert!(!path.contains("sk-very-secret"), "{path}");
        workspace.trial_file("leaky", &path);
    }
}
