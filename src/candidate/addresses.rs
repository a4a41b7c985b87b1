//! Whether a candidate names addresses that installers would ask for it: in its lists of packages, in the
//! files that npm reads, in its variables. Pure but for reading its own files; what it cannot read names one.
//!
//! Only what installers ask themselves counts; what a candidate's own code or setup lines ask is theirs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Dependencies, SourceFile};
use crate::python::logical_lines;
use crate::quantity::ByteCount;
use crate::tree::read_text;

/// The largest file that is looked into.
const LARGEST: ByteCount = ByteCount::mib(16);
/// Beginnings of addresses, and of what may become one.
const ADDRESSES: [&str; 10] = [
    "http:", "https:", "ftp:", "ssh:", "git:", "git+", "hg+", "svn+", "bzr+", "${",
];
/// Variables that lead an installer to a file with more, whatever they say.
const LEADING: [&str; 7] = [
    "pip_config_file",
    "pip_requirement",
    "pip_constraint",
    "pip_find_links",
    "uv_config_file",
    "npm_config_userconfig",
    "npm_config_globalconfig",
];
/// What else ends a line for pip.
const LINE_ENDS: [char; 9] = [
    '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}',
];
/// Lists of packages in a `package.json`.
const LISTS: [&str; 5] = [
    "dependencies",
    "devDependencies",
    "optionalDependencies",
    "peerDependencies",
    "overrides",
];

/// Whether an installer that is started for this candidate would ask an address that only it names.
pub(super) fn are_named(
    dependencies: &Dependencies,
    files: &[SourceFile],
    env: &BTreeMap<String, String>,
) -> bool {
    let by_files = match dependencies {
        Dependencies::None => return false,
        Dependencies::PythonInline { packages, .. } => {
            packages.iter().any(|it| is_naming(it, files))
        }
        Dependencies::PythonFile(file) => by_list(files, file.file_name(), &mut BTreeSet::new()),
        Dependencies::Node { .. } => files.iter().any(by_npm),
    };
    by_files || env.iter().any(|(name, value)| is_in_variable(name, value))
}

fn is_address(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let escaped = lower.contains("file:") && lower.contains('%');
    escaped || ADDRESSES.iter().any(|start| lower.contains(start))
}

/// Whether a line of a list names an address, or leads to files that do.
fn is_naming(line: &str, files: &[SourceFile]) -> bool {
    is_address(line) || is_path(line) && by_projects(files)
}

/// Whether a line leads to wheels, pages or projects among the files.
fn is_path(line: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}').trim();
    let starts = ["-f", "--f", "-e", "--e", ".", "/"];
    let parts = [".whl", "file:", "/", " -f", " --f"];
    starts.iter().any(|it| line.starts_with(it)) || parts.iter().any(|it| line.contains(it))
}

fn is_in_variable(name: &str, value: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if value.is_empty() || name == "no_proxy" {
        return false;
    }
    let of_installers = ["pip_", "uv_", "npm_config_"]
        .iter()
        .any(|start| name.starts_with(start));
    name.ends_with("proxy")
        || LEADING.contains(&&*name)
        || of_installers && (is_address(value) || value.contains("://"))
}

/// Whether a list of packages, or one that it names, names an address.
fn by_list(files: &[SourceFile], name: &str, seen: &mut BTreeSet<String>) -> bool {
    if !seen.insert(name.to_owned()) {
        return false;
    }
    let named = files.iter().filter(|file| file.path.file_name() == name);
    named.into_iter().any(|file| {
        let Ok(text) = read_text(&file.from, LARGEST) else {
            return true;
        };
        is_recoded(&text)
            || lines(&text).iter().any(|line| {
                is_naming(line, files)
                    || line
                        .split(|c: char| c.is_whitespace() || c == '=')
                        .any(|word| {
                            let word = word.strip_prefix("-r").unwrap_or(word);
                            let word = word.strip_prefix("-c").unwrap_or(word);
                            let name = word.rsplit('/').next().unwrap_or_default();
                            !name.is_empty() && by_list(files, name, seen)
                        })
            })
    })
}

