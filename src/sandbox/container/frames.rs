//! The two streams of a container in one: frames with a header each.
//!
//! A header is eight bytes: the stream (1 is output, 2 is errors), three zeros, and the length, big-endian
//! (Docker's API, "Stream format" of `POST /containers/{id}/attach`). Promises: pure; whatever comes in whatever
//! pieces, each byte is given away once and in order.

use crate::sandbox::Stream;

const HEADER: usize = 8;

/// What is known of the frame that is being read.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    header: [u8; HEADER],
    known: usize,
    left: usize,
}

/// A header that no engine writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoFrame;

impl Frames {
    /// Takes what has come, and gives the contents of frames away.
    ///
    /// # Errors
    /// [`NoFrame`], where a header should be and is none.
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        give: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<(), NoFrame> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let taken = (HEADER - self.known).min(bytes.len());
                self.header[self.known..self.known + taken].copy_from_slice(&bytes[..taken]);
                self.known += taken;
                bytes = &bytes[taken..];
                if self.known < HEADER {
                    break;
                }
                self.stream()?;
                let [.., a, b, c, d] = self.header;
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.left == 0 {
                    self.known = 0;
                }
                continue;
            }
            let taken = self.left.min(bytes.len());
            give(self.stream()?, &bytes[..taken]);
            self.left -= taken;
            bytes = &bytes[taken..];
            if self.left == 0 {
                self.known = 0;
            }
        }
        Ok(())
    }

    fn stream(&self) -> Result<Stream, NoFrame> {
        match self.header {
            [1, 0, 0, 0, ..] => Ok(Stream::Stdout),
            [2, 0, 0, 0, ..] => Ok(Stream::Stderr),
            _ => Err(NoFrame),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_streams_come_apart_whatever_the_pieces() {
        let mut wire = Vec::new();
        for (stream, text) in [(1, "out"), (2, "err\n"), (1, ""), (1, "more"), (2, "!")] {
            wire.extend([stream, 0, 0, 0, 0, 0, 0, u8::try_from(text.len()).unwrap()]);
            wire.extend(text.bytes());
        }
        for size in 1..wire.len() {
            let (mut frames, mut out, mut err) = (Frames::default(), Vec::new(), Vec::new());
            for piece in wire.chunks(size) {
                let mut give = |stream, bytes: &[u8]| match stream {
                    Stream::Stdout => out.extend_from_slice(bytes),
                    Stream::Stderr => err.extend_from_slice(bytes),
                };
                frames.read(piece, &mut give).unwrap();
            }
            assert_eq!(
                (&out[..], &err[..]),
                (&b"outmore"[..], &b"err\n!"[..]),
                "{size}"
            );
        }
    }

    #[test]
    fn what_is_no_frame_is_told() {
        let mut frames = Frames::default();
        assert_eq!(frames.read(b"HTTP/1.1 500", &mut |_, _| ()), Err(NoFrame));
    }
}
