//! The YAML of an objective → [`Objective`]. Names every key that one may have.
//!
//! Promises: every problem of the text, and of the files that it names, is reported at once, with its
//! place. Which objectives there are is for [`super::load`].

use std::collections::BTreeMap;
use std::path::Path;

use crate::lint;
use crate::name::{ObjectiveName, RelativePath};
use crate::policy;
use crate::problem::Problems;
use crate::score::gate::Gate;
use crate::tree::Folder;
use crate::yaml::decode::{Fields, Value, document};

use super::{Input, Objective, default_gates, default_output, is_taken_output};

mod patterns;
mod prompt;
mod scoring;
mod sources;

#[cfg(test)]
pub(crate) use scoring::KINDS;
use sources::{Sources, relative};

/// The most that `repeat` may say.
pub const MAX_REPEAT: u32 = 10_000;

pub(crate) const KEYS: [&str; 13] = [
    "title",
    "prompt",
    "inputs",
    "output",
    "reference",
    "artifacts",
    "limits",
    "repeat",
    "network",
    "image",
    "gates",
    "scoring",
    "allow",
];
pub(crate) const GATES: [&str; 7] = [
    "exit_code",
    "min_bytes",
    "max_bytes",
    "contains",
    "not_contains",
    "regex",
    "json_schema",
];
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
        .required("prompt", prompt::HINT)
        .and_then(|value| prompt::prompt(&value, sources));
    let inputs = fields.optional("inputs", |value| inputs(value, sources));
    let output = fields.optional("output", output);
    let reference = fields.optional("reference", |value| {
        let hint = "a file beside the objective, for example `reference: checks/answer.md`";
        sources.file(value, hint).map(|file| file.from)
    });
    let artifacts = fields.optional("artifacts", policy::globs);
    let limits = fields.optional("limits", policy::limits);
    let repeat = fields.optional("repeat", |value| {
        value.whole(
            1..=MAX_REPEAT,
            "how often every candidate does it, for example `repeat: 5`",
        )
    });
    let network = fields.optional("network", policy::networks);
    let image = fields.optional("image", policy::image);
    let gates = fields.optional("gates", |value| gates(value, sources));
    let scoring = fields.optional("scoring", |value| scoring::scoring(value, sources));
    let allow = fields.optional("allow", lint::allowed);
    Some(Objective {
        name,
        title: title?,
        prompt: prompt?.into(),
        inputs: inputs?.unwrap_or_default(),
        output: output?.unwrap_or_else(default_output),
        reference: reference?,
        artifacts: artifacts?.unwrap_or_default(),
        limits: limits?.unwrap_or_default(),
        repeat: repeat?,
        network: network?.unwrap_or_default(),
        image: image?,
        gates: gates?.unwrap_or_else(default_gates),
        scoring: scoring?.unwrap_or_default(),
        allow: allow?.unwrap_or_default(),
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
    if is_taken_output(path.as_str()) {
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
        let path = relative(item, hint)?;
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
        "contains" => patterns::needle(value, hint, sources).map(Gate::Contains),
        "not_contains" => patterns::needle(value, hint, sources).map(Gate::NotContains),
        "regex" => patterns::pattern(value).map(Gate::Regex),
        _ => patterns::schema(value, sources).map(Gate::JsonSchema),
    }
}

/// Unlike limits, a gate may say 0.
fn gate_bytes(value: &Value<'_>) -> Option<u64> {
    if *value.tree() == crate::yaml::Tree::Whole(0) {
        return Some(0);
    }
    policy::byte_count(value).map(|count| count.0)
}

/// The keys that are in both lists, in the order of the text.
fn present<'d>(fields: &Fields<'d>, known: &[&str]) -> Vec<&'d str> {
    fields
        .iter()
        .map(|(key, _)| key)
        .filter(|key| known.contains(key))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::ByteCount;
    use crate::score::quality::{JsonExpectation, OnError, Quality, Range};
    use std::fs;
    use tempfile::TempDir;

    /// A folder with everything that the documents below name.
    fn folder() -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("data/events.json", "[]"),
            ("data/more/a.txt", "a"),
            ("other/events.json", "{}"),
            ("schemas/list.json", r#"{"type": "array"}"#),
            ("schemas/broken.json", "{\n  \"type\": \n}"),
            ("schemas/wrong.json", r#"{"type": "lisst"}"#),
            ("checks/links.py", "print(1)"),
            ("checks/words.txt", "a"),
            ("expected.md", "hello\n"),
        ] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(dir.path().join("latin.md"), b"caf\xe9").unwrap();
        std::os::unix::fs::symlink("/etc/hosts", dir.path().join("out.txt")).unwrap();
        std::os::unix::fs::symlink("nowhere", dir.path().join("dangling.txt")).unwrap();
        std::os::unix::fs::symlink("data/events.json", dir.path().join("link.json")).unwrap();
        dir
    }

    fn read(text: &str) -> Result<Objective, Problems> {
        let dir = folder();
        let name = ObjectiveName::parse("o").unwrap();
        load(
            name,
            Path::new("o.yaml"),
            text,
            &Folder::open(dir.path()).unwrap(),
        )
    }

    fn check(text: &str, expected: &str) {
        match read(text) {
            Ok(_) => panic!("{text}\nwas taken, but should say:\n{expected}"),
            Err(problems) => assert_eq!(problems.to_string(), expected, "for\n{text}"),
        }
    }

    #[test]
    fn the_example_of_the_contract_is_read_whole() {
        let objective = read(
            r"
title: Weekly AI events
prompt: |
  Generate a weekly post.
inputs: [data/events.json, link.json, checks]
output: discord_post.md
artifacts: ['charts/*.png']
limits: {run: 60s, setup: 5m, output: 10MiB, artifacts: 50MiB}
repeat: 5
network: block
gates:
  - max_bytes: 64KB
  - min_bytes: 20
  - contains: 'https://'
  - json_schema: schemas/list.json
  - json_schema: {type: object, required: [a]}
scoring:
  weights: {success: 0.5}
  quality:
    - {regex: '^\*\*', at_least: 3, weight: 2}
    - {command: [python3, checks/links.py, -v], files: [data], weight: 3, timeout: 5s, scale: 1, on_error: zero}
    - {contains: [a, b]}
    - {length: words, at_most: 400}
    - {json_path: '$.a', equals: {b: [1, 2.5, null]}}
    - {json_path: '$.a'}
    - {golden: expected.md}
    - {equals: ''}
  speed: {full_marks: 0s, no_marks: 60s}
",
        )
        .unwrap();
        assert_eq!(objective.title.as_deref(), Some("Weekly AI events"));
        assert_eq!(&*objective.prompt, "Generate a weekly post.\n");
        let inputs: Vec<&str> = objective
            .inputs
            .iter()
            .map(|input| input.path.as_str())
            .collect();
        assert_eq!(
            inputs,
            [
                "events.json",
                "link.json",
                "checks/links.py",
                "checks/words.txt"
            ]
        );
        assert_eq!(objective.limits.output, Some(ByteCount::mib(10)));
        assert_eq!(objective.network.run, Some(crate::sandbox::Network::Block));
        assert!(matches!(
            objective.gates.as_slice(),
            [
                Gate::ExitCode(0),
                Gate::MinBytes(20),
                Gate::MaxBytes(64_000),
                Gate::Contains(_),
                Gate::JsonSchema(_),
                Gate::JsonSchema(_)
            ]
        ));
        assert!((objective.scoring.weights.success - 0.5).abs() < 1e-9);
        assert!((objective.scoring.weights.quality - 0.6).abs() < 1e-9);
        let scorers: Vec<&Quality> = objective
            .scoring
            .quality
            .iter()
            .map(|one| &one.scorer)
            .collect();
        let Quality::Command(grader) = scorers[1] else {
            panic!("not a command")
        };
        let files: Vec<&str> = grader.files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            files,
            ["checks/links.py", "data/events.json", "data/more/a.txt"]
        );
        let rules = (grader.scale, grader.on_error);
        assert_eq!(rules, (Some(1.0), Some(OnError::Zero)));
        assert!(matches!(
            scorers[0],
            Quality::Regex(
                _,
                Range {
                    at_least: Some(3),
                    at_most: None
                }
            )
        ));
        assert!(matches!(
            scorers[3],
            Quality::Length(
                _,
                Range {
                    at_least: None,
                    at_most: Some(400)
                }
            )
        ));
        assert!(matches!(
            scorers[4],
            Quality::JsonPath(_, JsonExpectation::Equals(_))
        ));
        assert!(matches!(
            scorers[5],
            Quality::JsonPath(
                _,
                JsonExpectation::Count(Range {
                    at_least: Some(1),
                    at_most: None
                })
            )
        ));
        assert_eq!(objective.digest.len(), 64);
    }

    #[test]
    fn a_prompt_alone_is_an_objective() {
        let objective = read("\u{feff}prompt: Write\r\n").unwrap();
        assert_eq!(&*objective.prompt, "Write");
        assert_eq!(objective.output.as_str(), "discord_post.md");
        assert!(matches!(
            objective.gates.as_slice(),
            [Gate::ExitCode(0), Gate::MinBytes(11)]
        ));
    }

    #[test]
    fn the_digest_covers_the_files_that_are_named() {
        let dir = folder();
        let digest = |text: &str| {
            let name = ObjectiveName::parse("o").unwrap();
            let folder = Folder::open(dir.path()).unwrap();
            load(name, Path::new("o.yaml"), text, &folder)
                .unwrap()
                .digest
        };
        let text = "prompt: p\nscoring: {quality: [{golden: expected.md}]}\n";
        let before = digest(text);
        assert_eq!(before, digest(text));
        fs::write(dir.path().join("expected.md"), "other").unwrap();
        assert_ne!(before, digest(text));
        assert_ne!(digest("prompt: p\n"), digest("prompt: p # x\n"));
    }

    #[test]
    fn what_is_no_objective_at_all_says_so() {
        check(
            "",
            "error: o.yaml:1:1: the file is empty; expected an objective",
        );
        check(
            "- a
",
            "error: o.yaml:1:1: expected an objective, a mapping of keys to values, got a list
  hint: every line at the left border is `key: value`",
        );
        check(
            "just text",
            r#"error: o.yaml:1:1: expected an objective, a mapping of keys to values, got the text "just text"
  hint: every line at the left border is `key: value`"#,
        );
        check(
            "{}",
            "error: o.yaml:1:1: `prompt` is missing
  hint: say what is to be done, for example `prompt: Write a post about the week`; `prompt: file://prompt.txt` reads a file",
        );
    }

    #[test]
    fn every_wrong_field_is_told_with_its_place() {
        check(
            "titel: x
prompt: ''
repeat: 0
colour: red
",
            "error: o.yaml:1:1: unknown key `titel`
  hint: did you mean `title`?
error: o.yaml:2:9: prompt: the prompt is empty
  hint: say what is to be done, for example `prompt: Write a post about the week`; `prompt: file://prompt.txt` reads a file
error: o.yaml:3:9: repeat: expected a whole number from 1 to 10000, got the number 0
  hint: how often every candidate does it, for example `repeat: 5`
error: o.yaml:4:1: unknown key `colour`
  hint: known are `title`, `prompt`, `inputs`, `output`, `reference`, `artifacts`, `limits`, `repeat`, `network`, `image`, `gates`, `scoring`, `allow`",
        );
        check(
            "prompt: 5
title: [a]
limits: {run: 60, setup: soon, outptu: 1MiB, artifacts: -1}
repeat: 10001
",
            "error: o.yaml:1:9: prompt: expected a text, got the number 5
  hint: put it into quotes to make it a text
error: o.yaml:2:8: title: expected a text, got a list
  hint: one line, for example `title: Weekly AI events`
error: o.yaml:3:15: limits.run: expected a duration, got the number 60
  hint: durations have a unit, for example `90s`, `5m` or `250ms`
error: o.yaml:3:26: limits.setup: expected a duration such as `90s`, `5m` or `250ms`, got `soon`
  hint: durations have a unit, for example `90s`, `5m` or `250ms`
error: o.yaml:3:32: limits: unknown limit `outptu`
  hint: did you mean `output`?
error: o.yaml:3:57: limits.artifacts: expected a size, got the number -1
  hint: sizes are texts such as `10MiB`, or whole numbers of bytes
error: o.yaml:4:9: repeat: expected a whole number from 1 to 10000, got the number 10001
  hint: how often every candidate does it, for example `repeat: 5`",
        );
        check(
            "prompt: p
inputs: [nowhere.txt, out.txt, dangling.txt, /etc/passwd, ../x, data/events.json, other/events.json]
",
            "error: o.yaml:2:10: inputs[0]: `nowhere.txt` is not there
  hint: paths are relative to the objective's folder
error: o.yaml:2:23: inputs[1]: `out.txt` is a link that leads out of its folder
  hint: paths are relative to the objective's folder
error: o.yaml:2:32: inputs[2]: `dangling.txt` is a link that leads nowhere
  hint: paths are relative to the objective's folder
error: o.yaml:2:46: inputs[3]: `/etc/passwd` is absolute; give a path relative to the folder
  hint: files beside the objective, for example `inputs: [data/events.json]`
error: o.yaml:2:59: inputs[4]: `../x` leaves its folder
  hint: files beside the objective, for example `inputs: [data/events.json]`
error: o.yaml:2:83: inputs[6]: `data/events.json` and `other/events.json` would both become `events.json` in `$FORGE_INPUTS`
  hint: rename one of them, or list their folder",
        );
        check(
            "prompt: p
output: a/b.md
artifacts: [/x, ../y, '[', 'ok/**']
network: opne
",
            r#"error: o.yaml:2:9: output: `a/b.md` is in a folder
  hint: one file name, for example `output: discord_post.md`
error: o.yaml:3:13: artifacts[0]: `/x` leaves the folder
  hint: patterns below `$FORGE_ARTIFACTS`, for example `["charts/*.png"]`
error: o.yaml:3:17: artifacts[1]: `../y` leaves the folder
  hint: patterns below `$FORGE_ARTIFACTS`, for example `["charts/*.png"]`
error: o.yaml:3:23: artifacts[2]: `[` is no pattern: unclosed character class; missing ']'
  hint: patterns below `$FORGE_ARTIFACTS`, for example `["charts/*.png"]`
error: o.yaml:4:10: network: expected `open`, `block` or IPv4 networks such as `10.0.0.0/8`, got `opne`
  hint: did you mean `open`?"#,
        );
        check(
            "prompt: p
output: trial.json
network: [10.0.0.1/8, fd00::/8]
",
            "error: o.yaml:2:9: output: `trial.json` is a file that forge itself writes there
  hint: one file name, for example `output: discord_post.md`
error: o.yaml:3:11: network[0]: `10.0.0.1/8` has bits below its prefix; the network is `10.0.0.0/8`
  hint: `open`, `block`, or one to ten IPv4 networks such as `[10.0.0.0/8, 203.0.113.7/32]`
error: o.yaml:3:23: network[1]: expected an IPv4 network such as `10.0.0.0/8`, got `fd00::/8`
  hint: `open`, `block`, or one to ten IPv4 networks such as `[10.0.0.0/8, 203.0.113.7/32]`",
        );
        check(
            "prompt: &p [a]
title: *p
",
            "error: o.yaml:1:9: prompt: expected a text, got a list
  hint: say what is to be done, for example `prompt: Write a post about the week`; `prompt: file://prompt.txt` reads a file
error: o.yaml:1:9: title: expected a text, got a list
  hint: one line, for example `title: Weekly AI events`",
        );
    }

    #[test]
    fn every_wrong_gate_is_told_with_its_place() {
        check(
            "prompt: p
gates:
  - exitcode: 0
  - {contains: a, regex: b}
  - {}
  - contains: ''
  - exit_code: 256
  - exit_code: 1
  - exit_code: 2
  - regex: '('
  - regex: 'a{1000}{1000}{1000}'
  - max_bytes: lots
",
            "error: o.yaml:3:5: gates[0]: unknown gate `exitcode`
  hint: did you mean `exit_code`?
error: o.yaml:4:5: gates[1]: a gate has one key, this one has 2
  hint: start a new item with `-` for every gate
error: o.yaml:5:5: gates[2]: a gate has one key, this one has 0
  hint: start a new item with `-` for every gate
error: o.yaml:6:15: gates[3].contains: every artifact has the empty text in it
  hint: a text that the artifact must have, or must not have, in it
error: o.yaml:7:16: gates[4].exit_code: expected a whole number from 0 to 255, got the number 256
  hint: the exit code that counts as success, for example `exit_code: 0`
error: o.yaml:8:5: gates[5].exit_code: there is already an `exit_code` gate
  hint: keep one of the two
error: o.yaml:9:5: gates[6].exit_code: there is already an `exit_code` gate
  hint: keep one of the two
error: o.yaml:10:12: gates[7].regex: `(` is no pattern: unclosed group
  hint: a regular expression in single quotes, for example `regex: '^## '`
error: o.yaml:11:12: gates[8].regex: the pattern is too large once it is compiled
  hint: use smaller repetitions: `{1,1000}` is a thousand copies
error: o.yaml:12:16: gates[9].max_bytes: expected a size such as `10MiB`, `64KB` or `4096`, got `lots`
  hint: sizes are texts such as `10MiB`, or whole numbers of bytes",
        );
        check(
            "prompt: p
gates:
  - json_schema: schemas/broken.json
  - json_schema: schemas/wrong.json
  - json_schema: {$ref: 'http://127.0.0.1:9/x.json'}
  - json_schema: schemas
  - json_schema: {type: 5}
  - json_schema: {$ref: 'file:///etc/hosts'}
",
            r#"error: o.yaml:3:18: gates[0].json_schema: `schemas/broken.json` is not JSON: expected value at line 3 column 1
  hint: a JSON file beside the objective, for example `json_schema: schemas/events.json`, or a schema
error: o.yaml:4:18: gates[1].json_schema: the schema `schemas/wrong.json` is not valid at `/type`: "lisst" is not valid under any of the schemas listed in the 'anyOf' keyword
  hint: forge knows JSON Schema up to draft 2020-12
error: o.yaml:5:18: gates[2].json_schema: the schema `inline` refers to another: resource 'http://127.0.0.1:9/x.json'
  hint: put both into one schema, under `$defs`: forge fetches nothing
error: o.yaml:6:18: gates[3].json_schema: `schemas` is a folder, not a file
  hint: paths are relative to the objective's folder
error: o.yaml:7:18: gates[4].json_schema: the schema `inline` is not valid at `/type`: 5 is not valid under any of the schemas listed in the 'anyOf' keyword
  hint: forge knows JSON Schema up to draft 2020-12
error: o.yaml:8:18: gates[5].json_schema: the schema `inline` refers to another: resource 'file:///etc/hosts'
  hint: put both into one schema, under `$defs`: forge fetches nothing"#,
        );
        check(
            "prompt: p
gates: [{max_bytes: 5}]
",
            "error: o.yaml:2:8: gates: no artifact passes: `max_bytes` 5 is below `min_bytes` 11
  hint: `min_bytes` is 11 unless it is given",
        );
    }

    #[test]
    fn every_wrong_part_of_scoring_is_told_with_its_place() {
        check(
            r#"prompt: p
scoring:
  quality:
    - {regex: a, weight: "heavy"}
    - {regex: a, weight: 0}
    - {golden: latin.md, at_least: 3}
    - {judge: {rubric: rubrics/post.md}, weight: 5}
    - {weight: 5}
    - {regx: a}
    - {regex: a, contains: b}
    - {length: wrods, at_least: 1}
    - {length: words}
    - {regex: a, at_least: 5, at_most: 2}
    - {json_path: '$[', at_least: 2}
    - {json_path: '$.a', equals: 1, at_most: 3}
    - {command: python3}
    - {command: [python3, checks/lnks.py]}
    - {contains: []}
    - {regex: a, at_most: 2.5}
    - {command: [python3], scale: 0}
    - {command: [python3], scale: ten, on_error: ungrade}
    - {regex: a, on_error: zero, scale: 1}
"#,
            r#"error: o.yaml:4:26: scoring.quality[0].weight: expected a number, got the text "heavy"
  hint: weights are numbers, for example `weight: 2`
error: o.yaml:5:26: scoring.quality[1].weight: expected a number above 0, got the number 0
  hint: weights are numbers, for example `weight: 2`
error: o.yaml:6:16: scoring.quality[2].golden: `latin.md`:1:4: the byte 0xE9 is not UTF-8
  hint: a text file beside the objective, for example `golden: expected/post.md`
error: o.yaml:6:26: scoring.quality[2].at_least: `golden` has no option `at_least`
  hint: it may have `weight`
error: o.yaml:7:8: scoring.quality[3].judge: `judge` is not supported by this version of forge
  hint: use `command` with a program that judges, for example `command: [python3, judge.py]`
error: o.yaml:8:7: scoring.quality[4]: the scorer has no kind
  hint: one of `contains`, `regex`, `length`, `json_schema`, `json_path`, `equals`, `golden`, `command`
error: o.yaml:9:8: scoring.quality[5].regx: unknown scorer `regx`
  hint: did you mean `regex`?
error: o.yaml:10:7: scoring.quality[6]: a scorer has one kind, this one has 2: `regex`, `contains`
  hint: start a new item with `-` for every scorer
error: o.yaml:11:16: scoring.quality[7].length: unknown word "wrods"
  hint: did you mean `words`?
error: o.yaml:12:16: scoring.quality[8].length: `length` needs `at_least` or `at_most`
  hint: for example `{length: words, at_least: 100, at_most: 400}`
error: o.yaml:13:7: scoring.quality[9]: `at_least` 5 is above `at_most` 2
  hint: exchange the two
error: o.yaml:14:19: scoring.quality[10].json_path: `$[` is no JSON path: at position 1, parser error
  hint: a JSON path of RFC 9535, for example `json_path: $.events[*].url`
error: o.yaml:15:26: scoring.quality[11].equals: `equals` excludes `at_least` and `at_most`
  hint: use two scorers for both
error: o.yaml:16:17: scoring.quality[12].command: expected a list, got the text "python3"
  hint: a list of the program and its arguments, for example `[python3, main.py]`
error: o.yaml:17:27: scoring.quality[13].command[1]: `checks/lnks.py` is not there
  hint: paths are relative to the objective's folder
error: o.yaml:18:18: scoring.quality[14].contains: the list is empty
  hint: a text or a list of texts, for example `contains: ["https://", "Date:"]`
error: o.yaml:19:27: scoring.quality[15].at_most: expected a whole number, got the number 2.5
  hint: a whole number, for example `at_least: 3`
error: o.yaml:20:35: scoring.quality[16].scale: expected a number above 0, got the number 0
  hint: the score that is full marks, for example `scale: 1`
error: o.yaml:21:35: scoring.quality[17].scale: expected a number, got the text "ten"
  hint: the score that is full marks, for example `scale: 1`
error: o.yaml:21:50: scoring.quality[17].on_error: unknown word "ungrade"
  hint: did you mean `ungraded`?
error: o.yaml:22:18: scoring.quality[18].on_error: `regex` has no option `on_error`
  hint: it may have `at_least`, `at_most`, `weight`
error: o.yaml:22:34: scoring.quality[18].scale: `regex` has no option `scale`
  hint: it may have `at_least`, `at_most`, `weight`"#,
        );
        check(
            "prompt: p
scoring:
  weights: {success: 0, quality: 0, speed: 0}
  speed: {full_marks: 60s, no_marks: 1s}
",
            "error: o.yaml:3:12: scoring.weights: all three weights are 0
  hint: give at least one of them a weight
error: o.yaml:4:10: scoring.speed: `full_marks` is not below `no_marks`
  hint: for example `speed: {full_marks: 1s, no_marks: 60s}`",
        );
        check(
            "prompt: p
scoring:
  weights: {success: -1, quality: .nan, sped: 1}
  speed: {full_marks: 60}
",
            "error: o.yaml:3:22: scoring.weights.success: expected a number from 0 up, got the number -1
  hint: weights are numbers from 0 up, for example `quality: 0.6`
error: o.yaml:3:35: scoring.weights.quality: expected a number, got the number NaN
  hint: weights are numbers from 0 up, for example `quality: 0.6`
error: o.yaml:3:41: scoring.weights: unknown part of the score `sped`
  hint: did you mean `speed`?
error: o.yaml:4:10: scoring.speed: `no_marks` is missing
  hint: for example `speed: {full_marks: 1s, no_marks: 60s}`
error: o.yaml:4:23: scoring.speed.full_marks: expected a duration, got the number 60
  hint: durations have a unit, for example `90s`, `5m` or `250ms`",
        );
    }

    #[test]
    fn hostile_patterns_paths_and_schemas_end_soon() {
        let deep = format!("{}{}", "(".repeat(500), ")".repeat(500));
        let nested = format!("$[?{}@.a==1{}]", "(".repeat(19), ")".repeat(19));
        let schema = format!(
            "{}{}",
            "{not: ".repeat(40),
            "{}".to_owned() + &"}".repeat(40)
        );
        for (scorer, part) in [
            (format!("{{regex: '{deep}'}}"), "is no pattern"),
            (
                format!("{{json_path: '$[?{}1'}}", "(".repeat(100)),
                "too long",
            ),
            (
                format!("{{json_path: '$[?{}1'}}", "(".repeat(19)),
                "no JSON path",
            ),
            (
                format!("{{json_path: '$.{}'}}", "a".repeat(2000)),
                "too long",
            ),
            ("{json_schema: {$ref: '#/nowhere'}}".to_owned(), "not valid"),
        ] {
            let told = read(&format!("prompt: p\nscoring: {{quality: [{scorer}]}}\n"));
            let told = told.map(|_| ()).unwrap_err().to_string();
            assert!(told.contains(part), "{scorer}: {told}");
        }
        for scorer in [
            format!("{{json_path: '{nested}'}}"),
            format!("{{json_schema: {schema}}}"),
            "{json_schema: {$ref: '#'}}".to_owned(),
        ] {
            let told = read(&format!("prompt: p\nscoring: {{quality: [{scorer}]}}\n"));
            assert!(told.is_ok(), "{scorer}: {}", told.unwrap_err());
        }
    }

    #[test]
    fn a_flood_of_problems_is_cut_short() {
        let text = format!("prompt: p\ngates:\n{}", "  - x: 1\n".repeat(20_000));
        let problems = read(&text).map(|_| ()).unwrap_err();
        assert_eq!(problems.0.len(), 51);
        assert_eq!(problems.0[50].message, "and 19950 more problems");
        assert_eq!(problems.0[0].at, Some((3, 5)));
    }
}
