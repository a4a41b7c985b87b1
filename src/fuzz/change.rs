//! Changes of samples: of bytes, of words, and of the values of JSON, so that what is typed deep inside is reached too.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::Value;

/// The longest input, in bytes.
const LONGEST: usize = 256 << 10;

/// What means something to some reader or other.
const WORDS: [&str; 60] = [
    "null",
    "true",
    "-1",
    "0",
    "-0.0",
    "1e308",
    "1e999",
    "NaN",
    "Infinity",
    "0x10",
    "1_000",
    "255",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "\"\"",
    "[]",
    "{}",
    "[[[[[[[[",
    "{{{{{{{{",
    "\"",
    "'",
    "\\",
    "\\u0000",
    "\\ud800",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\0",
    "\u{1b}[2J",
    "\u{1b}]0;",
    "\u{9b}",
    "\u{202e}",
    "\u{feff}",
    "\u{300}",
    "\u{1f511}",
    "::error::x",
    "##[group]",
    "../",
    "/etc/passwd",
    "./././",
    "a/b",
    "-rf",
    "<script>",
    "&lt;",
    "%00",
    "*a",
    "&a [*a, *a]",
    "<<: *a",
    "!!binary x",
    "? ",
    "- ",
    "|\n",
    ": ",
    "-009999-01-01T00:00:00Z",
    "9999-12-30T22:00:00Z",
];

/// What numbers are at their ends.
const NUMBERS: [&str; 22] = [
    "0",
    "1",
    "-1",
    "2",
    "100.1",
    "255",
    "65536",
    "999999",
    "4294967295",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "0.5",
    "-0.0",
    "1e-320",
    "1e18",
    "1e19",
    "1e300",
    "-1e300",
    "1.7976931348623157e308",
];

