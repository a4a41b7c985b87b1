//! Quality scorers: what an objective's `scoring.quality` may list.

use std::sync::Arc;
use std::time::Duration;

use regex::Regex;

use super::gate::Schema;
use super::{Evidence, Scorer, Verdict};
use crate::name::RelativePath;

/// The bounds of a count. At least one of them is set; `at_least` is not above `at_most`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Fewer than this costs points in proportion.
    pub at_least: Option<u64>,
    /// More than this costs points in proportion.
    pub at_most: Option<u64>,
}

/// What `length` counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LengthUnit {
    /// Bytes of the file.
    Bytes,
    /// Unicode scalar values.
    Chars,
    /// Runs of non-blank characters.
    Words,
    /// Lines with something else than blanks.
    Lines,
}

/// What the nodes that a JSON path selects are held against.
#[derive(Debug, Clone)]
pub enum JsonExpectation {
    /// Their number.
    Count(Range),
    /// Exactly one node, equal to this.
    Equals(serde_json::Value),
}

/// A program of the objective's author that judges a trial in a fresh sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grader {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The objective's files that it needs: their path in the sandbox, and where they are here.
    pub files: Vec<(RelativePath, std::path::PathBuf)>,
    /// Its time limit.
    pub limit: Duration,
}

/// A quality scorer of an objective.
#[derive(Clone)]
pub enum Quality {
    /// The share of these texts that the artifact contains.
    Contains(Vec<String>),
    /// How often the pattern matches. `^` and `$` match at line ends.
    Regex(Regex, Range),
    /// How long the artifact is.
    Length(LengthUnit, Range),
    /// Whether the artifact is JSON and valid.
    JsonSchema(Schema),
    /// What a JSON path (RFC 9535) selects in the artifact.
    JsonPath(serde_json_path::JsonPath, JsonExpectation),
    /// Whether the artifact is this text, but for blank space at its end.
    Equals(String),
    /// How much of the artifact is this expected file, by lines.
    Golden {
        /// As the objective names it.
        name: String,
        /// Its text.
        expected: Arc<str>,
    },
    /// A program, run elsewhere; see [`crate::trial`].
    Command(Grader),
    /// The caller's own.
    Own(Arc<dyn Scorer>),
}

impl Quality {
    /// How reports call it: `regex /^#/ at_least 3`.
    #[must_use]
    pub fn name(&self) -> String {
        todo!("written by the scoring helper")
    }

    /// Judges one trial; `None` for [`Quality::Command`], which needs a sandbox.
    #[must_use]
    pub fn score(&self, evidence: &Evidence) -> Option<Verdict> {
        let _ = evidence;
        todo!("written by the scoring helper")
    }
}

impl std::fmt::Debug for Quality {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

/// How a grader's process ended, as far as its verdict depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GraderEnd {
    /// It exited with this code.
    Exited(i32),
    /// It did not come to an end of its own, for this reason.
    Failed(String),
}

/// Reads a grader's verdict. Pure.
///
/// A JSON object on standard output is the verdict: `{"score": 0..=100}` or `{"pass": true}`, with an
/// optional `explanation`. Without one, exit code 0 is 100 points and 1 is 0 points. Everything else, an
/// uncaught exception included, is *unscored*: a grader that fails says nothing about the candidate.
#[must_use]
pub fn grader_verdict(end: &GraderEnd, stdout: &str, stderr: &str) -> Verdict {
    let _ = (end, stdout, stderr);
    todo!("written by the scoring helper")
}
