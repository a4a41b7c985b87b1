//! Tar archives: read as hostile, and written always the same.
//!
//! Promises: reading writes nothing, and says where in the archive the content of which path is; whatever
//! else is in it, however it is cut off or made up, costs no more than reading it once. What is written depends
//! on names, contents and who may execute them, and on nothing else: no times, no users. Putting files on a
//! disk is in [`unpack`].

use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::name::RelativePath;

pub(crate) mod unpack;

/// tar's unit.
const BLOCK: u64 = 512;
/// The first block of an entry.
type Header = [u8; 512];
/// The longest name of another header that is read.
const MAX_EXTENSION: u64 = 64 << 10;
/// The most entries that are read.
pub(crate) const MAX_ENTRIES: usize = 200_000;
/// The longest name that a header has room for.
const MAX_NAME: usize = 100;

/// A part of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

/// One entry of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As it is in there.
    pub(crate) name: Vec<u8>,
    /// What it is.
    pub(crate) content: Content,
    /// Whether anybody may execute it.
    pub(crate) executable: bool,
}

/// What an entry of an archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A file with its content in the archive.
    File(Span),
    /// A file that the archive ends within.
    Cut,
    Folder,
    /// A symbolic link to this.
    Symbolic(Vec<u8>),
    /// Another name of the file of this name.
    Hard(Vec<u8>),
    /// A FIFO, a device, or a kind that nobody has heard of.
    Special,
}

/// Why a file is refused that a later forge has made: its form, by whom, and the last that is known.
pub(crate) fn later(form: u32, forge_version: &str, known: u32) -> String {
    format!(
        "it has the form {form} of such files, made by forge {}, and this forge knows up to {known}",
        crate::plain::short(forge_version, 20)
    )
}

/// Reads an archive, entry by entry. One that is broken ends where it breaks. Returns whether there was an end
/// before [`MAX_ENTRIES`].
///
/// # Errors
/// When the reader fails.
pub(crate) fn read<R: Read + Seek>(
    archive: &mut R,
    each: &mut dyn FnMut(Entry),
) -> io::Result<bool> {
    let total = archive.seek(SeekFrom::End(0))?;
    let mut at = 0;
    let mut extension = Extension::default();
    for _ in 0..MAX_ENTRIES {
        if total.saturating_sub(at) < BLOCK {
            return Ok(true);
        }
        archive.seek(SeekFrom::Start(at))?;
        let mut header: Header = [0; 512];
        archive.read_exact(&mut header)?;
        if !has_checksum(&header) {
            return Ok(true);
        }
        at += BLOCK;
        let Some(bytes) = number(&header[124..136]) else {
            return Ok(true);
        };
        let flag = header[156];
        let is_file = matches!(flag, 0 | b'0' | b'7');
        let bytes = extension.size.filter(|_| is_file).unwrap_or(bytes);
        let Some(next) = bytes
            .div_ceil(BLOCK)
            .checked_mul(BLOCK)
            .and_then(|len| at.checked_add(len))
        else {
            return Ok(true);
        };
        match flag {
            b'L' | b'K' | b'x' | b'g' => {
                if bytes > MAX_EXTENSION || total.saturating_sub(at) < bytes {
                    return Ok(true);
                }
                let mut text = Vec::new();
                archive.take(bytes).read_to_end(&mut text)?;
                extension.read(flag, &text);
            }
            _ => {
                let extension = std::mem::take(&mut extension);
                let link = extension.link.unwrap_or_else(|| field(&header[157..257]));
                let content = match flag {
                    _ if is_file && total.saturating_sub(at) < bytes => Content::Cut,
                    _ if is_file => Content::File(Span { offset: at, bytes }),
                    b'1' => Content::Hard(link),
                    b'2' => Content::Symbolic(link),
                    b'5' => Content::Folder,
                    _ => Content::Special,
                };
                each(Entry {
                    name: extension.name.unwrap_or_else(|| header_name(&header)),
                    content,
                    executable: number(&header[100..108]).unwrap_or(0) & 0o111 != 0,
                });
            }
        }
        // Only a file has content behind its header, but what claims to is believed: it may be skipped.
        at = next;
    }
    Ok(false)
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
    header[0] != 0 && number(&header[148..156]) == Some(checksum(header))
}

fn checksum(header: &Header) -> u64 {
    let sum = |range: &[u8]| range.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    // The checksum's own field counts as blanks.
    sum(&header[..148]) + sum(&header[156..]) + 8 * u64::from(b' ')
}

/// Writes an archive of regular files.
#[derive(Debug)]
pub(crate) struct Writer<W> {
    to: W,
}

