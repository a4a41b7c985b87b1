//! The artifact as gates and scorers read it: as text, as a size, as JSON.
//!
//! Promises: why it cannot be judged is a value, and tells the candidate's doing from this machine's; a
//! hostile artifact can cost neither the stack nor more memory than [`MAX_JSON_BYTES`] of JSON take.

use std::fmt;
use std::io;
use std::sync::Arc;

use serde_json::Value;

use super::Evidence;
use crate::quantity::ByteCount;

/// The largest artifact that is parsed as JSON. In memory it may take fifty times that.
const MAX_JSON_BYTES: ByteCount = ByteCount::mib(8);

/// Why an artifact cannot be judged.
#[derive(Debug)]
pub(super) enum Unfit {
    /// None came home.
    Missing,
    /// It is here, but this machine cannot read it.
    Unreadable(io::Error),
    /// It is not JSON, for this reason.
    NotJson(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("no artifact came home"),
            Self::Unreadable(error) => write!(f, "the artifact cannot be read: {error}"),
            Self::NotJson(why) => write!(f, "the artifact is not JSON: {why}"),
        }
    }
}

/// Its text, invalid UTF-8 replaced.
pub(super) fn text(evidence: &Evidence) -> Result<Arc<str>, Unfit> {
    if evidence.artifact.is_none() {
        return Err(Unfit::Missing);
    }
    evidence.text().map_err(Unfit::Unreadable)
}

/// Its size in bytes.
pub(super) fn size(evidence: &Evidence) -> Result<u64, Unfit> {
    let path = evidence.artifact.as_ref().ok_or(Unfit::Missing)?;
    let data = std::fs::metadata(path).map_err(Unfit::Unreadable)?;
    Ok(data.len())
}

/// Its JSON value. At most 128 levels deep, which is where the parser stops.
pub(super) fn json(evidence: &Evidence) -> Result<Value, Unfit> {
    let size = ByteCount(size(evidence)?);
    if size > MAX_JSON_BYTES {
        let why = format!("it has {size}, more than the {MAX_JSON_BYTES} that are parsed");
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
            (&large, "it has 8.0 MiB, more than the 8 MiB"),
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
        assert!(matches!(text(&nothing()), Err(Unfit::Missing)));
        assert!(matches!(size(&nothing()), Err(Unfit::Missing)));
        assert!(matches!(json(&nothing()), Err(Unfit::Missing)));
    }
}
