//! What is below a folder at a revision, as git lists it.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{Git, NoAnswer};

/// What git has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    File {
        executable: bool,
    },
    Link,
    /// A commit of another repository.
    Submodule,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) bytes: u64,
}

/// Everything below a folder, by its path from the repository's root. Names that are no text are as they can be
/// shown.
pub(super) type Tree = BTreeMap<String, Entry>;

/// What a folder, by its path from the root and empty for that, has at a commit, all the way down.
pub(super) fn below(git: &Git, commit: &str, folder: &str) -> Result<Tree, NoAnswer> {
    let mut arguments = vec!["ls-tree", "-r", "-l", "-z", "--full-tree", commit];
    if !folder.is_empty() {
        arguments.extend(["--", folder]);
    }
    Ok(parse(&git.ask(arguments)?))
}

/// Reads `<mode> <type> <object> <size>\t<path>\0`.
fn parse(listed: &[u8]) -> Tree {
    let records = listed.split(|byte| *byte == 0);
    let entry = |record: &[u8]| {
        let record = String::from_utf8_lossy(record);
        let (facts, path) = record.split_once('\t')?;
        let mut facts = facts.split_whitespace();
        let (mode, _, _, size) = (facts.next()?, facts.next()?, facts.next()?, facts.next()?);
        let kind = match mode {
            "120000" => Kind::Link,
            "160000" => Kind::Submodule,
            _ => Kind::File {
                executable: mode == "100755",
            },
        };
        let bytes = size.parse().unwrap_or(0);
        Some((path.to_owned(), Entry { kind, bytes }))
    };
    records.filter_map(entry).collect()
}

/// What one path is at a commit: `tree`, `blob` or `commit`, and a link as `link`. `None` when it is not there.
pub(super) fn kind_of(git: &Git, commit: &str, path: &str) -> Result<Option<String>, NoAnswer> {
    if path.is_empty() {
        return Ok(Some("tree".to_owned()));
    }
    let listed = git.line(["ls-tree", "--full-tree", commit, "--", path])?;
    let mut facts = listed.split_whitespace();
    Ok(match (facts.next(), facts.next()) {
        (Some("120000"), _) => Some("link".to_owned()),
        (Some(_), Some(kind)) => Some(kind.to_owned()),
        (Some(_) | None, _) => None,
    })
}

/// Folders at a commit that are called so, or have a file that is called like one of these: where a folder that is
/// not at its place may be.
pub(super) fn folders_like(
    git: &Git,
    commit: &str,
    name: &str,
    holding: &[&str],
) -> Result<Vec<String>, NoAnswer> {
    let listed = git.ask([
        "ls-tree",
        "-r",
        "-t",
        "-z",
        "--name-only",
        "--full-tree",
        commit,
    ])?;
    let mut found = BTreeSet::new();
    for path in listed.split(|byte| *byte == 0) {
        let path = String::from_utf8_lossy(path).into_owned();
        let (parent, last) = path.rsplit_once('/').unwrap_or(("", &path));
        if last == name && !name.is_empty() {
            found.insert(path);
            continue;
        }
        if holding.contains(&last) && !parent.is_empty() {
            found.insert(parent.to_owned());
        }
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read_with_its_modes_and_sizes() {
        let listed = b"100644 blob aa       37\ta/b c.py\x00100755 blob bb 4\trun\x00120000 blob cc       4\tl\x00160000 commit dd       -\tsub\x00";
        let file = |executable, bytes| Entry {
            kind: Kind::File { executable },
            bytes,
        };
        let other = |kind, bytes| Entry { kind, bytes };
        let expected = [
            ("a/b c.py".to_owned(), file(false, 37)),
            ("l".to_owned(), other(Kind::Link, 4)),
            ("run".to_owned(), file(true, 4)),
            ("sub".to_owned(), other(Kind::Submodule, 0)),
        ];
        assert_eq!(parse(listed).into_iter().collect::<Vec<_>>(), expected);
        assert!(parse(b"").is_empty() && parse(b"nonsense\0").is_empty());
    }
}
