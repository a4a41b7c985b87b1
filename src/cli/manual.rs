//! `forge completions` and `forge man`: what clap knows of the command line, for shells and for `man`. The only file that
//! knows the crates that write it.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use forge::exit::ExitCode as End;

use super::Cli;
use super::print::Printer;

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs, printer: Printer) -> End {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "forge", &mut text);
    print(&text, printer)
}

/// One page, with the subcommands below the options of a run.
pub(super) fn man(printer: Printer) -> End {
    let mut text = Vec::new();
    match page(&mut text) {
        Ok(()) => print(&text, printer),
        Err(error) => {
            printer.error(&error, None);
            End::Incomplete
        }
    }
}

fn page(to: &mut Vec<u8>) -> std::io::Result<()> {
    let mut program = Cli::command();
    program.build();
    let man = clap_mangen::Man::new(program.clone()).date("");
    man.render(to)?;
    for command in program.get_subcommands().filter(|it| !it.is_hide_set()) {
        let name = command.get_name();
        if name == "help" {
            continue;
        }
        to.extend(format!(".SH \"FORGE {}\"\n", name.to_uppercase()).bytes());
        let man = clap_mangen::Man::new(command.clone());
        man.render_description_section(to)?;
        man.render_options_section(to)?;
    }
    Ok(())
}

fn print(text: &[u8], printer: Printer) -> End {
    match printer.whole(&String::from_utf8_lossy(text)) {
        Ok(()) => End::Ok,
        Err(error) => {
            printer.error(&error, Some(super::show::ROOM));
            End::Incomplete
        }
    }
}
