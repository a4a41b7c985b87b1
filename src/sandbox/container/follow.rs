//! A command on its course: what is heard of it, and what is said.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::course::{Astray, Course, Say};
use super::line::{Event, Line, protocol};
use crate::sandbox::remote::delivery::Delivery;
use crate::sandbox::{ErrorKind, OutputSink, SandboxError, Stream};

/// The most of the first line of a program's errors that is looked at.
const FIRST_LINE: usize = 400;

/// What a command prints on its way home.
pub(super) struct Heard<'a> {
    delivery: Delivery<'a>,
    /// The beginning of its errors.
    errors: Vec<u8>,
}

impl<'a> Heard<'a> {
    pub(super) fn new(output: &'a mut dyn OutputSink, limit: u64) -> Self {
        Self {
            delivery: Delivery::new(output, limit),
            errors: Vec::new(),
        }
    }

    fn take(&mut self, stream: Stream, bytes: &[u8]) {
        if stream == Stream::Stderr && self.errors.len() < FIRST_LINE {
            let room = FIRST_LINE - self.errors.len();
            self.errors
                .extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        self.delivery.give(stream, bytes);
    }

    pub(super) fn first_line(&self) -> String {
        let text = String::from_utf8_lossy(&self.errors);
        text.lines().next().unwrap_or_default().to_owned()
    }
}

/// Follows a command to its end.
pub(super) async fn follow(
    line: &mut Line,
    token: &str,
    limit: Duration,
    heard: &mut Heard<'_>,
) -> Result<Course, SandboxError> {
    let astray = |astray| match astray {
        Astray::Nonsense(words) => protocol(&format!("it says {words:?}")),
        Astray::Silence => SandboxError::new(
            ErrorKind::TimedOut,
            "run a command",
            "the container does not answer",
        ),
    };
    let mut course = Course::new(limit, Instant::now());
    while !course.is_over() {
        let say = match timeout_at(course.deadline, line.next()).await {
            Err(_) => Some(course.wake(Instant::now()).map_err(astray)?),
            Ok(event) => match event? {
                Event::Bytes(stream, bytes) => {
                    heard.take(stream, &bytes);
                    None
                }
                Event::Line(stream, words) => course
                    .hear(stream, &words, Instant::now())
                    .map_err(astray)?,
            },
        };
        match say {
            None => {}
            Some(Say::Term) => line.say(b"term\n").await?,
            Some(Say::End) => line.say(format!("end {token}\n").as_bytes()).await?,
        }
    }
    Ok(course)
}