/// Whether a list says, like Python's own files, that it is written in another encoding.
fn is_recoded(text: &str) -> bool {
    let mut first = text.split(['\n', '\r']).take(2);
    first
        .any(|line| line.trim_start_matches('\u{feff}').starts_with('#') && line.contains("coding"))
}

/// Its lines as pip reads them.
fn lines(text: &str) -> Vec<String> {
    logical_lines(text.split(|c| c == '\n' || LINE_ENDS.contains(&c)))
}

/// Whether something that pip may find among the files names an address: a wheel, whose needs are not read
/// here, a page of links, or a project that asks for more by its address.
fn by_projects(files: &[SourceFile]) -> bool {
    files.iter().any(|file| {
        let name = file.path.file_name();
        let extension = name.rsplit_once('.').map_or("", |(_, it)| it);
        match name {
            "pyproject.toml" | "setup.cfg" | "setup.py" => {
                read_text(&file.from, LARGEST).map_or(true, |text| asks_by_address(&text))
            }
            _ => ["whl", "html", "htm"].contains(&extension),
        }
    })
}

/// Whether there is a `name @ address` in it. Homepages are addresses that nobody asks.
fn asks_by_address(text: &str) -> bool {
    text.split('@').skip(1).any(|after| {
        let after = after.trim_start().to_ascii_lowercase();
        ADDRESSES.iter().any(|start| after.starts_with(start))
    })
}

/// Whether a file that npm reads names an address.
fn by_npm(file: &SourceFile) -> bool {
    let name = file.path.file_name();
    if ![
        "package.json",
        "package-lock.json",
        "npm-shrinkwrap.json",
        ".npmrc",
    ]
    .contains(&name)
    {
        return false;
    }
    let Ok(text) = read_text(&file.from, LARGEST) else {
        return true;
    };
    if name == ".npmrc" {
        let mut said = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.starts_with(['#', ';']));
        return said.any(|line| is_address(line) || line.contains("proxy"));
    }
    // npm itself says what is wrong with it.
    let Ok(package) = serde_json::from_str::<Value>(&text) else {
        return false;
    };
    if name == "package.json" {
        let lists = LISTS.iter().filter_map(|list| package.get(list));
        return lists.into_iter().any(|list| any_text(list, &is_far));
    }
    is_locked_far(&package)
}

/// Whether a version in a `package.json` leads neither to a registry nor to a folder beside it.
fn is_far(version: &str) -> bool {
    !is_beside(version) && !version.starts_with("npm:") && version.contains([':', '/'])
}

/// Whether a version in a `package.json` leads to something on the same machine.
pub(super) fn is_beside(version: &str) -> bool {
    let beside = ["file:", "link:", "workspace:", ".", "/", "~/"];
    beside.iter().any(|start| version.starts_with(start))
}

