//! What goes into a container: files, and the text that runs a command.

use std::io::{self, Seek as _, SeekFrom};

use tempfile::SpooledTempFile;

use super::course::CUT_OFF;
use crate::archive::Writer;
use crate::name::RelativePath;
use crate::sandbox::remote::collect::IN_MEMORY;
use crate::sandbox::remote::command::{Place, push_quoted};
use crate::sandbox::{Command, Content, Layout, Upload};

/// Adds a file to an archive, under this name.
pub(super) fn add(
    writer: &mut Writer<impl io::Write>,
    name: &RelativePath,
    file: &Upload,
) -> io::Result<()> {
    match &file.content {
        Content::Bytes(bytes) => {
            let length = bytes.len() as u64;
            writer.file(name, file.executable, length, &mut &bytes[..])
        }
        Content::File(path) => {
            let (mut open, about) = crate::tree::open_regular(path)?;
            writer.file(name, file.executable, about.len(), &mut open)
        }
    }
}

/// The files as an archive for the home, and its length.
pub(super) fn archive(files: &[Upload], layout: &Layout) -> io::Result<(SpooledTempFile, u64)> {
    let mut writer = Writer::new(tempfile::spooled_tempfile(IN_MEMORY));
    for file in files {
        let path = layout.path(file.area, &file.path);
        let home = layout.work.strip_suffix("/work").unwrap_or_default();
        let inside = path.strip_prefix(home).unwrap_or(&path);
        let inside =
            RelativePath::parse(inside.trim_start_matches('/')).map_err(io::Error::other)?;
        add(&mut writer, &inside, file)?;
    }
    let mut archive = writer.finish()?;
    let bytes = archive.stream_position()?;
    archive.seek(SeekFrom::Start(0))?;
    Ok((archive, bytes))
}

/// The text that runs a command.
pub(super) fn perform(command: &Command, place: &Place, unreachable: &[String]) -> String {
    let mut text = String::from("perform");
    let mut add = |word: &str| {
        text.push(' ');
        push_quoted(&mut text, word);
    };
    add(&place.name);
    // Nothing of the candidate's is started where there is no program.
    add(&unreachable.join(" "));
    add(&CUT_OFF.as_secs().to_string());
    add(&command.programs.len().to_string());
    for words in &command.programs {
        add(&words.len().to_string());
        for word in words {
            add(word);
        }
    }
    add(&command.arguments.len().to_string());
    for word in &command.arguments {
        add(word);
    }
    for (name, value) in &command.env {
        add(&format!("{name}={value}"));
    }
    text
}
