//! The files of an archive, put below a folder.
//!
//! Promises: nothing is written outside of the folder, whatever the archive has: all names are looked at before
//! anything is made, nothing is written through a link or over something, and links are made last. What is over
//! a bound is not begun.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use super::{Content, Entry, Span, read};
use crate::name::RelativePath;
use crate::quantity::ByteCount;
use crate::tree::named;

/// What an archive may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowed {
    /// The most bytes of all files.
    pub(crate) bytes: ByteCount,
    /// The most entries.
    pub(crate) entries: usize,
    /// Whether symbolic links are made as they are, and what has a name that forge does not take is left out;
    /// otherwise both are refused. Who reads what was unpacked then looks where links lead.
    pub(crate) foreign: bool,
}

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotUnpacked {
    /// An entry that is no regular file, or one whose name leads elsewhere.
    #[error("it has {name:?}, which {why}")]
    Entry { name: String, why: String },
    /// Too much of something.
    #[error("it has more than {0}")]
    TooMuch(String),
    /// It cannot be read, or its files cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What came out of an archive.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// Files and links, by their paths below the folder.
    pub(crate) files: BTreeSet<RelativePath>,
    /// What was left out, as its names can be shown.
    pub(crate) left_out: Vec<String>,
}

/// A file or link that is to be made.
struct Part {
    path: RelativePath,
    executable: bool,
    from: From,
}

enum From {
    Archive(Span),
    Link(String),
}

/// Puts the files of an archive below an empty folder. Empty folders of the archive are not made.
///
/// # Errors
/// [`NotUnpacked`]; some files may be there then, all of them below the folder.
pub(crate) fn unpack<R: Read + Seek>(
    archive: &mut R,
    to: &Path,
    allowed: &Allowed,
) -> Result<Unpacked, NotUnpacked> {
    let mut entries = Vec::new();
    let most = allowed.entries;
    let mut count = 0_usize;
    let has_end = read(archive, &mut |entry| {
        count += 1;
        if count <= most {
            entries.push(entry);
        }
    })?;
    if count > most || !has_end {
        return Err(NotUnpacked::TooMuch(format!("{most} entries")));
    }
    let mut unpacked = Unpacked::default();
    let mut parts = Vec::new();
    let mut bytes = 0_u64;
    for entry in entries {
        if let Some(part) = look_at(entry, allowed, &mut unpacked.left_out)? {
            if let From::Archive(span) = &part.from {
                bytes = bytes.saturating_add(span.bytes);
            }
            if !unpacked.files.insert(part.path.clone()) {
                return Err(refused(part.path.as_str(), "is in there twice"));
            }
            parts.push(part);
        }
    }
    if bytes > allowed.bytes.0 {
        return Err(NotUnpacked::TooMuch(allowed.bytes.to_string()));
    }
    if let Some(path) = unpacked.files.iter().find(|it| is_below_one(it, &unpacked)) {
        return Err(refused(
            path.as_str(),
            "is below something that is no folder",
        ));
    }
    // Links last: until then there is none that something could be written through.
    parts.sort_by_key(|part| matches!(part.from, From::Link(_)));
    for part in &parts {
        make(archive, to, part)?;
    }
    Ok(unpacked)
}

fn refused(name: &str, why: &str) -> NotUnpacked {
    NotUnpacked::Entry {
        name: name.to_owned(),
        why: why.to_owned(),
    }
}

/// What is to be made of an entry; nothing of folders, and of what is left out.
fn look_at(
    entry: Entry,
    allowed: &Allowed,
    left_out: &mut Vec<String>,
) -> Result<Option<Part>, NotUnpacked> {
    let shown = String::from_utf8_lossy(&entry.name).into_owned();
    let path = match std::str::from_utf8(&entry.name) {
        Ok(name) => RelativePath::parse(name).map_err(|error| error.to_string()),
        Err(_) => Err("is no UTF-8".to_owned()),
    };
    let mut not = |why: &str| {
        if !allowed.foreign {
            return Err(refused(&shown, why));
        }
        left_out.push(shown.clone());
        Ok(None)
    };
    let from = match entry.content {
        Content::Folder => return Ok(None),
        Content::File(span) => From::Archive(span),
        Content::Symbolic(target) => match String::from_utf8(target) {
            Ok(target) if allowed.foreign => From::Link(target),
            Ok(_) | Err(_) => return not("is a link"),
        },
        // The archive is cut off: what is missing behind this is not known.
        Content::Cut => return Err(refused(&shown, "is cut off")),
        Content::Hard(_) => return Err(refused(&shown, "is a link")),
        Content::Special => return Err(refused(&shown, "is no regular file")),
    };
    match path {
        Ok(path) => Ok(Some(Part {
            path,
            executable: entry.executable,
            from,
        })),
        Err(why) => not(&format!("has no name for a file: {why}")),
    }
}

/// Whether some part of the way to a path is a file or a link.
fn is_below_one(path: &RelativePath, unpacked: &Unpacked) -> bool {
    let ends = path.as_str().match_indices('/');
    let mut above = ends.filter_map(|(end, _)| RelativePath::parse(&path.as_str()[..end]).ok());
    above.any(|it| unpacked.files.contains(&it))
}

