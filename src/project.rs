//! `forge.yaml`: the defaults of a project, as far as somebody has said them.
//!
//! Promises: every field is optional and, when it is there, in range. Keys, tokens and URLs are refused:
//! a project that was cloned from somewhere must not decide to whom a key is sent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::lint::{self, Rule};
use crate::name::RelativePath;
use crate::objects::Address;
use crate::policy::{self, NetworkOverrides};
use crate::problem::{Problem, Problems};
use crate::quantity::ByteCount;
use crate::sandbox::local::{Isolation, RootSandboxes};
use crate::tree::{Folder, read_text, reason};
use crate::yaml::MAX_YAML_BYTES;
use crate::yaml::decode::{Value, document};

mod compare;
pub mod container;

#[cfg(test)]
pub(crate) use compare::{BASELINE_KEYS, COMPARE_KEYS};
pub use compare::{CompareDefaults, Repeat};
pub use container::{ContainerDefaults, ImageSource};

/// The most sandboxes at once that may be asked for.
pub const MAX_JOBS: u32 = 10_000;

pub(crate) const KEYS: [&str; 20] = [
    "jobs",
    "repeat",
    "timeout",
    "setup_timeout",
    "deadline",
    "seed",
    "provider",
    "require",
    "daytona",
    "local",
    "container",
    "secrets",
    "candidates",
    "objectives",
    "artifacts",
    "env",
    "network",
    "compare",
    "baseline",
    "allow",
];
pub(crate) const DAYTONA_KEYS: [&str; 9] = [
    "snapshot",
    "image",
    "target",
    "network",
    "auto_stop",
    "cpu",
    "memory",
    "disk",
    "price_per_hour",
];
pub(crate) const LOCAL_KEYS: [&str; 7] = [
    "isolation",
    "root",
    "memory",
    "disk",
    "processes",
    "network",
    "price_per_hour",
];

/// Where trials run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderChoice {
    /// On this machine.
    Local,
    /// In Daytona sandboxes.
    Daytona,
    /// In containers.
    Container,
}

/// `daytona:` of a project.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DaytonaDefaults {
    /// The snapshot that sandboxes start from; excludes `image`.
    pub snapshot: Option<String>,
    /// The container image that they start from; excludes `snapshot`.
    pub image: Option<String>,
    /// The region.
    pub target: Option<String>,
    /// What candidates may reach.
    pub network: NetworkOverrides,
    /// After how long without use a sandbox stops by itself.
    pub auto_stop: Option<Duration>,
    /// Cores of a sandbox.
    pub cpu: Option<u32>,
    /// Memory of a sandbox.
    pub memory: Option<ByteCount>,
    /// Disk of a sandbox.
    pub disk: Option<ByteCount>,
    /// What an hour of one sandbox costs, in US dollars, at least 0.
    pub price_per_hour: Option<f64>,
}

/// `local:` of a project.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LocalDefaults {
    /// What keeps candidates apart.
    pub isolation: Option<Isolation>,
    /// What becomes of sandboxes that would be root.
    pub root: Option<RootSandboxes>,
    /// Memory of a candidate.
    pub memory: Option<ByteCount>,
    /// Disk of a candidate.
    pub disk: Option<ByteCount>,
    /// Processes of a candidate.
    pub processes: Option<u32>,
    /// What candidates may reach.
    pub network: NetworkOverrides,
    /// What an hour of one candidate on this machine costs, in US dollars, at least 0.
    pub price_per_hour: Option<f64>,
}

