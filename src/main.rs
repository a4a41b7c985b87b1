//! The program: the spawner of local sandboxes when it was started as one, else the command line.

use std::process::ExitCode;

use forge::sandbox::local::spawner;

mod cli;

fn main() -> ExitCode {
    // Before anything else: it must start fast, and must not be mistaken for a command.
    let arguments: Vec<_> = std::env::args_os().take(3).collect();
    if spawner::is_wanted(&arguments) {
        return spawner::main();
    }
    cli::main()
}
