//! What is seen on a real terminal: one screen that stays calm while trials come and go, and the result at the end.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::workspace::Workspace;

const GOOD: &str = "#!/bin/sh\necho chatter\necho 'a good answer' > \"$2\"\n";
const BAD: &str = "#!/bin/sh\necho 'no such key' >&2\nexit 3\n";

/// Runs forge on a terminal of this size; what it wrote there, and its exit code.
fn on_a_terminal(
    workspace: &Workspace,
    arguments: &[&str],
    (columns, rows): (u16, u16),
    variables: &[(&str, &str)],
) -> (String, Option<i32>) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&ours, size).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap();
    let theirs = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let end = || Stdio::from(OwnedFd::from(theirs.try_clone().unwrap()));
    let mut command = workspace.command(arguments);
    command
        .env("TERM", "xterm")
        .env_remove("NO_COLOR")
        .stdout(end())
        .stderr(end());
    for (name, value) in variables {
        command.env(name, value);
    }
    let mut child = command.spawn().unwrap();
    drop((command, theirs));
    let mut written = Vec::new();
    // It is an error when nobody is at the other end any more.
    drop(File::from(ours).read_to_end(&mut written));
    let code = child.wait().unwrap().code();
    (String::from_utf8_lossy(&written).into_owned(), code)
}

/// What stands on an endless terminal of so many columns when all of this has been written to it.
fn seen(written: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<Vec<char>> = vec![Vec::new()];
    let (mut row, mut column) = (0_usize, 0_usize);
    let mut chars = written.chars();
    while let Some(c) = chars.next() {
        match c {
            '\r' => column = 0,
            '\n' => row += 1,
            '\u{1b}' => {
                assert_eq!(chars.next(), Some('['));
                let mut number = String::new();
                let code = loop {
                    let c = chars.next().unwrap();
                    if c.is_ascii_alphabetic() {
                        break c;
                    }
                    number.push(c);
                };
                let by = number.parse().unwrap_or(1);
                match code {
                    'A' => row = row.saturating_sub(by),
                    'B' => row += by,
                    'C' => column += by,
                    'D' => column = column.saturating_sub(by),
                    'K' => lines[row].clear(),
                    _ => {}
                }
            }
            c => {
                if column == columns {
                    (row, column) = (row + 1, 0);
                }
                if lines.len() <= row {
                    lines.resize(row + 1, Vec::new());
                }
                if lines[row].len() <= column {
                    lines[row].resize(column + 1, ' ');
                }
                lines[row][column] = c;
                column += 1;
            }
        }
        if lines.len() <= row {
            lines.resize(row + 1, Vec::new());
        }
    }
    let text = |line: Vec<char>| line.into_iter().collect::<String>().trim_end().to_owned();
    lines.into_iter().map(text).collect()
}

#[test]
fn a_screen_shows_counts_and_failures_and_leaves_the_result() {
    let workspace = Workspace::with(&[("good.sh", GOOD), ("bad.sh", BAD)]);
    let arguments = ["task", "-k", "6", "-j2"];
    let (written, code) = on_a_terminal(&workspace, &arguments, (80, 24), &[]);
    assert_eq!(code, Some(0), "{written}");
    for part in ["failed: [bad task#", "/12 ", " passed, ", "[good task#"] {
        assert!(written.contains(part), "{part}: {written}");
    }
    // Nobody's trial has a line that stays.
    assert!(
        !written.contains("chatter") && !written.contains("points in"),
        "{written}"
    );
    let lines = seen(&written, 80);
    let screen = lines.join("\n");
    // What is longer than a line goes on with a whole word.
    assert!(
        lines
            .iter()
            .any(|it| it.starts_with("  ") && it.contains("256 processes")),
        "{screen}"
    );
    for gone in ["failed: [", " running", "left\n", "done in"] {
        assert!(!screen.contains(gone), "{gone}: {screen}");
    }
    for part in [
        "Execution: LOCAL",
        "Winner: good",
        "no such key",
        "Report: ",
    ] {
        assert!(screen.contains(part), "{part}: {screen}");
    }
    assert!(written.contains("\u{1b}[1;32m"), "{written}");
}

#[test]
fn who_wants_lines_or_no_colours_gets_them() {
    let workspace = Workspace::with(&[("good.sh", GOOD), ("bad.sh", BAD)]);
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        on_a_terminal(&workspace, arguments, (80, 24), variables).0
    };
    let verbose = run(&["task", "-v"], &[]);
    assert!(verbose.contains("[good task#1] done: "), "{verbose}");
    let plain = run(&["task"], &[("NO_COLOR", "1")]);
    assert!(
        !plain.contains("\u{1b}[1;32m") && plain.contains("Winner: good"),
        "{plain}"
    );
    for plain in [
        run(&["task"], &[("TERM", "dumb")]),
        run(&["task", "--no-progress", "--color", "never"], &[]),
    ] {
        assert!(!plain.contains('\u{1b}'), "{plain}");
        assert!(plain.contains("[good task#1] done: "), "{plain}");
        let of_trials = plain.lines().filter(|it| it.starts_with('['));
        let ends = of_trials.filter(|it| !it.contains("] [Warn] ")).count();
        assert_eq!(ends, 2, "a line for each trial that has ended: {plain}");
    }
}
