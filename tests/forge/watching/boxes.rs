//! The watch over containers: however forge is killed, the engine has none of the run's soon after, not even those
//! that were made and never started, which nobody else removes.

mod table;

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use forge::sandbox::ledger::open_sandboxes;

use super::kills::{TAKES, moment};
use super::{CLOSED, Ends, GONE, Terminal, Watch, in_terminal};
use crate::boxes::Boxes;
use crate::cloud::signal;
use crate::support::counting::{Counting, Decides, Fate};
use crate::support::workspace::{Ended, finish, pause, wait};

/// A run of 200 trials, 8 at once.
const MANY: [&str; 6] = ["--container", "task", "-k200", "-j8", "-q", "--no-progress"];
const CREATE: &str = "POST /containers/create";
const SLEEPS: &str = "#!/bin/sh\nexec sleep 300\n";

/// A run in containers, and the proxy before its engine.
struct Run {
    boxes: Boxes,
    proxy: Counting,
    child: Child,
    /// Where it is the leader of a session, that session's.
    terminal: Option<Terminal>,
    watch: Watch,
    id: String,
}

/// What is there of it when forge has been killed.
struct Left {
    boxes: Boxes,
    proxy: Counting,
    watch: Watch,
    id: String,
    died: Instant,
}

fn everything(_: &str, _: usize) -> Fate {
    Fate::Passed
}

impl Run {
    /// Begins, in a process group of its own, and waits for its watch; `None`, loudly, without an engine.
    fn begin(script: &str, arguments: &[&str], decides: Decides) -> Option<Self> {
        Self::begin_by(script, arguments, decides, |command| {
            (command.process_group(0).spawn().unwrap(), None)
        })
    }

    /// The same, as the leader of a session in a terminal of its own.
    fn begin_in_terminal(script: &str, arguments: &[&str], decides: Decides) -> Option<Self> {
        Self::begin_by(script, arguments, decides, |command| {
            let (child, terminal) = in_terminal(command);
            (child, Some(terminal))
        })
    }

    fn begin_by(
        script: &str,
        arguments: &[&str],
        decides: Decides,
        start: fn(&mut Command) -> (Child, Option<Terminal>),
    ) -> Option<Self> {
        let boxes = Boxes::of(script)?;
        let proxy = Counting::deciding(&boxes.engine.socket(), decides);
        let mut command = boxes.command(arguments.iter().copied());
        let host = format!("unix://{}", proxy.socket().display());
        let (child, terminal) = start(command.env("DOCKER_HOST", host));
        let watch = Watch::of(&child);
        let id = watch.run();
        Some(Self {
            boxes,
            proxy,
            child,
            terminal,
            watch,
            id,
        })
    }

    /// Waits until as many calls that end like this have come to the engine.
    #[track_caller]
    fn wait_for(&self, call: &str, count: usize) {
        let until = Instant::now() + Duration::from_secs(120);
        while came(&self.proxy, call) < count {
            assert!(Instant::now() < until, "{:?}", self.proxy.calls());
            pause();
        }
    }

    fn kill(self) -> Left {
        signal(&self.child, "KILL");
        self.killed()
    }

    fn kill_group(self) -> Left {
        let group = format!("-{}", self.child.id());
        let status = Command::new("kill").args(["-KILL", "--", &group]).status();
        assert!(status.unwrap().success());
        self.killed()
    }

    /// Closes its terminal. It deletes by itself then, and is killed before it is at the end of that.
    fn hang_up_and_kill(mut self) -> Left {
        drop(self.terminal.take());
        wait(100);
        signal(&self.child, "KILL");
        let died = Instant::now();
        self.child.wait().unwrap();
        self.left(died)
    }

    fn kill_with_its_watch(self) -> Left {
        let died = Instant::now();
        let Self {
            boxes,
            proxy,
            child,
            watch,
            id,
            ..
        } = self;
        watch.kill_with(child);
        Left {
            boxes,
            proxy,
            watch,
            id,
            died,
        }
    }

    fn killed(self) -> Left {
        let died = Instant::now();
        let Self {
            boxes,
            proxy,
            child,
            watch,
            id,
            ..
        } = self;
        assert_eq!(finish(child).code, None);
        Left {
            boxes,
            proxy,
            watch,
            id,
            died,
        }
    }

    fn left(self, died: Instant) -> Left {
        Left {
            boxes: self.boxes,
            proxy: self.proxy,
            watch: self.watch,
            id: self.id,
            died,
        }
    }
}

impl Left {
    /// What Podman says of each container of the run, sorted: `created`; `initialized` when somebody has attached to
    /// it, and it is ready to be started; `running`, and the like.
    fn states(&self) -> Vec<String> {
        let label = format!("label=forge.run={}", self.id);
        let arguments = ["ps", "--all", "--format", "{{.State}}", "--filter", &label];
        let listed = self.boxes.engine.podman().args(arguments).output().unwrap();
        assert!(listed.status.success(), "{listed:?}");
        let states = String::from_utf8(listed.stdout).unwrap();
        let mut states: Vec<String> = states.lines().map(str::to_lowercase).collect();
        states.sort();
        states
    }

    /// How many the ledger does not know to be gone.
    fn open(&self) -> usize {
        let folder = self.boxes.workspace.path("artifacts").join(&self.id);
        open_sandboxes(&folder).unwrap().len()
    }

    fn log(&self) -> String {
        let folder = self.boxes.workspace.path("artifacts").join(&self.id);
        std::fs::read_to_string(folder.join("watch.log")).unwrap_or_default()
    }

