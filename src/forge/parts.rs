//! A run that is one part of a larger one: what the whole is, by which its parts are known for one.

use serde::Serialize;

use super::ForgeBuilder;
use super::compared::Cast;
use crate::candidate::digest;
use crate::event::{PlannedCandidate, PlannedObjective, Shard, ShardBy};
use crate::name::ObjectiveName;
use crate::objective::Objective;
use crate::problem::{Problem, Problems};
use crate::rule::{Comparison, Rule};

/// What parts of one whole have in common. What only one machine has is not in it.
#[derive(Serialize)]
struct Whole<'a> {
    mode: &'a str,
    seed: Option<u64>,
    candidates: &'a [PlannedCandidate],
    objectives: &'a [PlannedObjective],
    comparisons: &'a [Comparison],
    rule: &'a Rule,
    by: ShardBy,
    of: u32,
}

impl ForgeBuilder {
    /// What the run is a part of, if it is one, and the seed that all parts have: the one that is said, or one that
    /// is made of the whole.
    ///
    /// # Errors
    /// When a part could not decide what the whole would.
    pub(super) fn part_of(
        &self,
        mode: &str,
        cast: &Cast,
    ) -> Result<Option<(Shard, u64)>, Problems> {
        let Some((part, by)) = self.shard else {
            return Ok(None);
        };
        let mut problems = Problems::default();
        for (option, is_asked) in [
            ("--repeat auto", self.comparing.auto.is_some()),
            ("--confirm", self.comparing.confirm.is_some()),
        ] {
            if is_asked {
                let message = format!(
                    "with {option}, results of all decide what is run next, and a part has only its own"
                );
                let hint = "say how many repeats: -k N";
                problems.push(Problem::setting("--shard", message).with_hint(hint));
            }
        }
        problems.or(())?;
        let whole = |seed| Whole {
            mode,
            seed,
            candidates: &cast.candidates,
            objectives: &cast.objectives,
            comparisons: &cast.comparisons,
            rule: &self.comparing.rule,
            by,
            of: part.of,
        };
        let digest = |seed| {
            let text = serde_json::to_vec(&whole(seed)).unwrap_or_default();
            digest([&*text])
        };
        // Said or made: a part that goes on says the one that was made.
        let seed = self.seed.unwrap_or_else(|| seed_of(&digest(None)));
        let shard = Shard {
            part,
            by,
            whole: digest(Some(seed)),
            objectives: cast.objectives.clone(),
        };
        Ok(Some((shard, seed)))
    }
}

/// The objectives of a part, in the plan and loaded.
pub(super) fn only_own(
    shard: Option<&Shard>,
    cast: &mut Cast,
    objectives: Vec<Objective>,
) -> Vec<Objective> {
    let part = shard
        .filter(|it| it.by == ShardBy::Objective)
        .map(|it| it.part);
    let is_own = |name: &ObjectiveName| part.is_none_or(|part| part.has_objective(name));
    cast.objectives.retain(|it| is_own(&it.name));
    objectives
        .into_iter()
        .filter(|it| is_own(&it.name))
        .collect()
}

/// What people should know of a part.
pub(super) fn told(shard: &Shard, own: &[PlannedObjective]) -> String {
    let part = shard.part;
    let what = match shard.by {
        ShardBy::Objective if own.is_empty() => {
            "no objective falls to it: there is nothing to run".to_owned()
        }
        ShardBy::Objective => format!("{} of {} objectives", own.len(), shard.objectives.len()),
        ShardBy::Repeat => format!(
            "every repeat that is {} modulo {}",
            part.index % part.of,
            part.of
        ),
    };
    format!("shard {part}: {what}; `forge merge` says what all shards come to")
}

/// A seed made of a digest in hex.
fn seed_of(whole: &str) -> u64 {
    let first = whole.get(..16).unwrap_or_default();
    // 53 bits survive every language's numbers.
    u64::from_str_radix(first, 16).unwrap_or_default() >> 11
}
