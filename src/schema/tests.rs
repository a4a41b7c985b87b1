//! The schemas of what people write, held against the loaders: what one refuses, the other refuses.

use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::Kind;

fn schema(kind: Kind) -> Value {
    serde_json::from_str(kind.text()).unwrap()
}

fn validator(kind: Kind) -> Validator {
    jsonschema::validator_for(&schema(kind)).unwrap()
}

/// The keys of the mapping at this place of a schema, sorted.
fn keys(schema: &Value, pointer: &str) -> Vec<String> {
    let properties = schema.pointer(pointer).unwrap().as_object().unwrap();
    let mut keys: Vec<String> = properties.keys().cloned().collect();
    keys.sort();
    keys
}

fn sorted(keys: &[&str]) -> Vec<String> {
    let mut keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    keys.sort();
    keys
}

#[test]
fn a_schema_has_the_keys_that_its_loader_knows() {
    let (objective, candidate, forge) = (
        schema(Kind::Objective),
        schema(Kind::Candidate),
        schema(Kind::Forge),
    );
    for (schema, pointer, known) in [
        (&objective, "/properties", &crate::objective::yaml::KEYS[..]),
        (
            &objective,
            "/$defs/gate/properties",
            &crate::objective::yaml::GATES,
        ),
        (&candidate, "/properties", &crate::candidate::SETTINGS),
        (&forge, "/properties", &crate::project::KEYS),
        (
            &forge,
            "/properties/daytona/properties",
            &crate::project::DAYTONA_KEYS,
        ),
        (
            &forge,
            "/properties/local/properties",
            &crate::project::LOCAL_KEYS,
        ),
        (
            &forge,
            "/properties/container/properties",
            &crate::project::container::KEYS,
        ),
        (
            &forge,
            "/properties/compare/properties",
            &crate::project::COMPARE_KEYS,
        ),
        (
            &forge,
            "/properties/baseline/properties",
            &crate::project::BASELINE_KEYS,
        ),
    ] {
        assert_eq!(keys(schema, pointer), sorted(known), "{pointer}");
    }
    let scorers = objective["$defs"]["scorer"]["oneOf"].as_array().unwrap();
    let mut kinds = 0;
    for (kind, options) in crate::objective::yaml::KINDS {
        let known: Vec<&str> = options.iter().copied().chain([kind, "weight"]).collect();
        let is_it = |it: &&Value| it["required"][0] == kind;
        match scorers.iter().find(is_it) {
            Some(scorer) => {
                assert_eq!(keys(scorer, "/properties"), sorted(&known), "{kind}");
                kinds += 1;
            }
            // Known, and always refused.
            None => assert_eq!(kind, "judge"),
        }
    }
    assert_eq!(kinds, scorers.len());
    let rules: Vec<Value> = crate::lint::Rule::ALL
        .iter()
        .map(|it| it.name().into())
        .collect();
    for schema in [&objective, &forge] {
        assert_eq!(
            schema["properties"]["allow"]["items"]["enum"],
            Value::Array(rules.clone())
        );
    }
}

/// Whether the loader takes a document, written as the JSON that YAML is.
fn loads(kind: Kind, document: &Value) -> bool {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in [
        ("data.json", "[]"),
        ("a.md", "the answer\n"),
        ("judge.py", "print(1)\n"),
        ("mine.sh", "echo\n"),
    ] {
        std::fs::write(dir.path().join(path), text).unwrap();
    }
    let text = document.to_string();
    let write = |name: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, &text).unwrap();
        path
    };
    match kind {
        Kind::Objective => crate::objective::load::load_file(&write("o.yaml")).is_ok(),
        Kind::Forge => crate::project::Project::load(&write("forge.yaml")).is_ok(),
        Kind::Candidate => {
            write("mine.yaml");
            std::fs::remove_file(dir.path().join("judge.py")).unwrap();
            std::fs::remove_file(dir.path().join("a.md")).unwrap();
            std::fs::remove_file(dir.path().join("data.json")).unwrap();
            crate::candidate::load::load_dir(Path::new(dir.path()), &[]).is_ok()
        }
        Kind::Run | Kind::Trial | Kind::Event => unreachable!("nobody writes these"),
    }
}

