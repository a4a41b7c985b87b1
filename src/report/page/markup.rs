//! Text as markup. Everything that comes from outside goes through here on its way into the page.
//!
//! Promises: nothing comes out that a browser takes for a tag, a reference or the end of an attribute; what would hide
//! or reorder the text around it is shown by its number; no line break comes out as one, so that no line of the file
//! begins with words of a candidate.

use crate::name::{RelativePath, TrialId};
use crate::plain;

/// Adds a character as markup. Returns how many bytes that took.
fn push(to: &mut String, c: char) -> usize {
    let before = to.len();
    match c {
        '&' => to.push_str("&amp;"),
        '<' => to.push_str("&lt;"),
        '>' => to.push_str("&gt;"),
        '"' => to.push_str("&quot;"),
        '\'' => to.push_str("&#39;"),
        '\n' => to.push_str("&#10;"),
        c => to.push(c),
    }
    to.len() - before
}

/// A text that is harmless already, such as those of the view.
pub(crate) fn escaped(text: &str) -> String {
    let mut markup = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        push(&mut markup, c);
    }
    markup
}

/// Whether a character is not seen, and turns or hides the text around it.
const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// The same text, in which what is not seen stands as its number: `⟨U+202E⟩`.
fn revealed(text: &str) -> String {
    if !text.contains(is_unseen) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if is_unseen(c) {
            add!(shown, "⟨U+{:04X}⟩", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A hostile text on one line of at most so many characters.
pub(super) fn line(hostile: &str, most: usize) -> String {
    // Never the whole of a flood.
    let head = hostile.char_indices().nth(most.saturating_mul(8));
    let head = head.map_or(hostile, |(at, _)| &hostile[..at]);
    escaped(&plain::short(&revealed(head), most))
}

/// A hostile text with its lines, for where white space counts, of at most so many bytes of markup; and whether that is
/// all of it.
pub(super) fn block(hostile: &str, most: usize) -> (String, bool) {
    let clean = plain::text(&revealed(hostile));
    let mut markup = String::with_capacity(clean.len().min(most));
    let mut taken = 0;
    for c in clean.chars() {
        // What a character may take at the most.
        if taken + 6 > most {
            return (markup, false);
        }
        taken += push(&mut markup, c);
    }
    (markup, true)
}

/// A path as a part of an address.
pub(crate) fn encoded(path: &str) -> String {
    let mut address = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/@".contains(&byte) {
            address.push(char::from(byte));
        } else {
            add!(address, "%{byte:02X}");
        }
    }
    address
}

/// The address of a file or folder below the run's; `None` for what is not below it.
pub(super) fn address(below: &str) -> Option<String> {
    let path = RelativePath::parse(below).ok()?;
    let mut address = format!("./{}", encoded(path.as_str()));
    if below.ends_with('/') {
        address.push('/');
    }
    Some(address)
}

/// What a trial is called in the page. Names have no slash, so that no two trials have one.
pub(super) fn anchor(trial: &TrialId) -> String {
    format!(
        "trial-{}/{}/{}",
        trial.objective, trial.candidate, trial.repeat
    )
}

/// A number that is shown short, with all its digits beside it for who computes with it.
pub(super) fn number(value: f64, shown: &str) -> String {
    format!("<data value=\"{value}\">{}</data>", escaped(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_means_something_comes_out() {
        let hostile = "<b onload='x' \"&\u{1b}[31mred\u{1b}[0m\n::error::x\r\n##[y]";
        let (markup, whole) = block(hostile, 1000);
        assert!(whole);
        let shown = "&lt;b onload=&#39;x&#39; &quot;&amp;red&#10;::error::x&#10;# #[y]";
        assert_eq!(markup, shown);
        assert_eq!(line("a\nb", 10), "a⏎b");
    }

    #[test]
    fn what_turns_text_around_is_shown_by_its_number() {
        assert_eq!(line("exe\u{202e}gpj", 40), "exe⟨U+202E⟩gpj");
        assert_eq!(block("a\u{feff}b", 40).0, "a⟨U+FEFF⟩b");
    }

    #[test]
    fn a_flood_is_cut_by_what_it_takes_in_the_page() {
        let (markup, whole) = block(&"<".repeat(1000), 100);
        assert!(!whole && markup.len() <= 100, "{}", markup.len());
        assert!(markup.ends_with("&lt;"), "{markup}");
        let (all, whole) = block("abc", 9);
        assert_eq!((all.as_str(), whole), ("abc", true));
    }

    #[test]
    fn addresses_stay_below_the_run() {
        for (path, address_of) in [
            ("weekly/alpha/1/", Some("./weekly/alpha/1/")),
            ("a/b c#?%.md", Some("./a/b%20c%23%3F%25.md")),
            ("a/../../x", None),
            ("/etc/passwd", None),
            ("javascript:alert(1)", Some("./javascript%3Aalert%281%29")),
        ] {
            assert_eq!(address(path).as_deref(), address_of, "{path}");
        }
    }
}
