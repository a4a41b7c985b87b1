//! One line of a journal: an event with its checksum.

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::FORMAT;
use crate::event::Event;
use crate::plain::hex;

/// What stands before the checksum, the last member of the line's object.
const SUM: &[u8] = b",\"sum\":\"";
/// What stands behind it, with the line's end.
const END: &[u8] = b"\"}\n";
/// The characters of a checksum: the first of the SHA-256, in hex, of all that stands before [`SUM`].
const CHARACTERS: usize = 8;

/// What a line of a journal is.
#[derive(Debug)]
pub(super) enum Line {
    /// An event, as it was written.
    Event(Box<Event>),
    /// It was not written to its end, or is not what was written.
    Torn,
    /// It is whole and no event, or one of a later forge: why.
    NoEvent(String),
}

impl Line {
    /// Reads a line, its end included.
    pub(super) fn parse(line: &[u8]) -> Self {
        if line.last() != Some(&b'\n') || !is_as_written(line) {
            return Self::Torn;
        }
        match serde_json::from_slice::<Event>(line) {
            Ok(event) => match event.kind.begins().and_then(|_| later(line)) {
                None => Self::Event(Box::new(event)),
                Some(why) => Self::NoEvent(why),
            },
            Err(error) => Self::NoEvent(later(line).unwrap_or_else(|| error.to_string())),
        }
    }
}

/// Closes the line that begins at `from` and ends with its object.
pub(super) fn seal(lines: &mut Vec<u8>, from: usize) {
    let object = lines.len() - 1;
    let sum = sum(&lines[from..object]);
    lines.truncate(object);
    lines.extend_from_slice(SUM);
    lines.extend_from_slice(sum.as_bytes());
    lines.extend_from_slice(END);
}

fn sum(of: &[u8]) -> String {
    hex(&Sha256::digest(of)[..CHARACTERS / 2])
}

/// Whether its checksum is right. One without is of a forge that wrote none.
pub(super) fn is_as_written(line: &[u8]) -> bool {
    let parts = line
        .strip_suffix(END)
        .and_then(|rest| rest.split_at_checked(rest.len().checked_sub(CHARACTERS)?));
    let Some((body, said)) = parts else {
        return true;
    };
    body.strip_suffix(SUM)
        .is_none_or(|body| sum(body).as_bytes() == said)
}

/// Why a line of a later forge is not read, if it is one: it says its format itself.
fn later(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Plan {
        format: u32,
        forge_version: String,
    }
    #[derive(Deserialize)]
    struct Resumed {
        plan: Plan,
    }
    let plan = serde_json::from_slice::<Plan>(line);
    let plan = plan.or_else(|_| serde_json::from_slice::<Resumed>(line).map(|it| it.plan));
    let Plan {
        format,
        forge_version,
    } = plan.ok()?;
    (format > FORMAT).then(|| {
        let version = crate::plain::short(&forge_version, 40);
        format!(
            "it was written by forge {version} in format {format}, and this forge reads up to {FORMAT}: use that one or a later"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(object: &str) -> Vec<u8> {
        let mut line = object.as_bytes().to_vec();
        seal(&mut line, 0);
        line
    }

    const WARNED: &str =
        r#"{"seq":1,"at":"2026-01-01T00:00:00Z","event":"warned","message":"ten points"}"#;

    #[test]
    fn a_line_says_whether_it_is_as_written() {
        let line = sealed(WARNED);
        assert!(matches!(Line::parse(&line), Line::Event(_)));
        for at in 0..line.len() {
            assert!(
                matches!(Line::parse(&line[..at]), Line::Torn),
                "cut to {at} bytes"
            );
        }
        let changed = String::from_utf8(line).unwrap().replace("ten", "two");
        assert!(matches!(Line::parse(changed.as_bytes()), Line::Torn));
    }

    #[test]
    fn a_line_of_before_there_were_checksums_is_read() {
        let line = format!("{WARNED}\n");
        assert!(matches!(Line::parse(line.as_bytes()), Line::Event(_)));
        assert!(matches!(Line::parse(b"{}\n"), Line::NoEvent(_)));
    }

    #[test]
    fn a_line_of_a_later_format_says_so() {
        for line in [
            sealed(r#"{"event":"run_begun","format":3,"forge_version":"9.1"}"#),
            sealed(r#"{"event":"resumed","plan":{"format":3,"forge_version":"9.1"}}"#),
        ] {
            let Line::NoEvent(why) = Line::parse(&line) else {
                panic!("it is not to be read");
            };
            assert!(why.contains("forge 9.1 in format 3"), "{why}");
        }
    }
}
