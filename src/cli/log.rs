//! forge's own debug log: `tracing` to a file or, with `RUST_LOG`, to stderr. Not how progress is made.
//!
//! Promises: what is a secret when a line is written is not in it.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use forge::exit::ExitCode as End;
use forge::redact::Redactor;
use tracing_subscriber::EnvFilter;

use super::Noise;
use super::destination::Destination;
use super::json;
use super::print::Printer;
use super::show::shared;

/// Every secret of the run, once they are known; nothing is logged of what holds one before that.
static REDACTOR: OnceLock<Redactor> = OnceLock::new();

/// Keeps secrets out of what is logged from now on. The first call counts.
pub(super) fn redact(redactor: Redactor) {
    REDACTOR.set(redactor).ok();
}

/// Starts logging when it was asked for, or says why that cannot be.
pub(super) fn start_or_tell(noise: &Noise, printer: Printer) -> Result<(), End> {
    start(noise.log_file.as_deref()).map_err(|error| {
        let hint = "give --log-file a path that can be written";
        json::fail(printer, End::Usage, &error, Some(hint))
    })
}

fn start(file: Option<&Path>) -> io::Result<()> {
    let asked = forge::settings::variable("RUST_LOG");
    let (writer, default): (Box<dyn Write + Send>, &str) = match (file, &asked) {
        (Some(path), _) => {
            let named = |error: io::Error| {
                let text = format!("cannot write the log `{}`: {error}", path.display());
                io::Error::new(error.kind(), text)
            };
            let to = Destination::open(path, &shared()).map_err(named)?;
            (Box::new(to.into_file().map_err(named)?), "forge=debug")
        }
        (None, Some(_)) => (Box::new(io::stderr()), "warn"),
        (None, None) => return Ok(()),
    };
    let filter = EnvFilter::try_new(asked.as_deref().unwrap_or(default));
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_env_filter(filter.unwrap_or_else(|_| EnvFilter::new(default)))
        .with_writer(Mutex::new(Redacted(writer)))
        .try_init()
        .map_err(io::Error::other)
}

/// Takes whole lines, which is how they come.
struct Redacted(Box<dyn Write + Send>);

impl Write for Redacted {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match REDACTOR.get() {
            Some(redactor) => self.0.write_all(&redactor.bytes(line))?,
            None => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
