//! Reading an event.
//!
//! By hand, because a journal is long: what `serde` makes of a tag among other members holds all of them until it knows
//! what they belong to. Forge writes the tag before them, and most events are of a few kinds.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Event, EventKind, Phase, TrialRecord};
use crate::name::TrialId;

/// The member that says of which kind an event is.
const TAG: &str = "event";

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Event, A::Error> {
        let (mut seq, mut at) = (None, None);
        let mut rest = Rest {
            map,
            seq: &mut seq,
            at: &mut at,
            next: None,
            tag: None,
            is_tagged: false,
        };
        rest.next = rest.next_name()?;
        if rest.next.as_deref() == Some(TAG) {
            rest.tag = Some(rest.map.next_value::<Text<'_>>()?.0);
        }
        let kind = rest.kind()?;
        Ok(Event {
            seq: seq.ok_or_else(|| Error::missing_field("seq"))?,
            at: at.ok_or_else(|| Error::missing_field("at"))?,
            kind,
        })
    }
}

/// The members of an event without those that all have, which are taken out on the way.
struct Rest<'a, 'de, A> {
    map: A,
    seq: &'a mut Option<u64>,
    at: &'a mut Option<Timestamp>,
    /// The name of the next one, where it is read already; and its value, where that is the tag.
    next: Option<Cow<'de, str>>,
    tag: Option<Cow<'de, str>>,
    /// Whether the tag is behind it.
    is_tagged: bool,
}

impl<'de, A: MapAccess<'de>> Rest<'_, 'de, A> {
    fn kind(mut self) -> Result<EventKind, A::Error> {
        #[derive(Deserialize)]
        struct Started {
            trial: TrialId,
            attempt: u32,
        }
        #[derive(Deserialize)]
        struct Entered {
            trial: TrialId,
            phase: Phase,
        }
        #[derive(Deserialize)]
        struct Logged {
            trial: TrialId,
            message: String,
        }
        let tag = self.tag.take();
        Ok(match tag.as_deref() {
            Some("trial_started") => {
                let Started { trial, attempt } = self.members()?;
                EventKind::TrialStarted { trial, attempt }
            }
            Some("phase_started") => {
                let Entered { trial, phase } = self.members()?;
                EventKind::PhaseStarted { trial, phase }
            }
            Some("logged") => {
                let Logged { trial, message } = self.members()?;
                EventKind::Logged { trial, message }
            }
            Some("trial_finished") => {
                EventKind::TrialFinished(Box::new(self.members::<TrialRecord>()?))
            }
            Some(_) | None => {
                self.tag = tag;
                EventKind::deserialize(MapAccessDeserializer::new(self))?
            }
        })
    }

    /// Those that come after the tag.
    fn members<T: Deserialize<'de>>(mut self) -> Result<T, A::Error> {
        (self.next, self.is_tagged) = (None, true);
        T::deserialize(MapAccessDeserializer::new(self))
    }

    /// The name of the next one that is not taken out.
    fn next_name(&mut self) -> Result<Option<Cow<'de, str>>, A::Error> {
        while let Some(Text(name)) = self.map.next_key()? {
            match (&*name, &self.seq, &self.at) {
                ("seq", Some(_), _) => return Err(Error::duplicate_field("seq")),
                ("at", _, Some(_)) => return Err(Error::duplicate_field("at")),
                ("seq", None, _) => *self.seq = Some(self.map.next_value()?),
                ("at", _, None) => *self.at = Some(self.map.next_value()?),
                (TAG, ..) if self.is_tagged => return Err(Error::duplicate_field(TAG)),
                _ => return Ok(Some(name)),
            }
        }
        Ok(None)
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let name = match self.next.take() {
            None => self.next_name()?,
            name => name,
        };
        name.map(|name| give(name, seed)).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        match self.tag.take() {
            Some(tag) => give(tag, seed),
            None => self.map.next_value_seed(seed),
        }
    }
}

/// Reads a text again.
fn give<'de, S: DeserializeSeed<'de>, E: Error>(
    text: Cow<'de, str>,
    seed: S,
) -> Result<S::Value, E> {
    match text {
        Cow::Borrowed(text) => seed.deserialize(BorrowedStrDeserializer::new(text)),
        Cow::Owned(text) => seed.deserialize(StringDeserializer::new(text)),
    }
}

