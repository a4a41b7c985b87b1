//! forge's own debug log: `tracing` to a file, one JSON object a line, or with `RUST_LOG` to stderr, as text. Not how
//! progress is made.
//!
//! Promises: what is a secret when a line is written is not in it; a line of the file is one JSON object whatever was
//! taken out of it.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use forge::exit::ExitCode as End;
use forge::redact::Redactor;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use super::Noise;
use super::destination::Destination;
use super::json;
use super::print::Printer;
use super::show::shared;

#[cfg(feature = "otlp")]
mod otlp;
mod sink;

use sink::Sink;

/// Every secret of the run, once they are known; nothing is logged of what holds one before that.
static REDACTOR: OnceLock<Redactor> = OnceLock::new();

/// One of those who hear what is logged.
type Heard = Box<dyn Layer<Registry> + Send + Sync>;

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

/// Ends it: what is to be sent somewhere is, within seconds. Says what could not be.
pub(super) fn end() {
    if let Some(why) = sink::end() {
        Printer::new().note(&format!("warning: {why}"));
    }
    #[cfg(feature = "otlp")]
    if let Some(why) = otlp::end() {
        Printer::new().note(&format!("warning: {why}"));
    }
}

fn start(file: Option<&Path>) -> io::Result<()> {
    let mut all: Vec<Heard> = Vec::new();
    all.extend(written(file)?);
    #[cfg(feature = "otlp")]
    all.extend(otlp::start().map_err(io::Error::other)?);
    if all.is_empty() {
        return Ok(());
    }
    tracing_subscriber::registry()
        .with(all)
        .try_init()
        .map_err(io::Error::other)
}

/// Where lines go.
fn written(file: Option<&Path>) -> io::Result<Option<Heard>> {
    let asked = forge::settings::variable("RUST_LOG");
    let filter = |default: &str| {
        let filter = EnvFilter::try_new(asked.as_deref().unwrap_or(default));
        filter.unwrap_or_else(|_| EnvFilter::new(default))
    };
    Ok(match (file, &asked) {
        (Some(path), _) => {
            let named = |error: io::Error| {
                let text = format!("cannot write the log `{}`: {error}", path.display());
                io::Error::new(error.kind(), text)
            };
            let to = Destination::open(path, &shared()).map_err(named)?;
            let to = Sink::start(to.into_file().map_err(named)?).map_err(named)?;
            Some(lines(to).with_filter(filter("forge=debug")).boxed())
        }
        (None, Some(_)) => {
            let writer = Mutex::new(Redacted {
                to: io::stderr(),
                is_json: false,
            });
            let text = fmt::layer().with_ansi(false).with_writer(writer);
            Some(text.with_filter(filter("warn")).boxed())
        }
        (None, None) => None,
    })
}

/// One JSON object a line: `timestamp`, `level`, `target`, `fields`, and `spans` from the outermost.
fn lines(to: impl Write + Send + 'static) -> impl Layer<Registry> + Send + Sync {
    fmt::layer()
        .json()
        .with_current_span(false)
        .with_span_list(true)
        .with_writer(Mutex::new(Redacted { to, is_json: true }))
}

/// Takes whole lines, which is how they come.
struct Redacted<W> {
    to: W,
    is_json: bool,
}

impl<W: Write> Write for Redacted<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match REDACTOR.get() {
            Some(redactor) => {
                let clean = redactor.bytes(line);
                // A number may have been a secret, or a part of what JSON itself is made of.
                let is_broken = || serde_json::from_slice::<serde::de::IgnoredAny>(&clean).is_err();
                if self.is_json && *clean != *line && is_broken() {
                    let text = String::from_utf8_lossy(&clean);
                    let text = serde_json::json!({"redacted": text.trim_end()});
                    self.to.write_all(format!("{text}\n").as_bytes())?;
                } else {
                    self.to.write_all(&clean)?;
                }
            }
            None => self.to.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use forge::secret::Secret;
    use serde_json::Value;

    use super::*;

    /// A file that a test looks into.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_is_an_object_with_its_spans_and_without_secrets() {
        let secrets = ["say \"hi\"\nto them all", "12345678"];
        redact(Redactor::new(secrets.map(Secret::new)));
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry().with(lines(kept.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let run = tracing::debug_span!("run", id = "r").entered();
            let http =
                tracing::debug_span!("http", status = tracing::field::Empty, path = secrets[0]);
            http.record("status", 200);
            http.in_scope(|| tracing::debug!(seen = secrets[0], "he said {}", secrets[0]));
            drop(run);
            tracing::debug!(number = 12_345_678, "counted");
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
            .collect();
        assert!(
            !text.contains("hi\\\"") && !text.contains("12345678"),
            "{text}"
        );
        let first = &lines[0];
        assert_eq!(first["level"], "DEBUG");
        assert!(first["timestamp"].is_string() && first["target"].is_string());
        assert_eq!(first["fields"]["message"], "he said ***");
        assert_eq!(first["fields"]["seen"], "***");
        let spans = first["spans"].as_array().unwrap();
        assert_eq!(
            (&spans[0]["name"], &spans[0]["id"]),
            (&"run".into(), &"r".into())
        );
        assert_eq!(spans[1]["status"], 200);
        assert_eq!(spans[1]["path"], "***");
        assert!(lines[1]["redacted"].as_str().unwrap().contains("counted"));
    }
}
