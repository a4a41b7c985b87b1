//! What a shell has put on forge: limits of resources, masks of modes; and what candidates find instead.

use std::process::Command;

use crate::support::skipped;
use crate::support::workspace::{Ended, Workspace, finish};

const HELLO: &str = "#!/bin/sh\necho \"hello, the mask is $(umask)\" > \"$2\"\nmkdir folder\necho x > folder/file\n";

fn workspace() -> Workspace {
    Workspace::with(&[("a.sh", HELLO)])
}

/// Runs forge in a shell that says something first.
fn after(workspace: &Workspace, said: &str, arguments: &[&str]) -> Ended {
    let forge = workspace.command(arguments);
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &format!("{said} && exec \"$0\" \"$@\"")])
        .arg(forge.get_program())
        .args(arguments)
        .current_dir(forge.get_current_dir().unwrap())
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    for (name, value) in forge.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    finish(shell.spawn().unwrap())
}

#[test]
fn a_limit_that_is_too_low_is_one_error_before_the_start() {
    let mut limits = vec![
        ("ulimit -n 12", "open files"),
        ("ulimit -f 0", "size of a file"),
        ("ulimit -f 1", "size of a file"),
        ("ulimit -v 120000", "address space"),
        ("ulimit -s 64", "stack"),
        ("ulimit -t 3", "processor time"),
    ];
    if rustix::process::geteuid().is_root() {
        skipped("`ulimit -u`", "it does not hold for root");
    } else {
        limits.push(("ulimit -u 3", "threads"));
    }
    for (said, what) in limits {
        for command in ["run", "check", "doctor"] {
            let workspace = workspace();
            let ended = after(&workspace, said, &[command]);
            let text = format!("{said}, {command}: {}{}", ended.stdout, ended.stderr);
            assert_eq!(ended.code, Some(2), "{text}");
            let errors = ended.stderr.matches("error: ").count();
            assert_eq!(errors, 1, "{text}");
            assert!(ended.stderr.contains(what), "{text}");
            assert!(ended.stderr.contains("hint: "), "{text}");
            assert!(ended.stderr.contains("`ulimit -"), "{text}");
            assert!(!ended.stderr.contains("panicked"), "{text}");
            assert!(!workspace.path("artifacts").exists(), "{text}");
            workspace.assert_nothing_left();
        }
    }
}

#[test]
fn a_limit_that_may_be_raised_is_raised() {
    for said in ["ulimit -S -f 1", "ulimit -S -n 20", "ulimit -S -t 1"] {
        let workspace = workspace();
        after(&workspace, said, &["task"]).expect(0);
        workspace.assert_nothing_left();
    }
}

#[test]
fn whatever_the_mask_a_run_works_and_candidates_have_the_usual_one() {
    for mask in ["0777", "0277", "0077", "0000"] {
        for level in crate::isolation::levels() {
            let workspace = workspace();
            let said = format!("umask {mask}");
            after(&workspace, &said, &["task", "--isolation", level]).expect(0);
            let text = workspace.trial_file("a", "discord_post.md");
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("the mask is 0022"), "{mask}, {level}: {text}");
            workspace.assert_nothing_left();
        }
    }
}

#[test]
fn what_others_may_not_read_by_the_mask_they_may_not() {
    use std::os::unix::fs::PermissionsExt as _;
    let workspace = workspace();
    after(&workspace, "umask 0077", &["task"]).expect(0);
    for file in ["report.md", "task/a/1/discord_post.md"] {
        let mode = std::fs::metadata(workspace.run_folder().join(file)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o077, 0, "{file}");
    }
}

#[test]
fn a_candidate_says_itself_what_its_user_is_called() {
    let says = "#!/bin/sh\necho \"$USER and $LOGNAME are here\" > \"$2\"\n";
    for level in crate::isolation::levels() {
        let workspace =
            Workspace::with(&[("a.sh", says)]).file("candidates/a.yaml", "env: {USER: somebody}\n");
        workspace.forge(["task", "--isolation", level]).expect(0);
        let text = String::from_utf8(workspace.trial_file("a", "discord_post.md")).unwrap();
        assert!(text.starts_with("somebody and "), "{level}: {text}");
        assert!(!text.contains("and  are"), "{level}: {text}");
    }
}