/// Documents that say all that can be said.
fn whole(kind: Kind) -> Vec<Value> {
    match kind {
        Kind::Objective => vec![
            json!({
                "title": "T", "prompt": "do it", "inputs": ["data.json"], "output": "o.md", "reference": "a.md",
                "artifacts": ["*.png"], "limits": {"run": "60s", "setup": "5m", "output": "10MiB", "artifacts": 1000},
                "repeat": 5, "network": {"setup": "open", "run": ["10.0.0.0/8"]}, "image": "python:3.13-slim",
                "gates": [
                    {"exit_code": 0}, {"min_bytes": 0}, {"max_bytes": "4KiB"}, {"contains": "a"}, {"not_contains": "b"},
                    {"regex": "^a"}, {"json_schema": {"type": "object"}},
                ],
                "scoring": {
                    "weights": {"success": 0.2, "quality": 0.6, "speed": 0.2},
                    "quality": [
                        {"contains": ["a", "b"], "weight": 2}, {"contains": "a"}, {"regex": "a", "at_least": 1, "at_most": 3},
                        {"length": "words", "at_most": 3}, {"json_schema": {"type": "object"}},
                        {"json_path": "$.a", "equals": {"b": 1}}, {"json_path": "$.a", "at_least": 1, "at_most": 2},
                        {"equals": "x"}, {"golden": "a.md"},
                        {"command": ["python3", "judge.py"], "files": ["a.md"], "timeout": "5s", "scale": 1, "on_error": "zero"},
                    ],
                    "speed": {"full_marks": 0, "no_marks": "60s"},
                },
                "allow": ["scorer-cannot-lose"],
            }),
            json!({"prompt": "do it", "network": "block"}),
        ],
        Kind::Candidate => vec![
            json!({
                "name": "mine", "description": "d", "run": ["sh", "mine.sh"], "setup": ["make"], "env": {"MODE": "fast"},
                "pass_env": ["A", "B=C", {"plain": ["D"], "secret": ["E"]}], "limits": {"run": "60s"}, "trust": "untrusted",
                "image": "python:3.13",
            }),
            json!({"pass_env": {"plain": ["D"]}}),
        ],
        Kind::Forge => vec![
            json!({
                "jobs": 20, "repeat": 3, "timeout": "90s", "setup_timeout": "5m", "deadline": "1h", "seed": 7,
                "provider": "daytona", "require": true,
                "daytona": {"snapshot": "small", "target": "eu", "network": "open", "auto_stop": "15m", "cpu": 2, "memory": "4GiB", "disk": "8GiB"},
                "local": {"isolation": "landlock", "root": "allow", "memory": "2GiB", "disk": "1GiB", "processes": 256, "network": "block"},
                "container": {"image": "a", "network": "block", "memory": "1GiB", "cpus": 1.5, "processes": 99, "disk": "8MiB", "user": "root", "pull": "never"},
                "secrets": ["KEY"], "candidates": "c", "objectives": "o", "artifacts": "a", "env": {"MODE": "fast"}, "network": "open",
                "compare": {"gate": ["score"], "show": ["seconds"], "max_rise": {"seconds": "20%"}, "alpha": 0.05,
                            "fail_on": ["regression"], "question": "fixed"},
                "baseline": {"run": "blessed", "max_drop": 5}, "allow": ["suite-too-small"],
            }),
            json!({"repeat": "auto", "daytona": {"image": "a"}, "container": {"dockerfile": "d"}}),
        ],
        Kind::Run | Kind::Trial | Kind::Event => Vec::new(),
    }
}

/// The places of all mappings of a document.
fn mappings(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            for (key, value) in fields {
                mappings(value, &format!("{at}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                mappings(value, &format!("{at}/{index}"), found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn a_key_that_one_does_not_know_the_other_does_not_know() {
    for kind in [Kind::Objective, Kind::Candidate, Kind::Forge] {
        let validator = validator(kind);
        let (mut tried, mut refused) = (0, 0);
        for whole in whole(kind) {
            assert!(loads(kind, &whole), "{}: {whole:#}", kind.name());
            let errors: Vec<String> = validator
                .iter_errors(&whole)
                .map(|it| it.to_string())
                .collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", kind.name());
            let mut places = Vec::new();
            mappings(&whole, "", &mut places);
            for place in places {
                let mut more = whole.clone();
                let mapping = more.pointer_mut(&place).unwrap().as_object_mut().unwrap();
                mapping.insert("Unheard_of".to_owned(), "x".into());
                let (loader, schema) = (loads(kind, &more), validator.is_valid(&more));
                // A mapping of names that are the user's own takes any that is one, and a measure's value is a number.
                if !place.ends_with("/max_rise") {
                    assert_eq!(loader, schema, "{}: at {place:?}", kind.name());
                }
                tried += 1;
                refused += u32::from(!loader);
            }
        }
        assert!(
            tried > 3 && refused > 2,
            "{}: {refused} of {tried}",
            kind.name()
        );
    }
}

#[test]
fn a_value_of_the_wrong_kind_is_refused_by_both() {
    for kind in [Kind::Objective, Kind::Candidate, Kind::Forge] {
        let validator = validator(kind);
        for key in whole(kind)[0].as_object().unwrap().keys() {
            let mut wrong = whole(kind)[0].clone();
            // No key takes a list of lists of mappings.
            wrong[key] = json!([[{"a": [true]}]]);
            assert!(!loads(kind, &wrong), "{}: {key}", kind.name());
            assert!(!validator.is_valid(&wrong), "{}: {key}", kind.name());
        }
    }
}
