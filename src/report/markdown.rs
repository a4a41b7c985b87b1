//! `report.md`: the report for GitHub, as a file, a job summary or a comment.
//!
//! Promises: every value passes one escape function, because the template engine applies it and the
//! template has no way around it; so no value can make a heading, a link, an image, a mention, HTML, or
//! leave its cell.

use std::io::{self, Write};

use tera::{Context, Tera};

use super::Report;
use super::view::View;

const NAME: &str = "report.md";

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let mut tera = Tera::new();
    tera.autoescape_on([".md"]);
    tera.set_escape_fn(escape);
    tera.add_raw_template(NAME, include_str!("templates/report.md"))
        .map_err(io::Error::other)?;
    let context = Context::from_serialize(&View::of(report)).map_err(io::Error::other)?;
    tera.render_to(NAME, &context, to).map_err(io::Error::other)
}

/// Writes a text so that Markdown shows it as it is.
///
/// GitHub looks for mentions and issue numbers after Markdown, in what is shown, so no escape of Markdown
/// stops it: an invisible character has to stand between the sign and the word.
fn escape(text: &str, to: &mut dyn Write) -> io::Result<()> {
    let mut chars = text.chars().peekable();
    let mut before = ' ';
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        match c {
            '&' => to.write_all(b"&amp;")?,
            '<' => to.write_all(b"&lt;")?,
            '>' => to.write_all(b"&gt;")?,
            '@' if next.is_alphanumeric() => to.write_all("@\u{200b}".as_bytes())?,
            '#' if next.is_alphanumeric() => to.write_all("\\#\u{200b}".as_bytes())?,
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '#' => write!(to, "\\{c}")?,
            // `https://` and `mailto:` would become links, and so would `www.`.
            ':' if !next.is_whitespace() => to.write_all(b"\\:")?,
            '.' if before.eq_ignore_ascii_case(&'w') => to.write_all(b"\\.")?,
            _ => write!(to, "{c}")?,
        }
        before = c;
    }
    Ok(())
}
