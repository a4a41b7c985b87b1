//! Containers in words: what a sandbox promises, and why one did not start.

use super::create::Who;
use crate::plain;
use crate::sandbox::{ErrorKind, Network, SandboxError, SandboxSpec};

/// What the first process misses, in words.
pub(super) fn missing_thing(word: &str, home: &str) -> String {
    match word {
        "home" => format!("a {home} that its user may write to"),
        program => program.to_owned(),
    }
}

/// What a refused start says of the image.
pub(super) fn not_started(error: SandboxError, image: &str) -> SandboxError {
    let text = &error.message;
    if text.contains("/bin/sh") && (text.contains("no such file") || text.contains("not found")) {
        let what = format!("the image `{image}` has no /bin/sh");
        return SandboxError::new(ErrorKind::Invalid, error.operation, what)
            .with_hint("take an image with a shell and the usual small programs, not a `scratch` or distroless one");
    }
    error
}

/// The `isolation` of results.
pub(super) fn isolation(spec: &SandboxSpec, image: &str, who: Who) -> String {
    let words = |network: &Network| match network {
        Network::Open => "network open",
        Network::Block => "no network",
        Network::Allow(_) => "listed networks only",
    };
    let (setup, run) = (&spec.networks.setup, &spec.networks.run);
    let network = if setup == run {
        words(run).to_owned()
    } else {
        format!("{} (setup: {})", words(run), words(setup))
    };
    let who = match who {
        Who::Own => "not root",
        Who::Image => "the image's user",
        Who::Root => "root without capabilities",
    };
    format!("container of {}, {who}, {network}", plain::short(image, 80))
}
