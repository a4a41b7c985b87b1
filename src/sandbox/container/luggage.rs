//! Files on their way into a container.

use std::io::{self, Seek as _, SeekFrom};

use tempfile::SpooledTempFile;

use crate::archive::Writer;
use crate::name::RelativePath;
use crate::sandbox::remote::collect::IN_MEMORY;
use crate::sandbox::{Content, Layout, Upload};

/// The files as an archive for the home, and its length.
pub(super) fn archive(files: &[Upload], layout: &Layout) -> io::Result<(SpooledTempFile, u64)> {
    let mut writer = Writer::new(tempfile::spooled_tempfile(IN_MEMORY));
    for file in files {
        let path = layout.path(file.area, &file.path);
        let home = layout.work.strip_suffix("/work").unwrap_or_default();
        let inside = path.strip_prefix(home).unwrap_or(&path);
        let inside =
            RelativePath::parse(inside.trim_start_matches('/')).map_err(io::Error::other)?;
        match &file.content {
            Content::Bytes(bytes) => {
                writer.file(
                    &inside,
                    file.executable,
                    bytes.len() as u64,
                    &mut &bytes[..],
                )?;
            }
            Content::File(path) => {
                let (mut open, about) = crate::tree::open_regular(path)?;
                writer.file(&inside, file.executable, about.len(), &mut open)?;
            }
        }
    }
    let mut archive = writer.finish()?;
    let bytes = archive.stream_position()?;
    archive.seek(SeekFrom::Start(0))?;
    Ok((archive, bytes))
}
