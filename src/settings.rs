//! Settings: what was typed, exported and written down, resolved once into what is meant.
//!
//! Flag > environment > `forge.yaml` > objective > default. The only file that reads the process's
//! environment, and only when it is called: the library's front door takes everything as arguments.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::event::Setting;
use crate::objective::LimitOverrides;
use crate::problem::{Problem, Problems};
use crate::project::{Project, ProviderChoice};
use crate::quantity::ByteCount;
use crate::sandbox::Network;
use crate::sandbox::daytona::{DaytonaConfig, Resolved, parse_dotenv};
use crate::sandbox::local::LocalOptions;
use crate::secret::Secret;
use crate::trial::Keep;

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

/// What was typed or exported. Everything is optional; [`Flags::origin`] tells the two apart.
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
    /// `--require-daytona`
    pub require_daytona: Option<bool>,
    /// `--repeat`
    pub repeat: Option<u32>,
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
    /// `--keep`
    pub keep: Option<Keep>,
    /// `--env`
    pub env: Vec<String>,
    /// `--pass-env`
    pub pass_env: Vec<String>,
    /// `--network`
    pub network: Option<String>,
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
    /// Whether Daytona was asked for.
    pub daytona: bool,
    /// Whether nothing but Daytona will do.
    pub require_daytona: bool,
    /// Trials per candidate and objective, above the objectives'.
    pub repeat: Option<u32>,
    /// Sandboxes at once.
    pub jobs: Option<usize>,
    /// Limits above the candidates' and objectives'.
    pub limits: LimitOverrides,
    /// When the whole run stops.
    pub deadline: Option<Duration>,
    /// The seed.
    pub seed: Option<u64>,
    /// Which sandboxes are left.
    pub keep: Keep,
    /// Variables for every candidate.
    pub env: BTreeMap<String, String>,
    /// The network policy, above the objectives'.
    pub network: Option<Network>,
    /// Values that are redacted everywhere.
    pub secrets: Vec<Secret>,
    /// Every setting in force, for the record.
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
    let mut shown = BTreeMap::new();
    let mut record = |name: &str, value: String, origin: Origin| {
        let origin = origin.as_str().to_owned();
        shown.insert(name.to_owned(), Setting { value, origin });
    };
    macro_rules! pick {
        ($name:literal, $flag:expr, $project:expr, $show:expr) => {
            pick(
                &mut record,
                $name,
                flags.origin($name),
                $flag,
                $project,
                $show,
            )
        };
    }
    let path = |path: &PathBuf| path.display().to_string();
    let time = |time: &Duration| humantime::format_duration(*time).to_string();
    let number = |number: &u64| number.to_string();
    let candidates = pick!(
        "candidates",
        flags.candidates.clone(),
        project.candidates.clone(),
        path
    );
    let objectives = pick!(
        "objectives",
        flags.objectives.clone(),
        project.objectives.clone(),
        path
    );
    let artifacts = pick!(
        "artifacts",
        flags.artifacts.clone(),
        project.artifacts.clone(),
        path
    );
    let repeat = pick!(
        "repeat",
        flags.repeat.map(u64::from),
        project.repeat.map(u64::from),
        number
    );
    let jobs = pick!(
        "jobs",
        flags.jobs.map(u64::from),
        project.jobs.map(u64::from),
        number
    );
    let timeout = pick!("timeout", flags.timeout, project.timeout, time);
    let setup = pick!(
        "setup-timeout",
        flags.setup_timeout,
        project.setup_timeout,
        time
    );
    let deadline = pick!("deadline", flags.deadline, project.deadline, time);
    let seed = pick!("seed", flags.seed, project.seed, number);
    let asked = flags.daytona.then_some(true);
    let written = project.provider.map(|provider| match provider {
        ProviderChoice::Daytona => true,
        ProviderChoice::Local => false,
    });
    let daytona = pick!("daytona", asked, written, bool::to_string).unwrap_or(false);
    let require_daytona = pick!(
        "require-daytona",
        flags.require_daytona,
        project.require,
        bool::to_string
    )
    .unwrap_or(false);

    let network = match flags.network.as_deref().map(crate::policy::parse_network) {
        None => project.network.clone(),
        Some(Ok(network)) => Some(network),
        Some(Err(message)) => {
            problems.push(Problem::setting("--network", message));
            None
        }
    };
    if let Some(text) = &flags.network {
        record("network", text.clone(), Origin::Flag);
    }
    let mut env = project.env.clone().unwrap_or_default();
    let mut secrets = Vec::new();
    for given in &flags.env {
        match given
            .split_once('=')
            .map(|(name, value)| (crate::policy::check_own_variable(name), name, value))
        {
            Some((Ok(()), name, value)) => drop(env.insert(name.to_owned(), value.to_owned())),
            Some((Err(message), ..)) => problems.push(Problem::setting("--env", message)),
            None => problems.push(
                Problem::setting("--env", format!("expected NAME=VALUE, got `{given}`"))
                    .with_hint("to pass a variable of this environment, use --pass-env NAME"),
            ),
        }
    }
    for given in &flags.pass_env {
        match crate::policy::parse_pass_env(given) {
            Err(message) => problems.push(Problem::setting("--pass-env", message)),
            Ok(pass) => match variables.get(&pass.host_name) {
                Some(value) => {
                    secrets.push(Secret::new(value.clone()));
                    env.insert(pass.name, value.clone());
                }
                None => problems.push(
                    Problem::setting(
                        "--pass-env",
                        format!("`{}` is not set in this environment", pass.host_name),
                    )
                    .with_hint(format!("export {}=…, or leave it out", pass.host_name)),
                ),
            },
        }
    }
    secrets.extend(
        project
            .secrets
            .iter()
            .flatten()
            .map(String::as_str)
            .chain(KEYS)
            .filter_map(|name| {
                variables
                    .get(name)
                    .filter(|value| !value.is_empty())
                    .map(|value| Secret::new(value.clone()))
            }),
    );
    problems.or(Settings {
        candidates: candidates.unwrap_or_else(|| "candidates".into()),
        objectives: objectives.unwrap_or_else(|| "objectives".into()),
        artifacts: artifacts.unwrap_or_else(|| "artifacts".into()),
        daytona: daytona || require_daytona,
        require_daytona,
        repeat: repeat.and_then(|it| u32::try_from(it).ok()),
        jobs: jobs.and_then(|it| usize::try_from(it).ok()),
        limits: LimitOverrides {
            run: timeout,
            setup,
            ..LimitOverrides::default()
        },
        deadline,
        seed,
        keep: flags.keep.unwrap_or_default(),
        env,
        network,
        secrets,
        shown,
    })
}

