//! `report.html`: the report for a browser, in one file that needs no other.
//!
//! Promises: it loads nothing; of what is in it, only the script and the styles of forge do anything, and the page says
//! so to the browser by their digests; all of it can be read without the script; the same summary, records and files give
//! the same bytes; trials are written as they are read, and the page stays small enough to be opened, however many there
//! are.

use std::cell::Cell as Counter;
use std::io::{self, Write};

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use super::Report;
use super::view::{NOTHING, View};

/// Adds to a text what is formatted, which cannot fail.
macro_rules! add {
    ($to:expr, $($formatted:tt)*) => {{
        use std::fmt::Write as _;
        let _: std::fmt::Result = write!($to, $($formatted)*);
    }};
}

mod ahead;
mod draw;
mod failures;
mod figures;
pub(super) mod markup;
mod objectives;
mod pairs;
mod preview;
mod table;
mod top;
mod trial;
mod trials;
mod verdicts;

#[cfg(test)]
mod tests;

const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = concat!(include_str!("page/page.js"), include_str!("page/pairs.js"));

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let mut to = Counting {
        to,
        written: &Counter::new(0),
    };
    let written = to.written;
    let view = View::of(report);
    to.write_all(begin(&view).as_bytes())?;
    to.write_all(top::head(&view).as_bytes())?;
    to.write_all(top::next(report).as_bytes())?;
    for part in [
        objectives::overall(report, &view),
        figures::forest::of(report, &verdicts::of(&view.verdicts)),
        figures::heat::of(report),
        figures::dots::of(report),
        figures::scatter::of(report),
    ] {
        to.write_all(part.as_bytes())?;
    }
    let chosen = trials::chosen(&report.summary.trials);
    let pairs = pairs::of(report, &chosen.rows);
    for part in [
        figures::phases::Phases::of(report.summary.trials.rows()).section(report),
        figures::trend::of(report),
        failures::of(report),
        pairs::section_of(&pairs),
        objectives::each(report, &view),
    ] {
        to.write_all(part.as_bytes())?;
    }
    trials::write(report, &view, &chosen, &pairs, &mut to, &|| written.get())?;
    to.write_all(top::run(&view).as_bytes())?;
    write!(
        to,
        "</main>\n<script id=\"behaviour\">{SCRIPT}</script>\n</body>\n</html>\n"
    )
}

/// The source of a policy for a text in the page.
fn source(text: &str) -> String {
    format!("'sha256-{}'", BASE64.encode(&Sha256::digest(text)))
}

fn begin(view: &View) -> String {
    let title = view
        .head
        .first()
        .map_or_else(String::new, |it| format!("{}{}", it.begin, it.text));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        source(STYLE),
        source(SCRIPT),
        markup::escaped(&title)
    )
}

/// Counts what goes through it.
struct Counting<'a> {
    to: &'a mut dyn Write,
    written: &'a Counter<u64>,
}

impl Write for Counting<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.written.set(self.written.get() + count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