/// What a `forge.yaml` says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Project {
    /// Sandboxes at once, 1 to [`MAX_JOBS`].
    pub jobs: Option<u32>,
    /// Trials per candidate and objective, 1 to [`MAX_REPEAT`](crate::objective::yaml::MAX_REPEAT).
    pub repeat: Option<Repeat>,
    /// Limit of a run phase.
    pub timeout: Option<Duration>,
    /// Limit of a setup phase.
    pub setup_timeout: Option<Duration>,
    /// Limit of the whole run.
    pub deadline: Option<Duration>,
    /// For the order of trials and for resampling.
    pub seed: Option<u64>,
    /// Where trials run.
    pub provider: Option<ProviderChoice>,
    /// Whether anywhere else is refused.
    pub require: Option<bool>,
    /// Daytona sandboxes.
    pub daytona: DaytonaDefaults,
    /// Local sandboxes.
    pub local: LocalDefaults,
    /// Containers.
    pub container: ContainerDefaults,
    /// Names of variables whose values are always redacted.
    pub secrets: Option<Vec<String>>,
    /// The folder of candidates; like the next two, relative to the folder of `forge.yaml`.
    pub candidates: Option<PathBuf>,
    /// The folder of objectives.
    pub objectives: Option<PathBuf>,
    /// The folder of artifacts; excludes `store`, which is written in its place.
    pub artifacts: Option<PathBuf>,
    /// The object store that artifacts go to as well.
    pub store: Option<Address>,
    /// Variables of every candidate.
    pub env: Option<BTreeMap<String, String>>,
    /// What candidates may reach, wherever they run.
    pub network: NetworkOverrides,
    /// What is compared, and with what.
    pub compare: CompareDefaults,
    /// Rules of `forge check` that say nothing here.
    pub allow: Vec<Rule>,
}

impl Project {
    /// Loads a `forge.yaml`; one that is not there says nothing.
    ///
    /// # Errors
    /// [`Problems`]: all that is wrong with it.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        if std::fs::symlink_metadata(path)
            .is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        {
            return Ok(Self::default());
        }
        let cannot = |why: String| Problem::file(path, format!("cannot read this file: {why}"));
        let folder = path.parent().unwrap_or(Path::new("."));
        let name = path.file_name().map(|name| name.to_string_lossy());
        let name = RelativePath::parse(&name.unwrap_or_default())
            .map_err(|error| cannot(error.to_string()))?;
        Folder::open(folder)
            .map_err(|error| cannot(reason(&error)))?
            .file(&name)
            .map_err(|obstacle| cannot(format!("it {}", obstacle.message)))?;
        let text = read_text(path, ByteCount(MAX_YAML_BYTES))?;
        if text
            .lines()
            .all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
        {
            return Ok(Self::default());
        }
        document(path, &text, "the settings of a project", |root| {
            project(root, folder)
        })
    }
}

/// Where artifacts go.
enum Place {
    Folder(PathBuf),
    Store(Address),
}

