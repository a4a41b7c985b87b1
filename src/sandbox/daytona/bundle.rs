//! The archive that a command's end leaves, unpacked as hostile.
//!
//! Promises: nothing is written anywhere by this file; it says where in the archive the content of which
//! path is, for regular files and hard links to them; whatever else is in it, however it is cut off or
//! made up, costs no more than reading it once.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

/// tar's unit.
const BLOCK: u64 = 512;
/// The first block of an entry.
type Header = [u8; 512];
/// The longest name of another header that is read.
const MAX_EXTENSION: u64 = 64 << 10;
/// The most entries that are noted.
const MAX_ENTRIES: usize = 200_000;

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

/// A part of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// Which paths are in an archive: what follows `./`. Later entries replace earlier ones.
pub(crate) type Index = BTreeMap<String, Kind>;

/// Reads an archive. One that is broken ends where it breaks.
///
/// # Errors
/// When the reader fails.
pub(crate) fn index<R: Read + Seek>(archive: &mut R) -> io::Result<Index> {
    let total = archive.seek(SeekFrom::End(0))?;
    let mut entries = Index::new();
    let mut at = 0;
    let mut extension = Extension::default();
    for _ in 0..MAX_ENTRIES {
        if total.saturating_sub(at) < BLOCK {
            break;
        }
        archive.seek(SeekFrom::Start(at))?;
        let mut header: Header = [0; 512];
        archive.read_exact(&mut header)?;
        if !has_checksum(&header) {
            break;
        }
        at += BLOCK;
        let Some(bytes) = number(&header[124..136]) else {
            break;
        };
        let flag = header[156];
        let is_file = matches!(flag, 0 | b'0' | b'7');
        let bytes = extension.size.filter(|_| is_file).unwrap_or(bytes);
        let Some(next) = bytes
            .div_ceil(BLOCK)
            .checked_mul(BLOCK)
            .and_then(|len| at.checked_add(len))
        else {
            break;
        };
        match flag {
            b'L' | b'K' | b'x' | b'g' => {
                if bytes > MAX_EXTENSION || total.saturating_sub(at) < bytes {
                    break;
                }
                let mut text = Vec::new();
                archive.take(bytes).read_to_end(&mut text)?;
                extension.read(flag, &text);
            }
            _ => {
                let extension = std::mem::take(&mut extension);
                let name = extension.name.unwrap_or_else(|| header_name(&header));
                let link = extension.link.unwrap_or_else(|| field(&header[157..257]));
                let kind = match flag {
                    _ if is_file && total.saturating_sub(at) < bytes => Some(Kind::Cut),
                    _ if is_file => Some(Kind::File(Span { offset: at, bytes })),
                    b'1' => std::str::from_utf8(&link)
                        .ok()
                        .and_then(|link| entries.get(tidy(link)).copied()),
                    b'2' => Some(Kind::SymbolicLink),
                    b'5' => None,
                    _ => Some(Kind::Special),
                };
                if let Some(kind) = kind {
                    note(&mut entries, &name, kind);
                }
            }
        }
        // Only a file has content behind its header, but what claims to is believed: it may be skipped.
        at = next;
    }
    Ok(entries)
}

/// What the next entry's header has no room for.
#[derive(Debug, Default)]
struct Extension {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extension {
    fn read(&mut self, flag: u8, text: &[u8]) {
        match flag {
            b'L' => self.name = Some(field(text)),
            b'K' => self.link = Some(field(text)),
            b'x' => self.read_pax(text),
            // A global header would be for all that follow; no tar writes one without being asked.
            _ => {}
        }
    }

    /// Records of the form `<length> <key>=<value>\n`.
    fn read_pax(&mut self, mut text: &[u8]) {
        while let Some(blank) = text.iter().position(|byte| *byte == b' ') {
            let length = std::str::from_utf8(&text[..blank])
                .ok()
                .and_then(|n| n.parse().ok());
            let Some(record) = length.and_then(|length: usize| text.get(blank + 1..length)) else {
                return;
            };
            let record = record.strip_suffix(b"\n").unwrap_or(record);
            if let Some(value) = record.strip_prefix(b"path=") {
                self.name = Some(value.to_vec());
            } else if let Some(value) = record.strip_prefix(b"linkpath=") {
                self.link = Some(value.to_vec());
            } else if let Some(value) = record.strip_prefix(b"size=") {
                self.size = std::str::from_utf8(value).ok().and_then(|n| n.parse().ok());
            }
            text = &text[length.unwrap_or(text.len())..];
        }
    }
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

/// A field up to its first NUL.
fn field(bytes: &[u8]) -> Vec<u8> {
    bytes
        .split(|byte| *byte == 0)
        .next()
        .unwrap_or_default()
        .to_vec()
}

fn header_name(header: &Header) -> Vec<u8> {
    let name = field(&header[..100]);
    let prefix = field(&header[345..500]);
    // Only POSIX headers have a prefix there; GNU's own have times.
    if &header[257..263] != b"ustar\0" || prefix.is_empty() {
        return name;
    }
    [prefix, b"/".to_vec(), name].concat()
}

/// Octal digits, or a binary number behind a set high bit.
fn number(bytes: &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    if *first == 0x80 {
        let (high, low) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
        let low = low.try_into().ok().map(u64::from_be_bytes)?;
        return high.iter().all(|byte| *byte == 0).then_some(low);
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let text = text.trim_matches(|c| c == ' ' || c == '\0');
    if text.is_empty() {
        Some(0)
    } else {
        u64::from_str_radix(text, 8).ok()
    }
}

fn has_checksum(header: &Header) -> bool {
    let sum = |range: &[u8]| range.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    // The checksum's own field counts as blanks.
    let expected = sum(&header[..148]) + sum(&header[156..]) + 8 * u64::from(b' ');
    header[0] != 0 && number(&header[148..156]) == Some(expected)
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
