//! A cgroup for each command, where this user may make one: the kernel itself counts there what is between
//! two looks of the [`super::meter`], and ends everything in it at once.
//!
//! Promises: it is used only where making one, filling it and ending it was seen to work; nothing is asked
//! of a machine that does not offer it, and nothing else changes there; each is removed with its command, by
//! whoever is left. Only version 2 is looked at, in the places where a process may make one: below its own
//! cgroup, or beside it. Where there is none, as on every system that is not Linux, there is no site.
//!
//! ```text
//! <site>/forge-<keeper>-<serial>/     flocked by the keeper for as long as it lives
//! ```

use std::fs::File;
use std::io::{self, PipeWriter, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Component, Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, FlockOperation, Mode};
use rustix::io::Errno;
use rustix::process::Pid;

use super::moved;
use super::place::open_folder;
use super::protocol::{Limits, Policy};

/// What the kernel has to count there.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];
/// What begins the names, which go on with two numbers.
const PREFIX: &str = "forge-";
/// How often a name is tried, of which another one with the same numbers may be there.
const NAMES: u32 = 16;
/// How long to wait until what was killed is gone.
const PATIENCE: Duration = Duration::from_millis(500);
/// What a sandbox's first process and the kernel need for it beside the program, in bytes.
const OWN_MEMORY: u64 = 16 << 20;
/// So many above its limit a program may have: the meter sees that they are too many, and says so, instead of
/// a fork that fails for no reason that anybody is told.
const TOO_MANY: u64 = 16;

/// The folder in which this process can make cgroups that count and limit memory and processes. Found out by
/// making one, once; what dead ones of forge left there is removed then. Blocks.
pub(super) fn site() -> Option<&'static Path> {
    static SITE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = SITE.get_or_init(|| {
        let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
        let own = std::fs::read("/proc/self/cgroup").ok()?;
        let tried = Limits {
            memory: 1 << 30,
            disk: 0,
            processes: 8,
        };
        let site = find(
            &places(&mounts, &own),
            &CONTROLLERS,
            &settings(tried, false),
        )?;
        sweep(&site);
        Some(site)
    });
    found.as_deref()
}

/// Where a process with these facts may perhaps make cgroups, the best first.
fn places(mounts: &[u8], own: &[u8]) -> Vec<PathBuf> {
    let mut own = own.split(|&byte| byte == b'\n');
    let Some(own) = own.find_map(|line| line.strip_prefix(b"0::")) else {
        return Vec::new();
    };
    let own = path_of(own.to_vec());
    let mounts = mounts.split(|&byte| byte == b'\n');
    let places = mounts.filter_map(|line| {
        let mut words = line.split(|&byte| byte == b' ');
        let root = unescaped(words.nth(3)?);
        let at = unescaped(words.next()?);
        // Between these and the type are none or more others.
        if words
            .find(|word| *word == b"-")
            .and_then(|_| words.next())?
            != b"cgroup2"
        {
            return None;
        }
        // A path that goes up leads out of what is mounted.
        if [&own, &root].iter().any(|path| goes_up(path)) {
            return None;
        }
        let below = own.strip_prefix(&root).ok()?;
        let beside = below.parent().map(|above| joined(&at, above));
        Some([Some(joined(&at, below)), beside])
    });
    places.flatten().flatten().collect()
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    std::ffi::OsString::from_vec(bytes).into()
}

fn goes_up(path: &Path) -> bool {
    path.components().any(|part| part == Component::ParentDir)
}

fn joined(at: &Path, below: &Path) -> PathBuf {
    // Without a slash at the end.
    at.join(below).components().collect()
}

/// A path in a list of mounts, where blanks are written as numbers.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let number = match rest {
            [b'\\', digits @ ..] => digits.get(..3).and_then(octal),
            _ => None,
        };
        bytes.push(number.unwrap_or(*first));
        rest = if number.is_some() { &rest[4..] } else { after };
    }
    path_of(bytes)
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

/// What is written into a cgroup before anything is in it.
#[derive(Debug)]
struct Setting {
    file: &'static str,
    value: String,
    /// Whether a kernel may have no such file.
    is_optional: bool,
}

