//! What package installers are told of where packages come from: by the variables and the files of pip, uv and
//! npm, whichever of them its user has told.
//!
//! Promises: only what is listed here is passed on, and none of it says where packages go to. What one of pip
//! and uv is told, the other is told too, in its own words: what names an index of one's own never lets the
//! public one be asked beside it. Everything is said in variables, so that no file of the user's need be read
//! where installers run; paths in them are absolute.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::secret::Secret;

mod address;
mod npm;
mod pip;
mod uv;

pub use npm::files as npm_files;
pub use pip::files as pip_files;
pub use uv::files as uv_files;

/// Variables of no installer in particular: certificates and proxies.
const SHARED: [&str; 14] = [
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSL_CLIENT_CERT",
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

/// Variables whose values are paths of this machine, or addresses, in a list.
const PLACES: [&str; 13] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_CERT",
    "PIP_CLIENT_CERT",
    "PIP_CONSTRAINT",
    "UV_DEFAULT_INDEX",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_CONSTRAINT",
    "SSL_CLIENT_CERT",
    "npm_config_cafile",
];

/// What is said to sandboxes that are not on this machine: only who has the packages.
const ELSEWHERE: [&str; 11] = [
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "PIP_TRUSTED_HOST",
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_INSECURE_HOST",
    "npm_config_registry",
];

/// All that the user has said, wherever.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    /// The process's environment.
    pub variables: &'a BTreeMap<String, String>,
    /// The absolute path of the folder that relative paths start from.
    pub folder: &'a Path,
    /// The texts of [`pip_files`], in that order.
    pub pip: &'a [String],
    /// The texts of [`uv_files`], in that order.
    pub uv: &'a [String],
    /// The texts of [`npm_files`], in that order.
    pub npm: &'a [String],
}

impl fmt::Debug for Told<'_> {
    /// Without what may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

/// Where one installer gets Python packages from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sources {
    /// Instead of the public index.
    index: Option<String>,
    /// Besides it.
    extra: Vec<String>,
    /// Pages and folders with packages.
    links: Vec<String>,
    /// Whether no index is asked at all.
    no_index: bool,
    /// Hosts whose certificates need not be good.
    hosts: Vec<String>,
    /// Files with versions that are not to be passed.
    constraints: Vec<String>,
}

impl Sources {
    /// What is not said here, as said there.
    fn or(&self, other: &Self) -> Self {
        let list = |own: &Vec<String>, other: &Vec<String>| {
            if own.is_empty() { other } else { own }.clone()
        };
        Self {
            index: self.index.clone().or_else(|| other.index.clone()),
            extra: list(&self.extra, &other.extra),
            links: list(&self.links, &other.links),
            no_index: self.no_index || self.index.is_none() && other.no_index,
            hosts: list(&self.hosts, &other.hosts),
            constraints: list(&self.constraints, &other.constraints),
        }
    }
}

/// What installers are told.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Installers(BTreeMap<String, String>);

impl fmt::Debug for Installers {
    /// Without what may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Installers {
    /// Finds out what is to be passed on.
    #[must_use]
    pub fn new(told: &Told<'_>) -> Self {
        let variables = told.variables.iter();
        let shared = variables
            .filter(|(name, value)| SHARED.contains(&name.as_str()) && !value.trim().is_empty());
        let mut env: BTreeMap<String, String> = shared
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let pip = pip::Settings::read(told);
        let uv = uv::Settings::read(told);
        let (by_pip, by_uv) = (pip.sources(told), uv.sources(told));
        pip.tell(&by_pip.or(&by_uv), &uv, told, &mut env);
        uv.tell(&by_uv, &by_pip, &pip, &mut env);
        uv::trust(&pip, told, &mut env);
        npm::tell(told, &mut env);
        Self(env)
    }

