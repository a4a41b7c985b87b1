//! What a `pyproject.toml` says of the packages and the Python that its project needs: read, never executed.

use serde::Deserialize;
use toml::{Table, Value};

/// What forge takes from it, and what it does not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pyproject {
    /// `[project] dependencies`, each a requirement such as `requests>=2`.
    pub packages: Vec<String>,
    /// `[project] requires-python`.
    pub requires_python: Option<String>,
    /// Packages that it asks for in a way that forge does not follow; each a sentence.
    pub unread: Vec<String>,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PyprojectError {
    /// The line, from 1, where it is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    project: Project,
    #[serde(default)]
    tool: Table,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Project {
    #[serde(default)]
    dependencies: Vec<String>,
    requires_python: Option<String>,
    #[serde(default)]
    dynamic: Vec<String>,
}

/// Settings of `[tool.uv]` that change what is installed.
pub(super) const UV_SETTINGS: [&str; 7] = [
    "sources",
    "index",
    "index-url",
    "extra-index-url",
    "find-links",
    "constraint-dependencies",
    "override-dependencies",
];

/// Where other tools list what they install, below `[tool]`.
const LISTS: [&str; 3] = [
    "poetry.dependencies",
    "flit.metadata.requires",
    "pixi.dependencies",
];

/// Reads it.
///
/// # Errors
/// [`PyprojectError`] when its TOML or a requirement is wrong.
pub fn parse(text: &str) -> Result<Pyproject, PyprojectError> {
    let document: Document = toml::from_str(text).map_err(|error| PyprojectError {
        line: error
            .span()
            .map(|span| text.get(..span.start).unwrap_or(text).matches('\n').count() + 1),
        message: error.message().to_owned(),
    })?;
    let Document { project, tool } = document;
    if let Some(bad) = project.dependencies.iter().find(|it| !is_requirement(it)) {
        return Err(PyprojectError {
            line: None,
            message: format!("{bad:?} is not a requirement such as `requests>=2`"),
        });
    }
    let mut unread = Vec::new();
    if project.dynamic.iter().any(|it| it == "dependencies") {
        unread.push(
            "the `dependencies` of `pyproject.toml` are dynamic, and forge does not run its build to learn them"
                .to_owned(),
        );
    }
    for list in LISTS {
        let found = list
            .split('.')
            .try_fold(None, |at: Option<&Value>, key| {
                let next = at.map_or_else(|| tool.get(key), |value| value.get(key));
                next.map(Some)
            })
            .flatten();
        let asks = match found {
            Some(Value::Table(packages)) => packages.keys().any(|name| name != "python"),
            Some(Value::Array(packages)) => !packages.is_empty(),
            Some(
                Value::String(_)
                | Value::Integer(_)
                | Value::Float(_)
                | Value::Boolean(_)
                | Value::Datetime(_),
            )
            | None => false,
        };
        // Some repeat there what the standard's table says, with more.
        if asks && project.dependencies.is_empty() {
            unread.push(format!(
                "what `[tool.{list}]` of `pyproject.toml` lists is not installed: forge reads `[project] dependencies`"
            ));
        }
    }
    let poetry = tool.get("poetry").and_then(|it| it.get("dependencies"));
    if let Some(Value::String(python)) = poetry.and_then(|it| it.get("python"))
        && project.requires_python.is_none()
    {
        let python = crate::plain::short(python, 40);
        unread.push(format!(
            "`[tool.poetry.dependencies]` of `pyproject.toml` asks for Python {python}; forge reads `requires-python` of `[project]`"
        ));
    }
    unread.extend(uv_settings("`pyproject.toml`", &tool));
    Ok(Pyproject {
        packages: project.dependencies,
        requires_python: project.requires_python,
        unread,
    })
}

/// A sentence when `[tool.uv]` has settings that change what is installed.
pub(super) fn uv_settings(file: &str, tool: &Table) -> Option<String> {
    let uv = tool.get("uv")?;
    let set = UV_SETTINGS.iter().find(|name| uv.get(name).is_some())?;
    Some(format!(
        "`{set}` in `[tool.uv]` of {file} is not followed: packages come from where this machine's settings say"
    ))
}

/// Whether a text can be one argument of an installer, where a leading `-` would be an option.
pub(super) fn is_requirement(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty() && !text.starts_with('-') && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, packages: &[&str], requires: Option<&str>, unread: &[&str]) {
        let read = parse(text).unwrap();
        assert_eq!(read.packages, packages, "{text}");
        assert_eq!(read.requires_python.as_deref(), requires, "{text}");
        assert_eq!(read.unread.len(), unread.len(), "{text}: {:?}", read.unread);
        for (sentence, part) in read.unread.iter().zip(unread) {
            assert!(sentence.contains(part), "{text}: {sentence}");
        }
    }

    #[test]
    fn the_standard_table_says_what_is_installed() {
        check("", &[], None, &[]);
        check("[build-system]\nrequires = ['hatchling']\n", &[], None, &[]);
        check("[tool.ruff]\nline-length = 100\n", &[], None, &[]);
        check(
            "[project]\nname = 'a'\nrequires-python = '>=3.9'\ndependencies = ['rich>=13', 'a @ file:x.whl']\n",
            &["rich>=13", "a @ file:x.whl"],
            Some(">=3.9"),
            &[],
        );
    }

    #[test]
    fn what_other_tools_are_told_is_said() {
        check("[project]\ndynamic = ['version']\n", &[], None, &[]);
        check(
            "[project]\ndynamic = ['version', 'dependencies']\n",
            &[],
            None,
            &["dynamic"],
        );
        let poetry = "[tool.poetry.dependencies]\npython = '^3.11'\n";
        check(poetry, &[], None, &["asks for Python ^3.11"]);
        check(
            &format!("{poetry}rich = '*'\n"),
            &[],
            None,
            &["[tool.poetry.dependencies]", "^3.11"],
        );
        check(
            "[project]\ndependencies = ['rich']\nrequires-python = '>=3'\n[tool.poetry.dependencies]\npython = '^3'\nrich = {source = 'x'}\n",
            &["rich"],
            Some(">=3"),
            &[],
        );
        check(
            "[project]\ndependencies = ['lib']\n[tool.uv.sources]\nlib = {path = 'lib'}\n",
            &["lib"],
            None,
            &["`sources` in `[tool.uv]`"],
        );
    }

    #[test]
    fn a_wrong_file_is_told_with_its_line() {
        for (text, line, part) in [
            ("[project]\nx = \n", Some(2), ""),
            (
                "[project]\ndependencies = 'rich'\n",
                Some(2),
                "invalid type",
            ),
            (
                "[project]\ndependencies = ['-e .']\n",
                None,
                "not a requirement",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error:?}");
            assert!(error.message.contains(part), "{text}: {error:?}");
        }
    }
}
