//! The line to a container's first process: what forge says, and what comes back.
//!
//! Promises: waiting for what comes next may be dropped at any time, nothing is lost by that; a message that was
//! dropped half-way is noticed, and nothing is said after it.

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::Upgraded;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::course::{Tally, tally};
use super::frames::Frames;
use super::lines::{Lines, Part};
use crate::sandbox::exchange::Exchange;
use crate::sandbox::remote::random;
use crate::sandbox::{ErrorKind, SandboxError, Stream};

const TALK: &str = "talk to a container";
/// How much is read at once.
const CHUNK: usize = 64 << 10;
/// How long an answer to what takes no time may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Output of somebody.
    Bytes(Stream, Vec<u8>),
    /// A line of the first process's, without its token.
    Line(Stream, String),
}

/// The line.
#[derive(Debug)]
pub(crate) struct Line {
    io: Upgraded,
    frames: Frames,
    stdout: Lines,
    stderr: Lines,
    buffer: Vec<u8>,
    queue: VecDeque<Event>,
    /// The token of a command that has not been ended.
    open: Option<String>,
    /// Whether a message has been begun, and not said to its end.
    is_cut: bool,
    /// The request that began it: what goes over the line is counted there.
    exchange: Option<Exchange>,
}

impl Line {
    pub(crate) fn new((io, exchange): (Upgraded, Option<Exchange>), token: &str) -> Self {
        Self {
            io,
            frames: Frames::default(),
            stdout: Lines::new(token),
            stderr: Lines::new(token),
            buffer: vec![0; CHUNK],
            queue: VecDeque::new(),
            open: None,
            is_cut: false,
            exchange,
        }
    }

    /// Listens for lines with a new token, which nobody else knows.
    pub(crate) fn listen(&mut self) -> String {
        let token = format!("forge-{:016x}{:016x}", random(), random());
        (self.stdout, self.stderr) = (Lines::new(&token), Lines::new(&token));
        self.queue.clear();
        token
    }

    /// The next that comes.
    ///
    /// # Errors
    /// [`ErrorKind::Lost`] when nothing more can come.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn next(&mut self) -> Result<Event, SandboxError> {
        loop {
            if let Some(event) = self.queue.pop_front() {
                return Ok(event);
            }
            let read = match self.io.read(&mut self.buffer).await {
                Ok(0) => return Err(lost("it has ended")),
                Ok(read) => read,
                Err(error) => return Err(lost(&error.to_string())),
            };
            if let Some(exchange) = &self.exchange {
                exchange.received(read);
            }
            let Self {
                frames,
                stdout,
                stderr,
                queue,
                ..
            } = self;
            let mut give = |stream: Stream, bytes: &[u8]| {
                let lines = match stream {
                    Stream::Stdout => &mut *stdout,
                    Stream::Stderr => &mut *stderr,
                };
                lines.read(bytes, &mut |part| {
                    queue.push_back(match part {
                        Part::Bytes(bytes) => Event::Bytes(stream, bytes.to_vec()),
                        Part::Line(words) => Event::Line(stream, words.to_owned()),
                    });
                });
            };
            frames
                .read(&self.buffer[..read], &mut give)
                .map_err(|_| protocol("what comes from it makes no sense"))?;
        }
    }

    /// The next line on standard output. What somebody prints meanwhile is dropped.
    pub(crate) async fn answer(&mut self, patience: Duration) -> Result<String, SandboxError> {
        let wait = async {
            loop {
                if let Event::Line(Stream::Stdout, words) = self.next().await? {
                    return Ok(words);
                }
            }
        };
        match timeout(patience, wait).await {
            Ok(words) => words,
            Err(_) => Err(SandboxError::new(
                ErrorKind::TimedOut,
                TALK,
                "it does not answer",
            )),
        }
    }

    /// Says something.
    pub(crate) async fn say(&mut self, bytes: &[u8]) -> Result<(), SandboxError> {
        self.begin()?;
        self.put(bytes).await?;
        self.end().await
    }

    /// Begins a message of several parts.
    pub(crate) fn begin(&mut self) -> Result<(), SandboxError> {
        if self.is_cut {
            return Err(lost("a message to it was cut off"));
        }
        self.is_cut = true;
        Ok(())
    }

    /// Says the next part of one, which is to be short: it is lost when it does not take that.
    pub(crate) async fn put(&mut self, bytes: &[u8]) -> Result<(), SandboxError> {
        taken(self.io.write_all(bytes)).await?;
        if let Some(exchange) = &self.exchange {
            exchange.sent(bytes.len());
        }
        Ok(())
    }

    /// Ends it.
    pub(crate) async fn end(&mut self) -> Result<(), SandboxError> {
        taken(self.io.flush()).await?;
        self.is_cut = false;
        Ok(())
    }

    /// Says a text for a shell, and waits until it was taken. From then on it is open, until it is ended.
    pub(crate) async fn run(&mut self, token: &str, text: &str) -> Result<(), SandboxError> {
        self.open = Some(token.to_owned());
        self.tell("do", token, text).await
    }

    /// The same with nothing else going on.
    pub(crate) async fn tell(
        &mut self,
        verb: &str,
        token: &str,
        text: &str,
    ) -> Result<(), SandboxError> {
        let message = format!("{verb} {token} {}\n{text}", text.len());
        self.say(message.as_bytes()).await?;
        match self.answer(PATIENCE).await?.as_str() {
            "taken" => Ok(()),
            other => Err(protocol(&format!("it answers {other:?}"))),
        }
    }

    /// Notes that what was open has been ended.
    pub(crate) fn was_ended(&mut self) {
        self.open = None;
    }

    /// Ends what a caller has left open, because its future was dropped, and tells what was counted until then.
    pub(crate) async fn settle(&mut self) -> Result<Option<Tally>, SandboxError> {
        let Some(token) = self.open.clone() else {
            return Ok(None);
        };
        self.say(format!("end {token}\n").as_bytes()).await?;
        let (mut left, mut is_marked) = (None, false);
        let wait = async {
            loop {
                if let (Some(tally), true) = (left, is_marked) {
                    return Ok::<Tally, SandboxError>(tally);
                }
                match self.next().await? {
                    Event::Line(Stream::Stdout, words) => {
                        left = left.or(words.strip_prefix("left ").and_then(tally));
                    }
                    Event::Line(Stream::Stderr, _) => is_marked = true,
                    Event::Bytes(..) => {}
                }
            }
        };
        let Ok(ended) = timeout(PATIENCE, wait).await else {
            return Err(lost("what ran in it does not end"));
        };
        let tally = ended?;
        self.was_ended();
        Ok(Some(tally))
    }
}

/// Waits until an engine that is alive has taken something.
async fn taken(said: impl Future<Output = std::io::Result<()>>) -> Result<(), SandboxError> {
    match timeout(PATIENCE, said).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(lost(&error.to_string())),
        Err(_) => Err(lost("it takes nothing more")),
    }
}

pub(crate) fn lost(what: &str) -> SandboxError {
    SandboxError::new(ErrorKind::Lost, TALK, what)
}

pub(crate) fn protocol(what: &str) -> SandboxError {
    SandboxError::new(ErrorKind::Protocol, TALK, what)
}
