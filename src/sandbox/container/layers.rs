//! Python environments as layers: an image with the packages, made once for everything that needs the same, in a
//! container of its own.
//!
//! Promises: nothing of the candidate is in a layer but the list of its packages, and nobody who asked for another
//! list, image or source of packages gets it; no secret is written into one; a layer that could not be made leaves
//! nothing. The container that makes it has the run's label, by which it is found like any other, and ends by itself
//! when forge is gone.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use data_encoding::HEXLOWER;
use sha2::Digest as _;
use tokio::sync::OnceCell;

use super::create::{self, Household, LAYER_HOME, Who};
use super::engine::Engine;
use super::images::{LABEL_LAYER, Prepared, REPOSITORY};
use super::place::ContainerSandbox;
use super::{ContainerOptions, Images};
use crate::name::{RelativePath, SandboxName};
use crate::quantity::ByteCount;
use crate::sandbox::requirements::Requirements;
use crate::sandbox::{
    Area, Command, CommandEnd, Content, Networks, OutputSink, PreparedPython, PythonEnvironment,
    PythonLayer, PythonPackages, Sandbox as _, SandboxError, SandboxSpec, Stage, Stream, Upload,
};

/// Changes whenever layers are made differently.
const FORMAT: &str = "1";
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

/// A layer, or an installer's failure.
#[derive(Debug, Clone)]
pub(crate) struct Layered {
    /// The image to take: the layer's, or where there is none, the one below it.
    pub(crate) image: Prepared,
    /// What there is to tell.
    pub(crate) prepared: PreparedPython,
    /// What the installers printed.
    pub(crate) output: Arc<[u8]>,
}

/// Why there is no layer.
enum Not {
    /// An installer failed; another trial may have more luck, or more time.
    Installed(Layered),
    /// The engine failed: then it is made inside the sandbox.
    Made,
}

type Cell = Arc<OnceCell<Layered>>;

/// The layers of a run.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    known: Mutex<HashMap<String, Cell>>,
}

impl Layers {
    /// The layer that a sandbox is to be made from. `None` where its environment is to be made inside.
    pub(crate) async fn prepare(
        &self,
        engine: &Arc<Engine>,
        images: &Images,
        options: &ContainerOptions,
        spec: &SandboxSpec,
        image: &Prepared,
    ) -> Option<Layered> {
        let wanted = spec.python.as_ref()?;
        let environment = &wanted.environment;
        if environment.offline {
            return None;
        }
        let requirements = requirements(wanted)?;
        let key = key(image, environment, &requirements);
        let name = format!("{REPOSITORY}:{}", &key[..32]);
        let cell = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            known.entry(name.clone()).or_default().clone()
        };
        let maker = Maker {
            engine,
            options,
            spec,
            image,
            environment,
            requirements: &requirements,
            name: &name,
        };
        let made = cell.get_or_try_init(|| async {
            match images.look(&name).await {
                Ok(Some(there)) => Ok(maker.layered(there, CommandEnd::Exited(0), Vec::new())),
                Ok(None) => maker.make().await,
                Err(_) => Err(Not::Made),
            }
        });
        match made.await {
            Ok(layered) => Some(layered.clone()),
            Err(Not::Installed(failed)) => Some(failed),
            Err(Not::Made) => None,
        }
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
fn key(image: &Prepared, environment: &PythonEnvironment, requirements: &Requirements) -> String {
    let mut digest = requirements.digest.clone();
    let mut say = |text: &str| {
        digest.update((text.len() as u64).to_le_bytes());
        digest.update(text);
    };
    say(FORMAT);
    say(&image.id);
    say(environment.python.as_deref().unwrap_or(""));
    for (name, value) in environment.installers.without_credentials().variables() {
        say(name);
        say(value);
    }
    HEXLOWER.encode(&digest.finalize())
}

/// Makes one layer.
struct Maker<'a> {
    engine: &'a Arc<Engine>,
    options: &'a ContainerOptions,
    spec: &'a SandboxSpec,
    image: &'a Prepared,
    environment: &'a PythonEnvironment,
    requirements: &'a Requirements,
    name: &'a str,
}

impl Maker<'_> {
    fn layered(&self, image: Prepared, end: CommandEnd, output: Vec<u8>) -> Layered {
        let shown = match &self.environment.packages {
            PythonPackages::File(file) => format!("pip install -r {file}"),
            PythonPackages::Inline { packages } => format!("pip install {}", packages.join(" ")),
        };
        let text = String::from_utf8_lossy(&output);
        let said = text
            .lines()
            .rev()
            .map(str::trim)
            .find(|line| !line.is_empty());
        Layered {
            prepared: PreparedPython {
                python: format!("{ENVIRONMENT}/bin/python"),
                shown: crate::plain::short(&shown, 80),
                said: if end == CommandEnd::Exited(0) {
                    String::new()
                } else {
                    said.unwrap_or_default().to_owned()
                },
                end,
            },
            // Who the programs are is the business of the image below.
            image: Prepared {
                id: image.id,
                ..self.image.clone()
            },
            output: output.into(),
        }
    }

    async fn make(&self) -> Result<Layered, Not> {
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
            self.options,
            self.image,
            HOUSEHOLD,
            jiff::Timestamp::now(),
        );
        let created = self.engine.create(spec.name.as_str(), &body).await;
        let id = created.map_err(|_| Not::Made)?;
        let made = self.fill(&id, &spec).await;
        // One that cannot be deleted now ends when the line to it does, and is then found by its label.
        drop(self.engine.delete(&id).await);
        match made {
            Ok(made) => made.map_err(Not::Installed),
            Err(_) => Err(Not::Made),
        }
    }

    async fn fill(
        &self,
        id: &str,
        spec: &SandboxSpec,
    ) -> Result<Result<Layered, Layered>, SandboxError> {
        let id = crate::name::SandboxId::new(id);
        let sandbox = ContainerSandbox::open(
            id.clone(),
            self.engine,
            spec,
            self.options,
            self.image,
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
        let python = self.environment.python.as_deref().unwrap_or("python3");
        let own = format!("{ENVIRONMENT}/bin/python");
        let pip = [
            &own,
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
        let mut output = Printed::default();
        for words in [&[python, "-m", "venv", ENVIRONMENT][..], &pip] {
            let result = sandbox.run(&self.step(words), &mut output).await?;
            if result.end != CommandEnd::Exited(0) {
                return Ok(Err(self.layered(self.image.clone(), result.end, output.0)));
            }
        }
        let labels = BTreeMap::from([(LABEL_LAYER, "python")]);
        self.engine.commit(id.as_str(), self.name, &labels).await?;
        let made = self.engine.image(self.name).await?;
        let image = Prepared {
            id: made.id,
            ..self.image.clone()
        };
        Ok(Ok(self.layered(image, CommandEnd::Exited(0), output.0)))
    }

    fn step(&self, words: &[&str]) -> Command {
        let mut env = BTreeMap::new();
        self.environment.installers.add_to(&mut env);
        env.insert("PIP_DISABLE_PIP_VERSION_CHECK".to_owned(), "1".to_owned());
        Command {
            programs: vec![vec![words[0].to_owned()]],
            arguments: words[1..].iter().map(|&word| word.to_owned()).collect(),
            read: Vec::new(),
            env,
            limit: self.environment.limit,
            output_limit: OUTPUT,
            stage: Stage::Setup,
            then_collect: None,
        }
    }
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
                assert!(keys.insert(key(&image(id), &wanted.environment, &requirements)));
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
