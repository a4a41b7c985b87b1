//! The library's front door: [`run_forge`], and [`Forge`] for those who want to say more.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::candidate::Candidate;
use crate::event::{
    Event, EventKind, PlannedCandidate, PlannedObjective, RunPlan, Setting, StopCause, Subscriber,
};
use crate::exit::{self, Demands, ExitCode};
use crate::name::{CandidateName, RunId};
use crate::objective::{LimitOverrides, Limits, Objective};
use crate::problem::{Problem, Problems};
use crate::redact::Redactor;
use crate::run::{Finished, Run};
use crate::sandbox::local::{LocalOptions, LocalProvider};
use crate::sandbox::reaper::CleanupReport;
use crate::sandbox::{Network, Provider, SandboxError};
use crate::score::Scorer;
use crate::score::quality::Quality;
use crate::secret::Secret;
use crate::store::RunFolder;
use crate::summary::{RunSummary, Standings, Winner};
use crate::trial::Keep;

/// Runs every candidate of `candidates/` on an objective, and says which does it best.
///
/// The objective is a stem in `objectives/`, else a path, else literal text. Candidates run on this machine;
/// use [`Forge::builder`] to say otherwise. Files are left in `artifacts/`.
///
/// # Errors
/// [`ForgeError::Problems`] when candidates or objectives are wrong, before anything is started;
/// [`ForgeError::Sandbox`] or [`ForgeError::Io`] when this machine cannot run them at all. Candidates that
/// fail, and infrastructure that loses a trial, are in the result.
///
/// # Cancel safety
/// Safe: dropping the future still deletes every sandbox; the runtime's shutdown waits for it.
pub async fn run_forge(objective: impl Into<ObjectiveSource>) -> Result<ForgeResult, ForgeError> {
    Forge::builder().build().run([objective.into()]).await
}

/// The same for callers without a runtime.
pub mod blocking {
    use super::{Forge, ForgeError, ForgeResult, ObjectiveSource};

    /// Like [`run_forge`](crate::run_forge), on a runtime of its own. Must not be called on a runtime.
    ///
    /// # Errors
    /// As [`run_forge`](crate::run_forge); [`ForgeError::Io`] when the runtime cannot be made.
    pub fn run_forge(objective: impl Into<ObjectiveSource>) -> Result<ForgeResult, ForgeError> {
        run(Forge::builder().build(), [objective.into()])
    }

    /// Like [`Forge::run`], on a runtime of its own. Must not be called on a runtime.
    ///
    /// # Errors
    /// As [`Forge::run`]; [`ForgeError::Io`] when the runtime cannot be made.
    pub fn run(
        forge: Forge,
        objectives: impl IntoIterator<Item = ObjectiveSource>,
    ) -> Result<ForgeResult, ForgeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|source| ForgeError::Io {
                doing: "start a runtime",
                source,
            })?;
        runtime.block_on(forge.run(objectives))
    }
}

/// What to do: as on the command line, or loaded by the caller.
#[derive(Debug, Clone)]
pub enum ObjectiveSource {
    /// A stem in `objectives/`, else a path, else literal text.
    Named(String),
    /// An objective at hand.
    Loaded(Box<Objective>),
}

impl From<&str> for ObjectiveSource {
    fn from(text: &str) -> Self {
        Self::Named(text.to_owned())
    }
}

impl From<String> for ObjectiveSource {
    fn from(text: String) -> Self {
        Self::Named(text)
    }
}

impl From<Objective> for ObjectiveSource {
    fn from(objective: Objective) -> Self {
        Self::Loaded(Box::new(objective))
    }
}

/// Where candidates run.
#[derive(Debug, Clone)]
pub enum Place {
    /// On this machine.
    Local(LocalOptions),
    /// Where the caller's own provider says.
    Own(Arc<dyn Provider>),
}

