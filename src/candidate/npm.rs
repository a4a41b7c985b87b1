//! Where npm would go besides the registry of forge's user, as far as a candidate's own files send it.

use serde_json::Value;

use super::Candidate;
use crate::name::RelativePath;

/// Lists of packages in a `package.json`.
const LISTS: [&str; 5] = [
    "dependencies",
    "devDependencies",
    "optionalDependencies",
    "peerDependencies",
    "overrides",
];
/// The registry whose addresses in a lock file npm replaces by those of the one that it is told.
const PUBLIC: &str = "https://registry.npmjs.org/";
/// Files of a lock, and settings that npm reads in a project.
const LOCKS: [&str; 2] = ["package-lock.json", "npm-shrinkwrap.json"];
const SETTINGS: &str = ".npmrc";

impl Candidate {
    /// What in its own files sends npm elsewhere, as a sentence fragment. `folder` is where its `package.json` is.
    #[must_use]
    pub fn npm_elsewhere(&self, folder: Option<&RelativePath>) -> Option<String> {
        let at = |name: &str| {
            let path = match folder {
                Some(folder) => format!("{folder}/{name}"),
                None => name.to_owned(),
            };
            RelativePath::parse(&path).ok()
        };
        let document = |name: &str| -> Option<Value> {
            let text = self.read(&at(name)?)?;
            serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()
        };
        if at(SETTINGS).is_some_and(|path| self.files.iter().any(|file| file.path == path)) {
            return Some(format!("its `{SETTINGS}` says where packages come from"));
        }
        let package = document("package.json").unwrap_or_default();
        let far = LISTS
            .iter()
            .filter_map(|list| package.get(list))
            .find_map(far_version);
        let far = far.or_else(|| {
            let locks = LOCKS.iter().filter_map(|name| document(name));
            locks.into_iter().find_map(|lock| far_address(&lock))
        });
        far.map(|far| {
            let far = crate::plain::short(&far, 80);
            format!("`{far}` says where a package comes from")
        })
    }
}

/// A version that is none: an address, a repository, an archive. In `overrides` they are nested.
fn far_version(versions: &Value) -> Option<String> {
    match versions {
        Value::String(version) => {
            let version = version.trim();
            let near = ["file:", "link:", "workspace:", "./", "../", "npm:"];
            let is_near = near.iter().any(|start| version.starts_with(start));
            let is_far = version.contains([':', '/']) && !is_near;
            is_far.then(|| version.to_owned())
        }
        Value::Object(versions) => versions.values().find_map(far_version),
        Value::Array(_) | Value::Bool(_) | Value::Number(_) | Value::Null => None,
    }
}

/// An address in a lock file that is not the registry's.
fn far_address(lock: &Value) -> Option<String> {
    match lock {
        Value::Object(fields) => fields.iter().find_map(|(name, value)| match value {
            Value::String(address) if name == "resolved" || name == "version" => {
                let is_far = address.contains(':')
                    && !address.starts_with("file:")
                    && !address.starts_with("npm:")
                    && !address.starts_with(PUBLIC);
                is_far.then(|| address.clone())
            }
            value => far_address(value),
        }),
        Value::Array(items) => items.iter().find_map(far_address),
        Value::String(_) | Value::Bool(_) | Value::Number(_) | Value::Null => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_from_places() {
        for (versions, far) in [
            (
                r#"{"a": "^1.2", "b": "*", "c": ">=1 <3 || 4.x", "d": "latest"}"#,
                None,
            ),
            (
                r#"{"a": "file:./a", "b": "link:b", "c": "npm:real@1"}"#,
                None,
            ),
            (
                r#"{"a": "http://127.0.0.1:9/a.tgz"}"#,
                Some("http://127.0.0.1:9/a.tgz"),
            ),
            (r#"{"a": "github:x/y"}"#, Some("github:x/y")),
            (r#"{"a": "x/y#main"}"#, Some("x/y#main")),
            (
                r#"{"a": "git+ssh://git@host/x"}"#,
                Some("git+ssh://git@host/x"),
            ),
            (
                r#"{"a": {"b": {"c": "https://h/c.tgz"}}}"#,
                Some("https://h/c.tgz"),
            ),
        ] {
            let versions = serde_json::from_str(versions).unwrap();
            assert_eq!(far_version(&versions).as_deref(), far, "{versions}");
        }
    }

    #[test]
    fn a_lock_of_the_registry_is_told_from_another() {
        for (lock, far) in [
            (
                r#"{"packages": {"x": {"version": "1.0.0", "resolved": "https://registry.npmjs.org/x/-/x-1.tgz"}}}"#,
                None,
            ),
            (
                r#"{"packages": {"x": {"resolved": "file:x", "link": true}}}"#,
                None,
            ),
            (
                r#"{"packages": {"x": {"resolved": "http://127.0.0.1:9/x.tgz"}}}"#,
                Some("http://127.0.0.1:9/x.tgz"),
            ),
            (
                r#"{"dependencies": {"x": {"version": "git+https://h/x.git#1"}}}"#,
                Some("git+https://h/x.git#1"),
            ),
        ] {
            let lock = serde_json::from_str(lock).unwrap();
            assert_eq!(far_address(&lock).as_deref(), far, "{lock}");
        }
    }
}
