//! Where reports go: links, pipes, devices, files that others share, the run's own folder; what is said of
//! what is left.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::process::{Command, Stdio};

use crate::support::workspace::{Ended, Workspace, finish};

mod folder;
mod log;

const HELLO: &str = "#!/bin/sh\necho \"hello from $FORGE_CANDIDATE\" > \"$2\"\n";

fn workspace() -> Workspace {
    Workspace::with(&[("good.sh", HELLO), ("bad.sh", "#!/bin/sh\nexit 3\n")])
}

fn read(workspace: &Workspace, path: &str) -> String {
    fs::read_to_string(workspace.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a report of the newest run is.
fn original(workspace: &Workspace, name: &str) -> String {
    read(workspace, &format!("artifacts/latest/{name}"))
}

/// Runs a line of bash in which `forge` is the program.
fn bash(workspace: &Workspace, line: &str) -> Ended {
    let program = workspace.command::<&str>([]);
    let mut command = Command::new("bash");
    let line = format!(
        "forge() {{ '{}' \"$@\"; }}\n{line}",
        program.get_program().display()
    );
    command.args(["-c", &line]);
    command.current_dir(program.get_current_dir().unwrap());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(command.spawn().unwrap())
}

#[test]
fn a_report_goes_through_links_and_leaves_what_is_there_as_it_is() {
    let workspace = workspace().file("real.csv", "an old and much longer table\n".repeat(99));
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(workspace.path("real.csv"), mode).unwrap();
    symlink("real.csv", workspace.path("link.csv")).unwrap();
    symlink("not/yet.md", workspace.path("dangling.md")).unwrap();
    let ended = workspace.forge(["task", "--csv", "link.csv", "--markdown", "dangling.md"]);
    ended.expect(0);
    assert_eq!(
        read(&workspace, "real.csv"),
        original(&workspace, "trials.csv")
    );
    let mode = fs::metadata(workspace.path("real.csv")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(
        read(&workspace, "not/yet.md"),
        original(&workspace, "report.md")
    );
    for link in ["link.csv", "dangling.md"] {
        let data = fs::symlink_metadata(workspace.path(link)).unwrap();
        assert!(data.is_symlink(), "{link}");
    }
}

#[test]
fn a_file_that_cannot_be_replaced_is_written_in_place() {
    let workspace = workspace()
        .file("shut/here.csv", "old\n")
        .file("twin.csv", "old\n");
    fs::hard_link(workspace.path("twin.csv"), workspace.path("other.csv")).unwrap();
    let shut = fs::Permissions::from_mode(0o555);
    fs::set_permissions(workspace.path("shut"), shut).unwrap();
    workspace
        .forge(["task", "--csv", "shut/here.csv"])
        .expect(0);
    assert_eq!(
        read(&workspace, "shut/here.csv"),
        original(&workspace, "trials.csv")
    );
    workspace
        .forge(["report", "latest", "--csv", "twin.csv"])
        .expect(0);
    assert_eq!(
        read(&workspace, "other.csv"),
        original(&workspace, "trials.csv")
    );
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(workspace.path("shut"), open).unwrap();
}

#[test]
fn a_report_goes_into_pipes() {
    let workspace = workspace();
    // One that is there, one that its reader has made, one whose reader wants a line only.
    let line = "mkfifo pipe; cat pipe > fifo.csv &
        forge task --csv pipe --markdown >(cat > subst.md) --html >(head -n 1 > cut.html); code=$?
        wait; exit $code";
    bash(&workspace, line).expect(0);
    assert_eq!(
        read(&workspace, "fifo.csv"),
        original(&workspace, "trials.csv")
    );
    assert!(
        fs::metadata(workspace.path("pipe"))
            .unwrap()
            .file_type()
            .is_fifo()
    );
    let until = |path: &str| {
        // The shell does not wait for those.
        for _ in 0..500 {
            if fs::metadata(workspace.path(path)).is_ok_and(|it| it.len() > 0) {
                break;
            }
            crate::support::workspace::pause();
        }
        read(&workspace, path)
    };
    assert!(until("subst.md").starts_with("# Winner: good"));
    assert!(until("cut.html").starts_with("<!"));
}

#[test]
fn a_pipe_without_a_reader_costs_that_report_only() {
    let workspace = workspace();
    let ended = bash(
        &workspace,
        "mkfifo pipe; forge task --csv pipe --html page.html",
    )
    .expect(3);
    assert!(
        ended.stderr.contains("cannot write `pipe`: nobody"),
        "{}",
        ended.stderr
    );
    assert_eq!(
        read(&workspace, "page.html"),
        original(&workspace, "report.html")
    );
}

#[test]
fn a_report_on_stdout_has_stdout_for_itself() {
    let workspace = workspace();
    let piped = workspace.forge(["task", "--csv", "/dev/stdout"]).expect(0);
    let table = |workspace: &Workspace| original(workspace, "trials.csv");
    assert_eq!(piped.stdout, table(&workspace));
    assert!(
        piped.stderr.contains("Execution: LOCAL"),
        "{}",
        piped.stderr
    );
    for line in [
        "forge task --csv /dev/stdout > out",
        "forge task --csv out > out",
        "forge task --csv /proc/self/fd/1 > out",
        "forge task --csv /dev/fd/3 3> out > /dev/null",
    ] {
        bash(&workspace, line).expect(0);
        assert_eq!(read(&workspace, "out"), table(&workspace), "{line}");
    }
    bash(
        &workspace,
        "echo before > out; forge task --csv /dev/stdout >> out",
    )
    .expect(0);
    let expected = format!("before\n{}", table(&workspace));
    assert_eq!(read(&workspace, "out"), expected);
    let both = bash(&workspace, "forge task --csv /dev/stderr").expect(0);
    assert!(both.stderr.ends_with(&table(&workspace)), "{}", both.stderr);
    assert!(both.stdout.contains("Winner: good"), "{}", both.stdout);
}

#[test]
fn the_summary_of_a_step_is_added_to() {
    let workspace = workspace().file("summary.md", "## Earlier\n");
    symlink("summary.md", workspace.path("link.md")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = workspace.command(arguments);
        command.env("GITHUB_STEP_SUMMARY", workspace.path("summary.md"));
        finish(command.spawn().unwrap()).expect(0);
    };
    let inode = fs::metadata(workspace.path("summary.md")).unwrap().ino();
    run(&[
        "task",
        "--markdown",
        workspace.path("summary.md").to_str().unwrap(),
    ]);
    let report = original(&workspace, "report.md");
    let mut expected = format!("## Earlier\n\n{report}");
    assert_eq!(read(&workspace, "summary.md"), expected);
    // By other paths, in another step, and in an old run.
    for path in ["link.md", "./candidates/../summary.md"] {
        run(&["report", "latest", "--markdown", path]);
        expected = format!("{expected}\n{report}");
        assert_eq!(read(&workspace, "summary.md"), expected);
    }
    assert_eq!(
        fs::metadata(workspace.path("summary.md")).unwrap().ino(),
        inode
    );
    // Another file is replaced, as ever.
    run(&["report", "latest", "--markdown", "own.md"]);
    run(&["report", "latest", "--markdown", "own.md"]);
    assert_eq!(read(&workspace, "own.md"), report);
}

#[test]
fn what_cannot_be_written_or_has_two_writers_is_refused_before_anything_starts() {
    let workspace = workspace();
    symlink("loop", workspace.path("loop")).unwrap();
    symlink("same.csv", workspace.path("alias")).unwrap();
    for (line, parts) in [
        ("forge task --csv .", &["--csv", "it is a folder"][..]),
        (
            "forge task --csv loop",
            &["--csv", "`loop`", "symbolic links"],
        ),
        (
            "forge task --csv /proc/nope/x.csv",
            &["--csv", "/proc/nope/x.csv"],
        ),
        ("forge task --csv /dev/fd/77", &["--csv", "/dev/fd/77"]),
        (
            "forge task --log-file .",
            &["the log `.`", "it is a folder"],
        ),
        (
            "forge task --csv same.csv --html ./same.csv",
            &["--csv", "--html"],
        ),
        (
            "forge task --csv alias --junit same.csv",
            &["--csv", "--junit"],
        ),
        (
            "forge task --csv same.csv --log-file same.csv",
            &["--csv", "--log-file"],
        ),
        (
            "forge task --json --csv /dev/stdout | cat; exit ${PIPESTATUS[0]}",
            &["--json", "--csv"],
        ),
        (
            "mkfifo p; forge task --csv p --junit p",
            &["--csv", "--junit"],
        ),
    ] {
        let refused = bash(&workspace, line).expect(2);
        for part in parts {
            assert!(refused.stderr.contains(part), "{line}: {}", refused.stderr);
        }
        assert!(!workspace.path("artifacts").exists(), "{line}");
        // A program is told too; people read stderr.
        let told = line.contains("--json");
        assert_eq!(refused.stdout.contains("\"problems\""), told, "{line}");
        assert!(told || refused.stdout.is_empty(), "{line}");
    }
    // Only the log is a file by now: an empty table would look like one.
    assert!(fs::metadata(workspace.path("same.csv")).is_ok_and(|it| it.len() == 0));
    bash(&workspace, "forge task --csv /dev/null --junit /dev/null").expect(0);
}

#[test]
fn a_terminal_is_steered_only_where_it_can_be() {
    let workspace = workspace();
    // A terminal of its own, from the standard library.
    let on_a_terminal = |variables: &str| {
        let python =
            "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
        let line = format!(
            "export {variables}; python3 -c '{python}' \"$(type -p env)\" '{}' task",
            env!("CARGO_BIN_EXE_forge")
        );
        bash(&workspace, &line).expect(0).stdout
    };
    let steers = |text: &str| text.contains('\u{1b}');
    let colours = |text: &str| text.contains("\u{1b}[1;32mWinner");
    let both = on_a_terminal("TERM=xterm");
    assert!(steers(&both) && colours(&both), "{both}");
    let dumb = on_a_terminal("TERM=dumb");
    assert!(!steers(&dumb) && dumb.contains("Winner: good"), "{dumb}");
    for variables in ["TERM=xterm NO_COLOR=1", "TERM=xterm CLICOLOR=0"] {
        assert!(!colours(&on_a_terminal(variables)), "{variables}");
    }
    let forced = bash(&workspace, "CLICOLOR_FORCE=1 forge task").expect(0);
    assert!(colours(&forced.stdout), "{}", forced.stdout);
}
