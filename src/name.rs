//! Names: the identifiers that appear in paths, labels, logs and reports.
//!
//! Promises: a value of these types is safe as one path component (or, for [`RelativePath`], as a path
//! below a folder that it cannot leave), so nobody downstream checks again. No I/O, no clock.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest candidate or objective name, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was given.
    #[error("a name cannot be empty")]
    Empty,
    /// Longer than [`MAX_NAME_BYTES`].
    #[error("a name has at most {MAX_NAME_BYTES} bytes, this one has {0}")]
    TooLong(usize),
    /// The first character is not a letter or a digit.
    #[error("a name starts with a letter or a digit, not {0:?}")]
    BadStart(char),
    /// A character that is not a letter, a digit, `-`, `_` or `.`.
    #[error("a name consists of ASCII letters, digits, `-`, `_` and `.`; {0:?} is none of them")]
    BadCharacter(char),
}

fn check_name(text: &str) -> Result<(), NameError> {
    let first = text.chars().next().ok_or(NameError::Empty)?;
    if text.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(text.len()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(bad) = text.chars().find(|c| !allowed(*c)) {
        return Err(NameError::BadCharacter(bad));
    }
    if !first.is_ascii_alphanumeric() {
        return Err(NameError::BadStart(first));
    }
    Ok(())
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $check_whole:ident) => {
        $(#[$doc])*
        ///
        /// Its text is shared by all that are cloned of it, and takes one word of each: every trial has one.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<String>);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            /// [`NameError`] when the text is empty, too long, or has a character that is unsafe in a path.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                check_name(text)?;
                Ok(Self(Arc::new(text.to_owned())))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                $check_whole(&text)?;
                Ok(Self(Arc::new(text)))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                Arc::unwrap_or_clone(name.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

slug!(
    /// The name of a candidate: 1 to 64 ASCII letters, digits, `-`, `_` and `.`; for what it once was, `@` and a
    /// version after that.
    CandidateName,
    check_candidate
);
slug!(
    /// The name of an objective: 1 to 64 ASCII letters, digits, `-`, `_` and `.`.
    ObjectiveName,
    check_name
);

/// The name of a candidate as it was, `gamma@4f1c9e2`, comes from forge and its files only: nobody can call a
/// candidate so.
fn check_candidate(text: &str) -> Result<(), NameError> {
    match text.split_once('@') {
        Some((base, version)) => check_name(base).and_then(|()| check_name(version)),
        None => check_name(text),
    }
}

impl CandidateName {
    /// What this candidate is called as it was in `version`: `gamma@4f1c9e2`.
    ///
    /// # Errors
    /// [`NameError`] when the version is no name.
    pub fn at(&self, version: &str) -> Result<Self, NameError> {
        check_name(version)?;
        Ok(Self(Arc::new(format!("{}@{version}", self.base()))))
    }

    /// The name without a version: what a candidate is told that it is called, today's and former ones alike.
    #[must_use]
    pub fn base(&self) -> &str {
        self.0.split_once('@').map_or(&self.0, |(base, _)| base)
    }

    /// Which version it is of; `None` for today's.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, version)| version)
    }
}

/// The id of a run: a UUID version 7, so that ids sort by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(uuid::Uuid);

impl RunId {
    /// Makes a fresh id from the clock and randomness.
    #[must_use]
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7())
    }

    /// When it was generated, in seconds since 1970.
    #[must_use]
    pub fn unix_seconds(&self) -> u64 {
        self.0.get_timestamp().map_or(0, |time| time.to_unix().0)
    }

    /// Eight hex digits of its random part: short enough for names, unlikely to repeat.
    #[must_use]
    pub fn short(&self) -> String {
        let simple = self.0.simple().to_string();
        simple[simple.len() - 8..].to_owned()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}

/// One trial of a run: this candidate on this objective, for the `repeat`th time (from 1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrialId {
    /// What is to be done.
    pub objective: ObjectiveName,
    /// Who does it.
    pub candidate: CandidateName,
    /// Which repeat, counted from 1.
    pub repeat: u32,
}

impl fmt::Display for TrialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.objective, self.candidate, self.repeat)
    }
}

/// What a provider calls one of its sandboxes. Opaque to everyone but the provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SandboxId(String);

impl SandboxId {
    /// Wraps an id as the provider gave it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name that forge gives a sandbox before it exists: unique, and the key by which a sandbox whose
/// create reply was lost is found again. Only `[a-z0-9-]`, at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SandboxName(String);

impl SandboxName {
    /// The name of a sandbox that exists, as its provider tells it.
    #[must_use]
    pub fn existing(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The name for one attempt: `forge-<run>-<serial>-<purpose>-<candidate>`.
    ///
    /// `serial` is unique within the run, so the name is unique even where the rest is cut.
    #[must_use]
    pub fn new(run: &RunId, serial: u64, what: &str) -> Self {
        let mut name = format!("forge-{}-{serial}-", run.short());
        for c in what.chars() {
            if name.len() == 63 {
                break;
            }
            name.push(if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            });
        }
        Self(name.trim_end_matches('-').to_owned())
    }

