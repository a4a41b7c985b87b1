//! Telling: events are stamped in one order, and everybody hears of them: the journal first, then the
//! subscribers, then the summary.

use jiff::Timestamp;

use super::EVENTS_UNDER_WAY;
use crate::event::{Event, EventKind, Subscriber};
use crate::journal::Journal;
use crate::summary::RunSummary;

/// Stamps events and tells everybody.
pub(super) struct Teller {
    pub(super) journal: Journal,
    subscribers: Vec<Box<dyn Subscriber>>,
    pub(super) summary: RunSummary,
    last: Timestamp,
}

impl Teller {
    pub(super) fn new(journal: Journal, subscribers: Vec<Box<dyn Subscriber>>) -> Self {
        let last = Timestamp::now();
        Self {
            journal,
            subscribers,
            summary: RunSummary::default(),
            last,
        }
    }

    /// Goes on where another has ended.
    pub(super) fn after(self, summary: RunSummary) -> Self {
        let last = summary.last().map_or(self.last, |it| it.max(self.last));
        Self {
            summary,
            last,
            ..self
        }
    }

    pub(super) fn tell(&mut self, kind: EventKind) {
        self.tell_all([kind]);
    }

    /// Tells what has come together, as many at once as are under way at the most: they are in the journal before any of
    /// them is shown.
    pub(super) fn tell_all(&mut self, kinds: impl IntoIterator<Item = EventKind>) {
        let mut kinds = kinds.into_iter().peekable();
        while kinds.peek().is_some() {
            self.tell_some(kinds.by_ref().take(EVENTS_UNDER_WAY));
        }
    }

    fn tell_some(&mut self, kinds: impl Iterator<Item = EventKind>) {
        // The system's clock may be set back; the order of events is not.
        self.last = self.last.max(Timestamp::now());
        let stamped = kinds.zip(0..).map(|(kind, more)| Event {
            seq: self.summary.next_seq().saturating_add(more),
            at: self.last,
            kind,
        });
        let events: Vec<Event> = stamped.collect();
        self.journal.write(&events);
        for event in &events {
            for subscriber in &mut self.subscribers {
                subscriber.on_event(event);
            }
            self.summary.apply(event);
        }
    }
}
