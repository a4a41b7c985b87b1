//! A run that is one part of a larger one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::PlannedObjective;
use crate::name::ObjectiveName;

/// The most parts of a run.
const MOST: u32 = 10_000;

/// How the trials of a run are parted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardBy {
    /// All trials of an objective are in one part, by a hash of its name.
    #[default]
    Objective,
    /// All trials of a repeat are in one part, by its number.
    Repeat,
}

/// Which part, of how many. As a text: `3/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Part {
    /// Which, from 1.
    pub index: u32,
    /// Of how many.
    pub of: u32,
}

/// A part as it is written, by whomever.
#[derive(Deserialize)]
struct Written {
    index: u32,
    of: u32,
}

impl TryFrom<Written> for Part {
    type Error = NoPart;

    fn try_from(Written { index, of }: Written) -> Result<Self, NoPart> {
        if (1..=of).contains(&index) && of <= MOST {
            Ok(Self { index, of })
        } else {
            Err(NoPart)
        }
    }
}

/// What a run is a part of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// Which part.
    #[serde(flatten)]
    pub part: Part,
    /// How the trials are parted.
    pub by: ShardBy,
    /// What the whole is made of, in hex: parts of one whole have the same.
    pub whole: String,
    /// The objectives of the whole.
    pub objectives: Vec<PlannedObjective>,
}

impl Part {
    /// All parts of as many.
    pub fn all(of: u32) -> impl Iterator<Item = Self> {
        (1..=of).map(move |index| Self { index, of })
    }

    /// Whether an objective is in it, when trials are parted by objective. Which others there are does not matter.
    #[must_use]
    pub fn has_objective(self, name: &ObjectiveName) -> bool {
        let hash = Sha256::digest(name.as_str().as_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        u64::from_be_bytes(first) % u64::from(self.of.max(1)) == u64::from(self.index) - 1
    }

    /// Whether a repeat, from 1, is in it, when trials are parted by repeat.
    #[must_use]
    pub const fn has_repeat(self, repeat: u32) -> bool {
        repeat % self.of == self.index % self.of
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Why a text is no [`Part`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a part of a run is written as 3/8: which one, of at most {MOST}")]
pub struct NoPart;

impl FromStr for Part {
    type Err = NoPart;

    fn from_str(text: &str) -> Result<Self, NoPart> {
        let (index, of) = text.split_once('/').ok_or(NoPart)?;
        let number = |text: &str| text.trim().parse::<u32>().map_err(|_| NoPart);
        let (index, of) = (number(index)?, number(of)?);
        Self::try_from(Written { index, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_objective_and_every_repeat_is_in_one_part() {
        for of in [1, 2, 3, 8, 50] {
            for number in 0..100 {
                let name = ObjectiveName::parse(&format!("o{number}")).unwrap();
                let parts = Part::all(of).filter(|it| it.has_objective(&name));
                assert_eq!(parts.count(), 1);
                let repeats = Part::all(of).filter(|it| it.has_repeat(number + 1));
                assert_eq!(repeats.count(), 1);
            }
        }
    }

    /// Runs on machines with other forges are parted alike.
    #[test]
    fn which_part_an_objective_is_in_stays() {
        let part = |name: &str| {
            let name = ObjectiveName::parse(name).unwrap();
            let mut parts = Part::all(8).filter(|it| it.has_objective(&name));
            parts.next().unwrap().index
        };
        assert_eq!(["post", "code", "review"].map(part), [7, 3, 7]);
    }

    #[test]
    fn a_part_is_written_as_two_numbers() {
        assert_eq!("3/8".parse(), Ok(Part { index: 3, of: 8 }));
        for wrong in [
            "", "3", "0/8", "9/8", "3/0", "-1/8", "a/b", "3/8/9", "1/10001",
        ] {
            assert_eq!(wrong.parse::<Part>(), Err(NoPart), "{wrong}");
        }
    }
}
