//! Being told when files change: by the kernel where it can, else by looking now and then.
//!
//! Promises: a change is never missed for good. A kernel tells nothing of what another machine writes to a network file
//! system, and a user may have no watches left: so it is looked now and then in any case, seldom where the kernel tells.

use std::path::Path;
use std::time::Duration;

/// How often it is looked all the same, where the kernel tells of changes.
#[cfg(target_os = "linux")]
const SELDOM: Duration = Duration::from_secs(5);
/// How often where it does not.
const OFTEN: Duration = Duration::from_millis(500);

/// Tells when something in a folder changes.
#[derive(Debug)]
pub(super) struct Wake {
    #[cfg(target_os = "linux")]
    kernel: Option<tokio::net::unix::pipe::Receiver>,
}

impl Wake {
    /// Watches the files directly in a folder. Must be called on a runtime.
    pub(super) fn on(folder: &Path) -> Self {
        #[cfg(not(target_os = "linux"))]
        let _looked_at_only = folder;
        Self {
            #[cfg(target_os = "linux")]
            kernel: linux::watch(folder)
                .inspect_err(|error| tracing::debug!(%error, "no watch: looking now and then"))
                .ok(),
        }
    }

    /// Waits for a change, or until it is time to look. A change since the last call is told at once.
    pub(super) async fn next(&mut self) {
        #[cfg(target_os = "linux")]
        if let Some(kernel) = &self.kernel {
            let told = tokio::time::timeout(SELDOM, linux::told(kernel)).await;
            if let Ok(false) = told {
                self.kernel = None;
            }
            return;
        }
        tokio::time::sleep(OFTEN).await;
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::path::Path;

    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use tokio::net::unix::pipe::Receiver;

    pub(super) fn watch(folder: &Path) -> io::Result<Receiver> {
        let kernel = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let changes = WatchFlags::MODIFY
            | WatchFlags::CREATE
            | WatchFlags::MOVED_TO
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE;
        inotify::add_watch(&kernel, folder, changes | WatchFlags::ONLYDIR)?;
        // It is no pipe, and is waited for and read like one; what waits for any descriptor is `unsafe` to make.
        Receiver::from_owned_fd_unchecked(kernel)
    }

    /// Waits until something was told, and takes all of it. `false` when nothing will be told any more.
    pub(super) async fn told(kernel: &Receiver) -> bool {
        if kernel.readable().await.is_err() {
            return false;
        }
        let mut buffer = [0; 4096];
        loop {
            match kernel.try_read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Ok(0) | Err(_) => return false,
            }
        }
    }
}
