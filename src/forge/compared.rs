//! Who is compared with whom, and how often each does what.

use std::collections::BTreeMap;

use super::ForgeBuilder;
use crate::event::{PlannedCandidate, PlannedObjective};
use crate::name::CandidateName;
use crate::rule::{Comparison, How, Question};
use crate::statistics::family::control_repeats;

impl ForgeBuilder {
    /// Every other of today's candidates with the control.
    pub(super) fn with_control(&self, candidates: &[PlannedCandidate]) -> Vec<Comparison> {
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

    /// How often what others are compared with does each objective: √C times as often as C others.
    pub(super) fn repeat_others(
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
