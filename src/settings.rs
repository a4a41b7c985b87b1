//! Settings: what was typed, exported and written down, resolved once into what is meant.
//!
//! Flag > environment > `forge.yaml` > objective > default. The only file that reads the process's
//! environment, and only when it is called: the library's front door takes everything as arguments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::event::Setting;
use crate::objective::LimitOverrides;
use crate::objects::Store;
use crate::policy::NetworkOverrides;
use crate::problem::Problems;
use crate::project::{Project, ProviderChoice, Repeat};
use crate::quantity::ByteCount;
use crate::rule::Comparing;
use crate::run::state::Budget;
use crate::sandbox::daytona::{DaytonaConfig, Resolved, parse_dotenv};
use crate::sandbox::local::{Isolation, LocalOptions, RootSandboxes};
use crate::secret::Secret;
use crate::trial::Keep;

mod artifacts;
mod comparing;
mod containers;
mod environment;
mod installers;
mod layers;
mod networks;
mod place;
mod surroundings;

pub use artifacts::{artifacts, store, store_at};
pub use comparing::{ComparingFlags, rule_asked};
pub use containers::{connect, container_options, containers, engine};
pub use environment::declared;
use environment::{Environment, environment};
pub use installers::installers;
use layers::Layers;
pub use surroundings::surroundings;

/// A variable of the process's environment; `None` when it is unset, blank or not Unicode.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.trim().is_empty())
}

/// Every variable of the process's environment that is Unicode.
#[must_use]
pub fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Typed.
    Flag,
    /// Exported.
    Environment,
    /// Written in `forge.yaml`.
    Project,
    /// Nobody said anything.
    Default,
}

impl Origin {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::Project => "forge.yaml",
            Self::Default => "default",
        }
    }
}

/// What was typed or exported. Everything is optional; `from_environment` tells the two apart.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--candidates`
    pub candidates: Option<PathBuf>,
    /// `--objectives`
    pub objectives: Option<PathBuf>,
    /// `--artifacts`
    pub artifacts: Option<PathBuf>,
    /// `--daytona`
    pub daytona: bool,
    /// `--container`
    pub container: bool,
    /// `--require-daytona`
    pub require_daytona: Option<bool>,
    /// `--repeat`
    pub repeat: Option<Repeat>,
    /// `--jobs`
    pub jobs: Option<u32>,
    /// `--timeout`
    pub timeout: Option<Duration>,
    /// `--setup-timeout`
    pub setup_timeout: Option<Duration>,
    /// `--deadline`
    pub deadline: Option<Duration>,
    /// `--seed`
    pub seed: Option<u64>,
    /// `--max-sandboxes` and `--max-cost`
    pub budget: Budget,
    /// `--keep`
    pub keep: Option<Keep>,
    /// `--env`
    pub env: Vec<String>,
    /// `--pass-env`
    pub pass_env: Vec<String>,
    /// `--network`
    pub network: Option<String>,
    /// `--isolation`
    pub isolation: Option<Isolation>,
    /// `--setup-network`
    pub setup_network: Option<String>,
    /// What is compared, and how.
    pub comparing: ComparingFlags,
    /// Which of these came from the environment, by the name of the flag without dashes.
    pub from_environment: Vec<&'static str>,
}

impl Flags {
    fn origin(&self, name: &str) -> Origin {
        if self.from_environment.contains(&name) {
            Origin::Environment
        } else {
            Origin::Flag
        }
    }
}

