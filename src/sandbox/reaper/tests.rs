//! One test a layer with the others switched off, and the property over random schedules.

use std::collections::BTreeSet;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;
use crate::sandbox::{
    ArtifactSink, Collect, Collected, Command, CommandResult, Layout, Listed, Network, OutputSink,
    Trust, Upload,
};

/// What goes wrong in the next calls, in order; then everything goes well.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The request never arrives.
    LostBefore,
    /// It is carried out, but the reply is lost.
    LostAfter,
    /// It takes this many milliseconds.
    Slow(u64),
    Panics,
    /// Busy for now.
    Busy,
}

/// A provider whose inventory outlives everything, with faults.
#[derive(Debug, Default)]
struct Faulty {
    alive: Mutex<BTreeSet<SandboxName>>,
    creates: Mutex<Vec<Fault>>,
    deletes: Mutex<Vec<Fault>>,
    created: Mutex<u32>,
    delete_calls: Mutex<u32>,
    refuses_deletes: bool,
    lists: bool,
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
    fn alive(&self) -> usize {
        self.alive.lock().unwrap().len()
    }
}

impl Provider for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn create<'a>(
        &'a self,
        spec: &'a SandboxSpec,
    ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>> {
        async move {
            let fault = next(&self.creates);
            if let Fault::Slow(ms) = fault {
                sleep(Duration::from_millis(ms)).await;
            }
            assert!(fault != Fault::Panics, "injected");
            if fault == Fault::LostBefore || fault == Fault::Busy {
                return Err(fail(ErrorKind::Unreachable));
            }
            self.alive.lock().unwrap().insert(spec.name.clone());
            *self.created.lock().unwrap() += 1;
            if fault == Fault::LostAfter {
                return Err(fail(ErrorKind::Unreachable));
            }
            let layout = Layout {
                work: String::new(),
                artifacts: String::new(),
                forge: String::new(),
                tmp: String::new(),
            };
            Ok(Box::new(Place(SandboxId::new(spec.name.as_str()), layout)) as Box<dyn Sandbox>)
        }
        .boxed()
    }

    fn delete<'a>(&'a self, id: &'a SandboxId) -> BoxFuture<'a, Result<Deletion, SandboxError>> {
        async move {
            *self.delete_calls.lock().unwrap() += 1;
            if self.refuses_deletes {
                return Err(fail(ErrorKind::Forbidden));
            }
            match next(&self.deletes) {
                Fault::None => {}
                Fault::Slow(ms) => sleep(Duration::from_millis(ms)).await,
                Fault::LostBefore => return Err(fail(ErrorKind::Unreachable)),
                Fault::Busy => return Err(fail(ErrorKind::Busy)),
                Fault::Panics => panic!("injected"),
                Fault::LostAfter => {
                    self.alive
                        .lock()
                        .unwrap()
                        .retain(|name| name.as_str() != id.as_str());
                    return Err(fail(ErrorKind::Unreachable));
                }
            }
            self.alive
                .lock()
                .unwrap()
                .retain(|name| name.as_str() != id.as_str());
            Ok(Deletion::Confirmed)
        }
        .boxed()
    }

    fn find<'a>(
        &'a self,
        name: &'a SandboxName,
    ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
        async move {
            let alive = self.alive.lock().unwrap().contains(name);
            Ok(alive.then(|| SandboxId::new(name.as_str())))
        }
        .boxed()
    }

    fn list<'a>(&'a self, _: &'a RunId) -> BoxFuture<'a, Result<Vec<Listed>, SandboxError>> {
        async move {
            let listed = |name: &SandboxName| Listed {
                id: SandboxId::new(name.as_str()),
                name: name.clone(),
            };
            Ok(if self.lists {
                self.alive.lock().unwrap().iter().map(listed).collect()
            } else {
                vec![]
            })
        }
        .boxed()
    }
}

const OFF: Layers = Layers {
    drop_tells: false,
    registry: false,
    look_again: false,
};

/// On the test's own runtime, so that its clock can be paused.
fn start(provider: &Arc<Faulty>, layers: Layers) -> (Reaper, watch::Sender<Stopping>) {
    let (stop, stopping) = watch::channel(Stopping::No);
    let (reaper, task) = Reaper::parts(
        Arc::clone(provider) as Arc<dyn Provider>,
        RunId::generate(),
        Ledger::nowhere(),
        stopping,
        Patience::default(),
        layers,
    );
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
        network: Network::Open,
        trust: Trust::Trusted,
    }
}

async fn acquire(reaper: &Reaper) -> Result<Lease, SandboxError> {
    let leaser = reaper.leaser();
    leaser.acquire(spec(&leaser)).await
}

async fn gone(provider: &Faulty) {
    for _ in 0..1000 {
        if provider.alive() == 0 {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("still alive: {:?}", provider.alive.lock().unwrap());
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
        let _lease = leaser.acquire(spec(&leaser)).await.unwrap();
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
    let stranger = SandboxName::new(&RunId::generate(), 7, "stranger");
    provider.alive.lock().unwrap().insert(stranger);
    let report = reaper.close().await;
    assert_eq!((provider.alive(), report.cleanup().deleted), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn layer_7_the_name_is_on_disk_before_the_create_leaves() {
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
        ) -> BoxFuture<'a, Result<Box<dyn Sandbox>, SandboxError>> {
            let known = crate::sandbox::ledger::open_sandboxes(&self.0).unwrap();
            assert!(
                known.iter().any(|open| open.name == spec.name),
                "not in the ledger"
            );
            self.1.create(spec)
        }
        fn delete<'a>(
            &'a self,
            id: &'a SandboxId,
        ) -> BoxFuture<'a, Result<Deletion, SandboxError>> {
            self.1.delete(id)
        }
        fn find<'a>(
            &'a self,
            name: &'a SandboxName,
        ) -> BoxFuture<'a, Result<Option<SandboxId>, SandboxError>> {
            self.1.find(name)
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
    let lease = acquire(&reaper).await.unwrap();
    let id = lease.id().clone();
    lease.keep();
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

/// What a caller does with one sandbox.
#[derive(Debug, Clone, Copy)]
enum Caller {
    Drops,
    Leaks,
    GivesUpAfter(u64),
    HoldsFor(u64),
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::None),
        1 => Just(Fault::LostBefore),
        1 => Just(Fault::LostAfter),
        2 => (0..20_000_u64).prop_map(Fault::Slow),
        1 => Just(Fault::Panics),
        1 => Just(Fault::Busy),
    ]
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
    let acquire = leaser.acquire(spec(&leaser));
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_left_alive_whatever_the_schedule(
        creates in prop::collection::vec(fault(), 0..12),
        deletes in prop::collection::vec(fault(), 0..12),
        callers in prop::collection::vec(caller(), 1..10),
        closes_after in 0..15_000_u64,
        closes_by_drop in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
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
}
