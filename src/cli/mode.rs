//! Where candidates run, and the fixed texts that say so.

use std::collections::BTreeMap;

use forge::Place;
use forge::problem::{Problem, Problems};
use forge::project::Project;
use forge::sandbox::SandboxError;
use forge::sandbox::local::LocalOptions;
use forge::settings::Settings;

use super::RunArgs;

/// Where candidates run.
#[derive(Debug)]
pub(super) struct Mode {
    /// The place itself.
    pub(super) place: Place,
    /// Why this one.
    pub(super) reason: String,
    /// How many sandboxes at once, unless somebody says.
    pub(super) jobs: Option<usize>,
    /// What was passed over or is about to go away.
    pub(super) warnings: Vec<String>,
    fell_back: bool,
}

impl Mode {
    /// The fixed texts.
    pub(super) fn lines(&self) -> Vec<&'static str> {
        match (&self.place, self.fell_back) {
            (Place::Local(_), false) => vec!["Execution: LOCAL"],
            (Place::Local(_), true) => {
                vec![
                    "Execution: LOCAL",
                    "  (Daytona not configured, falling back to local)",
                ]
            }
            (Place::Own(_), _) => vec!["Execution: DAYTONA"],
        }
    }

    /// Asks the provider whether a run can succeed at all.
    pub(super) async fn preflight(&self) -> Result<(), SandboxError> {
        Ok(())
    }
}

/// Decides where candidates run.
///
/// # Errors
/// When nothing but Daytona will do and it is not configured.
pub(super) fn decide(
    _args: &RunArgs,
    settings: &Settings,
    _project: &Project,
    variables: &BTreeMap<String, String>,
) -> Result<Mode, Problems> {
    let fell_back = settings.daytona;
    if settings.require_daytona {
        let problem = Problem::setting("--require-daytona", "Daytona is not configured")
            .with_hint("export DAYTONA_API_KEY, or put it into `.env.local`");
        return Err(problem.into());
    }
    Ok(Mode {
        place: Place::Local(local(variables)),
        reason: if fell_back {
            "daytona is not configured"
        } else {
            "daytona was not asked for"
        }
        .to_owned(),
        jobs: None,
        warnings: Vec::new(),
        fell_back,
    })
}

/// This machine, with forge itself as the keeper.
pub(super) fn local(variables: &BTreeMap<String, String>) -> LocalOptions {
    let helper = forge::sandbox::local::this_program();
    LocalOptions {
        helper,
        ..forge::settings::local_options_without_helper(variables)
    }
}
