//! Problems with what the user wrote: all of them at once, each with its place and a remedy.

use std::fmt;
use std::path::PathBuf;

/// One thing that is wrong in what the user wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, as the user would type it; `None` for flags and settings of the environment.
    pub file: Option<PathBuf>,
    /// Line and column, counted from 1.
    pub at: Option<(usize, usize)>,
    /// The path in the document, for example `scoring.quality[0].weight`; or the flag.
    pub path: String,
    /// What is wrong and what was expected: lowercase, no final period.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem with a file as a whole.
    #[must_use]
    pub fn file(file: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self {
            file: Some(file.into()),
            at: None,
            path: String::new(),
            message: message.into(),
            hint: None,
        }
    }

    /// A problem with a value in a file, by its path in the document; its line and column are not known yet.
    #[must_use]
    pub fn value(
        file: impl Into<PathBuf>,
        path: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            path: path.into(),
            ..Self::file(file, message)
        }
    }

    /// A problem with a flag or a variable.
    #[must_use]
    pub fn setting(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            file: None,
            at: None,
            path: path.into(),
            message: message.into(),
            hint: None,
        }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}", crate::plain::line(&file.to_string_lossy()))?;
            if let Some((line, column)) = self.at {
                write!(f, ":{line}:{column}")?;
            }
            f.write_str(": ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", crate::plain::line(&self.path))?;
        }
        f.write_str(&crate::plain::line(&self.message))
    }
}

/// Everything that is wrong in what the user wrote. Nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// `value` when there are none.
    ///
    /// # Errors
    /// Itself, when there are some.
    pub fn or<T>(self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    /// One `error:` line a problem, its hint below it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "error: {problem}")?;
            if let Some(hint) = &problem.hint {
                write!(f, "\n  hint: {}", crate::plain::line(hint))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
