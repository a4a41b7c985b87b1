//! What can hardly be meant in what a run would do.

use super::ForgeBuilder;
use crate::candidate::Candidate;
use crate::candidate::reads::never_reads_the_prompt;
use crate::lint::{Lint, Rule, objective, too_few};
use crate::objective::Objective;
use crate::problem::Problem;
use crate::quantity::counted;

impl ForgeBuilder {
    /// What the rules find, but for what is allowed.
    pub(super) fn lints(&self, candidates: &[Candidate], objectives: &[Objective]) -> Vec<Lint> {
        let mut found: Vec<Lint> = objectives.iter().flat_map(objective).collect();
        found.extend(self.too_small(candidates, objectives));
        found.extend(self.unread(candidates));
        found.retain(|it| !self.allow.contains(&it.rule));
        found
    }

    /// Of a run that asks who is best: whether its trials could show that.
    fn too_small(&self, candidates: &[Candidate], objectives: &[Objective]) -> Option<Lint> {
        let asked = &self.comparing;
        let compares = asked.control.is_some() || !asked.baselines.is_empty();
        if candidates.len() < 2 || compares || asked.auto.is_some() {
            return None;
        }
        let repeats = |it: &Objective| self.repeat.or(it.repeat).unwrap_or(1);
        let repeats: Vec<u32> = objectives.iter().map(repeats).collect();
        let enough = too_few(&repeats, asked.rule.alpha)?;
        let trials: u64 = repeats.iter().map(|it| u64::from(*it)).sum();
        let message = format!(
            "with {} of each candidate in all, on {}, no difference could be told from chance, however large",
            counted(trials, "trial", "trials"),
            counted(objectives.len(), "objective", "objectives"),
        );
        let hint = match enough {
            Some(repeats) => {
                format!("`-k {repeats}` could, or more objectives; `forge plan` says what else")
            }
            None => "more objectives could; `forge plan` says what else".to_owned(),
        };
        let problem = Problem::setting("repeat", message).with_hint(hint);
        let rule = Rule::SuiteTooSmall;
        Some(Lint { rule, problem })
    }

    /// Whether the prompt is for nobody.
    fn unread(&self, candidates: &[Candidate]) -> Option<Lint> {
        let unread = !candidates.is_empty() && candidates.iter().all(never_reads_the_prompt);
        let message = "no candidate reads its prompt, as far as their files show";
        let hint = "it is argument 1, and `FORGE_PROMPT`; where none needs it: `allow: [prompt-unread]` in `forge.yaml`";
        let rule = Rule::PromptUnread;
        let problem = Problem::file(&self.candidates, message).with_hint(hint);
        unread.then_some(Lint { rule, problem })
    }
}
