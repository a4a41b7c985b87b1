//! The program: a watch, the spawner of local sandboxes or a judging process when it was started as one, else the
//! command line.

use std::process::ExitCode;

use forge::sandbox::local::{give_back_memory, spawner};
use forge::trial::judging::process;

mod cli;

fn main() -> ExitCode {
    if let Some(end) = forge::watch::serve_if_asked(&[]) {
        return end;
    }
    // Before anything else: it must start fast, and must not be mistaken for a command.
    let arguments: Vec<_> = std::env::args_os().take(3).collect();
    if spawner::is_wanted(&arguments) {
        return spawner::main();
    }
    if process::is_wanted(&arguments) {
        return process::main();
    }
    // Not where scorers work: what they need at a time is little, and needed again.
    give_back_memory();
    cli::main(&arguments)
}
