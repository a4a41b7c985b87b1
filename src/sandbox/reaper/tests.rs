//! One test a layer with the others switched off, and the property over random schedules.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Mutex;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use proptest::prelude::*;
use tokio::time::{Instant, sleep};

use super::*;
use crate::name::SandboxId;
use crate::sandbox::{
    ArtifactSink, Collect, Collected, Command, CommandResult, CreateFailed, Created, Layout,
    Listed, Networks, OutputSink, Presence, Trust, Upload,
};

/// What goes wrong in the next calls, in order; then everything goes well.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The request never arrives.
    LostBefore,
    /// It is carried out, but the reply is lost.
    LostAfter,
    /// It is carried out, and never answered.
    Hangs,
    /// It takes this many milliseconds.
    Slow(u64),
    Panics,
    /// Busy for now.
    Busy,
    /// Too many requests for now.
    Throttled,
    /// A create: refused, the pool is full. A delete: as none.
    Full,
    /// A create whose sandbox exists, and that fails later with the worst of errors. A delete: as none.
    FailsLater,
    /// A create whose sandbox exists, and is never ready. A delete: as none.
    NeverReady,
    /// A delete: begun, and over after this many milliseconds. A create: as none.
    Begins(u64),
    /// A delete: begun, and never over.
    Overstays,
    /// A delete: begun, fails, and is hidden by the provider.
    Hides,
    /// A delete: said not to be known, though it is there. A create: as none.
    Denies,
    /// A delete: refused for an hour. A create: as none.
    RestsAnHour,
}

/// How a sandbox is that the provider has.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Box_ {
    Alive,
    /// Gone from this time on.
    Ending(Instant),
    Overstays,
    Hidden,
}

/// A provider whose inventory outlives everything, with faults.
#[derive(Debug, Default)]
struct Faulty {
    boxes: Mutex<BTreeMap<SandboxName, Box_>>,
    /// One that hangs has made a sandbox on the way, which nobody deletes.
    admits: Mutex<Vec<Fault>>,
    creates: Mutex<Vec<Fault>>,
    deletes: Mutex<Vec<Fault>>,
    created: Mutex<u32>,
    most: Mutex<usize>,
    delete_calls: Mutex<u32>,
    looks: Mutex<u32>,
    refuses_deletes: bool,
    /// Whether the list shows what is alive.
    lists: bool,
    /// Whether the list fails.
    list_fails: bool,
    /// How many of the next lists show nothing.
    empty_lists: Mutex<u32>,
}

#[derive(Debug)]
struct Place(SandboxId, Layout);

impl Sandbox for Place {
    fn id(&self) -> &SandboxId {
        &self.0
    }
    fn layout(&self) -> &Layout {
        &self.1
    }
    fn isolation(&self) -> &'static str {
        "none"
    }
    fn upload<'a>(&'a self, _: &'a [Upload]) -> BoxFuture<'a, Result<(), SandboxError>> {
        async { Ok(()) }.boxed()
    }
    fn run<'a>(
        &'a self,
        _: &'a Command,
        _: &'a mut dyn OutputSink,
    ) -> BoxFuture<'a, Result<CommandResult, SandboxError>> {
        std::future::pending().boxed()
    }
    fn collect<'a>(
        &'a self,
        _: &'a Collect,
        _: &'a mut dyn ArtifactSink,
    ) -> BoxFuture<'a, Result<Collected, SandboxError>> {
        async { Ok(Collected::default()) }.boxed()
    }
}

fn fail(kind: ErrorKind) -> SandboxError {
    SandboxError::new(kind, "test", "injected")
}

fn next(faults: &Mutex<Vec<Fault>>) -> Fault {
    faults.lock().unwrap().pop().unwrap_or(Fault::None)
}

impl Faulty {
    fn boxes<T>(&self, look: impl FnOnce(&mut BTreeMap<SandboxName, Box_>) -> T) -> T {
        let mut boxes = self.boxes.lock().unwrap();
        let now = Instant::now();
        boxes.retain(|_, it| !matches!(it, Box_::Ending(at) if *at <= now));
        look(&mut boxes)
    }

    fn alive(&self) -> usize {
        self.boxes(|boxes| boxes.len())
    }

    fn put(&self, id: &SandboxId, state: Option<Box_>) {
        self.boxes(|boxes| {
            let name = SandboxName::existing(id.as_str());
            match state {
                Some(state) => drop(boxes.insert(name, state)),
                None => drop(boxes.remove(&name)),
            }
        });
    }

    fn presence(&self, id: &SandboxId) -> Presence {
        let name = SandboxName::existing(id.as_str());
        match self.boxes(|boxes| boxes.get(&name).copied()) {
            None | Some(Box_::Hidden) => Presence::Absent,
            Some(Box_::Alive) => Presence::Alive,
            Some(Box_::Ending(_) | Box_::Overstays) => Presence::Ending,
        }
    }
}