/// One change.
#[derive(Debug, Clone)]
enum Change {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Word(Index, &'static str),
    Remove(Index, Index),
    Repeat(Index, Index, u8),
    Cut(Index),
    Take(Index, Index, Index),
    Json(Index, Index, Json),
}

/// A change of one value of a JSON text.
#[derive(Debug, Clone)]
enum Json {
    Become(&'static str),
    /// A number stays one, and a text too: what is typed takes it.
    Alike(&'static str, &'static str),
    Long(u16),
    Deep(u8),
    Remove,
    Rename(&'static str),
    Twice,
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    let json = prop_oneof![
        3 => select(WORDS.to_vec()).prop_map(Json::Become),
        8 => (select(NUMBERS.to_vec()), select(WORDS.to_vec())).prop_map(|(number, word)| Json::Alike(number, word)),
        1 => any::<u16>().prop_map(Json::Long),
        1 => any::<u8>().prop_map(Json::Deep),
        2 => Just(Json::Remove),
        1 => select(WORDS.to_vec()).prop_map(Json::Rename),
        1 => Just(Json::Twice),
    ];
    prop_oneof![
        2 => (index(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        1 => (index(), vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        4 => (index(), select(WORDS.to_vec())).prop_map(|(at, word)| Change::Word(at, word)),
        2 => (index(), index()).prop_map(|(from, to)| Change::Remove(from, to)),
        1 => (index(), index(), any::<u8>()).prop_map(|(from, to, times)| Change::Repeat(from, to, times)),
        1 => index().prop_map(Change::Cut),
        1 => (index(), index(), index()).prop_map(|(which, from, to)| Change::Take(which, from, to)),
        8 => (index(), index(), json).prop_map(|(line, node, json)| Change::Json(line, node, json)),
    ]
}

/// Bytes by chance, and samples with a few changes.
pub(super) fn hostile(samples: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let chance = vec(any::<u8>(), 0..300);
    let changed = (any::<Index>(), vec(change(), 1..5)).prop_map(move |(which, changes)| {
        let mut bytes = match samples.len() {
            0 => Vec::new(),
            _ => samples[which.index(samples.len())].clone(),
        };
        for change in &changes {
            change.make(&mut bytes, &samples);
            bytes.truncate(LONGEST);
        }
        bytes
    });
    prop_oneof![1 => chance, 9 => changed]
}

impl Change {
    fn make(&self, bytes: &mut Vec<u8>, samples: &[Vec<u8>]) {
        let place = |at: &Index| at.index(bytes.len() + 1);
        let span = |from: &Index, to: &Index| {
            let (from, to) = (place(from), place(to));
            from.min(to)..from.max(to)
        };
        match self {
            Self::Set(at, byte) => {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
            }
            Self::Insert(at, more) => insert(bytes, place(at), more),
            Self::Word(at, word) => insert(bytes, place(at), word.as_bytes()),
            Self::Remove(from, to) => {
                let span = span(from, to);
                // Mostly little: of what is cut in half little is read.
                let end = span.end.min(span.start + 40);
                bytes.drain(span.start..end);
            }
            Self::Repeat(from, to, times) => {
                let span = span(from, to);
                let end = span.end.min(span.start + 400);
                let more = bytes[span.start..end].repeat(usize::from(*times));
                insert(bytes, end, &more);
            }
            Self::Cut(at) => bytes.truncate(place(at)),
            Self::Take(which, from, to) => {
                if !samples.is_empty() {
                    let sample = &samples[which.index(samples.len())];
                    let begin = from.index(sample.len() + 1);
                    let end = (begin + 200).min(sample.len());
                    insert(bytes, place(to), &sample[begin..end]);
                }
            }
            Self::Json(line, node, json) => json.make(bytes, *line, *node),
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, more: &[u8]) {
    bytes.splice(at..at, more.iter().copied());
}

impl Json {
    /// Changes the whole, where that is JSON, else one of its lines.
    fn make(&self, bytes: &mut Vec<u8>, line: Index, node: Index) {
        if let Ok(mut value) = serde_json::from_slice::<Value>(bytes) {
            self.change(&mut value, node);
            *bytes = value.to_string().into_bytes();
            return;
        }
        let mut lines: Vec<Vec<u8>> = bytes
            .split(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let at = line.index(lines.len());
        if let Ok(mut value) = serde_json::from_slice::<Value>(&lines[at]) {
            self.change(&mut value, node);
            lines[at] = value.to_string().into_bytes();
            *bytes = lines.join(&b'\n');
        }
    }

    fn change(&self, value: &mut Value, node: Index) {
        let mut left = node.index(count(value));
        self.change_nth(value, &mut left);
    }

    /// Changes the value of this number, counted from the top; whether that was in here.
    fn change_nth(&self, value: &mut Value, left: &mut usize) -> bool {
        if *left == 0 {
            self.change_this(value);
            return true;
        }
        *left -= 1;
        match value {
            Value::Array(items) => {
                for at in 0..items.len() {
                    if *left == 0 && matches!(self, Self::Remove) {
                        items.remove(at);
                        return true;
                    }
                    if *left == 0 && matches!(self, Self::Twice) {
                        items.push(items[at].clone());
                        return true;
                    }
                    if self.change_nth(&mut items[at], left) {
                        return true;
                    }
                }
                false
            }
            Value::Object(fields) => {
                let keys: Vec<String> = fields.keys().cloned().collect();
                for key in keys {
                    if *left == 0 && matches!(self, Self::Remove | Self::Rename(_)) {
                        let was = fields.remove(&key).unwrap_or_default();
                        if let Self::Rename(to) = self {
                            fields.insert((*to).to_owned(), was);
                        }
                        return true;
                    }
                    let field = fields.get_mut(&key);
                    if field.is_some_and(|field| self.change_nth(field, left)) {
                        return true;
                    }
                }
                false
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }

    fn change_this(&self, value: &mut Value) {
        *value = match self {
            Self::Become(word) => serde_json::from_str(word).unwrap_or_else(|_| Value::from(*word)),
            Self::Alike(number, word) => match value {
                Value::Number(_) => serde_json::from_str(number).unwrap_or_default(),
                Value::String(_) => Value::from(*word),
                Value::Bool(is) => Value::from(!*is),
                Value::Null | Value::Array(_) | Value::Object(_) => Value::Null,
            },
            Self::Long(length) => Value::from("x".repeat(usize::from(*length))),
            Self::Deep(depth) => {
                (0..*depth).fold(value.take(), |inner, _| Value::from(vec![inner]))
            }
            Self::Remove => Value::Null,
            Self::Rename(to) => Value::from(*to),
            Self::Twice => Value::from(vec![value.clone(), value.take()]),
        };
    }
}

fn count(value: &Value) -> usize {
    let below: usize = match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    };
    below + 1
}
