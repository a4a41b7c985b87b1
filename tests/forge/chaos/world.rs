//! Where a plan is played: a project, and what is beside it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::interactions::Act;
use super::plan::{Behaviour, CHECK, Place, Plan, SETTINGS, Task};
use super::properties::{Kind, Property};
use crate::boxes::Boxes;
use crate::cloud::Cloud;
use crate::support::engine::{BUSYBOX, engine};
use crate::support::fake_daytona::fault::Rule;
use crate::support::fake_daytona::{Options, Route};
use crate::support::skipped;
use crate::support::workspace::{Workspace, pause};

/// What every candidate is given and no file may have.
pub(super) const SECRET: &str = "s3cr3t-t0k3n-0f-chaos";

/// Where it is played.
pub(super) enum World {
    Local(Workspace),
    Cloud(Box<Cloud>),
    Boxes(Boxes),
}

fn workspace(plan: &Plan) -> Workspace {
    let mut workspace = Workspace::new().file("objectives/check.sh", CHECK);
    for (at, task) in plan.objectives.iter().enumerate() {
        let path = format!("objectives/{}.yaml", Plan::objective(at));
        workspace = workspace.file(&path, task.yaml());
    }
    for (at, behaviour) in plan.candidates.iter().enumerate() {
        let name = Plan::candidate(at);
        let settings = format!("candidates/{name}.yaml");
        workspace = workspace
            .candidate(&format!("{name}.sh"), &Behaviour::script(*behaviour))
            .file(&settings, behaviour.settings());
    }
    if !plan.objectives.contains(&Task::Graded) {
        std::fs::remove_file(workspace.path("objectives/check.sh")).unwrap();
    }
    let boxes = if plan.place == Place::Container {
        format!("container: {{image: {BUSYBOX}, pull: never}}\n")
    } else {
        String::new()
    };
    workspace.file("forge.yaml", format!("{SETTINGS}{boxes}"))
}

/// Whether a process can be traced here.
static STRACE: LazyLock<bool> = LazyLock::new(|| {
    let tried = Command::new("strace")
        .args([
            "-D",
            "-f",
            "-o",
            "/dev/null",
            "-e",
            "trace=fdatasync",
            "true",
        ])
        .output();
    tried.is_ok_and(|output| output.status.success())
});

