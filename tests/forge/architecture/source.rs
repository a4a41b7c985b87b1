//! Rust text as the rules see it: without comments, literals and tests.
//!
//! Not a parser: it knows as much of the language as this package's own files need, and its tests say what.

use std::sync::LazyLock;

use regex::Regex;

/// Comments and literals. The first alternative that matches where the one before it ended is the right one.
static UNREAD: LazyLock<Regex> = LazyLock::new(|| {
    let alternatives = [
        r"//[^\n]*",
        r"(?s:/\*.*?\*/)",
        r###"(?s:\b[bc]?r##".*?"##)"###,
        r##"(?s:\b[bc]?r#".*?"#)"##,
        r#"\b[bc]?r"[^"]*""#,
        r#"(?s:"(?:[^"\\]|\\.)*")"#,
        r"'(?:[^'\\\n]|\\u\{[^}]*\}|\\x..|\\.)'",
    ];
    Regex::new(&alternatives.join("|")).unwrap()
});

/// What only tests see, up to the word that says what kind of item it is.
static TEST_ITEM: LazyLock<Regex> = LazyLock::new(|| {
    let attribute = r"#\[cfg\(test\)\]\s*(?:#\[[^\]]*\]\s*)*";
    let item = r"(?:pub(?:\([^)]*\))?\s+)?(?:async\s+)?(?:const|fn|impl|mod|struct|use)\b";
    Regex::new(&format!("{attribute}{item}")).unwrap()
});

static UP: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\bcrate\s*::|(?:\bsuper\s*::\s*)+").unwrap());

/// The first name of a path.
static DOWN: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?:^|[^:\w])(\w+)\s*::").unwrap());

static MODULE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bmod\s+(\w+)\s*;").unwrap());

/// One Rust file.
#[derive(Debug)]
pub(super) struct Source {
    /// From the package's root: `src/report/csv.rs`.
    pub(super) path: String,
    /// Below `src/`: `report/csv`. `lib` and `main` are the roots.
    pub(super) module: String,
    /// All of it.
    pub(super) text: String,
    /// The same lines without comments, literals and tests.
    pub(super) code: String,
    /// The modules that it declares for tests only.
    test_children: Vec<String>,
}

/// A path into this crate, and where it is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) line: usize,
    /// `sandbox/reaper/Lease`.
    pub(super) path: String,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let module = path.strip_prefix("src/").unwrap_or(path);
        let module = module.strip_suffix(".rs").unwrap_or(module);
        let bare = UNREAD.replace_all(text, |found: &regex::Captures<'_>| blank(&found[0]));
        let (code, test_children) = without_tests(&bare);
        Self {
            path: path.to_owned(),
            module: module.to_owned(),
            text: text.to_owned(),
            code,
            test_children,
        }
    }

    /// The modules that it declares for tests only, whole.
    pub(super) fn test_modules(&self) -> impl Iterator<Item = String> {
        let children = self.test_children.iter();
        children.map(|name| self.child(name))
    }

    fn child(&self, name: &str) -> String {
        if self.is_root() {
            name.to_owned()
        } else {
            format!("{}/{name}", self.module)
        }
    }

    fn is_root(&self) -> bool {
        self.module == "lib" || self.module == "main"
    }

    /// What it uses of its crate: by `crate::`, by `super::`, and of its own children by their names.
    pub(super) fn uses(&self) -> Vec<Use> {
        let mut uses = Vec::new();
        let mut add = |at: usize, from: Vec<String>, rest: &str| {
            let line = self.code[..at].matches('\n').count() + 1;
            let mut paths = Vec::new();
            let _ = tree(rest, &from, &mut paths);
            uses.extend(paths.into_iter().map(|path| Use { line, path }));
        };
        let here: Vec<String> = if self.is_root() {
            Vec::new()
        } else {
            self.module.split('/').map(str::to_owned).collect()
        };
        for found in UP.find_iter(&self.code) {
            // An exported macro writes this into others' files; the macros themselves stand at the root.
            if self.code[..found.start()].ends_with('$') {
                continue;
            }
            let supers = found.as_str().matches("super").count();
            let from = match supers {
                0 => Vec::new(),
                _ => here[..here.len().saturating_sub(supers)].to_vec(),
            };
            add(found.start(), from, &self.code[found.end()..]);
        }
        let children = MODULE.captures_iter(&self.code);
        let children: Vec<&str> = children.map(|it| it.extract::<1>().1[0]).collect();
        for found in DOWN.captures_iter(&self.code) {
            let (whole, [name]) = found.extract();
            if children.contains(&name) {
                let end = found.get_match().start() + whole.len();
                let mut from = here.clone();
                from.push(name.to_owned());
                add(end, from, &self.code[end..]);
            }
        }
        uses.sort_by(|a, b| (a.line, &a.path).cmp(&(b.line, &b.path)));
        uses.dedup();
        uses
    }
}

/// The same lines, empty.
fn blank(text: &str) -> String {
    let lines = text.matches('\n').count();
    format!(" {}", "\n".repeat(lines))
}

/// Code without what only tests see, and the names of the modules among that which are other files.
fn without_tests(code: &str) -> (String, Vec<String>) {
    let (mut kept, mut children) = (String::new(), Vec::new());
    let mut rest = code;
    while let Some(found) = TEST_ITEM.find(rest) {
        kept.push_str(&rest[..found.start()]);
        let end = found.end() + item_end(&rest[found.end()..]);
        let item = &rest[found.start()..end];
        if let Some(name) = MODULE.captures(item).filter(|_| !item.contains('{')) {
            children.push(name[1].to_owned());
        }
        kept.push_str(&blank(item));
        rest = &rest[end..];
    }
    kept.push_str(rest);
    (kept, children)
}

