//! Everything that a caller can say about a run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Forge, Place};
use crate::candidate::Candidate;
use crate::event::{Demands, Event, EventKind, Part, Setting, ShardBy, StopCause, Subscriber};
use crate::installers::Installers;
use crate::lint;
use crate::name::CandidateName;
use crate::objective::LimitOverrides;
use crate::objects::Store;
use crate::policy::NetworkOverrides;
use crate::resume::Wishes;
use crate::rule::Comparing;
use crate::run::state::Budget;
use crate::sandbox::{Network, Provider};
use crate::score::Scorer;
use crate::secret::Secret;
use crate::trial::Keep;

/// Says how a run is to be. Every method replaces or adds to a default; see each.
pub struct ForgeBuilder {
    pub(super) candidates: PathBuf,
    pub(super) only: Vec<String>,
    pub(super) own_candidates: Vec<Candidate>,
    pub(super) objectives: PathBuf,
    pub(super) artifacts: PathBuf,
    pub(super) store: Option<Store>,
    pub(super) place: Option<Place>,
    pub(super) judge: Option<PathBuf>,
    pub(super) mode_reason: String,
    pub(super) jobs: Option<usize>,
    pub(super) repeat: Option<u32>,
    pub(super) limits: LimitOverrides,
    pub(super) deadline: Option<Duration>,
    pub(super) budget: Budget,
    pub(super) prices: BTreeMap<String, f64>,
    pub(super) demands: Demands,
    pub(super) comparing: Comparing,
    pub(super) pairs: Option<u32>,
    pub(super) seed: Option<u64>,
    pub(super) keep: Keep,
    pub(super) env: BTreeMap<String, String>,
    pub(super) host_env: BTreeMap<String, String>,
    pub(super) network: NetworkOverrides,
    pub(super) secrets: Vec<Secret>,
    pub(super) scorers: Vec<(f64, Arc<dyn Scorer>)>,
    pub(super) subscribers: Vec<Box<dyn Subscriber>>,
    pub(super) installers: Option<Installers>,
    pub(super) settings: BTreeMap<String, Setting>,
    pub(super) warnings: Vec<String>,
    pub(super) allow: Vec<lint::Rule>,
    pub(super) stop: Option<mpsc::Receiver<StopCause>>,
    pub(super) write_reports: bool,
    pub(super) command: Option<BTreeMap<String, Vec<String>>>,
    pub(super) resume: Option<(PathBuf, Wishes)>,
    pub(super) shard: Option<(Part, ShardBy)>,
}

