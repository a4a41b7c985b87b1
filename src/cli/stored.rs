//! Runs in an object store, as commands ask for them: found, fetched, and written.

use std::fs;
use std::path::Path;

use forge::event::{Event, EventKind, Subscriber};
use forge::exit::ExitCode as End;
use forge::name::RunId;
use forge::objects::{self, Address, Store, StoreError, StoreErrorKind};
use forge::problem::Problems;
use forge::project::Project;
use forge::quantity::{ByteCount, counted};
use forge::report::Format;
use forge::settings;
use forge::store::{Opened, RunFolder};

use super::print::Printer;
use super::{json, signals};

/// What is said where the world kept everything from being run.
pub(super) const NOTHING_RUN: &str = "forge: no verdict: nothing was run (exit code 3)";

/// The store that results go to as well.
pub(super) fn store(
    typed: Option<&Path>,
    project: &Project,
    printer: Printer,
) -> Result<Option<Store>, End> {
    settings::store(typed, project, &settings::variables())
        .map_err(|problem| json::refuse(printer, End::Usage, &Problems::from(problem)))
}

/// Which run of which store a text names: its address, or what runs are called in the store that results go to.
pub(super) fn named(
    run: &str,
    typed: Option<&Path>,
    project: &Project,
    printer: Printer,
) -> Result<Option<(Store, String)>, End> {
    if !Address::is_meant(run) {
        return Ok(store(typed, project, printer)?.map(|store| (store, run.to_owned())));
    }
    let mut store = settings::store_at(run, &settings::variables())
        .map_err(|problem| json::refuse(printer, End::Usage, &Problems::from(problem)))?;
    let Some((above, name)) = store.address.split() else {
        let problem =
            forge::problem::Problem::setting("", format!("`{run}` is a bucket, and no run"))
                .with_hint("s3://BUCKET/PREFIX/RUN is a run");
        return Err(json::refuse(printer, End::Usage, &Problems::from(problem)));
    };
    let (above, name) = (above, name.to_owned());
    store.address = above;
    Ok(Some((store, name)))
}

/// Fetches a run into a folder for temporary files; where its report is in the store.
pub(super) fn opened(
    store: &Store,
    which: &str,
    printer: Printer,
) -> Result<(String, Opened), End> {
    let kept = tempfile::tempdir().map_err(|error| unwritten(&error, printer))?;
    let (run, folder) = asked(printer, async {
        let run = objects::find(store, which).await?;
        // Whoever is told of the folder knows which run that is.
        let folder = kept.path().join(run.to_string());
        objects::fetch(store, run, &folder).await?;
        Ok((run, folder))
    })?;
    let place = format!("{}/{run}/{}", store.address, Format::Markdown.file_name());
    Ok((place, Opened::below(kept, folder)))
}

/// Fetches a run to where it would be if it had been run here, if it is the one that is looked for.
pub(super) fn taken_over(
    store: &Store,
    run: RunId,
    artifacts: &Path,
    printer: Printer,
    is_it: impl FnOnce(&RunFolder) -> bool,
) -> Result<Option<RunFolder>, End> {
    let unwritten = |error: std::io::Error| unwritten(&error, printer);
    fs::create_dir_all(artifacts).map_err(unwritten)?;
    // Beside it, so that it is there as a whole or not at all.
    let aside = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(artifacts)
        .map_err(unwritten)?;
    let (there, here) = (
        aside.path().join(run.to_string()),
        artifacts.join(run.to_string()),
    );
    fs::create_dir(&there).map_err(unwritten)?;
    printer.note(&format!(
        "forge: fetching the run from `{}/{run}`",
        store.address
    ));
    asked(printer, objects::fetch(store, run, &there))?;
    let found = |path: &Path| RunFolder::find(artifacts, &path.to_string_lossy()).ok();
    if !found(&there).is_some_and(|it| is_it(&it)) {
        return Ok(None);
    }
    fs::rename(&there, &here).map_err(unwritten)?;
    Ok(found(&here))
}

/// Writes a run's folder to a store, and says where it is then.
pub(super) fn put(
    store: &Store,
    run: RunId,
    folder: &RunFolder,
    printer: Printer,
) -> Result<(), End> {
    let (files, bytes) = asked(printer, objects::upload(store, run, folder))?;
    let bytes = ByteCount(bytes);
    printer.note(&format!(
        "forge: `{}/{run}` has {}; {bytes} were written",
        store.address,
        counted(files, "file", "files"),
    ));
    Ok(())
}

/// Asks a store, as long as nobody stops it.
pub(super) fn asked<T>(
    printer: Printer,
    question: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, End> {
    let runtime = super::runtime(printer)?;
    let answer = runtime.block_on(async {
        let stopped = signals::first();
        let stopped =
            stopped.map_err(|error| json::fail(printer, End::Incomplete, &error, None))?;
        tokio::select! {
            answer = question => Ok(answer),
            () = stopped => Err(End::Interrupted),
        }
    });
    answer?.map_err(|error| failed(&error, printer))
}

/// Says why a store could not be used; what that is worth.
pub(super) fn failed(error: &StoreError, printer: Printer) -> End {
    let end = match error.kind {
        StoreErrorKind::Invalid
        | StoreErrorKind::NoRun
        | StoreErrorKind::Taken
        | StoreErrorKind::Alive => End::Usage,
        StoreErrorKind::Unreachable
        | StoreErrorKind::Keyless
        | StoreErrorKind::Refused
        | StoreErrorKind::Missing
        | StoreErrorKind::Hostile
        | StoreErrorKind::Local => End::Incomplete,
    };
    json::fail(printer, end, error, Some(&error.hint()))
}

/// Says what is waited for when a run is over.
pub(super) struct Waits(String, Printer);

impl Waits {
    pub(super) fn on(store: &Store, printer: Printer) -> Self {
        Self(store.address.to_string(), printer)
    }
}

impl Subscriber for Waits {
    fn on_event(&mut self, event: &Event) {
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            let Self(address, printer) = self;
            printer.note(&format!(
                "forge: writing what is left to `{address}`; Ctrl-C leaves it here"
            ));
        }
    }
}

/// Says why a run was not begun.
pub(super) fn before_the_start(error: &StoreError, printer: Printer) -> End {
    let end = failed(error, printer);
    if end != End::Usage {
        printer.note(NOTHING_RUN);
    }
    end
}

fn unwritten(error: &std::io::Error, printer: Printer) -> End {
    json::fail(printer, End::Incomplete, error, Some(super::show::ROOM))
}
