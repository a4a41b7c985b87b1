//! What became of a run's sandboxes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::name::SandboxId;

/// What became of the sandboxes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cleanup {
    /// How many are confirmed gone.
    pub deleted: u64,
    /// Those that were kept on purpose.
    pub kept: Vec<SandboxId>,
    /// Where to look at those, as far as the provider tells.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept_at: BTreeMap<SandboxId, String>,
    /// How many that were kept or not confirmed gone were deleted later, by a sweep. Known when an old run is
    /// shown again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub swept: u64,
    /// Those that could not be confirmed gone, with the last error.
    pub unconfirmed: Vec<Undeleted>,
    /// Why the provider could not list at the end what it has of this run, if it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<String>,
}

/// A sandbox that could not be confirmed gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undeleted {
    /// Its name.
    pub name: String,
    /// Its id, where it is known.
    pub id: Option<SandboxId>,
    /// The last error.
    pub error: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Cleanup {
    /// Adds what became of the sandboxes of an earlier time of the same run. What could not be confirmed gone then was
    /// tried again now, and is told by now's.
    pub fn follow(&mut self, earlier: Self) {
        self.deleted += earlier.deleted;
        self.swept += earlier.swept;
        let kept = earlier.kept.into_iter();
        self.kept.splice(0..0, kept);
        self.kept_at.extend(earlier.kept_at);
    }

    /// The same of what nobody has tried again since: what could not be confirmed gone then, is not now.
    pub fn follow_untried(&mut self, mut earlier: Self) {
        self.unconfirmed.splice(0..0, earlier.unconfirmed.drain(..));
        self.unlisted = self.unlisted.take().or(earlier.unlisted.take());
        self.follow(earlier);
    }

    /// Takes out what was deleted later: no longer kept, no longer unconfirmed.
    pub fn take_swept(&mut self, is_deleted: impl Fn(Option<&str>, Option<&SandboxId>) -> bool) {
        let left = |it: &Self| it.kept.len() + it.unconfirmed.len();
        let before = left(self);
        self.kept.retain(|id| !is_deleted(None, Some(id)));
        self.unconfirmed
            .retain(|it| !is_deleted(Some(&it.name), it.id.as_ref()));
        let kept: BTreeSet<&SandboxId> = self.kept.iter().collect();
        self.kept_at.retain(|id, _| kept.contains(id));
        self.swept += (before - left(self)) as u64;
    }
}