/// A text, where possible where it stands.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor).map(Text)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text))
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{TrialEnd, TrialRecord};
    use crate::report::sample::{failed, full, lost, trial};

    /// What `serde` would make of it.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        seq: u64,
        at: Timestamp,
        #[serde(flatten)]
        kind: EventKind,
    }

    fn flat(text: &str) -> Result<Event, String> {
        let Flat { seq, at, kind } =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        Ok(Event { seq, at, kind })
    }

    fn read(text: &str) -> Result<Event, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_event_comes_back_as_it_was_wherever_its_members_stand() {
        let id = || trial("alpha", "weekly", 1);
        let kinds = [
            EventKind::TrialStarted {
                trial: id(),
                attempt: 2,
            },
            EventKind::Logged {
                trial: id(),
                message: "[Run] \u{1f980} \"said\"\\\n".to_owned(),
            },
            EventKind::TrialFinished(Box::new(full(id()))),
            EventKind::TrialFinished(Box::new(failed(id(), "it has 5 bytes"))),
            EventKind::TrialFinished(Box::new(lost(id()))),
            EventKind::TrialFinished(Box::new(TrialRecord::ended(id(), TrialEnd::Cancelled, 1))),
            EventKind::RunFinished { took_ms: u64::MAX },
        ];
        for kind in kinds {
            let event = Event {
                seq: 7,
                at: "2026-01-02T03:04:05.678901234Z".parse().unwrap(),
                kind,
            };
            let text = serde_json::to_string(&event).unwrap();
            assert_eq!(read(&text).as_ref(), Ok(&event));
            assert_eq!(flat(&text).as_ref(), Ok(&event));
            // A map puts its members in their order, and owns its names.
            let value: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(
                serde_json::from_value::<Event>(value.clone()).unwrap(),
                event
            );
            assert_eq!(read(&value.to_string()).as_ref(), Ok(&event));
            let moved = text.replacen("{\"seq\":7,", "{", 1);
            let moved = format!("{},\"seq\":7}}", moved.strip_suffix('}').unwrap());
            assert_eq!(read(&moved).as_ref(), Ok(&event));
            let twice = text.replacen('{', "{\"event\":\"logged\",", 1);
            assert!(read(&twice).is_err() && flat(&twice).is_err(), "{twice}");
            let escaped = text.replace("\"event\":", "\"\\u0065vent\":");
            assert_eq!(read(&escaped).as_ref(), Ok(&event));
        }
    }

    #[test]
    fn what_serde_would_refuse_is_refused() {
        let whole = json!({"seq": 1, "at": "2026-01-01T00:00:00Z", "event": "warned", "message": "x", "later": [{}]});
        assert_eq!(read(&whole.to_string()), flat(&whole.to_string()));
        for member in ["seq", "at", "event", "message"] {
            let mut value = whole.clone();
            value.as_object_mut().unwrap().remove(member);
            let (ours, theirs) = (read(&value.to_string()), flat(&value.to_string()));
            assert!(
                ours.is_err() && theirs.is_err(),
                "without {member}: {ours:?}"
            );
            let mut value = whole.clone();
            value[member] = json!({"a": 1});
            let (ours, theirs) = (read(&value.to_string()), flat(&value.to_string()));
            assert!(ours.is_err() && theirs.is_err(), "wrong {member}: {ours:?}");
        }
        for twice in [
            "\"seq\":1,",
            "\"at\":\"2026-01-01T00:00:00Z\",",
            "\"event\":\"warned\",",
        ] {
            let text = whole.to_string().replacen('{', &format!("{{{twice}"), 1);
            let (ours, theirs) = (read(&text), flat(&text));
            assert_eq!(
                ours.is_err(),
                theirs.is_err(),
                "{twice}: {ours:?}, {theirs:?}"
            );
        }
        for text in [
            "",
            "{}",
            "[]",
            "[1]",
            "null",
            "\"x\"",
            "{\"seq\":1",
            "{1:2}",
        ] {
            assert!(read(text).is_err() && flat(text).is_err(), "{text}");
        }
    }
}
