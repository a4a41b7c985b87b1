//! Nodes → meaning: small questions to a document, which collect every problem with its path and place.
//!
//! A decoding function returns `None` after it has reported why; the caller goes on with the next field,
//! so that a document is told all of its problems at once.

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;
use std::path::Path;

use super::{Fault, Node, Serial, Tree, parse, place};
use crate::problem::{Problem, Problems};
use crate::suggest;

pub use fields::Fields;

mod fields;

/// The most problems that are shown of one file.
const MAX_PROBLEMS: usize = 50;
/// How much text is read again, in all, to find the places of problems.
const MAX_SEARCH_BYTES: usize = 16 * 1024 * 1024;

/// A problem before its place is known.
#[derive(Debug)]
struct Finding {
    serial: Serial,
    path: String,
    message: String,
    hint: Option<String>,
}

/// What was found wrong with one document.
#[derive(Debug, Default)]
struct Findings {
    list: RefCell<Vec<Finding>>,
    more: Cell<usize>,
}

/// Reads a document whose root is a mapping, and lets `decode` ask it; `kind` is what the file is called.
///
/// # Errors
/// [`Problems`]: what keeps it from being YAML, or all that `decode` reported.
pub fn document<T>(
    file: &Path,
    text: &str,
    kind: &str,
    decode: impl FnOnce(&Value<'_>) -> Option<T>,
) -> Result<T, Problems> {
    let with_place = |fault: Fault| {
        let mut problem = Problem::file(file, fault.message);
        problem.at = Some(fault.at);
        problem.hint = fault.hint;
        Problems::from(problem)
    };
    let root = parse(text).map_err(with_place)?;
    if root.tree == Tree::Nothing {
        return Err(with_place(Fault {
            at: (1, 1),
            message: format!("the file is empty; expected {kind}"),
            hint: None,
        }));
    }
    let findings = Findings::default();
    let value = Value {
        node: &root,
        path: String::new(),
        findings: &findings,
    };
    let decoded = match &root.tree {
        Tree::Map(_) => decode(&value),
        Tree::Nothing
        | Tree::Truth(_)
        | Tree::Whole(_)
        | Tree::Decimal(_)
        | Tree::Text(_)
        | Tree::List(_) => value.wrong(
            &format!("{kind}, a mapping of keys to values"),
            "every line at the left border is `key: value`",
        ),
    };
    let problems = findings.placed(file, text);
    match decoded {
        Some(decoded) => problems.or(decoded),
        None => Err(problems),
    }
}

impl Findings {
    fn push(&self, finding: Finding) {
        let mut list = self.list.borrow_mut();
        if list.len() < MAX_PROBLEMS {
            list.push(finding);
        } else {
            self.more.set(self.more.get() + 1);
        }
    }

    fn placed(self, file: &Path, text: &str) -> Problems {
        // Every search reads the text again; a large and hostile file gets fewer places.
        let searches = (MAX_SEARCH_BYTES / text.len().max(1)).max(1);
        let mut found = self.list.into_inner();
        found.sort_by_key(|finding| finding.serial);
        let mut problems = Problems::default();
        for (index, finding) in found.into_iter().enumerate() {
            problems.push(Problem {
                file: Some(file.to_owned()),
                at: (index < searches).then(|| place(text, finding.serial)),
                path: finding.path,
                message: finding.message,
                hint: finding.hint,
            });
        }
        if self.more.get() > 0 {
            let more = format!("and {} more problems", self.more.get());
            problems.push(Problem::file(file, more));
        }
        problems
    }
}

/// One value of a document, with its path.
#[derive(Debug, Clone)]
pub struct Value<'d> {
    node: &'d Node,
    path: String,
    findings: &'d Findings,
}

