//! The main job as a user does it: what is typed, what is printed, how it ends.

use crate::support::workspace::{Workspace, read_json};

const HELLO: &str = "#!/bin/sh\necho \"hello from the script\" > \"$2\"\n";

#[test]
fn the_shipped_samples_give_a_winner() {
    let workspace = Workspace::new();
    let root = env!("CARGO_MANIFEST_DIR");
    let ended = workspace
        .forge([
            "--candidates",
            &format!("{root}/candidates"),
            "--objectives",
            &format!("{root}/objectives"),
        ])
        .expect(0);
    assert!(
        ended.stdout.starts_with("Execution: LOCAL\n"),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains("gamma"), "{}", ended.stdout);
    let run = workspace.run_json();
    assert_eq!(run["standings"]["winner"]["candidate"], "gamma");
    let delta = &workspace.trials()["weekly-ai-events/delta/1"];
    assert!(
        delta["disqualified"]
            .as_str()
            .unwrap()
            .contains("exit_code"),
        "{delta}"
    );
    let epsilon = &workspace.trials()["triage-logs/epsilon/1"];
    assert!(
        epsilon["disqualified"]
            .as_str()
            .unwrap()
            .contains("json_schema"),
        "{epsilon}"
    );
    workspace.assert_nothing_left();
}

#[test]
fn a_literal_prompt_reaches_every_candidate_byte_for_byte() {
    let script = "#!/bin/sh\nprintf %s \"$1\" > \"$2\"\nprintf %s \"$FORGE_PROMPT\" | cmp - \"$2\" \
                  && cmp \"$FORGE_PROMPT_FILE\" \"$2\" && [ \"$#\" = 2 ]\n";
    let workspace = Workspace::new()
        .candidate("a.sh", script)
        .candidate("b", script);
    let prompt = "text with \"quotes\", 'single', $HOME, `ticks`,\n newline, \\ and emoji 🦀\n\n";
    let ended = workspace.forge([prompt, "-v"]).expect(0);
    assert!(
        ended.stderr.contains("[Run] Executing..."),
        "{}",
        ended.stderr
    );
    for (name, row) in workspace.trials() {
        assert_eq!(row["exit_code"], 0, "{name}");
        let folder = workspace.run_folder().join(&name);
        assert_eq!(
            std::fs::read(folder.join("discord_post.md")).unwrap(),
            prompt.as_bytes()
        );
    }
    assert_eq!(workspace.trials().len(), 2);
}

#[test]
fn the_original_lines_are_printed_with_the_candidate_before_them() {
    let workspace = Workspace::with(&[("good.sh", HELLO), ("none.sh", "#!/bin/sh\nexit 3\n")]);
    let ended = workspace.forge(["task", "-v"]).expect(0);
    for line in [
        "[Run] Executing...",
        "[Run] Exit code: 0",
        "[Run] Exit code: 3",
        "[Done] Artifact retrieved",
        "[Warn] Could not read artifact: it wrote nothing to argument 2",
    ] {
        assert!(ended.stderr.contains(line), "{line}:\n{}", ended.stderr);
        assert!(
            !ended.stderr.lines().any(|it| it.starts_with(line)),
            "no prefix: {}",
            ended.stderr
        );
    }
}

#[test]
fn the_mode_texts_are_fixed() {
    let workspace = Workspace::with(&[("good.sh", HELLO)]);
    let local = workspace.forge(["task"]).expect(0);
    assert!(
        local.stdout.starts_with("Execution: LOCAL\n"),
        "{}",
        local.stdout
    );
    assert!(!local.stdout.contains("Daytona"), "{}", local.stdout);
    let fallen = workspace.forge(["--daytona", "task"]).expect(0);
    let texts = "Execution: LOCAL\n  (Daytona not configured, falling back to local)\n";
    assert!(fallen.stdout.starts_with(texts), "{}", fallen.stdout);
    let json = workspace.forge(["--daytona", "--json", "task"]).expect(0);
    assert!(json.stderr.contains(texts), "{}", json.stderr);
    serde_json::from_str::<serde_json::Value>(&json.stdout).unwrap();
    let refused = workspace.forge(["--require-daytona", "task"]).expect(2);
    assert!(
        refused.stderr.contains("DAYTONA_API_KEY"),
        "{}",
        refused.stderr
    );
}

