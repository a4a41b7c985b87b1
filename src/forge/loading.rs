//! Loading: candidates and objectives, from files or from the caller, and whether they go together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ForgeBuilder, ObjectiveSource};
use crate::candidate::Candidate;
use crate::objective::Objective;
use crate::problem::{Problem, Problems};
use crate::redact::{is_too_short, not_redacted};
use crate::score::quality::Quality;
use crate::store::{RUN_FILES, WINNER};

impl ForgeBuilder {
    /// Loads candidates and objectives, so that the problems of both are told at once. For callers who want
    /// to look at them first; [`Forge::run`](crate::Forge::run) does it by itself.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(
        &mut self,
        sources: Vec<ObjectiveSource>,
    ) -> Result<(Vec<Candidate>, Vec<Objective>), Problems> {
        let loaded = self.load_all(sources);
        loaded.map_err(|mut problems| {
            problems.0.iter_mut().for_each(crate::tree::locate);
            problems
        })
    }

    fn load_all(
        &mut self,
        sources: Vec<ObjectiveSource>,
    ) -> Result<(Vec<Candidate>, Vec<Objective>), Problems> {
        let candidates = if self.own_candidates.is_empty() {
            let (folder, only, said) = (&self.candidates, &self.only, &mut self.warnings);
            crate::candidate::load::load_dir_and_tell(folder, only, said)
        } else {
            Ok(std::mem::take(&mut self.own_candidates))
        };
        let objectives = self.load_objectives(sources);
        let (mut candidates, mut objectives) = match (candidates, objectives) {
            (Ok(candidates), Ok(objectives)) => (candidates, objectives),
            (Err(mut problems), Err(more)) => {
                problems.0.extend(more.0);
                return Err(problems);
            }
            (Err(problems), Ok(_)) | (Ok(_), Err(problems)) => return Err(problems),
        };
        self.warn_of_short_secrets(&candidates);
        candidates.sort_by(|a, b| a.name.cmp(&b.name));
        objectives.sort_by(|a, b| a.name.cmp(&b.name));
        for objective in &mut objectives {
            let own = self
                .scorers
                .iter()
                .map(|(weight, scorer)| crate::objective::Weighted {
                    weight: *weight,
                    scorer: Quality::Own(Arc::clone(scorer)),
                });
            objective.scoring.quality.extend(own);
        }
        let twice = |name: &str| Problem::setting(name, "this name is there twice").into();
        if let Some(pair) = candidates
            .windows(2)
            .find(|pair| pair[0].name == pair[1].name)
        {
            return Err(twice(pair[0].name.as_str()));
        }
        if let Some(pair) = objectives
            .windows(2)
            .find(|pair| pair[0].name == pair[1].name)
        {
            return Err(twice(pair[0].name.as_str()));
        }
        self.required(&candidates)?;
        taken_names(&candidates, &objectives).or((candidates, objectives))
    }

    /// Whom the run is asked about has to be in it: a name that is misspelt would always be missed.
    fn required(&self, candidates: &[Candidate]) -> Result<(), Problems> {
        let known = candidates.iter().map(|it| it.name.as_str());
        let mut problems = Problems::default();
        let required = self.demands.require.iter().map(|it| ("--require", it));
        let floors = self.demands.floors.keys().map(|it| ("--fail-under", it));
        let control = self.comparing.control.iter().map(|it| ("--control", it));
        for (flag, name) in required.chain(floors).chain(control) {
            if !known.clone().any(|known| known == name.as_str()) {
                let message = format!("no candidate of this run is called `{name}`");
                let hint = crate::suggest::advice(name.as_str(), known.clone());
                problems.push(Problem::setting(flag, message).with_hint(hint));
            }
        }
        if let Some(control) = &self.comparing.control
            && candidates.len() == 1
            && problems.0.is_empty()
        {
            let message = format!("there is nobody to compare `{control}` with");
            let problem = Problem::setting("--control", message);
            problems.push(problem.with_hint("take another candidate in, too"));
        }
        problems.or(())
    }

    fn load_objectives(
        &mut self,
        sources: Vec<ObjectiveSource>,
    ) -> Result<Vec<Objective>, Problems> {
        if sources.is_empty() {
            let (folder, said) = (&self.objectives, &mut self.warnings);
            return crate::objective::load::load_dir_and_tell(folder, said);
        }
        let (mut named, mut loaded) = (Vec::new(), Vec::new());
        for source in sources {
            match source {
                ObjectiveSource::Named(text) => named.push(text),
                ObjectiveSource::Loaded(objective) => loaded.push(*objective),
            }
        }
        if !named.is_empty() {
            loaded.extend(crate::objective::load::resolve(&named, &self.objectives)?);
        }
        Ok(loaded)
    }

    /// Every candidate's declared variables, with their values.
    pub(super) fn environments(
        &self,
        candidates: &[Candidate],
    ) -> Result<Vec<Arc<BTreeMap<String, String>>>, Problems> {
        let mut problems = Problems::default();
        let environments = candidates
            .iter()
            .map(|candidate| {
                let mut env = candidate.env.clone();
                for (index, pass) in candidate.pass_env.iter().enumerate() {
                    match self.host_env.get(&pass.host_name) {
                        Some(value) => drop(env.insert(pass.name.clone(), value.clone())),
                        None => problems.push(unset(candidate, index, &pass.host_name)),
                    }
                }
                env.extend(self.env.clone());
                Arc::new(env)
            })
            .collect();
        problems.or(environments)
    }

    /// Says, once each, which of the passed values are too short to be redacted.
    fn warn_of_short_secrets(&mut self, candidates: &[Candidate]) {
        for passed in candidates.iter().flat_map(|it| &it.pass_env) {
            let value = self.host_env.get(&passed.host_name);
            if passed.plain || value.is_none_or(|it| it.trim().is_empty() || !is_too_short(it)) {
                continue;
            }
            let name = &passed.host_name;
            let remedy = format!("if it is no secret, say so: `pass_env: [{{plain: [{name}]}}]`");
            let warning = not_redacted(&format!("`{name}`"), &remedy);
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }
}