impl Provider for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn admit<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<(), SandboxError>> {
        async move {
            if next(&self.admits) == Fault::Hangs {
                let helper = SandboxId::new(format!("{}-layer", spec.name));
                self.put(&helper, Some(Box_::Alive));
                std::future::pending::<()>().await;
            }
            Ok(())
        }
        .boxed()
    }

    fn create<'a>(&'a self, spec: &'a SandboxSpec) -> BoxFuture<'a, Result<Created, CreateFailed>> {
        async move {
            let fault = next(&self.creates);
            if let Fault::Slow(ms) = fault {
                sleep(Duration::from_millis(ms)).await;
            }
            assert!(fault != Fault::Panics, "injected");
            match fault {
                Fault::LostBefore | Fault::Busy => {
                    return Err(CreateFailed::maybe(fail(ErrorKind::Unreachable)));
                }
                Fault::Throttled => return Err(CreateFailed::nothing(fail(ErrorKind::Throttled))),
                Fault::Full => return Err(CreateFailed::nothing(fail(ErrorKind::Quota))),
                Fault::None
                | Fault::LostAfter
                | Fault::Hangs
                | Fault::Slow(_)
                | Fault::Panics
                | Fault::FailsLater
                | Fault::NeverReady
                | Fault::Begins(_)
                | Fault::Overstays
                | Fault::Hides
                | Fault::Denies
                | Fault::RestsAnHour => {}
            }
            let alive = self.boxes(|boxes| {
                boxes.insert(spec.name.clone(), Box_::Alive);
                boxes.len()
            });
            *self.created.lock().unwrap() += 1;
            {
                let mut most = self.most.lock().unwrap();
                *most = alive.max(*most);
            }
            if fault == Fault::LostAfter {
                return Err(CreateFailed::maybe(fail(ErrorKind::Unreachable)));
            }
            if fault == Fault::Hangs {
                std::future::pending::<()>().await;
            }
            let layout = Layout {
                work: String::new(),
                artifacts: String::new(),
                forge: String::new(),
                tmp: String::new(),
            };
            let id = SandboxId::new(spec.name.as_str());
            let place: Box<dyn Sandbox> = Box::new(Place(id.clone(), layout));
            let ready = async move {
                if fault == Fault::NeverReady {
                    std::future::pending::<()>().await;
                }
                if fault == Fault::FailsLater {
                    return Err(fail(ErrorKind::Unauthorized));
                }
                Ok(place)
            };
            Ok(Created {
                id,
                ready: ready.boxed(),
            })
        }
        .boxed()
    }

    fn lags(&self) -> Duration {
        if *self.empty_lists.lock().unwrap() > 0 {
            Duration::from_secs(3)
        } else {
            Duration::ZERO
        }
    }

    fn delete<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
        async move {
            *self.delete_calls.lock().unwrap() += 1;
            if self.refuses_deletes {
                return Err(fail(ErrorKind::Forbidden));
            }
            if self.presence(id) != Presence::Alive {
                return Ok(self.presence(id));
            }
            match next(&self.deletes) {
                Fault::None | Fault::Full | Fault::FailsLater | Fault::NeverReady => {}
                Fault::Slow(ms) => sleep(Duration::from_millis(ms)).await,
                Fault::LostBefore => return Err(fail(ErrorKind::Unreachable)),
                Fault::Busy => return Err(fail(ErrorKind::Busy)),
                Fault::Throttled => return Err(fail(ErrorKind::Throttled)),
                Fault::Denies => return Ok(Presence::Absent),
                Fault::RestsAnHour => {
                    let mut error = fail(ErrorKind::Throttled);
                    error.retry_after = Some(Duration::from_secs(3600));
                    return Err(error);
                }
                Fault::Panics => panic!("injected"),
                Fault::LostAfter => {
                    self.put(id, None);
                    return Err(fail(ErrorKind::Unreachable));
                }
                Fault::Hangs => {
                    self.put(id, None);
                    sleep(Duration::from_secs(30)).await;
                    return Err(fail(ErrorKind::TimedOut));
                }
                Fault::Begins(ms) => {
                    let over = Instant::now() + Duration::from_millis(ms);
                    self.put(id, Some(Box_::Ending(over)));
                    return Ok(Presence::Ending);
                }
                Fault::Overstays => {
                    self.put(id, Some(Box_::Overstays));
                    return Ok(Presence::Ending);
                }
                Fault::Hides => {
                    self.put(id, Some(Box_::Hidden));
                    return Ok(Presence::Ending);
                }
            }
            self.put(id, None);
            Ok(Presence::Gone)
        }
        .boxed()
    }

    fn look<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
        *self.looks.lock().unwrap() += 1;
        async move { Ok(self.presence(id)) }.boxed()
    }

    fn find<'a>(
        &'a self,
        _: Option<&'a RunId>,
        name: &'a SandboxName,
    ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
        async move {
            let id = SandboxId::new(name.as_str());
            Ok((self.presence(&id) == Presence::Alive).then_some(id))
        }
        .boxed()
    }

    fn list<'a>(&'a self, _: &'a RunId) -> BoxFuture<'a, Result<Vec<Listed>, SandboxError>> {
        async move {
            if self.list_fails {
                return Err(fail(ErrorKind::Unauthorized));
            }
            {
                let mut empty = self.empty_lists.lock().unwrap();
                if *empty > 0 {
                    *empty -= 1;
                    return Ok(Vec::new());
                }
            }
            let listed = |(name, state): (&SandboxName, &Box_)| Listed {
                id: SandboxId::new(name.as_str()),
                name: name.clone(),
                presence: match state {
                    Box_::Alive => Presence::Alive,
                    Box_::Ending(_) | Box_::Overstays => Presence::Ending,
                    Box_::Hidden => Presence::Hidden("injected".to_owned()),
                },
            };
            Ok(self.boxes(|boxes| {
                let shown = boxes
                    .iter()
                    .filter(|(_, it)| self.lists || **it != Box_::Alive);
                shown.map(listed).collect()
            }))
        }
        .boxed()
    }
}