#[test]
fn nobody_passing_is_exit_code_1_and_everything_is_still_written() {
    let workspace = Workspace::with(&[("bad.sh", "#!/bin/sh\nexit 1\n")]);
    let ended = workspace.forge(["task"]).expect(1);
    assert!(
        ended.stderr.contains("no candidate passed"),
        "{}",
        ended.stderr
    );
    for file in [
        "run.json",
        "events.jsonl",
        "sandboxes.jsonl",
        "report.md",
        "report.html",
        "junit.xml",
        "trials.csv",
    ] {
        assert!(workspace.run_folder().join(file).is_file(), "{file}");
    }
}

#[test]
fn demands_decide_the_exit_code() {
    let flaky = "#!/bin/sh\ncase $FORGE_TRIAL in */2) exit 1;; esac\necho \"hello from the script\" > \"$2\"\n";
    let workspace = Workspace::with(&[("good.sh", HELLO), ("flaky.sh", flaky)]);
    workspace
        .forge(["task", "--fail-under", "10", "--require", "good"])
        .expect(0);
    workspace
        .forge(["task", "-k2", "--require", "flaky"])
        .expect(1);
    let slow = workspace.file(
        "objectives/hard.yaml",
        "prompt: x\nscoring:\n  quality:\n    - contains: not in there\n",
    );
    slow.forge(["hard", "--fail-under", "90"]).expect(1);
}

#[test]
fn mistakes_are_told_all_at_once_and_nothing_is_started() {
    let workspace = Workspace::with(&[("good.sh", "#!/bin/sh\ntouch \"$HOME/../../started\"\n")])
        .file(
            "objectives/a.yaml",
            "prompt: x\nscoring:\n  weights: {quality: heavy}\n",
        )
        .file("objectives/b.yaml", "promt: x\n")
        .file("candidates/notes.xyz", "?");
    let ended = workspace.forge::<&str>([]).expect(2);
    for part in [
        "objectives/a.yaml:3:22",
        "scoring.weights.quality",
        "objectives/b.yaml:1:1",
        "prompt",
        "notes.xyz",
    ] {
        assert!(ended.stderr.contains(part), "{part}:\n{}", ended.stderr);
    }
    assert!(!workspace.path("artifacts").exists());
    assert_eq!(ended.stdout, "");
    let checked = workspace.forge(["check"]).expect(2);
    assert!(
        checked.stderr.contains("objectives/a.yaml:3:22"),
        "{}",
        checked.stderr
    );
}

#[test]
fn an_empty_project_is_never_a_green_run_of_nothing() {
    Workspace::new().forge::<&str>([]).expect(2);
    Workspace::with(&[]).forge(["task"]).expect(2);
    Workspace::with(&[("a.sh", HELLO)])
        .forge(["task", "-c", "zzz*"])
        .expect(2);
    Workspace::with(&[("a.sh", HELLO)])
        .forge(["objectives/nope.yaml"])
        .expect(2);
    Workspace::with(&[("a.sh", HELLO)])
        .forge(["--no-such-flag"])
        .expect(2);
    Workspace::with(&[("a.sh", HELLO)])
        .forge(["task", "--timeout", "5"])
        .expect(2);
}

#[test]
fn a_missing_interpreter_is_a_setup_failure_of_that_candidate_only() {
    let workspace = Workspace::with(&[("good.sh", HELLO), ("odd.sh", "x")]).file(
        "candidates/odd.yaml",
        "run: [no-such-interpreter, odd.sh]\n",
    );
    workspace.forge(["task"]).expect(0);
    let odd = &workspace.trials()["task/odd/1"];
    assert_eq!(odd["error_kind"], "setup", "{odd}");
    assert!(
        odd["error_message"]
            .as_str()
            .unwrap()
            .contains("no-such-interpreter"),
        "{odd}"
    );
    assert_eq!(
        workspace.trials()["task/good/1"]["error_kind"],
        serde_json::Value::Null
    );
}

