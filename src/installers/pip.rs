//! pip's settings: its variables, over its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Sources, Told, absolute, is_yes, uv};

/// Settings that are passed on as they are.
const PASSED: [&str; 8] = [
    "timeout",
    "retries",
    "proxy",
    "only-binary",
    "no-binary",
    "prefer-binary",
    "pre",
    "require-hashes",
];
/// Other names of settings.
const ALIASES: [(&str, &str); 2] = [("pypi-url", "index-url"), ("default-timeout", "timeout")];
/// What of its features concerns certificates.
const ABOUT_CERTIFICATES: [&str; 2] = ["truststore", "legacy-certs"];

/// Where its files are, those before others that overrule them. Some need not be there.
#[must_use]
pub fn files(variables: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let own = |name: &str| variables.get(name).filter(|it| !it.is_empty());
    let chosen = own("PIP_CONFIG_FILE").map(PathBuf::from);
    if chosen.as_deref() == Some(Path::new("/dev/null")) {
        return Vec::new();
    }
    let shared = own("XDG_CONFIG_DIRS").map_or("/etc/xdg", String::as_str);
    let shared = shared.split(':').filter(|it| it.starts_with('/'));
    let mut files: Vec<PathBuf> = shared
        .map(|it| Path::new(it).join("pip/pip.conf"))
        .collect();
    files.push("/etc/pip.conf".into());
    if cfg!(target_os = "macos") {
        files.push("/Library/Application Support/pip/pip.conf".into());
    }
    // The user's give way to the one that is chosen.
    if let (Some(home), None) = (own("HOME").map(Path::new), &chosen) {
        files.push(home.join(".pip/pip.conf"));
        let config = own("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
        files.push(config.join("pip/pip.conf"));
        if cfg!(target_os = "macos") {
            files.push(home.join("Library/Application Support/pip/pip.conf"));
        }
    }
    let environment = own("VIRTUAL_ENV").or_else(|| own("CONDA_PREFIX"));
    files.extend(environment.map(|it| Path::new(it).join("pip.conf")));
    files.extend(chosen);
    files
}

/// What pip was told, by the long names of its options.
#[derive(Default)]
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(super) fn read(told: &Told<'_>) -> Self {
        let mut sections = [BTreeMap::new(), BTreeMap::new()];
        for (section, name, value) in told.pip.iter().flat_map(|text| parse(text)) {
            let place = ["global", "install"].iter().position(|it| *it == section);
            if let Some(place) = place {
                sections[place].insert(name, value);
            }
        }
        let own = told.variables.iter().filter_map(|(name, value)| {
            let name = name.strip_prefix("PIP_")?;
            Some((normal(name), value.clone()))
        });
        let mut all = BTreeMap::new();
        // What is empty says nothing, whoever says it.
        let layers = sections.into_iter().flatten().chain(own);
        all.extend(layers.filter(|(_, value)| !value.trim().is_empty()));
        Self(all)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim())
    }

    fn list(&self, name: &str) -> Vec<String> {
        let words = self.get(name).unwrap_or_default().split_whitespace();
        words.map(str::to_owned).collect()
    }

    pub(super) fn says(&self, name: &str) -> bool {
        self.get(name).is_some_and(is_yes)
    }

    pub(super) fn proxy(&self) -> Option<&str> {
        self.get("proxy")
    }

    /// A file that it was told of.
    pub(super) fn file(&self, name: &str, told: &Told<'_>) -> Option<String> {
        Some(absolute(told, self.get(name)?))
    }

    /// Whether it takes what is built already, and nothing else.
    pub(super) fn only_binary(&self) -> bool {
        self.get("only-binary") == Some(":all:")
    }

    pub(super) fn sources(&self, told: &Told<'_>) -> Sources {
        let places = |name: &str| {
            let words = self.list(name).into_iter();
            words.map(|it| absolute(told, &it)).collect()
        };
        Sources {
            index: self.get("index-url").map(|it| absolute(told, it)),
            extra: places("extra-index-url"),
            links: places("find-links"),
            no_index: self.says("no-index"),
            hosts: self.list("trusted-host"),
            constraints: places("constraint"),
        }
    }

    /// Says it to pip: these sources, and what else was said.
    pub(super) fn tell(
        &self,
        sources: &Sources,
        uv: &uv::Settings,
        told: &Told<'_>,
        env: &mut BTreeMap<String, String>,
    ) {
        let mut say = |name: &str, value: String| {
            if !value.is_empty() {
                env.insert(variable(name), value);
            }
        };
        // All that it needs to know is said here; nobody is there to be asked.
        say("config-file", "/dev/null".to_owned());
        say("no-input", "1".to_owned());
        say("disable-pip-version-check", "1".to_owned());
        for name in PASSED {
            say(name, self.get(name).unwrap_or_default().to_owned());
        }
        for name in ["cert", "client-cert"] {
            say(name, self.file(name, told).unwrap_or_default());
        }
        for name in ["use-feature", "use-deprecated"] {
            let words = self.list(name).into_iter();
            let words = words.filter(|it| ABOUT_CERTIFICATES.contains(&it.as_str()));
            say(name, words.collect::<Vec<_>>().join(" "));
        }
        if self.get("keyring-provider") == Some("disabled") {
            say("keyring-provider", "disabled".to_owned());
        }
        if uv.builds_nothing() && self.get("only-binary").is_none() {
            say("only-binary", ":all:".to_owned());
        }
        say("index-url", sources.index.clone().unwrap_or_default());
        say("extra-index-url", sources.extra.join(" "));
        say("find-links", sources.links.join(" "));
        say("trusted-host", sources.hosts.join(" "));
        say("constraint", sources.constraints.join(" "));
        if sources.no_index {
            say("no-index", "1".to_owned());
        }
    }
}