impl<W: Write> Writer<W> {
    pub(crate) const fn new(to: W) -> Self {
        Self { to }
    }

    /// Adds a file of this many bytes.
    ///
    /// # Errors
    /// When it cannot be written, or `content` has another length: then the archive is of no use.
    pub(crate) fn file(
        &mut self,
        path: &RelativePath,
        executable: bool,
        bytes: u64,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let name = path.as_str();
        if name.len() > MAX_NAME {
            // GNU's way to say it, which BusyBox reads as well; the one of POSIX it passes over.
            let long = format!("{name}\0");
            let bytes = long.len() as u64;
            self.put("././@LongLink", b'L', false, bytes, &mut long.as_bytes())?;
        }
        let mut short = name.to_owned();
        while short.len() > MAX_NAME {
            short.pop();
        }
        self.put(&short, b'0', executable, bytes, content)
    }

    fn put(
        &mut self,
        name: &str,
        flag: u8,
        executable: bool,
        bytes: u64,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let mut header: Header = [0; 512];
        let mut set = |at: usize, text: &str| {
            header[at..at + text.len()].copy_from_slice(text.as_bytes());
        };
        set(0, name);
        set(100, if executable { "0000755" } else { "0000644" });
        set(108, "0000000");
        set(116, "0000000");
        set(124, &format!("{bytes:011o}"));
        set(136, "00000000000");
        set(257, "ustar\u{0}00");
        header[156] = flag;
        let sum = format!("{:06o}\u{0} ", checksum(&header));
        header[148..156].copy_from_slice(sum.as_bytes());
        self.to.write_all(&header)?;
        // One more than announced is enough to see that there is more.
        let copied = io::copy(&mut content.take(bytes + 1), &mut self.to)?;
        if copied != bytes {
            return Err(io::Error::other("it changed while it was read"));
        }
        let padding = usize::try_from(bytes.next_multiple_of(BLOCK) - bytes).unwrap_or(0);
        self.to.write_all(&[0; 512][..padding])
    }

    /// Ends the archive.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.to.write_all(&[0; 1024])?;
        self.to.flush()?;
        Ok(self.to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::process::Command;

    use super::*;

    fn path(text: &str) -> RelativePath {
        RelativePath::parse(text).unwrap()
    }

    fn written(files: &[(&str, bool, &str)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (name, executable, text) in files {
            let bytes = text.len() as u64;
            let content = &mut text.as_bytes();
            writer
                .file(&path(name), *executable, bytes, content)
                .unwrap();
        }
        writer.finish().unwrap()
    }

    fn entries(archive: &[u8]) -> Vec<(String, bool, Vec<u8>)> {
        let mut all = Vec::new();
        let keep = &mut |entry: Entry| {
            let Content::File(Span { offset, bytes }) = entry.content else {
                panic!("{entry:?}");
            };
            let at = usize::try_from(offset).unwrap();
            let text = archive[at..at + usize::try_from(bytes).unwrap()].to_vec();
            all.push((
                String::from_utf8(entry.name).unwrap(),
                entry.executable,
                text,
            ));
        };
        read(&mut Cursor::new(archive), keep).unwrap();
        all
    }

    #[test]
    fn what_is_written_is_read_again_and_tar_reads_it_too() {
        let long = format!("{}/{}.py", "d".repeat(120), "f".repeat(200));
        // One more byte in the name is one more in the length's own digits.
        let nearly = "n".repeat(101);
        let files = [
            ("a.py", false, "print()\n"),
            ("bin/run", true, ""),
            (long.as_str(), true, "long"),
            (nearly.as_str(), false, "x"),
            ("ünï/çödé.md", false, "y"),
        ];
        let archive = written(&files);
        let expected: Vec<_> = files
            .iter()
            .map(|(name, executable, text)| {
                ((*name).to_owned(), *executable, text.as_bytes().to_vec())
            })
            .collect();
        assert_eq!(entries(&archive), expected);
        assert_eq!(archive, written(&files), "same input, same bytes");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.tar"), &archive).unwrap();
        let listed = Command::new("tar")
            .args(["-xvf", "x.tar"])
            .current_dir(folder.path())
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(listed.status.success(), "{listed:?}");
        assert!(listed.stderr.is_empty(), "{listed:?}");
        for (name, _, text) in files {
            let found = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert_eq!(found, text);
        }
    }

    #[test]
    fn a_file_that_is_not_as_long_as_it_was_is_an_error() {
        for text in ["abc", "abcde"] {
            let mut writer = Writer::new(Vec::new());
            let error = writer.file(&path("a"), false, 4, &mut text.as_bytes());
            assert!(error.unwrap_err().to_string().contains("changed"));
        }
    }
}