#[test]
fn candidates_in_a_folder_bring_all_their_files() {
    let workspace = Workspace::new()
        .file("objectives/task.yaml", "prompt: x\ninputs: [data/in.txt]\n")
        .file("objectives/data/in.txt", "the input of the task\n")
        .file("candidates/multi/candidate.yaml", "run: [sh, lib/start.sh]\nenv: {GREETING: hi}\n")
        .file("candidates/multi/lib/start.sh", "cat words.txt \"$FORGE_INPUTS/in.txt\" > \"$2\"; echo \"$GREETING\" >> \"$2\"\nls -A > \"$FORGE_ARTIFACTS/seen.txt\"")
        .file("candidates/multi/words.txt", "some words\n");
    workspace.forge(["task"]).expect(0);
    let text = workspace.trial_file("multi", "discord_post.md");
    assert_eq!(
        String::from_utf8(text).unwrap(),
        "some words\nthe input of the task\nhi\n"
    );
}

#[test]
fn only_the_declared_environment_reaches_a_candidate() {
    let workspace = Workspace::with(&[(
        "env.sh",
        "#!/bin/sh\nenv -0 | tr '\\0' '\\n' | sort > \"$2\"\n",
    )])
    .file(
        "candidates/env.yaml",
        "env: {OWN: mine}\npass_env: [HOST_VALUE]\n",
    );
    let child = workspace
        .command(["task", "--env", "TYPED=yes"])
        .env("HOST_VALUE", "passed-by-name")
        .env("SECRET_THING", "must not be seen")
        .spawn()
        .unwrap();
    crate::support::workspace::finish(child).expect(0);
    let text = String::from_utf8(workspace.trial_file("env", "discord_post.md")).unwrap();
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| Some(line.split_once('=')?.0))
        .collect();
    let expected = [
        "FORGE_ARTIFACTS",
        "FORGE_CANDIDATE",
        "FORGE_INPUTS",
        "FORGE_OBJECTIVE",
        "FORGE_OUTPUT",
        "FORGE_PROMPT",
        "FORGE_PROMPT_FILE",
        "FORGE_RUN",
        "FORGE_SEED",
        "FORGE_TRIAL",
        "GIT_CONFIG_SYSTEM",
        "HOME",
        "HOST_VALUE",
        "LANG",
        "LOGNAME",
        "OWN",
        "PATH",
        "TMPDIR",
        "TYPED",
        "USER",
    ];
    // The shell adds some of its own.
    let names: Vec<&str> = names
        .into_iter()
        .filter(|it| !["PWD", "SHLVL", "_", "OLDPWD"].contains(it))
        // How the network is trusted on this machine.
        .filter(|it| !it.contains("_CA_") && !it.starts_with("SSL_CERT_"))
        .collect();
    assert_eq!(names, expected, "{text}");
    assert!(
        text.contains("OWN=mine") && text.contains("TYPED=yes"),
        "{text}"
    );
    assert!(
        text.contains("HOST_VALUE=***"),
        "a passed value is redacted: {text}"
    );
}

#[test]
fn list_shows_candidates_objectives_and_runs() {
    let workspace = Workspace::with(&[("good.sh", HELLO)]);
    let workspace = workspace.file("forge.yaml", "allow: [prompt-unread]\n");
    workspace.forge(["task"]).expect(0);
    let listed = workspace.forge(["list"]).expect(0);
    for part in [
        "Candidates (1)",
        "good",
        "Objectives (1)",
        "task",
        "Runs (1)",
        "winner good",
    ] {
        assert!(listed.stdout.contains(part), "{part}:\n{}", listed.stdout);
    }
    let checked = workspace.forge(["check", "-k", "3"]).expect(0);
    assert_eq!(checked.stdout, "ok: 1 candidate, 1 objective, 3 trials\n");
}