const OFF: Layers = Layers {
    drop_tells: false,
    registry: false,
    look_again: false,
};

/// More than most tests need.
const JOBS: usize = 100;

/// On the test's own runtime, so that its clock can be paused.
fn start(provider: &Arc<Faulty>, layers: Layers) -> (Reaper, watch::Sender<Stopping>) {
    start_for(JOBS, provider, layers)
}

/// The same, for so many jobs.
fn start_for(
    jobs: usize,
    provider: &Arc<Faulty>,
    layers: Layers,
) -> (Reaper, watch::Sender<Stopping>) {
    let (stop, stopping) = watch::channel(Stopping::No);
    let setting = Setting {
        provider: Arc::clone(provider) as Arc<dyn Provider>,
        run: RunId::generate(),
        ledger: Ledger::nowhere(),
        jobs,
        stopping,
        patience: Patience::default(),
        layers,
    };
    let (reaper, task) = Reaper::parts(setting, |_| ());
    #[expect(
        clippy::disallowed_methods,
        reason = "stands in for the reaper's own thread"
    )]
    let _detached = tokio::spawn(task);
    (reaper, stop)
}

fn spec(leaser: &Leaser) -> SandboxSpec {
    SandboxSpec {
        name: leaser.name("alpha"),
        run: leaser.run,
        labels: BTreeMap::new(),
        lifetime: Duration::from_secs(60),
        networks: Networks::default(),
        candidate: None,
        trust: Trust::Trusted,
        image: None,
        python: None,
        may_be_kept: false,
    }
}

async fn acquire(reaper: &Reaper) -> Result<Lease, SandboxError> {
    let leaser = reaper.leaser();
    leaser.acquire(spec(&leaser), None).await
}

/// So many trials, each of which holds a sandbox for so long, to the end of the last.
async fn trials(reaper: &Reaper, many: usize, each: Duration) {
    let trials = (0..many).map(|_| async {
        let lease = acquire(reaper).await.unwrap();
        sleep(each).await;
        drop(lease);
    });
    futures::future::join_all(trials).await;
}

