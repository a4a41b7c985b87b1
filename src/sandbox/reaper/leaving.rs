//! A sandbox that notes what goes into it, for `requests.jsonl`: the one way in is the one place that is asked.

use std::hash::Hash as _;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tracing::Instrument as _;

use super::noted::Asked;
use crate::name::SandboxId;
use crate::python::PythonNeed;
use crate::sandbox::requests::{Left, LeftFile, Requests, Thing};
use crate::sandbox::{
    ArtifactSink, Collect, Collected, Command, CommandResult, Content, Created, FoundPython,
    Layout, OutputSink, PreparedPython, PythonEnvironment, PythonPackages, Sandbox, SandboxError,
    SandboxSpec, Upload,
};

/// Whose sandbox it is, by its labels.
#[derive(Debug)]
struct Whose {
    candidate: String,
    objective: String,
    grader: bool,
}

impl Whose {
    fn by(spec: &SandboxSpec) -> Self {
        let label = |name: &str| spec.labels.get(name).map(String::as_str);
        // The trial that is graded: its objective, candidate and repeat, none of which has a slash in it.
        let trial = label("forge.grader");
        let mut names = trial.unwrap_or_default().split('/');
        let (objective, candidate) = (names.next(), names.next());
        let either =
            |label: Option<&str>, name: Option<&str>| label.or(name).unwrap_or_default().to_owned();
        Self {
            candidate: either(label("forge.candidate"), candidate),
            objective: either(label("forge.objective"), objective),
            grader: trial.is_some(),
        }
    }
}

/// The same sandbox: what goes into it is noted, where anything is, and its start belongs to whoever asked for it.
pub(super) fn noting(created: Created, asked: &Asked, requests: Option<&Requests>) -> Created {
    let ready = created.ready.instrument(asked.span.clone());
    let Some(requests) = requests.cloned() else {
        return Created {
            ready: Box::pin(ready),
            ..created
        };
    };
    let whose = Whose::by(&asked.spec);
    let ready = async move {
        let sandbox = ready.await?;
        let leaving = Leaving {
            sandbox,
            whose,
            requests,
        };
        Ok(Box::new(leaving) as Box<dyn Sandbox>)
    };
    Created {
        ready: Box::pin(ready),
        ..created
    }
}

/// The sandbox.
#[derive(Debug)]
struct Leaving {
    sandbox: Box<dyn Sandbox>,
    whose: Whose,
    requests: Requests,
}

impl Leaving {
    fn note(
        &self,
        kind: &str,
        what: impl FnOnce(&mut std::hash::DefaultHasher),
        thing: impl FnOnce() -> Thing,
    ) {
        let Whose {
            candidate,
            objective,
            grader,
        } = &self.whose;
        self.requests.note_left(
            |hasher| {
                (kind, candidate, objective, grader).hash(hasher);
                what(hasher);
            },
            || Left {
                at: Timestamp::now(),
                candidate: candidate.clone(),
                objective: objective.clone(),
                grader: *grader,
                thing: thing(),
            },
        );
    }
}

fn left_file(upload: &Upload) -> LeftFile {
    let bytes = match &upload.content {
        Content::Bytes(bytes) => Some(bytes.len() as u64),
        Content::File(path) => std::fs::metadata(path).ok().map(|it| it.len()),
    };
    LeftFile {
        area: upload.area.as_str().to_owned(),
        path: upload.path.to_string(),
        bytes,
    }
}

impl Sandbox for Leaving {
    fn id(&self) -> &SandboxId {
        self.sandbox.id()
    }

    fn layout(&self) -> &Layout {
        self.sandbox.layout()
    }

    fn isolation(&self) -> &str {
        self.sandbox.isolation()
    }

    fn upload<'a>(&'a self, files: &'a [Upload]) -> BoxFuture<'a, Result<(), SandboxError>> {
        if !files.is_empty() {
            self.note(
                "files",
                |hasher| {
                    for file in files {
                        (file.area, file.path.as_str()).hash(hasher);
                    }
                },
                || Thing::Files {
                    files: files.iter().map(left_file).collect(),
                },
            );
        }
        self.sandbox.upload(files)
    }

    fn has_at_hand(&self, what: &Collect) -> bool {
        self.sandbox.has_at_hand(what)
    }

    fn find_python<'a>(
        &'a self,
        need: &'a PythonNeed,
    ) -> BoxFuture<'a, Result<FoundPython, SandboxError>> {
        self.sandbox.find_python(need)
    }

    fn prepare_python<'a>(
        &'a self,
        wanted: &'a PythonEnvironment,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<Option<PreparedPython>, SandboxError>> {
        Box::pin(async move {
            let prepared = self.sandbox.prepare_python(wanted, output).await?;
            if prepared.is_some() {
                let packages = match &wanted.packages {
                    PythonPackages::File(file) => vec![file.to_string()],
                    PythonPackages::Inline { packages } => packages.clone(),
                };
                self.note(
                    "packages",
                    |hasher| packages.hash(hasher),
                    || Thing::Packages {
                        packages: packages.clone(),
                    },
                );
            }
            Ok(prepared)
        })
    }

    fn run<'a>(
        &'a self,
        command: &'a Command,
        output: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<CommandResult, SandboxError>> {
        self.note(
            "command",
            |hasher| Thing::hash_command(command, hasher),
            || Thing::command(command),
        );
        self.sandbox.run(command, output)
    }

    fn collect<'a>(
        &'a self,
        what: &'a Collect,
        home: &'a mut dyn ArtifactSink,
    ) -> BoxFuture<'a, Result<Collected, SandboxError>> {
        self.sandbox.collect(what, home)
    }
}
