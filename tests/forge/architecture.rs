//! The house rules, read from the source itself: floors, who knows what, what is never written, and whether
//! the README and `--help` say the same.
//!
//! Every rule is a function over texts, so that beside holding for the tree it is shown to fail for a bad
//! snippet.

mod files;
mod floors;
mod source;
mod usage;
mod words;

use std::path::Path;
use std::sync::LazyLock;

use source::Source;

/// Where this package lies.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file of this package.
fn read(path: &str) -> String {
    let bytes = std::fs::read(root().join(path)).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The Rust files below `src/`, but for those that exist only when testing.
static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let paths = files::below("src").into_iter();
    let paths = paths.filter(|path| has_extension(path, "rs"));
    let all: Vec<Source> = paths.map(|path| Source::new(&path, &read(&path))).collect();
    let tests: Vec<String> = all.iter().flat_map(Source::test_modules).collect();
    let is_test = |module: &str| tests.iter().any(|test| is_below(module, test));
    all.into_iter()
        .filter(|source| !is_test(&source.module))
        .collect()
});

/// Whether a path is this module's, or that of one below it.
fn is_below(path: &str, module: &str) -> bool {
    let rest = path.strip_prefix(module);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|it| it == extension)
}

/// Fails with every breach of a rule on a line of its own.
fn assert_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}