    /// The variables that say it.
    #[must_use]
    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Adds them to declared ones, which stand.
    pub fn add_to(&self, env: &mut BTreeMap<String, String>) {
        let declared: Vec<String> = env.keys().map(|name| name.to_ascii_lowercase()).collect();
        for (name, value) in &self.0 {
            // npm takes them in any case.
            let is_npms = name.starts_with(npm::PREFIX);
            if !is_npms || !declared.contains(&name.to_ascii_lowercase()) {
                env.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
    }

    /// Whether something is to be built though it is there as a wheel.
    #[must_use]
    pub fn want_builds(&self) -> bool {
        let says = |name: &str| self.0.get(name).map_or("", |it| it.trim());
        let by_uv = is_yes(says("UV_NO_BINARY")) || !says("UV_NO_BINARY_PACKAGE").is_empty();
        by_uv || !["", ":none:"].contains(&says("PIP_NO_BINARY"))
    }

    /// The same without what proves who the user is. Addresses stay, so that nobody else is asked instead.
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        let known = self.0.iter().filter(|(name, _)| !is_credential(name));
        Self(
            known
                .map(|(name, value)| (name.clone(), address::without_credentials(value)))
                .collect(),
        )
    }

    /// What of it means the same on another machine, without credentials: addresses, but none of this machine.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        let mut env = BTreeMap::new();
        for (name, value) in self.without_credentials().0 {
            if !ELSEWHERE.contains(&name.as_str()) {
                continue;
            }
            let split = separator(&name);
            let is_host = name.ends_with("_HOST");
            let reached = value
                .split(split)
                .filter(|place| is_host || address::is_reached_from_elsewhere(place));
            let reached: Vec<&str> = reached.collect();
            if !reached.is_empty() {
                env.insert(name, reached.join(&split.to_string()));
            }
        }
        // Packages from nowhere else are looked for nowhere else.
        if self.0.contains_key("PIP_NO_INDEX") && env.contains_key("PIP_FIND_LINKS") {
            env.insert("PIP_NO_INDEX".to_owned(), "1".to_owned());
        }
        Self(env)
    }

    /// The files and folders of this machine that it names.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        let named = self
            .0
            .iter()
            .filter(|(name, _)| PLACES.contains(&name.as_str()) || npm::is_file(name));
        let mut paths: Vec<PathBuf> = named
            .flat_map(|(name, value)| value.split(separator(name)))
            .filter_map(address::path)
            .collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// What in it proves who the user is.
    #[must_use]
    pub fn secrets(&self) -> Vec<Secret> {
        let mut secrets = Vec::new();
        for (name, value) in &self.0 {
            if npm::is_secret(name) || name.starts_with("UV_INDEX_") && name.ends_with("_PASSWORD")
            {
                secrets.push(value.clone());
            }
            secrets.extend(address::credentials(value));
        }
        // Shorter ones would be met by chance.
        secrets.retain(|it| !crate::redact::is_too_short(it));
        secrets.into_iter().map(Secret::new).collect()
    }
}

/// Whether a variable says nothing but who the user is.
fn is_credential(name: &str) -> bool {
    let of_index = name.starts_with("UV_INDEX_")
        && (name.ends_with("_USERNAME") || name.ends_with("_PASSWORD"));
    let certificate = ["PIP_CLIENT_CERT", "SSL_CLIENT_CERT"].contains(&name);
    of_index || certificate || name == "UV_KEYRING_PROVIDER" || npm::is_credential(name)
}

/// What stands between the entries of a list in a variable.
fn separator(name: &str) -> char {
    if name == "UV_FIND_LINKS" { ',' } else { ' ' }
}

/// Whether the text of a switch says yes.
fn is_yes(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    ["1", "y", "yes", "t", "true", "on"].contains(&text.as_str())
}

/// A place with an absolute path, where it is a file or folder.
fn absolute(told: &Told<'_>, text: &str) -> String {
    if address::has_scheme(text) {
        return text.to_owned();
    }
    let home = told.variables.get("HOME").map(Path::new);
    let from_home = text.strip_prefix("~/").zip(home);
    let path = from_home.map_or_else(|| told.folder.join(text), |(rest, home)| home.join(rest));
    path.display().to_string()
}

#[cfg(test)]
mod tests;
