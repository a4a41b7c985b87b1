//! Python environments as layers: an image with the packages, made once for everything that needs the same, in a
//! container of its own.
//!
//! Promises: nothing of the candidate is in a layer but the list of its packages, and nobody who asked for another
//! list, image or source of packages gets it; no secret is written into one; whatever a layer cannot be made for, it
//! is tried once a run, and no trial fails by it: its environment is then made inside, as if there were no layers. A
//! layer that could not be made leaves nothing, also where nobody waits for it any more. The container that makes it
//! has the run's label, by which it is found like any other, and ends by itself when forge is gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use sha2::Digest as _;
use tokio::sync::{OnceCell, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::create::{self, Household, LAYER_HOME, Who};
use super::engine::Engine;
use super::images::{LABEL_LAYER, Prepared, REPOSITORY};
use super::place::ContainerSandbox;
use super::{ContainerOptions, Images};
use crate::name::{RelativePath, SandboxId, SandboxName};
use crate::quantity::ByteCount;
use crate::sandbox::requirements::Requirements;
use crate::sandbox::{
    Area, Command, CommandEnd, Content, ErrorKind, Networks, OutputSink, PreparedPython,
    PythonEnvironment, PythonLayer, PythonPackages, Sandbox as _, SandboxError, SandboxSpec, Stage,
    Stream, Upload,
};

/// Changes whenever layers are made differently.
const FORMAT: &str = "2";
/// Where the environment is in a layer: in a folder that every container has and root may write to, beside
/// [`HOME`](create::HOME), which is in memory and so is in no image.
const ENVIRONMENT: &str = "/home/forge-python";
/// It is root's, who has no capabilities there either.
const HOUSEHOLD: Household = Household {
    who: Who::Root,
    home: LAYER_HOME,
};
/// What of an installer's output is kept.
const OUTPUT: ByteCount = ByteCount::kib(256);
/// How long the rest of it may take.
const REST: Duration = Duration::from_secs(300);

/// How much longer than its own limit somebody waits: whoever makes a layer deletes the container after that.
const TIDYING: Duration = Duration::from_secs(10);

const MAKE: &str = "make a layer of Python packages";

/// A layer that is there.
#[derive(Debug, Clone)]
pub(crate) struct Layered {
    /// The image to take.
    pub(crate) image: Prepared,
    /// What was done, as people would type it.
    shown: String,
    /// What the installers printed.
    pub(crate) output: Arc<[u8]>,
}

impl Layered {
    /// What there is to tell.
    pub(crate) fn prepared(&self) -> PreparedPython {
        PreparedPython {
            python: format!("{ENVIRONMENT}/bin/python"),
            shown: self.shown.clone(),
            end: CommandEnd::Exited(0),
            said: String::new(),
        }
    }
}

/// `None` where it could not be made.
type Cell = Arc<OnceCell<Option<Layered>>>;

type Making = tokio::sync::Mutex<JoinSet<()>>;

/// The layers of a run.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    known: Mutex<HashMap<String, Cell>>,
    /// Whoever makes one, until its container has been deleted.
    making: Making,
}

impl Layers {
    /// The layer that a sandbox is to be made from. `None` where its environment is to be made inside.
    pub(crate) async fn prepare(
        &self,
        engine: &Arc<Engine>,
        images: &Images,
        options: &Arc<ContainerOptions>,
        spec: &SandboxSpec,
        image: &Prepared,
    ) -> Option<Layered> {
        let wanted = spec.python.as_ref()?;
        let environment = &wanted.environment;
        if environment.offline {
            return None;
        }
        let requirements = requirements(wanted)?;
        let key = key(image, wanted, &requirements);
        let name = format!("{REPOSITORY}:{}", &key[..32]);
        let cell = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(name.clone()).or_default().clone()
        };
        let maker = Maker {
            engine: engine.clone(),
            options: options.clone(),
            spec: spec.clone(),
            image: image.clone(),
            environment: environment.clone(),
            pythons: wanted.pythons.clone(),
            requirements,
            name,
        };
        let made = cell.get_or_init(|| async {
            let what = maker.shown();
            match maker.find_or_make(images, &self.making).await {
                Ok(layered) => Some(layered),
                Err(error) => {
                    tracing::warn!(%error, "`{what}` is done in each sandbox");
                    None
                }
            }
        });
        // One who has less time than whoever makes it goes on without.
        let made = timeout(environment.limit + TIDYING, made).await;
        made.ok().cloned().flatten()
    }

    /// Waits until no container is there, or about to be, that makes a layer: but for one whose delete failed.
    pub(crate) async fn settled(&self) {
        let mut making = self.making.lock().await;
        while making.join_next().await.is_some() {}
    }

    /// Forgets what is there: some of it has gone.
    pub(crate) fn forget(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clear();
    }
}

