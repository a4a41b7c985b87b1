//! The points at which something is mounted: made where they are not, and never through a link.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

pub(super) fn folder_at(parent: BorrowedFd<'_>, name: &CString) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags, Mode::empty());
    match open() {
        Err(Errno::NOENT) => {}
        Err(Errno::NOTDIR | Errno::LOOP) => {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
        }
        other => return other,
    }
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
    open()
}

pub(super) fn file_at(parent: BorrowedFd<'_>, name: &CString) -> rustix::io::Result<OwnedFd> {
    let make = OFlags::CREATE | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = make | OFlags::CLOEXEC;
    let open = || rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o644));
    match open() {
        Err(Errno::LOOP) => {
            rustix::fs::unlinkat(parent, name, AtFlags::empty())?;
            open()
        }
        other => other,
    }
}