fn make<R: Read + Seek>(archive: &mut R, to: &Path, part: &Part) -> io::Result<()> {
    let path = to.join(&part.path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(named(parent))?;
    }
    let span = match &part.from {
        From::Archive(span) => span,
        From::Link(target) => return symlink(target, &path).map_err(named(&path)),
    };
    let mode = if part.executable { 0o755 } else { 0o644 };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&path)
        .map_err(named(&path))?;
    archive.seek(SeekFrom::Start(span.offset))?;
    io::copy(&mut archive.take(span.bytes), &mut file).map_err(named(&path))?;
    // Whoever executes is part of what a candidate is, whatever this process masks.
    file.set_permissions(Permissions::from_mode(mode))
        .map_err(named(&path))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;
    use crate::quantity::ByteCount;

    const ALL: Allowed = Allowed {
        bytes: ByteCount::mib(1),
        entries: 100,
        foreign: true,
    };
    const PACK: Allowed = Allowed {
        foreign: false,
        ..ALL
    };

    /// A header made by hand: flag, name, link, and the content.
    fn entry(flag: u8, name: &[u8], link: &[u8], content: &[u8]) -> Vec<u8> {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name);
        header[100..107].copy_from_slice(b"0000644");
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = flag;
        header[157..157 + link.len()].copy_from_slice(link);
        let sum: u64 = header.iter().map(|byte| u64::from(*byte)).sum::<u64>() + 256;
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut all = header.to_vec();
        all.extend(content);
        all.resize(all.len().next_multiple_of(512), 0);
        all
    }

    /// The folder that is unpacked into has one beside it, which stays as it is.
    fn try_unpack(archive: &[u8], allowed: &Allowed) -> Result<Vec<String>, String> {
        let place = tempfile::tempdir().unwrap();
        let (to, beside) = (place.path().join("to"), place.path().join("beside"));
        fs::create_dir(&to).unwrap();
        fs::create_dir(&beside).unwrap();
        fs::write(beside.join("file"), "mine").unwrap();
        let result = unpack(&mut Cursor::new(archive), &to, allowed);
        let names = |folder: &Path| -> Vec<String> {
            let entries = fs::read_dir(folder).unwrap();
            let mut names: Vec<String> = entries
                .map(|it| it.unwrap().file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(place.path()), ["beside", "to"]);
        assert_eq!(names(&beside), ["file"]);
        assert_eq!(fs::read(beside.join("file")).unwrap(), b"mine");
        match result {
            Ok(unpacked) => Ok(unpacked.files.into_iter().map(String::from).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_leads_elsewhere_is_refused_before_anything_is_written() {
        let refused: [(Vec<u8>, &str); 9] = [
            (entry(b'0', b"../beside/x", b"", b"x"), "leaves its folder"),
            (entry(b'0', b"/tmp/forge-x", b"", b"x"), "is absolute"),
            (entry(b'0', b"a/../../beside/x", b"", b"x"), "leaves"),
            (entry(b'2', b"link", b"../beside", b""), "is a link"),
            (entry(b'1', b"hard", b"../beside/file", b""), "is a link"),
            (entry(b'6', b"pipe", b"", b""), "is no regular file"),
            (entry(b'0', b"a\xff", b"", b"x"), "is no UTF-8"),
            (entry(b'0', b"a\\b", b"", b"x"), "cannot have"),
            (entry(b'0', b"a", b"", b"x")[..512].to_vec(), "is cut off"),
        ];
        for (bad, why) in refused {
            let good = entry(b'0', b"good", b"", b"x");
            let told = try_unpack(&[good, bad].concat(), &PACK).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }

    #[test]
    fn nothing_is_written_through_a_link_or_twice() {
        let link = entry(b'2', b"a", b"../beside", b"");
        let through = entry(b'0', b"a/file", b"", b"theirs");
        for order in [[&link, &through], [&through, &link]] {
            let told = try_unpack(&order.map(Vec::clone).concat(), &ALL).unwrap_err();
            assert!(told.contains("below something that is no folder"), "{told}");
        }
        let twice = [link.clone(), entry(b'0', b"./a", b"", b"x")].concat();
        assert!(
            try_unpack(&twice, &ALL)
                .unwrap_err()
                .contains("in there twice")
        );
        let fine = [link, entry(b'0', b"b/c", b"", b"x")].concat();
        assert_eq!(try_unpack(&fine, &ALL).unwrap(), ["a", "b/c"]);
    }

    #[test]
    fn too_much_is_not_begun() {
        let large = entry(b'0', b"a", b"", &vec![0; (1 << 20) + 1]);
        assert!(try_unpack(&large, &PACK).unwrap_err().contains("1 MiB"));
        let many: Vec<u8> = (0..101)
            .flat_map(|n| entry(b'0', format!("f{n}").as_bytes(), b"", b""))
            .collect();
        assert!(
            try_unpack(&many, &PACK)
                .unwrap_err()
                .contains("100 entries")
        );
    }

    proptest! {
        #[test]
        fn no_archive_writes_outside(
            parts in proptest::collection::vec(
                (
                    proptest::sample::select(vec![b'0', b'1', b'2', b'5', b'L', b'x', b'6']),
                    "(\\.\\./|\\./|/|a/|b){0,4}(beside/file|beside|a|b|file)",
                    "(\\.\\./|/|a/){0,3}(beside/file|beside|a|b)",
                    "[a-z /.=0-9]{0,30}",
                ),
                0..8,
            ),
            foreign in any::<bool>(),
        ) {
            let archive: Vec<u8> = parts
                .iter()
                .flat_map(|(flag, name, link, content)| {
                    entry(*flag, name.as_bytes(), link.as_bytes(), content.as_bytes())
                })
                .collect();
            // What it says does not matter; that nothing else is changed is looked at inside.
            drop(try_unpack(&archive, &Allowed { foreign, ..ALL }));
        }
    }
}
