//! From what was said to what is run: loads, checks and resolves everything, before anything is started.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::in_force::Machine;
use super::parts::{only_own, told};
use super::{ForgeBuilder, ForgeError, ObjectiveSource, Place};
use crate::candidate::Candidate;
use crate::event::{PlannedCandidate, PlannedObjective, RunPlan};
use crate::installers::Installers;
use crate::name::RunId;
use crate::objective::{Limits, Objective};
use crate::policy::NetworkOverrides;
use crate::problem::Problems;
use crate::redact::{MASK, Redactor, is_too_short, not_redacted};
use crate::run::Run;
use crate::sandbox::local::LocalProvider;
use crate::sandbox::{Networks, Provider, Trust};
use crate::trial::Judging;
use crate::verdict::looking;

/// How many times `--repeat auto` looks: at a third, at two thirds, and at the end.
pub(super) const LOOKS: u32 = 3;

impl ForgeBuilder {
    pub(super) async fn plan(
        mut self,
        run: RunId,
        sources: Vec<ObjectiveSource>,
    ) -> Result<Run, ForgeError> {
        let (candidates, objectives) = self.load(sources)?;
        let (mut candidates, twins) = self.twins(candidates);
        let formers = self.formers(run, &candidates).await?;
        candidates.retain(|it| !formers.left_out.contains(&it.name));
        candidates.extend(formers.candidates);
        candidates.sort_by(|a, b| a.name.cmp(&b.name));
        self.warnings.extend(formers.remarks);
        let environments = self.environments(&candidates)?;
        if let Some(problem) = super::check::unwritable(&self.artifacts, "artifacts") {
            return Err(Problems::from(problem).into());
        }
        let place = self.take_place().await;
        let judging = self.judging(&place).await;
        let installers = self.installers.take();
        let installers = installers.unwrap_or_else(|| told_here(&place));
        judging.can_judge(&objectives)?;
        // Wherever its sandboxes are, a run that was killed may have left folders here in which it judged.
        sweep_dead(judging.scratch().to_owned()).await;
        let (provider, isolation, machine) = self
            .settled(place, run, &mut candidates, &objectives)
            .await?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let jobs = self.jobs.unwrap_or(cores);
        let mode = provider.name();
        let besides = [formers.comparisons, twins].concat();
        let mut cast = self.cast(&candidates, &objectives, besides);
        let shard = self.part_of(mode, &cast)?;
        let own = || crate::run::order::seed_of(&run);
        let (shard, seed) = match shard {
            Some((shard, seed)) => (Some(shard), seed),
            None => (None, self.seed.unwrap_or_else(own)),
        };
        let settings = self.settings_in_force(&candidates, &objectives, jobs, seed, mode, machine);
        let objectives = only_own(shard.as_ref(), &mut cast, objectives);
        self.warnings
            .extend(shard.as_ref().map(|it| told(it, &cast.objectives)));
        let terms = self.terms(&settings);
        let mut plan = RunPlan {
            format: crate::journal::FORMAT,
            run,
            forge_version: env!("CARGO_PKG_VERSION").to_owned(),
            mode: mode.to_owned(),
            mode_reason: self.mode_reason.clone(),
            isolation,
            seed,
            jobs,
            candidates: cast.candidates,
            objectives: cast.objectives,
            demands: self.demands.clone(),
            rule: self.comparing.rule.clone(),
            comparisons: cast.comparisons,
            looks: if self.comparing.auto.is_some() {
                LOOKS
            } else {
                1
            },
            rejects: false,
            confirm: self.comparing.confirm,
            shard,
            command: self.command.take(),
            terms,
            price_per_hour: self.prices.get(mode).copied(),
            settings,
            host: host(),
        };
        plan.rejects = looking::rejects(&plan).is_some();
        let redactor = self.redactor(&candidates, &installers);
        redact(&mut plan, &redactor);
        self.can_confirm(&plan)?;
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
            budget: self.budget,
            judging,
            keep: self.keep,
            redactor: Arc::new(redactor),
            installers,
            labels: BTreeMap::new(),
            subscribers: self.subscribers,
            stop,
            warnings,
            stored: formers.stored,
            surroundings: crate::settings::surroundings(&crate::settings::variables()),
            former_files: formers.files,
            resumes: None,
        })
    }

    /// What makes sandboxes, how isolated they are, and what a local one has.
    async fn settled(
        &self,
        place: Place,
        run: RunId,
        candidates: &mut [Candidate],
        objectives: &[Objective],
    ) -> Result<(Arc<dyn Provider>, String, Option<Machine>), ForgeError> {
        let options = match place {
            Place::Local(options) => options,
            Place::Own(provider) => return Ok((provider, String::new(), None)),
        };
        let limits = (options.memory, options.disk, options.processes);
        let local = LocalProvider::new(options, run);
        local.expect(&*candidates, objectives);
        let trust = candidates.iter().map(|it| it.trust);
        let mut networks = Vec::new();
        for objective in objectives {
            let all = candidates.iter();
            networks.extend(all.map(|it| (self.networks_of(it, objective), it.has_setup())));
        }
        let each = networks.iter().map(|(networks, _)| networks.clone());
        local.can_keep(each, trust).await?;
        let common = common_networks(&networks);
        let isolation = local.describe(common.as_ref()).await?;
        let machine = (local.level().await?, limits);
        let remarks = candidates.iter().map(|it| local.remarks(it));
        let remarks = futures::future::join_all(remarks).await;
        for (candidate, more) in candidates.iter_mut().zip(remarks) {
            candidate.notes.extend(more);
        }
        Ok((Arc::new(local), isolation, Some(machine)))
    }

    /// Takes out of what leaves what the caller, the installers and the candidates keep secret.
    fn redactor(&mut self, candidates: &[Candidate], installers: &Installers) -> Redactor {
        let mut secrets = std::mem::take(&mut self.secrets);
        secrets.extend(installers.secrets());
        let given = secrets.len();
        secrets.retain(|secret| !is_too_short(secret.expose()));
        if secrets.len() < given {
            let warning = not_redacted("a secret of the caller's", "give longer ones");
            self.warnings.push(warning);
        }
        for candidate in candidates {
            secrets.extend(candidate.passed_secrets(&self.host_env));
        }
        Redactor::new(secrets)
    }

    /// Where candidates run.
    pub(super) async fn take_place(&mut self) -> Place {
        match self.place.take() {
            Some(place) => place,
            None => {
                Place::Local(crate::settings::local_options(&crate::settings::variables()).await)
            }
        }
    }

    /// Where gates and scorers judge.
    pub(super) async fn judging(&mut self, place: &Place) -> Judging {
        let variables = crate::settings::variables;
        let (program, scratch) = match place {
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
        Judging::new(program, scratch)
    }

    /// What a candidate may reach while it does an objective.
    pub(super) fn networks_of(&self, candidate: &Candidate, objective: &Objective) -> Networks {
        candidate.networks(&self.network.over(&objective.network))
    }

    pub(super) fn planned_candidate(&self, candidate: &Candidate) -> PlannedCandidate {
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
            repeats: BTreeMap::new(),
        }
    }

    pub(super) fn planned_objective(
        &self,
        objective: &Objective,
        candidates: &[Candidate],
    ) -> PlannedObjective {
        let limits = Limits::resolve(self.limits.over(objective.limits));
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
            network: shown_networks(&self.network.over(&objective.network), candidates),
        }
    }
}

