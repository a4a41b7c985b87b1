//! Where in what a grader printed its verdict is.
//!
//! Promises: the last JSON object with a `score` or a `pass` is found whatever stands around it; what only
//! looks like one is told from what is none; one pass over the text, whatever a hostile artifact made the
//! grader print.

use std::fmt;
use std::sync::LazyLock;

use regex::Regex;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// So many levels of a verdict are read.
const MAX_DEPTH: usize = 100;

/// The keys by which a verdict is known.
pub(super) const SCORE: &[&str] = &["score"];
pub(super) const PASS: &[&str] = &["pass", "passed"];

/// The members of an object as written, those that come twice included.
#[derive(Debug)]
pub(super) struct Members(Vec<(String, Value)>);

impl Members {
    /// The value of the first of these keys that is there and not `null`.
    pub(super) fn get(&self, keys: &[&str]) -> Option<&Value> {
        let named = |key| self.0.iter().find(|(name, _)| name == key);
        let values = keys.iter().filter_map(|key| named(*key));
        values
            .map(|(_, value)| value)
            .find(|value| !value.is_null())
    }

    /// The first of these keys that comes more than once: nobody can say which of them counts.
    pub(super) fn repeated<'k>(&self, keys: &[&'k str]) -> Option<&'k str> {
        let count = |key: &str| self.0.iter().filter(|(name, _)| name == key).count();
        keys.iter().copied().find(|key| count(key) > 1)
    }

    fn is_verdict(&self) -> bool {
        let keys = || SCORE.iter().chain(PASS);
        self.0.iter().any(|(name, _)| keys().any(|key| name == key))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Colours and other control codes. Not by `plain::text`: to a terminal, an unfinished sequence swallows all
/// that follows, and an artifact that is quoted before the verdict could begin one.
static CODES: Pattern = LazyLock::new(|| {
    let sequence = r"(?:\x1b\[|\u{9b})[0-?]*[ -/]*[@-Z\\^-z~]";
    let control = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\u{9f}\u{feff}]";
    Regex::new(&format!("{sequence}|{control}")).ok()
});

/// What was printed as text that a verdict can be looked for in: colours, marks of the byte order and other
/// control characters are gone, a carriage return is a line break.
///
/// That is enough for UTF-16 too, of which letters and NUL take turns. It is not recognised by how the output
/// begins: that may be a quotation, and the rest would be lost.
pub(super) fn text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let clean = match &*CODES {
        Some(codes) => codes.replace_all(&text, ""),
        None => text,
    };
    clean.replace('\r', "\n")
}

/// The verdict in a text; why it cannot be read, when there is only what looks like one; `None` when
/// there is neither.
pub(super) fn verdict(text: &str) -> Option<Result<Members, String>> {
    let mut found = Found::default();
    let (mut prose, mut at) = (0, 0);
    while let Some(open) = text[at..].find('{').map(|open| at + open) {
        match object_end(text.as_bytes(), open) {
            Ok(end) => {
                found.take_prose(&text[prose..open]);
                found.take_object(&text[open..end], text[end..].trim().is_empty());
                (prose, at) = (end, end);
            }
            // What it had opened until there fails there too: nothing is looked at twice.
            Err(stop) => at = stop,
        }
    }
    found.take_prose(&text[prose..]);
    let text = text.trim();
    if text.starts_with('{') && text.ends_with('}') {
        found.take_doubt(NOT_JSON);
    }
    found.last.or(found.doubt.map(Err))
}

const NOT_JSON: &str = "what looks like its verdict is not JSON";

#[derive(Default)]
struct Found {
    /// The last that is, or was clearly to be, a verdict.
    last: Option<Result<Members, String>>,
    /// Why the exit code is not taken for the verdict, when there is nothing better.
    doubt: Option<String>,
}

