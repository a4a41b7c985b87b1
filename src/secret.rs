//! Secrets: texts that must never be shown.
//!
//! Promises: a [`Secret`] cannot be printed by accident, because it has no text form. Whoever needs the
//! text says so with [`Secret::expose`], which is easy to search for. Absent on purpose: serialisation.

use std::fmt;

/// A text that must never be shown.
///
/// ```compile_fail
/// println!("{}", forge::secret::Secret::new("hunter22"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text out of sight.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_three_stars_even_inside_other_things() {
        assert_eq!(format!("{:?}", Secret::new("hunter22")), "***");
        assert_eq!(
            format!("{:#?}", Some(Secret::new("x"))),
            "Some(\n    ***,\n)"
        );
    }
}