impl World {
    /// `None`, loudly, where there is no such place.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let workspace = workspace(plan);
        match plan.place {
            Place::Local => Some(Self::Local(workspace)),
            Place::Container => Some(Self::Boxes(Boxes {
                engine: engine()?,
                workspace,
            })),
            Place::Cloud => {
                let mut options = Options {
                    warm: true,
                    tombstones: true,
                    // Something is always there that would be seen if it were not waited for.
                    destroy: Duration::from_millis(100),
                    ..Options::default()
                };
                for property in &plan.properties {
                    property.change(&mut options);
                }
                let cloud = Cloud::new(options, workspace);
                // What is wrong is gathered, and must not be hidden by a panic.
                cloud.fake.allow_leaks();
                Some(Self::Cloud(Box::new(cloud)))
            }
        }
    }

    pub(super) fn workspace(&self) -> &Workspace {
        match self {
            Self::Local(workspace) => workspace,
            Self::Cloud(cloud) => &cloud.workspace,
            Self::Boxes(boxes) => &boxes.workspace,
        }
    }

    pub(super) fn cloud(&self) -> Option<&Cloud> {
        match self {
            Self::Cloud(cloud) => Some(cloud),
            Self::Local(_) | Self::Boxes(_) => None,
        }
    }

    /// Forge, as it is called here.
    pub(super) fn command(&self, arguments: &[String]) -> Command {
        let arguments = arguments.iter().map(String::as_str);
        let mut command = match self {
            Self::Local(workspace) => workspace.command(arguments),
            Self::Cloud(cloud) => cloud.command(arguments),
            Self::Boxes(boxes) => boxes.command(arguments),
        };
        command.env("API_TOKEN", SECRET);
        command
    }

    fn trace(&self) -> PathBuf {
        self.workspace().path("trace")
    }

    /// The same, with what its plan's disk is like.
    pub(super) fn command_of(&self, plan: &Plan, arguments: &[String]) -> Command {
        let command = self.command(arguments);
        let slow = plan.properties.iter().find_map(|it| {
            if let Property::SlowDisk(milliseconds) = it {
                Some(milliseconds)
            } else {
                None
            }
        });
        let Some(milliseconds) = slow else {
            return command;
        };
        if !*STRACE {
            skipped("a slow disk", "no strace here, or it may not trace");
            return command;
        }
        let calls = "fsync,fdatasync,rename,renameat,renameat2,linkat,unlinkat";
        let mut traced = Command::new("strace");
        // Forge stays the child, and is what signals go to.
        traced
            .args(["-D", "-f", "-qq", "-o"])
            .arg(self.trace())
            .arg(format!("--trace={calls}"))
            .arg(format!("--inject={calls}:delay_enter={milliseconds}000"))
            .arg(command.get_program())
            .args(command.get_args())
            .current_dir(self.workspace().path(""))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => traced.env(name, value),
                None => traced.env_remove(name),
            };
        }
        traced
    }

    /// How often a disk that is slow was waited for; `None` where that is not known.
    pub(super) fn delays(&self) -> Option<usize> {
        let trace = std::fs::read_to_string(self.trace()).ok()?;
        Some(trace.matches("(DELAYED)").count())
    }

    /// How many deletes came to the server.
    pub(super) fn deletes(&self) -> usize {
        let cloud = self.cloud();
        cloud.map_or(0, |cloud| cloud.fake.requests_to(Route::Delete))
    }

    /// Does something that is not about forge's process.
    pub(super) fn suffer(&self, act: &Act) {
        match (act, self) {
            (Act::Fault(rule), Self::Cloud(cloud)) => cloud.fake.add_fault(Rule::clone(rule)),
            (Act::Break, _) => self.break_one(),
            (Act::Fault(_), Self::Local(_) | Self::Boxes(_))
            | (Act::Signal(_) | Act::Kill { .. }, _) => {}
        }
    }

    /// Has a sandbox break, as it may here: the server loses it, its container is killed, its keeper is.
    fn break_one(&self) {
        match self {
            Self::Cloud(cloud) => {
                if let Some(row) = cloud.fake.alive().first() {
                    cloud.fake.break_sandbox(&row.id, "the runner is gone");
                }
            }
            Self::Boxes(boxes) => {
                if let Some(name) = boxes.alive(&boxes.run()).first() {
                    let kill = ["kill", "--signal", "KILL", name];
                    // It may have gone meanwhile.
                    drop(boxes.engine.podman().args(kill).output());
                }
            }
            Self::Local(workspace) => {
                let is_keeper = |line: &str| line.split('\0').nth(1) == Some("__sandbox");
                let all = workspace.processes().into_iter();
                let keepers = all.filter(|line| is_keeper(line));
                let pids = keepers.filter_map(|line| line.split_once(':')?.0.parse().ok());
                // The first of them starts the others.
                if let Some(newest) = pids.skip(1).max().and_then(Pid::from_raw) {
                    kill_process(newest, Signal::KILL).ok();
                }
            }
        }
    }

    /// From now on nothing goes wrong any more.
    pub(super) fn calm(&self) {
        if let Some(cloud) = self.cloud() {
            cloud.fake.clear_faults();
        }
    }

    /// Kills it, with its watch where it has one.
    pub(super) fn kill(child: &mut Child, watch: bool) {
        let own = if watch { watch_of(child) } else { None };
        if let Some(watch) = own {
            // So that it can do nothing about the other's end.
            kill_process(watch, Signal::STOP).ok();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if let Some(watch) = own {
            kill_process(watch, Signal::KILL).ok();
        }
    }

    /// What is alive of a run: folders and processes here, boxes by the server's and the engine's own count. Waits
    /// for a moment until nothing is.
    pub(super) fn alive(&self, run: &str) -> Vec<String> {
        let left = || -> Vec<String> {
            let workspace = self.workspace();
            let folders = std::fs::read_dir(workspace.path("tmp")).unwrap();
            let folders = folders.flatten().map(|it| it.path().display().to_string());
            let local = folders.chain(workspace.processes());
            match self {
                Self::Local(_) => local.collect(),
                Self::Boxes(boxes) => local.chain(boxes.alive(run)).collect(),
                Self::Cloud(cloud) => {
                    let alive = cloud.fake.alive().into_iter();
                    local.chain(alive.map(|it| it.given_name)).collect()
                }
            }
        };
        let until = Instant::now() + Duration::from_secs(15);
        loop {
            let left = left();
            if left.is_empty() || Instant::now() > until {
                return left;
            }
            pause();
        }
    }
}

fn watch_of(child: &Child) -> Option<Pid> {
    let found = crate::watching::watch_of(child.id())?;
    Pid::from_raw(i32::try_from(found).ok()?)
}

/// Whether a plan has something of a kind.
pub(super) fn has(plan: &Plan, kind: Kind) -> bool {
    plan.properties.iter().any(|it| it.kind() == kind)
}