/// Whether a lock file leads elsewhere than to a registry: those have certificates.
fn is_locked_far(lock: &Value) -> bool {
    match lock {
        Value::Object(fields) => fields.iter().any(|(name, value)| match value {
            Value::String(text) => {
                ["resolved", "version"].contains(&name.as_str())
                    && is_address(text)
                    && !text.starts_with("https:")
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => is_locked_far(value),
        }),
        Value::Array(list) => list.iter().any(is_locked_far),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn any_text(value: &Value, holds: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => holds(text),
        Value::Array(list) => list.iter().any(|it| any_text(it, holds)),
        Value::Object(fields) => fields.values().any(|it| any_text(it, holds)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::RelativePath;

    /// Whether a candidate of these files names one; the first of them lists its packages.
    fn named(files: &[(&str, &str)]) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let files: Vec<SourceFile> = files
            .iter()
            .map(|(path, text)| {
                let from = folder.path().join(path);
                std::fs::create_dir_all(from.parent().unwrap()).unwrap();
                std::fs::write(&from, text).unwrap();
                SourceFile {
                    path: RelativePath::parse(path).unwrap(),
                    from,
                    executable: false,
                }
            })
            .collect();
        let first = files[0].path.clone();
        let dependencies = if first.as_str() == "package.json" {
            Dependencies::Node {
                folder: None,
                locked: false,
            }
        } else {
            Dependencies::PythonFile(first)
        };
        are_named(&dependencies, &files, &BTreeMap::new())
    }

    #[test]
    fn an_address_is_found_however_a_list_says_it() {
        for text in [
            "-i http://h\n",
            "--index-url \\\r\nhttp://h\r\n",
            "ti\\\nny@HTTPS://h/x.whl ; python_version > '3'\n",
            "# x \\\n-i http://h\n",
            "# a\u{2028}-i http://h\n",
            "# a\r-i http://h\n",
            "-fhttp://h\n",
            "git+ssh://h/x\n",
            "a @ ${P}://h\n",
            "# coding: utf-7\n",
            "-r file:%6dore.txt\n",
        ] {
            assert!(named(&[("r.txt", text)]), "{text:?}");
        }
        for text in [
            "a==1 # see https://h\n",
            "# https://h\na[b]>=2 ; python_version > '3'\n",
            "\u{feff}a\r\n",
            "-r no.txt\n",
        ] {
            assert!(!named(&[("r.txt", text)]), "{text:?}");
        }
    }

    #[test]
    fn what_a_list_leads_to_is_looked_into() {
        let nested = [
            ("r.txt", "-r sub/a.txt\n"),
            ("sub/a.txt", "-cb.txt\n-r ../r.txt\n"),
            ("sub/b.txt", "a @ http://h/a.whl\n"),
        ];
        assert!(named(&nested));
        assert!(!named(&nested[..2]));
        assert!(named(&[
            ("r.txt", "-f w\na\n"),
            ("w/a-1-py3-none-any.whl", "")
        ]));
        assert!(named(&[("r.txt", "-f w\na\n"), ("w/x.html", "")]));
        let project = |text| named(&[("r.txt", ".\n"), ("pyproject.toml", text)]);
        assert!(project("[build-system]\nrequires = ['b @ http://h/b']\n"));
        assert!(!project("[project.urls]\nhome = 'https://h'\n"));
        assert!(!named(&[("r.txt", "a\n"), ("templates/x.html", "")]));
    }

    #[test]
    fn what_npm_reads_is_looked_into() {
        let package = |more: &str| format!("{{\"dependencies\": {{\"a\": \"^1\"}}{more}}}");
        for (files, expected) in [
            (vec![("package.json", package(", \"homepage\": \"https://h\""))], false),
            (vec![("package.json", package(", \"overrides\": {\"a\": {\"b\": \"http://h/b.tgz\"}}"))], true),
            (vec![("package.json", package(", \"devDependencies\": {\"b\": \"x/y\"}"))], true),
            (vec![("package.json", package(", \"devDependencies\": {\"@x/b\": \"npm:@x/c@1\"}"))], false),
            (vec![("package.json", package("")), ("p/package.json", "{\"dependencies\": {\"q\": \"git://h/q\"}}".to_owned())], true),
            (vec![("package.json", package("")), (".npmrc", "# http://h\nfund=false\n".to_owned())], false),
            (vec![("package.json", package("")), (".npmrc", "registry=http://h/\n".to_owned())], true),
            (vec![("package.json", package("")), ("package-lock.json", "{\"packages\": {\"a\": {\"resolved\": \"https://h/a.tgz\", \"funding\": {\"url\": \"http://h\"}}}}".to_owned())], false),
            (vec![("package.json", package("")), ("package-lock.json", "{\"packages\": {\"a\": {\"resolved\": \"http://h/a.tgz\"}}}".to_owned())], true),
        ] {
            let shown: Vec<(&str, &str)> = files.iter().map(|(a, b)| (*a, &**b)).collect();
            assert_eq!(named(&shown), expected, "{shown:?}");
        }
    }

    #[test]
    fn variables_of_installers_name_addresses_and_others_do_not() {
        for (name, value, expected) in [
            ("PIP_INDEX_URL", "http://h", true),
            ("NPM_CONFIG_REGISTRY", "http://h", true),
            ("https_proxy", "h:1", true),
            ("PIP_CONFIG_FILE", "pip.conf", true),
            ("PIP_RETRIES", "1", false),
            ("API_URL", "http://h", false),
            ("NO_PROXY", "h", false),
        ] {
            assert_eq!(is_in_variable(name, value), expected, "{name}");
        }
    }
}
