//! The two output streams on their way home, each byte once.
//!
//! Promises: no more than the limit of each is delivered, whoever brings it.

use crate::sandbox::{OutputSink, Stream};

/// The streams, with the names of their files.
pub(crate) const STREAMS: [(Stream, &str); 2] =
    [(Stream::Stdout, "stdout"), (Stream::Stderr, "stderr")];

/// Hands bytes to the sink, and knows how far each stream is.
pub(crate) struct Delivery<'a> {
    sink: &'a mut dyn OutputSink,
    stdout: u64,
    stderr: u64,
    limit: u64,
}

impl<'a> Delivery<'a> {
    /// Starts; no more than `limit` bytes of each stream will be delivered.
    pub(crate) fn new(sink: &'a mut dyn OutputSink, limit: u64) -> Self {
        Self {
            sink,
            stdout: 0,
            stderr: 0,
            limit,
        }
    }

    fn place(&mut self, stream: Stream) -> &mut u64 {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// How much of a stream has been delivered.
    pub(crate) fn delivered(&mut self, stream: Stream) -> u64 {
        *self.place(stream)
    }

    /// How much of a stream may still be delivered.
    pub(crate) fn room(&mut self, stream: Stream) -> u64 {
        self.limit - self.delivered(stream)
    }

    /// Delivers the next bytes of a stream, as far as there is room.
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let room = usize::try_from(self.room(stream)).unwrap_or(usize::MAX);
        let bytes = &bytes[..bytes.len().min(room)];
        if !bytes.is_empty() {
            *self.place(stream) += bytes.len() as u64;
            self.sink.write(stream, bytes);
        }
    }

    /// Delivers the next bytes of a stream that is all here: the sink is shown what there is no room for.
    pub(crate) fn give(&mut self, stream: Stream, bytes: &[u8]) {
        let room = usize::try_from(self.room(stream)).unwrap_or(usize::MAX);
        let (within, beyond) = bytes.split_at(bytes.len().min(room));
        self.write(stream, within);
        if !beyond.is_empty() {
            self.sink.beyond(stream, beyond);
        }
    }

    /// Tells what the sandbox has dropped.
    pub(crate) fn dropped(&mut self, stream: Stream, bytes: u64) {
        if bytes > 0 {
            self.sink.dropped(stream, bytes);
        }
    }
}
