//! The artifact as gates and scorers read it: as text, as a size, as JSON.
//!
//! Promises: why it cannot be judged is a value, and tells the candidate's doing from this machine's; what
//! is too large is not read. Text is UTF-8: what is UTF-16 is said to be that, never taken for garbled text.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::Evidence;
use crate::quantity::ByteCount;

/// The largest artifact that is parsed as JSON. In memory it may take a hundred times that.
const MAX_JSON_BYTES: ByteCount = ByteCount::mib(8);
/// The largest artifact that is read as text.
const MAX_TEXT_BYTES: ByteCount = ByteCount::mib(32);
/// How much of an artifact is looked at for its encoding.
const HEAD: u64 = 1024;

/// Why an artifact cannot be judged.
#[derive(Debug)]
pub(super) enum Unfit {
    /// None came home, for this reason where it is known.
    Missing(String),
    /// It is here, but this machine cannot read it.
    Unreadable(io::Error),
    /// It is not JSON, for this reason.
    NotJson(String),
    /// It is not text as forge reads it, for this reason.
    NotText(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(why) if why.is_empty() => f.write_str("no artifact came home"),
            Self::Missing(why) => write!(f, "no artifact came home: {why}"),
            Self::Unreadable(error) => write!(f, "the artifact cannot be read: {error}"),
            Self::NotJson(why) => write!(f, "the artifact is not JSON: {why}"),
            Self::NotText(why) => write!(f, "the artifact is not read as text: {why}"),
        }
    }
}

/// Its text, invalid UTF-8 replaced.
pub(super) fn text(evidence: &Evidence) -> Result<Arc<str>, Unfit> {
    let path = there(evidence)?;
    if evidence.text.get().is_none() {
        let size = ByteCount(size(evidence)?);
        if size > MAX_TEXT_BYTES {
            let why = format!("it has {size}, and the limit is {MAX_TEXT_BYTES}");
            return Err(Unfit::NotText(why));
        }
        if let Some(encoding) = encoding(&head(path).map_err(Unfit::Unreadable)?) {
            let why = format!("it is {encoding}, and text is UTF-8");
            return Err(Unfit::NotText(why));
        }
    }
    evidence.text().map_err(Unfit::Unreadable)
}

