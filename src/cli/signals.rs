//! Signals: the first asks the run to stop, the second to hurry, the third ends the process at once.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use forge::event::{Event, StopCause, Subscriber};
use forge::exit::ExitCode as End;
use futures::StreamExt as _;
use futures::stream::SelectAll;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::print::Printer;

/// The run's folder, once it is known: where the third signal finds what is still alive.
static FOLDER: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Learns the run's folder from its first event.
pub(super) struct RemembersFolder(pub(super) PathBuf);

impl Subscriber for RemembersFolder {
    fn on_event(&mut self, event: &Event) {
        if let Some(plan) = event.kind.begins()
            && let Ok(mut folder) = FOLDER.lock()
        {
            *folder = Some(self.0.join(plan.run.to_string()));
        }
    }
}

/// Turns signals into causes, as long as the returned future is polled.
///
/// # Errors
/// When the system refuses a handler.
pub(super) fn listen() -> std::io::Result<(mpsc::Receiver<StopCause>, impl Future<Output = End>)> {
    let (tell, causes) = mpsc::channel(2);
    let mut signals = SelectAll::new();
    for (kind, cause) in [
        (SignalKind::interrupt(), StopCause::Interrupt),
        (SignalKind::terminate(), StopCause::Terminate),
        (SignalKind::hangup(), StopCause::HangUp),
    ] {
        if cause == StopCause::HangUp && is_ignored(kind) {
            // `nohup forge`: whoever started it so wants it to outlive the terminal.
            continue;
        }
        let handler: Signal = signal(kind)?;
        let stream = futures::stream::unfold(handler, move |mut handler| async move {
            handler.recv().await.map(|()| (cause, handler))
        });
        signals.push(stream.boxed());
    }
    let listen = async move {
        let mut count = 0;
        while let Some(cause) = signals.next().await {
            count += 1;
            if count > 2 {
                return give_up(cause);
            }
            let what = if count == 1 { "stopping" } else { "hurrying" };
            Printer::new().note(&format!(
                "forge: {}: {what}, deleting sandboxes",
                cause.as_str()
            ));
            // A run that is over does not listen any more.
            let _over = tell.try_send(cause);
        }
        std::future::pending().await
    };
    Ok((causes, listen))
}

/// Waits for the first signal that asks this process to end; kept for it from the call on.
///
/// # Errors
/// When the system refuses a handler.
pub(super) fn first() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = match SignalKind::hangup() {
        kind if is_ignored(kind) => None,
        kind => Some(signal(kind)?),
    };
    Ok(async move {
        let hangup = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup => {}
        }
    })
}

/// From now on, what passes the limit of a file's size is an error like that of a full disk, and not the end of
/// this process.
pub(super) fn outlive_limit_of_files() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build();
    // Where there are no descriptors for it, there is more to be said than this.
    if let Ok(runtime) = runtime {
        // The handler stays for good.
        runtime.block_on(async { signal(SignalKind::from_raw(libc::SIGXFSZ)).ok() });
    }
}

/// Whether a signal was being ignored when this process was started. Only Linux tells.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

/// The third signal: says what may still be alive.
fn give_up(cause: StopCause) -> End {
    let folder = FOLDER.lock().ok().and_then(|folder| folder.clone());
    let printer = Printer::new();
    printer.note("forge: ended without waiting for clean-up");
    if let Some(folder) = folder {
        print_open(printer, &folder);
    }
    end_of(cause)
}

/// How forge ends that was stopped before there was anything to report.
pub(super) const fn end_of(cause: StopCause) -> End {
    match cause {
        StopCause::Interrupt => End::Interrupted,
        StopCause::Terminate
        | StopCause::HangUp
        | StopCause::Deadline
        | StopCause::Infrastructure
        | StopCause::Unsaved
        | StopCause::Caller => End::Terminated,
    }
}

fn print_open(printer: Printer, folder: &Path) {
    for open in forge::sandbox::ledger::open_sandboxes(folder).unwrap_or_default() {
        let id = open.id.map_or_else(String::new, |id| format!(" (id {id})"));
        printer.note(&format!(
            "forge: may still be alive: {} sandbox {}{id}",
            open.provider, open.name
        ));
    }
}
