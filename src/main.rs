//! The program: the keeper of a local sandbox when it was started as one, else the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before anything else: the keeper must start fast, and must not be mistaken for a command.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == forge::sandbox::local::KEEPER_WORD)
    {
        return forge::sandbox::local::keeper::main();
    }
    cli::main()
}

mod cli;