/// `files_in_memory` is whether what the sandbox stores is memory too.
fn settings(limits: Limits, files_in_memory: bool) -> Vec<Setting> {
    let setting = |file, value: u64, is_optional| Setting {
        file,
        value: value.to_string(),
        is_optional,
    };
    let stored = if files_in_memory { limits.disk } else { 0 };
    let memory = limits.memory.saturating_add(stored);
    vec![
        setting("memory.max", memory.saturating_add(OWN_MEMORY), false),
        setting("memory.swap.max", 0, true),
        setting("memory.oom.group", 1, true),
        setting("pids.max", u64::from(limits.processes) + TOO_MANY, false),
    ]
}

/// The first place in which cgroups with these controllers can be made, filled and ended.
fn find(places: &[PathBuf], controllers: &[&str], settings: &[Setting]) -> Option<PathBuf> {
    let works = |place: &&PathBuf| {
        let Ok(enabled) = enable(place, controllers) else {
            return false;
        };
        let works = attempt(place, settings).is_ok();
        if !works {
            // It was somebody else's before.
            set_controllers(place, '-', &enabled).ok();
        }
        works
    };
    places.iter().find(works).cloned()
}

/// Lets what is below a place have these controllers. Returns which of them it did not have.
fn enable<'a>(place: &Path, controllers: &[&'a str]) -> io::Result<Vec<&'a str>> {
    let lacking = |file: &str| -> io::Result<Vec<&'a str>> {
        let there = std::fs::read_to_string(place.join(file))?;
        let has = |name: &str| there.split_ascii_whitespace().any(|it| it == name);
        Ok(controllers.iter().copied().filter(|it| !has(it)).collect())
    };
    if !lacking("cgroup.controllers")?.is_empty() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let needed = lacking("cgroup.subtree_control")?;
    // Refused where there are processes, but for the topmost.
    set_controllers(place, '+', &needed)?;
    Ok(needed)
}

fn set_controllers(place: &Path, sign: char, controllers: &[&str]) -> io::Result<()> {
    if controllers.is_empty() {
        return Ok(());
    }
    let words: Vec<String> = controllers.iter().map(|it| format!("{sign}{it}")).collect();
    put(&place.join("cgroup.subtree_control"), &words.join(" "))
}

/// Writes into a file that the kernel made; one that does not exist is not made.
fn put(file: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).open(file)?;
    file.write_all(text.as_bytes())
}

/// Puts a process into a new cgroup, and ends it by that.
fn attempt(place: &Path, settings: &[Setting]) -> io::Result<()> {
    let cgroup = Cgroup::make(place, settings)?;
    let mut waiting = Waiting::start()?;
    let pid = i32::try_from(waiting.child.id())
        .ok()
        .and_then(Pid::from_raw);
    cgroup.admit(pid.ok_or(Errno::INVAL)?)?;
    if !cgroup.is_populated()? {
        return Err(Errno::NODEV.into());
    }
    cgroup.kill()?;
    let status = waiting.child.wait()?;
    if status.success() {
        return Err(Errno::OPNOTSUPP.into());
    }
    Ok(())
}

/// A process that waits for its input.
struct Waiting {
    child: Child,
    _input: PipeWriter,
}

impl Waiting {
    fn start() -> io::Result<Self> {
        let (input, say) = io::pipe()?;
        let mut command = Command::new("/bin/cat");
        command.env_clear().current_dir("/").stdin(input);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self {
            child: command.spawn()?,
            _input: say,
        })
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // Ended already, where all went well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A cgroup. It ends with this, and with it what is in it.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    /// Locked, which tells others that it is in use.
    _lock: OwnedFd,
    processes: File,
}

impl Cgroup {
    /// One for a command, where there is a site. One that cannot be made is missed by nobody: the limits are
    /// held without it too.
    pub(super) fn of(policy: &Policy) -> Option<Self> {
        let settings = settings(policy.limits, is_memory(&policy.root));
        Self::make(policy.cgroups.as_deref()?, &settings).ok()
    }