fn project(root: &Value<'_>, folder: &Path) -> Option<Project> {
    let fields = root.map("")?;
    let known: Vec<&str> = fields
        .iter()
        .map(|(key, _)| key)
        .filter(|key| refuse_key(&fields, key))
        .collect();
    fields.refuse_others("key", &[KEYS.as_slice(), known.as_slice()].concat());
    let folder_at = |value: &Value<'_>| value.filled_text("a folder").map(|text| folder.join(text));
    let jobs = fields.optional("jobs", |value| {
        value.whole(1..=MAX_JOBS, "for example `jobs: 20`")
    });
    let repeat = fields.optional("repeat", compare::repeat);
    let timeout = fields.optional("timeout", policy::duration);
    let setup_timeout = fields.optional("setup_timeout", policy::duration);
    let deadline = fields.optional("deadline", policy::duration);
    let seed = fields.optional("seed", |value| {
        value.whole(0..=u64::MAX, "for example `seed: 7`")
    });
    let provider = fields.optional("provider", |value| {
        value.word(&[
            ("local", ProviderChoice::Local),
            ("daytona", ProviderChoice::Daytona),
            ("container", ProviderChoice::Container),
        ])
    });
    let require = fields.optional("require", Value::truth);
    let daytona = fields.optional("daytona", daytona);
    let local = fields.optional("local", local);
    let container = fields.optional("container", |it| container::container(it, folder));
    let secrets = fields.optional("secrets", secrets);
    let candidates = fields.optional("candidates", folder_at);
    let objectives = fields.optional("objectives", folder_at);
    let artifacts = fields.optional("artifacts", |value| {
        let text = value.filled_text("a folder, or s3://BUCKET/PREFIX")?;
        if !Address::is_meant(text) {
            return Some(Place::Folder(folder.join(text)));
        }
        match Address::parse(text) {
            Ok(address) => Some(Place::Store(address)),
            Err(error) => value.problem(
                error.to_string(),
                "for example `artifacts: s3://results/forge`; how it is reached is said by `AWS_` variables",
            ),
        }
    });
    let env = fields.optional("env", policy::env);
    let network = fields.optional("network", policy::networks);
    let compare = compare::compare(&fields);
    let allow = fields.optional("allow", lint::allowed);
    let (artifacts, store) = match artifacts? {
        Some(Place::Folder(folder)) => (Some(folder), None),
        Some(Place::Store(address)) => (None, Some(address)),
        None => (None, None),
    };
    Some(Project {
        jobs: jobs?,
        repeat: repeat?,
        timeout: timeout?,
        setup_timeout: setup_timeout?,
        deadline: deadline?,
        seed: seed?,
        provider: provider?,
        require: require?,
        daytona: daytona?.unwrap_or_default(),
        local: local?.unwrap_or_default(),
        container: container?.unwrap_or_default(),
        secrets: secrets?,
        candidates: candidates?,
        objectives: objectives?,
        artifacts,
        store,
        env: env?,
        network: network?.unwrap_or_default(),
        compare: compare?,
        allow: allow?.unwrap_or_default(),
    })
}

/// Refuses a key that is known, but not for here; says whether it did.
fn refuse_key(fields: &crate::yaml::decode::Fields<'_>, key: &str) -> bool {
    let (message, hint) = match key {
        "url" | "api_url" | "server_url" | "base_url" => (
            "a URL never comes from `forge.yaml`",
            "set `DAYTONA_API_URL` in the environment, or in `.env` beside the key",
        ),
        "key" | "api_key" | "token" | "jwt_token" | "organization_id" => (
            "a key never comes from `forge.yaml`",
            "set `DAYTONA_API_KEY` in the environment or in `.env`, and replace the key if it was shared",
        ),
        _ => return false,
    };
    let _: Option<()> = fields.key_problem(key, message, hint);
    true
}

fn daytona(value: &Value<'_>) -> Option<DaytonaDefaults> {
    let fields = value.map("for example `daytona: {snapshot: daytona-small, target: eu}`")?;
    let refused: Vec<&str> = fields
        .iter()
        .map(|(key, _)| key)
        .filter(|key| refuse_key(&fields, key))
        .collect();
    fields.refuse_others(
        "key",
        &[DAYTONA_KEYS.as_slice(), refused.as_slice()].concat(),
    );
    let name = |value: &Value<'_>| {
        value
            .filled_text("a name")
            .map(|text| text.trim().to_owned())
    };
    let snapshot = fields.optional("snapshot", name);
    let image = fields.optional("image", name);
    let target = fields.optional("target", name);
    let network = fields.optional("network", policy::networks);
    let auto_stop = fields.optional("auto_stop", policy::duration);
    let cpu = fields.optional("cpu", |value| {
        value.whole(1..=1024, "a number of cores, for example `cpu: 2`")
    });
    let memory = fields.optional("memory", policy::byte_count);
    let disk = fields.optional("disk", policy::byte_count);
    let price_per_hour = fields.optional("price_per_hour", price);
    if fields.get("snapshot").is_some() && fields.get("image").is_some() {
        return fields.key_problem(
            "image",
            "`image` and `snapshot` exclude each other",
            "a snapshot is an image that is ready to start; keep one of the two",
        );
    }
    Some(DaytonaDefaults {
        snapshot: snapshot?,
        image: image?,
        target: target?,
        network: network?.unwrap_or_default(),
        auto_stop: auto_stop?,
        cpu: cpu?,
        memory: memory?,
        disk: disk?,
        price_per_hour: price_per_hour?,
    })
}

