//! `--log-file`: what forge itself does, without secrets.

use super::{read, workspace};
use crate::support::workspace::finish;

#[test]
fn a_local_run_is_logged_without_secrets() {
    let secret = "sesame-open-wide";
    let workspace = workspace()
        .file("candidates/good.yaml", "pass_env: [PASSWORD]\n")
        // The folder of the sandboxes has it in its name, and the log would.
        .file(&format!("{secret}/here"), "");
    let mut command = workspace.command(["task", "-k2", "--log-file", "logs/forge.log"]);
    command.env("PASSWORD", secret);
    command.env("TMPDIR", workspace.path(secret));
    finish(command.spawn().unwrap()).expect(0);
    let log = read(&workspace, "logs/forge.log");
    for (part, count) in [
        ("level of isolation", 1),
        ("sandbox made", 4),
        ("command begins", 4),
        ("command ended", 4),
        ("deleting the sandbox", 4),
        ("Exited(3)", 2),
    ] {
        assert_eq!(log.matches(part).count(), count, "{part}: {log}");
    }
    assert!(
        !log.contains(secret) && log.contains("/***/forge-"),
        "{log}"
    );
    for command in ["report", "score"] {
        let again = workspace.forge([command, "latest", "--log-file", "again.log"]);
        again.expect(0);
        let log = read(&workspace, "again.log");
        assert!(log.contains("report written"), "{command}: {log}");
    }
}

#[test]
fn a_log_goes_where_its_path_leads() {
    let workspace = workspace();
    let ended = workspace.forge(["task", "--log-file", "/dev/stderr"]);
    let ended = ended.expect(0);
    assert!(ended.stderr.contains("sandbox made"), "{}", ended.stderr);
    let line =
        "mkfifo pipe; cat pipe > got.log & forge task --log-file pipe; code=$?; wait; exit $code";
    super::bash(&workspace, line).expect(0);
    assert!(read(&workspace, "got.log").contains("sandbox made"));
    let kind = std::fs::metadata(workspace.path("pipe"))
        .unwrap()
        .file_type();
    assert!(std::os::unix::fs::FileTypeExt::is_fifo(&kind));
}