/// What is to be installed; `None` where that takes files of the candidate's, or names addresses.
fn requirements(wanted: &PythonLayer) -> Option<Requirements> {
    let read = match &wanted.environment.packages {
        PythonPackages::File(file) => Requirements::read(&wanted.folder, file.as_str()),
        PythonPackages::Inline { packages } => Requirements::inline(&wanted.folder, packages),
    };
    let folder = wanted.folder.to_string_lossy();
    read.ok()
        .filter(|it| !it.has_own_wheels && !it.text.contains(&*folder))
}

/// What tells one layer from another.
fn key(image: &Prepared, wanted: &PythonLayer, requirements: &Requirements) -> String {
    let mut digest = requirements.digest.clone();
    let mut say = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    say(FORMAT);
    say(&image.id);
    for python in &wanted.pythons {
        say(python);
    }
    let installers = wanted.environment.installers.without_credentials();
    for (name, value) in installers.variables() {
        say(name);
        say(value);
    }
    HEXLOWER.encode(&digest.finalize())
}

/// Makes one layer.
#[derive(Debug, Clone)]
struct Maker {
    engine: Arc<Engine>,
    options: Arc<ContainerOptions>,
    spec: SandboxSpec,
    image: Prepared,
    environment: PythonEnvironment,
    pythons: Vec<String>,
    requirements: Requirements,
    name: String,
}

impl Maker {
    /// What is done, as people would type it.
    fn shown(&self) -> String {
        let shown = match &self.environment.packages {
            PythonPackages::File(file) => format!("pip install -r {file}"),
            PythonPackages::Inline { packages } => format!("pip install {}", packages.join(" ")),
        };
        crate::plain::short(&shown, 80)
    }

    fn layered(&self, id: String, output: Vec<u8>) -> Layered {
        Layered {
            shown: self.shown(),
            // Who the programs are is the business of the image below.
            image: Prepared {
                id,
                ..self.image.clone()
            },
            output: output.into(),
        }
    }

    async fn find_or_make(
        &self,
        images: &Images,
        making: &Making,
    ) -> Result<Layered, SandboxError> {
        if let Some(there) = images.look(&self.name).await? {
            return Ok(self.layered(there.id, Vec::new()));
        }
        // In a task of its own, which deletes the container also when nobody waits any more.
        let (mut to, made) = oneshot::channel();
        let maker = self.clone();
        let mut making = making.lock().await;
        while making.try_join_next().is_some() {}
        making.spawn(async move {
            let made = maker.make(to.closed()).await;
            // Whoever has gone knows.
            drop(to.send(made));
        });
        drop(making);
        made.await.unwrap_or_else(|_| {
            let what = "whoever makes it panicked";
            Err(SandboxError::new(ErrorKind::Protocol, MAKE, what))
        })
    }

    async fn make(self, gone: impl Future<Output = ()>) -> Result<Layered, SandboxError> {
        let spec = SandboxSpec {
            name: SandboxName::existing(&format!("{}-layer", self.spec.name)),
            lifetime: self.environment.limit + REST,
            networks: Networks::same(self.spec.networks.setup.clone()),
            image: None,
            python: None,
            may_be_kept: false,
            ..self.spec.clone()
        };
        let body = create::body(
            &spec,
            &self.options,
            &self.image,
            HOUSEHOLD,
            jiff::Timestamp::now(),
        );
        let id = self.engine.create(spec.name.as_str(), &body).await?;
        let limit = self.environment.limit;
        let made = tokio::select! {
            made = timeout(limit, self.fill(&id, &spec)) => made.unwrap_or_else(|_| {
                let waited = crate::quantity::show_duration(limit);
                let what = format!("it was not done within {waited}");
                Err(SandboxError::new(ErrorKind::TimedOut, MAKE, what))
            }),
            () = gone => {
                let what = "nobody waits for it any more";
                Err(SandboxError::new(ErrorKind::Stopped, MAKE, what))
            }
        };
        // One that cannot be deleted now ends when the line to it does, and is then found by its label.
        drop(self.engine.delete(&id).await);
        made
    }

