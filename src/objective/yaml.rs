//! The YAML of an objective → [`Objective`]. Names every key that one may have.
//!
//! Promises: every problem of the text, and of the files that it names, is reported at once, with its
//! place. How quality is judged is in [`scoring`]; which files there are is in [`super::load`].

use std::collections::BTreeMap;
use std::path::Path;

use crate::name::{ObjectiveName, RelativePath};
use crate::policy;
use crate::problem::Problems;
use crate::quantity::ByteCount;
use crate::score::gate::Gate;
use crate::tree::{Folder, Located, MAX_FILES, MAX_TREE_BYTES, TreeFile, hash_file, reason};
use crate::yaml::decode::{Fields, Value, document};

use super::{Input, Objective, check_prompt, default_gates, default_output};

pub mod scoring;

/// The most that `repeat` may say.
pub const MAX_REPEAT: u32 = 1000;

const KEYS: [&str; 10] = [
    "title",
    "prompt",
    "inputs",
    "output",
    "artifacts",
    "limits",
    "repeat",
    "network",
    "gates",
    "scoring",
];
const GATES: [&str; 7] = [
    "exit_code",
    "min_bytes",
    "max_bytes",
    "contains",
    "not_contains",
    "regex",
    "json_schema",
];
/// What forge itself writes into the folder of a trial.
const TAKEN_OUTPUTS: [&str; 4] = ["trial.json", "stdout.log", "stderr.log", "files"];
const PROMPT_HINT: &str =
    "say what is to be done, for example `prompt: Write a post about the week`";

/// Loads an objective from its text. `file` is how messages call it; the files that it names are looked
/// for in `folder`, and read for the digest.
///
/// # Errors
/// [`Problems`]: all that is wrong with the text and with the files that it names.
pub fn load(
    name: ObjectiveName,
    file: &Path,
    text: &str,
    folder: &Folder,
) -> Result<Objective, Problems> {
    document(file, text, "an objective", |root| {
        let mut sources = Sources::new(folder);
        let objective = objective(name, file, root, &mut sources)?;
        let digest = sources.digest(text, root)?;
        Some(Objective {
            digest,
            ..objective
        })
    })
}

fn objective(
    name: ObjectiveName,
    file: &Path,
    root: &Value<'_>,
    sources: &mut Sources<'_>,
) -> Option<Objective> {
    let fields = root.fields("key", &KEYS, "")?;
    let title = fields.optional("title", title);
    let prompt = fields
        .required("prompt", PROMPT_HINT)
        .and_then(|value| prompt(&value));
    let inputs = fields.optional("inputs", |value| inputs(value, sources));
    let output = fields.optional("output", output);
    let artifacts = fields.optional("artifacts", policy::globs);
    let limits = fields.optional("limits", policy::limits);
    let repeat = fields.optional("repeat", |value| {
        value.whole(
            1..=MAX_REPEAT,
            "how often every candidate does it, for example `repeat: 5`",
        )
    });
    let network = fields.optional("network", policy::network);
    let gates = fields.optional("gates", |value| gates(value, sources));
    let scoring = fields.optional("scoring", |value| scoring::scoring(value, sources));
    Some(Objective {
        name,
        title: title?,
        prompt: prompt?.into(),
        inputs: inputs?.unwrap_or_default(),
        output: output?.unwrap_or_else(default_output),
        artifacts: artifacts?.unwrap_or_default(),
        limits: limits?.unwrap_or_default(),
        repeat: repeat?,
        network: network?,
        gates: gates?.unwrap_or_else(default_gates),
        scoring: scoring?.unwrap_or_default(),
        digest: String::new(),
        source: Some(file.to_owned()),
    })
}

fn title(value: &Value<'_>) -> Option<String> {
    let hint = "one line, for example `title: Weekly AI events`";
    let text = value.filled_text(hint)?.trim();
    if text.contains(['\n', '\r']) {
        return value.problem("the title has more than one line", hint);
    }
    Some(text.to_owned())
}

fn prompt(value: &Value<'_>) -> Option<String> {
    let text = value.text(PROMPT_HINT)?;
    match check_prompt(text) {
        Ok(()) => Some(text.to_owned()),
        Err(why) => value.problem(why, PROMPT_HINT),
    }
}

