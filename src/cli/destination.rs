//! Files that were asked for by path, anywhere: reports beside the run's folder, the debug log.
//!
//! Promises: a path is followed to where it leads, and what is there stays what it is: a link, a pipe, a
//! device, a file with its mode, owner and other names. Only a regular file is replaced, as a whole where
//! that can be; the files that are shared with other programs are only added to. What cannot be written is
//! known when it is opened, and nobody waits for a reader for ever.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

/// As many links may follow each other, as the kernel has it.
const MAX_LINKS: u32 = 40;
/// For how long somebody may take to open a pipe for reading, once there is something to read.
const READER: Duration = Duration::from_secs(10);
/// How often that is tried.
const LOOK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// Fills a file. It may be called again, where the first file could not take the other's place.
pub(super) type Fill<'a> = &'a dyn Fn(&mut dyn Write) -> io::Result<()>;

/// Where a path leads.
#[derive(Debug)]
pub(super) struct Destination {
    path: PathBuf,
    kind: Kind,
    identity: Identity,
}

/// What is there, and so how it is written.
#[derive(Debug)]
enum Kind {
    /// A regular file, at this path behind all links: replaced.
    Whole {
        real: PathBuf,
        /// Whether it was made to see whether it can be, and is worth nothing yet.
        made: bool,
    },
    /// A regular file that others write too: added to.
    Shared(File),
    /// Takes what comes: a pipe, a device, a descriptor of this process.
    Stream(File),
    /// A pipe with a name that nobody reads yet.
    Unread,
}

/// What makes two files the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// Two writers in turn do each other no harm: a terminal, `/dev/null`.
    is_device: bool,
}

impl Identity {
    fn of(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            is_device: data.file_type().is_char_device(),
        }
    }

    /// What is at a path, behind all links; `None` when nothing is.
    pub(super) fn at(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().as_ref().map(Self::of)
    }

    /// What this process's standard output is; `None` when it is closed.
    pub(super) fn of_stdout() -> Option<Self> {
        own(1).ok()?.metadata().ok().as_ref().map(Self::of)
    }

    /// Whether two that write there would spoil each other's work.
    pub(super) fn clashes(&self, other: &Self) -> bool {
        self == other && !self.is_device
    }
}

impl Destination {
    /// Finds out where a path leads, and that it can be written: makes a missing file and its folders, opens
    /// what is no regular file. Files that are the same as one of `shared` are added to.
    ///
    /// # Errors
    /// What keeps it from being written.
    pub(super) fn open(path: &Path, shared: &[PathBuf]) -> io::Result<Self> {
        let real = match follow(path)? {
            Followed::Own(descriptor) => return Self::stream(path, own(descriptor)?),
            Followed::Path(real) => real,
        };
        if let Some(folder) = real.parent().filter(|it| !it.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let (file, made) = match there(&real) {
            Ok(Some(file)) => (file, false),
            Ok(None) => return Self::unread(path, &real),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut new = OpenOptions::new();
                (new.append(true).create_new(true).open(&real)?, true)
            }
            Err(error) => return Err(error),
        };
        let data = file.metadata()?;
        let identity = Identity::of(&data);
        if !data.is_file() {
            return Self::stream(path, file);
        }
        // `--csv table.csv > table.csv`: a file in its place would take nothing of what is printed.
        for descriptor in [1, 2] {
            if let Ok(own) = own(descriptor)
                && own.metadata().is_ok_and(|it| Identity::of(&it) == identity)
            {
                return Self::stream(path, own);
            }
        }
        let is_shared = shared.iter().any(|it| Identity::at(it) == Some(identity));
        let kind = if is_shared {
            Kind::Shared(file)
        } else {
            match fs::canonicalize(&real) {
                Ok(real) if Identity::at(&real) == Some(identity) => Kind::Whole { real, made },
                // It has no name any more.
                Ok(_) | Err(_) => Kind::Stream(file),
            }
        };
        Ok(Self {
            path: path.to_owned(),
            kind,
            identity,
        })
    }

