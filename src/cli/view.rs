//! `forge view` and `forge --view`: a run in a browser, while it goes on. It changes nothing.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use forge::event::{Event, Subscriber};
use forge::exit::ExitCode as End;
use forge::store::RunFolder;
use forge::view::View;
use tokio::sync::{mpsc, oneshot};

use super::found::find_or_open;
use super::print::Printer;
use super::{json, signals};

#[derive(Debug, Args)]
pub(super) struct ViewArgs {
    /// The run: `latest`, its id or the beginning of it, its folder, or what `forge export` wrote
    #[arg(default_value = "latest")]
    run: String,
    /// Open it in a browser: `BROWSER`, else the system's
    #[arg(long)]
    open: bool,
    /// Folder for results [default: artifacts]
    #[arg(long, value_name = "DIR", env = "FORGE_ARTIFACTS", value_parser = super::values::artifacts())]
    artifacts: Option<PathBuf>,
}

/// The view of a run that is started.
#[derive(Debug, Args)]
pub(super) struct Viewing {
    /// Show the run in a browser while it goes on; the address is printed, and for you alone
    #[arg(long)]
    view: bool,
    /// The same, and open it
    #[arg(long)]
    open: bool,
}

impl Viewing {
    /// Whether there is to be one.
    pub(super) const fn is_wanted(&self) -> bool {
        self.view || self.open
    }

    /// Whether a browser is to be started.
    pub(super) const fn opens(&self) -> bool {
        self.open
    }
}

/// Shows a run until a signal comes.
pub(super) fn view(args: &ViewArgs, printer: Printer) -> End {
    let project = match super::project(printer) {
        Ok(project) => project,
        Err(end) => return end,
    };
    let runtime = match super::runtime(printer) {
        Ok(runtime) => runtime,
        Err(end) => return end,
    };
    // Before a file is opened: what comes out of it has to go again.
    let signal = match runtime.block_on(async { signals::first() }) {
        Ok(signal) => signal,
        Err(error) => return json::fail(printer, End::Incomplete, &error, None),
    };
    let found = match find_or_open(args.artifacts.as_deref(), &project, &args.run, printer) {
        Ok(found) => found,
        Err(end) => return end,
    };
    let folder = found.folder().clone();
    let shown = runtime.block_on(async {
        let view = View::bind()?;
        printer.out(&format!("{}\n", view.address()));
        printer.note(
            "forge: whoever has this address sees the run; Ctrl-C ends the view, and nothing else",
        );
        let _opened = args.open.then(|| open(view.address(), printer));
        tokio::select! {
            served = view.serve(folder, std::future::pending()) => served,
            () = signal => Ok(()),
        }
    });
    // Pages that are still open are not waited for.
    runtime.shutdown_background();
    match shown {
        Ok(()) => End::Ok,
        Err(error) => json::fail(printer, End::Incomplete, &error, None),
    }
}

/// The view of a run that is about to begin.
pub(super) struct Beside {
    view: View,
    started: mpsc::UnboundedReceiver<PathBuf>,
    over: oneshot::Receiver<()>,
    _opened: Option<Page>,
}

/// What tells it that the run is over, by being dropped.
pub(super) type Over = oneshot::Sender<()>;

/// Tells the view where the run is.
struct Started {
    artifacts: PathBuf,
    tell: mpsc::UnboundedSender<PathBuf>,
}

impl Subscriber for Started {
    fn on_event(&mut self, event: &Event) {
        if let Some(plan) = event.kind.begins() {
            // Nobody looks any more.
            let _gone = self.tell.send(self.artifacts.join(plan.run.to_string()));
        }
    }
}

/// Prepares a view and says where it is; the run goes on without one where there can be none.
pub(super) fn beside(
    artifacts: &Path,
    is_to_open: bool,
    printer: Printer,
) -> Option<(Beside, impl Subscriber + use<>, Over)> {
    let view = match View::bind() {
        Ok(view) => view,
        Err(error) => {
            printer.note(&format!("forge: there is no live page: {error}"));
            return None;
        }
    };
    printer.note(&format!("View: {}", view.address()));
    let opened = is_to_open.then(|| open(view.address(), printer)).flatten();
    let view = match opened {
        Some(_) => view.expecting_somebody(),
        None => view,
    };
    let (tell, started) = mpsc::unbounded_channel();
    let (end, over) = oneshot::channel();
    let artifacts = artifacts.to_owned();
    let beside = Beside {
        view,
        started,
        over,
        _opened: opened,
    };
    Some((beside, Started { artifacts, tell }, end))
}

impl Beside {
    /// Shows the run from its beginning until it is over, and pages that are open have its report.
    pub(super) async fn show(self, printer: Printer) {
        let Self {
            view,
            mut started,
            over,
            _opened,
        } = self;
        // No run has begun when nobody can say so any more.
        let Some(folder) = started.recv().await else {
            return;
        };
        let served = async {
            let folder = RunFolder::find(Path::new(""), &folder.to_string_lossy());
            let folder = folder.map_err(std::io::Error::other)?;
            let over = async { drop(over.await) };
            view.serve(folder, over).await
        };
        if let Err(error) = served.await {
            printer.note(&format!("forge: the live page has ended: {error}"));
        }
    }
}

/// A page that leads to an address, in a file that only this user can read; gone when dropped. Arguments of programs are
/// seen by everybody on the machine.
#[derive(Debug)]
pub(super) struct Page(
    #[expect(dead_code, reason = "it is removed when dropped")] tempfile::TempDir,
);

/// Opens an address in a browser, or says why not.
fn open(address: &str, printer: Printer) -> Option<Page> {
    match opened(address) {
        Ok(page) => Some(page),
        Err(error) => {
            printer.note(&format!(
                "forge: no browser could be started ({}): open the address yourself",
                forge::plain::line(&error.to_string())
            ));
            None
        }
    }
}

fn opened(address: &str) -> std::io::Result<Page> {
    let folder = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o700))
        .tempdir()?;
    let path = folder.path().join("view.html");
    let mut new = OpenOptions::new();
    let mut file = new.write(true).create_new(true).mode(0o600).open(&path)?;
    writeln!(
        file,
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0;url={address}\"><title>forge</title><a href=\"{address}\">the run</a></html>"
    )?;
    // Of several, the first; see the variable in `man xdg-open`.
    let own = forge::settings::variable("BROWSER");
    let own = own.and_then(|it| it.split(':').next().map(str::to_owned));
    let usual = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    Command::new(own.as_deref().unwrap_or(usual))
        .arg(&path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    Ok(Page(folder))
}