    fn sweep(&self) -> Ended {
        let mut command = self.boxes.command(["sweep", "--run", &self.id]);
        let host = format!("unix://{}", self.proxy.socket().display());
        finish(command.env("DOCKER_HOST", host).spawn().unwrap()).expect(0)
    }

    /// Fails unless the engine has none soon after forge's end and none from then on, and then the ledger is
    /// closed and the watch gone.
    #[track_caller]
    fn assert_ended(&self) -> Ends {
        let mut gone = None;
        let mut peak = 0;
        loop {
            let is_last = !self.watch.runs();
            peak = peak.max(self.watch.peak().unwrap_or(0));
            let alive = self.boxes.alive(&self.id);
            let now = self.died.elapsed();
            if alive.is_empty() {
                gone = gone.or(Some(now));
            } else {
                gone = None;
                assert!(now < GONE, "alive: {alive:?}; {}", self.log());
            }
            if is_last {
                let log = self.log();
                let gone = gone.unwrap_or_else(|| panic!("left: {alive:?}; {log}"));
                assert_eq!(self.open(), 0, "{log}");
                let closed = now;
                return Ends { gone, closed, peak };
            }
            assert!(now < CLOSED, "the watch goes on: {}", self.log());
            pause();
        }
    }
}

fn came(proxy: &Counting, call: &str) -> usize {
    let calls = proxy.calls();
    calls.iter().filter(|it| it.ends_with(call)).count()
}

#[test]
fn no_container_is_left_of_a_forge_that_is_killed_at_any_moment() {
    // The first containers are about to be made; some run, some are made, some are deleted.
    for (creates, most) in [(1, 500), (20, 1500)] {
        let Some(run) = Run::begin(TAKES, &MANY, everything) else {
            return;
        };
        run.wait_for(CREATE, creates);
        wait(moment(most));
        let left = run.kill();
        left.assert_ended();
        assert_eq!(left.sweep().stdout, "nothing to sweep\n");
    }
}

#[test]
fn no_container_is_left_when_the_whole_process_group_is_killed() {
    let Some(run) = Run::begin(TAKES, &MANY, everything) else {
        return;
    };
    run.wait_for(CREATE, 12);
    run.kill_group().assert_ended();
}

#[test]
fn no_container_is_left_when_the_terminal_is_closed_and_forge_is_killed() {
    let Some(run) = Run::begin_in_terminal(TAKES, &MANY, everything) else {
        return;
    };
    run.wait_for(CREATE, 12);
    run.hang_up_and_kill().assert_ended();
}

#[test]
fn an_engine_that_fails_for_a_while_is_asked_until_it_does_not() {
    for status in [429, 500] {
        let Some(run) = Run::begin(TAKES, &MANY, everything) else {
            return;
        };
        run.wait_for(CREATE, 12);
        run.proxy.answer(Some(status));
        let left = run.kill();
        wait(5000);
        left.proxy.answer(None);
        left.assert_ended();
    }
}

/// There is no first process in them that could end.
#[test]
fn containers_that_were_never_started_are_deleted_by_the_watch() {
    let no_start: Decides = |call, before| {
        let is_held = match call.rsplit('/').next() {
            Some("attach") => before >= 4,
            Some("start") => true,
            Some(_) | None => false,
        };
        if is_held { Fate::Held } else { Fate::Passed }
    };
    let Some(run) = Run::begin(TAKES, &MANY, no_start) else {
        return;
    };
    run.wait_for("/start", 4);
    run.wait_for("/attach", 8);
    let watch = run.watch;
    // So that there is time to look.
    super::kill("STOP", watch.pid);
    let left = run.kill();
    let states = left.states();
    super::kill("CONT", watch.pid);
    assert_eq!(states, [["created"; 4], ["initialized"; 4]].concat());
    left.assert_ended();
}

/// The engine makes them when forge is gone, and nobody but the run's label tells of them.
#[test]
fn containers_whose_create_was_under_way_are_waited_for() {
    let late: Decides = |call, _| {
        let is_create = call == CREATE;
        if is_create {
            Fate::Late(3000)
        } else {
            Fate::Passed
        }
    };
    let Some(run) = Run::begin(TAKES, &MANY, late) else {
        return;
    };
    run.wait_for(CREATE, 8);
    let left = run.kill();
    assert_eq!(left.states(), [""; 0]);
    left.assert_ended();
    let deleted = left.proxy.calls();
    let deleted = deleted.iter().filter(|it| it.starts_with("DELETE "));
    assert!(deleted.count() >= 8, "none came to be late: {}", left.log());
}

/// What runs ends by itself, and the engine removes it; what was never started is there until somebody sweeps.
#[test]
fn containers_of_a_forge_killed_with_its_watch_end_or_are_swept() {
    let four: Decides = |call, before| {
        let is_held = call.ends_with("/start") && before >= 4;
        if is_held { Fate::Held } else { Fate::Passed }
    };
    let eight = ["--container", "task", "-k8", "-j8", "-q", "--no-progress"];
    let Some(run) = Run::begin(SLEEPS, &eight, four) else {
        return;
    };
    run.wait_for("/start", 8);
    let left = run.kill_with_its_watch();
    let until = Instant::now() + GONE;
    while left.states() != ["initialized"; 4] {
        assert!(Instant::now() < until, "{:?}", left.states());
        pause();
    }
    wait(500);
    assert_eq!((left.states().len(), left.open()), (4, 8));
    let swept = left.sweep();
    assert_eq!(
        swept.stdout.matches("deleted forge-").count(),
        4,
        "{swept:?}"
    );
    assert_eq!(left.states(), [""; 0]);
    assert_eq!(left.open(), 0);
}