fn local(value: &Value<'_>) -> Option<LocalDefaults> {
    let fields = value.fields(
        "key",
        &LOCAL_KEYS,
        "for example `local: {memory: 2GiB, processes: 256}`",
    )?;
    let isolation = fields.optional("isolation", |value| {
        value.word(&[
            ("auto", Isolation::Auto),
            ("namespaces", Isolation::Namespaces),
            ("landlock", Isolation::Landlock),
            ("process", Isolation::Process),
        ])
    });
    let root = fields.optional("root", |value| value.word(&RootSandboxes::WORDS));
    let memory = fields.optional("memory", |value| at_least(value, ByteCount::mib(16)));
    let disk = fields.optional("disk", |value| at_least(value, ByteCount::mib(1)));
    let processes = fields.optional("processes", |value| {
        value.whole(
            1..=1_000_000,
            "a number of processes, for example `processes: 256`",
        )
    });
    let network = fields.optional("network", policy::networks);
    let price_per_hour = fields.optional("price_per_hour", price);
    Some(LocalDefaults {
        isolation: isolation?,
        root: root?,
        memory: memory?,
        disk: disk?,
        processes: processes?,
        network: network?.unwrap_or_default(),
        price_per_hour: price_per_hour?,
    })
}

/// US dollars.
fn price(value: &Value<'_>) -> Option<f64> {
    let hint =
        "what an hour of one sandbox costs, in US dollars, for example `price_per_hour: 0.08`";
    let price = value.number(hint)?;
    if price < 0.0 {
        return value.wrong("a number of at least 0", hint);
    }
    Some(price)
}

/// A size that leaves a program room to start.
fn at_least(value: &Value<'_>, least: ByteCount) -> Option<ByteCount> {
    let size = policy::byte_count(value)?;
    if size.0 < least.0 {
        let hint = format!("at least {least}; a number alone is one of bytes");
        return value.problem(format!("{size} leave a program no room"), hint);
    }
    Some(size)
}