impl<'d> Value<'d> {
    /// Its path in the document: `scoring.quality[0].weight`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What it is.
    #[must_use]
    pub fn tree(&self) -> &'d Tree {
        &self.node.tree
    }

    /// Reports a problem with it. Returns `None`, for a caller that gives up on it.
    pub fn problem<T>(&self, message: impl Into<String>, hint: impl Into<String>) -> Option<T> {
        self.report(
            self.node.serial,
            self.path.clone(),
            message.into(),
            hint.into(),
        )
    }

    /// Reports that something else was expected.
    pub fn wrong<T>(&self, expected: &str, hint: impl Into<String>) -> Option<T> {
        self.problem(format!("expected {expected}, got {}", self.shown()), hint)
    }

    fn report<T>(&self, serial: Serial, path: String, message: String, hint: String) -> Option<T> {
        self.findings.push(Finding {
            serial,
            path,
            message,
            hint: (!hint.is_empty()).then_some(hint),
        });
        None
    }

    /// The value in a few words: `the text "heavy"`.
    fn shown(&self) -> String {
        match &self.node.tree {
            Tree::Nothing => "nothing".to_owned(),
            Tree::Truth(value) => format!("`{value}`"),
            Tree::Whole(value) => format!("the number {value}"),
            Tree::Decimal(value) => format!("the number {value}"),
            Tree::Text(text) => format!("the text \"{}\"", crate::plain::short(text, 60)),
            Tree::List(_) => "a list".to_owned(),
            Tree::Map(_) => "a mapping".to_owned(),
        }
    }

    /// A text; possibly empty, never with a NUL in it.
    #[must_use]
    pub fn text(&self, hint: &str) -> Option<&'d str> {
        match &self.node.tree {
            Tree::Text(text) if text.contains('\0') => {
                self.problem("there is a NUL character in the text", "remove the `\\0`")
            }
            Tree::Text(text) => Some(text),
            Tree::Truth(_) | Tree::Whole(_) | Tree::Decimal(_) => {
                self.wrong("a text", "put it into quotes to make it a text")
            }
            Tree::Nothing | Tree::List(_) | Tree::Map(_) => self.wrong("a text", hint),
        }
    }

    /// A text with something else than blanks in it.
    #[must_use]
    pub fn filled_text(&self, hint: &str) -> Option<&'d str> {
        let text = self.text(hint)?;
        if text.trim().is_empty() {
            return self.problem("the text is empty", hint);
        }
        Some(text)
    }

    /// A finite number.
    #[must_use]
    pub fn number(&self, hint: &str) -> Option<f64> {
        match &self.node.tree {
            Tree::Whole(value) => Some(*value as f64),
            Tree::Decimal(value) if value.is_finite() => Some(*value),
            Tree::Nothing
            | Tree::Truth(_)
            | Tree::Decimal(_)
            | Tree::Text(_)
            | Tree::List(_)
            | Tree::Map(_) => self.wrong("a number", hint),
        }
    }

    /// A whole number of a range.
    #[must_use]
    pub fn whole<N>(&self, range: RangeInclusive<N>, hint: &str) -> Option<N>
    where
        N: TryFrom<i128> + PartialOrd + std::fmt::Display,
    {
        let found = match &self.node.tree {
            Tree::Whole(value) => N::try_from(*value).ok(),
            Tree::Nothing
            | Tree::Truth(_)
            | Tree::Decimal(_)
            | Tree::Text(_)
            | Tree::List(_)
            | Tree::Map(_) => return self.wrong("a whole number", hint),
        };
        match found {
            Some(value) if range.contains(&value) => Some(value),
            Some(_) | None => {
                let (from, to) = range.into_inner();
                self.wrong(&format!("a whole number from {from} to {to}"), hint)
            }
        }
    }

    /// `true` or `false`.
    #[must_use]
    pub fn truth(&self) -> Option<bool> {
        match &self.node.tree {
            Tree::Truth(value) => Some(*value),
            Tree::Nothing
            | Tree::Whole(_)
            | Tree::Decimal(_)
            | Tree::Text(_)
            | Tree::List(_)
            | Tree::Map(_) => self.wrong("`true` or `false`", ""),
        }
    }

    /// One of some words.
    #[must_use]
    pub fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let known = || words.iter().map(|(word, _)| *word);
        let hint = format!("one of {}", suggest::list(known()));
        let text = self.text(&hint)?;
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, meaning)) => Some(*meaning),
            None => self.problem(
                format!("unknown word \"{}\"", crate::plain::short(text, 60)),
                suggest::advice(text, known().collect::<Vec<_>>()),
            ),
        }
    }

    /// The items of a list.
    #[must_use]
    pub fn list(&self, hint: &str) -> Option<Vec<Value<'d>>> {
        match &self.node.tree {
            Tree::List(items) => {
                let item = |(index, node)| Value {
                    node,
                    path: format!("{}[{index}]", self.path),
                    findings: self.findings,
                };
                Some(items.iter().enumerate().map(item).collect())
            }
            Tree::Nothing
            | Tree::Truth(_)
            | Tree::Whole(_)
            | Tree::Decimal(_)
            | Tree::Text(_)
            | Tree::Map(_) => self.wrong("a list", hint),
        }
    }

    /// A list of which every item is decoded; `None` when any of them could not be.
    #[must_use]
    pub fn each<T>(
        &self,
        hint: &str,
        mut decode: impl FnMut(&Value<'d>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = self.list(hint)?;
        // All are decoded before the first `None` counts, so that every problem is reported.
        let decoded: Vec<Option<T>> = items.iter().map(&mut decode).collect();
        decoded.into_iter().collect()
    }

    /// A mapping with any keys.
    #[must_use]
    pub fn map(&self, hint: &str) -> Option<Fields<'d>> {
        match &self.node.tree {
            Tree::Map(entries) => Some(Fields::new(entries, self)),
            Tree::Nothing
            | Tree::Truth(_)
            | Tree::Whole(_)
            | Tree::Decimal(_)
            | Tree::Text(_)
            | Tree::List(_) => self.wrong("a mapping", hint),
        }
    }

    /// A mapping with known keys; each other one is reported, as `unknown <what>`.
    #[must_use]
    pub fn fields(&self, what: &str, known: &[&str], hint: &str) -> Option<Fields<'d>> {
        let fields = self.map(hint)?;
        fields.refuse_others(what, known);
        Some(fields)
    }

    /// The value as JSON.
    #[must_use]
    pub fn json(&self) -> Option<serde_json::Value> {
        use serde_json::Value as Json;
        match &self.node.tree {
            Tree::Nothing => Some(Json::Null),
            Tree::Truth(value) => Some(Json::Bool(*value)),
            Tree::Text(text) => Some(Json::String(text.clone())),
            Tree::Whole(value) => match (u64::try_from(*value), i64::try_from(*value)) {
                (Ok(value), _) => Some(value.into()),
                (Err(_), Ok(value)) => Some(value.into()),
                (Err(_), Err(_)) => self.problem("the number is too large for JSON", ""),
            },
            Tree::Decimal(value) => match serde_json::Number::from_f64(*value) {
                Some(number) => Some(Json::Number(number)),
                None => self.problem("JSON has no such number", "use a finite number"),
            },
            Tree::List(_) => Some(Json::Array(self.each("", Value::json)?)),
            Tree::Map(_) => {
                let fields = self.map("")?;
                let entry = |(key, value): (&str, Value<'_>)| Some((key.to_owned(), value.json()?));
                fields
                    .iter()
                    .map(entry)
                    .collect::<Option<_>>()
                    .map(Json::Object)
            }
        }
    }
}
