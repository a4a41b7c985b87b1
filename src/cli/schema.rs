//! `forge schema`: what files may say, for editors and programs.

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use forge::exit::ExitCode as End;
use forge::schema::Kind;

use super::print::Printer;

#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// Of what: a file that you write, or one that a run leaves
    name: Name,
}

/// A [`Kind`] that can be typed.
#[derive(Debug, Clone, Copy)]
struct Name(Kind);

impl ValueEnum for Name {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Name; Kind::ALL.len()] = {
            let mut all = [Name(Kind::Objective); Kind::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = Name(Kind::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()).help(self.0.about()))
    }
}

pub(super) fn schema(args: &SchemaArgs, printer: Printer) -> End {
    match printer.whole(args.name.0.text()) {
        Ok(()) => End::Ok,
        Err(error) => {
            printer.error(&error, Some(super::show::ROOM));
            End::Incomplete
        }
    }
}
