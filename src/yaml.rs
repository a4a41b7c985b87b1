//! YAML text → a tree of nodes that remember where they were written. The only file that knows
//! `serde_yaml`.
//!
//! Promises: any text of at most [`MAX_YAML_BYTES`] ends in a tree or in one [`Fault`] with its place, in
//! little time and memory and on a small stack: nesting, aliases and the number of nodes are bounded.
//! What the tree then means, and every problem with it, is for [`decode`].
//!
//! A place is found by parsing again: nodes and keys are numbered in the order of their visit, and a
//! second visit that fails on purpose at a number makes `serde_yaml` say where it was.

use serde::de::DeserializeSeed;

pub use find::find;
use visit::Visit;

pub mod decode;
mod find;
mod visit;

/// The largest document, in bytes.
pub const MAX_YAML_BYTES: u64 = 1024 * 1024;
/// The deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 64;
/// The parser below looks at every open bracket for every token; this bounds how often it may.
const MAX_BRACKET_WORK: usize = 100_000_000;

/// Line and column, counted from 1.
pub type Place = (usize, usize);

/// Why a text is not a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: Place,
    /// What is wrong: lowercase, no final period.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Fault {
    fn new(at: Place, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

/// The number of a node or a key, in the order in which a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serial(usize);

/// A value as written, before anybody has asked what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Which one it is.
    pub serial: Serial,
    /// What it is.
    pub tree: Tree,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// `null`, `~` or nothing at all.
    Nothing,
    /// `true` or `false`.
    Truth(bool),
    /// A number without a fraction.
    Whole(i128),
    /// A number with one.
    Decimal(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, merge keys resolved; no key twice.
    Map(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Which one it is.
    pub serial: Serial,
    /// Its value.
    pub value: Node,
}

/// Parses one document. A byte order mark at its start is allowed.
///
/// # Errors
/// [`Fault`] when it is not YAML, holds several documents, a duplicate key or a tag, or is out of bounds.
pub fn parse(text: &str) -> Result<Node, Fault> {
    let text = without_mark(text);
    check_characters(text)?;
    check_brackets(text)?;
    let visit = Visit::default();
    let mut documents = serde_yaml::Deserializer::from_str(text);
    let root = match documents.next() {
        Some(document) => visit
            .root()
            .deserialize(document)
            .map_err(|error| fault(&visit, &error, text))?,
        None => visit.root().node(Tree::Nothing),
    };
    let Some(second) = documents.next() else {
        return Ok(root);
    };
    // The second document is read up to its first node, for its place or for what is wrong there.
    let visit = Visit::stopping_at(Serial(0));
    match visit.root().deserialize(second) {
        Err(error) if visit.stopped() => Err(Fault::new(
            place_of(&error),
            "there is a second document in this file",
            "one file holds one document; remove the `---` line and what follows it",
        )),
        Err(error) => Err(fault(&visit, &error, text)),
        Ok(_) => Ok(root),
    }
}

/// Finds where a node or key of [`parse`]'s tree was written; what an alias stands for is where its anchor is.
#[must_use]
pub fn place(text: &str, serial: Serial) -> Place {
    let visit = Visit::stopping_at(serial);
    serde_yaml::Deserializer::from_str(without_mark(text))
        .next()
        .and_then(|document| visit.root().deserialize(document).err())
        .map_or((1, 1), |error| place_of(&error))
}

/// The line and column of a byte of a text.
#[must_use]
pub fn place_of_byte(text: &[u8], at: usize) -> Place {
    let before = &text[..at.min(text.len())];
    let line = before.split(|byte| *byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n');
    let rest = &before[start.map_or(0, |newline| newline + 1)..];
    (line, String::from_utf8_lossy(rest).chars().count() + 1)
}

fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

fn place_of(error: &serde_yaml::Error) -> Place {
    error
        .location()
        .map_or((1, 1), |place| (place.line(), place.column()))
}

/// Refuses what YAML does not allow as a character: the parser below reports it without a place.
fn check_characters(text: &str) -> Result<(), Fault> {
    let forbidden = |c: char| {
        (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}'))
            || matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    match text.char_indices().find(|(_, c)| forbidden(*c)) {
        None => Ok(()),
        Some((at, c)) => Err(Fault::new(
            place_of_byte(text.as_bytes(), at),
            format!(
                "the character U+{:04X} cannot be in YAML as it is",
                u32::from(c)
            ),
            format!(
                "remove it, or write it as `\\u{:04X}` in a text in double quotes",
                u32::from(c)
            ),
        )),
    }
}

/// Refuses what would keep the parser below busy for minutes: it takes quadratic time for open brackets.
fn check_brackets(text: &str) -> Result<(), Fault> {
    let (mut open, mut work, mut deep) = (0_usize, 0_usize, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'[' | b'{' => {
                open += 1;
                if open == MAX_DEPTH {
                    deep = at;
                }
            }
            b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        work = work.saturating_add(open);
        if work > MAX_BRACKET_WORK {
            return Err(too_deep(place_of_byte(text.as_bytes(), deep)));
        }
    }
    Ok(())
}

fn too_deep(at: Place) -> Fault {
    Fault::new(
        at,
        format!("lists and mappings are nested more than {MAX_DEPTH} deep"),
        "close the brackets, or flatten the document",
    )
}

fn fault(visit: &Visit, error: &serde_yaml::Error, text: &str) -> Fault {
    let at = place_of(error);
    if let Some((message, hint)) = visit.found() {
        return Fault::new(at, message, hint);
    }
    if error.location().is_none() {
        // Only its own bound on aliases comes without a place.
        return Fault::new(
            visit.last().map_or((1, 1), |last| place(text, last)),
            "the document repeats its aliases without end",
            "use fewer aliases (`*name`)",
        );
    }
    syntax_fault(error, at, text)
}

/// Puts the parser's own words into ours.
fn syntax_fault(error: &serde_yaml::Error, at: Place, text: &str) -> Fault {
    let said = error.to_string();
    let message = said.replacen(&format!(" at line {} column {}", at.0, at.1), "", 1);
    let line = text.lines().nth(at.0.saturating_sub(1)).unwrap_or_default();
    let hint = if line.trim_start_matches(' ').starts_with('\t') {
        "indent with blanks: YAML allows no tabs there"
    } else if message.contains("alias") || message.contains("anchor") {
        "put a text that starts with `*` or `&` into quotes, for example `\"*.png\"`"
    } else if message.contains("mapping values are not allowed") {
        "put a text with `: ` in it into quotes, and check the indentation"
    } else if message.contains("escape character") {
        "in double quotes a backslash starts an escape; use single quotes for patterns, for example `'\\d+'`"
    } else if message.contains("cannot start any token") {
        "put a text that starts with `@`, `%` or a backtick into quotes"
    } else {
        "check the indentation, brackets and quotes here and on the line above"
    };
    Fault::new(at, format!("this is not YAML: {message}"), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The serial of the value (or key) at the end of a path of keys and indices.
    fn find(node: &Node, path: &[&str], key: bool) -> Serial {
        let Some((first, rest)) = path.split_first() else {
            return node.serial;
        };
        match &node.tree {
            Tree::Map(entries) => {
                let entry = entries.iter().find(|entry| entry.key == *first).unwrap();
                if key && rest.is_empty() {
                    entry.serial
                } else {
                    find(&entry.value, rest, key)
                }
            }
            Tree::List(items) => find(&items[first.parse::<usize>().unwrap()], rest, key),
            Tree::Nothing | Tree::Truth(_) | Tree::Whole(_) | Tree::Decimal(_) | Tree::Text(_) => {
                panic!("{path:?} goes on below {node:?}")
            }
        }
    }

    #[test]
    fn every_node_and_key_has_its_place() {
        let text = "\
first: 1
\"second key\": {inner: [a, \"b c\", {deep: 'x'}], other: ~}
list:
  - one
  - name: two
    # a comment
    weight:   heavy
  -   - nested
block: |
  text
  more: 1
base: &base {a: 1, b: 2}
derived:
  <<: *base
  b: 3
also: *base
ümläut: [ä, ö, ü]
empty:
";
        let root = parse(text).unwrap();
        for (path, value, key) in [
            (&[][..], (1, 1), None),
            (&["first"], (1, 8), Some((1, 1))),
            (&["second key"], (2, 15), Some((2, 1))),
            (&["second key", "inner", "1"], (2, 27), None),
            (
                &["second key", "inner", "2", "deep"],
                (2, 41),
                Some((2, 35)),
            ),
            (&["second key", "other"], (2, 55), Some((2, 48))),
            (&["list"], (4, 3), Some((3, 1))),
            (&["list", "1"], (5, 5), None),
            (&["list", "1", "weight"], (7, 15), Some((7, 5))),
            (&["list", "2", "0"], (8, 9), None),
            (&["block"], (9, 8), Some((9, 1))),
            (&["derived", "b"], (15, 6), Some((15, 3))),
            // What comes from an anchor is where the anchor is.
            (&["derived", "a"], (12, 17), Some((12, 14))),
            (&["also", "b"], (12, 23), Some((12, 20))),
            (&["ümläut", "2"], (17, 16), None),
        ] {
            let serial = find(&root, path, false);
            assert_eq!(place(text, serial), value, "the value {path:?}");
            assert_eq!(
                place(&format!("\u{feff}{text}"), serial),
                value,
                "the value {path:?} after a byte order mark"
            );
            if let Some(expected) = key {
                let serial = find(&root, path, true);
                assert_eq!(place(text, serial), expected, "the key {path:?}");
            }
        }
    }

    fn check(text: &str, at: Place, message: &str) {
        let fault = parse(text).map(|_| ()).unwrap_err();
        let start: String = text.chars().take(60).collect();
        assert_eq!(fault.at, at, "{start:?}: {fault:?}");
        assert!(fault.message.contains(message), "{start:?}: {fault:?}");
        assert!(fault.hint.is_some(), "{start:?}: {fault:?}");
    }

    #[test]
    fn what_is_no_document_is_told_with_its_place() {
        check("a: 1\na: 2\n", (2, 1), "the key `a` is there twice");
        check("a: {b: 1, b: 2}\n", (1, 11), "the key `b` is there twice");
        check("a: 1\n\tb: 2\n", (2, 1), "this is not YAML");
        check("a:\n\t- b\n", (2, 1), "this is not YAML");
        check("a: b: c\n", (1, 5), "mapping values are not allowed");
        check("a: [1, 2\n", (2, 1), "did not find expected");
        check("a: *nowhere\n", (1, 4), "unknown anchor");
        check("a: [*.png]\n", (1, 6), "alias");
        check("a: \"\\d\"\n", (1, 5), "escape character");
        check("a: @b\n", (1, 4), "cannot start any token");
        check("1: a\n", (1, 1), "a key must be a text");
        check("[a]: b\n", (1, 1), "a key must be a text");
        check("a: 1\nb: !secret x\n", (2, 4), "a tag");
        check("a: 1\n---\nb: 2\n", (3, 1), "a second document");
        check("a: 1\n---\n@b\n", (3, 1), "cannot start any token");
        check("a: x\u{7}y\n", (1, 5), "U+0007");
        check("a: 1\nbé\0: 2\n", (2, 3), "U+0000");
        check("a: &a 1\nb:\n  <<: *a\n", (3, 3), "`<<` merges");
    }

    #[test]
    fn harmless_oddities_are_read() {
        for text in [
            "",
            "\u{feff}",
            "# only a comment\n",
            "---\n",
            "---\n...\n",
            "\r\n",
        ] {
            assert_eq!(parse(text).unwrap().tree, Tree::Nothing, "{text:?}");
        }
        let root = parse("---\r\na: 0x10\r\nb: 1.5\r\nc: yes\r\n...\r\n").unwrap();
        let Tree::Map(entries) = root.tree else {
            panic!("not a mapping")
        };
        let trees: Vec<Tree> = entries.into_iter().map(|entry| entry.value.tree).collect();
        let yes = Tree::Text("yes".to_owned());
        assert_eq!(trees, [Tree::Whole(16), Tree::Decimal(1.5), yes]);
    }

    #[test]
    fn hostile_documents_end_in_one_fault() {
        let bomb = (1..12).fold("a0: &a0 [x, x]\n".to_owned(), |text, level| {
            let below = format!("*a{}", level - 1);
            format!(
                "{text}a{level}: &a{level} [{}]\n",
                [below.as_str(); 10].join(", ")
            )
        });
        check(&bomb, (1, 13), "repeats its aliases");
        let long = format!(
            "a: &a \"{}\"\nb: [{}]\n",
            "x".repeat(500_000),
            "*a, ".repeat(1000)
        );
        check(&long, (1, 4), "too many values");
        check("a: &a [*a]\n", (1, 4), "nested more than 64");
        check("a: &a {b: *a}\n", (1, 4), "nested more than 64");
        check(&"[".repeat(10_000), (1, 65), "nested more than 64");
        check(&"[".repeat(1_000_000), (1, 64), "nested more than 64");
        check(&"{a: ".repeat(250_000), (1, 253), "nested more than 64");
        check(&"- ".repeat(10_000), (1, 129), "nested more than 64");
        check(&"- ".repeat(500_000), (1, 129), "nested more than 64");
        check(&"? ".repeat(10_000), (1, 3), "a key must be a text");
        check(&"- a\n".repeat(260_000), (200_000, 3), "too many values");
    }

    #[test]
    fn many_brackets_in_a_text_are_no_nesting() {
        let text = format!("prompt: '{}'\n", "[({".repeat(2_000));
        assert!(parse(&text).is_ok());
    }
}
