//! One reading of a document, node by node: numbers them, builds the tree, keeps it in bounds, and fails
//! on purpose where it is asked to. Knows serde, and no format.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, Visitor};

use super::{Entry, MAX_DEPTH, Node, Serial, Tree, too_deep};

/// The most nodes, with every use of an alias counted anew.
const MAX_NODES: usize = 200_000;
/// The most text, with every use of an alias counted anew.
const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;

/// One reading of a document.
#[derive(Debug, Default)]
pub(super) struct Visit {
    next: Cell<usize>,
    /// The last node or key that was reached.
    last: Cell<Option<Serial>>,
    text_bytes: Cell<usize>,
    /// Where to fail on purpose.
    stop: Option<Serial>,
    /// Whether it did.
    stopped: Cell<bool>,
    /// What this file found wrong itself; the parser's error then only tells the place.
    found: RefCell<Option<(String, String)>>,
}

impl Visit {
    /// Whether it failed where it was asked to.
    pub(super) fn stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Message and hint of what it found wrong itself.
    pub(super) fn found(&self) -> Option<(String, String)> {
        self.found.take()
    }

    /// The last node or key that it reached.
    pub(super) fn last(&self) -> Option<Serial> {
        self.last.get()
    }

    pub(super) fn stopping_at(serial: Serial) -> Self {
        Self {
            stop: Some(serial),
            ..Self::default()
        }
    }

    pub(super) fn root(&self) -> NodeSeed<'_> {
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
        self.last.set(Some(serial));
        let bytes = self.text_bytes.get().saturating_add(text_bytes);
        self.text_bytes.set(bytes);
        if serial.0 >= MAX_NODES || bytes > MAX_TEXT_BYTES {
            return Err(self.fail(
                "the document has too many values, with its aliases written out",
                "use fewer aliases (`*name`), or split the document",
            ));
        }
        Ok(())
    }
}

/// Reads one node.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeSeed<'v> {
    visit: &'v Visit,
    serial: Serial,
    depth: usize,
}

impl NodeSeed<'_> {
    pub(super) fn node(self, tree: Tree) -> Node {
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
            let key_seed = KeySeed {
                visit: self.visit,
                serial,
                seen: &seen,
            };
            let Some(key) = input.next_key_seed(key_seed)? else {
                break;
            };
            let value_seed = NodeSeed {
                visit: self.visit,
                serial: self.visit.number(),
                depth,
            };
            let value = input.next_value_seed(value_seed)?;
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
