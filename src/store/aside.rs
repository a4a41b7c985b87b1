//! Files that appear at once: written aside, then renamed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use crate::tree::named;

/// Removes a file or a link that may be there.
pub(super) fn clear_away(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a file as a whole: aside first, then renamed.
///
/// # Errors
/// What `write` or the file system said; the old file, if any, is then still there.
pub(crate) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    // No objective has a name like this one.
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    let aside = path.with_file_name(name);
    let written = write_aside(&aside, write).and_then(|()| fs::rename(&aside, path));
    // Half of it is of no use, and may be what the disk has no room for.
    let written = written.inspect_err(|_| drop(fs::remove_file(&aside)));
    written.map_err(named(path))
}

fn write_aside(
    aside: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let made = File::create_new(aside).or_else(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        // What somebody has put there, a link to elsewhere perhaps, is not written into.
        clear_away(aside)?;
        File::create_new(aside)
    });
    let mut file = io::BufWriter::new(made?);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(())
}
