//! Hostile text made harmless for a terminal or a log: what a candidate or a file says may be shown, but
//! it cannot move the cursor, hide itself, or start a line of its own.

mod said;

pub use said::{LOOKED_AT, LastWords};

/// Whether a character could steer a terminal or disguise the text around it.
fn is_hostile(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        // Invisible: soft hyphen, zero-width, directional marks, embeddings, overrides and isolates.
        | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// Removes escape sequences and control characters; keeps line breaks and tabs. Takes CI commands such as
/// `##[group]` and `##vso[…]`, which are obeyed wherever they stand in a line, apart: `# #[group]`.
#[must_use]
pub fn text(hostile: &str) -> String {
    let clean = without_controls(hostile);
    if clean.contains("##") {
        without_commands(&clean)
    } else {
        clean
    }
}

fn without_commands(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("##") {
        let (before, after) = rest.split_at(at + 1);
        clean.push_str(before);
        let word = after[1..].trim_start_matches(|c: char| c.is_ascii_alphanumeric());
        if word.starts_with('[') {
            clean.push(' ');
        }
        rest = after;
    }
    clean.push_str(rest);
    clean
}

fn without_controls(hostile: &str) -> String {
    if !hostile.contains(is_hostile) {
        return hostile.to_owned();
    }
    let mut clean = String::with_capacity(hostile.len());
    let mut chars = hostile.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\u{9b}' => skip_csi(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut chars),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => clean.push('\n'),
            c if is_hostile(c) => {}
            c => clean.push(c),
        }
    }
    clean
}

/// The same on one line: line breaks become `⏎`, tabs a blank.
#[must_use]
pub fn line(hostile: &str) -> String {
    let clean = text(hostile);
    if !clean.contains(['\n', '\t']) {
        return clean;
    }
    clean
        .trim_end_matches('\n')
        .replace('\n', "⏎")
        .replace('\t', " ")
}

/// The same on one line of at most `max` characters.
#[must_use]
pub fn short(hostile: &str, max: usize) -> String {
    // Four bytes a character, and some to spare for what is removed: never the whole of a flood.
    let head = hostile
        .char_indices()
        .nth(max.saturating_mul(8))
        .map_or(hostile, |(at, _)| &hostile[..at]);
    let clean = line(head);
    match clean.char_indices().nth(max) {
        None if head.len() == hostile.len() => clean,
        None => format!("{clean}…"),
        Some((at, _)) => format!("{}…", &clean[..at]),
    }
}

/// The same on one line of at most `max` characters, cut at its beginning: for what a program said, because
/// the reason stands at the end.
#[must_use]
pub fn last(hostile: &str, max: usize) -> String {
    let tail = tail(hostile, max.saturating_mul(8));
    let clean = line(tail);
    let over = clean.chars().count().saturating_sub(max);
    match clean.char_indices().nth(over) {
        Some((at, _)) if over > 0 => format!("…{}", &clean[at..]),
        None if over > 0 => "…".to_owned(),
        Some(_) | None if tail.len() < hostile.len() => format!("…{clean}"),
        Some(_) | None => clean,
    }
}

/// The same on one line of at most about `max` characters, cut in its middle: for sentences that begin with
/// what they are about and end with a reason.
#[must_use]
pub fn ends(hostile: &str, max: usize) -> String {
    // Never the whole of a flood.
    let is_flood = hostile.char_indices().nth(max.saturating_mul(8)).is_some();
    let clean = if is_flood {
        std::borrow::Cow::Borrowed(hostile)
    } else {
        line(hostile).into()
    };
    if !is_flood && clean.chars().count() <= max {
        return clean.into_owned();
    }
    // `short` ends with `…`, and `last` begins with it.
    let begin = short(&clean, max / 3);
    let begin = begin.trim_end_matches('…').trim_end();
    format!("{begin} {}", last(&clean, max.saturating_sub(max / 3 + 1)))
}

/// What a reader says of a text in which something is wrong: it quotes that, however long it is. In one line, short.
#[must_use]
pub fn quoted(error: &dyn std::fmt::Display) -> String {
    ends(&error.to_string(), 300)
}

/// The end of a text, of at most so many characters.
fn tail(text: &str, max: usize) -> &str {
    let over = text.char_indices().rev().nth(max.saturating_sub(1));
    over.map_or(text, |(at, _)| &text[at..])
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn skip_escape(chars: &mut Chars<'_>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            skip_csi(chars);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            chars.next();
            skip_string(chars);
        }
        Some(' '..='/') => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            chars.next_if(|c| ('0'..='~').contains(c));
        }
        Some('0'..='~') => {
            chars.next();
        }
        Some(_) | None => {}
    }
}

/// Control sequence: parameters, then one final byte.
fn skip_csi(chars: &mut Chars<'_>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    chars.next_if(|c| ('@'..='~').contains(c));
}

/// Control string, for example a window title: up to BEL or ST, but never past the line.
fn skip_string(chars: &mut Chars<'_>) {
    while let Some(c) = chars.next_if(|c| *c != '\n') {
        match c {
            '\u{7}' | '\u{9c}' => return,
            '\u{1b}' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
    }
}

/// Bytes as lowercase hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_sequences_are_removed_whole() {
        for (hostile, clean) in [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}x", "x"),
            (
                "\u{1b}]8;;http://evil\u{1b}\\link\u{1b}]8;;\u{1b}\\",
                "link",
            ),
            ("\u{9b}2Jx", "x"),
            ("a\u{202e}b\u{200b}c", "abc"),
            ("\u{1b}]never ended\nnext", "\nnext"),
            ("a\r\nb\rc", "a\nb\nc"),
            ("\u{1b}", ""),
            ("\u{1b}(Bx", "x"),
        ] {
            assert_eq!(text(hostile), clean, "{hostile:?}");
        }
    }

    #[test]
    fn a_line_stays_a_line() {
        assert_eq!(
            line("::error::x\n::set-output::\n"),
            "::error::x⏎::set-output::"
        );
        assert_eq!(short("abcdef", 3), "abc…");
        assert_eq!(short("abc", 3), "abc");
        assert_eq!(short(&"\u{1b}[0m".repeat(100), 3), "…");
    }

    #[test]
    fn what_is_cut_keeps_its_end() {
        assert_eq!(last("abcdef", 3), "…def");
        assert_eq!(last("abc", 3), "abc");
        assert_eq!(last(&"\u{1b}[0m".repeat(100), 3), "…");
        assert_eq!(ends("exited with 1: reason", 40), "exited with 1: reason");
        assert_eq!(
            ends(&format!("exited with 1: {} the end", "x".repeat(100)), 30),
            "exited wit …xxxxxxxxxxx the end"
        );
    }

    proptest! {
        #[test]
        fn nothing_hostile_survives(hostile in r"[\PC\x00-\x1f\x7f-\x9f]{0,80}") {
            prop_assert!(!text(&hostile).contains(is_hostile));
            prop_assert!(!line(&hostile).contains('\n'));
            for cut in [short(&hostile, 20), last(&hostile, 20), ends(&hostile, 20)] {
                prop_assert!(!cut.contains(is_hostile) && !cut.contains('\n'));
                prop_assert!(cut.chars().count() <= 23, "{cut}");
            }
        }
    }
}
