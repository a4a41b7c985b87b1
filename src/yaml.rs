//! YAML text → a tree of nodes that remember where they were written. The only file that knows serde_yaml.
//!
//! Promises: any text of at most [`MAX_YAML_BYTES`] ends in a tree or in one [`Fault`] with its place, in
//! little time and memory and on a small stack: nesting, aliases and the number of nodes are bounded.
//! What the tree then means, and every problem with it, is for [`decode`].
//!
//! A place is found by parsing again: nodes and keys are numbered in the order of their visit, and a
//! second visit that fails on purpose at a number makes serde_yaml say where it was.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};

pub mod decode;

/// The largest document, in bytes.
pub const MAX_YAML_BYTES: u64 = 1024 * 1024;
/// The deepest nesting of lists and mappings.
const MAX_DEPTH: usize = 64;
/// The most nodes, with every use of an alias counted anew.
const MAX_NODES: usize = 200_000;
/// The most text, with every use of an alias counted anew.
const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;
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
            .map_err(|error| visit.fault(&error, text))?,
        None => visit.root().node(Tree::Nothing),
    };
    let Some(second) = documents.next() else {
        return Ok(root);
    };
    // The second document is read up to its first node, for its place or for what is wrong there.
    let visit = Visit::stopping_at(Serial(0));
    match visit.root().deserialize(second) {
        Err(error) if visit.stopped.get() => Err(Fault::new(
            place_of(&error),
            "there is a second document in this file",
            "one file holds one document; remove the `---` line and what follows it",
        )),
        Err(error) => Err(visit.fault(&error, text)),
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

/// One reading of a document.
#[derive(Debug, Default)]
struct Visit {
    next: Cell<usize>,
    text_bytes: Cell<usize>,
    /// Where to fail on purpose.
    stop: Option<Serial>,
    /// Whether it did.
    stopped: Cell<bool>,
    /// What this file found wrong itself; the error of serde_yaml then only tells the place.
    found: RefCell<Option<(String, String)>>,
}

impl Visit {
    fn stopping_at(serial: Serial) -> Self {
        Self {
            stop: Some(serial),
            ..Self::default()
        }
    }

    fn root(&self) -> NodeSeed<'_> {
        NodeSeed {
            visit: self,
            serial: self.number(),
            depth: 0,
        }
    }

    fn number(&self) -> Serial {
        let serial = self.next.get();
        self.next.set(serial + 1);
        Serial(serial)
    }

    fn fail<E: serde::de::Error>(&self, message: impl Into<String>, hint: impl Into<String>) -> E {
        self.found.replace(Some((message.into(), hint.into())));
        E::custom("")
    }

    /// Fails where it was asked to, and where a bound is passed.
    fn arrive<E: serde::de::Error>(&self, serial: Serial, text_bytes: usize) -> Result<(), E> {
        if self.stop == Some(serial) {
            self.stopped.set(true);
            return Err(E::custom(""));
        }
        let bytes = self.text_bytes.get().saturating_add(text_bytes);
        self.text_bytes.set(bytes);
        if serial.0 > MAX_NODES || bytes > MAX_TEXT_BYTES {
            return Err(self.fail(
                "the document has too many values, with its aliases written out",
                "use fewer aliases (`*name`), or split the document",
            ));
        }
        Ok(())
    }

    fn fault(&self, error: &serde_yaml::Error, text: &str) -> Fault {
        let at = place_of(error);
        match self.found.take() {
            Some((message, hint)) => Fault::new(at, message, hint),
            None => syntax_fault(error, at, text),
        }
    }
}

/// Puts the parser's own words into ours.
fn syntax_fault(error: &serde_yaml::Error, at: Place, text: &str) -> Fault {
    let said = error.to_string();
    if said.starts_with("repetition limit") {
        return Fault::new(
            at,
            "the document repeats its aliases without end",
            "use fewer aliases (`*name`)",
        );
    }
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

/// Reads one node.
#[derive(Debug, Clone, Copy)]
struct NodeSeed<'v> {
    visit: &'v Visit,
    serial: Serial,
    depth: usize,
}