#[test]
fn a_misspelt_subcommand_is_not_taken_for_a_prompt() {
    let workspace = Workspace::with(&[("good.sh", HELLO)]);
    for (typed, meant) in [
        ("swep", "sweep"),
        ("docter", "doctor"),
        ("reports", "report"),
        ("chekc", "check"),
        ("list-", "list"),
        ("Doctor", "doctor"),
        ("reprot latest", "report latest"),
    ] {
        for before in [&[][..], &["task"]] {
            let ended = workspace.forge(before.iter().chain(&[typed])).expect(2);
            let hint = format!("did you mean `forge {meant}`?");
            assert!(ended.stderr.contains(&hint), "{}", ended.stderr);
        }
    }
    let ended = workspace.forge(["sweeep", "--dry-run"]).expect(2);
    assert!(
        ended.stderr.contains("did you mean `forge sweep`?"),
        "{}",
        ended.stderr
    );
    assert!(!workspace.path("artifacts/latest").exists());
    for prompt in [&["-o", "reprot latest"][..], &["a list of three"]] {
        workspace.forge(prompt).expect(0);
    }
    let named = workspace.file("objectives/swep.yaml", "prompt: x\n");
    named.forge(["swep"]).expect(0);
}

#[test]
fn a_name_that_is_nobodys_is_told_before_anything_is_started() {
    let workspace = Workspace::with(&[("good.sh", HELLO), ("other.sh", HELLO)]);
    for (options, told) in [
        (&["--require", "goood"][..], "did you mean `good`?"),
        (&["--require", "nobody"], "known are `good`, `other`"),
        (&["-c", "good", "--require", "other"], "known are `good`"),
        (&["--require", "two names"], "`forge list` shows it"),
        (&["-c", "goood"], "did you mean `good`?"),
        (&["--keep", "fail"], "'failed'"),
        (&["--isolation", "landlocked"], "'landlock'"),
    ] {
        for command in ["run", "check"] {
            let words = [command, "task"].into_iter().chain(options.iter().copied());
            let ended = workspace.forge(words).expect(2);
            assert!(ended.stderr.contains(told), "{options:?}: {}", ended.stderr);
        }
    }
    assert!(!workspace.path("artifacts").exists());
}

#[test]
fn a_value_that_will_not_do_is_told_what_was_expected_and_where_it_came_from() {
    let workspace = Workspace::with(&[("good.sh", HELLO)]);
    let whole = "expected a whole number from ";
    for (option, variable, value, told) in [
        ("--jobs", "FORGE_JOBS", "x", whole),
        ("--jobs", "FORGE_JOBS", "-1", whole),
        ("--repeat", "FORGE_REPEAT", "0", whole),
        ("--repeat", "FORGE_REPEAT", "", whole),
        ("--timeout", "FORGE_TIMEOUT", "5", "such as `90s`"),
        ("--deadline", "FORGE_DEADLINE", "soon", "such as `90s`"),
        ("--seed", "", "1.5", whole),
        ("--fail-under", "", "101", "points from 0 to 100"),
        (
            "--require-daytona",
            "FORGE_REQUIRE_DAYTONA",
            "maybe",
            "`true` or `false`",
        ),
    ] {
        let ended = workspace
            .forge(["task".to_owned(), format!("{option}={value}")])
            .expect(2);
        assert!(ended.stderr.contains(told), "{option}: {}", ended.stderr);
        assert!(
            !ended.stderr.contains("FORGE_"),
            "{option}: {}",
            ended.stderr
        );
        if !variable.is_empty() {
            let child = workspace.command(["task"]).env(variable, value).spawn();
            let ended = crate::support::workspace::finish(child.unwrap()).expect(2);
            let from = format!("that is the value of the variable `{variable}`");
            assert!(ended.stderr.contains(told), "{variable}: {}", ended.stderr);
            assert!(ended.stderr.contains(&from), "{variable}: {}", ended.stderr);
        }
    }
}

#[test]
fn an_objective_may_be_called_like_a_subcommand() {
    let workspace =
        Workspace::with(&[("good.sh", HELLO)]).file("objectives/list.yaml", "prompt: x\n");
    workspace.forge(["-o", "list"]).expect(0);
    assert!(workspace.trials().contains_key("list/good/1"));
}

