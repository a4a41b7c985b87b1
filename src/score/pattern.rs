//! Patterns of gates and scorers: how their text becomes a regular expression, in one place.
//!
//! `^` and `$` match at the ends of lines, whether those end in LF or in CRLF.

use regex::{Regex, RegexBuilder};
use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serializer};

/// How much memory a compiled pattern may take, in bytes.
const MAX_PATTERN_BYTES: usize = 4 * 1024 * 1024;

/// Compiles a pattern.
///
/// # Errors
/// When it is none, or too large once it is compiled.
pub fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text)
        .multi_line(true)
        .crlf(true)
        .size_limit(MAX_PATTERN_BYTES)
        .build()
}

pub(super) fn serialize<S: Serializer>(pattern: &Regex, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(pattern.as_str())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Regex, D::Error> {
    compile(&String::deserialize(from)?).map_err(D::Error::custom)
}
