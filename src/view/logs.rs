//! The logs of one trial as they come, for a page that looks at it.
//!
//! Promises: of a long log only the end is sent, which is said; what comes is sent in small pieces, so that a slow page
//! holds up nobody but itself; a page that comes back goes on where it was.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::time::Duration;

use axum::response::sse::Event;
use futures::Stream;
use serde_json::json;

use super::wake::Wake;
use crate::name::TrialId;
use crate::plain;
use crate::store::{RunFolder, TrialFolder};

/// The logs that a trial may have, in the order in which they begin.
const LOGS: [&str; 3] = ["setup.log", "stdout.log", "stderr.log"];
/// So much of what was there before is sent.
const BEFORE: u64 = 64 << 10;
/// So much is sent at once.
const PIECE: usize = 16 << 10;
/// How often a folder is looked for that is not there yet.
const OFTEN: Duration = Duration::from_millis(500);

/// Where a page is in the logs of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Places([Option<u64>; 3]);

impl Places {
    /// Reads what [`Places::id`] has made.
    pub(super) fn parse(id: &str) -> Self {
        let mut places = Self::default();
        for (place, text) in places.0.iter_mut().zip(id.split('-')) {
            *place = text.parse().ok();
        }
        places
    }

    fn id(self) -> String {
        let place = |it: Option<u64>| it.map_or_else(|| "x".to_owned(), |it| it.to_string());
        self.0.map(place).join("-")
    }
}

/// What is sent of a trial's logs, from these places on.
pub(super) fn stream(
    folder: &RunFolder,
    trial: &TrialId,
    places: Places,
) -> impl Stream<Item = Event> + use<> {
    let reader = Reader {
        folder: folder.trial(trial),
        places,
        wake: None,
        ready: Vec::new(),
        is_done: false,
    };
    futures::stream::unfold(reader, |mut reader| async move {
        loop {
            if let Some(event) = reader.ready.pop() {
                return Some((event, reader));
            }
            if reader.is_done {
                return None;
            }
            // Before it is looked: what changes meanwhile is told.
            let is_there = reader.folder.path().is_dir();
            if reader.wake.is_none() && is_there {
                reader.wake = Some(Wake::on(reader.folder.path()));
            }
            let looked = tokio::task::spawn_blocking(move || {
                let more = reader.look();
                (reader, more)
            });
            let (back, more) = looked.await.ok()?;
            reader = back;
            if !more && reader.ready.is_empty() {
                match &mut reader.wake {
                    Some(wake) => wake.next().await,
                    None => tokio::time::sleep(OFTEN).await,
                }
                if !reader.folder.path().is_dir() {
                    reader.wake = None;
                }
            }
        }
    })
}

struct Reader {
    folder: TrialFolder,
    places: Places,
    wake: Option<Wake>,
    /// What is to be sent, the last first.
    ready: Vec<Event>,
    is_done: bool,
}

impl Reader {
    /// Takes a piece of each log; whether there may be more of one.
    fn look(&mut self) -> bool {
        // Before the logs: after it nothing is written into them any more.
        let has_ended = self.folder.open("trial.json").is_ok();
        let mut more = false;
        let mut events = Vec::new();
        for (at, log) in LOGS.iter().enumerate() {
            let Some(piece) = piece(&self.folder, log, &mut self.places.0[at]) else {
                continue;
            };
            more = true;
            let data = json!({
                "log": log, "skipped": piece.skipped, "again": piece.again, "text": plain::text(&piece.text),
            });
            events.push(
                Event::default()
                    .event("log")
                    .id(self.places.id())
                    .data(data.to_string()),
            );
        }
        if !more && has_ended {
            self.is_done = true;
            events.push(Event::default().event("end").data("{}"));
        }
        events.reverse();
        self.ready = events;
        more
    }
}

struct Piece {
    text: String,
    /// So many bytes before it are not sent.
    skipped: u64,
    /// Whether the log has begun again: the trial is tried again.
    again: bool,
}

/// The next piece of a log; `None` when there is none.
fn piece(folder: &TrialFolder, log: &str, place: &mut Option<u64>) -> Option<Piece> {
    let mut file = folder.open(log).ok()?;
    let length = file.metadata().ok()?.len();
    let again = place.is_some_and(|place| place > length);
    if again {
        *place = Some(0);
    }
    let skipped = match place {
        None => length.saturating_sub(BEFORE),
        Some(_) => 0,
    };
    let from = place.unwrap_or(skipped);
    file.seek(SeekFrom::Start(from)).ok()?;
    let mut bytes = Vec::new();
    file.take(PIECE as u64).read_to_end(&mut bytes).ok()?;
    // A character of which only the beginning is there is left for the next time.
    let whole = match std::str::from_utf8(&bytes) {
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
        Ok(_) | Err(_) => bytes.len(),
    };
    if whole == 0 {
        return None;
    }
    *place = Some(from + whole as u64);
    Some(Piece {
        text: String::from_utf8_lossy(&bytes[..whole]).into_owned(),
        skipped,
        again,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_as_it_was() {
        let places = Places([Some(3), None, Some(99)]);
        assert_eq!(Places::parse(&places.id()), places);
        assert_eq!(Places::parse("x"), Places::default());
        assert_eq!(Places::parse("1-2"), Places([Some(1), Some(2), None]));
    }

    #[test]
    fn a_log_is_sent_from_its_end_on_and_again_when_it_begins_again() {
        let artifacts = tempfile::tempdir().unwrap();
        let run = "0190a5d0-0000-7000-8000-00000000beef".parse().unwrap();
        let folder = RunFolder::create(artifacts.path(), &run).unwrap();
        let trial = TrialId {
            objective: "post".parse().unwrap(),
            candidate: "alpha".parse().unwrap(),
            repeat: 1,
        };
        let folder = folder.trial(&trial);
        folder.begin().unwrap();
        let write = |bytes: &[u8]| std::fs::write(folder.path().join("stdout.log"), bytes).unwrap();
        let mut place = None;
        assert!(piece(&folder, "stdout.log", &mut place).is_none());
        write(&vec![b'a'; 70_000]);
        let first = piece(&folder, "stdout.log", &mut place).unwrap();
        assert_eq!((first.skipped, first.text.len()), (70_000 - 65_536, PIECE));
        while piece(&folder, "stdout.log", &mut place).is_some() {}
        assert_eq!(place, Some(70_000));
        write("é".as_bytes());
        let again = piece(&folder, "stdout.log", &mut place).unwrap();
        assert!(again.again && again.text == "é");
        write(b"\xc3\xa9x\xc3");
        assert_eq!(piece(&folder, "stdout.log", &mut place).unwrap().text, "x");
        assert!(
            piece(&folder, "stdout.log", &mut place).is_some(),
            "at last as it is"
        );
    }
}
