//! What `/proc` says of a process, for the meter.

use std::ffi::OsStr;
use std::path::Path;

use rustix::process::Pid;

/// The sum of the lines of a file of `/proc` that start with one of these words, in bytes.
pub(super) fn kibibytes(text: &str, names: &[&str]) -> u64 {
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let values = lines
        .filter(|(name, _)| names.contains(name))
        .filter_map(|(_, value)| value.split_ascii_whitespace().next()?.parse::<u64>().ok());
    values.sum::<u64>().saturating_mul(1024)
}

/// What `/proc` says of the state of a process, and by the number of which thread it says what all of them have:
/// when the first thread has ended, it knows nothing of that by the process's own.
pub(super) fn status(pid: Pid) -> Option<(Pid, String)> {
    let of = |task: Pid| std::fs::read_to_string(format!("/proc/{task}/status")).ok();
    let text = of(pid)?;
    if !has_ended(&text) {
        return Some((pid, text));
    }
    let others = std::fs::read_dir(format!("/proc/{pid}/task")).ok();
    let others = others.into_iter().flatten().flatten();
    let mut living = others.filter_map(|entry| {
        let task = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let text = of(task)?;
        (!has_ended(&text)).then_some((task, text))
    });
    Some(living.next().unwrap_or((pid, text)))
}

fn value<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    let (_, values) = lines.find(|(line, _)| *line == name)?;
    values.split_ascii_whitespace().next()
}

fn has_ended(status: &str) -> bool {
    value(status, "State").is_none_or(|state| matches!(state, "Z" | "X"))
}

/// Whether a process lives and is this user's. Who may look at others but not at this one is kept from it by
/// its program, which cannot be read.
pub(super) fn is_mine(pid: Pid) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
        return false;
    };
    let me = rustix::process::geteuid().as_raw().to_string();
    !has_ended(&text) && value(&text, "Uid") == Some(&me)
}

/// What the kernel says of a descriptor, if it is still there.
fn descriptor_text(pid: Pid, descriptor: &OsStr) -> String {
    let path = Path::new("/proc").join(pid.to_string()).join("fdinfo");
    std::fs::read_to_string(path.join(descriptor)).unwrap_or_default()
}

/// How many lines of that start like this.
pub(super) fn lines_of(pid: Pid, descriptor: &OsStr, start: &str) -> u64 {
    let text = descriptor_text(pid, descriptor);
    text.lines().filter(|line| line.starts_with(start)).count() as u64
}

/// Whether descriptors were sent to a socket and not received yet: what they lead to is in nobody's hands.
pub(super) fn holds_descriptors(pid: Pid, descriptor: &OsStr) -> bool {
    let text = descriptor_text(pid, descriptor);
    let mut sent = text
        .lines()
        .filter_map(|line| line.strip_prefix("scm_fds:"));
    sent.any(|number| number.trim() != "0")
}

/// What a line of `maps` says of shared memory: which it is, and how far it reaches at least.
pub(super) fn shared_memory(line: &str) -> Option<((u64, u64), u64)> {
    let mut words = line.split_ascii_whitespace();
    let (range, mode, offset) = (words.next()?, words.next()?, words.next()?);
    let (device, inode, path) = (words.next()?, words.next()?, words.next()?);
    let hexadecimal = |text: &str| u64::from_str_radix(text, 16).ok();
    let memory = ["/memfd:", "/dev/zero", "/SYSV"];
    if !mode.ends_with('s') || !memory.iter().any(|name| path.starts_with(name)) {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let length = hexadecimal(end)?.checked_sub(hexadecimal(start)?)?;
    let (major, minor) = device.split_once(':')?;
    let device = rustix::fs::makedev(
        u32::from_str_radix(major, 16).ok()?,
        u32::from_str_radix(minor, 16).ok()?,
    );
    let end = hexadecimal(offset)?.saturating_add(length);
    Some(((device, inode.parse().ok()?), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_memory_is_told_from_mapped_files() {
        let line = "7f00-9f00 rw-s 00001000 00:01 2057 /memfd:x (deleted)";
        let device = rustix::fs::makedev(0, 1);
        assert_eq!(shared_memory(line), Some(((device, 2057), 0x3000)));
        for other in [
            "7f00-9f00 rw-p 00000000 00:01 2057 /memfd:x (deleted)",
            "7f00-9f00 rw-s 00000000 fe:00 2057 /tmp/x",
            "7f00-9f00 rw-p 00000000 00:00 0 ",
            "",
        ] {
            assert_eq!(shared_memory(other), None, "{other}");
        }
    }
}
