//! Who is compared with whom, and how often each does what.

use std::collections::BTreeMap;

use super::ForgeBuilder;
use crate::candidate::Candidate;
use crate::event::{PlannedCandidate, PlannedObjective, RunPlan};
use crate::name::CandidateName;
use crate::objective::Objective;
use crate::problem::{Problem, Problems};
use crate::quantity::counted;
use crate::rule::{Comparison, How, Question};
use crate::statistics::family::control_repeats;
use crate::statistics::repeats::choose;
use crate::statistics::significant;

/// Who does what in a run, and who is compared with whom.
#[derive(Debug)]
pub(super) struct Cast {
    pub(super) candidates: Vec<PlannedCandidate>,
    pub(super) objectives: Vec<PlannedObjective>,
    pub(super) comparisons: Vec<Comparison>,
}

impl ForgeBuilder {
    /// Plans who does what: `more` is compared besides with the control.
    pub(super) fn cast(
        &self,
        candidates: &[Candidate],
        objectives: &[Objective],
        more: Vec<Comparison>,
    ) -> Cast {
        let planned = candidates.iter().map(|it| self.planned_candidate(it));
        let mut planned: Vec<PlannedCandidate> = planned.collect();
        let objectives = objectives.iter();
        let objectives: Vec<PlannedObjective> = objectives
            .map(|it| self.planned_objective(it, candidates))
            .collect();
        let mut comparisons = self.with_control(&planned);
        comparisons.extend(more);
        self.repeat_others(&comparisons, &mut planned, &objectives);
        Cast {
            candidates: planned,
            objectives,
            comparisons,
        }
    }

    /// Every other of today's candidates with the control.
    fn with_control(&self, candidates: &[PlannedCandidate]) -> Vec<Comparison> {
        let Some(control) = &self.comparing.control else {
            return Vec::new();
        };
        let today = candidates.iter().map(|it| &it.name);
        let others = today.filter(|name| *name != control && name.version().is_none());
        others
            .map(|name| Comparison {
                question: Question::Control,
                candidate: name.clone(),
                against: control.clone(),
                how: How::Beside,
            })
            .collect()
    }

    /// Refuses a confirmation of so few trials that none could show anything.
    pub(super) fn can_confirm(&self, plan: &RunPlan) -> Result<(), Problems> {
        let Some(trials) = self.comparing.confirm else {
            return Ok(());
        };
        let beside = plan.comparisons.iter().filter(|it| it.how == How::Beside);
        let family = beside.count() * plan.rule.gate.len();
        let smallest = |trials: u32| {
            let trials = trials as usize;
            let each = 1.0 / choose(2 * trials, trials);
            let objectives = i32::try_from(plan.objectives.len()).unwrap_or(i32::MAX);
            each.powi(objectives) / 2.0 * family.max(1) as f64
        };
        if significant(smallest(trials), plan.rule.alpha) {
            return Ok(());
        }
        let enough = (trials..100).find(|it| significant(smallest(*it), plan.rule.alpha));
        let message = format!(
            "{} on {} could confirm nothing",
            counted(trials, "more trial", "more trials"),
            counted(plan.objectives.len(), "objective", "objectives")
        );
        let hint = enough.map_or_else(
            || "use more objectives".to_owned(),
            |enough| format!("`--confirm {enough}` is the least that could"),
        );
        Err(Problem::setting("--confirm", message)
            .with_hint(hint)
            .into())
    }

    /// How often what others are compared with does each objective: √C times as often as C others.
    fn repeat_others(
        &self,
        comparisons: &[Comparison],
        candidates: &mut [PlannedCandidate],
        objectives: &[PlannedObjective],
    ) {
        let mut challengers: BTreeMap<&CandidateName, u32> = BTreeMap::new();
        for comparison in comparisons.iter().filter(|it| it.how == How::Beside) {
            *challengers.entry(&comparison.against).or_default() += 1;
        }
        for candidate in candidates {
            let Some(challengers) = challengers.get(&candidate.name) else {
                continue;
            };
            let repeats = |objective: &PlannedObjective| {
                let own = self.comparing.control_repeats;
                own.unwrap_or_else(|| control_repeats(*challengers, objective.repeats))
            };
            let differ = objectives.iter().filter(|it| repeats(it) != it.repeats);
            candidate.repeats = differ.map(|it| (it.name.clone(), repeats(it))).collect();
        }
    }
}