/// Forge's own keys: redacted everywhere, whoever prints them.
const KEYS: [&str; 2] = ["DAYTONA_API_KEY", "DAYTONA_JWT_TOKEN"];

fn pick<T>(
    record: &mut impl FnMut(&str, String, Origin),
    name: &str,
    typed: Origin,
    flag: Option<T>,
    project: Option<T>,
    show: impl Fn(&T) -> String,
) -> Option<T> {
    let (value, origin) = match (flag, project) {
        (Some(value), _) => (Some(value), typed),
        (None, Some(value)) => (Some(value), Origin::Project),
        (None, None) => (None, Origin::Default),
    };
    let text = value.as_ref().map_or_else(|| "-".to_owned(), show);
    record(name, text, origin);
    value
}

/// Variables by which Python version managers find their Pythons.
const INTERPRETER_PREFIXES: [&str; 4] = ["PYENV_", "ASDF_", "MISE_", "UV_PYTHON_"];

/// How this machine is used for sandboxes, with a `forge` found beside the running program or on `PATH` as
/// the keeper; forge itself sets its own program instead.
pub async fn local_options(variables: &BTreeMap<String, String>) -> LocalOptions {
    let mut options = local_options_without_helper(variables);
    options.helper = crate::sandbox::local::find_helper(&options.path).await;
    options
}

/// The same without looking for a keeper.
#[must_use]
pub fn local_options_without_helper(variables: &BTreeMap<String, String>) -> LocalOptions {
    let own = |name: &str| {
        variables
            .get(name)
            .filter(|value| !value.is_empty())
            .cloned()
    };
    let wanted = |name: &str| {
        name == "HOME"
            || INTERPRETER_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    LocalOptions {
        base: own("TMPDIR").unwrap_or_else(|| "/tmp".to_owned()).into(),
        path: own("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".to_owned()),
        helper: None,
        interpreter_env: variables
            .iter()
            .filter(|(name, _)| wanted(name))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    }
}

/// Variables that package installers need to reach a mirror or to trust a proxy. Passed to the installers
/// of the setup phase of local runs, and to nothing else.
const INSTALLER_PREFIXES: [&str; 3] = ["PIP_", "NPM_CONFIG_", "npm_config_"];
const INSTALLER_NAMES: [&str; 13] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// Those of these variables that package installers need.
#[must_use]
pub fn installer_env(variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let wanted = |name: &str| {
        INSTALLER_NAMES.contains(&name)
            || INSTALLER_PREFIXES
                .iter()
                .any(|prefix| name.starts_with(prefix))
    };
    let wanted = variables.iter().filter(|(name, _)| wanted(name));
    wanted
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

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