/// That a variable which a candidate is to get is not there.
fn unset(candidate: &Candidate, index: usize, name: &str) -> Problem {
    let message = format!(
        "`{name}`, which the candidate `{}` is to get, is not set in this environment",
        candidate.name
    );
    let file = candidate.settings.as_ref().unwrap_or(&candidate.source);
    let mut problem = Problem::value(file, format!("pass_env[{index}]"), message)
        .with_hint(format!("export {name}=…, or leave it out"));
    crate::tree::locate(&mut problem);
    problem
}

/// Names whose folders would be in the place of what forge writes itself. Not every file system tells case.
fn taken_names(candidates: &[Candidate], objectives: &[Objective]) -> Problems {
    let mut problems = Problems::default();
    for it in candidates {
        if it.name.as_str().eq_ignore_ascii_case(WINNER) {
            let message = format!(
                "a candidate cannot be called `{}`: beside its results is the link to the winner's",
                it.name
            );
            let hint = "rename it, or give it a `name` in `candidate.yaml` or its sidecar";
            problems.push(Problem::file(&it.source, message).with_hint(hint));
        }
    }
    for it in objectives {
        let is_taken = |file: &str| it.name.as_str().eq_ignore_ascii_case(file);
        if RUN_FILES.iter().any(|file| is_taken(file)) {
            let message = format!(
                "an objective cannot be called `{}`: beside its results is forge's file of that name",
                it.name
            );
            let problem = match &it.source {
                Some(source) => Problem::file(source, message),
                None => Problem::setting(it.name.as_str(), message),
            };
            problems.push(problem.with_hint("rename its file"));
        }
    }
    problems
}
