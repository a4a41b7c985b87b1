//! Bringing the two output streams home, each byte once: while the command runs, and at its end.

use std::time::Duration;

use tokio::time::timeout;

use super::command::Place;
use super::toolbox::Toolbox;
use crate::sandbox::{OutputSink, SandboxError, Stream};

/// The most of a stream that one look takes.
const MAX_LOOK: u64 = 1 << 20;
/// A look that takes longer is given up; the end of the command must not wait for it.
const LOOK: Duration = Duration::from_secs(3);

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

    /// Tells what the sandbox has dropped.
    pub(crate) fn dropped(&mut self, stream: Stream, bytes: u64) {
        if bytes > 0 {
            self.sink.dropped(stream, bytes);
        }
    }

    /// Fetches what is new of both streams. Whatever fails is left for the end.
    pub(crate) async fn look(&mut self, toolbox: &Toolbox, place: &Place) {
        let all = async {
            for (stream, file) in STREAMS {
                if self
                    .fetch(toolbox, place, stream, file, MAX_LOOK)
                    .await
                    .is_err()
                {
                    return;
                }
            }
        };
        // Cut off or not: what was delivered was counted in the same breath.
        let _in_time = timeout(LOOK, all).await;
    }

    /// Fetches at most so much of one stream's file.
    pub(crate) async fn fetch(
        &mut self,
        toolbox: &Toolbox,
        place: &Place,
        stream: Stream,
        file: &str,
        most: u64,
    ) -> Result<(), SandboxError> {
        let (from, most) = (self.delivered(stream), self.room(stream).min(most));
        let mut take = |bytes: &[u8]| {
            self.write(stream, bytes);
            Ok(())
        };
        toolbox
            .fetch(&place.file(file), from, most, &mut take)
            .await?;
        Ok(())
    }
}
