//! Files that runs leave, held against their schemas: more strictly than users do, so that no field is forgotten.

use std::path::Path;
use std::sync::LazyLock;

use forge::schema::Kind;
use jsonschema::Validator;
use serde_json::Value;

static RUN: LazyLock<Validator> = LazyLock::new(|| strict(Kind::Run));
static TRIAL: LazyLock<Validator> = LazyLock::new(|| strict(Kind::Trial));
static EVENT: LazyLock<Validator> = LazyLock::new(|| strict(Kind::Event));

/// The schema as it is, but that no field may be there that it does not name.
fn strict(kind: Kind) -> Validator {
    let mut schema: Value = serde_json::from_str(kind.text()).unwrap();
    close(&mut schema);
    jsonschema::validator_for(&schema).unwrap()
}

fn close(node: &mut Value) {
    match node {
        Value::Object(fields) => {
            fields.values_mut().for_each(close);
            // In a schema, not in a list of properties.
            if fields.get("properties").is_some_and(Value::is_object)
                && fields.get("type").is_some_and(|it| it == "object")
            {
                fields.insert("additionalProperties".to_owned(), false.into());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[track_caller]
fn assert_valid(validator: &Validator, value: &Value, what: &str) {
    let errors = validator.iter_errors(value);
    let told: Vec<String> = errors
        .map(|it| format!("{} {it}", it.instance_path()))
        .collect();
    assert!(
        told.is_empty(),
        "{what} is not as its schema says: {told:#?}"
    );
}

#[track_caller]
pub(crate) fn assert_run(value: &Value) {
    assert_valid(&RUN, value, "run.json");
}

/// All that a run has left.
#[track_caller]
pub(crate) fn assert_folder(folder: &Path) {
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let parsed = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_run(&parsed(&read(&folder.join("run.json"))));
    for line in read(&folder.join("events.jsonl")).lines() {
        assert_valid(&EVENT, &parsed(line), line);
    }
    let mut trials = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let entry = entry.unwrap();
            // No links: the winner's leads to what is seen anyway.
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == "trial.json" {
                let text = read(&entry.path());
                assert_valid(&TRIAL, &parsed(&text), "trial.json");
                trials += 1;
            }
        }
    }
    assert!(trials > 0, "no trial in {}", folder.display());
}