fn output(value: &Value<'_>) -> Option<RelativePath> {
    let hint = "one file name, for example `output: discord_post.md`";
    let text = value.filled_text(hint)?;
    let path = match RelativePath::parse(text) {
        Ok(path) => path,
        Err(error) => return value.problem(error.to_string(), hint),
    };
    if path.as_str().contains('/') {
        return value.problem(format!("`{path}` is in a folder"), hint);
    }
    if TAKEN_OUTPUTS.contains(&path.as_str()) {
        return value.problem(
            format!("`{path}` is a file that forge itself writes there"),
            hint,
        );
    }
    Some(path)
}

/// The paths below `FORGE_INPUTS` start with the base name of what is listed.
fn inputs(value: &Value<'_>, sources: &mut Sources<'_>) -> Option<Vec<Input>> {
    let hint = "files beside the objective, for example `inputs: [data/events.json]`";
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let listed = value.each(hint, |item| {
        let path = sources.path(item, hint)?;
        let base = path.file_name().to_owned();
        if let Some(other) = taken.insert(base.clone(), path.to_string()) {
            return item.problem(
                format!("`{other}` and `{path}` would both become `{base}` in `$FORGE_INPUTS`"),
                "rename one of them, or list their folder",
            );
        }
        let files = sources.all_below(item, &path)?;
        let parent = path.as_str().len() - base.len();
        files
            .into_iter()
            .map(
                |file| match RelativePath::parse(&file.path.as_str()[parent..]) {
                    Ok(path) => Some(Input {
                        path,
                        from: file.from,
                    }),
                    Err(error) => item.problem(error.to_string(), hint),
                },
            )
            .collect::<Option<Vec<Input>>>()
    })?;
    Some(listed.into_iter().flatten().collect())
}

/// Exit code and size come first, with the defaults where they are not given.
fn gates(value: &Value<'_>, sources: &mut Sources<'_>) -> Option<Vec<Gate>> {
    let hint = "a list of checks, for example `- contains: \"https://\"`";
    let mut given: Vec<&str> = Vec::new();
    let listed = value.each(hint, |item| {
        let fields = item.fields("gate", &GATES, hint)?;
        let known: Vec<(&str, Value<'_>)> = fields
            .iter()
            .filter(|(key, _)| GATES.contains(key))
            .collect();
        let [(kind, value)] = known.as_slice() else {
            if known.is_empty() && fields.iter().next().is_some() {
                return None;
            }
            return item.problem(
                format!("a gate has one key, this one has {}", known.len()),
                "start a new item with `-` for every gate",
            );
        };
        if matches!(*kind, "exit_code" | "min_bytes" | "max_bytes") {
            if given.contains(kind) {
                let message = format!("there is already an `{kind}` gate");
                return fields.key_problem(kind, message, "keep one of the two");
            }
            given.push(*kind);
        }
        gate(kind, value, sources)
    })?;
    let (mut first, mut rest) = (default_gates(), Vec::new());
    for gate in listed {
        match gate {
            Gate::ExitCode(_) => first[0] = gate,
            Gate::MinBytes(_) => first[1] = gate,
            Gate::MaxBytes(_)
            | Gate::Contains(_)
            | Gate::NotContains(_)
            | Gate::Regex(_)
            | Gate::JsonSchema(_) => rest.push(gate),
        }
    }
    if let [_, Gate::MinBytes(least)] = first.as_slice()
        && let Some(most) = rest.iter().find_map(|gate| match gate {
            Gate::MaxBytes(most) => Some(*most),
            Gate::ExitCode(_)
            | Gate::MinBytes(_)
            | Gate::Contains(_)
            | Gate::NotContains(_)
            | Gate::Regex(_)
            | Gate::JsonSchema(_) => None,
        })
        && most < *least
    {
        return value.problem(
            format!("no artifact passes: `max_bytes` {most} is below `min_bytes` {least}"),
            "`min_bytes` is 11 unless it is given",
        );
    }
    first.extend(rest);
    Some(first)
}

fn gate(kind: &str, value: &Value<'_>, sources: &mut Sources<'_>) -> Option<Gate> {
    let hint = "a text that the artifact must have, or must not have, in it";
    match kind {
        "exit_code" => value
            .whole(
                0..=255,
                "the exit code that counts as success, for example `exit_code: 0`",
            )
            .map(Gate::ExitCode),
        "min_bytes" => gate_bytes(value).map(Gate::MinBytes),
        "max_bytes" => gate_bytes(value).map(Gate::MaxBytes),
        "contains" => scoring::needle(value, hint).map(Gate::Contains),
        "not_contains" => scoring::needle(value, hint).map(Gate::NotContains),
        "regex" => scoring::pattern(value).map(Gate::Regex),
        _ => scoring::schema(value, sources).map(Gate::JsonSchema),
    }
}

/// Unlike limits, a gate may say 0.
fn gate_bytes(value: &Value<'_>) -> Option<u64> {
    if *value.tree() == crate::yaml::Tree::Whole(0) {
        return Some(0);
    }
    policy::byte_count(value).map(|count| count.0)
}

/// The files of an objective: found inside its folder, and remembered for the digest.
#[derive(Debug)]
pub(super) struct Sources<'f> {
    folder: &'f Folder,
    found: BTreeMap<RelativePath, TreeFile>,
}

