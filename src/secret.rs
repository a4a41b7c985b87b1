//! Secrets: text that has no text form.
//!
//! Promises: a [`Secret`] cannot be displayed or serialised, and its `Debug` is always `***`. What it
//! holds is read by [`Secret::expose`] only, so every place that does can be found.

use std::fmt;

/// A text that must not appear in any output.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
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
    fn a_secret_has_no_text_form() {
        assert_eq!(format!("{:?}", Secret::new("dtn_key")), "***");
        assert_eq!(Secret::new("dtn_key").expose(), "dtn_key");
    }
}
