//! What a run set out to do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Confirmation, Shard, ShardBy};
use crate::name::{CandidateName, ObjectiveName, RunId, TrialId};
use crate::rule::{Comparison, How, Rule};
use crate::score::{Points, Weights};

/// What a run set out to do. Enough to show it, and to compare it with another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// The format of the journal that it is in: see [`crate::journal::FORMAT`].
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub format: u32,
    /// The run.
    pub run: RunId,
    /// The version of forge.
    pub forge_version: String,
    /// `local`, `daytona`, `container`, or the name of another provider.
    pub mode: String,
    /// Why that mode: `daytona not asked for`, `daytona not configured`, `daytona configured`.
    pub mode_reason: String,
    /// What local runs promise; empty for other providers.
    pub isolation: String,
    /// Orders the trials; recorded so that the order can be had again.
    pub seed: u64,
    /// Sandboxes at once, at the most.
    pub jobs: usize,
    /// The candidates, in the order of their names.
    pub candidates: Vec<PlannedCandidate>,
    /// The objectives, in the order of their names.
    pub objectives: Vec<PlannedObjective>,
    /// What was asked of the run besides that it runs.
    #[serde(default)]
    pub demands: Demands,
    /// What counts as a difference.
    #[serde(default)]
    pub rule: Rule,
    /// Who is compared with whom, besides all with all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub comparisons: Vec<Comparison>,
    /// How many times it is looked whether further trials can be spared; the last time is the end.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub looks: u32,
    /// Whether the looks drop the worst, one after the other (successive rejects), instead of asking whether anything is
    /// certain.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rejects: bool,
    /// How often what looks like a regression is run again, if it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<u32>,
    /// What it is a part of, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// What the command line asked for, by the long names of its options; absent where none did that can be asked for
    /// again. Secrets are not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<BTreeMap<String, Vec<String>>>,
    /// What the run says of all trials alike, above candidates and objectives: limits, networks, variables, the
    /// sandbox. A trial that was run under other terms has another result.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub terms: BTreeMap<String, String>,
    /// What an hour of one sandbox costs, in US dollars; absent where that was not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_hour: Option<f64>,
    /// Every setting in force, with its value and where it came from.
    pub settings: BTreeMap<String, Setting>,
    /// The machine: operating system, architecture, cores.
    pub host: BTreeMap<String, String>,
}

impl RunPlan {
    /// How often a candidate does an objective.
    #[must_use]
    pub fn repeats(&self, candidate: &PlannedCandidate, objective: &PlannedObjective) -> u32 {
        let own = candidate.repeats.get(&objective.name);
        own.copied().unwrap_or(objective.repeats)
    }

    /// Whether the run asks who leads, and nothing else that takes trials.
    #[must_use]
    pub fn asks_who_leads(&self) -> bool {
        self.comparisons.iter().all(|it| it.how == How::Unchanged)
    }

    /// Whether a repeat is one of this run's, rather than of another part's.
    #[must_use]
    pub fn has_repeat(&self, repeat: u32) -> bool {
        let shard = self.shard.as_ref();
        let shard = shard.filter(|it| it.by == ShardBy::Repeat);
        shard.is_none_or(|it| it.part.has_repeat(repeat))
    }

    /// Every planned trial, in the order of reports: objective, candidate, repeat.
    pub fn trials(&self) -> impl Iterator<Item = TrialId> + '_ {
        self.objectives.iter().flat_map(move |objective| {
            self.candidates.iter().flat_map(move |candidate| {
                let repeats = 1..=self.repeats(candidate, objective);
                let repeats = repeats.filter(|repeat| self.has_repeat(*repeat));
                repeats.map(move |repeat| TrialId {
                    objective: objective.name.clone(),
                    candidate: candidate.name.clone(),
                    repeat,
                })
            })
        })
    }

    /// The trials of a confirmation, behind those that were planned before it.
    pub fn confirmed<'a>(
        &'a self,
        confirmation: &'a Confirmation,
    ) -> impl Iterator<Item = TrialId> + 'a {
        let both = [&confirmation.candidate, &confirmation.against];
        self.objectives.iter().flat_map(move |objective| {
            let sides = self
                .candidates
                .iter()
                .filter(move |it| both.contains(&&it.name));
            sides.flat_map(move |candidate| {
                let before = self.repeats(candidate, objective);
                (1..=confirmation.trials).map(move |repeat| TrialId {
                    objective: objective.name.clone(),
                    candidate: candidate.name.clone(),
                    repeat: before + repeat,
                })
            })
        })
    }

    /// How many trials are planned.
    #[must_use]
    pub fn len(&self) -> usize {
        let objectives = self.objectives.iter();
        objectives
            .flat_map(|objective| {
                let candidates = self.candidates.iter();
                candidates.map(|candidate| {
                    let repeats = 1..=self.repeats(candidate, objective);
                    repeats.filter(|repeat| self.has_repeat(*repeat)).count()
                })
            })
            .sum()
    }

    /// Whether nothing is planned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

const fn one() -> u32 {
    1
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_one(number: &u32) -> bool {
    *number == 1
}

/// What the caller asks of a run besides that it runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Demands {
    /// The winner's score must reach this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_under: Option<Points>,
    /// These must pass their gates in every trial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub require: Vec<CandidateName>,
    /// The scores of these must reach this.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub floors: BTreeMap<CandidateName, Points>,
}

/// A setting in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its value, as a person would write it.
    pub value: String,
    /// `flag`, `environment`, `forge.yaml`, `caller` (of the library), `candidate`, `objective` or `default`.
    pub origin: String,
}

/// A candidate as planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedCandidate {
    /// Its name.
    pub name: CandidateName,
    /// What its author says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What it is made of, in hex.
    pub digest: String,
    /// How its trials differ from the others' by its own settings; empty when like for like.
    pub differs: Vec<String>,
    /// How often it does an objective, where that is not what the objective says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub repeats: BTreeMap<ObjectiveName, u32>,
}

/// An objective as planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedObjective {
    /// Its name.
    pub name: ObjectiveName,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its file's name in the objectives folder; absent for one given as text or from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What it is made of, in hex.
    pub digest: String,
    /// How often every candidate does it.
    pub repeats: u32,
    /// The name of the artifact at home.
    pub output: String,
    /// The weights of the three parts.
    pub weights: Weights,
    /// The limit of the run phase, in seconds.
    pub run_limit_s: f64,
    /// The network policy, in words.
    pub network: String,
}
