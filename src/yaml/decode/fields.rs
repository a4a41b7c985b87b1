//! The keys of one mapping: asked for, required, or refused because nobody knows them.

use super::Value;
use crate::suggest;
use crate::yaml::Entry;

/// The keys and values of a mapping.
#[derive(Debug)]
pub struct Fields<'d> {
    entries: &'d [Entry],
    of: Value<'d>,
}

impl<'d> Fields<'d> {
    pub(super) fn new(entries: &'d [Entry], of: &Value<'d>) -> Self {
        Self {
            entries,
            of: of.clone(),
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.of.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.of.path)
        }
    }

    fn value(&self, entry: &'d Entry) -> Value<'d> {
        Value {
            node: &entry.value,
            path: self.path_of(&entry.key),
            findings: self.of.findings,
        }
    }

    /// The mapping itself.
    #[must_use]
    pub fn whole(&self) -> &Value<'d> {
        &self.of
    }

    /// All keys with their values, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = (&'d str, Value<'d>)> {
        self.entries
            .iter()
            .map(|entry| (entry.key.as_str(), self.value(entry)))
    }

    /// The value of a key, when it is there.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'d>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(self.value(entry))
    }

    /// The value of a key; its absence is reported, with this hint.
    #[must_use]
    pub fn required(&self, key: &str, hint: &str) -> Option<Value<'d>> {
        self.get(key)
            .or_else(|| self.of.problem(format!("`{key}` is missing"), hint))
    }

    /// Decodes the value of a key. The outer `None` is a reported problem, the inner one absence.
    #[must_use]
    pub fn optional<T>(
        &self,
        key: &str,
        decode: impl FnOnce(&Value<'d>) -> Option<T>,
    ) -> Option<Option<T>> {
        match self.get(key) {
            None => Some(None),
            Some(value) => decode(&value).map(Some),
        }
    }

    /// Reports a problem with a key itself.
    pub fn key_problem<T>(
        &self,
        key: &str,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Option<T> {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        let serial = entry.map_or(self.of.node.serial, |entry| entry.serial);
        self.of
            .report(serial, self.path_of(key), message.into(), hint.into())
    }

    /// Reports every key that is not known.
    pub fn refuse_others(&self, what: &str, known: &[&str]) {
        for entry in self.entries {
            if !known.contains(&entry.key.as_str()) {
                let hint = suggest::advice(&entry.key, known.iter().copied());
                let key = crate::plain::short(&entry.key, 60);
                let message = format!("unknown {what} `{key}`");
                let path = self.of.path.clone();
                let _: Option<()> = self.of.report(entry.serial, path, message, hint);
            }
        }
    }
}