async fn gone(provider: &Faulty) {
    for _ in 0..1000 {
        if provider.alive() == 0 {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("still alive: {:?}", provider.boxes.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn layer_2_a_dropped_lease_deletes_its_sandbox() {
    let provider = Arc::new(Faulty::default());
    let (reaper, _stop) = start(
        &provider,
        Layers {
            drop_tells: true,
            ..OFF
        },
    );
    let lease = acquire(&reaper).await.unwrap();
    assert_eq!(provider.alive(), 1);
    drop(lease);
    gone(&provider).await;
    assert_eq!(reaper.close().await.cleanup().deleted, 1);
}

#[tokio::test(start_paused = true)]
async fn layer_2_covers_a_panicking_trial() {
    let provider = Arc::new(Faulty::default());
    let (reaper, _stop) = start(
        &provider,
        Layers {
            drop_tells: true,
            ..OFF
        },
    );
    let leaser = reaper.leaser();
    let trial = async {
        let _lease = leaser.acquire(spec(&leaser), None).await.unwrap();
        panic!("injected");
    };
    assert!(AssertUnwindSafe(trial).catch_unwind().await.is_err());
    gone(&provider).await;
}

#[tokio::test(start_paused = true)]
async fn layer_3_a_cancelled_create_still_deletes_its_sandbox() {
    let provider = Arc::new(Faulty::default());
    provider.creates.lock().unwrap().push(Fault::Slow(5_000));
    let (reaper, _stop) = start(
        &provider,
        Layers {
            drop_tells: true,
            ..OFF
        },
    );
    let waited = tokio::time::timeout(Duration::from_secs(1), acquire(&reaper)).await;
    assert!(waited.is_err());
    sleep(Duration::from_secs(6)).await;
    gone(&provider).await;
    assert_eq!(*provider.created.lock().unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn layer_3_a_create_under_way_at_close_is_waited_for_and_deleted() {
    let provider = Arc::new(Faulty::default());
    provider.creates.lock().unwrap().push(Fault::Slow(40_000));
    let (reaper, _stop) = start(&provider, OFF);
    let waited = tokio::time::timeout(Duration::from_secs(1), acquire(&reaper)).await;
    assert!(waited.is_err());
    let report = reaper.close().await;
    assert_eq!(
        (*provider.created.lock().unwrap(), provider.alive()),
        (1, 0)
    );
    assert_eq!(report.cleanup().deleted, 1);
}

#[tokio::test(start_paused = true)]
async fn layer_4_a_leaked_lease_is_deleted_at_close() {
    let provider = Arc::new(Faulty::default());
    let (reaper, _stop) = start(
        &provider,
        Layers {
            registry: true,
            ..OFF
        },
    );
    let lease = Arc::new(acquire(&reaper).await.unwrap());
    let report = reaper.close().await;
    assert_eq!((provider.alive(), report.cleanup().deleted), (0, 1));
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn layer_5_a_dropped_reaper_closes_itself() {
    let provider = Arc::new(Faulty::default());
    let (reaper, _stop) = start(
        &provider,
        Layers {
            registry: true,
            ..OFF
        },
    );
    let lease = acquire(&reaper).await.unwrap();
    drop(reaper);
    gone(&provider).await;
    drop(lease);
}

#[tokio::test(start_paused = true)]
async fn layer_6_a_create_whose_reply_was_lost_is_found_by_name() {
    let provider = Arc::new(Faulty::default());
    provider.creates.lock().unwrap().push(Fault::LostAfter);
    let (reaper, _stop) = start(
        &provider,
        Layers {
            look_again: true,
            ..OFF
        },
    );
    assert!(acquire(&reaper).await.is_err());
    let report = reaper.close().await;
    assert_eq!((provider.alive(), report.cleanup().deleted), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn layer_6_what_no_name_is_known_of_is_found_by_label() {
    let provider = Arc::new(Faulty {
        lists: true,
        ..Faulty::default()
    });
    let (reaper, _stop) = start(
        &provider,
        Layers {
            look_again: true,
            ..OFF
        },
    );
    // Whoever has created nothing has no strangers.
    acquire(&reaper).await.unwrap().end(true);
    let stranger = SandboxName::new(&RunId::generate(), 7, "stranger");
    provider.boxes(|boxes| boxes.insert(stranger, Box_::Alive));
    let report = reaper.close().await;
    let cleanup = report.cleanup();
    assert_eq!(
        (provider.alive(), cleanup.deleted, cleanup.kept.len()),
        (1, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn layer_7_the_name_is_on_disk_before_the_create_leaves_and_the_id_before_anything_else() {
    /// Refuses to create what the ledger does not know.
    #[derive(Debug)]
    struct Reads(std::path::PathBuf, Faulty);
    impl Provider for Reads {
        fn name(&self) -> &'static str {
            "reads"
        }
        fn create<'a>(
            &'a self,
            spec: &'a SandboxSpec,
        ) -> BoxFuture<'a, Result<Created, CreateFailed>> {
            let folder = self.0.clone();
            let open = move || crate::sandbox::ledger::open_sandboxes(&folder).unwrap();
            assert!(
                open().iter().any(|open| open.name == spec.name),
                "the name is not in the ledger"
            );
            async move {
                let Created { id, ready } = self.1.create(spec).await?;
                let wanted = Some(id.clone());
                let ready = async move {
                    assert!(open().iter().any(|it| it.id == wanted), "the id is not");
                    ready.await
                };
                let ready = ready.boxed();
                Ok(Created { id, ready })
            }
            .boxed()
        }
        fn delete<'a>(
            &'a self,
            id: &'a SandboxId,
        ) -> BoxFuture<'a, Result<Presence, SandboxError>> {
            self.1.delete(id)
        }
        fn look<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Presence, SandboxError>> {
            self.1.look(id)
        }
        fn find<'a>(
            &'a self,
            run: Option<&'a RunId>,
            name: &'a SandboxName,
        ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
            self.1.find(run, name)
        }
        fn list<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<Vec<Listed>, SandboxError>> {
            self.1.list(run)
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let provider = Arc::new(Reads(folder.path().to_owned(), Faulty::default()));
    let (_stop, stopping) = watch::channel(Stopping::No);
    let reaper = Reaper::start(
        provider,
        RunId::generate(),
        Ledger::open(folder.path(), true).unwrap(),
        JOBS,
        stopping,
        Patience::default(),
    )
    .unwrap();
    let lease = acquire(&reaper).await.unwrap();
    drop(lease);
    let report = reaper.close().await;
    assert_eq!(report.cleanup().deleted, 1);
    assert_eq!(
        crate::sandbox::ledger::open_sandboxes(folder.path()).unwrap(),
        []
    );
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_what_is_made_ready_and_the_list_tells_what_that_left() {
    let provider = Arc::new(Faulty {
        lists: true,
        admits: vec![Fault::Hangs].into(),
        ..Faulty::default()
    });
    let (reaper, _stop) = start(&provider, Layers::ALL);
    let leaser = reaper.leaser();
    let began = Instant::now();
    let close = async {
        while provider.alive() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
        reaper.close().await
    };
    let (asked, report) = futures::join!(leaser.acquire(spec(&leaser), None), close);
    assert_eq!(asked.unwrap_err().kind, ErrorKind::Stopped);
    assert_eq!(report.cleanup().unconfirmed.len(), 0, "{report:?}");
    assert_eq!((report.cleanup().deleted, provider.alive()), (1, 0));
    assert!(began.elapsed() < Patience::default().hurry);
}

#[tokio::test(start_paused = true)]
async fn what_ends_is_looked_at_as_soon_as_the_run_is_told_to_stop() {
    let provider = Arc::new(Faulty {
        deletes: vec![Fault::Begins(10)].into(),
        ..Faulty::default()
    });
    let (reaper, stop) = start(&provider, Layers::ALL);
    drop(acquire(&reaper).await.unwrap());
    let looks = || *provider.looks.lock().unwrap();
    sleep(Patience::default().destruction / 4).await;
    assert_eq!(looks(), 0, "nobody waits for it");
    stop.send_replace(Stopping::Stop);
    sleep(Patience::default().destruction / 8).await;
    // The close, which waits for all of them, shall not be the first to look.
    assert_eq!(looks(), 1);
    assert_eq!(reaper.close().await.cleanup().deleted, 1);
    assert_eq!(looks(), 1);
}

#[tokio::test]
async fn a_name_that_the_disk_does_not_keep_creates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // A FIFO takes lines, and cannot be synced.
    let path = folder.path().join(crate::sandbox::ledger::FILE);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, 0o600.into()).unwrap();
    let _both_ends = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let provider = Arc::new(Faulty::default());
    let (_stop, stopping) = watch::channel(Stopping::No);
    let reaper = Reaper::start(
        Arc::clone(&provider) as Arc<dyn Provider>,
        RunId::generate(),
        Ledger::open(folder.path(), true).unwrap(),
        JOBS,
        stopping,
        Patience::default(),
    )
    .unwrap();
    let (one, other) = tokio::join!(acquire(&reaper), acquire(&reaper));
    for refused in [one, other] {
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Machine);
    }
    assert_eq!(reaper.close().await.cleanup(), &Cleanup::default());
    assert_eq!(*provider.created.lock().unwrap(), 0);
}

#[tokio::test]
async fn creates_that_come_together_are_all_in_the_ledger_first() {
    use crate::sandbox::ledger::open_sandboxes;

    let folder = tempfile::tempdir().unwrap();
    let (_stop, stopping) = watch::channel(Stopping::No);
    let reaper = Reaper::start(
        Arc::new(Faulty::default()),
        RunId::generate(),
        Ledger::open(folder.path(), true).unwrap(),
        JOBS,
        stopping,
        Patience::default(),
    )
    .unwrap();
    let leases: Vec<Lease> = futures::future::join_all((0..50).map(|_| acquire(&reaper)))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let open = open_sandboxes(folder.path()).unwrap();
    assert_eq!(open.iter().filter(|it| it.id.is_some()).count(), 50);
    drop(leases);
    assert_eq!(reaper.close().await.cleanup().deleted, 50);
    assert_eq!(open_sandboxes(folder.path()).unwrap(), []);
}

#[test]
fn a_runtime_that_is_dropped_waits_for_the_deletes() {
    let provider = Arc::new(Faulty::default());
    provider
        .deletes
        .lock()
        .unwrap()
        .extend([Fault::Slow(50), Fault::LostBefore]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (_stop, stopping) = watch::channel(Stopping::No);
        let reaper = Reaper::start(
            Arc::clone(&provider) as Arc<dyn Provider>,
            RunId::generate(),
            Ledger::nowhere(),
            JOBS,
            stopping,
            Patience {
                pause: Duration::from_millis(10),
                ..Patience::default()
            },
        )
        .unwrap();
        let _lease = acquire(&reaper).await.unwrap();
        // Everything is dropped here, unclosed.
    });
    drop(runtime);
    assert_eq!(
        (*provider.created.lock().unwrap(), provider.alive()),
        (1, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_kept_sandbox_is_left_and_named() {
    let provider = Arc::new(Faulty {
        lists: true,
        ..Faulty::default()
    });
    let (reaper, _stop) = start(&provider, Layers::ALL);
    let mut lease = acquire(&reaper).await.unwrap();
    let id = lease.id().clone();
    lease.end(true);
    drop(lease);
    let report = reaper.close().await;
    assert_eq!((provider.alive(), &report.cleanup().kept), (1, &vec![id]));
}

#[tokio::test(start_paused = true)]
async fn a_refused_delete_is_reported_never_hidden() {
    let provider = Arc::new(Faulty {
        refuses_deletes: true,
        lists: true,
        ..Faulty::default()
    });
    let (reaper, _stop) = start(&provider, Layers::ALL);
    drop(acquire(&reaper).await.unwrap());
    let report = reaper.close().await;
    let unconfirmed = &report.cleanup().unconfirmed;
    assert_eq!((unconfirmed.len(), report.cleanup().deleted), (1, 0));
    assert!(unconfirmed[0].id.is_some() && unconfirmed[0].error.contains("injected"));
}

#[tokio::test(start_paused = true)]
async fn a_delete_that_never_succeeds_is_not_waited_for_twice() {
    let provider = Arc::new(Faulty::default());
    let busy = vec![Fault::Busy; 1000];
    provider.deletes.lock().unwrap().extend(busy);
    let (reaper, _stop) = start(&provider, Layers::ALL);
    let lease = acquire(&reaper).await.unwrap();
    let began = Instant::now();
    drop(lease);
    let report = reaper.close().await;
    assert_eq!(report.cleanup().unconfirmed.len(), 1);
    // The clock is paused.
    let delete = Patience::default().delete;
    assert!(began.elapsed() > delete && began.elapsed() < delete * 3 / 2);
}

#[tokio::test(start_paused = true)]
async fn in_a_hurry_patience_is_short_but_not_none() {
    let provider = Arc::new(Faulty::default());
    provider
        .deletes
        .lock()
        .unwrap()
        .extend(vec![Fault::Busy; 1000]);
    let (reaper, stop) = start(&provider, Layers::ALL);
    let leases = [
        acquire(&reaper).await.unwrap(),
        acquire(&reaper).await.unwrap(),
    ];
    stop.send_replace(Stopping::Hurry);
    let began = Instant::now();
    drop(leases);
    let report = reaper.close().await;
    assert_eq!(report.cleanup().unconfirmed.len(), 2);
    assert!(*provider.delete_calls.lock().unwrap() > 4);
    // Once at the release, once when looking again. The clock is paused.
    assert!(began.elapsed() <= Patience::default().hurry * 2);
}

#[tokio::test(start_paused = true)]
async fn a_create_that_does_not_end_is_reported_never_taken_for_none() {
    let provider = Arc::new(Faulty::default());
    provider.creates.lock().unwrap().push(Fault::Slow(60_000));
    let (reaper, stop) = start(&provider, Layers::ALL);
    let waiting = tokio::time::timeout(Duration::from_millis(100), acquire(&reaper)).await;
    assert!(waiting.is_err());
    stop.send_replace(Stopping::Hurry);
    assert_eq!(reaper.close().await.cleanup().unconfirmed.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn in_a_hurry_a_create_under_way_is_waited_for_and_deleted() {
    let provider = Arc::new(Faulty::default());
    provider.creates.lock().unwrap().push(Fault::Slow(2000));
    let (reaper, stop) = start(&provider, Layers::ALL);
    let waiting = tokio::time::timeout(Duration::from_millis(100), acquire(&reaper)).await;
    assert!(waiting.is_err());
    stop.send_replace(Stopping::Hurry);
    let report = reaper.close().await;
    assert_eq!(report.cleanup().unconfirmed, []);
    assert_eq!(provider.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn deletes_run_side_by_side() {
    let provider = Arc::new(Faulty::default());
    provider
        .deletes
        .lock()
        .unwrap()
        .extend(vec![Fault::Slow(300); 100]);
    let (reaper, _stop) = start(&provider, Layers::ALL);
    let leases = futures::future::try_join_all((0..100).map(|_| acquire(&reaper)))
        .await
        .unwrap();
    drop(leases);
    // The clock is paused: this is the time that the plan takes, not the machine.
    let began = Instant::now();
    assert_eq!(reaper.close().await.cleanup().deleted, 100);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_whose_answer_came_is_never_forgotten_whatever_fails_after_that() {
    for fault in [Fault::FailsLater, Fault::NeverReady] {
        let provider = Arc::new(Faulty {
            list_fails: true,
            ..Faulty::default()
        });
        provider.creates.lock().unwrap().push(fault);
        let (reaper, _stop) = start(&provider, Layers::ALL);
        let waited = tokio::time::timeout(Duration::from_secs(1), acquire(&reaper)).await;
        assert!(!matches!(waited, Ok(Ok(_))), "{fault:?}");
        let report = reaper.close().await;
        let cleanup = report.cleanup();
        assert_eq!((provider.alive(), cleanup.deleted), (0, 1), "{fault:?}");
        assert_eq!(cleanup.unconfirmed, [], "seen gone, {fault:?}");
        assert!(cleanup.unlisted.is_some(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_is_never_answered_is_found_by_its_name_at_once_when_closing() {
    let provider = Arc::new(Faulty::default());
    provider.creates.lock().unwrap().push(Fault::Hangs);
    let (reaper, _stop) = start(&provider, Layers::ALL);
    let waited = tokio::time::timeout(Duration::from_secs(1), acquire(&reaper)).await;
    assert!(waited.is_err());
    let began = Instant::now();
    let report = reaper.close().await;
    assert_eq!((provider.alive(), report.cleanup().deleted), (0, 1));
    // The clock is paused.
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_destruction_that_fails_or_overstays_is_named_never_called_deleted() {
    for (fault, words) in [(Fault::Hides, "hides"), (Fault::Overstays, "has not ended")] {
        let provider = Arc::new(Faulty::default());
        provider.deletes.lock().unwrap().push(fault);
        let (reaper, _stop) = start(&provider, Layers::ALL);
        drop(acquire(&reaper).await.unwrap());
        drop(acquire(&reaper).await.unwrap());
        let report = reaper.close().await;
        let unconfirmed = &report.cleanup().unconfirmed;
        assert_eq!((unconfirmed.len(), report.cleanup().deleted), (1, 1));
        assert!(unconfirmed[0].error.contains(words), "{unconfirmed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn not_to_be_found_is_not_to_be_gone_when_the_list_fails() {
    let provider = Arc::new(Faulty {
        list_fails: true,
        ..Faulty::default()
    });
    provider.deletes.lock().unwrap().push(Fault::Begins(500));
    let (reaper, _stop) = start(&provider, Layers::ALL);
    drop(acquire(&reaper).await.unwrap());
    let report = reaper.close().await;
    assert_eq!(report.cleanup().unconfirmed.len(), 1);
    assert!(report.cleanup().unlisted.is_some());
}

#[tokio::test(start_paused = true)]
async fn where_deletes_are_refused_no_more_than_the_jobs_are_left_behind() {
    let provider = Arc::new(Faulty {
        refuses_deletes: true,
        lists: true,
        ..Faulty::default()
    });
    let (reaper, _stop) = start(&provider, Layers::ALL);
    let leaser = reaper.leaser();
    let mut refused = 0;
    for _ in 0..JOBS + 20 {
        match leaser.acquire(spec(&leaser), None).await {
            Ok(lease) => drop(lease),
            Err(error) => {
                assert!(error.message.contains("cannot be deleted"), "{error}");
                refused += 1;
            }
        }
    }
    let report = reaper.close().await;
    assert_eq!((refused, provider.alive()), (20, JOBS));
    assert_eq!(report.cleanup().unconfirmed.len(), JOBS);
}

#[tokio::test(start_paused = true)]
async fn in_a_hurry_too_a_list_is_believed_only_when_it_has_caught_up() {
    for stopping in [Stopping::No, Stopping::Hurry] {
        let provider = Arc::new(Faulty {
            empty_lists: Mutex::new(1),
            ..Faulty::default()
        });
        provider.deletes.lock().unwrap().push(Fault::Hides);
        let (reaper, stop) = start(&provider, Layers::ALL);
        let lease = acquire(&reaper).await.unwrap();
        stop.send_replace(stopping);
        drop(lease);
        let report = reaper.close().await;
        assert_eq!(report.cleanup().unconfirmed.len(), 1, "{stopping:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_denied_and_listed_is_deleted_again_or_named() {
    for (denials, unconfirmed) in [(1, 0), (1000, 1)] {
        let provider = Arc::new(Faulty {
            lists: true,
            ..Faulty::default()
        });
        let faults = vec![Fault::Denies; denials];
        provider.deletes.lock().unwrap().extend(faults);
        let (reaper, _stop) = start(&provider, Layers::ALL);
        drop(acquire(&reaper).await.unwrap());
        let report = reaper.close().await;
        let cleanup = report.cleanup();
        assert_eq!(
            (cleanup.unconfirmed.len(), provider.alive()),
            (unconfirmed, unconfirmed)
        );
        assert_eq!(cleanup.deleted, 1 - unconfirmed as u64);
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_wants_an_hour_of_rest_is_asked_again_before() {
    let provider = Arc::new(Faulty::default());
    provider.deletes.lock().unwrap().push(Fault::RestsAnHour);
    let (reaper, _stop) = start(&provider, Layers::ALL);
    drop(acquire(&reaper).await.unwrap());
    let report = reaper.close().await;
    assert_eq!((report.cleanup().deleted, provider.alive()), (1, 0));
    assert_eq!(report.cleanup().unconfirmed, []);
}

#[tokio::test(start_paused = true)]
async fn a_slot_is_free_when_its_sandbox_is_gone_and_not_before() {
    let provider = Arc::new(Faulty::default());
    let faults = vec![Fault::Begins(2_000); 40];
    provider.deletes.lock().unwrap().extend(faults);
    let (reaper, _stop) = start_for(4, &provider, Layers::ALL);
    trials(&reaper, 40, Duration::from_millis(100)).await;
    let report = reaper.close().await;
    assert_eq!((report.cleanup().deleted, provider.alive()), (40, 0));
    assert_eq!(*provider.most.lock().unwrap(), 4);
}

#[tokio::test(start_paused = true)]
async fn of_the_first_that_end_together_none_holds_its_slot_after_one_was_seen_gone() {
    let provider = Arc::new(Faulty::default());
    let faults = vec![Fault::Begins(0); 80];
    provider.deletes.lock().unwrap().extend(faults);
    let (reaper, _stop) = start_for(40, &provider, Layers::ALL);
    let run = Duration::from_millis(100);
    let began = Instant::now();
    trials(&reaper, 80, run).await;
    let took = began.elapsed();
    assert!(took < run * 2 + run / 4, "{took:?}");
    assert_eq!(reaper.close().await.cleanup().deleted, 80);
    assert_eq!(*provider.looks.lock().unwrap(), 80);
}

#[tokio::test(start_paused = true)]
async fn where_sandboxes_are_gone_at_once_the_close_finds_no_looks_left_to_do() {
    let provider = Arc::new(Faulty {
        deletes: vec![Fault::Begins(0); 3].into(),
        ..Faulty::default()
    });
    let (reaper, _stop) = start_for(1, &provider, Layers::ALL);
    for _ in 0..3 {
        drop(acquire(&reaper).await.unwrap());
    }
    sleep(Duration::from_millis(10)).await;
    assert_eq!(*provider.looks.lock().unwrap(), 3);
    assert_eq!(reaper.close().await.cleanup().deleted, 3);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_slot_hears_why_and_gets_one() {
    let provider = Arc::new(Faulty::default());
    let full = vec![Fault::Full; 5];
    provider.creates.lock().unwrap().extend(full);
    let (reaper, _stop) = start(&provider, Layers::ALL);
    let leaser = reaper.leaser();
    let (waits, mut heard) = mpsc::unbounded_channel();
    let lease = leaser.acquire(spec(&leaser), Some(waits)).await.unwrap();
    assert_eq!(heard.try_recv().unwrap(), "injected");
    drop(lease);
    assert_eq!(reaper.close().await.cleanup().deleted, 1);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_stays_full_is_one_error_for_all_who_wait() {
    let provider = Arc::new(Faulty::default());
    let full = vec![Fault::Full; 1000];
    provider.creates.lock().unwrap().extend(full);
    let (reaper, _stop) = start(&provider, Layers::ALL);
    let asks = (0..10).map(|_| acquire(&reaper));
    for refused in futures::future::join_all(asks).await {
        assert_eq!(refused.unwrap_err().kind, ErrorKind::Quota);
    }
    assert!(reaper.close().await.cleanup().unconfirmed.is_empty());
}

/// What a caller does with one sandbox.
#[derive(Debug, Clone, Copy)]
enum Caller {
    Drops,
    Leaks,
    GivesUpAfter(u64),
    HoldsFor(u64),
}

/// What may befall a create and, after it, a delete; nothing of it lasts.
fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::LostBefore),
        1 => Just(Fault::LostAfter),
        1 => Just(Fault::Hangs),
        2 => (0..20_000_u64).prop_map(Fault::Slow),
        1 => Just(Fault::Panics),
        1 => Just(Fault::Busy),
        1 => Just(Fault::Throttled),
        1 => Just(Fault::Full),
        1 => Just(Fault::FailsLater),
        1 => Just(Fault::NeverReady),
        2 => (0..5_000_u64).prop_map(Fault::Begins),
    ]
}

/// The same, and destructions that fail.
fn lasting() -> impl Strategy<Value = Fault> {
    prop_oneof![3 => fault(), 1 => Just(Fault::Overstays), 1 => Just(Fault::Hides)]
}

fn caller() -> impl Strategy<Value = Caller> {
    prop_oneof![
        Just(Caller::Drops),
        Just(Caller::Leaks),
        (0..10_000_u64).prop_map(Caller::GivesUpAfter),
        (0..10_000_u64).prop_map(Caller::HoldsFor),
    ]
}

async fn play(leaser: Leaser, caller: Caller) -> Option<Lease> {
    let acquire = leaser.acquire(spec(&leaser), None);
    match caller {
        Caller::Drops => drop(acquire.await),
        Caller::Leaks => return acquire.await.ok(),
        Caller::GivesUpAfter(ms) => {
            drop(tokio::time::timeout(Duration::from_millis(ms), acquire).await);
        }
        Caller::HoldsFor(ms) => {
            let lease = acquire.await;
            sleep(Duration::from_millis(ms)).await;
            drop(lease);
        }
    }
    None
}

/// Runs it to its end on a clock that stands still while there is something to do.
fn with_paused_clock(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(work);
}

/// Plays a schedule and says what the reaper reports.
async fn schedule(
    provider: &Arc<Faulty>,
    callers: Vec<Caller>,
    closes_after: u64,
    stopping: Stopping,
) -> Cleanup {
    let (reaper, stop) = start(provider, Layers::ALL);
    let leaser = reaper.leaser();
    let plays = callers.into_iter().map(|it| play(leaser.clone(), it));
    let close = async {
        sleep(Duration::from_millis(closes_after)).await;
        stop.send_replace(stopping);
        reaper.close().await
    };
    let (_leaked, report) = futures::join!(futures::future::join_all(plays), close);
    report.cleanup().clone()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_left_alive_whatever_the_schedule(
        creates in prop::collection::vec(fault(), 0..12),
        deletes in prop::collection::vec(fault(), 0..12),
        callers in prop::collection::vec(caller(), 1..10),
        closes_after in 0..15_000_u64,
        closes_by_drop in any::<bool>(),
    ) {
        with_paused_clock(async {
            let provider = Arc::new(Faulty { lists: true, ..Faulty::default() });
            *provider.creates.lock().unwrap() = creates;
            *provider.deletes.lock().unwrap() = deletes;
            let (reaper, _stop) = start(&provider, Layers::ALL);
            let leaser = reaper.leaser();
            let plays = futures::future::join_all(
                callers.into_iter().map(|caller| play(leaser.clone(), caller)),
            );
            let close = async {
                sleep(Duration::from_millis(closes_after)).await;
                if closes_by_drop {
                    drop(reaper);
                    None
                } else {
                    Some(reaper.close().await)
                }
            };
            let (leaked, report) = futures::join!(plays, close);
            if let Some(report) = report {
                assert_eq!(report.cleanup().unconfirmed, []);
                assert_eq!(provider.alive(), 0, "alive when close had returned");
            }
            assert!(*provider.most.lock().unwrap() <= JOBS);
            for _ in 0..100_000 {
                if provider.alive() == 0 {
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(provider.alive(), 0);
            drop(leaked);
        });
    }

    #[test]
    fn what_is_alive_at_the_end_is_named_whatever_the_schedule(
        creates in prop::collection::vec(lasting(), 0..12),
        deletes in prop::collection::vec(lasting(), 0..12),
        callers in prop::collection::vec(caller(), 1..10),
        closes_after in 0..15_000_u64,
        stopping in prop_oneof![Just(Stopping::No), Just(Stopping::Stop), Just(Stopping::Hurry)],
        lists in any::<bool>(),
        list_fails in any::<bool>(),
    ) {
        with_paused_clock(async {
            let provider = Arc::new(Faulty { lists, list_fails, ..Faulty::default() });
            *provider.creates.lock().unwrap() = creates;
            *provider.deletes.lock().unwrap() = deletes;
            let cleanup = schedule(&provider, callers, closes_after, stopping).await;
            let named: Vec<&str> = cleanup.unconfirmed.iter().map(|it| it.name.as_str()).collect();
            provider.boxes(|boxes| {
                for name in boxes.keys() {
                    assert!(named.contains(&name.as_str()), "{name} is alive and not named");
                }
            });
            let created = u64::from(*provider.created.lock().unwrap());
            assert!(cleanup.deleted <= created, "{} of {created}", cleanup.deleted);
        });
    }
}