    fn stream(path: &Path, file: File) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: Identity::of(&file.metadata()?),
            kind: Kind::Stream(file),
        })
    }

    fn unread(path: &Path, real: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            identity: Identity::of(&fs::metadata(real)?),
            kind: Kind::Unread,
        })
    }

    /// The path, as it was asked for.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What is there.
    pub(super) const fn identity(&self) -> Identity {
        self.identity
    }

    /// Writes a content. A reader that goes before the end has what it wants. Waits for as long as a
    /// reader that is there takes, and 10 s for one that is not. Blocks.
    ///
    /// # Errors
    /// What the content's writer or the system said; a file that can be replaced as a whole is then still the old one.
    pub(super) fn write(&mut self, content: Fill<'_>) -> io::Result<()> {
        match &mut self.kind {
            Kind::Whole { real, made } => {
                replace(real, content)?;
                *made = false;
                Ok(())
            }
            Kind::Shared(file) => {
                // In one piece, because others add to it too.
                let mut text = separator(file)?.to_vec();
                content(&mut text)?;
                file.write_all(&text)
            }
            Kind::Stream(file) => sent(file, content),
            Kind::Unread => sent(&wait_for_reader(&self.path)?, content),
        }
    }

    /// The file itself, empty or to be added to, for somebody who writes as things happen. Waits up to 10 s
    /// for a reader of a pipe. Blocks.
    ///
    /// # Errors
    /// What the system said.
    pub(super) fn into_file(mut self) -> io::Result<File> {
        match &mut self.kind {
            Kind::Whole { real, made } => {
                *made = false;
                File::options().write(true).truncate(true).open(real)
            }
            Kind::Shared(file) | Kind::Stream(file) => file.try_clone(),
            Kind::Unread => wait_for_reader(&self.path),
        }
    }
}

impl Drop for Destination {
    /// An empty file that nothing came into would look like a report.
    fn drop(&mut self) {
        if let Kind::Whole { real, made: true } = &self.kind
            && fs::metadata(real).is_ok_and(|data| data.len() == 0)
        {
            // It may be gone.
            fs::remove_file(real).ok();
        }
    }
}

enum Followed {
    /// A descriptor that this process has: `/dev/stdout`, `>(…)`.
    Own(u32),
    /// Something that is no link, or nothing.
    Path(PathBuf),
}

fn follow(path: &Path) -> io::Result<Followed> {
    let mut at = path.to_owned();
    for _ in 0..MAX_LINKS {
        if let Some(descriptor) = descriptor(&at) {
            return Ok(Followed::Own(descriptor));
        }
        let Ok(target) = fs::read_link(&at) else {
            return Ok(Followed::Path(at));
        };
        let next = match at.parent() {
            Some(folder) => folder.join(target),
            None => target,
        };
        // What the kernel says of another process's descriptor is no path: `pipe:[123]`, `x (deleted)`.
        if fs::symlink_metadata(&next).is_err() && fs::metadata(&at).is_ok() {
            return Ok(Followed::Path(at));
        }
        at = next;
    }
    Err(Errno::LOOP.into())
}

/// The number, where a path is one of this process's own descriptors.
fn descriptor(path: &Path) -> Option<u32> {
    let number = path.file_name()?.to_str()?.parse().ok()?;
    let folder = fs::canonicalize(path.parent()?).ok()?;
    let own = format!("/proc/{}/fd", std::process::id());
    (folder == Path::new(&own) || folder == Path::new("/dev/fd")).then_some(number)
}

/// Another handle of what a descriptor of this process is.
fn own(descriptor: u32) -> io::Result<File> {
    let clone = |own: BorrowedFd<'_>| own.try_clone_to_owned().map(File::from);
    match descriptor {
        1 => clone(io::stdout().as_fd()),
        2 => clone(io::stderr().as_fd()),
        other => {
            let path = PathBuf::from(format!("/dev/fd/{other}"));
            there(&path)?.ok_or_else(|| unread(READER))
        }
    }
}

