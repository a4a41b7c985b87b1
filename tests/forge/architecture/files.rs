//! What is true of every file: how it opens, how long it is, what is never in it.

use std::sync::LazyLock;

use regex::Regex;

use super::source::Source;
use super::{SOURCES, assert_none, has_extension, read, root};

/// The most lines of code that a file has, beside its tests; comments and blank lines are free.
const MAX_LINES: usize = 400;

/// Files that are longer, up to how long, and why that reads better than two files.
const LONGER: [(&str, usize, &str); 0] = [];

/// Every file below a folder, by its path from the package's root, sorted.
pub(super) fn below(folder: &str) -> Vec<String> {
    let mut files = Vec::new();
    let Ok(entries) = std::fs::read_dir(root().join(folder)) else {
        return files;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            files.extend(below(&path));
        } else {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Every file that belongs to the package. Without git (in an archive), those that cannot be anybody's own.
fn tracked() -> Vec<String> {
    // The folder may be somebody else's: the tests are also run as another user.
    let git = std::process::Command::new("git")
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .current_dir(root())
        .output();
    let listed = git.map_or_else(|_| Vec::new(), |output| output.stdout);
    let listed = String::from_utf8(listed).unwrap();
    let listed = listed.split_terminator('\0').map(str::to_owned);
    // Deleted ones are listed until that is committed.
    let listed: Vec<String> = listed.filter(|it| root().join(it).is_file()).collect();
    if listed.iter().any(|it| it == "src/lib.rs") {
        return listed;
    }
    let folders = [".ci", "benches", "examples", "src", "tests"];
    let mut files: Vec<String> = folders.iter().flat_map(|it| below(it)).collect();
    files.extend(["Cargo.toml", "Cargo.lock", "README.md"].map(str::to_owned));
    files
}

fn opens_with_its_purpose(path: &str, text: &str) -> Option<String> {
    let opens = text.starts_with("//! ");
    (!opens).then(|| format!("{path}:1: does not open with `//!` and what it is for"))
}

fn is_called_after_its_module(path: &str) -> Option<String> {
    let old = path.rsplit('/').next() == Some("mod.rs");
    old.then(|| format!("{path}: a module `x` is `x.rs`"))
}

/// `longer`: how long it may be when not [`MAX_LINES`].
fn has_a_readable_length(source: &Source, longer: Option<usize>) -> Option<String> {
    let code = source.code.lines().filter(|it| !it.trim().is_empty());
    let (lines, path) = (code.count(), &source.path);
    match longer {
        None if lines > MAX_LINES => Some(format!("{path}: {lines} lines of code")),
        Some(most) if lines > most => Some(format!("{path}: {lines} lines of code, not {most}")),
        Some(_) if lines <= MAX_LINES => Some(format!("{path}: needs no exception any more")),
        None | Some(_) => None,
    }
}

/// Marks of unfinished work, paths of the machine that it was written on, addresses of registries. Written
/// so that this file has none of them.
static STAYS_OUT: LazyLock<Regex> = LazyLock::new(|| {
    let marks = r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b|\b(?:tod[o]|unimplemente[d]|db[g])!";
    let places = r"(?:^|[^\w.})$*-])/(?:root|wor[k])/|/tmp/[w]\b";
    let registries =
        r"https?://[^\s/]*(?:crates\.i[o]|pypi\.|npmjs\.|registr[y]|artifactory|nexus)";
    Regex::new(&[marks, places, registries].join("|")).unwrap()
});

fn has_nothing_unfinished_or_private(path: &str, text: &str) -> Vec<String> {
    let mut breaches = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(found) = STAYS_OUT.find(line) {
            let what = found.as_str();
            breaches.push(format!("{path}:{}: `{what}` stays out", index + 1));
        }
    }
    breaches
}

/// Cargo's own registry, and none other, is where locked packages come from.
fn comes_from_the_usual_registry(lock: &str) -> Vec<String> {
    let usual = format!(
        "registry+https://github.com/rust-lang/{}",
        "crates.io-index"
    );
    let sources = lock.lines().filter_map(|it| it.strip_prefix("source = "));
    let others = sources.filter(|it| it.trim_matches('"') != usual);
    others.map(|it| format!("Cargo.lock: {it}")).collect()
}

#[test]
fn every_rust_file_says_what_it_is_for_and_is_called_after_its_module() {
    let mut breaches = Vec::new();
    let files = tracked().into_iter().filter(|it| has_extension(it, "rs"));
    for path in files {
        breaches.extend(opens_with_its_purpose(&path, &read(&path)));
        breaches.extend(is_called_after_its_module(&path));
    }
    assert_none(&breaches);
}

#[test]
fn every_file_has_a_readable_length() {
    let longer = |path: &str| LONGER.iter().find(|it| it.0 == path).map(|it| it.1);
    let breaches: Vec<String> = SOURCES
        .iter()
        .filter_map(|it| has_a_readable_length(it, longer(&it.path)))
        .collect();
    assert_none(&breaches);
    for (path, ..) in LONGER {
        assert!(SOURCES.iter().any(|it| it.path == path), "{path} is gone");
    }
}

#[test]
fn nothing_unfinished_and_nothing_private_is_in_the_package() {
    let mut breaches = Vec::new();
    for path in tracked() {
        let text = read(&path);
        if path == "Cargo.lock" {
            breaches.extend(comes_from_the_usual_registry(&text));
        } else {
            breaches.extend(has_nothing_unfinished_or_private(&path, &text));
        }
    }
    assert_none(&breaches);
}

#[test]
fn the_package_is_all_there() {
    let files = tracked();
    for path in ["Cargo.lock", "README.md", "src/lib.rs", ".ci/run"] {
        assert!(files.iter().any(|it| it == path), "{path} is not committed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_purpose_is_a_breach() {
        assert_eq!(opens_with_its_purpose("a.rs", "//! A.\nb"), None);
        assert!(opens_with_its_purpose("a.rs", "// A.\n//! B.").is_some());
        assert!(opens_with_its_purpose("a.rs", "").is_some());
        assert!(opens_with_its_purpose("a.rs", "use b;").is_some());
    }

    #[test]
    fn a_module_in_a_nameless_file_is_a_breach() {
        assert_eq!(is_called_after_its_module("src/mode.rs"), None);
        assert!(is_called_after_its_module("src/a/mod.rs").is_some());
    }

    #[test]
    fn a_file_that_is_too_long_is_a_breach() {
        let check = |lines: usize, longer: Option<usize>, breach: bool| {
            let text = "// free\n\nlet a = b;\n".repeat(lines);
            let source = Source::new("src/a.rs", &format!("{text}#[cfg(test)] mod t {{\n1\n}}"));
            let found = has_a_readable_length(&source, longer);
            assert_eq!(found.is_some(), breach, "{lines} {longer:?} {found:?}");
        };
        check(400, None, false);
        check(401, None, true);
        check(450, Some(450), false);
        check(451, Some(450), true);
        check(400, Some(450), true);
    }

    #[test]
    fn what_stays_out_is_found() {
        let check = |text: &str, breach: bool| {
            let found = has_nothing_unfinished_or_private("a", text);
            assert_eq!(!found.is_empty(), breach, "{text}");
        };
        let with = |a: &str, b: &str| format!("{a}{b}");
        check(&with("// TO", "DO: more"), true);
        check(&with("FIX", "ME"), true);
        check(&with("let a = tod", "o!();"), true);
        check(&with("db", "g!(a)"), true);
        check("the dodo and forge.XXXXXX", false);
        check(&with("cat /ro", "ot/a"), true);
        check(&with("\"/wor", "k/a\""), true);
        check(&with("/tm", "p/w"), true);
        check("{base}/work/a, ../work/, /tmp/what, $DIR/work/", false);
        check(&with("https://index.crates.i", "o/config.json"), true);
        check(&with("see http://mirror.pyp", "i.local/simple"), true);
        check("https://www.rust-lang.org", false);
    }

    #[test]
    fn a_locked_package_from_elsewhere_is_found() {
        let elsewhere = "source = \"sparse+https://elsewhere.example/index/\"\n";
        let usual = format!(
            "source = \"registry+https://github.com/rust-lang/{}\"\n",
            "crates.io-index"
        );
        assert_eq!(comes_from_the_usual_registry(&usual).len(), 0);
        assert_eq!(comes_from_the_usual_registry(elsewhere).len(), 1);
    }
}
