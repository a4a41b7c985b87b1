//! `forge export`: a run as one file, for `forge report FILE` and `forge view FILE` elsewhere. Nothing is run.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use clap::Args;
use forge::exit::ExitCode as End;
use forge::objects::Address;
use forge::problem::{Problem, Problems};
use forge::quantity::{ByteCount, counted};
use forge::settings;
use forge::store::RunFolder;

use super::destination::Destination;
use super::print::Printer;
use super::{json, stored};

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// The run: `latest`, its id or the beginning of it, or its folder
    run: String,
    /// The file; one that is there is replaced. Or `s3://BUCKET/PREFIX`, where it then is as if it had been written
    /// there while it went on [default: forge-ID.tar]
    file: Option<PathBuf>,
    /// Folder for results [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS", value_parser = super::values::artifacts())]
    artifacts: Option<PathBuf>,
}

pub(super) fn export(args: &ExportArgs, printer: Printer) -> End {
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let found = super::found::find(args.artifacts.as_deref(), &project, &args.run, printer);
    let folder = match found {
        Ok(folder) => folder,
        Err(end) => return end,
    };
    super::found::tell_if_alive(&folder, printer);
    let real = folder.real();
    let address = args.file.as_deref().and_then(Path::to_str);
    if let Some(address) = address.filter(|it| Address::is_meant(it)) {
        return put(address, &real, printer).map_or_else(|end| end, |()| End::Ok);
    }
    let file = args.file.clone().unwrap_or_else(|| {
        let id = real
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        format!("forge-{id}.tar").into()
    });
    let exported = Cell::new(None);
    let written = Destination::open(&file, &[]).and_then(|mut to| {
        to.write(&|to| {
            exported.set(Some(folder.export(to)?));
            Ok(())
        })
    });
    if let Err(error) = written {
        printer.error(&error, Some(super::show::ROOM));
        return End::Incomplete;
    }
    if let Some(exported) = exported.take() {
        let shown = forge::plain::line(&file.to_string_lossy());
        printer.out(&format!(
            "`{shown}` has {} with {}; `forge report {shown}` shows it, anywhere\n",
            counted(exported.files, "file", "files"),
            ByteCount(exported.bytes)
        ));
    }
    End::Ok
}

/// Writes the run to a store, below its id.
fn put(address: &str, folder: &RunFolder, printer: Printer) -> Result<(), End> {
    let refuse = |problem| json::refuse(printer, End::Usage, &Problems::from(problem));
    let store = settings::store_at(address, &settings::variables()).map_err(refuse)?;
    let Some(run) = folder.run() else {
        let path = folder.path().display();
        let message = format!("`{path}` is not called by the id of its run");
        let hint = "in a store, runs are found by their ids";
        return Err(refuse(Problem::setting("", message).with_hint(hint)));
    };
    stored::put(&store, run, folder, printer)
}
