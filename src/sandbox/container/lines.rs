//! The first process's own lines among what a candidate prints.
//!
//! A line of its own is a line feed, the token of what it was asked, and words. Promises: pure; what is not such
//! a line is given away byte for byte, the line feed before one is not; nothing is held back that cannot be the
//! beginning of one.

/// Finds the lines of one stream.
#[derive(Debug)]
pub(crate) struct Lines {
    /// A line feed and the token.
    mark: Vec<u8>,
    held: Vec<u8>,
}

/// The longest line that is one.
const MAX_LINE: usize = 4096;

impl Lines {
    pub(crate) fn new(token: &str) -> Self {
        Self {
            mark: format!("\n{token}").into_bytes(),
            held: Vec::new(),
        }
    }

    /// Takes what has come. Gives away what is no line, and tells the words of what is one.
    pub(crate) fn read(&mut self, bytes: &[u8], take: &mut dyn FnMut(Part<'_>)) {
        // Nothing is held, and nothing can begin here: not even copied.
        if self.held.is_empty() && !bytes.contains(&b'\n') {
            if !bytes.is_empty() {
                take(Part::Bytes(bytes));
            }
            return;
        }
        self.held.extend_from_slice(bytes);
        let mut from = 0;
        let mut given = 0;
        while let Some(at) = self.held[from..].iter().position(|byte| *byte == b'\n') {
            let at = from + at;
            let rest = &self.held[at..];
            let known = rest.len().min(self.mark.len());
            if rest[..known] != self.mark[..known] {
                from = at + 1;
                continue;
            }
            let end = rest[known..].iter().position(|byte| *byte == b'\n');
            match end {
                // It may become one.
                None if rest.len() <= MAX_LINE => {
                    if at > given {
                        take(Part::Bytes(&self.held[given..at]));
                    }
                    self.held.drain(..at);
                    return;
                }
                // As long as that it is none, also where all of it has come at once.
                Some(end) if known + end <= MAX_LINE => {
                    if at > given {
                        take(Part::Bytes(&self.held[given..at]));
                    }
                    let words = String::from_utf8_lossy(&rest[known..known + end]);
                    take(Part::Line(words.trim()));
                    given = at + known + end + 1;
                    from = given;
                }
                None | Some(_) => from = at + 1,
            }
        }
        if self.held.len() > given {
            take(Part::Bytes(&self.held[given..]));
        }
        self.held.clear();
    }
}

/// A part of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// What somebody printed.
    Bytes(&'a [u8]),
    /// A line of the first process's, without its token.
    Line(&'a str),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: &[u8], size: usize) -> (Vec<u8>, Vec<String>) {
        let (mut lines, mut bytes, mut told) = (Lines::new("T0k"), Vec::new(), Vec::new());
        for piece in wire.chunks(size) {
            lines.read(piece, &mut |part| match part {
                Part::Bytes(some) => bytes.extend_from_slice(some),
                Part::Line(words) => told.push(words.to_owned()),
            });
        }
        bytes.append(&mut lines.held);
        (bytes, told)
    }

    #[test]
    fn lines_come_apart_from_output_whatever_the_pieces() {
        let wire = b"a\n\nT0k taken\nb\n\nT0\n\nT0k ended exited 0\n\nT0k\n\nT0k gone\nlast\n\nT0";
        for size in 1..=wire.len() {
            let (bytes, told) = read(wire, size);
            assert_eq!(
                String::from_utf8(bytes).unwrap(),
                "a\nb\n\nT0\nlast\n\nT0",
                "{size}"
            );
            assert_eq!(told, ["taken", "ended exited 0", "", "gone"], "{size}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_output_after_all() {
        let wire = [b"\nT0k ", "x".repeat(MAX_LINE + 5).as_bytes(), b"\nfine"].concat();
        for size in [1, 100, wire.len()] {
            let (bytes, told) = read(&wire, size);
            assert_eq!(
                bytes.len() + told.iter().map(|it| it.len() + 6).sum::<usize>(),
                wire.len(),
                "{size}"
            );
        }
    }

    #[test]
    fn nothing_is_held_back_that_cannot_become_a_line() {
        let mut lines = Lines::new("T0k");
        let mut seen = Vec::new();
        lines.read(b"now\nthis", &mut |part| {
            if let Part::Bytes(some) = part {
                seen.extend_from_slice(some);
            }
        });
        assert_eq!(seen, b"now\nthis");
    }
}