    /// The number in it, if it is a name of this run's.
    pub(crate) fn serial(&self, run: &RunId) -> Option<u64> {
        let rest = self.0.strip_prefix("forge-")?.strip_prefix(&run.short())?;
        rest.strip_prefix('-')?.split('-').next()?.parse().ok()
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why a text is not a [`RelativePath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing was given, or only dots and slashes.
    #[error("a path cannot be empty")]
    Empty,
    /// It starts at the root.
    #[error("`{0}` is absolute; give a path relative to the folder")]
    Absolute(String),
    /// It has a `..` component.
    #[error("`{0}` leaves its folder")]
    Escapes(String),
    /// A NUL, a control character or a backslash.
    #[error("{0:?} has a character that a path here cannot have")]
    BadCharacter(String),
    /// Longer than 1024 bytes, or a component longer than 255.
    #[error("the path is too long")]
    TooLong,
}

/// A path below a folder that it cannot leave: non-empty, `/`-separated, without `.`, `..`, backslashes
/// or control characters. At most 1,024 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

impl RelativePath {
    /// Parses and normalises a path: `./a//b` becomes `a/b`.
    ///
    /// # Errors
    /// [`PathError`] when the path is empty, absolute, leaves its folder or has unsafe characters.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.starts_with('/') {
            return Err(PathError::Absolute(text.to_owned()));
        }
        if text.chars().any(|c| c.is_control() || c == '\\') {
            return Err(PathError::BadCharacter(text.to_owned()));
        }
        let parts: Vec<&str> = text
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .collect();
        if parts.is_empty() {
            return Err(PathError::Empty);
        }
        if parts.contains(&"..") {
            return Err(PathError::Escapes(text.to_owned()));
        }
        let path = parts.join("/");
        if path.len() > 1024 || parts.iter().any(|part| part.len() > 255) {
            return Err(PathError::TooLong);
        }
        Ok(Self(path))
    }

    /// The path as text, with `/` between its components.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its last component.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// This path below another.
    ///
    /// # Errors
    /// [`PathError::TooLong`] when both together are.
    pub fn below(&self, folder: &Self) -> Result<Self, PathError> {
        Self::parse(&format!("{folder}/{self}"))
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RelativePath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for RelativePath {
    type Error = PathError;
    fn try_from(text: String) -> Result<Self, PathError> {
        Self::parse(&text)
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0
    }
}

impl AsRef<std::path::Path> for RelativePath {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_refuse_path_tricks() {
        for bad in [
            "", ".", "..", ".hidden", "a/b", "a\\b", "a b", "ä", "a\0", "-rf", "_x",
        ] {
            assert!(CandidateName::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["alpha", "gpt-4.1_mini", "0", "A"] {
            assert_eq!(CandidateName::parse(good).unwrap().as_str(), good);
        }
        assert!(CandidateName::parse(&"a".repeat(65)).is_err());
    }

    #[test]
    fn what_a_candidate_was_has_a_version_that_nobody_types() {
        let gamma = CandidateName::parse("gamma").unwrap();
        let former = gamma.at("4f1c9e2").unwrap();
        assert_eq!(former.as_str(), "gamma@4f1c9e2");
        assert_eq!(
            (former.base(), former.version()),
            ("gamma", Some("4f1c9e2"))
        );
        assert_eq!((gamma.base(), gamma.version()), ("gamma", None));
        assert_eq!(former.at("blessed").unwrap().as_str(), "gamma@blessed");
        assert!(CandidateName::parse("gamma@4f1c9e2").is_err());
        assert!(gamma.at("a/b").is_err() && gamma.at("").is_err());
        let read = |text: &str| serde_json::from_str::<CandidateName>(text);
        assert_eq!(read("\"gamma@4f1c9e2\"").unwrap(), former);
        for bad in ["\"gamma@\"", "\"@x\"", "\"a@b@c\"", "\"a@../b\""] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<ObjectiveName>("\"a@b\"").is_err());
    }

    #[test]
    fn relative_paths_normalise_and_refuse_escapes() {
        let parse = |text: &str| RelativePath::parse(text).map(|path| path.as_str().to_owned());
        assert_eq!(parse("./a//b/./c.md").unwrap(), "a/b/c.md");
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/../b",
            "a\\..\\b",
            "a\nb",
            "./.",
            "a\0b",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sandbox_names_fit_the_wire_and_stay_unique() {
        let run = RunId::generate();
        let long = "x".repeat(200);
        let name = SandboxName::new(&run, 4_000_000_000, &long);
        assert!(name.as_str().len() <= 63);
        assert_ne!(name, SandboxName::new(&run, 4_000_000_001, &long));
    }

    proptest! {
        #[test]
        fn no_relative_path_leaves_its_folder(text in ".{0,40}") {
            if let Ok(path) = RelativePath::parse(&text) {
                let joined = std::path::Path::new("/base").join(&path);
                prop_assert!(joined.starts_with("/base"));
                prop_assert!(joined.components().all(|c| !matches!(c, std::path::Component::ParentDir)));
            }
        }
    }
}