/// What is meant.
#[derive(Debug)]
pub struct Settings {
    /// Folder with the candidates.
    pub candidates: PathBuf,
    /// Folder with the objectives.
    pub objectives: PathBuf,
    /// Folder for results.
    pub artifacts: PathBuf,
    /// The object store that they go to as well.
    pub store: Option<Store>,
    /// Where candidates are to run.
    pub provider: ProviderChoice,
    /// Whether nothing but Daytona will do; then that is where.
    pub require_daytona: bool,
    /// Trials per candidate and objective, above the objectives'.
    pub repeat: Option<u32>,
    /// What is compared with what, and how much is spent on it.
    pub comparing: Comparing,
    /// Sandboxes at once.
    pub jobs: Option<usize>,
    /// Limits above the candidates' and objectives'.
    pub limits: LimitOverrides,
    /// When the whole run stops.
    pub deadline: Option<Duration>,
    /// The seed.
    pub seed: Option<u64>,
    /// What an hour of one sandbox costs, in US dollars, by the name of the provider.
    pub prices: BTreeMap<String, f64>,
    /// Which sandboxes are left.
    pub keep: Keep,
    /// Variables for every candidate.
    pub env: BTreeMap<String, String>,
    /// The networks, above the objectives'. What was typed, until [`Settings::place_networks`] adds what is
    /// written.
    pub network: NetworkOverrides,
    /// Values that are redacted everywhere.
    pub secrets: Vec<Secret>,
    /// What is to be said before the run.
    pub warnings: Vec<String>,
    /// Every setting as it was asked for, `-` where nobody said anything, for
    /// [`ForgeBuilder::recorded_settings`](crate::ForgeBuilder::recorded_settings).
    pub shown: BTreeMap<String, Setting>,
}

/// Resolves the layers. `variables` is the process's environment.
///
/// # Errors
/// Everything that is wrong in the flags, at once.
pub fn resolve(
    flags: &Flags,
    project: &Project,
    variables: &BTreeMap<String, String>,
) -> Result<Settings, Problems> {
    let mut problems = Problems::default();
    let network = networks::typed(flags, &mut problems);
    problems.0.extend(RootSandboxes::asked_by(variables).err());
    let Environment {
        env,
        secrets,
        warnings,
    } = environment(flags, project, variables, &mut problems);
    let mut layers = Layers {
        flags,
        shown: BTreeMap::new(),
    };
    let folder = |path: &PathBuf| path.display().to_string();
    let time = |time: &Duration| humantime::format_duration(*time).to_string();
    let candidates = layers.pick(
        "candidates",
        flags.candidates.as_ref(),
        project.candidates.as_ref(),
        folder,
    );
    let objectives = layers.pick(
        "objectives",
        flags.objectives.as_ref(),
        project.objectives.as_ref(),
        folder,
    );
    let typed = flags.artifacts.as_deref();
    let written = project.store.as_ref().map(|it| it.to_string().into());
    layers.pick(
        "artifacts",
        flags.artifacts.as_ref(),
        project.artifacts.as_ref().or(written.as_ref()),
        folder,
    );
    let store = store(typed, project, variables).unwrap_or_else(|problem| {
        problems.push(problem);
        None
    });
    let (provider, require_daytona) = place::resolve(&mut layers, project, &mut problems);
    let (comparing, repeat) = comparing::resolve(&mut layers, project, &mut problems);
    let jobs = layers.pick(
        "jobs",
        flags.jobs.as_ref(),
        project.jobs.as_ref(),
        u32::to_string,
    );
    let seed = layers.pick(
        "seed",
        flags.seed.as_ref(),
        project.seed.as_ref(),
        u64::to_string,
    );
    let deadline = layers.pick(
        "deadline",
        flags.deadline.as_ref(),
        project.deadline.as_ref(),
        time,
    );
    let limits = LimitOverrides {
        run: layers.pick(
            "timeout",
            flags.timeout.as_ref(),
            project.timeout.as_ref(),
            time,
        ),
        setup: layers.pick(
            "setup-timeout",
            flags.setup_timeout.as_ref(),
            project.setup_timeout.as_ref(),
            time,
        ),
        ..LimitOverrides::default()
    };
    layers.pick_recorded(&project.local);
    problems.or(Settings {
        candidates: candidates.unwrap_or_else(|| "candidates".into()),
        objectives: objectives.unwrap_or_else(|| "objectives".into()),
        artifacts: artifacts(typed, project),
        store,
        provider,
        require_daytona,
        repeat,
        comparing,
        jobs: jobs.and_then(|jobs| usize::try_from(jobs).ok()),
        limits,
        deadline,
        seed,
        prices: prices(project),
        keep: flags.keep.unwrap_or_default(),
        env,
        network,
        warnings,
        secrets,
        shown: layers.shown,
    })
}