impl Found {
    /// A complete object.
    fn take_object(&mut self, text: &str, is_end: bool) {
        match serde_json::from_str::<Members>(text) {
            Ok(members) if members.is_verdict() => self.last = Some(Ok(members)),
            Ok(_) if is_end || matches(&LIKE, text) => {
                self.take_doubt("its verdict has neither `score` nor `pass`");
            }
            Err(error) if matches(&KEY, text) => {
                self.last = Some(Err(format!("its verdict is not JSON, {error}")));
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// What stands between complete objects.
    fn take_prose(&mut self, text: &str) {
        let braced = text.find('{').map_or("", |open| &text[open..]);
        if matches(&KEY, braced) {
            self.last = Some(Err(NOT_JSON.to_owned()));
        } else if matches(&LIKE, braced) || matches(&SAID, text) {
            self.take_doubt("what looks like its verdict is not a JSON object");
        }
    }

    fn take_doubt(&mut self, why: &str) {
        self.doubt.get_or_insert_with(|| why.to_owned());
    }
}

type Pattern = LazyLock<Option<Regex>>;

/// What may stand around a key, in whatever notation: `'score'`, `\"score\"`, `&quot;score&quot;`, `:score`.
const QUOTE: &str = r#"(?:[:\\"'“”‘’]|&quot;|&#34;|\\u0022)*"#;

/// A key of a verdict in braces.
static KEY: Pattern = LazyLock::new(|| in_braces("score|passed|pass"));

/// What may be meant as one: `totalScore`.
static LIKE: Pattern = LazyLock::new(|| in_braces(r"\w*score|passed|pass"));

fn in_braces(keys: &str) -> Option<Regex> {
    Regex::new(&format!(r"(?i)[{{,]\s*{QUOTE}(?:{keys}){QUOTE}\s*[:=]")).ok()
}

/// A verdict in the words of people: a line `Final score: 87 of 100`, a row `| score | 87 |`, `passed=false`.
static SAID: Pattern = LazyLock::new(|| {
    let mark = r#"[\s>*|#"'`_-]*"#;
    let number = r"[-+]?\.?\d";
    let score = format!(r"(?:\w+[ \t-]){{0,3}}(?:\w*_)?score{mark}[:=|]{mark}{number}");
    let pass = format!(r"(?:passed|pass){mark}[:=|]{mark}(?:true|false)\b");
    let call = format!(r"[(\[,]\s*score\s*=\s*{number}|<score>\s*{number}");
    Regex::new(&format!("(?im)^{mark}(?:{score}|{pass})|{call}")).ok()
});

fn matches(pattern: &Pattern, text: &str) -> bool {
    pattern.as_ref().is_some_and(|it| it.is_match(text))
}

/// What may come next in JSON.
#[derive(Clone, Copy)]
enum Next {
    Key,
    KeyOrEnd,
    Colon,
    Value,
    ValueOrEnd,
    CommaOrEnd,
}

/// Where the object ends that opens here; else where it stops being one, behind its opening.
///
/// It is a little more lenient than JSON in numbers and words: the parser says what is wrong with them.
fn object_end(text: &[u8], open: usize) -> Result<usize, usize> {
    let mut closers = vec![b'}'];
    let (mut at, mut next) = (open + 1, Next::KeyOrEnd);
    loop {
        at += count(&text[at..], |byte| byte.is_ascii_whitespace());
        let byte = *text.get(at).ok_or(text.len())?;
        match (next, byte) {
            (Next::Key | Next::KeyOrEnd, b'"') => (at, next) = (string_end(text, at)?, Next::Colon),
            (Next::Colon, b':') => (at, next) = (at + 1, Next::Value),
            (Next::CommaOrEnd, b',') => {
                let in_object = closers.last() == Some(&b'}');
                (at, next) = (at + 1, if in_object { Next::Key } else { Next::Value });
            }
            (Next::KeyOrEnd | Next::ValueOrEnd | Next::CommaOrEnd, b'}' | b']')
                if closers.last() == Some(&byte) =>
            {
                closers.pop();
                (at, next) = (at + 1, Next::CommaOrEnd);
                if closers.is_empty() {
                    return Ok(at);
                }
            }
            (Next::Value | Next::ValueOrEnd, b'{' | b'[') if closers.len() < MAX_DEPTH => {
                let (closer, inside) = match byte {
                    b'{' => (b'}', Next::KeyOrEnd),
                    _ => (b']', Next::ValueOrEnd),
                };
                closers.push(closer);
                (at, next) = (at + 1, inside);
            }
            (Next::Value | Next::ValueOrEnd, b'"') => {
                (at, next) = (string_end(text, at)?, Next::CommaOrEnd);
            }
            (Next::Value | Next::ValueOrEnd, _) => {
                let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
                match count(&text[at..], is_word) {
                    0 => return Err(at),
                    length => (at, next) = (at + length, Next::CommaOrEnd),
                }
            }
            (Next::Key | Next::KeyOrEnd | Next::Colon | Next::CommaOrEnd, _) => return Err(at),
        }
    }
}

fn count(text: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    text.iter().take_while(|byte| wanted(**byte)).count()
}

/// Where the string ends that opens here. None goes over the end of its line: that is what keeps a quote
/// in prose from hiding the rest.
fn string_end(text: &[u8], open: usize) -> Result<usize, usize> {
    let mut at = open + 1;
    loop {
        match text.get(at) {
            None => return Err(text.len()),
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at += 2,
            Some(0..=0x1f) => return Err(at),
            Some(_) => at += 1,
        }
    }
}
