//! forge's own debug log: `tracing` to a file or, with `RUST_LOG`, to stderr. Not how progress is made.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use tracing_subscriber::EnvFilter;

/// Starts logging when it was asked for.
///
/// # Errors
/// When the file cannot be made.
pub(super) fn start(file: Option<&Path>) -> io::Result<()> {
    let asked = forge::settings::variable("RUST_LOG");
    let filter = |default: &str| {
        EnvFilter::try_new(asked.as_deref().unwrap_or(default))
            .unwrap_or_else(|_| EnvFilter::new(default))
    };
    let builder = tracing_subscriber::fmt().with_ansi(false);
    let started = match (file, &asked) {
        (Some(path), _) => {
            let file = Mutex::new(File::create(path)?);
            builder
                .with_env_filter(filter("forge=debug"))
                .with_writer(file)
                .try_init()
        }
        (None, Some(_)) => builder
            .with_env_filter(filter("warn"))
            .with_writer(io::stderr)
            .try_init(),
        (None, None) => return Ok(()),
    };
    started.map_err(io::Error::other)
}