    fn make(place: &Path, settings: &[Setting]) -> io::Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        for _ in 0..NAMES {
            let serial = MADE.fetch_add(1, Ordering::Relaxed);
            let path = place.join(format!("{PREFIX}{}-{serial}", std::process::id()));
            match rustix::fs::mkdir(&path, Mode::from_raw_mode(0o755)) {
                // In another namespace of processes another has this number.
                Err(Errno::EXIST) => continue,
                made => made?,
            }
            let folder = open_folder(CWD, &path)?;
            // Who sweeps may have been faster.
            if !lock(&folder) || !moved::is_same(&folder, &path) {
                continue;
            }
            let processes = File::options().write(true).open(path.join("cgroup.procs"));
            let made = processes.map(|processes| Self {
                path: path.clone(),
                _lock: folder,
                processes,
            });
            let made = made.inspect_err(|_| {
                std::fs::remove_dir(&path).ok();
            })?;
            made.set(settings)?;
            return Ok(made);
        }
        Err(Errno::EXIST.into())
    }

    fn set(&self, settings: &[Setting]) -> io::Result<()> {
        for it in settings {
            match put(&self.path.join(it.file), &it.value) {
                Err(error) if it.is_optional && error.kind() == io::ErrorKind::NotFound => {}
                done => done?,
            }
        }
        Ok(())
    }

    /// Puts the calling process into it.
    ///
    /// # Errors
    /// What the kernel says; it has stayed where it was then.
    pub(super) fn enter(&self) -> io::Result<()> {
        (&self.processes).write_all(b"0")
    }

    /// Puts a process into it; its children follow only if they are made later.
    ///
    /// # Errors
    /// As [`Cgroup::enter`].
    pub(super) fn admit(&self, process: Pid) -> io::Result<()> {
        (&self.processes).write_all(process.to_string().as_bytes())
    }

    /// Ends everything in it, without waiting for that.
    ///
    /// # Errors
    /// Before Linux 5.14 it cannot be asked for.
    pub(super) fn kill(&self) -> io::Result<()> {
        put(&self.path.join("cgroup.kill"), "1")
    }

    /// Which of its limits what was in it has passed, and how far.
    pub(super) fn limit(&self, limits: Limits) -> Option<String> {
        passed(limits, |file| {
            // A kernel that does not count something has no file for it.
            std::fs::read_to_string(self.path.join(file)).unwrap_or_default()
        })
    }

    fn is_populated(&self) -> io::Result<bool> {
        let events = std::fs::read_to_string(self.path.join("cgroup.events"))?;
        Ok(number_of(&events, "populated") > 0)
    }

    /// Waits, for a while, until nothing is in it.
    fn wait_until_empty(&self) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        let events = File::open(self.path.join("cgroup.events"))?;
        loop {
            // What changes after it was read wakes.
            let mut text = [0; 256];
            let read = rustix::io::pread(&events, &mut text, 0)?;
            let text = String::from_utf8_lossy(&text[..read]).into_owned();
            let left = until.saturating_duration_since(Instant::now());
            if number_of(&text, "populated") == 0 || left.is_zero() {
                return Ok(());
            }
            let left = Timespec::try_from(left).ok();
            let mut changed = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)];
            match rustix::event::poll(&mut changed, left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Ends what is in it, and removes it.
    fn remove(&self) -> io::Result<()> {
        // Else only what is empty is removed.
        self.kill().ok();
        self.wait_until_empty()?;
        Ok(rustix::fs::rmdir(&self.path)?)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // What stays is swept by the next forge.
        self.remove().ok();
    }
}

fn lock(folder: &OwnedFd) -> bool {
    rustix::fs::flock(folder, FlockOperation::NonBlockingLockExclusive).is_ok()
}

/// Which limit was passed, by what the files of a cgroup say.
fn passed(limits: Limits, read: impl Fn(&str) -> String) -> Option<String> {
    let number = |file: &str| read(file).trim().parse::<u64>().unwrap_or(0);
    let events = read("memory.events");
    // Who is ended for want of the machine's memory has not passed this limit.
    if number_of(&events, "oom") > 0 && number_of(&events, "oom_kill") > 0 {
        let (reached, allowed) = (number("memory.peak").max(limits.memory), limits.memory);
        return Some(Limits::over("memory", reached, allowed));
    }
    // One of them may be the sandbox's first process.
    let others = number("pids.peak").saturating_sub(1);
    (others > limits.processes.into()).then(|| Limits::too_many(others, limits.processes))
}

/// The number that a file of lines of names and numbers has for a name; 0 without one.
fn number_of(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let number = lines.find_map(|(it, number)| (it == name).then(|| number.trim().parse().ok()));
    number.flatten().unwrap_or(0)
}

