//! Memory that a process need not hold: the code and constants of its program, of which each page is read from the
//! file again when it is needed. A process that only waits needs none of them, one at work only those that it works by.
//! And what it once needed at a time.

use std::sync::OnceLock;

/// Lets go of what this process has mapped of its own program and never changed: of what its start and what came before
/// needed, only what is needed on is there again. It works on as before, and so do its threads. Where the system does
/// not tell what is mapped, nothing happens.
#[expect(unsafe_code, reason = "no safe wrapper can know what is mapped")]
pub fn let_go_of_program() {
    // Where they are does not change, nor can anybody write there.
    static OWN: OnceLock<Vec<(usize, usize)>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let told = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        unchanged(&told, let_go_of_program as *const () as usize)
    });
    for (from, to) in own {
        let start = std::ptr::without_provenance_mut(*from);
        // SAFETY: the mapping is of a file, cannot be written and has no page of this process's own: what is let go
        // of is the file's, and is there again as soon as somebody looks. It is of the file that this code is in: no
        // other thread can have put something else in its place meanwhile.
        unsafe { libc::madvise(start, to - from, libc::MADV_DONTNEED) };
    }
}

/// Lets the system have large pieces of memory back as soon as they are not needed any more. Without this, glibc keeps
/// them from the second of a size on (mallopt(3)), and what a run has needed at one time or another adds up. For
/// programs, before anything else; to have such pieces takes longer then. Elsewhere than with glibc, nothing happens.
#[cfg_attr(
    target_env = "gnu",
    expect(unsafe_code, reason = "no crate of the tree wraps mallopt")
)]
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it only sets a number, under the allocator's lock.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10)
    };
}

/// The mappings that cannot be written and have no page of this process's own, of the file of which the code at an
/// address is: where they begin, and end.
fn unchanged(smaps: &str, code: usize) -> Vec<(usize, usize)> {
    let ranges = smaps.lines().filter_map(|line| Some((range(line)?, line)));
    let own = ranges.filter(|((from, to), _)| (*from..*to).contains(&code));
    let Some(own) = own.map(|(_, line)| path(line)).next() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(anonymous) = line.strip_prefix("Anonymous:") {
            let is_none = anonymous.trim() == "0 kB";
            found.extend(current.take().filter(|_| is_none));
        } else if let Some(range) = range(line) {
            current = (is_unchanging(line) && path(line) == own).then_some(range);
        }
    }
    found
}

/// Where a mapping is, in the line that it begins with.
fn range(line: &str) -> Option<(usize, usize)> {
    let (from, to) = line.split(' ').next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some((address(from)?, address(to)?))
}

/// The file of a mapping, with all that is said of it: nothing for memory without one.
fn path(line: &str) -> &str {
    line.find('/').map_or("", |at| &line[at..])
}

/// Whether a mapping is a file's, private, and cannot be written.
fn is_unchanging(line: &str) -> bool {
    let modes = line.split_ascii_whitespace().nth(1).unwrap_or_default();
    let is_private = modes.starts_with('r') && !modes.contains('w') && modes.ends_with('p');
    is_private && path(line).starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_of_the_program_itself_and_was_never_changed_is_let_go_of() {
        let smaps = "\
1000-2000 r--p 00000000 fe:00 12 /bin/the forge
Rss:                   4 kB
Anonymous:             0 kB
2000-3000 r-xp 00001000 fe:00 12 /bin/the forge
Anonymous:             0 kB
3000-4000 r--p 00002000 fe:00 12 /bin/the forge
Anonymous:             4 kB
4000-5000 rw-p 00003000 fe:00 12 /bin/the forge
Anonymous:             0 kB
5000-6000 r--p 00000000 00:00 0
Anonymous:             0 kB
6000-7000 r--p 00000000 00:00 0 [vvar]
Anonymous:             0 kB
7000-8000 r--s 00000000 fe:00 12 /bin/the forge
Anonymous:             0 kB
8000-9000 r--p 00000000 fe:00 13 /etc/ld.so.cache
Anonymous:             0 kB
";
        let own = [(0x1000, 0x2000), (0x2000, 0x3000)];
        assert_eq!(unchanged(smaps, 0x2abc), own);
        // Another thread may be done with that, and have something else there.
        assert_eq!(unchanged(smaps, 0x8abc), [(0x8000, 0x9000)]);
        assert_eq!(unchanged(smaps, 0x9abc), []);
    }

    #[test]
    fn a_process_goes_on_after_it() {
        let_go_of_program();
        assert_eq!(format!("{:.2}", 1.0 / 3.0), "0.33");
    }
}
