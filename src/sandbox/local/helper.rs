//! Forge's end of the spawner: starting it, and getting keepers from it.
//!
//! Promises: a spawner that died is replaced by a new one; its keepers are not touched by that.

use std::io::{self, IoSlice, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Pid, Signal};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Command;

use super::processes;
use super::protocol::{Charter, Frame as _, Granted, HELPER_ARGUMENT, HELPER_EXIT};

/// How long a program may take to say whether it is a helper.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a spawner that has nothing more to do is waited for.
const MOMENT_NS: i64 = 100_000_000;

/// The running program as a helper; only for one whose `main` begins with [`is_wanted`](super::spawner::is_wanted).
/// Good for as long as it runs, even when its file is replaced meanwhile.
#[must_use]
pub fn this_program() -> Option<PathBuf> {
    if cfg!(target_os = "linux") {
        return Some("/proc/self/exe".into());
    }
    std::env::current_exe().ok()
}

/// Looks for a `forge` beside the running program and then on a `PATH`, and asks it whether it can be
/// this library's helper: other programs have that name too. For programs other than forge.
///
/// # Cancel safety
/// Dropping the future ends the program that was being asked.
pub async fn find_helper(path: &str) -> Option<PathBuf> {
    let me = std::env::current_exe().ok();
    let beside = me
        .as_deref()
        .and_then(|me| Some(me.parent()?.join("forge")));
    for helper in beside
        .into_iter()
        .chain(super::program::search(path, "forge"))
    {
        // Asking oneself would start the caller's whole program again.
        if Some(&helper) != me.as_ref() && is_helper(&helper).await {
            return Some(helper);
        }
    }
    None
}

/// What starts keepers.
#[derive(Debug)]
pub(super) struct Helper {
    program: PathBuf,
    charter: Charter,
    // Held while a keeper is asked for, which waits only for a spawner that is behind.
    spawner: tokio::sync::Mutex<Option<Spawner>>,
}

#[derive(Debug)]
struct Spawner {
    /// Until it is dropped.
    socket: Option<UnixStream>,
    process: Child,
}

/// A new keeper, which waits for its policy.
#[derive(Debug)]
pub(super) struct Keeper {
    pub socket: UnixStream,
    pub stdout: Receiver,
    pub stderr: Receiver,
}

impl Helper {
    /// `run` is the folder of the run's sandboxes.
    pub(super) fn new(program: PathBuf, run: PathBuf) -> Self {
        Self {
            program,
            charter: Charter { run },
            spawner: tokio::sync::Mutex::default(),
        }
    }

    /// Gets a keeper for a program to which this is granted.
    ///
    /// # Cancel safety
    /// Dropping the future may leave a keeper that gets no policy, and ends.
    pub(super) async fn keeper(&self, granted: Granted) -> io::Result<Keeper> {
        self.try_keeper(granted).await.map_err(|error| {
            let message = format!("its helper {}: {error}", self.program.display());
            io::Error::new(error.kind(), message)
        })
    }

    async fn try_keeper(&self, granted: Granted) -> io::Result<Keeper> {
        let (mine, theirs) = std::os::unix::net::UnixStream::pair()?;
        let (stdout, their_stdout) = io::pipe()?;
        let (stderr, their_stderr) = io::pipe()?;
        let theirs: [OwnedFd; 3] = [theirs.into(), their_stdout.into(), their_stderr.into()];
        mine.set_nonblocking(true)?;
        let keeper = Keeper {
            socket: UnixStream::from_std(mine)?,
            stdout: Receiver::from_owned_fd(stdout.into())?,
            stderr: Receiver::from_owned_fd(stderr.into())?,
        };
        let mut spawner = self.spawner.lock().await;
        if let Some(there) = spawner.as_ref()
            && there.pass(&theirs, granted).await.is_ok()
        {
            return Ok(keeper);
        }
        let new = Spawner::start(&self.program, &self.charter)?;
        new.pass(&theirs, granted).await?;
        *spawner = Some(new);
        Ok(keeper)
    }

    /// What it was made from.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Makes the next keeper come from a new spawner: this one does not work.
    pub(super) async fn give_up(&self) {
        self.spawner.lock().await.take();
    }
}

impl Spawner {
    fn start(program: &Path, charter: &Charter) -> io::Result<Self> {
        let (mut mine, theirs) = std::os::unix::net::UnixStream::pair()?;
        // Far less than a socket holds.
        mine.write_all(&charter.frame()?)?;
        mine.set_nonblocking(true)?;
        let process = std::process::Command::new(program)
            .arg(HELPER_ARGUMENT)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            socket: Some(UnixStream::from_std(mine)?),
            process,
        })
    }

    async fn pass(&self, descriptors: &[OwnedFd; 3], granted: Granted) -> io::Result<()> {
        self.wake();
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let descriptors = descriptors.each_ref().map(|it| it.as_fd());
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&descriptors));
            let start = [granted.start()];
            let byte = [IoSlice::new(&start)];
            // A spawner that is gone is an error, not a signal: the standard library sees to that.
            rustix::net::sendmsg(socket, &byte, &mut control, SendFlags::empty())?;
            Ok(())
        };
        socket.async_io(Interest::WRITABLE, send).await
    }

    /// Lets it go on where somebody has stopped it, such as a program that may signal it.
    fn wake(&self) {
        if let Some(pid) = self.pid() {
            // Gone, but not to anybody else: its end was not waited for.
            rustix::process::kill_process(pid, Signal::CONT).ok();
        }
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.process.id())
            .ok()
            .and_then(Pid::from_raw)
    }
}

impl Drop for Spawner {
    /// Lets it end, and waits a moment for that, so that it is not seen after forge. It is never killed: it
    /// may have to clean up.
    fn drop(&mut self) {
        drop(self.socket.take());
        self.wake();
        let Some(Ok(ended)) = self.pid().map(processes::exit_watch) else {
            return;
        };
        let mut ended = [PollFd::new(&ended, PollFlags::IN)];
        let moment = Timespec {
            tv_sec: 0,
            tv_nsec: MOMENT_NS,
        };
        if matches!(rustix::event::poll(&mut ended, Some(&moment)), Ok(1)) {
            // Leaves no zombie.
            self.process.try_wait().ok();
        }
    }
}

/// Whether a program is a helper of this version.
pub(super) async fn is_helper(program: &Path) -> bool {
    let asked = Command::new(program)
        .arg(HELPER_ARGUMENT)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status();
    let answer = tokio::time::timeout(PATIENCE, asked).await;
    answer.is_ok_and(|status| status.is_ok_and(|it| it.code() == Some(HELPER_EXIT.into())))
}