/// Removes the cgroups in a place whose keepers are gone, and ends what is in them. Blocks.
pub(super) fn sweep(place: &Path) {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    for entry in entries.filter(|it| is_ours(it.file_name().as_bytes())) {
        let path = entry.path();
        let Ok(folder) = open_folder(CWD, &path) else {
            continue;
        };
        if !lock(&folder) {
            continue;
        }
        // Another user's cannot be opened for writing.
        if let Ok(processes) = File::options().write(true).open(path.join("cgroup.procs")) {
            // It goes with this.
            drop(Cgroup {
                path,
                _lock: folder,
                processes,
            });
        }
    }
}

fn is_ours(name: &[u8]) -> bool {
    let is_number = |it: &[u8]| !it.is_empty() && it.iter().all(u8::is_ascii_digit);
    let numbers = name.strip_prefix(PREFIX.as_bytes());
    let mut numbers = numbers
        .into_iter()
        .flat_map(|it| it.split(|&byte| byte == b'-'));
    let both = [numbers.next(), numbers.next()];
    both.iter().all(|it| it.is_some_and(is_number)) && numbers.next().is_none()
}

/// Whether files in a folder are kept in memory.
#[cfg(target_os = "linux")]
fn is_memory(folder: &Path) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    rustix::fs::statfs(folder)
        .is_ok_and(|it| u64::try_from(it.f_type).is_ok_and(|kind| [TMPFS, RAMFS].contains(&kind)))
}