/// The line at the start says it before a program can fail by it.
#[test]
fn where_tmp_is_closed_the_way_out_is_said() {
    let script = "#!/bin/sh\necho x > /tmp/forge-test-of-tmp-$$ && rm /tmp/forge-test-of-tmp-$$ && echo fine enough > \"$2\"\n";
    for level in crate::isolation::levels() {
        let workspace = Workspace::with(&[("a.sh", script)]);
        let ended = workspace.forge(["task", "--isolation", level]);
        let text = format!("{}{}", ended.stdout, ended.stderr);
        if level == "landlock" {
            assert_eq!(ended.code, Some(1), "{text}");
            assert!(text.contains("/tmp") && text.contains("TMPDIR"), "{text}");
        } else {
            assert_eq!(ended.code, Some(0), "{level}: {text}");
        }
    }
}

/// Folders of trials that are over are used again: nothing that a trial does to them is seen by another.
#[test]
fn every_trial_finds_its_folders_as_the_first_one_did() {
    let looks = r#"#!/bin/sh
{
    for folder in . "$TMPDIR" "$FORGE_ARTIFACTS" "$HOME"; do
        echo "$(basename "$folder") $(stat -c '%a %h' "$folder") $(ls -A "$folder" | grep -v '^forge-' | wc -l)"
    done
    cat "$GIT_CONFIG_SYSTEM"
} > seen
mkdir -p deep/er/and/deeper
echo mine > deep/er/file
mkfifo pipe
ln -s /etc/passwd link
case $FORGE_TRIAL in
    *1) chmod 711 . ;;
    *2) echo mine > "$TMPDIR/mine" ;;
    *3) chmod 755 "$TMPDIR" ;;
    *4) echo mine > "$FORGE_ARTIFACTS/mine" ;;
    *5) i=0; while [ $i -lt 400 ]; do : > "a-name-that-is-not-short-$i"; i=$((i + 1)); done ;;
esac
chmod 0 deep/er
cat seen > "$2"
"#;
    for level in crate::isolation::levels() {
        let workspace = Workspace::with(&[("a.sh", looks)]);
        let ended = workspace.forge(["task", "--isolation", level, "-k", "24", "-j", "3"]);
        ended.expect(0);
        let folder = workspace.run_folder().join("task/a");
        let seen = |repeat: usize| {
            let file = folder.join(repeat.to_string()).join("discord_post.md");
            std::fs::read_to_string(file).unwrap()
        };
        let first = seen(1);
        assert!(first.contains("name = candidate"), "{level}: {first}");
        for repeat in 2..=24 {
            assert_eq!(seen(repeat), first, "{level}, {repeat}");
        }
        workspace.assert_nothing_left();
    }
}

/// The run's own folder is there only on the way to the trial's.
#[test]
fn below_tmp_everything_but_the_folder_of_the_run_can_be_written() {
    let script = r#"#!/bin/sh
set -e
run=$(dirname "$(dirname "$PWD")")
beside=$(dirname "$run")
case $run in
    # Another user's, where forge is root.
    /tmp/*) mkdir "$beside/mine" 2> said || grep -q 'Permission denied' said ;;
esac
if touch ../beside "$run/beside" 2>/dev/null; then exit 9; fi
echo 'written where it may be' > "$2"
"#;
    if !crate::isolation::levels().contains(&"namespaces") {
        return;
    }
    let workspace = Workspace::with(&[("a.sh", script)]);
    let ended = workspace.forge(["task", "--isolation", "namespaces", "-k", "3", "-j", "1"]);
    ended.expect(0);
    workspace.assert_nothing_left();
}
