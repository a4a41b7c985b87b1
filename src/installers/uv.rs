//! uv's settings: its variables, over its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Sources, Told, absolute, address, is_yes, pip};

/// Variables that are passed on as they are.
const PASSED: [&str; 16] = [
    "UV_INDEX_STRATEGY",
    "UV_KEYRING_PROVIDER",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_HTTP_TIMEOUT",
    "UV_HTTP_CONNECT_TIMEOUT",
    "UV_REQUEST_TIMEOUT",
    "UV_HTTP_RETRIES",
    "UV_OFFLINE",
    "UV_EXCLUDE_NEWER",
    "UV_PRERELEASE",
    "UV_REQUIRE_HASHES",
    "UV_NO_BUILD",
    "UV_NO_BUILD_PACKAGE",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
];
/// Settings of its files, and the variables that say the same.
const WRITTEN: [(&str, &str); 7] = [
    ("index-strategy", "UV_INDEX_STRATEGY"),
    ("keyring-provider", "UV_KEYRING_PROVIDER"),
    ("native-tls", "UV_NATIVE_TLS"),
    ("system-certs", "UV_SYSTEM_CERTS"),
    ("offline", "UV_OFFLINE"),
    ("exclude-newer", "UV_EXCLUDE_NEWER"),
    ("prerelease", "UV_PRERELEASE"),
];

