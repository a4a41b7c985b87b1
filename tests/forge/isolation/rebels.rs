//! Candidates that turn against what watches over them, and against the folder that they are in.

use std::process::Command;

use serde_json::json;

use super::{Level, Yard, is_root, on, on_each_level};
use crate::support::workspace::{Workspace, finish};

on_each_level!(
    who_ends_its_watchers_has_failed_or_gone_on,
    folders_that_were_moved_or_closed_are_removed,
);

/// A daemon that nothing leads to: no environment, no folder of the sandbox, another session; then what it
/// does to its watchers, and a little time.
const REBEL: &str = "import os, signal, sys, time\n\
    from common import neighbour\n\
    held = neighbour('hello ' + os.environ['FORGE_CANDIDATE'])\n\
    held.recv(3)\n\
    def parent(pid):\n\
    \x20   with open(f'/proc/{pid}/stat') as file: return int(file.read().rpartition(')')[2].split()[1])\n\
    def send(pid, sign):\n\
    \x20   try: os.kill(pid, sign)\n\
    \x20   except OSError as error: print(pid, error)\n\
    keeper = os.getppid()\n\
    try: spawner = parent(keeper)\n\
    except OSError: spawner = 1\n\
    if os.fork() == 0:\n\
    \x20   os.setsid()\n\
    \x20   if os.fork(): os._exit(0)\n\
    \x20   os.chdir('/')\n\
    \x20   os.set_inheritable(held.fileno(), True)\n\
    \x20   os.execve('/bin/sleep', ['sleep', '300'], {})\n\
    for _ in range(ROUNDS):\n\
    \x20   for pid in ORDER: send(pid, signal.SIGNAL)\n\
    time.sleep(1)\n\
    open(sys.argv[2], 'w').write('done with the work')\n";

fn rebel(order: &str, rounds: u32, signal: &str) -> String {
    REBEL
        .replace("ROUNDS", &rounds.to_string())
        .replace("ORDER", order)
        .replace("SIGNAL", signal)
}

/// Has the kernel send the signal, as the owner of a socket.
const BY_SOCKET: &str = "import fcntl, os, socket, struct, sys, time\n\
    keeper = os.getppid()\n\
    for request in (0x8901, 0x8902):\n\
    \x20   mine, other = socket.socketpair()\n\
    \x20   try: fcntl.ioctl(mine, request, struct.pack('i', keeper))\n\
    \x20   except OSError as error: print(error)\n\
    \x20   fcntl.fcntl(mine, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)\n\
    \x20   other.send(b'x')\n\
    time.sleep(1)\n\
    open(sys.argv[2], 'w').write('done with the work')\n";

fn who_ends_its_watchers_has_failed_or_gone_on(level: Level) {
    let rebels = [
        ("by-socket", BY_SOCKET.to_owned()),
        ("keeper", rebel("(keeper,)", 1, "SIGKILL")),
        ("spawner", rebel("(spawner,)", 1, "SIGKILL")),
        ("keeper-first", rebel("(keeper, spawner)", 500, "SIGKILL")),
        ("spawner-first", rebel("(spawner, keeper)", 500, "SIGKILL")),
        ("stopping", rebel("(keeper, spawner)", 1, "SIGSTOP")),
        ("groups", rebel("(-keeper, -spawner)", 1, "SIGKILL")),
        ("asking", rebel("(keeper, spawner)", 1, "SIGTERM")),
    ];
    let rebels = rebels.each_ref().map(|(name, text)| (*name, text.as_str()));
    let yard = Yard::new(&rebels).objective("task", &json!({}), "network: open\n");
    let ended = yard.forge(level, &["-j", "3", "--timeout", "40s"]);
    assert!(
        matches!(ended.code, Some(0 | 1)),
        "{}{}",
        ended.stdout,
        ended.stderr
    );
    for (name, _) in rebels {
        let trial = yard.trial(level, "task", name);
        assert_eq!(trial["attempts"], 1, "{trial}");
        assert_ne!(trial["error_kind"], "infrastructure", "{trial}");
    }
    let alive = &yard.neighbour.report()["alive"];
    assert_eq!(alive, &json!({}), "{alive}");
    yard.workspace.assert_nothing_left();
}