/// Where an item ends: at its semicolon, or where its braces close (and a semicolon may follow).
fn item_end(text: &str) -> usize {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, character) in text.char_indices() {
        match character {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces == 1 => {
                let after = &text[at + 1..];
                return at + 1 + usize::from(after.starts_with(';'));
            }
            '}' => braces = braces.saturating_sub(1),
            ';' if braces == 0 && others == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Reads what follows a `::`: names, `{…}` with more of the same, or `*`. Returns what is left.
fn tree<'t>(text: &'t str, from: &[String], paths: &mut Vec<String>) -> &'t str {
    let text = text.trim_start();
    if let Some(mut list) = text.strip_prefix('{') {
        loop {
            let next = list.trim_start_matches(|it: char| it == ',' || it.is_whitespace());
            if next.is_empty() || next.starts_with('}') {
                return next.strip_prefix('}').unwrap_or(next);
            }
            let left = tree(next, from, paths);
            // Whatever this is, it is no path: over it, so that the rest is read too.
            list = match left.find([',', '}']) {
                Some(at) => &left[at..],
                None => "",
            };
        }
    }
    let is_word = |it: char| it == '_' || it.is_alphanumeric();
    let end = text.find(|it| !is_word(it)).unwrap_or(text.len());
    let (name, left) = text.split_at(end);
    let mut path = from.to_vec();
    if !name.is_empty() && name != "self" {
        path.push(name.to_owned());
    }
    match left.trim_start().strip_prefix("::") {
        Some(left) if !name.is_empty() => tree(left, &path, paths),
        Some(_) | None => {
            paths.push(path.join("/"));
            left
        }
    }
}

#[test]
fn comments_literals_and_tests_are_not_read() {
    let check = |text: &str, expected: &str| {
        let code = Source::new("src/a.rs", text).code;
        let words: Vec<&str> = code.split_whitespace().collect();
        assert_eq!(words.join(" "), expected, "{text}");
    };
    check("a // b \" c\nd", "a d");
    check("/// a\n//! b\nc /* d\n e */ f", "c f");
    check(r#"a("b \" // c"); d"#, "a( ); d");
    check(r##"a(r#"b " // c"#, br"d\"); e"##, "a( , ); e");
    check(
        r"a('b', '\'', '\u{1b}', '/'); f::<'c, 'd>()",
        "a( , , , ); f::<'c, 'd>()",
    );
    check("a(\"b\n c\"); // d", "a( );");
    check("a #[cfg(test)] mod tests { b { c } } d", "a d");
    check(
        "a #[cfg(test)]\n#[path = \"b\"]\npub(crate) mod c; d",
        "a d",
    );
    check("a #[cfg(test)] fn b(c: [u8; 3]) -> d { e } f", "a f");
    check("a #[cfg(test)] use b::{c, d}; e", "a e");
    check("a #[cfg(unix)] mod b { c }", "a #[cfg(unix)] mod b { c }");
}

#[test]
fn a_line_keeps_its_number() {
    let text = "//! a\n/* b\n*/ let c = \"d\n\";\n#[cfg(test)]\nmod e {\n}\nlet f;";
    let code = Source::new("src/a.rs", text).code;
    assert_eq!(code.lines().count(), text.lines().count());
    assert_eq!(code.lines().last(), Some("let f;"));
}

#[test]
fn modules_for_tests_only_are_known() {
    let check = |path: &str, expected: &[&str]| {
        let text = "mod a; #[cfg(test)] mod b; #[cfg(test)] mod c { } mod d;";
        let source = Source::new(path, text);
        assert_eq!(
            source.test_modules().collect::<Vec<_>>(),
            expected,
            "{path}"
        );
    };
    check("src/lib.rs", &["b"]);
    check("src/x/y.rs", &["x/y/b"]);
}

#[test]
fn every_way_to_use_something_is_seen() {
    let check = |text: &str, expected: &[&str]| {
        let uses = Source::new("src/a/b.rs", text).uses();
        let paths: Vec<&str> = uses.iter().map(|it| it.path.as_str()).collect();
        assert_eq!(paths, expected, "{text}");
    };
    check("use crate::c::D;", &["c/D"]);
    check(
        "use crate::{c::D, e::{self, F as G}, h::*};",
        &["c/D", "e", "e/F", "h"],
    );
    check(
        "use crate::{\n    c,\n    d::{e, f},\n};",
        &["c", "d/e", "d/f"],
    );
    check(
        "fn x() { crate :: c :: d(crate::e::F::new()) }",
        &["c/d", "e/F/new"],
    );
    check("use super::c; use super::super::d::E;", &["a/c", "d/E"]);
    check("impl super::C for D {}", &["a/C"]);
    check(
        "mod c; use c::D; fn x() { c::e() }",
        &["a/b/c/D", "a/b/c/e"],
    );
    check("mod c; fn x() { d::c::e() }", &[]);
    check("use std::c; pub(crate) fn x() {} // crate::d", &[]);
    check("#[cfg(test)] mod tests { use crate::c; }", &[]);
    check("fn x() { crate::c::<D>(); crate::e!(f) }", &["c", "e"]);
    check("macro_rules! x { () => { $crate::c::d() } }", &[]);
}

#[test]
fn a_use_knows_its_line() {
    let uses = Source::new("src/a.rs", "//! b\n\nuse crate::c;\n").uses();
    assert_eq!(uses[0].line, 3);
}
