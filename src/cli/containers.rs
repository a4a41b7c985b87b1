//! Containers as the flags and the project want them, and whether a run in them can begin.

use std::collections::BTreeMap;
use std::sync::Arc;

use forge::candidate::Candidate;
use forge::exit::ExitCode as End;
use forge::objective::Objective;
use forge::policy::NetworkOverrides;
use forge::problem::{Problem, Problems};
use forge::project::{ContainerDefaults, ImageSource, Project};
use forge::sandbox::container::{ContainerOptions, Containers, check_networks};
use forge::sandbox::{ErrorKind, Image, Networks, SandboxError};
use forge::settings::{self, Settings};

use super::RunArgs;

/// Containers, and what is told of them.
pub(super) struct Chosen {
    pub(super) containers: Arc<Containers>,
    pub(super) line: String,
}

/// What was typed of containers.
fn typed(args: &RunArgs) -> ContainerDefaults {
    ContainerDefaults {
        image: args.image.clone().map(ImageSource::Named),
        memory: args.memory,
        millicpus: args.cpu.map(|cores| cores.0),
        disk: args.disk,
        ..ContainerDefaults::default()
    }
}

/// Decides how containers are to be and finds their engine; records it among the settings.
pub(super) fn choose(
    args: &RunArgs,
    settings: &mut Settings,
    project: &Project,
    variables: &BTreeMap<String, String>,
) -> Result<Chosen, Problems> {
    let mut problems = Problems::default();
    let elsewhere = [
        ("--isolation", args.isolation.is_some(), "local sandboxes"),
        ("--snapshot", args.snapshot.is_some(), "Daytona"),
        ("--target", args.target.is_some(), "Daytona"),
    ];
    for (flag, is_typed, whose) in elsewhere {
        if is_typed {
            let message = format!("that is for {whose}, and candidates are to run in containers");
            problems.push(Problem::setting(flag, message));
        }
    }
    let typed = typed(args);
    let said = typed.over(&project.container);
    let options = settings::container_options(&said);
    let options = options.map_err(|more| problems.0.extend(more.0)).ok();
    let engine = settings::engine(variables);
    let engine = engine.map_err(|problem| problems.push(problem)).ok();
    let (Some(options), Some(engine)) = (options, engine) else {
        return Err(problems);
    };
    settings.record_containers(&typed, &project.container, &options);
    let line = format!("  (image {}, engine at {engine})", said.shown_image());
    let options = ContainerOptions {
        host: super::mode::host(),
        ..options
    };
    match settings::connect(&engine, options) {
        Ok(containers) => problems.or(Chosen {
            containers: Arc::new(containers),
            line: forge::plain::ends(&line, 400),
        }),
        Err(problem) => {
            problems.push(problem);
            Err(problems)
        }
    }
}

/// The networks that a run's containers are to have, each once.
///
/// # Errors
/// Those that no container can have, with whoever wants them.
pub(super) fn networks(
    said: &NetworkOverrides,
    candidates: &[Candidate],
    objectives: &[Objective],
) -> Result<Vec<Networks>, Problems> {
    let mut problems = Problems::default();
    let mut all: Vec<Networks> = Vec::new();
    for objective in objectives {
        for candidate in candidates {
            let networks = candidate.networks(&said.over(&objective.network));
            if all.contains(&networks) {
                continue;
            }
            if let Err(why) = check_networks(&networks) {
                let nobody = NetworkOverrides::default();
                let is_own = *said == nobody && objective.network != nobody;
                let mut problem = match objective.source.as_deref().filter(|_| is_own) {
                    Some(file) => Problem::value(file, "network", why),
                    None => Problem::setting("--network", why),
                };
                forge::tree::locate(&mut problem);
                let hint = "`open` and `block` are for containers too; lists of networks are for Daytona and this machine";
                problems.push(problem.with_hint(hint));
            }
            all.push(networks);
        }
    }
    problems.or(all)
}

/// The images that a run needs besides the project's, each with who wants it.
pub(super) fn images(candidates: &[Candidate], objectives: &[Objective]) -> Vec<(String, Image)> {
    let own = candidates.iter().filter_map(|candidate| {
        let image = candidate.image.clone()?;
        Some((format!("candidate {}", candidate.name), image))
    });
    // Somebody has none of his own.
    let has_others = candidates.iter().any(|candidate| candidate.image.is_none());
    let theirs = objectives
        .iter()
        .filter(|_| has_others)
        .filter_map(|objective| {
            let image = Image::Named(objective.image.clone()?);
            Some((format!("objective {}", objective.name), image))
        });
    own.chain(theirs).collect()
}

/// Makes them ready, one after the other.
///
/// # Errors
/// The first that cannot be had, with whose it is.
pub(super) async fn make_ready(
    containers: &Containers,
    images: &[(String, Image)],
) -> Result<(), SandboxError> {
    for (whose, image) in images {
        containers.make_ready(image).await.map_err(|error| {
            let message = format!("{} (the image of {whose})", error.message);
            SandboxError { message, ..error }
        })?;
    }
    Ok(())
}

/// What it is worth that a run in containers cannot begin: what was asked for is not there, or the engine has failed.
pub(super) const fn worth(error: &SandboxError) -> End {
    match error.kind {
        ErrorKind::Unauthorized
        | ErrorKind::Forbidden
        | ErrorKind::Invalid
        | ErrorKind::OutOfReach
        | ErrorKind::Unreachable => End::Usage,
        ErrorKind::Quota
        | ErrorKind::Throttled
        | ErrorKind::Busy
        | ErrorKind::TimedOut
        | ErrorKind::Server
        | ErrorKind::Lost
        | ErrorKind::Machine
        | ErrorKind::Unsaved
        | ErrorKind::Protocol
        | ErrorKind::Stopped => End::Incomplete,
    }
}