/// Whether files in a folder are kept in memory.
#[cfg(not(target_os = "linux"))]
fn is_memory(_folder: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a process of this cgroup may make others, with these mounts.
    fn places_in(mounts: &str, own: &str) -> Vec<String> {
        let places = places(mounts.as_bytes(), own.as_bytes());
        places.iter().map(|it| it.display().to_string()).collect()
    }

    const SYSTEMD: &str = "\
22 28 0:20 / /proc rw,nosuid shared:12 - proc proc rw
27 22 0:25 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
28 1 8:1 / / rw - ext4 /dev/sda1 rw
";

    #[test]
    fn below_and_beside_the_own_one_are_places() {
        assert_eq!(
            places_in(SYSTEMD, "0::/user.slice/app.slice/x.scope\n"),
            [
                "/sys/fs/cgroup/user.slice/app.slice/x.scope",
                "/sys/fs/cgroup/user.slice/app.slice"
            ]
        );
        // Nothing is beside the topmost.
        assert_eq!(places_in(SYSTEMD, "0::/\n"), ["/sys/fs/cgroup"]);
        assert_eq!(
            places_in(SYSTEMD, "0::/a\n"),
            ["/sys/fs/cgroup/a", "/sys/fs/cgroup"]
        );
    }

    #[test]
    fn version_2_is_found_among_version_1() {
        let mounts = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
        let own = "9:name=systemd:/s\n4:memory:/m\n0::/u\n";
        assert_eq!(
            places_in(mounts, own),
            ["/sys/fs/cgroup/unified/u", "/sys/fs/cgroup/unified"]
        );
        // Without version 2 there is none, mounted or not.
        assert!(places_in(mounts, "4:memory:/m\n").is_empty());
        let (without, _) = mounts.split_once("41 ").unwrap();
        assert!(places_in(without, own).is_empty());
    }

    #[test]
    fn blanks_in_paths_are_blanks() {
        let mounts = "41 31 0:38 / /mnt/a\\040b\\134c\\011 rw a:1 b - cgroup2 none rw\n";
        let own = "0::/my own-cgroup2 - x\n";
        assert_eq!(
            places_in(mounts, own),
            ["/mnt/a b\\c\t/my own-cgroup2 - x", "/mnt/a b\\c\t"]
        );
        assert_eq!(unescaped(b"a\\04"), Path::new("a\\04"));
        assert_eq!(unescaped(b"\\999\\"), Path::new("\\999\\"));
    }

    #[test]
    fn what_is_mounted_in_part_is_met_from_its_root() {
        let mounts = "41 31 0:38 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert_eq!(places_in(mounts, "0::/docker/1\n"), ["/sys/fs/cgroup"]);
        assert_eq!(
            places_in(mounts, "0::/docker/1/a\n"),
            ["/sys/fs/cgroup/a", "/sys/fs/cgroup"]
        );
        assert!(places_in(mounts, "0::/docker/12\n").is_empty());
        assert!(places_in(mounts, "0::/\n").is_empty());
    }

    #[test]
    fn what_is_above_a_namespace_is_out_of_reach() {
        assert!(places_in(SYSTEMD, "0::/../forge-1-1\n").is_empty());
        let mounts = "41 31 0:38 /.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        assert!(places_in(mounts, "0::/\n").is_empty());
    }

    #[test]
    fn texts_that_are_no_lists_of_mounts_have_no_place() {
        for mounts in ["", "\n", "- cgroup2", "1 2 3 / /a rw -", "1 2 3 / /a rw"] {
            assert!(places_in(mounts, "0::/a").is_empty(), "{mounts}");
        }
        assert!(places_in(SYSTEMD, "").is_empty());
    }

    #[test]
    fn only_what_forge_made_is_swept() {
        for name in ["forge-1-0", "forge-123-456"] {
            assert!(is_ours(name.as_bytes()), "{name}");
        }
        for name in [
            "forge-1",
            "forge-1-",
            "forge--1",
            "forge-1-2-3",
            "forge-a-1",
            "forge-1-2.slice",
            "xforge-1-2",
        ] {
            assert!(!is_ours(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn files_in_memory_are_no_memory_of_the_program() {
        let limits = Limits {
            memory: 100 << 20,
            disk: 50 << 20,
            processes: 10,
        };
        let value = |files_in_memory: bool| {
            let all = settings(limits, files_in_memory);
            let it = all.iter().find(|it| it.file == "memory.max").unwrap();
            it.value.parse::<u64>().unwrap()
        };
        assert_eq!(value(true) - value(false), 50 << 20);
        assert!(value(false) > 100 << 20);
        let most = Limits {
            memory: u64::MAX,
            ..limits
        };
        assert_eq!(settings(most, true)[0].value, u64::MAX.to_string());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_stored_in_memory_is_known() {
        assert!(is_memory(Path::new("/dev/shm")));
        assert!(!is_memory(Path::new("/proc")));
    }

    #[test]
    fn a_limit_is_passed_where_the_kernel_says_so_of_this_cgroup() {
        let limits = Limits {
            memory: 128 << 20,
            disk: 0,
            processes: 50,
        };
        let said = |events: &str, peak: &str, processes: &str| {
            passed(limits, |file| {
                let text = match file {
                    "memory.events" => events,
                    "memory.peak" => peak,
                    "pids.peak" => processes,
                    _ => "",
                };
                text.to_owned()
            })
        };
        let killed = "low 0\nhigh 0\nmax 9\noom 1\noom_kill 3\noom_group_kill 1\n";
        let memory = "ended at 144 MiB of memory; 128 MiB are allowed";
        assert_eq!(said(killed, "150994944\n", "3\n").as_deref(), Some(memory));
        // Before Linux 5.19 nobody knows the most.
        let memory = "ended at 128 MiB of memory; 128 MiB are allowed";
        assert_eq!(said(killed, "", "").as_deref(), Some(memory));
        // Nothing was ended, or by another's limit.
        assert_eq!(
            said("max 9\noom 0\noom_kill 0\n", "150994944\n", "51\n"),
            None
        );
        assert_eq!(said("max 0\noom 0\noom_kill 3\n", "1\n", "51\n"), None);
        assert_eq!(said("", "", ""), None);
        let many = "ended at 65 processes and threads; 50 are allowed";
        assert_eq!(said("", "", "66\n").as_deref(), Some(many));
    }

    #[test]
    fn events_are_numbers_by_name() {
        let events = "low 0\noom 3\noom_kill 12\n";
        assert_eq!(number_of(events, "oom"), 3);
        assert_eq!(number_of(events, "oom_kill"), 12);
        assert_eq!(number_of(events, "oom_group_kill"), 0);
        assert_eq!(number_of("", "oom"), 0);
    }

    /// A cgroup of the test's own, with a controller that this machine offers, which is given back.
    struct Own {
        above: PathBuf,
        path: PathBuf,
        controller: &'static str,
        given: bool,
    }

    impl Own {
        /// None with the reason said where this machine or this user has none.
        fn make() -> Option<Self> {
            let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
            let own = std::fs::read("/proc/self/cgroup").unwrap_or_default();
            for above in places(&mounts, &own) {
                for controller in ["pids", "hugetlb", "memory"] {
                    let Ok(given) = enable(&above, &[controller]) else {
                        continue;
                    };
                    let path = above.join(format!("test-of-forge-{}", std::process::id()));
                    if std::fs::create_dir(&path).is_ok() {
                        return Some(Self {
                            above,
                            path,
                            controller,
                            given: !given.is_empty(),
                        });
                    }
                }
            }
            // Also when the test passes, whose output nobody sees.
            let why =
                b"SKIPPED a_cgroup_is_made_filled_ended_and_swept: no cgroup can be made here\n";
            io::stderr().write_all(why).ok();
            None
        }

        fn names(&self) -> Vec<String> {
            let all = std::fs::read_dir(&self.path).unwrap().flatten();
            let all = all.filter(|it| it.file_type().unwrap().is_dir());
            all.map(|it| it.file_name().into_string().unwrap())
                .collect()
        }
    }

    impl Drop for Own {
        fn drop(&mut self) {
            for name in self.names() {
                std::fs::remove_dir(self.path.join(name)).ok();
            }
            std::fs::remove_dir(&self.path).unwrap();
            if self.given {
                set_controllers(&self.above, '-', &[self.controller]).unwrap();
            }
        }
    }

    fn admit(cgroup: &Path, it: &Waiting) -> io::Result<()> {
        put(&cgroup.join("cgroup.procs"), &it.child.id().to_string())
    }

    fn killed(mut it: Waiting) -> bool {
        use std::os::unix::process::ExitStatusExt as _;
        it.child.wait().unwrap().signal() == Some(libc::SIGKILL)
    }

    // One test, because the controller is the machine's.
    #[test]
    fn a_cgroup_is_made_filled_ended_and_swept() {
        let Some(own) = Own::make() else {
            return;
        };
        let wanted = [own.controller];
        let beside = own.path.join("programs");
        std::fs::create_dir(&beside).unwrap();
        let places = [beside.clone(), own.path.clone()];

        // What is not offered is not had, and nothing was changed for it.
        let one_too_many = [own.controller, "no-such"];
        assert_eq!(find(&places, &one_too_many, &[]), None);
        let control = own.path.join("cgroup.subtree_control");
        assert_eq!(std::fs::read_to_string(&control).unwrap().trim(), "");
        // Nor where what is to be set is not there.
        let unknown = || Setting {
            file: "no.such",
            value: "1".to_owned(),
            is_optional: false,
        };
        assert_eq!(find(&places[1..], &wanted, &[unknown()]), None);
        assert_eq!(std::fs::read_to_string(&control).unwrap().trim(), "");
        let optional = Setting {
            is_optional: true,
            ..unknown()
        };

        // A cgroup that has processes has no others below it.
        set_controllers(&own.path, '+', &wanted).unwrap();
        let busy = Waiting::start().unwrap();
        admit(&beside, &busy).unwrap();
        let found = find(&places, &wanted, &[optional]);
        assert_eq!(found.as_deref(), Some(&*own.path));
        assert_eq!(own.names(), ["programs"]);

        // All that is in one ends with it.
        let cgroup = Cgroup::make(&own.path, &[]).unwrap();
        let (first, second) = (Waiting::start().unwrap(), Waiting::start().unwrap());
        for it in [&first, &second] {
            let pid = Pid::from_raw(it.child.id().try_into().unwrap()).unwrap();
            cgroup.admit(pid).unwrap();
        }
        assert!(cgroup.is_populated().unwrap());
        let path = cgroup.path.clone();

        // Who sweeps spares what is in use, and what has another name.
        let dead = own.path.join("forge-1-99999");
        std::fs::create_dir(&dead).unwrap();
        let stale = Waiting::start().unwrap();
        admit(&dead, &stale).unwrap();
        std::fs::create_dir(own.path.join("forge-1-empty")).unwrap();
        sweep(&own.path);
        assert!(killed(stale));
        assert!(!dead.exists() && path.exists() && own.path.join("forge-1-empty").exists());
        assert!(cgroup.is_populated().unwrap());

        drop(cgroup);
        assert!(!path.exists());
        assert!(killed(first) && killed(second));
        drop(busy);
    }
}
