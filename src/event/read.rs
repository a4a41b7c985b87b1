//! Reading an event.

use std::borrow::Cow;
use std::fmt;

use jiff::Timestamp;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Event, EventKind};

/// By hand, because a journal is long: `flatten` would hold all of an event a second time.
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
        let rest = Rest {
            map,
            seq: &mut seq,
            at: &mut at,
        };
        let kind = EventKind::deserialize(MapAccessDeserializer::new(rest))?;
        Ok(Event {
            seq: seq.ok_or_else(|| Error::missing_field("seq"))?,
            at: at.ok_or_else(|| Error::missing_field("at"))?,
            kind,
        })
    }
}

/// The members of an event without those that all have, which are taken out on the way.
struct Rest<'a, A> {
    map: A,
    seq: &'a mut Option<u64>,
    at: &'a mut Option<Timestamp>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Rest<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        while let Some(Key(key)) = self.map.next_key()? {
            match (&*key, &self.seq, &self.at) {
                ("seq", Some(_), _) => return Err(Error::duplicate_field("seq")),
                ("at", _, Some(_)) => return Err(Error::duplicate_field("at")),
                ("seq", None, _) => *self.seq = Some(self.map.next_value()?),
                ("at", _, None) => *self.at = Some(self.map.next_value()?),
                _ => {
                    let key = match key {
                        Cow::Borrowed(key) => seed.deserialize(BorrowedStrDeserializer::new(key)),
                        Cow::Owned(key) => seed.deserialize(StringDeserializer::new(key)),
                    };
                    return key.map(Some);
                }
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// The name of a member.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor).map(Key)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }

    fn visit_string<E>(self, name: String) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name))
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
            let escaped = text.replace("\"event\":", "\"\\u0065vent\":");
            assert_eq!(read(&escaped).as_ref(), Ok(&event));
        }
    }

    #[test]
    fn what_is_no_event_is_refused_for_the_same_reason() {
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
