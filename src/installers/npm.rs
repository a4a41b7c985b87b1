//! npm's settings: its variables, over the user's file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Told, absolute};

/// Before the name of a setting in a variable, in any case.
pub(super) const PREFIX: &str = "npm_config_";

/// Settings that are passed on.
const PASSED: [&str; 20] = [
    "registry",
    "replace-registry-host",
    "proxy",
    "https-proxy",
    "http-proxy",
    "noproxy",
    "strict-ssl",
    "ca",
    "cafile",
    "cert",
    "key",
    "offline",
    "prefer-offline",
    "prefer-online",
    "before",
    "maxsockets",
    "fetch-retries",
    "fetch-retry-mintimeout",
    "fetch-retry-maxtimeout",
    "fetch-timeout",
];

/// Where its file is, if it is there.
#[must_use]
pub fn files(variables: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let chosen = variables.iter().find(|(name, value)| {
        name.eq_ignore_ascii_case("npm_config_userconfig") && !value.is_empty()
    });
    let home = variables.get("HOME").filter(|it| !it.is_empty());
    let usual = home.map(|it| Path::new(it).join(".npmrc"));
    chosen
        .map(|(_, value)| value.into())
        .or(usual)
        .into_iter()
        .collect()
}

/// Says it to npm.
pub(super) fn tell(told: &Told<'_>, env: &mut BTreeMap<String, String>) {
    let mut all = BTreeMap::new();
    for line in told.npm.iter().flat_map(|text| text.lines()) {
        let line = line.trim();
        let Some((name, value)) = line
            .split_once('=')
            .filter(|_| !line.starts_with(['#', ';']))
        else {
            continue;
        };
        let name = name.trim();
        let value = value.trim();
        let quoted = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        let value = expanded(quoted.unwrap_or(value), told.variables);
        all.insert(name.to_owned(), value);
    }
    for (name, value) in told.variables {
        let prefix = name.get(..PREFIX.len());
        if prefix.is_some_and(|it| it.eq_ignore_ascii_case(PREFIX)) {
            all.insert(normal(&name[PREFIX.len()..]), value.clone());
        }
    }
    for (name, value) in all {
        if value.is_empty() || !(PASSED.contains(&name.as_str()) || is_scoped(&name)) {
            continue;
        }
        let variable = if is_scoped(&name) {
            format!("{PREFIX}{name}")
        } else {
            format!("{PREFIX}{}", name.replace('-', "_"))
        };
        let value = if is_file(&variable) {
            absolute(told, &value)
        } else {
            value
        };
        env.insert(variable, value);
    }
}

/// The name of a setting, as npm reads it in a variable.
fn normal(name: &str) -> String {
    if name.starts_with("//") {
        return name.to_owned();
    }
    name.to_ascii_lowercase().replace('_', "-")
}

/// Whether a setting is of one registry, or names that of some packages.
fn is_scoped(name: &str) -> bool {
    name.starts_with("//") || name.starts_with('@') && name.ends_with(":registry")
}

/// A value with the variables in it, as npm writes them: `${NAME}`.
fn expanded(value: &str, variables: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, end)) = after.split_once('}') else {
            break;
        };
        text.push_str(before);
        let known = variables.get(name.trim_end_matches('?'));
        text.push_str(known.map_or("", String::as_str));
        rest = end;
    }
    text + rest
}

/// Whether a variable is a password, or a key.
pub(super) fn is_secret(variable: &str) -> bool {
    let of_registry = variable.starts_with("npm_config_//");
    let parts = [":_authToken", ":_auth", ":_password"];
    of_registry && parts.iter().any(|it| variable.ends_with(it)) || variable == "npm_config_key"
}

/// Whether a variable says who the user is.
pub(super) fn is_credential(variable: &str) -> bool {
    variable.starts_with("npm_config_//") || is_secret(variable) || variable == "npm_config_cert"
}

/// Whether a variable names a file.
pub(super) fn is_file(variable: &str) -> bool {
    let of_registry = variable.starts_with("npm_config_//")
        && [":certfile", ":keyfile"]
            .iter()
            .any(|it| variable.ends_with(it));
    of_registry || variable == "npm_config_cafile"
}