/// Takes secrets out of what people have written.
fn redact(plan: &mut RunPlan, redactor: &Redactor) {
    let whole = plan.shard.iter_mut().flat_map(|it| &mut it.objectives);
    let titles = plan.objectives.iter_mut().chain(whole);
    let titles = titles.filter_map(|it| it.title.as_mut());
    for text in titles {
        *text = redactor.text(text).into_owned();
    }
    let words = plan.command.iter_mut().flat_map(BTreeMap::values_mut);
    for text in words.flatten() {
        // With a part of it nobody could ask for the same again.
        if redactor.text(text) != text.as_str() {
            MASK.clone_into(text);
        }
    }
}

/// What this machine's user has told package installers, for sandboxes on this machine.
fn told_here(place: &Place) -> Installers {
    match place {
        Place::Local(_) => {
            crate::settings::installers(&crate::settings::variables(), Path::new("."))
        }
        Place::Own(_) => Installers::default(),
    }
}

/// What candidates may reach, in words. Without a setup there is only the network of the run.
fn shown_networks(said: &NetworkOverrides, candidates: &[Candidate]) -> String {
    let run = said.resolve(Trust::Trusted).run.to_string();
    let with_setup = candidates.iter().filter(|it| it.has_setup());
    let setups: BTreeSet<String> = with_setup
        .map(|it| it.networks(said).setup.to_string())
        .collect();
    if setups.iter().all(|setup| *setup == run) {
        return run;
    }
    let setups: Vec<String> = setups.into_iter().collect();
    format!("{run} (setup: {})", setups.join(" or "))
}

/// What all candidates may reach, where that is the same for all of them.
fn common_networks(all: &[(Networks, bool)]) -> Option<Networks> {
    let mut setups = all.iter().filter(|(_, has_setup)| *has_setup);
    let (first, _) = setups.next().or(all.first())?;
    let same = |(other, has_setup): &(Networks, bool)| {
        other.run == first.run && (!has_setup || other.setup == first.setup)
    };
    all.iter().all(same).then(|| first.clone())
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
