//! The process itself: leaves everything that could end it with forge, waits, and deletes when forge is gone.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::FileType;
use tokio::time::{Instant, sleep};

use super::charter::Charter;
use super::log::Log;
use super::{ARGUMENT, GOODBYE, NAME, READY, Rebuild};
use crate::event::Cleanup;
use crate::redact::Redactor;
use crate::sandbox::container::{ContainerOptions, Containers};
use crate::sandbox::daytona::{self, Daytona};
use crate::sandbox::ledger::Ledger;
use crate::sandbox::local::{disinherit, ignore_stops, this_program};
use crate::sandbox::reaper::{Inherited, Patience, end_inherited};
use crate::sandbox::recipe::{Proxies, Recipe};
use crate::sandbox::{ErrorKind, Provider, SandboxError};
use crate::secret::Secret;

/// The first argument of one that has left forge's session, and is run once more where it inherited descriptors: only so
/// those are closed of which nobody here knows.
const APART: &str = "__watch-apart";
/// How it exits when it was not started by forge.
const NOT_ASKED: u8 = 73;
/// How long it goes on trying. After that there are the sandboxes' expiry and `forge sweep`.
const LIFE: Duration = Duration::from_secs(300);
/// The first and the longest pause between two rounds.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Serves as a watch if that is what this process was started for.
pub(super) fn serve_if_wanted(arguments: &[OsString], own: &[(&str, Rebuild)]) -> Option<ExitCode> {
    let [_, word, run] = arguments else {
        return None;
    };
    let end = if word == ARGUMENT {
        leave(run, own)
    } else if word == APART {
        serve(own)
    } else {
        return None;
    };
    Some(end.unwrap_or_else(|_| ExitCode::from(NOT_ASKED)))
}

/// Leaves forge's session, its terminal and its signals, and all descriptors but the socket and the ledger; then serves.
fn leave(run: &OsStr, own: &[(&str, Rebuild)]) -> io::Result<ExitCode> {
    if kind(io::stdin())? != FileType::Socket {
        return Err(io::ErrorKind::NotConnected.into());
    }
    disinherit();
    ignore_stops();
    // Refused only to the leader of a group, which a process that was just started is not.
    rustix::process::setsid()?;
    if inherits_nothing() {
        return serve(own);
    }
    let program = this_program().ok_or(io::ErrorKind::NotFound)?;
    let error = Command::new(program)
        .arg0(NAME)
        .args([OsStr::new(APART), run])
        .exec();
    let mut socket = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?);
    refuse(&mut socket, &error.to_string())
}

/// Whether nothing is open but the three that every process has. Not known where the system does not tell.
fn inherits_nothing() -> bool {
    // The fourth is what they are read by.
    std::fs::read_dir("/proc/self/fd").is_ok_and(|open| open.count() == 4)
}

/// Says why there is no watch.
fn refuse(socket: &mut UnixStream, why: &str) -> io::Result<ExitCode> {
    socket.write_all(&[&[READY + 1], why.as_bytes()].concat())?;
    Ok(ExitCode::FAILURE)
}

fn kind(of: impl rustix::fd::AsFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(of)?.st_mode))
}

