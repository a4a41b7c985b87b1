//! The program: the keeper of a local sandbox when it was started as one, else the command line.

use std::process::ExitCode;

use forge::sandbox::local::keeper;

mod cli;

fn main() -> ExitCode {
    // Before anything else: a keeper must start fast, and must not be mistaken for a command.
    let arguments: Vec<_> = std::env::args_os().take(3).collect();
    if keeper::is_wanted(&arguments) {
        return keeper::main();
    }
    cli::main()
}
