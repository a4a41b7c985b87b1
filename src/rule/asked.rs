//! What is asked of a run's comparisons: with what, by which rule, and how much may be spent on it.

use std::fmt;
use std::str::FromStr;

use super::Rule;
use crate::name::CandidateName;

/// How many repeats `--repeat auto` takes at the most, unless said.
pub const MAX_AUTO_REPEAT: u32 = 9;

/// Where former candidates come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaselineSource {
    /// A git revision, of all candidates or of one.
    Revision {
        /// The only one that is compared.
        candidate: Option<CandidateName>,
        /// A branch, a tag or a commit.
        revision: String,
    },
    /// A stored run: its id or the beginning of that, `latest`, `blessed`, or a file.
    Stored(String),
}

impl FromStr for BaselineSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let Some((name, revision)) = text.split_once('@').filter(|(name, _)| !name.contains('/'))
        else {
            return if text.is_empty() {
                Err("expected `@REV`, `NAME@REV`, a run, `latest`, `blessed` or a file".to_owned())
            } else {
                Ok(Self::Stored(text.to_owned()))
            };
        };
        if revision.is_empty() || revision.starts_with('-') {
            return Err(format!(
                "expected a git revision behind the `@`, for example `{name}@main`, got `{text}`"
            ));
        }
        let candidate = match name {
            "" => None,
            name => Some(CandidateName::parse(name).map_err(|error| format!("`{name}`: {error}"))?),
        };
        Ok(Self::Revision {
            candidate,
            revision: revision.to_owned(),
        })
    }
}

impl fmt::Display for BaselineSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revision {
                candidate,
                revision,
            } => {
                let name = candidate.as_ref().map_or("", CandidateName::as_str);
                write!(f, "{name}@{revision}")
            }
            Self::Stored(text) => f.write_str(text),
        }
    }
}

/// What is compared with what, and how much is spent on it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparing {
    /// What counts as a difference.
    pub rule: Rule,
    /// With whom all others are compared.
    pub control: Option<CandidateName>,
    /// With what each candidate is compared that it once was.
    pub baselines: Vec<BaselineSource>,
    /// How often the control and the former candidates do an objective; by default √C times as often as C others.
    pub control_repeats: Option<u32>,
    /// Stops early, and takes no more than so many repeats (`--repeat auto`).
    pub auto: Option<u32>,
    /// How often what looks like a regression is run again.
    pub confirm: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_baseline_is_a_revision_a_run_or_a_file() {
        let read = |text: &str| text.parse::<BaselineSource>();
        for (text, name, revision) in [
            ("@main", None, "main"),
            ("gamma@v1.2", Some("gamma"), "v1.2"),
            ("@origin/main", None, "origin/main"),
            ("@HEAD@{1}", None, "HEAD@{1}"),
        ] {
            let candidate = name.map(|name| CandidateName::parse(name).unwrap());
            let expected = BaselineSource::Revision {
                candidate,
                revision: revision.to_owned(),
            };
            assert_eq!(read(text), Ok(expected.clone()));
            assert_eq!(expected.to_string(), text);
        }
        for text in [
            "latest",
            "blessed",
            "0190a5d0",
            "old/run@2.json",
            "base.tar",
        ] {
            assert_eq!(read(text), Ok(BaselineSource::Stored(text.to_owned())));
        }
        for text in ["", "@", "gamma@", "a b@main", "@--output=x"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