/// Opens what is there for writing; `None` for a pipe that nobody reads yet.
fn there(path: &Path) -> io::Result<Option<File>> {
    let kind = fs::metadata(path)?.file_type();
    let refused = if kind.is_dir() {
        Some("it is a folder")
    } else if kind.is_socket() {
        Some("it is a socket")
    } else if kind.is_block_device() {
        Some("it is a disk")
    } else {
        None
    };
    if let Some(why) = refused {
        return Err(io::Error::other(why));
    }
    // Without the first, a pipe that nobody reads would be waited for here.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut options = OpenOptions::new();
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    match options.append(true).custom_flags(flags).open(path) {
        Ok(file) => {
            rustix::fs::fcntl_setfl(&file, OFlags::APPEND)?;
            Ok(Some(file))
        }
        Err(error) if kind.is_fifo() && Errno::from_io_error(&error) == Some(Errno::NXIO) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn unread(after: Duration) -> io::Error {
    let text = format!(
        "nobody has opened the pipe for reading, for {} s",
        after.as_secs()
    );
    io::Error::new(io::ErrorKind::TimedOut, text)
}

fn wait_for_reader(path: &Path) -> io::Result<File> {
    let until = Instant::now() + READER;
    loop {
        if let Some(file) = there(path)? {
            return Ok(file);
        }
        if Instant::now() > until {
            return Err(unread(READER));
        }
        // Interrupted, it looks again at once.
        poll(&mut [], Some(&LOOK)).ok();
    }
}

/// Takes a report into something that is read while it comes.
fn sent(file: &File, content: Fill<'_>) -> io::Result<()> {
    match filled(&mut Patient(file), content) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        sent => sent,
    }
}

/// Waits where a pipe is full, however it was opened: others may have made it say so instead.
struct Patient<'a>(&'a File);

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut room = [PollFd::new(self.0, PollFlags::OUT)];
                    match poll(&mut room, None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                written => return written,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn filled(to: &mut dyn Write, content: Fill<'_>) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    content(&mut to)?;
    to.flush()
}

/// What begins a paragraph of its own after what is there.
fn separator(file: &File) -> io::Result<&'static [u8]> {
    let length = file.metadata()?.len();
    if length == 0 {
        return Ok(b"");
    }
    // This handle is not for reading.
    let ends_a_line = || -> io::Result<bool> {
        let mut reader = File::open(format!("/dev/fd/{}", file.as_raw_fd()))?;
        reader.seek(SeekFrom::Start(length - 1))?;
        let mut last = [0];
        reader.read_exact(&mut last)?;
        Ok(last == *b"\n")
    };
    Ok(match ends_a_line() {
        Ok(true) => b"\n",
        Ok(false) | Err(_) => b"\n\n",
    })
}

/// Replaces a regular file: as a whole where the new one can be given what the old one has, else in place.
fn replace(real: &Path, content: Fill<'_>) -> io::Result<()> {
    if let Some(mut aside) = aside(real) {
        filled(aside.as_file_mut(), content)?;
        // It may be mounted there, or the folder may be somebody else's.
        if aside.persist(real).is_ok() {
            return Ok(());
        }
    }
    let mut file = File::options().write(true).truncate(true).open(real)?;
    filled(&mut file, content)
}

