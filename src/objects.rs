//! Runs in an object store: what a run writes into its folder goes there too, and is fetched from there.
//!
//! ```text
//! s3://BUCKET/PREFIX/<run>/
//!   stored.json                          the form of what is here; the first that is written
//!   alive.json                           that somebody is at the run: put again and again, gone when it is over
//!   …                                    the files of the run's folder, by their paths in it; no links
//!   events.jsonl+00000000000000004711    what the journal has from that byte on, as long as the run goes on; so for
//!                                        sandboxes.jsonl. When it is over, there is the whole file as well
//! ```
//!
//! Promises: only whole lines are written of what grows, each byte once while it grows and once when the run is over, and
//! none over another's: of two that go on with one run, the second to write learns of it. What comes from a store is
//! treated as hostile: regular files below one new folder come of it, or an error.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::name::{PathError, RelativePath};
use crate::secret::Secret;

mod alive;
mod fetch;
mod growing;
mod remote;
mod through;

pub use alive::{alive, unless_alive};
pub use fetch::{begun, fetch, find, runs};
pub use through::{Through, upload};

/// The object that says in which form a run is stored.
const ABOUT: &str = "stored.json";
/// The version of that form: a reader refuses later ones.
const VERSION: u32 = 1;
/// How an address begins.
const SCHEME: &str = "s3://";
/// What an address is to look like.
const EXPECTED: &str = "s3://BUCKET or s3://BUCKET/PREFIX";

/// A folder of an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    bucket: String,
    prefix: Option<RelativePath>,
}

/// Why a text is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Of another kind of store, or of something else altogether.
    #[error("`{0}` is not understood: expected a folder, {EXPECTED}")]
    Scheme(String),
    /// What stands there is no name of a bucket.
    #[error("`{0}` is no bucket's name: expected {EXPECTED}")]
    Bucket(String),
    /// What follows the bucket is no path.
    #[error("what follows the bucket is no path: {0}")]
    Prefix(#[from] PathError),
}

impl Address {
    /// Whether a text is meant to be an address, of whatever kind, and no folder.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        let is_scheme =
            |it: &str| !it.is_empty() && it.chars().all(|c| c.is_ascii_alphanumeric() || c == '+');
        let known = ["s3:", "gs:", "az:"];
        text.split_once("://").is_some_and(|it| is_scheme(it.0))
            || known.iter().any(|it| text.starts_with(it))
    }

    /// Reads `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// [`AddressError`]
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let rest = text.trim().strip_prefix(SCHEME);
        let rest = rest.ok_or_else(|| AddressError::Scheme(crate::plain::short(text, 100)))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let may_have = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        let begins = bucket.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins || bucket.len() > 63 || !bucket.chars().all(may_have) {
            return Err(AddressError::Bucket(crate::plain::short(bucket, 70)));
        }
        let prefix = prefix.trim_matches('/');
        let prefix = (!prefix.is_empty()).then(|| RelativePath::parse(prefix));
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.transpose()?,
        })
    }

    /// The bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// The folder in it, where there is one.
    #[must_use]
    pub const fn prefix(&self) -> Option<&RelativePath> {
        self.prefix.as_ref()
    }

    /// The folder above, and the name of this one in it.
    #[must_use]
    pub fn split(&self) -> Option<(Self, &str)> {
        let whole = self.prefix.as_ref()?.as_str();
        let (above, name) = match whole.rsplit_once('/') {
            Some((above, name)) => (RelativePath::parse(above).ok(), name),
            None => (None, whole),
        };
        let above = Self {
            bucket: self.bucket.clone(),
            prefix: above,
        };
        Some((above, name))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.bucket)?;
        match &self.prefix {
            Some(prefix) => write!(f, "/{prefix}"),
            None => Ok(()),
        }
    }
}

/// By what a store is reached: the `AWS_` variables, whose values have no text form.
#[derive(Debug, Clone, Default)]
pub struct Access {
    variables: BTreeMap<String, Secret>,
}

/// The variables that are keys.
pub const KEYS: [&str; 4] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_TOKEN",
];

impl Access {
    /// Takes what of an environment is about stores.
    #[must_use]
    pub fn of(variables: &BTreeMap<String, String>) -> Self {
        let known = variables.iter();
        let known = known.filter(|(name, value)| name.starts_with("AWS_") && !value.is_empty());
        Self {
            variables: known
                .map(|(name, value)| (name.clone(), Secret::new(value)))
                .collect(),
        }
    }

    /// The keys among it.
    pub fn secrets(&self) -> impl Iterator<Item = Secret> {
        KEYS.iter()
            .filter_map(|it| self.variables.get(*it))
            .cloned()
    }

