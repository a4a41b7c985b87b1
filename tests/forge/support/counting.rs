//! A proxy before the socket of a container engine: counts the calls, and passes them on, late, or not at all, or
//! answers in the engine's place.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use super::workspace::wait;

/// The calls so far, each as `METHOD PATH` without its query.
type Calls = Arc<Mutex<Vec<String>>>;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The engine gets it.
    Passed,
    /// It gets it so many milliseconds later, whether anybody still waits for the answer or not.
    Late(u64),
    /// It never does, and nobody gets an answer.
    Held,
    /// It never does, and this status is the answer.
    Answered(u16),
}

/// Decides that, from the call and how many like it (by the last part of the path) came before.
pub(crate) type Decides = fn(&str, usize) -> Fate;

/// The proxy; its threads end with the connections.
#[derive(Debug)]
pub(crate) struct Counting {
    folder: tempfile::TempDir,
    calls: Calls,
    /// What all calls are answered with; 0 where the engine answers.
    status: Arc<AtomicU16>,
}

impl Counting {
    /// Listens, before the engine at this socket.
    pub(crate) fn before(engine: &Path) -> Self {
        Self::deciding(engine, |_, _| Fate::Passed)
    }

    /// The same, where not every call passes.
    pub(crate) fn deciding(engine: &Path, decides: Decides) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("engine.sock")).unwrap();
        let (calls, status) = (Calls::default(), Arc::<AtomicU16>::default());
        let (engine, all, says) = (engine.to_owned(), calls.clone(), status.clone());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let (Ok(client), Ok(server)) = (client, UnixStream::connect(&engine)) else {
                    break;
                };
                pass(client, server, &all, decides, &says);
            }
        });
        Self {
            folder,
            calls,
            status,
        }
    }

    /// From now on answers every call with this status; with `None` the engine does it again.
    pub(crate) fn answer(&self, status: Option<u16>) {
        self.status.store(status.unwrap_or(0), Ordering::Relaxed);
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

/// Passes both directions on.
fn pass(
    client: UnixStream,
    server: UnixStream,
    calls: &Calls,
    decides: Decides,
    status: &Arc<AtomicU16>,
) {
    let (back_from, back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || copy(back_from, back_to, |_| None));
    let (calls, status) = (calls.clone(), status.clone());
    std::thread::spawn(move || {
        let mut reader = Requests::default();
        copy(client, server, |bytes| {
            let mut calls = calls.lock().unwrap();
            let mut fate = None;
            for call in reader.read(bytes) {
                let last = |call: &str| call.rsplit('/').next().map(str::to_owned);
                let before = calls.iter().filter(|it| last(it) == last(&call)).count();
                fate = Some(match status.load(Ordering::Relaxed) {
                    0 => decides(&call, before),
                    status => Fate::Answered(status),
                });
                calls.push(call);
            }
            fate
        });
    });
}

/// `see` is given all that comes, and says what becomes of it where a call begins.
fn copy(mut from: UnixStream, mut to: UnixStream, mut see: impl FnMut(&[u8]) -> Option<Fate>) {
    let mut chunk = [0; 16 * 1024];
    let mut passes = true;
    let mut rest = 0;
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        // One call at a time is on a connection, so that what follows belongs to it.
        match see(&chunk[..read]) {
            None => {}
            Some(Fate::Passed) => passes = true,
            Some(Fate::Late(milliseconds)) => {
                wait(milliseconds);
                rest = milliseconds;
                passes = true;
            }
            Some(Fate::Held) => passes = false,
            Some(Fate::Answered(status)) => {
                passes = false;
                if answer(&mut from, status).is_err() {
                    break;
                }
            }
        }
        if passes && to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    // An engine that sees the end of a connection may give up what it was asked for.
    wait(rest);
    to.shutdown(std::net::Shutdown::Write).ok();
}

fn answer(client: &mut UnixStream, status: u16) -> std::io::Result<()> {
    let body = r#"{"message":"injected"}"#;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} Injected\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    client.write_all(format!("{head}{body}").as_bytes())
}

/// Finds the requests of one connection.
#[derive(Debug, Default)]
struct Requests {
    head: Vec<u8>,
    /// So much of a body is still to come.
    body: usize,
    /// What follows is no HTTP.
    is_over: bool,
}

impl Requests {
    fn read(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for byte in bytes {
            if self.is_over {
                break;
            }
            if self.body > 0 {
                self.body -= 1;
                continue;
            }
            self.head.push(*byte);
            if self.head.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8(std::mem::take(&mut self.head)).unwrap();
                found.push(self.take(&head));
            }
        }
        found
    }

    fn take(&mut self, head: &str) -> String {
        let mut lines = head.lines();
        let mut words = lines.next().unwrap().split(' ');
        let (method, target) = (words.next().unwrap(), words.next().unwrap());
        for line in lines.map(str::to_ascii_lowercase) {
            match line.split_once(": ") {
                Some(("content-length", length)) => self.body = length.parse().unwrap(),
                Some(("upgrade", _)) => self.is_over = true,
                _ => {}
            }
        }
        let path = target.split('?').next().unwrap();
        format!("{method} {path}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_wherever_they_are_cut() {
        let text = b"POST /a?b=c HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET \r\
                     DELETE /d HTTP/1.1\r\n\r\nPOST /e HTTP/1.1\r\nUpgrade: tcp\r\n\r\nGET /f HTTP/1.1\r\n\r\n";
        for size in [1, 7, 1000] {
            let mut reader = Requests::default();
            let found: Vec<String> = text.chunks(size).flat_map(|it| reader.read(it)).collect();
            assert_eq!(found, ["POST /a", "DELETE /d", "POST /e"], "{size}");
        }
    }
}