fn prices(project: &Project) -> BTreeMap<String, f64> {
    let said = [
        ("container", project.container.price_per_hour),
        ("daytona", project.daytona.price_per_hour),
        ("local", project.local.price_per_hour),
    ];
    let said = said.into_iter();
    said.filter_map(|(name, price)| Some((name.to_owned(), price?)))
        .collect()
}

/// Variables by which version managers find their interpreters, and uv and pip what the user set up.
const INTERPRETER_PREFIXES: [&str; 8] = [
    "PYENV_", "ASDF_", "MISE_", "UV_", "NODENV_", "RBENV_", "VOLTA_", "XDG_",
];

/// How this machine is used for sandboxes, with a `forge` found beside the running program or on `PATH` as
/// the helper; forge itself sets its own program instead.
pub async fn local_options(variables: &BTreeMap<String, String>) -> LocalOptions {
    let mut options = local_options_without_helper(variables);
    options.helper = crate::sandbox::local::find_helper(&options.path).await;
    options
}

/// The same without looking for a helper.
#[must_use]
pub fn local_options_without_helper(variables: &BTreeMap<String, String>) -> LocalOptions {
    let own = |name: &str| {
        let value = variables.get(name);
        value.filter(|value| !value.is_empty()).cloned()
    };
    let wanted = |name: &str| {
        let mut prefixes = INTERPRETER_PREFIXES.iter();
        name == "HOME" || prefixes.any(|prefix| name.starts_with(prefix))
    };
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let cache = own("XDG_CACHE_HOME")
        .and_then(|folder| absolute(folder.into()))
        .or_else(|| absolute(PathBuf::from(own("HOME")?).join(".cache")));
    let base = PathBuf::from(own("TMPDIR").unwrap_or_else(|| "/tmp".to_owned()));
    // A candidate works in another directory than forge, so that a relative path would lead it astray.
    let base = std::path::absolute(&base).unwrap_or(base);
    let path = own("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let mut options = LocalOptions::new(base, path, None);
    let chosen = |wanted: &dyn Fn(&str) -> bool| {
        let chosen = variables.iter().filter(|(name, _)| wanted(name));
        chosen
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    options.root = RootSandboxes::set_by(variables);
    options.cache = cache.map(|folder| folder.join("forge"));
    options.interpreter_env = chosen(&wanted);
    options.network_env = chosen(&|name| NETWORK_NAMES.contains(&name));
    options
}

/// Variables that say whom this machine trusts on the network. Every candidate of a local run gets them.
const NETWORK_NAMES: [&str; 5] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
];

/// Reads `forge.yaml` of a project's folder; everything is absent when there is none.
///
/// # Errors
/// Everything that is wrong in it, at once.
pub fn project(root: &Path) -> Result<Project, Problems> {
    let path = root.join("forge.yaml");
    if path.symlink_metadata().is_err() {
        return Ok(Project::default());
    }
    Project::load(&path)
}

/// The dotenv files of a project, best first.
const DOTENV: [&str; 2] = [".env.local", ".env"];
/// A dotenv file larger than this is not one.
const DOTENV_LIMIT: ByteCount = ByteCount::kib(64);

/// Daytona's configuration, by the process's environment and the dotenv files of a project's folder.
#[must_use]
pub fn daytona(variables: &BTreeMap<String, String>, root: &Path) -> Resolved {
    let read = |name: &str| {
        let text = crate::tree::read_text(&root.join(name), DOTENV_LIMIT).ok()?;
        Some((name.to_owned(), parse_dotenv(&text)))
    };
    let files: Vec<_> = DOTENV.iter().filter_map(|name| read(name)).collect();
    DaytonaConfig::resolve(&|name| variables.get(name).cloned(), &files)
}

/// Whether Daytona is configured, by the process's environment and the dotenv files of the current
/// directory: a key that is no placeholder.
#[must_use]
pub fn is_daytona_configured() -> bool {
    daytona(&variables(), Path::new(".")).config.is_some()
}
