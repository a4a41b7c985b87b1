//! The live page: a run seen in a browser, from its journal, while it goes on. The only rooms that know axum.
//!
//! Promises: it is at 127.0.0.1 only, and lets in whoever has the address that was printed, and no page of anybody
//! else; it changes nothing; when the run is over it is the run's `report.html`, byte for byte. Neither the page nor this
//! side grows with the run: sums and short lists are sent, and the rest is there to be asked for. What candidates
//! left does nothing in the browser.
//!
//! It reads what is on disk and nothing else, so a run of another process is seen like one of this process, and one that
//! is opened again is seen whole.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::FutureExt as _;
use tokio::sync::{Notify, Semaphore, watch};

use crate::store::RunFolder;

mod answers;
mod door;
mod files;
mod follow;
mod live;
mod logs;
mod wake;

use door::Door;
use follow::{Follower, Shared};
use live::Snapshot;

/// So many pages at once, and so many that look at logs. A browser has few of them; a loop would have many.
const MAX_PAGES: usize = 64;
/// When the server goes, pages have so long to fetch the report.
const GOODBYE: Duration = Duration::from_secs(5);

/// A live page that can be opened, and is answered as soon as it is [served](View::serve).
#[derive(Debug)]
pub struct View {
    listener: TcpListener,
    door: Door,
    address: String,
    is_expected: bool,
}

impl View {
    /// Takes a free port of 127.0.0.1, and makes the words that open the door.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let door = Door::new();
        let port = listener.local_addr()?.port();
        Ok(Self {
            listener,
            address: format!("http://127.0.0.1:{port}{}", door.key()),
            door,
            is_expected: false,
        })
    }

    /// The address to open. Whoever has it sees the run: it is for the person who started this.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The same where a browser has been told to come: at the end it is waited for a few seconds, if it has not come yet.
    #[must_use]
    pub const fn expecting_somebody(mut self) -> Self {
        self.is_expected = true;
        self
    }

    /// Shows a run until `goodbye` comes to its end; then pages that are open have a few seconds to fetch the report.
    ///
    /// # Errors
    /// When the run's journal cannot be read, or the port not be listened to.
    ///
    /// # Cancel safety
    /// Safe: nobody is answered any more.
    pub async fn serve(
        self,
        folder: RunFolder,
        goodbye: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let is_expected = self.is_expected;
        let live = Shared::default();
        let follower = Follower::open(&folder, &live)?;
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let (tell, told) = watch::channel(Arc::new(Snapshot::default()));
        let (close, closing) = watch::channel(false);
        let house = Arc::new(House {
            door: self.door,
            folder,
            live,
            told,
            pages: Arc::new(Pages::default()),
        });
        let pages = Arc::clone(&house.pages);
        let leave = Arc::new(Notify::new());
        let left = Arc::clone(&leave);
        let app = Router::new().fallback(enter).with_state(house);
        let served = axum::serve(listener, app).with_graceful_shutdown(async move {
            left.notified().await;
        });
        let ends = async {
            goodbye.await;
            // The pages are told, fetch the report, and are gone.
            close.send_replace(true);
            pages.wait_until_gone(is_expected).await;
            leave.notify_one();
            std::future::pending::<()>().await;
        };
        let follow = follower.follow(&tell, closing.clone());
        let mut late = closing;
        let late = async move {
            let asked = late.wait_for(|it| *it).await.is_ok();
            if !asked {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(GOODBYE).await;
        };
        tokio::select! {
            served = served.into_future() => served,
            failed = follow => failed,
            () = ends => Ok(()),
            () = late.fuse() => Ok(()),
        }
    }
}

/// What is known to those who answer.
struct House {
    door: Door,
    folder: RunFolder,
    live: Shared,
    told: watch::Receiver<Arc<Snapshot>>,
    pages: Arc<Pages>,
}

/// The pages that are open.
#[derive(Debug)]
struct Pages {
    room: Arc<Semaphore>,
    open: AtomicUsize,
    came: AtomicBool,
    changed: Notify,
}

impl Default for Pages {
    fn default() -> Self {
        Self {
            room: Arc::new(Semaphore::new(MAX_PAGES)),
            open: AtomicUsize::new(0),
            came: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }
}

impl Pages {
    /// A place for one more; `None` when there are too many.
    fn enter(self: &Arc<Self>) -> Option<Page> {
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        self.open.fetch_add(1, Ordering::SeqCst);
        self.somebody_came();
        Some(Page {
            pages: Arc::clone(self),
            _room: room,
        })
    }

    fn somebody_came(&self) {
        self.came.store(true, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Waits until no page is open, and if somebody is expected, until one has been.
    async fn wait_until_gone(&self, is_expected: bool) {
        loop {
            let changed = self.changed.notified();
            let is_awaited = is_expected && !self.came.load(Ordering::SeqCst);
            if self.open.load(Ordering::SeqCst) == 0 && !is_awaited {
                return;
            }
            changed.await;
        }
    }
}

/// A page's place, until it is dropped.
#[derive(Debug)]
struct Page {
    pages: Arc<Pages>,
    _room: tokio::sync::OwnedSemaphorePermit,
}

impl Drop for Page {
    fn drop(&mut self) {
        self.pages.open.fetch_sub(1, Ordering::SeqCst);
        self.pages.changed.notify_waiters();
    }
}

async fn enter(State(house): State<Arc<House>>, request: Request) -> Response {
    let (head, _body) = request.into_parts();
    answers::answer(&house, &head).await
}
