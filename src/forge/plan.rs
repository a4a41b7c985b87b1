//! From what was said to what is run: loads, checks and resolves everything, before anything is started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{ForgeBuilder, ForgeError, ObjectiveSource, Place};
use crate::candidate::Candidate;
use crate::event::{PlannedCandidate, PlannedObjective, RunPlan};
use crate::name::RunId;
use crate::objective::{Limits, Objective};
use crate::problem::{Problem, Problems};
use crate::redact::{MIN_PART_BYTES, Redactor};
use crate::run::Run;
use crate::sandbox::Network;
use crate::sandbox::Provider;
use crate::sandbox::local::LocalProvider;
use crate::score::quality::Quality;
use crate::secret::Secret;
use crate::trial::Judging;

impl ForgeBuilder {
    pub(super) async fn plan(
        mut self,
        run: RunId,
        sources: Vec<ObjectiveSource>,
    ) -> Result<Run, ForgeError> {
        let (mut candidates, objectives) = self.load(sources)?;
        let environments = self.environments(&candidates)?;
        let place = match self.place.take() {
            Some(place) => place,
            None => {
                Place::Local(crate::settings::local_options(&crate::settings::variables()).await)
            }
        };
        let variables = crate::settings::variables;
        let (program, scratch) = match &place {
            Place::Local(options) => (options.helper.clone(), options.base.clone()),
            Place::Own(_) => {
                let here = crate::settings::local_options_without_helper(&variables());
                let program = match self.judge.take() {
                    Some(program) => Some(program),
                    None => crate::sandbox::local::find_helper(&here.path).await,
                };
                (program, here.base)
            }
        };
        let judging = Judging::new(program, scratch);
        judging.can_judge(&objectives)?;
        let (provider, isolation): (Arc<dyn Provider>, String) = match place {
            Place::Local(options) => {
                sweep_dead(options.base.clone()).await;
                let local = LocalProvider::new(options, run);
                let trust = candidates.iter().map(|it| it.trust);
                let networks = objectives.iter().map(|it| self.network_of(it));
                local.can_keep(networks.clone(), trust).await?;
                let mut networks: Vec<Network> = networks.collect();
                networks.dedup();
                let common = networks.pop().filter(|_| networks.is_empty());
                let isolation = local.describe(common.as_ref()).await?;
                let remarks = candidates.iter().map(|it| local.remarks(it));
                let remarks = futures::future::join_all(remarks).await;
                for (candidate, more) in candidates.iter_mut().zip(remarks) {
                    candidate.notes.extend(more);
                }
                (Arc::new(local), isolation)
            }
            Place::Own(provider) => (provider, String::new()),
        };
        let jobs = self.jobs.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        });
        let seed = self
            .seed
            .unwrap_or_else(|| crate::run::order::seed_of(&run));
        let plan = RunPlan {
            run,
            forge_version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: provider.name().to_owned(),
            mode_reason: self.mode_reason.clone(),
            isolation,
            seed,
            jobs,
            candidates: candidates
                .iter()
                .map(|it| self.planned_candidate(it))
                .collect(),
            objectives: objectives
                .iter()
                .map(|it| self.planned_objective(it))
                .collect(),
            demands: self.demands.clone(),
            settings: self.settings.clone(),
            host: host(),
        };
        let mut secrets = std::mem::take(&mut self.secrets);
        for candidate in &candidates {
            secrets.extend(self.passed_secrets(candidate));
        }
        let mut warnings = std::mem::take(&mut self.warnings);
        warnings.extend(candidates.iter().flat_map(Candidate::remarks));
        // Without a caller who stops it, the channel must stay open and silent.
        let stop = self.stop.take().unwrap_or_else(|| mpsc::channel(1).1);
        Ok(Run {
            plan,
            candidates: candidates.into_iter().map(Arc::new).collect(),
            environments,
            objectives: objectives.into_iter().map(Arc::new).collect(),
            limits: self.limits,
            network: self.network,
            provider,
            artifacts: self.artifacts,
            deadline: self.deadline,
            judging,
            keep: self.keep,
            redactor: Arc::new(Redactor::new(secrets)),
            installer_env: self.installer_env,
            labels: BTreeMap::new(),
            subscribers: self.subscribers,
            stop,
            warnings,
        })
    }

    /// The values that are passed on to a candidate, but for those that would be met by chance: `1`, `true`.
    fn passed_secrets(&mut self, candidate: &Candidate) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for passed in &candidate.pass_env {
            match self.host_env.get(&passed.host_name) {
                Some(value) if value.len() >= MIN_PART_BYTES => {
                    secrets.push(Secret::new(value.clone()));
                }
                Some(value) if !value.trim().is_empty() => self.warnings.push(format!(
                    "`{}`, which is passed on to {}, is not redacted: its value has less than {MIN_PART_BYTES} \
                     characters",
                    passed.host_name, candidate.name
                )),
                Some(_) | None => {}
            }
        }
        secrets
    }

    /// What candidates may reach while they do an objective.
    fn network_of(&self, objective: &Objective) -> Network {
        let network = self.network.as_ref().or(objective.network.as_ref());
        network.cloned().unwrap_or_default()
    }

    /// Loads candidates and objectives, so that the problems of both are told at once. For callers who want
    /// to look at them first; [`Forge::run`](crate::Forge::run) does it by itself.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn load(
        &mut self,
        sources: Vec<ObjectiveSource>,
    ) -> Result<(Vec<Candidate>, Vec<Objective>), Problems> {
        let candidates = if self.own_candidates.is_empty() {
            crate::candidate::load::load_dir(&self.candidates, &self.only)
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
        Ok((candidates, objectives))
    }

    fn load_objectives(&self, sources: Vec<ObjectiveSource>) -> Result<Vec<Objective>, Problems> {
        if sources.is_empty() {
            return crate::objective::load::load_dir(&self.objectives);
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
    fn environments(
        &self,
        candidates: &[Candidate],
    ) -> Result<Vec<Arc<BTreeMap<String, String>>>, Problems> {
        let mut problems = Problems::default();
        let environments = candidates
            .iter()
            .map(|candidate| {
                let mut env = candidate.env.clone();
                for pass in &candidate.pass_env {
                    match self.host_env.get(&pass.host_name) {
                        Some(value) => drop(env.insert(pass.name.clone(), value.clone())),
                        None => problems.push(
                            Problem::setting(
                                format!("candidate `{}`: pass_env", candidate.name),
                                format!("`{}` is not set in this environment", pass.host_name),
                            )
                            .with_hint(format!("export {}=…, or leave it out", pass.host_name)),
                        ),
                    }
                }
                env.extend(self.env.clone());
                Arc::new(env)
            })
            .collect();
        problems.or(environments)
    }

    fn planned_candidate(&self, candidate: &Candidate) -> PlannedCandidate {
        let own = candidate.limits;
        let mut differs: Vec<String> = candidate
            .env
            .keys()
            .map(|name| format!("env {name}"))
            .collect();
        differs.extend(
            candidate
                .pass_env
                .iter()
                .map(|it| format!("pass_env {}", it.name)),
        );
        let limits = [
            ("limits.run", own.run.is_some() && self.limits.run.is_none()),
            (
                "limits.setup",
                own.setup.is_some() && self.limits.setup.is_none(),
            ),
            (
                "limits.output",
                own.output.is_some() && self.limits.output.is_none(),
            ),
            (
                "limits.artifacts",
                own.artifacts.is_some() && self.limits.artifacts.is_none(),
            ),
        ];
        differs.extend(limits.iter().filter(|it| it.1).map(|it| it.0.to_owned()));
        PlannedCandidate {
            name: candidate.name.clone(),
            description: candidate.description.clone(),
            digest: candidate.digest.clone(),
            differs,
        }
    }

    fn planned_objective(&self, objective: &Objective) -> PlannedObjective {
        let limits = Limits::resolve(self.limits.over(objective.limits));
        let network = self.network_of(objective);
        PlannedObjective {
            name: objective.name.clone(),
            title: objective.title.clone(),
            file: objective.source.as_ref().map(|source| {
                // Below the objectives folder by its name, from elsewhere by its whole path.
                source
                    .strip_prefix(&self.objectives)
                    .unwrap_or(source)
                    .display()
                    .to_string()
            }),
            digest: objective.digest.clone(),
            repeats: self.repeat.or(objective.repeat).unwrap_or(1),
            output: objective.output.to_string(),
            weights: objective.scoring.weights,
            run_limit_s: limits.run.as_secs_f64(),
            network: network.to_string(),
        }
    }
}

/// Removes what dead runs left in the temporary folder. What cannot be removed now waits for the next run.
async fn sweep_dead(base: PathBuf) {
    let sweep = move || LocalProvider::sweep_dead(&base, Duration::ZERO);
    match tokio::task::spawn_blocking(sweep).await {
        Ok(Ok(0)) | Err(_) => {}
        Ok(Ok(count)) => tracing::info!(count, "removed what dead runs left"),
        Ok(Err(error)) => tracing::warn!(%error, "cannot remove what dead runs left"),
    }
}

/// The machine, as far as a reader of the report needs to know it.
fn host() -> BTreeMap<String, String> {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    [
        ("os", std::env::consts::OS.to_owned()),
        ("arch", std::env::consts::ARCH.to_owned()),
        ("cores", cores.to_string()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect()
}