/// Names only. What is no name is not repeated: it could be the secret itself.
fn secrets(value: &Value<'_>) -> Option<Vec<String>> {
    let hint = "names of variables, for example `secrets: [OPENAI_API_KEY]`; never their values";
    let mut seen = BTreeSet::new();
    let names = value.each(hint, |item| {
        let text = item.text(hint)?;
        match policy::check_variable(text) {
            Ok(()) => Some(text.to_owned()),
            Err(why) => item.problem(why, hint),
        }
    })?;
    Some(
        names
            .into_iter()
            .filter(|name| seen.insert(name.clone()))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Project, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("forge.yaml");
        std::fs::write(&path, text).unwrap();
        let short = |text: String| text.replace(&dir.path().display().to_string(), "DIR");
        let mut project = Project::load(&path).map_err(|problems| short(problems.to_string()))?;
        project.candidates = project
            .candidates
            .map(|path| PathBuf::from(short(path.display().to_string())));
        Ok(project)
    }

    #[test]
    fn every_default_can_be_said() {
        let project = read(
            "\
jobs: 20
repeat: 3
timeout: 90s
setup_timeout: 5m
deadline: 1h
seed: 7
provider: daytona
require: true
daytona: {snapshot: small, target: eu, network: open, auto_stop: 15m, cpu: 2, memory: 4GiB, disk: 8GiB}
local: {isolation: landlock, root: allow, memory: 2GiB, disk: 1GiB, processes: 256, network: '10.0.0.0/8,192.168.0.0/16'}
secrets: [OPENAI_API_KEY, OPENAI_API_KEY]
candidates: agents
env: {MODE: fast}
",
        )
        .unwrap();
        assert_eq!(project.jobs, Some(20));
        assert_eq!(project.deadline, Some(Duration::from_secs(3600)));
        assert_eq!(project.provider, Some(ProviderChoice::Daytona));
        assert_eq!(project.daytona.memory, Some(ByteCount::mib(4096)));
        assert_eq!(project.local.isolation, Some(Isolation::Landlock));
        assert_eq!(project.local.root, Some(RootSandboxes::Allow));
        let networks = vec!["10.0.0.0/8".to_owned(), "192.168.0.0/16".to_owned()];
        assert_eq!(
            project.local.network.run,
            Some(crate::sandbox::Network::Allow(networks))
        );
        assert_eq!(project.secrets, Some(vec!["OPENAI_API_KEY".to_owned()]));
        assert_eq!(project.candidates, Some(PathBuf::from("DIR/agents")));
    }

    #[test]
    fn a_sandbox_without_room_is_told_of() {
        let told = read("local: {memory: 512, disk: 64KiB}\n").unwrap_err();
        assert_eq!(
            told,
            "\
error: DIR/forge.yaml:1:17: local.memory: 512 B leave a program no room
  hint: at least 16 MiB; a number alone is one of bytes
error: DIR/forge.yaml:1:28: local.disk: 64 KiB leave a program no room
  hint: at least 1 MiB; a number alone is one of bytes"
        );
        assert!(read("local: {memory: 16MiB, disk: 1MiB}\n").is_ok());
    }

    #[test]
    fn silence_says_nothing() {
        for text in ["", "# nothing yet\n", "\u{feff}{}"] {
            assert_eq!(read(text), Ok(Project::default()), "{text:?}");
        }
        assert_eq!(
            Project::load(Path::new("/nowhere/forge.yaml")),
            Ok(Project::default())
        );
    }

    #[test]
    fn every_problem_is_told_and_no_secret_is_repeated() {
        let told = read(
            "\
jobs: 0
provider: dayton
baseline: {run: blessed, max_dorp: 5}
api_key: dtn_1234
daytona: {url: 'https://evil.example', snapshot: a, image: b, cpus: 2}
secrets: [sk-live-1234]
env: {PATH: /x, OK: 1}
require: yes
",
        )
        .unwrap_err();
        assert_eq!(
            told,
            "\
error: DIR/forge.yaml:1:7: jobs: expected a whole number from 1 to 10000, got the number 0
  hint: for example `jobs: 20`
error: DIR/forge.yaml:2:11: provider: unknown word \"dayton\"
  hint: did you mean `daytona`?
error: DIR/forge.yaml:3:26: baseline: unknown key `max_dorp`
  hint: did you mean `max_drop`?
error: DIR/forge.yaml:4:1: api_key: a key never comes from `forge.yaml`
  hint: set `DAYTONA_API_KEY` in the environment or in `.env`, and replace the key if it was shared
error: DIR/forge.yaml:5:11: daytona.url: a URL never comes from `forge.yaml`
  hint: set `DAYTONA_API_URL` in the environment, or in `.env` beside the key
error: DIR/forge.yaml:5:53: daytona.image: `image` and `snapshot` exclude each other
  hint: a snapshot is an image that is ready to start; keep one of the two
error: DIR/forge.yaml:5:63: daytona: unknown key `cpus`
  hint: did you mean `cpu`?
error: DIR/forge.yaml:6:11: secrets[0]: a variable's name has only letters, digits and `_`, and starts with no digit
  hint: names of variables, for example `secrets: [OPENAI_API_KEY]`; never their values
error: DIR/forge.yaml:7:7: env.PATH: `PATH` is set by forge for every candidate alike
  hint: give the variable another name
error: DIR/forge.yaml:7:21: env.OK: expected a text, got the number 1
  hint: put it into quotes to make it a text
error: DIR/forge.yaml:8:10: require: expected `true` or `false`, got the text \"yes\""
        );
        assert!(!told.contains("1234"));
    }
}