/// What a candidate does to its folders. Where it may not, it goes on.
const MOVER: &str = "import os, shutil, sys\n\
    work = os.getcwd()\n\
    root = os.path.dirname(work)\n\
    run = os.path.dirname(root)\n\
    open('left', 'w').write('something')\n\
    open(sys.argv[2], 'w').write('done with the work')\n\
    try: DO\n\
    except OSError as error: print(error)\n";

fn folders_that_were_moved_or_closed_are_removed(level: Level) {
    let movers = [
        ("own", "os.rename(work, run + '-moved-work')"),
        ("sandbox", "os.rename(root, run + '-moved-sandbox')"),
        ("in-place", "os.rename(root, root + '-moved')"),
        (
            "temporary",
            "os.rename(os.environ['TMPDIR'], run + '-moved-tmp')",
        ),
        ("closed", "os.chmod(work, 0); os.chmod(root, 0)"),
        ("emptied", "shutil.rmtree(root)"),
        ("closed-run", "os.chmod(run, 0)"),
        ("run", "os.rename(run, run + '-moved-run')"),
    ];
    for (name, what) in movers {
        let text = MOVER.replace("DO", what);
        let yard = Yard::new(&[(name, &text)]).objective("task", &json!({}), "");
        let ended = yard.forge(level, &["--timeout", "40s"]);
        assert!(
            matches!(ended.code, Some(0 | 1)),
            "{name}: {}{}",
            ended.stdout,
            ended.stderr
        );
        yard.workspace.assert_nothing_left();
    }
}

/// A command in which this folder is a small disk of its own, which only it sees.
fn with_small_disk(command: &Command, folder: &std::path::Path, size: &str) -> Command {
    let script = format!(
        "mount -t tmpfs -o size={size} none '{}' && exec \"$@\"",
        folder.display()
    );
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "sh", "-c", &script, "sh"]);
    super::passed_on(inside, command)
}

fn can_mount(what: &str) -> bool {
    let can = is_root()
        && Command::new("unshare")
            .args(["--mount", "sh", "-c", "mount -t tmpfs none /mnt"])
            .status()
            .is_ok_and(|it| it.success());
    if !can {
        crate::support::skipped(what, "only root can make a small disk");
    }
    can
}

#[test]
fn a_full_disk_of_the_machine_is_nobodys_failure() {
    if !can_mount("a full disk") {
        return;
    }
    let big =
        "#!/bin/sh\nhead -c 20000000 /dev/zero > big || exit 5\necho all of it fits > \"$2\"\n";
    let small = "#!/bin/sh\nexit 7\n";
    for (script, code) in [(big, 3), (small, 1)] {
        let workspace = Workspace::with(&[("writer", script)]);
        let plain = workspace.command(["run", "--no-progress", "--isolation", "process"]);
        let mut command = with_small_disk(&plain, &workspace.path("tmp"), "8m");
        let ended = finish(command.spawn().unwrap()).expect(code);
        if code == 3 {
            let said = "this machine's disk is full at ";
            assert!(ended.stderr.contains(said), "{}", ended.stderr);
            assert!(ended.stderr.contains("TMPDIR"), "{}", ended.stderr);
        }
        workspace.assert_nothing_left();
    }
}

#[test]
fn a_full_disk_under_the_results_is_one_clear_error() {
    if !can_mount("a full disk under the results") {
        return;
    }
    let big = "#!/bin/sh\nhead -c 9000000 /dev/zero | tr '\\0' x > \"$2\"\n";
    let workspace = Workspace::with(&[("writer", big)]).file("artifacts/.keep", "");
    let plain = workspace.command(["run", "--no-progress", "--isolation", "process"]);
    let mut command = with_small_disk(&plain, &workspace.path("artifacts"), "4m");
    let ended = finish(command.spawn().unwrap());
    assert_eq!(ended.code, Some(3), "{}{}", ended.stdout, ended.stderr);
    let said = "No space left on device";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    workspace.assert_nothing_left();
}
