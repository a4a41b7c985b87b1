//! What an artifact looks like: a picture, a tree, a table, rendered Markdown, text; else its first bytes.

use data_encoding::BASE64;

use super::markup::{address, block, escaped, line};
use crate::name::TrialId;
use crate::quantity::ByteCount;
use crate::report::{Details, Part};

#[cfg(test)]
mod fuzz;
mod markdown;
mod picture;
mod tree;

use picture::Found;

/// So many bytes are looked at of what is no picture.
const LOOKED_AT: u64 = 64 << 10;
/// So many bytes are shown in hexadecimal.
const HEX: usize = 256;

/// How many bytes of the page a trial may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// For each of its logs.
    pub(super) text: usize,
    /// For its artifact where that is text.
    pub(super) artifact: usize,
    /// For its pictures.
    pub(super) picture: usize,
}

/// Shows a file of a trial. Never empty where the file is there.
pub(super) fn of(details: &dyn Details, trial: &TrialId, name: &str, room: Room) -> String {
    let Some(piece) = details.file(trial, name, Part::Beginning(LOOKED_AT)) else {
        return String::new();
    };
    match picture::find(&piece.bytes) {
        Found::None => {}
        Found::TooLarge(media_type) => {
            return format!(
                "<p class=\"soft\">A picture ({media_type}) that says no size, or too large a one to be shown here.</p>\n{}",
                hex(&piece.bytes)
            );
        }
        Found::Shown(shown) => {
            let size = format!("{} × {} pixels", shown.width, shown.height);
            // Base64 takes four bytes for three.
            let fits = piece.total.saturating_mul(4) / 3 <= room.picture as u64;
            let all = fits.then(|| details.file(trial, name, Part::Beginning(piece.total)));
            return match all.flatten() {
                Some(all) => format!(
                    "<p><img alt=\"{}: a picture of {size}\" src=\"data:{};base64,{}\"></p>\n<p class=\"soft\">{size}</p>\n",
                    line(name, 100),
                    shown.media_type,
                    BASE64.encode(&all.bytes)
                ),
                None => format!(
                    "<p class=\"soft\">A picture of {size}, too large to be shown here.</p>\n"
                ),
            };
        }
    }
    let is_all = piece.bytes.len() as u64 == piece.total;
    let Some(text) = text(&piece.bytes, is_all) else {
        return hex(&piece.bytes);
    };
    let ending = name.rsplit_once('.').map(|it| it.1.to_ascii_lowercase());
    let shaped = match ending.as_deref() {
        Some("json") if is_all => serde_json::from_str(text)
            .ok()
            .map(|value| tree::json(&value, room.artifact)),
        Some("csv") => tree::csv(text, room.artifact),
        Some("md" | "markdown") => {
            let folder = format!("{}/{}/{}", trial.objective, trial.candidate, trial.repeat);
            let (markup, whole) = markdown::rendered(text, &folder, room.artifact);
            let cut = if whole {
                ""
            } else {
                "<p class=\"soft\">… and more</p>"
            };
            Some(format!("<div class=\"rendered\">{markup}{cut}</div>\n"))
        }
        Some(_) | None => None,
    };
    match shaped {
        Some(shaped) => format!(
            "{shaped}<details>\n<summary>As it is</summary>\n{}</details>\n",
            plain(text, is_all, room.artifact)
        ),
        None => plain(text, is_all, room.artifact),
    }
}

/// The bytes as text; `None` of what is none. The last character may be cut.
fn text(bytes: &[u8], is_all: bool) -> Option<&str> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if !is_all && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    (!text.contains('\0')).then_some(text)
}

fn plain(text: &str, is_all: bool, most: usize) -> String {
    let (markup, whole) = block(text, most);
    let (cut, more) = if is_all && whole {
        ("", "")
    } else {
        (" data-cut", "<p class=\"soft\">… and more</p>\n")
    };
    // A line break that comes first is none to a browser.
    let first = if markup.starts_with("&#10;") {
        "&#10;"
    } else {
        ""
    };
    format!("<pre class=\"text\"{cut} tabindex=\"0\">{first}{markup}</pre>\n{more}")
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::from("<pre tabindex=\"0\">");
    for (at, row) in bytes[..bytes.len().min(HEX)].chunks(16).enumerate() {
        let hex: Vec<String> = row.iter().map(|it| format!("{it:02x}")).collect();
        let seen: String = row
            .iter()
            .map(|it| match it {
                b' '..=b'~' => char::from(*it),
                _ => '·',
            })
            .collect();
        let seen = escaped(&seen);
        add!(text, "{:04x}  {:<47}  {seen}&#10;", at * 16, hex.join(" "));
    }
    text.push_str("</pre>\n");
    text
}

/// A link to a file or folder below the run's, and how large it is.
pub(super) fn link(below: &str, size: Option<u64>) -> String {
    let name = line(below, 200);
    let size = size.map_or_else(String::new, |bytes| format!(", {}", ByteCount(bytes)));
    match address(below) {
        Some(address) => format!("<a href=\"{}\">{name}</a>{size}", escaped(&address)),
        None => format!("{name}{size}"),
    }
}