/// Why there is no result at all.
#[derive(Debug, thiserror::Error)]
pub enum ForgeError {
    /// Candidates, objectives or settings are wrong; nothing was started.
    #[error("{0}")]
    Problems(#[from] Problems),
    /// There is no place to run candidates in; nothing was started.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The artifacts folder failed.
    #[error("cannot {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// Nobody passed the gates, or not every trial of a passing candidate has a verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no winner: {reason}")]
pub struct NoWinner {
    /// Why.
    pub reason: String,
}

/// What a run came to.
#[derive(Debug)]
pub struct ForgeResult {
    run: RunId,
    summary: RunSummary,
    standings: Standings,
    report: CleanupReport,
    folder: RunFolder,
    unsaved: Option<String>,
}

impl ForgeResult {
    fn new(run: RunId, finished: Finished) -> Self {
        let Finished {
            summary,
            report,
            folder,
            unsaved,
        } = finished;
        let standings = summary.standings();
        Self {
            run,
            summary,
            standings,
            report,
            folder,
            unsaved: unsaved.map(|error| error.to_string()),
        }
    }

    /// The run's id.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.run
    }

    /// The winner over all objectives; of several that are tied, the first by name, which says with whom.
    ///
    /// # Errors
    /// [`NoWinner`] when nobody passed.
    pub fn winner(&self) -> Result<&Winner, NoWinner> {
        self.standings.winner.as_ref().ok_or_else(|| {
            let lost = self.summary.lost();
            let reason = match lost {
                0 => "no candidate passed its gates".to_owned(),
                _ => format!(
                    "{lost} of {} trials have no verdict",
                    self.summary.trials.len()
                ),
            };
            NoWinner { reason }
        })
    }

    /// All places.
    #[must_use]
    pub const fn standings(&self) -> &Standings {
        &self.standings
    }

    /// What the run's events add up to, with a row for every planned trial.
    #[must_use]
    pub const fn summary(&self) -> &RunSummary {
        &self.summary
    }

    /// What became of the sandboxes.
    #[must_use]
    pub const fn cleanup(&self) -> &CleanupReport {
        &self.report
    }

    /// The run's folder.
    #[must_use]
    pub const fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// How the command line would have ended, and why.
    #[must_use]
    pub fn exit(&self, demands: &Demands) -> (ExitCode, Vec<String>) {
        let (end, mut reasons) = exit::decide(&self.summary, &self.standings, demands);
        if let Some(error) = &self.unsaved {
            reasons.push(format!(
                "the run's events could not all be written: {error}"
            ));
        }
        match self.unsaved {
            Some(_) => (end.max(ExitCode::Incomplete), reasons),
            None => (end, reasons),
        }
    }
}

/// A run, ready to go.
#[derive(Debug)]
pub struct Forge(ForgeBuilder);

impl Forge {
    /// Everything at its default.
    #[must_use]
    pub fn builder() -> ForgeBuilder {
        ForgeBuilder::default()
    }

    /// Runs every candidate on these objectives; on all of `objectives/` when there are none.
    ///
    /// # Errors
    /// As [`run_forge`].
    ///
    /// # Cancel safety
    /// Safe: dropping the future still deletes every sandbox; the runtime's shutdown waits for it.
    pub async fn run(
        self,
        objectives: impl IntoIterator<Item = ObjectiveSource>,
    ) -> Result<ForgeResult, ForgeError> {
        let run_id = RunId::generate();
        let run = self
            .0
            .plan(run_id, objectives.into_iter().collect())
            .await?;
        let doing = "write to the artifacts folder";
        let finished = crate::run::run(run)
            .await
            .map_err(|source| ForgeError::Io { doing, source })?;
        Ok(ForgeResult::new(run_id, finished))
    }
}

/// Says how a run is to be. Every method replaces or adds to a default; see each.
pub struct ForgeBuilder {
    candidates: PathBuf,
    only: Vec<String>,
    own_candidates: Vec<Candidate>,
    objectives: PathBuf,
    artifacts: PathBuf,
    place: Option<Place>,
    mode_reason: String,
    jobs: Option<usize>,
    repeat: Option<u32>,
    limits: LimitOverrides,
    deadline: Option<Duration>,
    seed: Option<u64>,
    keep: Keep,
    env: BTreeMap<String, String>,
    host_env: BTreeMap<String, String>,
    network: Option<Network>,
    secrets: Vec<Secret>,
    scorers: Vec<(f64, Arc<dyn Scorer>)>,
    subscribers: Vec<Box<dyn Subscriber>>,
    installer_env: BTreeMap<String, String>,
    settings: BTreeMap<String, Setting>,
    warnings: Vec<String>,
    stop: Option<mpsc::Receiver<StopCause>>,
}

impl Default for ForgeBuilder {
    fn default() -> Self {
        Self {
            candidates: "candidates".into(),
            only: Vec::new(),
            own_candidates: Vec::new(),
            objectives: "objectives".into(),
            artifacts: "artifacts".into(),
            place: None,
            mode_reason: "daytona was not asked for".to_owned(),
            jobs: None,
            repeat: None,
            limits: LimitOverrides::default(),
            deadline: None,
            seed: None,
            keep: Keep::None,
            env: BTreeMap::new(),
            host_env: BTreeMap::new(),
            network: None,
            secrets: Vec::new(),
            scorers: Vec::new(),
            subscribers: Vec::new(),
            installer_env: BTreeMap::new(),
            settings: BTreeMap::new(),
            warnings: Vec::new(),
            stop: None,
        }
    }
}

impl std::fmt::Debug for ForgeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ForgeBuilder")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl ForgeBuilder {
    /// The folder with the candidates. Default: `candidates`.
    #[must_use]
    pub fn candidates(mut self, folder: impl Into<PathBuf>) -> Self {
        self.candidates = folder.into();
        self
    }

