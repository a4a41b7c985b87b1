//! The archive that a command's end leaves, unpacked as hostile.
//!
//! Promises: nothing is written anywhere by this file; it says where in the archive the content of which
//! path is, for regular files and hard links to them; whatever else is in it, however it is cut off or
//! made up, costs no more than reading it once.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};

use crate::archive::{self, Content, MAX_ENTRIES, Span};

/// How a command's files come home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bundle {
    /// There is nothing.
    None,
    /// As one archive.
    Packed,
    /// As one file behind the other: the sandbox has no tar.
    Loose,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A file with its content in the archive.
    File(Span),
    /// A file that the archive ends within.
    Cut,
    SymbolicLink,
    /// A FIFO, a device, or a kind that nobody has heard of.
    Special,
    /// Something whose name is not text; the path shows what can be shown of it.
    Unnamed,
}

/// Which paths are in an archive: what follows `./`. Later entries replace earlier ones.
pub(crate) type Index = BTreeMap<String, Kind>;

/// Reads an archive. One that is broken ends where it breaks.
///
/// # Errors
/// When the reader fails.
pub(crate) fn index<R: Read + Seek>(archive: &mut R) -> io::Result<Index> {
    let mut entries = Index::new();
    archive::read(archive, &mut |entry| {
        let kind = match entry.content {
            Content::File(span) => Some(Kind::File(span)),
            Content::Cut => Some(Kind::Cut),
            Content::Symbolic(_) => Some(Kind::SymbolicLink),
            Content::Hard(to) => std::str::from_utf8(&to)
                .ok()
                .and_then(|to| entries.get(tidy(to)).copied()),
            Content::Folder => None,
            Content::Special => Some(Kind::Special),
        };
        if let Some(kind) = kind {
            note(&mut entries, &entry.name, kind);
        }
    })?;
    Ok(entries)
}

/// Reads the notes of a bundle that is one file behind the other: records that end with a NUL, of which
/// `file <bytes> ./<path>` is for each file in turn. What would be behind the bundle's end is cut off.
pub(crate) fn loose_index(notes: &[u8], total: u64) -> Index {
    let mut entries = Index::new();
    let mut offset: u64 = 0;
    for record in notes.split(|byte| *byte == 0).take(MAX_ENTRIES) {
        let Some(record) = record.strip_prefix(b"file ") else {
            continue;
        };
        let mut parts = record.splitn(2, |byte| *byte == b' ');
        let (size, name) = (parts.next(), parts.next());
        let bytes = size.and_then(|size| std::str::from_utf8(size).ok()?.parse::<u64>().ok());
        let (Some(bytes), Some(name)) = (bytes, name) else {
            break;
        };
        let Some(next) = offset.checked_add(bytes) else {
            break;
        };
        let is_whole = next <= total;
        let kind = is_whole.then_some(Kind::File(Span { offset, bytes }));
        note(&mut entries, name, kind.unwrap_or(Kind::Cut));
        offset = next;
    }
    entries
}

fn note(entries: &mut Index, name: &[u8], kind: Kind) {
    match std::str::from_utf8(name) {
        Ok(name) if tidy(name).is_empty() => {}
        Ok(name) => drop(entries.insert(tidy(name).to_owned(), kind)),
        Err(_) => {
            let shown = String::from_utf8_lossy(name);
            // One that is really called so comes first.
            entries
                .entry(tidy(&shown).to_owned())
                .or_insert(Kind::Unnamed);
        }
    }
}