impl NodeSeed<'_> {
    fn node(self, tree: Tree) -> Node {
        Node {
            serial: self.serial,
            tree,
        }
    }

    fn leaf<E: serde::de::Error>(self, tree: Tree) -> Result<Node, E> {
        self.visit.arrive(self.serial, 0)?;
        Ok(self.node(tree))
    }

    fn below<E: serde::de::Error>(self) -> Result<usize, E> {
        self.visit.arrive(self.serial, 0)?;
        if self.depth == MAX_DEPTH {
            let fault = too_deep((1, 1));
            return Err(self
                .visit
                .fail(fault.message, fault.hint.unwrap_or_default()));
        }
        Ok(self.depth + 1)
    }
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Node, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodeSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E: serde::de::Error>(self) -> Result<Node, E> {
        self.leaf(Tree::Nothing)
    }
    fn visit_none<E: serde::de::Error>(self) -> Result<Node, E> {
        self.leaf(Tree::Nothing)
    }
    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Node, E> {
        self.leaf(Tree::Truth(value))
    }
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Node, E> {
        self.leaf(Tree::Whole(value.into()))
    }
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Node, E> {
        self.leaf(Tree::Whole(value.into()))
    }
    fn visit_i128<E: serde::de::Error>(self, value: i128) -> Result<Node, E> {
        self.leaf(Tree::Whole(value))
    }
    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Node, E> {
        self.leaf(i128::try_from(value).map_or(Tree::Decimal(value as f64), Tree::Whole))
    }
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Node, E> {
        self.leaf(Tree::Decimal(value))
    }
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Node, E> {
        self.visit.arrive(self.serial, value.len())?;
        Ok(self.node(Tree::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Node, A::Error> {
        let depth = self.below()?;
        let mut items = Vec::new();
        loop {
            let serial = self.visit.number();
            let seed = NodeSeed {
                visit: self.visit,
                serial,
                depth,
            };
            match input.next_element_seed(seed)? {
                Some(item) => items.push(item),
                None => return Ok(self.node(Tree::List(items))),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Node, A::Error> {
        let depth = self.below()?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut merged = None;
        let mut seen = HashSet::new();
        loop {
            let serial = self.visit.number();
            let seed = KeySeed {
                visit: self.visit,
                serial,
                seen: &seen,
            };
            let Some(key) = input.next_key_seed(seed)? else {
                break;
            };
            let seed = NodeSeed {
                visit: self.visit,
                serial: self.visit.number(),
                depth,
            };
            let value = input.next_value_seed(seed)?;
            seen.insert(key.clone());
            if key == "<<" {
                merged = Some(value.tree);
            } else {
                entries.push(Entry { key, serial, value });
            }
        }
        let sources = match merged {
            None => Vec::new(),
            Some(Tree::List(items)) => items.into_iter().map(|item| item.tree).collect(),
            Some(one) => vec![one],
        };
        for source in sources {
            let Tree::Map(more) = source else {
                return Err(self.visit.fail(
                    "`<<` merges a mapping or a list of mappings, and got something else",
                    "for example `<<: *defaults`",
                ));
            };
            for entry in more {
                if seen.insert(entry.key.clone()) {
                    entries.push(entry);
                }
            }
        }
        Ok(self.node(Tree::Map(entries)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<Node, A::Error> {
        self.visit.arrive(self.serial, 0)?;
        Err(self.visit.fail(
            "a tag (`!name`) has no meaning here",
            "remove it, or put a text that starts with `!` into quotes",
        ))
    }
}

/// Reads one key.
#[derive(Debug)]
struct KeySeed<'v> {
    visit: &'v Visit,
    serial: Serial,
    seen: &'v HashSet<String>,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<String, D::Error> {
        struct Key<'v>(KeySeed<'v>);

        impl Key<'_> {
            fn not_text<E: serde::de::Error>(&self) -> E {
                match self.0.visit.arrive::<E>(self.0.serial, 0) {
                    Err(error) => error,
                    Ok(()) => self
                        .0
                        .visit
                        .fail("a key must be a text", "put it into quotes"),
                }
            }
        }

        impl<'de> Visitor<'de> for Key<'_> {
            type Value = String;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<String, E> {
                let KeySeed {
                    visit,
                    serial,
                    seen,
                } = self.0;
                visit.arrive(serial, key.len())?;
                if seen.contains(key) {
                    return Err(visit.fail(
                        format!("the key `{key}` is there twice"),
                        "keep one of the two",
                    ));
                }
                Ok(key.to_owned())
            }
            fn visit_unit<E: serde::de::Error>(self) -> Result<String, E> {
                Err(self.not_text())
            }
            fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<String, E> {
                Err(self.not_text())
            }
            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<String, E> {
                Err(self.not_text())
            }
            fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<String, E> {
                Err(self.not_text())
            }
            fn visit_i128<E: serde::de::Error>(self, _: i128) -> Result<String, E> {
                Err(self.not_text())
            }
            fn visit_u128<E: serde::de::Error>(self, _: u128) -> Result<String, E> {
                Err(self.not_text())
            }
            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<String, E> {
                Err(self.not_text())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<String, A::Error> {
                Err(self.not_text())
            }
            fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<String, A::Error> {
                Err(self.not_text())
            }
            fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<String, A::Error> {
                Err(self.not_text())
            }
        }

        input.deserialize_any(Key(self))
    }
}