impl Default for ForgeBuilder {
    fn default() -> Self {
        Self {
            candidates: "candidates".into(),
            only: Vec::new(),
            own_candidates: Vec::new(),
            objectives: "objectives".into(),
            artifacts: "artifacts".into(),
            store: None,
            place: None,
            judge: None,
            mode_reason: "daytona was not asked for".to_owned(),
            jobs: None,
            repeat: None,
            limits: LimitOverrides::default(),
            deadline: None,
            budget: Budget::default(),
            prices: BTreeMap::new(),
            demands: Demands::default(),
            comparing: Comparing::default(),
            pairs: None,
            seed: None,
            keep: Keep::None,
            env: BTreeMap::new(),
            host_env: BTreeMap::new(),
            network: NetworkOverrides::default(),
            secrets: Vec::new(),
            scorers: Vec::new(),
            subscribers: Vec::new(),
            installers: None,
            settings: BTreeMap::new(),
            warnings: Vec::new(),
            allow: Vec::new(),
            stop: None,
            write_reports: true,
            command: None,
            resume: None,
            shard: None,
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

    /// The program `forge` in which gates and scorers judge where that needs limits; for a provider of the
    /// caller's own. Default: the one beside the running program, else on `PATH`. On this machine it is
    /// [`LocalOptions::helper`](crate::sandbox::local::LocalOptions::helper).
    #[must_use]
    pub fn judge(mut self, program: impl Into<PathBuf>) -> Self {
        self.judge = Some(program.into());
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

    /// What the run may spend at the most, with what it had spent before it was gone on with. Default: no bound.
    #[must_use]
    pub const fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// What an hour of one sandbox costs, in US dollars, at a provider of this name: `local`, `daytona`, `container`, or
    /// one of your own. It counts towards the budget. Default: nothing.
    #[must_use]
    pub fn price_per_hour(mut self, provider: impl Into<String>, dollars: f64) -> Self {
        self.prices.insert(provider.into(), dollars);
        self
    }

    /// What is asked of the run besides that it runs; recorded, and decided by
    /// [`ForgeResult::exit`](crate::ForgeResult::exit).
    #[must_use]
    pub fn demands(mut self, demands: Demands) -> Self {
        self.demands = demands;
        self
    }

    /// What is compared with what, by which rule, and how much is spent on it. Default: all with all, at a level
    /// of .05.
    #[must_use]
    pub fn comparing(mut self, comparing: Comparing) -> Self {
        self.comparing = comparing;
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

    /// What candidates may reach, above the objectives. Default: the objective's, else open.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network.run = Some(network);
        self
    }

    /// What candidates may reach while they are set up, above the objectives. Default: the objective's, else
    /// open; for a candidate that is not trusted, else that of its run.
    #[must_use]
    pub fn setup_network(mut self, network: Network) -> Self {
        self.network.setup = Some(network);
        self
    }

    /// Both at once, as far as they are said.
    #[must_use]
    pub fn networks(mut self, said: NetworkOverrides) -> Self {
        self.network = said;
        self
    }

    /// A text that is replaced in everything that leaves a sandbox; several calls add up. One of fewer than
    /// [`MIN_SECRET_CHARS`](crate::redact::MIN_SECRET_CHARS) characters is not.
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

    /// Rules of [`Forge::check`] that say nothing; several calls add up.
    #[must_use]
    pub fn allow(mut self, rules: impl IntoIterator<Item = lint::Rule>) -> Self {
        self.allow.extend(rules);
        self
    }

    /// What the package installers of the setup phase are told of where packages come from. Default: what this
    /// machine's user has told them, for sandboxes on this machine.
    #[must_use]
    pub fn installers(mut self, installers: Installers) -> Self {
        self.installers = Some(installers);
        self
    }

    /// Why candidates run where they do, for the record.
    #[must_use]
    pub fn mode_reason(mut self, reason: impl Into<String>) -> Self {
        self.mode_reason = reason.into();
        self
    }

    /// The settings as they were asked for and where that came from, for the record. The run's plan has the
    /// values in force instead; what is not recorded here has come from the caller, if not by default.
    #[must_use]
    pub fn recorded_settings(mut self, settings: BTreeMap<String, Setting>) -> Self {
        self.settings = settings;
        self
    }

    /// An object store that everything in the run's folder is written to as well. Whoever reaches it is in no log. Default:
    /// none.
    #[must_use]
    pub fn store(mut self, store: Store) -> Self {
        self.secrets.extend(store.access.secrets());
        self.store = Some(store);
        self
    }

    /// Whether the reports are written into the run's folder, with the links to the winners; what reports are
    /// made of is written always. Default: yes.
    #[must_use]
    pub fn write_reports(mut self, write: bool) -> Self {
        self.write_reports = write;
        self
    }

    /// What the command line asked for, by the long names of its options, for the record: by it a run that is gone on
    /// with is asked for again.
    #[must_use]
    pub fn recorded_command(mut self, command: BTreeMap<String, Vec<String>>) -> Self {
        self.command = Some(command);
        self
    }

    /// Goes on with the run of this folder, instead of beginning one: what has a result that stands is not run
    /// again. See [`crate::resume`].
    #[must_use]
    pub fn resume(mut self, folder: impl Into<PathBuf>, wishes: Wishes) -> Self {
        self.resume = Some((folder.into(), wishes));
        self
    }

    /// Runs one part of the trials; [`crate::merge`] makes one run of all parts. They share a seed, which is made of
    /// what the whole is where none is said.
    #[must_use]
    pub const fn shard(mut self, part: Part, by: ShardBy) -> Self {
        self.shard = Some((part, by));
        self
    }

    /// Ready.
    #[must_use]
    pub fn build(self) -> Forge {
        Forge(self)
    }
}

struct OnLog<F>(F);

impl<F: FnMut(&CandidateName, &str) + Send> Subscriber for OnLog<F> {
    fn on_event(&mut self, event: &Event) {
        if let EventKind::Logged { trial, message } = &event.kind {
            (self.0)(&trial.candidate, message);
        }
    }
}
