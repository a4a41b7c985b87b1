//! What pyenv's shims lead to, in the plain case, without starting them: a shim is bash looking for files,
//! for 50 to 100 ms each time.
//!
//! Promises: only what the shim itself would come to is answered. Whatever is not plain (a version by its
//! prefix, `system`, one without the program, hooks of the user's own) is left to the shim.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::is_executable;

/// The longest shim or version file that is looked at, in bytes.
const LONGEST: u64 = 4096;

/// The program behind a shim of pyenv that is called in `folder`.
pub(super) fn behind(
    shim: &Path,
    env: &BTreeMap<String, String>,
    folder: &Path,
) -> Option<PathBuf> {
    let root = root_of(&read(shim)?)?;
    let set = |name: &str| env.get(name).filter(|value| !value.is_empty());
    if set("PYENV_DIR").or(set("PYENV_HOOK_PATH")).is_some() {
        return None;
    }
    let of_folder = || first_word(&read(&version_file(&root, folder))?).map(str::to_owned);
    let versions = set("PYENV_VERSION").cloned().or_else(of_folder)?;
    let first = versions.split(':').next()?;
    if first == ".." || first.contains('/') {
        return None;
    }
    let program = root.join("versions").join(first);
    let program = program.join("bin").join(shim.file_name()?);
    is_executable(&program).then_some(program)
}

fn read(file: &Path) -> Option<String> {
    let (file, _) = crate::tree::open_regular(file).ok()?;
    let mut text = String::new();
    file.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

/// The nearest file that says which version a folder wants.
fn version_file(root: &Path, folder: &Path) -> PathBuf {
    let mut nearest = folder.ancestors().map(|it| it.join(".python-version"));
    let of_project = nearest.find(|file| file.is_file());
    of_project.unwrap_or_else(|| root.join("version"))
}

/// Where pyenv is, by the text of one of its shims.
fn root_of(shim: &str) -> Option<PathBuf> {
    let mut lines = shim.lines();
    let root = lines.find_map(|line| {
        let quoted = line.strip_prefix("export PYENV_ROOT=\"")?;
        quoted.strip_suffix('"')
    })?;
    // What a shell would make something else of is not plain.
    let plain = root.starts_with('/') && !root.contains(['$', '`', '\\', '"']);
    let hands_over = |line: &str| line.ends_with("pyenv\" exec \"$program\" \"$@\"");
    (plain && lines.any(hands_over)).then(|| root.into())
}

/// The first word of the first line that is no comment. Shells differ about what else is a space than these,
/// and pyenv about where a long line ends.
fn first_word(text: &str) -> Option<&str> {
    let plain = |line: &str| {
        let plain = |c: char| c.is_ascii_graphic() || matches!(c, ' ' | '\t' | '\r');
        line.len() < 1000 && line.chars().all(plain)
    };
    if !text.split('\n').all(plain) {
        return None;
    }
    let mut words = text
        .split('\n')
        .filter_map(|line| line.split_ascii_whitespace().next());
    words.find(|word| !word.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        /// A pyenv with two versions, the second of which has no `python`.
        fn new() -> Self {
            let this = Self(tempfile::tempdir().unwrap());
            let root = this.path("");
            let shim = format!(
                "#!/usr/bin/env bash\nset -e\nprogram=\"${{0##*/}}\"\n\nexport PYENV_ROOT=\"{0}\"\n\
                exec \"{0}/libexec/pyenv\" exec \"$program\" \"$@\"\n",
                root.display().to_string().trim_end_matches('/')
            );
            this.file("shims/python", &shim);
            this.file("versions/3.11.7/bin/python", "");
            this.file("versions/3.12.1/bin/python3", "");
            this.file("project/src/x", "");
            this
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn file(&self, path: &str, text: &str) {
            let path = self.path(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }

        fn behind(&self, env: &[(&str, &str)]) -> Option<PathBuf> {
            let env = env
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            behind(
                &self.path("shims/python"),
                &env.collect(),
                &self.path("project/src"),
            )
        }

        #[track_caller]
        fn assert_is(&self, env: &[(&str, &str)], version: Option<&str>) {
            let expected = version.map(|it| self.path(&format!("versions/{it}/bin/python")));
            assert_eq!(self.behind(env), expected);
        }
    }

    #[test]
    fn the_version_is_of_the_variable_then_of_the_project_then_of_the_home() {
        let home = Home::new();
        home.assert_is(&[], None);
        home.file("version", "# the usual one\n\n  3.11.7 # and why\n3.12.1\n");
        home.assert_is(&[], Some("3.11.7"));
        home.file("project/.python-version", "3.10.0\r\n");
        home.assert_is(&[], None);
        home.assert_is(&[("PYENV_VERSION", "3.11.7:3.10.0")], Some("3.11.7"));
        home.assert_is(&[("PYENV_VERSION", "")], None);
        // It is no file: nothing in it is a comment, or the end of a word.
        for strange in [" 3.11.7", "3.11.7 ", "3.11.7\n3.12.1", "# x\n3.11.7"] {
            home.assert_is(&[("PYENV_VERSION", strange)], None);
        }
        home.file("project/src/.python-version", "3.11.7\r\n");
        home.assert_is(&[], Some("3.11.7"));
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_shim() {
        let home = Home::new();
        for version in [
            "system",
            "3.11",
            "3.12.1",
            "3.12.1:3.11.7",
            "..",
            "../versions/3.11.7",
            "",
        ] {
            home.file("version", version);
            home.assert_is(&[], None);
        }
        let long = format!("#{}\n3.11.7\n", "x".repeat(1023));
        for version in ["3.11.7\u{b}x", "3.11.7\u{a0}x", "3.11.7\u{2028}", &long] {
            home.file("version", version);
            home.assert_is(&[], None);
        }
        home.file("version", "3.11.7");
        home.assert_is(&[], Some("3.11.7"));
        home.assert_is(&[("PYENV_HOOK_PATH", "/x")], None);
        home.assert_is(&[("PYENV_DIR", "/x")], None);
        for shim in [
            "#!/bin/sh\nexec pyenv\n",
            "export PYENV_ROOT=\"$HOME/.pyenv\"\nexec \"x/pyenv\" exec \"$program\" \"$@\"\n",
            "export PYENV_ROOT=\"/x\"\n",
        ] {
            home.file("shims/python", shim);
            home.assert_is(&[], None);
        }
    }
}
