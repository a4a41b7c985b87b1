//! What goes into the sandbox of one trial, where, and what is started in it.

use std::collections::BTreeMap;

use super::{Job, World, needs};
use crate::candidate::{Dependencies, SourceFile};
use crate::name::{RelativePath, RunId};
use crate::sandbox::{
    Area, Collect, Command, Content, Layout, PythonEnvironment, PythonLayer, PythonPackages, Stage,
    Trust, Upload,
};

/// Starts a program so that what it starts finds the environment's Python, and the system's own shell where
/// there is no bash.
const WITH_ENVIRONMENT: &str = r#"PATH=$0/bin:$PATH; export PATH
[ "$1" != bash ] || command -v bash >/dev/null || { shift; set -- sh "$@"; }
exec "$@""#;

/// Where things are in the sandbox of one trial.
pub(super) struct Place {
    pub(super) layout: Layout,
    /// The artifact, below the working directory.
    pub(super) output: RelativePath,
    /// The virtual environment, if one is made inside the sandbox.
    venv: String,
    /// The Python that the candidate needs, where that is not the usual one.
    pub(super) base: Option<String>,
    /// The Python of the one that the provider has prepared outside, if it has.
    pub(super) prepared: Option<String>,
}

impl Place {
    pub(super) fn new(job: &Job, layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
            output: Self::output_of(job),
            venv: layout.environment(),
            base: None,
            prepared: None,
        }
    }

    fn output_of(job: &Job) -> RelativePath {
        // A candidate's name is a path component, so this is one too.
        RelativePath::parse(&format!("{}_output.md", job.id.candidate.base()))
            .unwrap_or_else(|_| crate::objective::default_output())
    }

    pub(super) fn output_path(&self) -> String {
        self.layout.path(Area::Work, &self.output)
    }

    /// The candidate's own files, but for one that stands where the output will.
    pub(super) fn own_files(job: &Job) -> Vec<Upload> {
        let output = Self::output_of(job);
        let files = job.candidate.files.iter();
        let own = files.filter(|file| file.path != output);
        own.map(own_file).collect()
    }

    /// Whether a file of the candidate's own stands where the output will.
    pub(super) fn ships_output(job: &Job) -> bool {
        let output = Self::output_of(job);
        job.candidate.files.iter().any(|file| file.path == output)
    }

    /// The inputs and the prompt: what is to be done.
    pub(super) fn task_files(job: &Job) -> Vec<Upload> {
        let inputs = job.objective.inputs.iter().filter_map(|input| {
            let path = RelativePath::parse(&format!("inputs/{}", input.path)).ok()?;
            let content = Content::File(input.from.clone());
            Some(Upload {
                area: Area::Work,
                path,
                content,
                executable: false,
            })
        });
        inputs.chain(prompt_file(&job.objective.prompt)).collect()
    }

    pub(super) fn env(&self, job: &Job, run: &RunId) -> BTreeMap<String, String> {
        let mut env = BTreeMap::clone(&job.env);
        let own = [
            ("FORGE_OBJECTIVE", job.objective.name.to_string()),
            ("FORGE_PROMPT", job.objective.prompt.to_string()),
            (
                "FORGE_PROMPT_FILE",
                format!("{}/{PROMPT_FILE}", self.layout.forge),
            ),
            ("FORGE_OUTPUT", self.output_path()),
            ("FORGE_ARTIFACTS", self.layout.artifacts.clone()),
            ("FORGE_INPUTS", format!("{}/inputs", self.layout.work)),
            ("FORGE_CANDIDATE", job.id.candidate.base().to_owned()),
            ("FORGE_RUN", run.to_string()),
            ("FORGE_TRIAL", job.id.to_string()),
            ("FORGE_SEED", job.seed.to_string()),
        ];
        env.extend(own.map(|(name, value)| (name.to_owned(), value)));
        env
    }

    pub(super) fn run_command(&self, job: &Job, world: &World, collect: Collect) -> Command {
        let start = &job.candidate.start;
        let environment = match &job.candidate.dependencies {
            Dependencies::PythonFile(_) | Dependencies::PythonInline { .. } => true,
            Dependencies::None | Dependencies::Node { .. } => false,
        };
        let programs = if environment && start.python {
            vec![vec![self.python(), "-u".to_owned()]]
        } else if environment {
            let first = ["sh", "-c", WITH_ENVIRONMENT, &self.venv].map(str::to_owned);
            let program = start.programs.first().into_iter().flatten().cloned();
            vec![first.into_iter().chain(program).collect()]
        } else if let Some(base) = self.base.as_ref().filter(|_| start.python) {
            vec![vec![base.clone(), "-u".to_owned()]]
        } else {
            start.programs.clone()
        };
        let mut arguments = start.entry.clone();
        arguments.extend([job.objective.prompt.to_string(), self.output_path()]);
        Command {
            programs,
            arguments,
            read: Vec::new(),
            env: self.env(job, &world.run),
            limit: job.limits.run,
            output_limit: job.limits.output,
            stage: Stage::Run,
            then_collect: Some(collect),
        }
    }

    /// The Python of the candidate's environment.
    fn python(&self) -> String {
        let inside = || format!("{}/bin/python", self.venv);
        self.prepared.clone().unwrap_or_else(inside)
    }

    /// The Python environment that the candidate needs, if it needs one that the provider may prepare. What
    /// starts a Python by itself finds only one that is made inside.
    pub(super) fn python_environment(&self, job: &Job, world: &World) -> Option<PythonEnvironment> {
        let packages = python_packages(job)?;
        Some(PythonEnvironment {
            python: self.base.clone(),
            packages,
            installers: world.installers.clone(),
            limit: job.limits.setup,
            offline: job.is_offline(),
        })
    }

    /// The Python environment that a sandbox may be made with: one for which nothing is told to installers but by
    /// forge's user.
    pub(super) fn python_layer(job: &Job, world: &World) -> Option<PythonLayer> {
        let candidate = &job.candidate;
        let packages = python_packages(job)?;
        let speaks = |name: &str| name.starts_with("PIP_") || name.starts_with("UV_");
        if job.env.keys().any(|name| speaks(name)) {
            return None;
        }
        let installers = match candidate.trust {
            Trust::Trusted => world.installers.clone(),
            Trust::Untrusted => world.installers.without_credentials(),
        };
        // Where a file of the candidate's is, less its path in there.
        let file = candidate.files.first()?;
        let depth = file.path.as_str().split('/').count();
        let folder = file.from.ancestors().nth(depth)?.to_owned();
        let environment = PythonEnvironment {
            python: None,
            packages,
            installers,
            limit: job.limits.setup,
            offline: job.is_offline(),
        };
        Some(PythonLayer {
            environment,
            pythons: needs::names(&candidate.python),
            folder,
        })
    }

    pub(super) fn setup_steps(&self, job: &Job, world: &World) -> Vec<Command> {
        // Who the user is, is said to installers outside, and inside only to those whom the user trusts.
        let told = match job.candidate.trust {
            Trust::Trusted => world.installers.clone(),
            Trust::Untrusted => world.installers.without_credentials(),
        };
        let read = told.paths();
        let step = |argv: &[&str], env: BTreeMap<String, String>| Command {
            programs: vec![vec![argv[0].to_owned()]],
            arguments: argv[1..].iter().map(|&it| it.to_owned()).collect(),
            read: read.clone(),
            env,
            limit: job.limits.setup,
            output_limit: job.limits.output,
            stage: Stage::Setup,
            then_collect: None,
        };
        let mut installer = BTreeMap::clone(&job.env);
        told.add_to(&mut installer);
        let mut own = installer.clone();
        // Its notice would come after the lines that say what is wrong.
        installer
            .entry("PIP_DISABLE_PIP_VERSION_CHECK".to_owned())
            .or_insert_with(|| "1".to_owned());
        job.tell_installers(&mut installer);
        let python = self.python();
        let pip = [
            python.as_str(),
            "-m",
            "pip",
            "install",
            "--no-input",
            "--quiet",
        ];
        let base = self.base.as_deref().unwrap_or(needs::USUAL);
        let mut steps = Vec::new();
        match &job.candidate.dependencies {
            Dependencies::None => {}
            Dependencies::PythonFile(_) | Dependencies::PythonInline { .. }
                if self.prepared.is_some() => {}
            Dependencies::PythonFile(file) => {
                steps.push(step(&[base, "-m", "venv", &self.venv], installer.clone()));
                steps.push(step(
                    &[&pip[..], &["-r", file.as_str()]].concat(),
                    installer,
                ));
            }
            Dependencies::PythonInline { packages, .. } => {
                let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
                steps.push(step(&[base, "-m", "venv", &self.venv], installer.clone()));
                steps.push(step(&[&pip[..], &["--"], &packages].concat(), installer));
            }
            Dependencies::Node { folder, locked } => {
                let verb = if *locked { "ci" } else { "install" };
                let folder = folder.as_ref().map_or(".", RelativePath::as_str);
                let argv = ["npm", verb, "--prefix", folder, "--no-audit", "--no-fund"];
                steps.push(step(&argv, installer));
            }
        }
        own.insert(
            "FORGE_CANDIDATE".to_owned(),
            job.id.candidate.base().to_owned(),
        );
        own.insert("FORGE_RUN".to_owned(), world.run.to_string());
        job.tell_installers(&mut own);
        steps.extend(
            job.candidate
                .setup
                .iter()
                .map(|line| step(&["sh", "-c", line], own.clone())),
        );
        steps
    }
}

/// The packages of a candidate that is started by a Python.
fn python_packages(job: &Job) -> Option<PythonPackages> {
    if !job.candidate.start.python {
        return None;
    }
    match &job.candidate.dependencies {
        Dependencies::None | Dependencies::Node { .. } => None,
        Dependencies::PythonFile(file) => Some(PythonPackages::File(file.clone())),
        Dependencies::PythonInline { packages, .. } => Some(PythonPackages::Inline {
            packages: packages.clone(),
        }),
    }
}

fn own_file(file: &SourceFile) -> Upload {
    Upload {
        area: Area::Work,
        path: file.path.clone(),
        content: Content::File(file.from.clone()),
        executable: file.executable,
    }
}

/// The prompt as a file, in [`Area::Forge`].
pub(super) const PROMPT_FILE: &str = "prompt.txt";

pub(super) fn prompt_file(prompt: &str) -> Option<Upload> {
    let path = RelativePath::parse(PROMPT_FILE).ok()?;
    let content = Content::Bytes(prompt.as_bytes().into());
    Some(Upload {
        area: Area::Forge,
        path,
        content,
        executable: false,
    })
}