/// Where its files are, those before others that overrule them. Some need not be there.
#[must_use]
pub fn files(variables: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let own = |name: &str| variables.get(name).filter(|it| !it.is_empty());
    if own("UV_NO_CONFIG").is_some_and(|it| is_yes(it)) {
        return Vec::new();
    }
    if let Some(chosen) = own("UV_CONFIG_FILE") {
        return vec![chosen.into()];
    }
    let mut files = vec![PathBuf::from("/etc/uv/uv.toml")];
    let shared = own("XDG_CONFIG_DIRS").map_or("/etc/xdg", String::as_str);
    let shared = shared.split(':').filter(|it| it.starts_with('/'));
    // The first that is there counts for uv.
    files.extend(shared.rev().map(|it| Path::new(it).join("uv/uv.toml")));
    let home = own("HOME").map(|it| Path::new(it).join(".config"));
    let config = own("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
    files.extend(config.map(|it| it.join("uv/uv.toml")));
    files
}

/// What uv was told.
#[derive(Default)]
pub(super) struct Settings {
    passed: BTreeMap<String, String>,
    index: Option<String>,
    /// As uv is told of them, with the names that some have.
    indexes: Vec<String>,
    extra: Vec<String>,
    links: Vec<String>,
    no_index: bool,
    hosts: Vec<String>,
    constraints: Vec<String>,
}

impl Settings {
    pub(super) fn read(told: &Told<'_>) -> Self {
        let mut this = Self::default();
        for text in told.uv {
            // uv itself says what is wrong with it.
            if let Ok(table) = toml::from_str::<toml::Table>(text) {
                this.file(&table);
                if let Some(more) = table.get("pip").and_then(toml::Value::as_table) {
                    this.file(more);
                }
            }
        }
        this.variables(told.variables);
        this
    }

    fn file(&mut self, table: &toml::Table) {
        let text = |name: &str| {
            table
                .get(name)
                .and_then(toml::Value::as_str)
                .map(str::to_owned)
        };
        let list = |name: &str| {
            let list = table.get(name)?.as_array()?.iter();
            Some(
                list.filter_map(|it| it.as_str().map(str::to_owned))
                    .collect::<Vec<_>>(),
            )
        };
        for (name, variable) in WRITTEN {
            let value = table.get(name).and_then(|value| match value {
                toml::Value::String(text) => Some(text.clone()),
                toml::Value::Boolean(yes) => Some(yes.to_string()),
                toml::Value::Integer(_)
                | toml::Value::Float(_)
                | toml::Value::Datetime(_)
                | toml::Value::Array(_)
                | toml::Value::Table(_) => None,
            });
            self.passed
                .extend(value.map(|it| (variable.to_owned(), it)));
        }
        let mut named = Vec::new();
        for index in table
            .get("index")
            .and_then(toml::Value::as_array)
            .into_iter()
            .flatten()
        {
            let says = |name: &str| index.get(name).and_then(toml::Value::as_bool) == Some(true);
            let Some(url) = index.get("url").and_then(toml::Value::as_str) else {
                continue;
            };
            let url = match index.get("name").and_then(toml::Value::as_str) {
                Some(name) => format!("{name}={url}"),
                None => url.to_owned(),
            };
            if says("default") {
                self.index = Some(url);
            } else if !says("explicit") {
                named.push(url);
            }
        }
        if !named.is_empty() {
            self.indexes = named;
        }
        if let Some(index) = text("index-url") {
            self.index = Some(index);
        }
        self.extra = list("extra-index-url").unwrap_or_else(|| std::mem::take(&mut self.extra));
        self.links = list("find-links").unwrap_or_else(|| std::mem::take(&mut self.links));
        self.hosts = list("allow-insecure-host").unwrap_or_else(|| std::mem::take(&mut self.hosts));
        let no_index = table.get("no-index").and_then(toml::Value::as_bool);
        self.no_index = no_index.unwrap_or(self.no_index);
    }

    fn variables(&mut self, variables: &BTreeMap<String, String>) {
        let own = |name: &str| variables.get(name).filter(|it| !it.trim().is_empty());
        let list = |name: &str, separator: char| {
            let words = own(name)?.split(|c: char| c == separator || c.is_whitespace());
            let words = words.filter(|it| !it.is_empty()).map(str::to_owned);
            Some(words.collect::<Vec<_>>())
        };
        let of_index = |name: &str| {
            let end = ["_USERNAME", "_PASSWORD"]
                .iter()
                .any(|it| name.ends_with(it));
            name.starts_with("UV_INDEX_") && end
        };
        for (name, value) in variables {
            let blank = value.trim().is_empty();
            if !blank && (PASSED.contains(&name.as_str()) || of_index(name)) {
                self.passed.insert(name.clone(), value.clone());
            }
        }
        let index = own("UV_DEFAULT_INDEX").or_else(|| own("UV_INDEX_URL"));
        if let Some(index) = index {
            self.index = Some(index.trim().to_owned());
        }
        if let Some(list) = list("UV_INDEX", ' ') {
            self.indexes = list;
        }
        if let Some(list) = list("UV_EXTRA_INDEX_URL", ' ') {
            self.extra = list;
        }
        if let Some(list) = list("UV_FIND_LINKS", ',') {
            self.links = list;
        }
        if let Some(list) = list("UV_INSECURE_HOST", ' ') {
            self.hosts = list;
        }
        if let Some(list) = list("UV_CONSTRAINT", ' ') {
            self.constraints = list;
        }
        if let Some(no_index) = own("UV_NO_INDEX") {
            self.no_index = is_yes(no_index);
        }
    }

    /// Whether nothing is to be built.
    pub(super) fn builds_nothing(&self) -> bool {
        self.passed.get("UV_NO_BUILD").is_some_and(|it| is_yes(it))
    }

    /// The sources in the words of others.
    pub(super) fn sources(&self, told: &Told<'_>) -> Sources {
        let place = |text: &String| absolute(told, &self.signed(text));
        let places = |list: &[String]| list.iter().map(place).collect();
        Sources {
            index: self.index.as_ref().map(place),
            extra: self.indexes.iter().chain(&self.extra).map(place).collect(),
            links: places(&self.links),
            no_index: self.no_index,
            hosts: self.hosts.clone(),
            constraints: places(&self.constraints),
        }
    }

    /// An address without its name, and with the user and the password that are said under that name.
    fn signed(&self, text: &str) -> String {
        let plain = address::unnamed(text);
        let Some(name) = text.strip_suffix(plain).and_then(|it| it.strip_suffix('=')) else {
            return plain.to_owned();
        };
        let name = name.to_ascii_uppercase().replace(['-', '.'], "_");
        let said = |what: &str| self.passed.get(&format!("UV_INDEX_{name}_{what}"));
        let user = match (said("USERNAME"), said("PASSWORD")) {
            (None, None) => return plain.to_owned(),
            (user, password) => {
                let part = |it: Option<&String>| address::encoded(it.map_or("", String::as_str));
                format!("{}:{}@", part(user), part(password))
            }
        };
        match plain.split_once("://") {
            Some((scheme, rest)) if !rest.contains('@') => format!("{scheme}://{user}{rest}"),
            Some(_) | None => plain.to_owned(),
        }
    }

    /// Says it to uv: what it was told itself, and where that is silent, what pip was told.
    pub(super) fn tell(
        &self,
        own: &Sources,
        by_pip: &Sources,
        pip: &pip::Settings,
        env: &mut BTreeMap<String, String>,
    ) {
        let all = own.or(by_pip);
        env.extend(self.passed.clone());
        let mut say = |name: &str, value: String| {
            if !value.is_empty() {
                env.entry(name.to_owned()).or_insert(value);
            }
        };
        let mut index = self.index.clone().or_else(|| by_pip.index.clone());
        if all.no_index {
            // For forge's own: uv has a switch for it, but no variable. What is looked through anyway can stand for the index.
            say("UV_NO_INDEX", "1".to_owned());
            index = all.links.first().cloned();
            if index.is_none() {
                say("UV_OFFLINE", "1".to_owned());
            }
        } else {
            say("UV_INDEX", self.indexes.join(" "));
            let extra = if own.extra.is_empty() {
                &by_pip.extra
            } else {
                &self.extra
            };
            say("UV_EXTRA_INDEX_URL", extra.join(" "));
        }
        // The second is for old ones.
        for name in ["UV_DEFAULT_INDEX", "UV_INDEX_URL"] {
            say(name, index.clone().unwrap_or_default());
        }
        say("UV_FIND_LINKS", all.links.join(","));
        say("UV_INSECURE_HOST", all.hosts.join(" "));
        say("UV_CONSTRAINT", all.constraints.join(" "));
        if own.extra.is_empty() && !by_pip.extra.is_empty() {
            // For pip, all of them are one.
            say("UV_INDEX_STRATEGY", "unsafe-best-match".to_owned());
        }
        if pip.says("pre") {
            say("UV_PRERELEASE", "allow".to_owned());
        }
        if pip.only_binary() {
            say("UV_NO_BUILD", "1".to_owned());
        }
        let proxies = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
        let has_proxy = proxies.iter().any(|name| env.contains_key(*name));
        let mut say = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                env.entry(name.to_owned()).or_insert(value);
            }
        };
        say(
            "ALL_PROXY",
            pip.proxy().filter(|_| !has_proxy).map(str::to_owned),
        );
    }
}

/// Certificates that pip was told of, for uv.
pub(super) fn trust(pip: &pip::Settings, told: &Told<'_>, env: &mut BTreeMap<String, String>) {
    let of_requests = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
    let of_requests = of_requests.iter().find_map(|name| env.get(*name).cloned());
    let trusted = pip.file("cert", told).or(of_requests);
    if !env.contains_key("SSL_CERT_FILE") && !env.contains_key("SSL_CERT_DIR") {
        env.extend(trusted.map(|it| ("SSL_CERT_FILE".to_owned(), it)));
    }
    if let Some(own) = pip.file("client-cert", told) {
        env.entry("SSL_CLIENT_CERT".to_owned()).or_insert(own);
    }
}