    /// Only candidates whose name matches this glob; several calls add up.
    #[must_use]
    pub fn only(mut self, glob: impl Into<String>) -> Self {
        self.only.push(glob.into());
        self
    }

    /// A candidate at hand, instead of a folder of them; several calls add up.
    #[must_use]
    pub fn candidate(mut self, candidate: Candidate) -> Self {
        self.own_candidates.push(candidate);
        self
    }

    /// The folder in which objectives are looked for by name. Default: `objectives`.
    #[must_use]
    pub fn objectives(mut self, folder: impl Into<PathBuf>) -> Self {
        self.objectives = folder.into();
        self
    }

    /// The folder in which the run's own folder is made. Default: `artifacts`.
    #[must_use]
    pub fn artifacts(mut self, folder: impl Into<PathBuf>) -> Self {
        self.artifacts = folder.into();
        self
    }

    /// Where candidates run. Default: on this machine.
    #[must_use]
    pub fn place(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    /// A provider of the caller's own; short for [`Place::Own`].
    #[must_use]
    pub fn provider(self, provider: impl Provider) -> Self {
        self.place(Place::Own(Arc::new(provider)))
    }

    /// Sandboxes at once, at least 1. Default: the machine's cores.
    #[must_use]
    pub fn jobs(mut self, jobs: usize) -> Self {
        self.jobs = Some(jobs.max(1));
        self
    }

    /// Trials per candidate and objective, at least 1. Default: the objective's, else 1.
    #[must_use]
    pub fn repeat(mut self, repeat: u32) -> Self {
        self.repeat = Some(repeat.max(1));
        self
    }

    /// Limits above those of candidates and objectives.
    #[must_use]
    pub fn limits(mut self, limits: LimitOverrides) -> Self {
        self.limits = limits;
        self
    }

    /// When the whole run stops by itself. Default: never.
    #[must_use]
    pub fn deadline(mut self, after: Duration) -> Self {
        self.deadline = Some(after);
        self
    }

    /// The seed of the trials' order and of `FORGE_SEED`. Default: made of the run's id.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Which sandboxes are left for debugging. Default: none.
    #[must_use]
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// A variable for every candidate; several calls add up.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// The variables that candidates may ask for by `pass_env`. The library reads no environment by
    /// itself. Default: none.
    #[must_use]
    pub fn host_env(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.host_env = variables.into_iter().collect();
        self
    }

    /// The network policy, above the objectives'. Default: the objective's, else open.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = Some(network);
        self
    }