    /// Whether nothing says who asks: then it is whom the machine is taken for.
    fn is_keyless(&self) -> bool {
        let says = |name: &str| {
            let role = name == "AWS_WEB_IDENTITY_TOKEN_FILE";
            role || name.starts_with("AWS_CONTAINER_") || name == "AWS_SKIP_SIGNATURE"
        };
        self.secrets().next().is_none() && !self.variables.keys().any(|it| says(it))
    }
}

/// A folder of an object store, and by what it is reached.
#[derive(Debug, Clone)]
pub struct Store {
    /// Where it is.
    pub address: Address,
    /// By what it is reached.
    pub access: Access,
}

/// What kind of failure of a store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// What is set cannot be meant.
    Invalid,
    /// It was not reached, or failed, however often it was asked.
    Unreachable,
    /// The same, and nothing says who asks.
    Keyless,
    /// Whoever asks may not.
    Refused,
    /// The bucket or the object is not there.
    Missing,
    /// No run, or more than one, is called so.
    NoRun,
    /// What is in there is not what forge has written.
    Hostile,
    /// Somebody else has written to the same run.
    Taken,
    /// Somebody else is at the run.
    Alive,
    /// A file on this machine failed.
    Local,
}

/// Why a store could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {doing} `{place}`: {why}")]
pub struct StoreError {
    /// What kind of failure it is.
    pub kind: StoreErrorKind,
    doing: &'static str,
    place: String,
    why: String,
}

impl StoreError {
    /// What helps.
    #[must_use]
    pub fn hint(&self) -> Cow<'static, str> {
        let known = match self.kind {
            StoreErrorKind::NoRun => {
                let (above, _) = self.place.rsplit_once('/').unwrap_or((&self.place, ""));
                return format!("it was looked for in `{above}`; there a run is called by its id, the beginning of it, or `latest`").into();
            }
            StoreErrorKind::Invalid => "the `AWS_` variables say how the store is reached",
            StoreErrorKind::Unreachable => {
                "is it up, and do AWS_ENDPOINT_URL and AWS_REGION lead there?"
            }
            StoreErrorKind::Keyless => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; without them, only a machine with a role may ask"
            }
            StoreErrorKind::Refused => {
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN say who asks; that one needs s3:PutObject, s3:GetObject and s3:ListBucket"
            }
            StoreErrorKind::Missing => "is the bucket there, and in AWS_REGION?",
            StoreErrorKind::Hostile => "look at what else writes there",
            StoreErrorKind::Taken => {
                "one run goes on in one place at a time; `forge --resume` in an empty folder takes what the store has"
            }
            StoreErrorKind::Alive => "wait until it has ended, or stop that one",
            StoreErrorKind::Local => "is there room on the disk, and may you write there?",
        };
        known.into()
    }
}

/// What is not in the store when it should be.
#[derive(Debug, thiserror::Error)]
#[error("the run is not all in `{place}`: {why}")]
pub struct Unstored {
    place: String,
    why: String,
    hint: String,
}

impl Unstored {
    /// Where all of it is, and what helps.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_or_refused_with_what_is_expected() {
        for (text, shown) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://my.bucket-1/", "s3://my.bucket-1"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("s3://bucket//a//b", "s3://bucket/a/b"),
        ] {
            assert!(Address::is_meant(text));
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
        for (text, why) in [
            ("gs://bucket/a", "expected a folder, s3://BUCKET"),
            ("az://bucket", "expected a folder, s3://BUCKET"),
            ("s3:/bucket", "expected a folder, s3://BUCKET"),
            ("s3://", "no bucket's name"),
            ("s3://a b/c", "no bucket's name"),
            ("s3://user:word@bucket/c", "no bucket's name"),
            ("s3://bucket/../x", "leaves its folder"),
        ] {
            assert!(Address::is_meant(text), "{text}");
            let error = Address::parse(text).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        for folder in ["artifacts", "/tmp/x", "a:b/c", "../s3", "s3"] {
            assert!(!Address::is_meant(folder), "{folder}");
        }
    }

    #[test]
    fn the_last_name_of_an_address_may_be_a_run() {
        let split = |text: &str| {
            let address = Address::parse(text).unwrap();
            address
                .split()
                .map(|(above, name)| (above.to_string(), name.to_owned()))
        };
        let of = |above: &str, name: &str| Some((above.to_owned(), name.to_owned()));
        assert_eq!(split("s3://b/x/y"), of("s3://b/x", "y"));
        assert_eq!(split("s3://b/y"), of("s3://b", "y"));
        assert_eq!(split("s3://b"), None);
    }

    #[test]
    fn what_reaches_a_store_is_shown_nowhere() {
        let variables = [
            ("AWS_SECRET_ACCESS_KEY", "hunter22hunter22"),
            ("AWS_REGION", "eu-central-1"),
            ("PATH", "/bin"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let access = Access::of(&variables.into());
        assert!(!format!("{access:?}").contains("hunter22"));
        assert_eq!(access.secrets().count(), 1);
        assert_eq!(access.variables.len(), 2);
    }
}