/// A new file that may take the place of a file: beside it, with its owner and its mode. `None` where there
/// can be none, or where the file has other names, which would keep what is old.
fn aside(real: &Path) -> Option<tempfile::NamedTempFile> {
    let old = fs::metadata(real).ok()?;
    if old.nlink() != 1 {
        return None;
    }
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix(".forge-").suffix(".part");
    let aside = builder.tempfile_in(real.parent()?).ok()?;
    let new = aside.as_file().metadata().ok()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(aside.as_file(), Some(old.uid()), Some(old.gid())).ok()?;
    }
    aside.as_file().set_permissions(old.permissions()).ok()?;
    Some(aside)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn open(path: &Path) -> io::Result<Destination> {
        Destination::open(path, &[])
    }

    fn write(path: &Path, text: &str) -> io::Result<()> {
        open(path)?.write(&|to| to.write_all(text.as_bytes()))
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> = entries
            .map(|it| it.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_there_stays_what_it_is_and_holds_the_new_text() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "old and longer").unwrap();
        fs::set_permissions(at("file"), fs::Permissions::from_mode(0o604)).unwrap();
        fs::write(at("twin"), "old and longer").unwrap();
        fs::hard_link(at("twin"), at("other")).unwrap();
        symlink("file", at("link")).unwrap();
        symlink("link", at("chain")).unwrap();
        symlink("deep/made", at("dangling")).unwrap();
        for name in ["chain", "twin", "dangling", "plain"] {
            write(&at(name), name).unwrap();
        }
        let read = |name: &str| fs::read_to_string(at(name)).unwrap();
        assert_eq!(read("file"), "chain");
        assert_eq!(fs::metadata(at("file")).unwrap().mode() & 0o777, 0o604);
        assert_eq!(read("other"), "twin", "a file keeps its other names");
        assert_eq!(read("deep/made"), "dangling");
        assert_eq!(read("plain"), "plain");
        for name in ["link", "chain", "dangling"] {
            assert!(
                fs::symlink_metadata(at(name)).unwrap().is_symlink(),
                "{name}"
            );
        }
        let all = [
            "chain", "dangling", "deep", "file", "link", "other", "plain", "twin",
        ];
        assert_eq!(names(folder.path()), all, "nothing else is left");
    }

    #[test]
    fn what_cannot_be_written_is_said_before() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("b", at("a")).unwrap();
        symlink("a", at("b")).unwrap();
        let _listening = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (name, why) in [
            ("a", "symbolic links"),
            ("", "it is a folder"),
            ("socket", "it is a socket"),
        ] {
            let error = open(&at(name)).unwrap_err().to_string();
            assert!(error.contains(why), "{name}: {error}");
        }
        assert!(open(Path::new("/dev/fd/990")).is_err());
        assert_eq!(names(folder.path()), ["a", "b", "socket"]);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_no_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::write(&old, "old").unwrap();
        let fail = |to: &mut dyn Write| {
            to.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        for path in [&old, &new] {
            open(path).unwrap().write(&fail).unwrap_err();
        }
        drop(open(&new).unwrap());
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
        assert_eq!(names(folder.path()), ["old"]);
    }

    #[test]
    fn a_shared_file_is_added_to_by_whatever_path() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let shared = [at("summary")];
        symlink("summary", at("link")).unwrap();
        for (path, before, after) in [
            ("summary", "", "new\n"),
            ("link", "line\n", "line\n\nnew\n"),
            ("./summary", "no end", "no end\n\nnew\n"),
        ] {
            fs::write(at("summary"), before).unwrap();
            let mut to = Destination::open(&at(path), &shared).unwrap();
            to.write(&|to| to.write_all(b"new\n")).unwrap();
            assert_eq!(fs::read_to_string(at("summary")).unwrap(), after);
        }
    }

    #[test]
    fn pipes_and_devices_take_what_comes() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_bits_truncate(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        let text = "x".repeat(1 << 20);
        // Opened before anybody reads.
        let mut unread = open(&pipe).unwrap();
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read_to_string(pipe).unwrap()
        });
        unread.write(&|to| to.write_all(text.as_bytes())).unwrap();
        assert!(reader.join().unwrap() == text);
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        write(Path::new("/dev/null"), &text).unwrap();
        let full = write(Path::new("/dev/full"), &text).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        // Whoever does not read to the end has what it wants.
        let waits_not = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
        let mut reading = OpenOptions::new();
        let reading = reading.read(true).custom_flags(waits_not);
        let reader = reading.open(&pipe).unwrap();
        let mut closed = open(&pipe).unwrap();
        drop(reader);
        closed.write(&|to| to.write_all(text.as_bytes())).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn what_another_process_has_open_is_written_though_it_has_no_name() {
        use std::os::unix::fs::FileExt as _;
        let at = |file: &dyn std::os::fd::AsRawFd| {
            // Not this process's own folder, by its name.
            PathBuf::from(format!("/proc/thread-self/fd/{}", file.as_raw_fd()))
        };
        let (reader, writer) = io::pipe().unwrap();
        write(&at(&writer), "through").unwrap();
        drop(writer);
        assert_eq!(io::read_to_string(reader).unwrap(), "through");
        let file = tempfile::tempfile().unwrap();
        write(&at(&file), "nameless").unwrap();
        let mut text = [0; 8];
        file.read_exact_at(&mut text, 0).unwrap();
        assert_eq!(&text, b"nameless");
    }

    #[test]
    fn two_that_spoil_each_other_are_known() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        symlink("file", folder.path().join("link")).unwrap();
        fs::write(&file, "").unwrap();
        // All of them at once: a file that is gone leaves its inode to the next.
        let one = open(&file).unwrap();
        let two = open(&folder.path().join("link")).unwrap();
        let other = open(&folder.path().join("other")).unwrap();
        assert!(!one.identity().clashes(&other.identity()));
        assert!(two.identity().clashes(&Identity::at(&file).unwrap()));
        let null = open(Path::new("/dev/null")).unwrap().identity();
        assert!(!null.clashes(&null));
    }
}