/// The variable of a setting.
fn variable(name: &str) -> String {
    format!("PIP_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// The name of a setting, however it was written.
fn normal(name: &str) -> String {
    let name = name.trim().to_ascii_lowercase().replace('_', "-");
    let name = name.strip_prefix("--").unwrap_or(&name);
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, known)| known).to_owned()
}

/// The settings of a file, each with its section, as Python's `configparser` reads them. What it would refuse is
/// left out.
fn parse(text: &str) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    let mut section = String::new();
    let mut is_open = false;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for line in text.lines() {
        let content = line.trim();
        if content.is_empty() || content.starts_with(['#', ';']) {
            continue;
        }
        let is_indented = line.starts_with([' ', '\t']);
        if let Some((_, _, value)) = found.last_mut().filter(|_| is_indented && is_open) {
            value.push('\n');
            value.push_str(content);
            continue;
        }
        let name = content.strip_prefix('[').and_then(|it| it.split_once(']'));
        if let Some((name, _)) = name {
            name.clone_into(&mut section);
            is_open = false;
        } else if let Some((name, value)) = content.split_once(['=', ':']) {
            found.push((section.clone(), normal(name), value.trim().to_owned()));
            is_open = true;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_like_pip_reads_it() {
        let text = "\u{feff}# x = 1\n[global]\nindex-url = https://a/simple\n; y\nfind_links =\n    one\n\n    # no\n    two\n\
            timeout: 60\n[install]\nuser = true\n--Pre=yes\nbad line\n";
        let found = parse(text);
        let found: Vec<_> = found.iter().map(|(a, b, c)| (&**a, &**b, &**c)).collect();
        let expected = [
            ("global", "index-url", "https://a/simple"),
            ("global", "find-links", "\none\ntwo"),
            ("global", "timeout", "60"),
            ("install", "user", "true"),
            ("install", "pre", "yes"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn its_files_are_where_pip_looks() {
        let files = |own: &[(&str, &str)]| {
            let own = own.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
            let files = super::files(&own.collect());
            let files = files.iter().map(|it| it.display().to_string());
            files.collect::<Vec<_>>().join(" ")
        };
        if cfg!(target_os = "macos") {
            return;
        }
        let home = ("HOME", "/h");
        for (own, expected) in [
            (vec![], "/etc/xdg/pip/pip.conf /etc/pip.conf"),
            (
                vec![home],
                "/etc/xdg/pip/pip.conf /etc/pip.conf /h/.pip/pip.conf /h/.config/pip/pip.conf",
            ),
            (
                vec![
                    home,
                    ("XDG_CONFIG_HOME", "/x"),
                    ("VIRTUAL_ENV", "/v"),
                    ("XDG_CONFIG_DIRS", "/a:/b"),
                ],
                "/a/pip/pip.conf /b/pip/pip.conf /etc/pip.conf /h/.pip/pip.conf /x/pip/pip.conf /v/pip.conf",
            ),
            (
                vec![home, ("PIP_CONFIG_FILE", "/c")],
                "/etc/xdg/pip/pip.conf /etc/pip.conf /c",
            ),
            (vec![home, ("PIP_CONFIG_FILE", "/dev/null")], ""),
        ] {
            assert_eq!(files(&own), expected);
        }
    }
}
