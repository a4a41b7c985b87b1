//! `report.html`: the report for a browser, in one file.
//!
//! Promises: it loads nothing and runs nothing, and says so to the browser (its policy forbids both);
//! every value is escaped by the template engine.

use std::io::{self, Write};

use tera::{Context, Tera};

use super::Report;
use super::view::View;

const NAME: &str = "report.html";

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let mut tera = Tera::new();
    tera.add_raw_template(NAME, include_str!("templates/report.html"))
        .map_err(io::Error::other)?;
    let context = Context::from_serialize(&View::of(report)).map_err(io::Error::other)?;
    tera.render_to(NAME, &context, to).map_err(io::Error::other)
}