#[test]
fn setup_runs_first_with_a_limit_of_its_own_and_is_no_part_of_the_speed() {
    let workspace = Workspace::with(&[
        ("slow.sh", "#!/bin/sh\ncat made.txt > \"$2\"\n"),
        ("broken.sh", HELLO),
        ("hangs.sh", HELLO),
    ])
    .file(
        "candidates/slow.yaml",
        "setup: ['sleep 0.5; echo made in the setup phase > made.txt']\n",
    )
    .file(
        "candidates/broken.yaml",
        "setup: ['echo what is wrong >&2; exit 7']\n",
    )
    .file(
        "candidates/hangs.yaml",
        "setup: ['sleep 60']\nlimits: {setup: 300ms}\n",
    );
    workspace.forge(["task"]).expect(0);
    let trials = workspace.trials();
    let slow = &trials["task/slow/1"];
    assert!(
        slow["timings"]["setup_ms"].as_u64().unwrap() >= 500,
        "{slow}"
    );
    assert!(
        slow["runtime_seconds"].as_f64().unwrap()
            < slow["timings"]["setup_ms"].as_f64().unwrap() / 1000.0
    );
    let broken = &trials["task/broken/1"];
    assert_eq!(broken["error_kind"], "setup");
    assert!(
        broken["error_message"]
            .as_str()
            .unwrap()
            .contains("what is wrong"),
        "{broken}"
    );
    assert_eq!(trials["task/hangs/1"]["error_kind"], "setup");
    workspace.assert_nothing_left();
}

#[test]
fn trial_json_keeps_the_seven_fields_of_the_original() {
    let workspace = Workspace::with(&[(
        "good.sh",
        "#!/bin/sh\necho printed\necho \"hello from the script\" > \"$2\"\n",
    )]);
    workspace.forge(["task"]).expect(0);
    let trial = read_json(&workspace.run_folder().join("task/good/1/trial.json"));
    assert_eq!(trial["candidate_id"], "good");
    assert!(trial["sandbox_id"].is_string());
    assert_eq!(trial["success"], true);
    assert_eq!(trial["output"], "printed\n");
    assert_eq!(trial["artifact_content"], "hello from the script\n");
    assert!(trial["runtime_seconds"].as_f64().unwrap() > 0.0);
    assert!(trial["error_message"].is_null());
}

/// A run whose sandboxes are made in `base`; it must not take long to fail.
fn run_in(workspace: &Workspace, base: &str) -> crate::support::workspace::Ended {
    let child = workspace.command(["task"]).env("TMPDIR", base).spawn();
    crate::support::workspace::finish(child.unwrap())
}

#[test]
fn a_temporary_folder_that_is_none_is_said_and_not_waited_for() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]);
    for base in ["candidates/a.sh", "/dev/null", "no/such", "/proc"] {
        let ended = run_in(&workspace, base).expect(3);
        assert!(
            ended.stderr.contains("cannot create a sandbox"),
            "{base}: {}",
            ended.stderr
        );
    }
}

#[test]
fn a_relative_temporary_folder_is_as_good_as_any() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]);
    run_in(&workspace, "tmp").expect(0);
    workspace.assert_nothing_left();
}

#[test]
fn many_jobs_fit_into_few_open_files() {
    let workspace = Workspace::with(&[(
        "a.sh",
        "#!/bin/sh\nsleep 0.3\necho \"hello from the script\" > \"$2\"\n",
    )]);
    let forge = env!("CARGO_BIN_EXE_forge");
    for (limit, warned) in [("-Sn 128", false), ("-n 128", true)] {
        let child = std::process::Command::new("sh")
            .args([
                "-c",
                &format!("ulimit {limit}; exec \"$0\" task -k40 -j40"),
                forge,
            ])
            .current_dir(workspace.path(""))
            .env("TMPDIR", workspace.path("tmp"))
            .env("FORGE_LOCAL_ROOT", "allow")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let ended = crate::support::workspace::finish(child).expect(0);
        assert_eq!(
            ended.stderr.contains("ulimit -n"),
            warned,
            "{}",
            ended.stderr
        );
        assert_eq!(workspace.trials().len(), 40);
    }
}

#[test]
fn a_folder_of_objectives_that_is_not_there_makes_no_prompt_of_a_name() {
    let workspace = Workspace::with(&[("a.sh", HELLO)]);
    let ended = workspace
        .forge(["--objectives", "objetives", "task"])
        .expect(2);
    assert!(ended.stderr.contains("objetives"), "{}", ended.stderr);
    assert!(!workspace.path("artifacts").exists());
}
