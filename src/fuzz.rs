//! Fuzzing: what reads somebody else's bytes, given bytes that nobody meant.
//!
//! A target takes bytes and fails by panicking. It is given a few hundred inputs whenever the tests run: bytes by
//! chance, and real samples with something changed (see [`change`]). `FORGE_FUZZ_CASES=100000 cargo test fuzz` takes as
//! long as it takes, `FORGE_FUZZ_SECONDS=600` ten minutes for each target, as many of them side by side as there are
//! threads for tests. What fails is made small, told, and kept in `proptest-regressions/`, to be tried first from then on.
//!
//! Targets of what is private to a module are in a file `fuzz` below that; the others are here.

use std::time::{Duration, Instant};

use proptest::test_runner::{Config, TestError, TestRunner};

mod change;
mod records;
mod texts;

/// How many inputs a target gets, unless the environment says.
const CASES: u32 = 128;

/// Gives a target bytes by chance and changed samples.
pub(crate) fn fuzz(source: &'static str, samples: &[&[u8]], target: impl Fn(&[u8])) {
    fuzz_slowly(source, samples, 1, target);
}

/// The same with so many times fewer inputs, for targets that take long.
pub(crate) fn fuzz_slowly(
    source: &'static str,
    samples: &[&[u8]],
    fewer: u32,
    target: impl Fn(&[u8]),
) {
    for sample in samples {
        target(sample);
    }
    let samples = samples.iter().map(|sample| sample.to_vec()).collect();
    let config = Config {
        cases: (said("FORGE_FUZZ_CASES").unwrap_or(CASES) / fewer).max(8),
        source_file: Some(source),
        max_shrink_iters: 4096,
        ..Config::default()
    };
    let inputs = change::hostile(samples);
    let until = Instant::now() + Duration::from_secs(said("FORGE_FUZZ_SECONDS").unwrap_or(0));
    let tried = loop {
        let tried = TestRunner::new(config.clone()).run(&inputs, |bytes| {
            target(&bytes);
            Ok(())
        });
        if tried.is_err() || Instant::now() >= until {
            break tried;
        }
    };
    match tried {
        Ok(()) => {}
        Err(TestError::Fail(why, bytes)) => panic!(
            "{}\nby {} bytes: {}",
            short(&why.to_string()),
            bytes.len(),
            short(&bytes.escape_ascii().to_string())
        ),
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// The beginning of a text that may be very long.
fn short(text: &str) -> String {
    text.chars().take(4000).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test's own variables")]
fn said<N: std::str::FromStr>(name: &str) -> Option<N> {
    let said = std::env::var(name).ok()?;
    let number = said.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}: expected a number, got `{said}`")))
}

/// What only has to come to its end.
pub(crate) fn ends<T>(_: T) {}

/// Fails when a text has what could steer a terminal.
#[track_caller]
pub(crate) fn assert_plain(text: &str) {
    let bad = text
        .chars()
        .find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    assert_eq!(bad, None, "{text:?}");
}