/// Waits for forge's end; deletes when that came without a goodbye.
fn serve(own: &[(&str, Rebuild)]) -> io::Result<ExitCode> {
    if kind(io::stdin())? != FileType::Socket {
        return Err(io::ErrorKind::NotConnected.into());
    }
    let mut socket = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?);
    let out = rustix::stdio::stdout();
    let ledger = if kind(out)? == FileType::RegularFile {
        Some(File::from(rustix::io::fcntl_dupfd_cloexec(out, 3)?))
    } else {
        None
    };
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(null);
    #[cfg(target_os = "linux")]
    rustix::thread::set_name(c"sandbox-watch").ok();
    let charter = Charter::read(&mut socket)?;
    let recipe = charter.recipe();
    if let Some(Recipe::Own { name, .. }) = &recipe
        && !own.iter().any(|(known, _)| known == name)
    {
        let why = format!("nothing is known by which `{name}` is made anew");
        return refuse(&mut socket, &why);
    }
    // Until then it only waits, and most of what it has in memory is its own program.
    crate::sandbox::local::let_go_of_program();
    socket.write_all(&[READY])?;
    if says_goodbye(&mut socket) {
        return Ok(ExitCode::SUCCESS);
    }
    drop(socket);
    if let Some(recipe) = recipe {
        delete(&charter, &recipe, ledger, own)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for a goodbye; false when forge is gone without one.
fn says_goodbye(socket: &mut UnixStream) -> bool {
    let mut byte = [0];
    loop {
        match socket.read(&mut byte) {
            Ok(read) => return read == 1 && byte == [GOODBYE],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}

fn delete(
    charter: &Charter,
    recipe: &Recipe,
    ledger: Option<File>,
    own: &[(&str, Rebuild)],
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let began = Instant::now();
    let log = Log::new(&charter.folder, redactor(recipe, &charter.proxies()));
    let all = async {
        let rounds = until_clean(charter, recipe, ledger, own, &log, began);
        if tokio::time::timeout(LIFE, rounds).await.is_err() {
            log.line(&format!(
                "gave up after {}; `forge sweep --run {}` deletes what is left, if it does not expire before",
                crate::quantity::show_duration(LIFE),
                charter.run
            ));
        }
    };
    runtime.block_on(all);
    // Not waited for: whatever still looks up a name.
    runtime.shutdown_background();
    Ok(())
}

/// Deletes, as often as that takes.
async fn until_clean(
    charter: &Charter,
    recipe: &Recipe,
    ledger: Option<File>,
    own: &[(&str, Rebuild)],
    log: &Log,
    began: Instant,
) {
    let share = || match &ledger {
        Some(file) => file.try_clone().map(Ledger::adopt),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    let mut pause = PAUSE.0;
    let mut is_first = true;
    loop {
        let open = share().and_then(|ledger| ledger.open_sandboxes());
        let left = open.as_ref().map(|open| open.iter().filter(|it| !it.kept));
        let left = left.map(Iterator::count);
        // The run's label may tell more: what sandboxes are made from may be made in one, which is in no ledger.
        let is_closed = matches!(left, Ok(0));
        match left {
            Ok(count) if is_first && count > 0 => log.line(&format!(
                "forge ended without a goodbye; sandboxes not known to be gone: {count}"
            )),
            Err(error) if is_first => log.line(&format!(
                "forge ended without a goodbye; its ledger cannot be read ({error}): the run's label tells"
            )),
            Ok(_) | Err(_) => {}
        }
        is_first = false;
        match rebuild(recipe, &charter.proxies(), own) {
            Ok(provider) => {
                let inherited = Inherited {
                    settled: began + provider.settles(),
                    provider,
                    run: charter.run,
                    ledger: share().unwrap_or_else(|_| Ledger::nowhere()),
                    open: open.ok(),
                };
                let report = end_inherited(inherited, patience()).await;
                let cleanup = report.cleanup();
                let is_nothing = is_closed && cleanup.deleted == 0 && is_clean(cleanup);
                // Only what there was to do is written down.
                if is_nothing || told(cleanup, log, began) {
                    return;
                }
            }
            Err(error) => log.line(&error.to_string()),
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// As much as there is time: nobody waits.
fn patience() -> Patience {
    Patience {
        hurry: LIFE,
        ..Patience::default()
    }
}

/// Writes down what a round came to; whether nothing is left.
fn told(cleanup: &Cleanup, log: &Log, began: Instant) -> bool {
    for left in &cleanup.unconfirmed {
        let id = left
            .id
            .as_ref()
            .map_or_else(String::new, |id| format!(" (id {id})"));
        log.line(&format!(
            "not confirmed deleted: {}{id}: {}",
            left.name, left.error
        ));
    }
    if let Some(why) = &cleanup.unlisted {
        log.line(&format!("could not list the run's sandboxes: {why}"));
    }
    let is_clean = is_clean(cleanup);
    let after = crate::quantity::show_duration(began.elapsed());
    let deleted = cleanup.deleted;
    log.line(&if is_clean {
        format!("deleted: {deleted}; nothing is left, {after} after forge's end")
    } else {
        format!("deleted: {deleted}; {after} after forge's end it is tried again")
    });
    is_clean
}

fn is_clean(cleanup: &Cleanup) -> bool {
    cleanup.unconfirmed.is_empty() && cleanup.unlisted.is_none()
}

fn rebuild(
    recipe: &Recipe,
    proxies: &Proxies,
    own: &[(&str, Rebuild)],
) -> Result<Arc<dyn Provider>, SandboxError> {
    match recipe {
        Recipe::Daytona(what) => Ok(Arc::new(Daytona::from_recipe(what, proxies)?)),
        Recipe::Containers { address, settles } => {
            let address = address.parse().map_err(|why: String| {
                SandboxError::new(ErrorKind::Invalid, "make the provider anew", why)
            })?;
            let options = ContainerOptions {
                settles: *settles,
                ..ContainerOptions::default()
            };
            Ok(Arc::new(Containers::new(&address, options)?))
        }
        Recipe::Own { name, what } => match own.iter().find(|(known, _)| known == name) {
            Some((_, rebuild)) => rebuild(what, proxies),
            None => Err(SandboxError::new(
                ErrorKind::Invalid,
                "make the provider anew",
                format!("nothing is known by which `{name}` is"),
            )),
        },
    }
}

/// Everything that the log must not hold.
fn redactor(recipe: &Recipe, proxies: &Proxies) -> Redactor {
    let mut secrets = match recipe {
        Recipe::Daytona(what) => daytona::key_of(what).into_iter().collect(),
        Recipe::Containers { .. } => Vec::new(),
        Recipe::Own { what, .. } => vec![what.clone()],
    };
    // `http://user:password@host`
    let password = proxies.https.as_ref().and_then(|proxy| {
        let (who, _) = proxy.expose().rsplit_once('@')?;
        let (_, password) = who.rsplit_once(':')?;
        Some(Secret::new(password))
    });
    secrets.extend(password);
    Redactor::new(secrets)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt as _;
    use futures::future::BoxFuture;

    use super::*;
    use crate::name::{RunId, SandboxId, SandboxName};
    use crate::sandbox::{CreateFailed, Created, Listed, Presence, SandboxSpec};

    const RECIPE: &str = "the recipe";

    fn mine(what: &Secret, _proxies: &Proxies) -> Result<Arc<dyn Provider>, SandboxError> {
        let error = SandboxError::new(ErrorKind::Invalid, "make mine anew", what.expose());
        Err(error)
    }

    #[test]
    fn a_provider_of_ones_own_is_made_by_the_function_of_its_name() {
        let made = |name: &str| {
            let name = name.to_owned();
            let what = Secret::new(RECIPE);
            let own: [(&str, Rebuild); 1] = [("mine", mine)];
            let made = rebuild(&Recipe::Own { name, what }, &Proxies::default(), &own);
            made.unwrap_err().message
        };
        assert_eq!(made("mine"), RECIPE);
        assert!(made("yours").contains("`yours`"));
    }

    /// Has one sandbox, of which only the run's label tells.
    #[derive(Debug)]
    struct Labelled;

    /// Whether it is there, and how often somebody has asked for the list.
    static LABELLED: Mutex<(bool, u32)> = Mutex::new((true, 0));

    impl Provider for Labelled {
        fn name(&self) -> &'static str {
            "labelled"
        }
        fn create<'a>(
            &'a self,
            _: &'a SandboxSpec,
        ) -> BoxFuture<'a, Result<Created, CreateFailed>> {
            std::future::pending().boxed()
        }
        fn delete<'a>(&'a self, _: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
            LABELLED.lock().unwrap().0 = false;
            async { Ok(Presence::Gone) }.boxed()
        }
        fn look<'a>(&'a self, _: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
            async { Ok(Presence::Absent) }.boxed()
        }
        fn find<'a>(
            &'a self,
            _: Option<&'a RunId>,
            _: &'a SandboxName,
        ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
            async { Ok(None) }.boxed()
        }
        fn list<'a>(&'a self, _: &'a RunId) -> BoxFuture<'a, Result<Vec<Listed>, SandboxError>> {
            let mut labelled = LABELLED.lock().unwrap();
            labelled.1 += 1;
            let listed = labelled.0.then(|| Listed {
                id: SandboxId::new("1"),
                name: SandboxName::existing("forge-1-layer"),
                presence: Presence::Alive,
            });
            async { Ok(listed.into_iter().collect()) }.boxed()
        }
    }

    fn labelled(what: &Secret, proxies: &Proxies) -> Result<Arc<dyn Provider>, SandboxError> {
        if what.expose() != RECIPE {
            return mine(what, proxies);
        }
        Ok(Arc::new(Labelled))
    }

    #[tokio::test(start_paused = true)]
    async fn the_list_is_asked_for_also_when_the_ledger_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let (name, what) = ("labelled".to_owned(), Secret::new(RECIPE));
        let recipe = Recipe::Own { name, what };
        let charter = Charter::new(
            RunId::generate(),
            folder.path().to_owned(),
            Some(&recipe),
            &Proxies::default(),
        );
        let own: [(&str, Rebuild); 1] = [("labelled", labelled)];
        let log = Log::new(folder.path(), Redactor::new(Vec::new()));
        let written = || std::fs::read_to_string(folder.path().join(crate::watch::LOG)).ok();
        let ledger = Ledger::open(folder.path(), false).unwrap();
        let end = async || {
            let ledger = ledger.share().unwrap();
            until_clean(&charter, &recipe, ledger, &own, &log, Instant::now()).await;
        };
        end().await;
        assert!(!LABELLED.lock().unwrap().0, "it is there");
        let said = written().unwrap();
        assert!(said.contains("deleted: 1; nothing is left"), "{said}");
        // One call, and nothing to be told, where there is nothing.
        LABELLED.lock().unwrap().1 = 0;
        end().await;
        assert_eq!(LABELLED.lock().unwrap().1, 1);
        assert_eq!(written(), Some(said));
    }

    #[test]
    fn neither_key_nor_password_is_in_a_log() {
        let what = Secret::new("key-0123456789");
        let name = "mine".to_owned();
        let proxies = Proxies {
            https: Some(Secret::new("http://me:password@proxy:8080")),
            except: String::new(),
        };
        let redactor = redactor(&Recipe::Own { name, what }, &proxies);
        let text = redactor.text("key-0123456789 by proxy:8080 with password");
        assert_eq!(text, "*** by proxy:8080 with ***");
    }

    #[test]
    fn only_what_was_started_as_a_watch_serves_as_one() {
        let check = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            assert!(serve_if_wanted(&words, &[]).is_none(), "{words:?}");
        };
        check(&["forge"]);
        check(&["forge", ARGUMENT]);
        check(&["forge", "run", "task"]);
        check(&["forge", ARGUMENT, "run", "more"]);
    }
}