impl<'f> Sources<'f> {
    fn new(folder: &'f Folder) -> Self {
        Self {
            folder,
            found: BTreeMap::new(),
        }
    }

    /// Decodes a path below the folder.
    fn path(&self, value: &Value<'_>, hint: &str) -> Option<RelativePath> {
        let text = value.filled_text(hint)?;
        RelativePath::parse(text).map_or_else(|error| value.problem(error.to_string(), hint), Some)
    }

    /// Finds one file that a value names.
    fn file(&mut self, value: &Value<'_>, hint: &str) -> Option<TreeFile> {
        let path = self.path(value, hint)?;
        match self.folder.file(&path) {
            Ok(file) => {
                self.found.insert(path, file.clone());
                Some(file)
            }
            Err(obstacle) => value.problem(
                format!("`{}` {}", obstacle.path, obstacle.message),
                "paths are relative to the objective's folder",
            ),
        }
    }

    /// Finds the file, or all the files of the folder, that a path leads to.
    fn all_below(&mut self, value: &Value<'_>, path: &RelativePath) -> Option<Vec<TreeFile>> {
        let files = match self.folder.locate(path) {
            Ok(Located::File(file)) => Ok(vec![file]),
            Ok(Located::Folder) => self.folder.walk(Some(path), &[]),
            Err(obstacle) => Err(vec![obstacle]),
        };
        match files {
            Ok(files) => {
                self.found
                    .extend(files.iter().map(|file| (file.path.clone(), file.clone())));
                self.check_bounds(value)?;
                Some(files)
            }
            Err(obstacles) => {
                for obstacle in obstacles {
                    let _: Option<()> = value.problem(
                        format!("`{}` {}", obstacle.path, obstacle.message),
                        "paths are relative to the objective's folder",
                    );
                }
                None
            }
        }
    }

    fn check_bounds(&self, value: &Value<'_>) -> Option<()> {
        let bytes: u64 = self.found.values().map(|file| file.bytes).sum();
        if self.found.len() > MAX_FILES || bytes > MAX_TREE_BYTES.0 {
            return value.problem(
                format!(
                    "the objective's files are {} with {}",
                    self.found.len(),
                    ByteCount(bytes)
                ),
                format!("at most {MAX_FILES} files with {MAX_TREE_BYTES}"),
            );
        }
        Some(())
    }

    /// Whether a path leads to anything.
    fn has(&self, path: &RelativePath) -> bool {
        !self
            .folder
            .locate(path)
            .is_err_and(|obstacle| obstacle.missing)
    }

    /// The text of a file of at most [`crate::yaml::MAX_YAML_BYTES`].
    fn read(&mut self, value: &Value<'_>, hint: &str) -> Option<String> {
        let file = self.file(value, hint)?;
        match crate::tree::read_text(&file.from, ByteCount(crate::yaml::MAX_YAML_BYTES)) {
            Ok(text) => Some(text),
            Err(problem) => {
                let place = problem
                    .at
                    .map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
                value.problem(format!("`{}`{place}: {}", file.path, problem.message), hint)
            }
        }
    }

    fn digest(&self, text: &str, root: &Value<'_>) -> Option<String> {
        let mut parts = vec![text.as_bytes().to_vec()];
        for (path, file) in &self.found {
            match hash_file(&file.from) {
                Ok(hash) => {
                    parts.push(path.as_str().as_bytes().to_vec());
                    parts.push(hash.into_bytes());
                }
                Err(error) => {
                    let message = format!("`{path}` cannot be read: {}", reason(&error));
                    return root.problem(message, "");
                }
            }
        }
        Some(crate::candidate::digest(parts.iter().map(Vec::as_slice)))
    }
}

/// The keys that are in both lists, in the order of the text.
fn present<'d>(fields: &Fields<'d>, known: &[&str]) -> Vec<&'d str> {
    fields
        .iter()
        .map(|(key, _)| key)
        .filter(|key| known.contains(key))
        .collect()
}