fn there(evidence: &Evidence) -> Result<&Path, Unfit> {
    let missing = || Unfit::Missing(evidence.no_artifact.clone());
    evidence.artifact.as_deref().ok_or_else(missing)
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

/// The encoding of a text, where it is one that programs on Windows write and that is not UTF-8: by its
/// byte-order mark, or because every other byte of mostly Latin letters is zero.
fn encoding(head: &[u8]) -> Option<&'static str> {
    match head {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Some("UTF-32"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Some("UTF-16"),
        _ => {}
    }
    let zeros = |first: usize| {
        let bytes = head.iter().skip(first).step_by(2);
        bytes.filter(|byte| **byte == 0).count()
    };
    let (even, odd, pairs) = (zeros(0), zeros(1), head.len() / 2);
    let mostly = |count: usize| count * 4 >= pairs * 3;
    let is_wide = pairs >= 4 && ((even == 0 && mostly(odd)) || (odd == 0 && mostly(even)));
    is_wide.then_some("UTF-16")
}

/// Its size in bytes.
pub(super) fn size(evidence: &Evidence) -> Result<u64, Unfit> {
    let path = there(evidence)?;
    let data = std::fs::metadata(path).map_err(Unfit::Unreadable)?;
    Ok(data.len())
}

/// Its JSON value. At most 128 levels deep, which is where the parser stops.
pub(super) fn json(evidence: &Evidence) -> Result<Value, Unfit> {
    let size = ByteCount(size(evidence)?);
    if size > MAX_JSON_BYTES {
        let why = format!("it has {size}, and the limit is {MAX_JSON_BYTES}");
        return Err(Unfit::NotJson(why));
    }
    serde_json::from_str(&text(evidence)?).map_err(|error| Unfit::NotJson(error.to_string()))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;
    use std::sync::OnceLock;
    use std::time::Duration;

    use super::*;
    use crate::name::{CandidateName, ObjectiveName};

    /// Evidence of a trial that exited with 0 and left no artifact.
    pub(in crate::score) fn nothing() -> Evidence {
        Evidence {
            candidate: CandidateName::parse("alpha").unwrap(),
            objective: ObjectiveName::parse("post").unwrap(),
            prompt: "write a post".into(),
            exit_code: Some(0),
            ended: String::new(),
            run_time: Duration::from_secs(1),
            artifact: None,
            no_artifact: String::new(),
            files: PathBuf::new(),
            stdout: PathBuf::new(),
            stderr: PathBuf::new(),
            metrics: BTreeMap::new(),
            text: OnceLock::new(),
        }
    }

    /// The same with an artifact, and what deletes its file.
    pub(in crate::score) fn with(content: impl AsRef<[u8]>) -> (Evidence, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("post.md");
        std::fs::write(&path, content).unwrap();
        let evidence = Evidence {
            artifact: Some(path),
            ..nothing()
        };
        (evidence, folder)
    }

    /// The same with an artifact that this machine cannot read.
    pub(in crate::score) fn unreadable() -> Evidence {
        Evidence {
            artifact: Some(PathBuf::from("/dev/null/post.md")),
            ..nothing()
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_read_with_replacements_and_only_once() {
        let (evidence, folder) = with(b"a\xffb");
        assert_eq!(&*text(&evidence).unwrap(), "a\u{fffd}b");
        drop(folder);
        assert_eq!(&*text(&evidence).unwrap(), "a\u{fffd}b");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_text() {
        let (evidence, _folder) = with("\u{feff}[1]");
        assert_eq!(&*text(&evidence).unwrap(), "[1]");
        assert_eq!(json(&evidence).unwrap(), serde_json::json!([1]));
    }

    #[test]
    fn what_is_not_utf_8_is_named_and_nothing_else_is_taken_for_it() {
        let wide = |text: &str, order: fn(u16) -> [u8; 2]| -> Vec<u8> {
            text.encode_utf16().flat_map(order).collect()
        };
        let marked = "\u{feff}https://x";
        for (content, encoding) in [
            (wide(marked, u16::to_le_bytes), "UTF-16"),
            (wide(marked, u16::to_be_bytes), "UTF-16"),
            (wide("https://x.example", u16::to_le_bytes), "UTF-16"),
            (
                wide("h\u{e4}tte 12 Tr\u{e4}ume", u16::to_be_bytes),
                "UTF-16",
            ),
            (b"\xff\xfe\0\0a\0\0\0".to_vec(), "UTF-32"),
        ] {
            let error = text(&with(&content).0).unwrap_err().to_string();
            let words =
                format!("the artifact is not read as text: it is {encoding}, and text is UTF-8");
            assert_eq!(error, words, "{content:?}");
        }
        for content in ["", "a\0", "plain text", "a\0b", "\0\0\0\0\0\0\0\0\0\0"] {
            assert_eq!(&*text(&with(content).0).unwrap(), content);
        }
    }

    #[test]
    fn what_is_too_large_for_a_text_is_not_read() {
        let (evidence, _folder) = with("");
        let file = File::options()
            .write(true)
            .open(evidence.artifact.as_ref().unwrap());
        file.unwrap().set_len(MAX_TEXT_BYTES.0 + 1).unwrap();
        let error = text(&evidence).unwrap_err().to_string();
        assert_eq!(
            error,
            "the artifact is not read as text: it has 32.0 MiB, and the limit is 32 MiB"
        );
    }

    #[test]
    fn what_is_not_json_is_said() {
        let deep = "[".repeat(100_000);
        let large = " ".repeat(8 * 1024 * 1024) + "1";
        for (content, why) in [
            ("", "EOF while parsing a value"),
            ("{", "EOF while parsing an object"),
            ("{\"score\": NaN}", "expected value"),
            ("[Infinity]", "expected value"),
            ("1e999", "number out of range"),
            ("1 2", "trailing characters"),
            (&deep, "recursion limit exceeded"),
            (&large, "it has 8.0 MiB, and the limit is 8 MiB"),
        ] {
            let (evidence, _folder) = with(content);
            let error = json(&evidence).unwrap_err().to_string();
            let expected = format!("the artifact is not JSON: {why}");
            assert!(error.starts_with(&expected), "{error}");
        }
        assert_eq!(json(&with("[1]").0).unwrap(), serde_json::json!([1]));
    }

    #[test]
    fn missing_and_unreadable_are_told_apart() {
        let evidence = unreadable();
        assert!(matches!(text(&evidence), Err(Unfit::Unreadable(_))));
        assert!(matches!(size(&evidence), Err(Unfit::Unreadable(_))));
        assert!(matches!(json(&evidence), Err(Unfit::Unreadable(_))));
        assert!(matches!(text(&nothing()), Err(Unfit::Missing(_))));
        assert!(matches!(size(&nothing()), Err(Unfit::Missing(_))));
        assert!(matches!(json(&nothing()), Err(Unfit::Missing(_))));
    }
}