    async fn fill(&self, id: &str, spec: &SandboxSpec) -> Result<Layered, SandboxError> {
        let id = SandboxId::new(id);
        let sandbox = ContainerSandbox::open(
            id.clone(),
            &self.engine,
            spec,
            &self.options,
            &self.image,
            HOUSEHOLD,
        )
        .await?;
        let mut files = Vec::new();
        for (name, text) in [
            ("requirements.txt", &self.requirements.text),
            ("constraints.txt", &self.requirements.constraints),
        ] {
            if let Ok(path) = RelativePath::parse(name) {
                files.push(Upload {
                    area: Area::Work,
                    path,
                    content: Content::Bytes(text.as_bytes().into()),
                    executable: false,
                });
            }
        }
        sandbox.upload(&files).await?;
        let own = [format!("{ENVIRONMENT}/bin/python")];
        let pip = [
            "-m",
            "pip",
            "install",
            "--no-input",
            "--quiet",
            "--no-cache-dir",
            "-c",
            "constraints.txt",
            "-r",
            "requirements.txt",
        ];
        let venv = ["-m", "venv", ENVIRONMENT];
        let mut output = Printed::default();
        for (pythons, arguments) in [(&self.pythons[..], &venv[..]), (&own, &pip)] {
            let command = self.step(pythons, arguments);
            let result = sandbox.run(&command, &mut output).await?;
            if result.end != CommandEnd::Exited(0) {
                return Err(failed(&command, &result.end, &output.0));
            }
        }
        let labels = BTreeMap::from([(LABEL_LAYER, "python")]);
        self.engine.commit(id.as_str(), &self.name, &labels).await?;
        let made = self.engine.image(&self.name).await?;
        Ok(self.layered(made.id, output.0))
    }

    fn step(&self, pythons: &[String], arguments: &[&str]) -> Command {
        let mut env = BTreeMap::new();
        self.environment.installers.add_to(&mut env);
        env.insert("PIP_DISABLE_PIP_VERSION_CHECK".to_owned(), "1".to_owned());
        Command {
            programs: pythons.iter().map(|python| vec![python.clone()]).collect(),
            arguments: arguments.iter().map(|&word| word.to_owned()).collect(),
            read: Vec::new(),
            env,
            limit: self.environment.limit,
            output_limit: OUTPUT,
            stage: Stage::Setup,
            then_collect: None,
        }
    }
}

/// A step that failed, with the last that was said.
fn failed(command: &Command, end: &CommandEnd, output: &[u8]) -> SandboxError {
    let text = String::from_utf8_lossy(output);
    let mut lines = text.lines().rev().map(str::trim);
    let said = lines.find(|line| !line.is_empty()).unwrap_or_default();
    let words = command.arguments.join(" ");
    let what = crate::plain::line(&format!("`python {words}`: {end:?}: {said}"));
    SandboxError::new(ErrorKind::Invalid, MAKE, what)
}

/// What was printed, in one.
#[derive(Default)]
struct Printed(Vec<u8>);

impl OutputSink for Printed {
    fn write(&mut self, _: Stream, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn dropped(&mut self, _: Stream, _: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::installers::Installers;

    fn wanted(text: &str) -> (tempfile::TempDir, PythonLayer) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("requirements.txt"), text).unwrap();
        let environment = PythonEnvironment {
            python: None,
            packages: PythonPackages::File(RelativePath::parse("requirements.txt").unwrap()),
            installers: Installers::default(),
            limit: Duration::from_secs(1),
            offline: false,
        };
        let wanted = PythonLayer {
            environment,
            pythons: vec!["python3".to_owned()],
            folder: folder.path().to_owned(),
        };
        (folder, wanted)
    }

    fn image(id: &str) -> Prepared {
        Prepared {
            id: id.to_owned(),
            name: "x".to_owned(),
            user: String::new(),
        }
    }

    #[test]
    fn only_plain_lists_become_layers_and_each_list_its_own() {
        let mut keys = std::collections::BTreeSet::new();
        for text in ["requests==2", "requests==2.1", "requests==2\nflask"] {
            let (_folder, wanted) = wanted(text);
            let requirements = requirements(&wanted).unwrap();
            for id in ["a", "b"] {
                for python in ["python3", "python3.11"] {
                    let pythons = vec![python.to_owned()];
                    let wanted = PythonLayer {
                        pythons,
                        ..wanted.clone()
                    };
                    assert!(keys.insert(key(&image(id), &wanted, &requirements)));
                }
            }
        }
        for text in [
            "./mine",
            "-e .",
            "x @ https://example.org/x.whl",
            "-r ../other.txt",
            "--index-url https://example.org",
        ] {
            let (_folder, wanted) = wanted(text);
            assert!(requirements(&wanted).is_none(), "{text}");
        }
    }
}
