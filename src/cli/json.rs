//! What is printed for programs: one document on stdout, with a version and the exit code in it.

use forge::exit::ExitCode as End;
use forge::problem::{Problem, Problems};
use serde_json::{Value, json};

use super::print::{Printer, with_causes};

/// Changes when a field's meaning does; fields may be added without.
const SCHEMA_VERSION: u32 = 1;

/// Prints an object, with its version first and how the program ends. Returns that, or worse: what could not be
/// printed is a report that could not be written.
pub(super) fn print(printer: Printer, end: End, document: Value) -> End {
    let mut all = serde_json::Map::new();
    all.insert("schema_version".to_owned(), json!(SCHEMA_VERSION));
    all.insert("forge_version".to_owned(), json!(env!("CARGO_PKG_VERSION")));
    let exit = json!({"code": end.code(), "name": forge::report::exit_name(end)});
    all.insert("exit".to_owned(), exit);
    if let Value::Object(fields) = document {
        all.extend(fields);
    }
    match printer.whole(&format!("{:#}\n", Value::Object(all))) {
        Ok(()) => end,
        Err(error) => {
            printer.note(&format!("error: cannot write to standard output: {error}"));
            end.max(End::Incomplete)
        }
    }
}

/// Says why nothing is done: on stderr, and to programs by a document as well.
pub(super) fn refuse(printer: Printer, end: End, refused: &Problems) -> End {
    printer.note(&refused.to_string());
    tell(printer, end, &refused.0)
}

/// The same of an error, with its causes and advice.
pub(super) fn fail(
    printer: Printer,
    end: End,
    error: &(dyn std::error::Error + 'static),
    hint: Option<&str>,
) -> End {
    printer.error(error, hint);
    let mut problem = Problem::setting("", with_causes(error));
    problem.hint = hint.map(str::to_owned);
    tell(printer, end, &[problem])
}

fn tell(printer: Printer, end: End, all: &[Problem]) -> End {
    if printer.is_for_programs() {
        print(printer, end, json!({"problems": problems(all)}))
    } else {
        end
    }
}

/// The same document with nothing in its texts and keys that could steer a terminal.
pub(super) fn tamed(document: Value) -> Value {
    match document {
        Value::String(text) => Value::String(forge::plain::line(&text)),
        Value::Array(items) => items.into_iter().map(tamed).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter();
            fields
                .map(|(key, value)| (forge::plain::line(&key), tamed(value)))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => document,
    }
}

/// Problems, each with its place.
pub(super) fn problems(problems: &[Problem]) -> Value {
    problems.iter().map(problem).collect()
}

pub(super) fn problem(problem: &Problem) -> Value {
    let line = |text: &String| forge::plain::line(text);
    json!({
        "file": problem.file.as_ref().map(|file| forge::plain::line(&file.to_string_lossy())),
        "line": problem.at.map(|at| at.0),
        "column": problem.at.map(|at| at.1),
        "path": Some(line(&problem.path)).filter(|path| !path.is_empty()),
        "message": line(&problem.message),
        "hint": problem.hint.as_ref().map(line),
    })
}