/// The path without its leading `./`.
fn tidy(name: &str) -> &str {
    name.strip_prefix("./").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::process::Command;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    fn contents(archive: &[u8]) -> Vec<(String, Option<Vec<u8>>)> {
        let entries = index(&mut Cursor::new(archive)).unwrap();
        let read = |kind| match kind {
            Kind::File(Span { offset, bytes }) => {
                let (from, to) = (
                    usize::try_from(offset).unwrap(),
                    usize::try_from(offset + bytes).unwrap(),
                );
                Some(archive[from..to].to_vec())
            }
            Kind::Cut | Kind::SymbolicLink | Kind::Special | Kind::Unnamed => None,
        };
        entries
            .into_iter()
            .map(|(name, kind)| (name, read(kind)))
            .collect()
    }

    static PACKED: LazyLock<Vec<u8>> = LazyLock::new(|| packed("gnu"));

    fn packed(format: &str) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        std::fs::create_dir_all(folder.path().join("d".repeat(120))).unwrap();
        std::fs::write(folder.path().join(&long), "long").unwrap();
        std::fs::write(folder.path().join("a"), "x".repeat(1000)).unwrap();
        std::fs::hard_link(folder.path().join("a"), folder.path().join("b")).unwrap();
        std::fs::write(folder.path().join("empty"), "").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let output = Command::new("tar")
            .args([
                "-cf",
                "-",
                &format!("--format={format}"),
                "./a",
                "./b",
                "./link",
                "./empty",
            ])
            .arg(format!("./{long}"))
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(output.status.success());
        output.stdout
    }

    #[test]
    fn what_tar_packs_is_found_again() {
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        for format in ["gnu", "pax"] {
            let expected = [
                ("a".to_owned(), Some(vec![b'x'; 1000])),
                ("b".to_owned(), Some(vec![b'x'; 1000])),
                (long.clone(), Some(b"long".to_vec())),
                ("empty".to_owned(), Some(Vec::new())),
                ("link".to_owned(), None),
            ];
            assert_eq!(contents(&packed(format)), expected, "{format}");
        }
    }

    #[test]
    fn an_archive_that_is_cut_off_keeps_what_is_whole() {
        let archive = &PACKED;
        let entries = index(&mut Cursor::new(&archive[..512 + 700])).unwrap();
        assert_eq!(
            entries.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), Kind::Cut)]
        );
    }

    #[test]
    fn a_bundle_without_tar_is_cut_at_its_end_and_never_read_twice() {
        let file = |offset, bytes| Kind::File(Span { offset, bytes });
        let notes =
            b"forge ./\0file 3 ./a\0file 0 ./e m\npty\0file 4 ./x\xff\0large ./b\0file 5 ./c";
        let expected = [
            ("a".to_owned(), file(0, 3)),
            ("c".to_owned(), Kind::Cut),
            ("e m\npty".to_owned(), file(3, 0)),
            ("x\u{fffd}".to_owned(), Kind::Unnamed),
        ];
        let entries = loose_index(notes, 11);
        assert_eq!(entries.into_iter().collect::<Vec<_>>(), expected);
        for bad in [
            "file x ./a",
            "file -1 ./a",
            "file 1",
            "file 18446744073709551615 ./a",
        ] {
            let notes = format!("file 1 ./first\0{bad}\0file 2 ./last");
            let entries = loose_index(notes.as_bytes(), 9);
            assert_eq!(entries.into_keys().collect::<Vec<_>>(), ["first"], "{bad}");
        }
    }

    proptest! {
        #[test]
        fn garbage_is_survived(
            at in 0..4096usize,
            noise in proptest::collection::vec(any::<u8>(), 0..600),
            fix in any::<bool>(),
        ) {
            let mut archive = PACKED.clone();
            for (place, byte) in archive[at..].iter_mut().zip(&noise) {
                *place = *byte;
            }
            if fix {
                // A right checksum lets the noise through to the rest.
                for block in archive.as_chunks_mut::<512>().0 {
                    let sum: u64 = block[..148].iter().chain(&block[156..]).map(|b| u64::from(*b)).sum();
                    block[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 256).as_bytes());
                }
            }
            for (name, content) in contents(&archive) {
                prop_assert!(!name.is_empty());
                prop_assert!(content.is_none_or(|bytes| bytes.len() <= archive.len()));
            }
        }
    }
}
