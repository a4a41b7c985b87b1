//! The output of one command, from its pipes to the sink.
//!
//! Promises: it is read as fast as it comes, in constant memory; what is over the limit is shown as such; what a
//! pipe holds when the program ends is not lost.

use std::io::ErrorKind;
use std::pin::pin;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::net::unix::pipe::Receiver;

use crate::quantity::ByteCount;
use crate::sandbox::{OutputSink, Stream};

const BUFFER: usize = 64 * 1024;
/// How long a pipe may stay open after the program has ended, which only a process of another user does.
const LINGER: Duration = Duration::from_millis(500);
/// More than a pipe holds.
const PIPE: usize = 1024 * 1024;

/// One stream of a program's output on its way to the sink.
struct Tap {
    pipe: Receiver,
    stream: Stream,
    /// How many bytes the sink still takes.
    room: u64,
    buffer: Vec<u8>,
}

impl Tap {
    fn new(pipe: Receiver, stream: Stream, limit: ByteCount) -> Self {
        Self {
            pipe,
            stream,
            room: limit.0,
            buffer: Vec::new(),
        }
    }

    /// Reads once. Returns how much; 0 is the end. Cancel safe.
    async fn read(&mut self) -> usize {
        self.buffer.clear();
        loop {
            // Reading a pipe fails only where it has broken, and then it has ended.
            if self.pipe.readable().await.is_err() {
                return 0;
            }
            // Not before there is something to read: most say nothing, and many run at once.
            self.buffer.reserve(BUFFER);
            match self.pipe.try_read_buf(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                read => return read.unwrap_or(0),
            }
        }
    }

    fn pass(&mut self, sink: &mut dyn OutputSink) {
        let length = self.buffer.len();
        let kept = usize::try_from(self.room).map_or(length, |room| length.min(room));
        if kept > 0 {
            sink.write(self.stream, &self.buffer[..kept]);
            self.room -= kept as u64;
        }
        if kept < length {
            sink.beyond(self.stream, &self.buffer[kept..]);
        }
    }

    /// Takes what is in the pipe, without waiting for more.
    fn empty(&mut self, sink: &mut dyn OutputSink) {
        let mut taken = 0;
        while taken < PIPE {
            match self.read().now_or_never() {
                Some(0) | None => return,
                Some(length) => taken += length,
            }
            self.pass(sink);
        }
    }
}

/// Both streams. One that has ended is `None`.
pub(super) struct Output<'a> {
    stdout: Option<Tap>,
    stderr: Option<Tap>,
    sink: &'a mut dyn OutputSink,
}

/// Reads once from a stream that may have ended; then for ever.
async fn next(tap: &mut Option<Tap>) -> usize {
    match tap {
        Some(tap) => tap.read().await,
        None => std::future::pending().await,
    }
}

fn take(tap: &mut Option<Tap>, length: usize, sink: &mut dyn OutputSink) {
    if length == 0 {
        *tap = None;
    } else if let Some(tap) = tap {
        tap.pass(sink);
    }
}

impl<'a> Output<'a> {
    /// The sink gets at most `limit` bytes of each.
    pub(super) fn new(
        stdout: Receiver,
        stderr: Receiver,
        limit: ByteCount,
        sink: &'a mut dyn OutputSink,
    ) -> Self {
        Self {
            stdout: Some(Tap::new(stdout, Stream::Stdout, limit)),
            stderr: Some(Tap::new(stderr, Stream::Stderr, limit)),
            sink,
        }
    }

    /// Passes output on until something else is done.
    pub(super) async fn pump_until<T>(&mut self, done: impl Future<Output = T>) -> T {
        let mut done = pin!(done);
        loop {
            tokio::select! {
                end = &mut done => return end,
                length = next(&mut self.stdout) => take(&mut self.stdout, length, self.sink),
                length = next(&mut self.stderr) => take(&mut self.stderr, length, self.sink),
            }
        }
    }

    /// Passes on the rest, which is in the pipes already: every process that could write is gone.
    pub(super) async fn drain(mut self) {
        let rest = async {
            while self.stdout.is_some() || self.stderr.is_some() {
                tokio::select! {
                    length = next(&mut self.stdout) => take(&mut self.stdout, length, self.sink),
                    length = next(&mut self.stderr) => take(&mut self.stderr, length, self.sink),
                }
            }
        };
        if tokio::time::timeout(LINGER, rest).await.is_err() {
            if let Some(tap) = &mut self.stdout {
                tap.empty(self.sink);
            }
            if let Some(tap) = &mut self.stderr {
                tap.empty(self.sink);
            }
        }
    }
}
