//! Memory that a process which only waits need not hold: the code and constants of its program, of which each
//! page is read from the file again when it is needed.

use std::io;

/// Lets go of what this process has mapped of files and never changed. It works on as before.
///
/// # Errors
/// When the system does not tell what is mapped.
#[expect(unsafe_code, reason = "no safe wrapper can know what is mapped")]
pub(crate) fn let_go_of_program() -> io::Result<()> {
    let told = std::fs::read_to_string("/proc/self/smaps")?;
    for (from, to) in unchanged(&told) {
        let start = std::ptr::without_provenance_mut(from);
        // SAFETY: the mapping is of a file, cannot be written and has no page of this process's own: what is let go
        // of is the file's, and is there again as soon as somebody looks.
        unsafe { libc::madvise(start, to - from, libc::MADV_DONTNEED) };
    }
    Ok(())
}

/// The mappings of files that cannot be written and of which no page is this process's own: where they begin, and
/// end.
fn unchanged(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut current = None;
    for line in smaps.lines() {
        if let Some(own) = line.strip_prefix("Anonymous:") {
            let is_none = own.trim() == "0 kB";
            found.extend(current.take().filter(|_| is_none));
        } else if let Some(range) = range(line) {
            current = is_unchanging(line).then_some(range);
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

/// Whether a mapping is a file's, private, and cannot be written.
fn is_unchanging(line: &str) -> bool {
    let mut words = line.split_ascii_whitespace().skip(1);
    let modes = words.next().unwrap_or_default();
    let path = words.nth(3).unwrap_or_default();
    modes.starts_with('r') && !modes.contains('w') && modes.ends_with('p') && path.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_a_files_and_was_never_changed_is_let_go_of() {
        let smaps = "\
1000-2000 r--p 00000000 fe:00 12 /bin/forge
Rss:                   4 kB
Anonymous:             0 kB
2000-3000 r-xp 00001000 fe:00 12 /bin/forge
Anonymous:             0 kB
3000-4000 r--p 00002000 fe:00 12 /bin/forge (deleted)
Anonymous:             4 kB
4000-5000 rw-p 00003000 fe:00 12 /bin/forge
Anonymous:             0 kB
5000-6000 r--p 00000000 00:00 0
Anonymous:             0 kB
6000-7000 r--p 00000000 00:00 0 [vvar]
Anonymous:             0 kB
7000-8000 r--s 00000000 fe:00 13 /shared
Anonymous:             0 kB
";
        assert_eq!(unchanged(smaps), [(0x1000, 0x2000), (0x2000, 0x3000)]);
    }

    #[test]
    fn a_process_goes_on_after_it() {
        let_go_of_program().unwrap();
        assert_eq!(format!("{:.2}", 1.0 / 3.0), "0.33");
    }
}
