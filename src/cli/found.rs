//! The run that a command is about: a folder, or a file that `forge export` wrote.

use std::path::{Path, PathBuf};

use forge::exit::ExitCode as End;
use forge::objects::Address;
use forge::problem::{Problem, Problems};
use forge::project::Project;
use forge::sandbox::ledger::is_held;
use forge::settings;
use forge::store::{Opened, RunFolder};

use super::print::Printer;
use super::show::report_in;
use super::{json, stored};

/// A run that can be looked at.
#[derive(Debug)]
pub(super) enum Found {
    /// Where it was made, or was put since.
    Folder(RunFolder),
    /// Out of a file, or a store: what is opened is gone when this is dropped.
    File(PathBuf, Opened),
}

impl Found {
    /// Where its files are.
    pub(super) const fn folder(&self) -> &RunFolder {
        match self {
            Self::Folder(folder) => folder,
            Self::File(_, opened) => opened.folder(),
        }
    }

    /// What leads to its report for people.
    pub(super) fn place(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => report_in(folder),
            Self::File(file, _) => file.clone(),
        }
    }
}

/// Says that a run is not over yet, if so.
pub(super) fn tell_if_alive(folder: &RunFolder, printer: Printer) {
    if is_held(folder.path()) == Some(true) {
        printer.note("forge: this run is still going on: what follows is what it comes to so far");
    }
}

/// Finds a run of the folder for results, or says that there is none.
pub(super) fn find(
    artifacts: Option<&Path>,
    project: &Project,
    run: &str,
    printer: Printer,
) -> Result<RunFolder, End> {
    let found = RunFolder::find(&settings::artifacts(artifacts, project), run);
    found.map_err(|message| {
        let hint = if Path::new(run).is_file() {
            "`forge report FILE` and `forge view FILE` show what was exported"
        } else {
            "`forge list` shows the runs"
        };
        let problem = Problem::setting("", message).with_hint(hint);
        json::refuse(printer, End::Usage, &Problems::from(problem))
    })
}

/// The same; where no run is called so, and there is one in the store, that is fetched.
pub(super) fn find_or_fetch(
    artifacts: Option<&Path>,
    project: &Project,
    run: &str,
    printer: Printer,
) -> Result<Found, End> {
    let folder = settings::artifacts(artifacts, project);
    if !Address::is_meant(run)
        && let Ok(found) = RunFolder::find(&folder, run)
    {
        return Ok(Found::Folder(found));
    }
    match stored::named(run, artifacts, project, printer)? {
        None => find(artifacts, project, run, printer).map(Found::Folder),
        Some((store, which)) => {
            let (place, opened) = stored::opened(&store, &which, printer)?;
            Ok(Found::File(place.into(), opened))
        }
    }
}

/// The same; where no run is called so, and a file is, that file is opened.
pub(super) fn find_or_open(
    artifacts: Option<&Path>,
    project: &Project,
    run: &str,
    printer: Printer,
) -> Result<Found, End> {
    let file = Path::new(run);
    let is_known = RunFolder::find(&settings::artifacts(artifacts, project), run).is_ok();
    if is_known || !file.is_file() {
        return find_or_fetch(artifacts, project, run, printer);
    }
    let opened = RunFolder::open_export(file);
    let opened = opened.map(|opened| Found::File(file.to_owned(), opened));
    opened.map_err(|why| {
        let problem = Problem::file(file, why).with_hint("`forge export RUN` writes such files");
        json::refuse(printer, End::Usage, &Problems::from(problem))
    })
}