    /// A text that is replaced in everything that leaves a sandbox; several calls add up.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Self {
        self.secrets.push(secret);
        self
    }

    /// A scorer of the caller's own, with its weight among every objective's quality scorers. A weight that
    /// is not above 0 and finite counts as 1.
    #[must_use]
    pub fn scorer(mut self, weight: f64, scorer: impl Scorer + 'static) -> Self {
        let weight = if weight.is_finite() && weight > 0.0 {
            weight
        } else {
            1.0
        };
        self.scorers.push((weight, Arc::new(scorer)));
        self
    }

    /// Hears of every event; several calls add up.
    #[must_use]
    pub fn subscriber(mut self, subscriber: impl Subscriber + 'static) -> Self {
        self.subscribers.push(Box::new(subscriber));
        self
    }

    /// Hears of every line for people: `[Run] Executing...`.
    #[must_use]
    pub fn on_log(self, hear: impl FnMut(&CandidateName, &str) + Send + 'static) -> Self {
        self.subscriber(OnLog(hear))
    }

    /// Stops the run when something is received: the first cause stops, the second hurries.
    #[must_use]
    pub fn stop_on(mut self, causes: mpsc::Receiver<StopCause>) -> Self {
        self.stop = Some(causes);
        self
    }

    /// What people should know about the run as a whole; several calls add up.
    #[must_use]
    pub fn warning(mut self, message: impl Into<String>) -> Self {
        self.warnings.push(message.into());
        self
    }

    /// Variables for the package installers of the setup phase: mirrors, proxies, certificates.
    #[must_use]
    pub fn installer_env(mut self, variables: BTreeMap<String, String>) -> Self {
        self.installer_env = variables;
        self
    }

    /// Why candidates run where they do, for the record.
    #[must_use]
    pub fn mode_reason(mut self, reason: impl Into<String>) -> Self {
        self.mode_reason = reason.into();
        self
    }

    /// The settings in force and where they came from, for the record.
    #[must_use]
    pub fn recorded_settings(mut self, settings: BTreeMap<String, Setting>) -> Self {
        self.settings = settings;
        self
    }

    /// Ready.
    #[must_use]
    pub fn build(self) -> Forge {
        Forge(self)
    }

    async fn plan(mut self, run: RunId, sources: Vec<ObjectiveSource>) -> Result<Run, ForgeError> {
        let (candidates, objectives) = self.load(sources)?;
        let environments = self.environments(&candidates)?;
        let place = match self.place.take() {
            Some(place) => place,
            None => {
                Place::Local(crate::settings::local_options(&crate::settings::variables()).await)
            }
        };
        let (provider, isolation): (Arc<dyn Provider>, String) = match place {
            Place::Local(options) => {
                sweep_dead(options.base.clone()).await;
                let local = LocalProvider::new(options, run);
                let isolation = local.describe();
                (Arc::new(local), isolation)
            }
            Place::Own(provider) => (provider, String::new()),
        };
        let jobs = self.jobs.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        });
        let seed = self
            .seed
            .unwrap_or_else(|| crate::run::order::Random::of_run(&run));
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
            settings: self.settings.clone(),
            host: host(),
        };
        let passed = candidates.iter().flat_map(|it| &it.pass_env);
        let passed = passed.filter_map(|it| self.host_env.get(&it.host_name));
        let secrets: Vec<Secret> = self
            .secrets
            .iter()
            .cloned()
            .chain(passed.map(|it| Secret::new(it.clone())))
            .collect();
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
            keep: self.keep,
            redactor: Arc::new(Redactor::new(secrets)),
            installer_env: self.installer_env,
            labels: BTreeMap::new(),
            subscribers: self.subscribers,
            stop,
            warnings: self.warnings,
        })
    }

    /// Loads candidates and objectives, so that the problems of both are told at once. For callers who want
    /// to look at them first; [`Forge::run`] does it by itself.
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
        let network = self.network.clone().or_else(|| objective.network.clone());
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
            network: network.unwrap_or_default().to_string(),
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

struct OnLog<F>(F);

impl<F: FnMut(&CandidateName, &str) + Send> Subscriber for OnLog<F> {
    fn on_event(&mut self, event: &Event) {
        if let EventKind::Logged { trial, message } = &event.kind {
            (self.0)(&trial.candidate, message);
        }
    }
}
