//! The variables that candidates get by flags and by `forge.yaml`, and which of their values are secrets.

use std::collections::BTreeMap;

use super::Flags;
use crate::problem::{Problem, Problems};
use crate::project::Project;
use crate::redact::{is_too_short, not_redacted};
use crate::secret::Secret;

/// What variables come to.
pub(super) struct Environment {
    /// Of every candidate.
    pub(super) env: BTreeMap<String, String>,
    /// Values that are redacted.
    pub(super) secrets: Vec<Secret>,
    /// What is to be said of those that are not.
    pub(super) warnings: Vec<String>,
}

/// The variables of every candidate, and which values are secret.
pub(super) fn environment(
    flags: &Flags,
    project: &Project,
    variables: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Environment {
    let mut env = project.env.clone().unwrap_or_default();
    for given in &flags.env {
        match typed_variable(given) {
            Ok((name, value)) => drop(env.insert(name, value)),
            Err(problem) => problems.push(problem),
        }
    }
    let mut passed = Vec::new();
    for given in &flags.pass_env {
        match passed_variable(given, variables) {
            Ok((name, value)) => {
                passed.push((name.clone(), value.clone()));
                env.insert(name, value);
            }
            Err(problem) => problems.push(problem),
        }
    }
    let warnings = short_secrets(&passed, project, variables);
    passed.retain(|(_, value)| !is_too_short(value));
    let mut secrets: Vec<Secret> = passed.into_iter().map(|it| Secret::new(it.1)).collect();
    secrets.extend(declared(project, variables));
    Environment {
        env,
        secrets,
        warnings,
    }
}

fn typed_variable(given: &str) -> Result<(String, String), Problem> {
    let Some((name, value)) = given.split_once('=') else {
        let message = format!("expected NAME=VALUE, got `{given}`");
        let hint = "to pass a variable of this environment, use --pass-env NAME";
        return Err(Problem::setting("--env", message).with_hint(hint));
    };
    match crate::policy::check_own_variable(name) {
        Ok(()) => Ok((name.to_owned(), value.to_owned())),
        Err(message) => Err(Problem::setting("--env", message)),
    }
}

fn passed_variable(
    given: &str,
    variables: &BTreeMap<String, String>,
) -> Result<(String, String), Problem> {
    let pass = crate::policy::parse_pass_env(given)
        .map_err(|message| Problem::setting("--pass-env", message))?;
    let Some(value) = variables.get(&pass.host_name) else {
        let message = format!("`{}` is not set in this environment", pass.host_name);
        let hint = format!("export {}=…, or leave it out", pass.host_name);
        return Err(Problem::setting("--pass-env", message).with_hint(hint));
    };
    Ok((pass.name, value.clone()))
}

/// Forge's own keys: redacted everywhere, whoever prints them.
const KEYS: [&str; 2] = ["DAYTONA_API_KEY", "DAYTONA_JWT_TOKEN"];

/// Which values are declared to be secret, and are too short to be redacted: each a sentence.
fn short_secrets(
    passed: &[(String, String)],
    project: &Project,
    variables: &BTreeMap<String, String>,
) -> Vec<String> {
    let is_short = |value: &str| !value.trim().is_empty() && is_too_short(value);
    let passed = passed.iter().filter(|(_, value)| is_short(value));
    let mut warnings: Vec<String> = passed
        .map(|(name, _)| {
            let remedy = format!("if it is no secret, pass it with `--env \"{name}=${name}\"`");
            not_redacted(&format!("`{name}`"), &remedy)
        })
        .collect();
    let named = project.secrets.iter().flatten();
    let named = named.filter(|name| variables.get(*name).is_some_and(|it| is_short(it)));
    warnings.extend(named.map(|name| {
        let remedy = "if it is no secret, take it out of `secrets` in `forge.yaml`";
        not_redacted(&format!("`{name}`"), remedy)
    }));
    warnings
}

/// The values of the variables that are declared to be secret, but for those that are too short to be
/// redacted.
#[must_use]
pub fn declared(project: &Project, variables: &BTreeMap<String, String>) -> Vec<Secret> {
    let names = project
        .secrets
        .iter()
        .flatten()
        .map(String::as_str)
        .chain(KEYS);
    names
        .filter_map(|name| variables.get(name).cloned())
        .filter(|value| !is_too_short(value))
        .map(Secret::new)
        .collect()
}
