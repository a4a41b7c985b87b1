//! The whole program with `--container` against a real engine: what comes home, what is refused before anything
//! starts, and that the engine's own inventory is empty afterwards.

mod calls;
mod doctor;
mod layers;
mod refusals;
mod shipped;
mod sweeping;

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::engine::{BUSYBOX, Engine, engine};
use crate::support::workspace::{Ended, Workspace, finish, pause, read_json};

/// Passes the default gates.
const WRITES: &str = "#!/bin/sh\necho \"hello from a container\" >\"$2\"\n";
/// Runs into any limit, and has a child that leaves its group.
const SLEEPS: &str = "#!/bin/sh\necho began\n(setsid sleep 300 &)\nsleep 300\n";
const FAILS: &str = "#!/bin/sh\nexit 7\n";

/// An engine, and a project beside it.
pub(crate) struct Boxes {
    pub(crate) engine: &'static Engine,
    pub(crate) workspace: Workspace,
}

impl Boxes {
    /// One candidate on one objective, with the image of BusyBox; `None`, loudly, without an engine.
    pub(crate) fn of(script: &str) -> Option<Self> {
        Self::with(&[("a.sh", script)])
    }

    fn with(candidates: &[(&str, &str)]) -> Option<Self> {
        let settings = format!("container: {{image: {BUSYBOX}, pull: never}}\n");
        Some(Self {
            engine: engine()?,
            workspace: Workspace::with(candidates).file("forge.yaml", settings),
        })
    }

    fn host(&self) -> String {
        format!("unix://{}", self.engine.socket().display())
    }

    pub(crate) fn command<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.workspace.command(arguments);
        command.env("DOCKER_HOST", self.host());
        command
    }

    fn start<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    fn forge<'a>(&self, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
        finish(self.start(arguments))
    }

    fn run_folder(&self) -> PathBuf {
        self.workspace.run_folder()
    }

    /// The newest run's id.
    pub(crate) fn run(&self) -> String {
        let folder = self.run_folder();
        folder.file_name().unwrap().to_str().unwrap().to_owned()
    }

    /// The names of the containers of a run that the engine has.
    pub(crate) fn alive(&self, run: &str) -> Vec<String> {
        let label = format!("label=forge.run={run}");
        let arguments = ["ps", "--all", "--format", "{{.Names}}", "--filter", &label];
        let listed = self.engine.podman().args(arguments).output().unwrap();
        assert!(listed.status.success(), "{listed:?}");
        let names = String::from_utf8(listed.stdout).unwrap();
        names.lines().map(str::to_owned).collect()
    }

    /// Waits until the engine has none of a run.
    #[track_caller]
    fn wait_until_gone(&self, run: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        while !self.alive(run).is_empty() {
            assert!(Instant::now() < until, "left: {:?}", self.alive(run));
            pause();
        }
    }

    /// Waits until the only candidate of a run has printed something; gives the run's id.
    #[track_caller]
    fn wait_for_candidate(&self) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        let began = |run: &str| {
            let log = self.workspace.path("artifacts").join(run);
            let log = log.join("task/a/1/stdout.log");
            std::fs::read_to_string(log).is_ok_and(|text| text.contains("began"))
        };
        loop {
            let runs = std::fs::read_dir(self.workspace.path("artifacts"));
            let runs = runs.into_iter().flatten().flatten();
            let mut names = runs.map(|it| it.file_name().to_string_lossy().into_owned());
            // Not the link to the newest.
            let is_run = |name: &String| name.parse::<forge::name::RunId>().is_ok();
            if let Some(run) = names.find(|run| is_run(run) && began(run)) {
                return run;
            }
            assert!(Instant::now() < until, "the candidate does not begin");
            pause();
        }
    }
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .arg(format!("-{name}"))
        .arg(child.id().to_string())
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn candidates_run_and_nothing_is_left() {
    let title = "#!/bin/sh\nid -u >&2\necho \"# $1, from b\" >\"$2\"\n";
    let Some(boxes) = Boxes::with(&[("a.sh", WRITES), ("b.sh", title)]) else {
        return;
    };
    let ended = boxes.forge(["--container", "-k", "2", "task"]).expect(0);
    let told = format!(
        "Execution: CONTAINER\n  (image {BUSYBOX}, engine at {})\n",
        boxes.host()
    );
    assert!(ended.stdout.starts_with(&told), "{}", ended.stdout);
    assert!(
        ended.stdout.contains("sandboxes: 4 deleted"),
        "{}",
        ended.stdout
    );
    let artifact = boxes.workspace.trial_file("b", "discord_post.md");
    assert_eq!(artifact, b"# do it, from b\n");
    let user = boxes.workspace.trial_file("b", "stderr.log");
    assert_eq!(user, b"61357\n", "not root");
    let run = boxes.workspace.run_json();
    assert_eq!(run["plan"]["mode"], "container");
    assert_eq!(run["plan"]["mode_reason"], "containers were asked for");
    let settings = &run["plan"]["settings"];
    let setting = |name: &str| {
        let setting = &settings[name];
        let text = |key: &str| setting[key].as_str().unwrap_or("-").to_owned();
        format!("{} ({})", text("value"), text("origin"))
    };
    assert_eq!(setting("container"), "true (flag)");
    assert_eq!(setting("image"), format!("{BUSYBOX} (forge.yaml)"));
    assert_eq!(setting("pull"), "never (forge.yaml)");
    assert_eq!(setting("memory"), "2 GiB (default)");
    assert_eq!(settings["isolation"], serde_json::Value::Null);
    let isolation = run["trials"][0]["isolation"].as_str().unwrap();
    assert!(isolation.contains("not root"), "{isolation}");
    assert_eq!(boxes.alive(&boxes.run()), [""; 0]);
}

/// The library's own way to the same.
#[test]
fn a_caller_gets_containers_by_the_settings() {
    let Some(boxes) = Boxes::of(WRITES) else {
        return;
    };
    let variables = [("DOCKER_HOST".to_owned(), boxes.host())].into();
    let said = forge::project::ContainerDefaults {
        image: Some(forge::project::ImageSource::Named(BUSYBOX.to_owned())),
        ..forge::project::ContainerDefaults::default()
    };
    let result = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let containers = forge::settings::containers(&variables, &said).unwrap();
        containers.preflight(&[]).await.unwrap();
        let forge = forge::Forge::builder()
            .provider(containers)
            .candidates(boxes.workspace.path("candidates"))
            .objectives(boxes.workspace.path("objectives"))
            .artifacts(boxes.workspace.path("artifacts"))
            .build();
        forge.run(["task".into()]).await.unwrap()
    });
    assert_eq!(result.winner().unwrap().leader().candidate.as_str(), "a");
    assert_eq!(boxes.alive(&boxes.run()), [""; 0]);
}

#[test]
fn an_image_is_built_from_a_dockerfile() {
    let who = "#!/bin/sh\nid -un >\"$2\"; echo and more >>\"$2\"\n";
    let Some(boxes) = Boxes::of(who) else {
        return;
    };
    let dockerfile = format!("FROM localhost/{BUSYBOX}\nUSER nobody\n");
    let boxes = Boxes {
        workspace: boxes.workspace.file("images/Dockerfile", dockerfile).file(
            "forge.yaml",
            "provider: container\ncontainer: {dockerfile: images/Dockerfile}\n",
        ),
        ..boxes
    };
    let ended = boxes.forge(["task"]).expect(0);
    assert!(
        ended.stdout.contains("(image ./images/Dockerfile, "),
        "{}",
        ended.stdout
    );
    let artifact = boxes.workspace.trial_file("a", "discord_post.md");
    assert_eq!(artifact, b"nobody\nand more\n");
}

#[test]
fn limits_that_are_typed_hold() {
    let greedy =
        "#!/bin/sh\nhead -c 200000000 /dev/zero | tail -c 200000000 >/dev/null || exit 3\nexit 3\n";
    let Some(boxes) = Boxes::of(greedy) else {
        return;
    };
    boxes
        .forge(["--container", "task", "--memory", "32MiB", "--cpu", "0.5"])
        .expect(1);
    let trials = boxes.workspace.trials();
    let trial = &trials["task/a/1"];
    assert_eq!(trial["error_kind"], "limit", "{trial:#}");
    let settings = &boxes.workspace.run_json()["plan"]["settings"];
    assert_eq!(settings["memory"]["value"], "32 MiB");
    assert_eq!(settings["memory"]["origin"], "flag");
    assert_eq!(settings["cpus"]["value"], "0.5");
}

/// A container ends with its first process, and then nobody can tell that the candidate has used too much.
#[test]
fn a_candidate_goes_before_its_container_when_memory_runs_out() {
    let script = "#!/bin/sh\ncat /proc/self/oom_score_adj /proc/1/oom_score_adj\necho \"hello from a container\" >\"$2\"\n";
    let Some(boxes) = Boxes::of(script) else {
        return;
    };
    boxes.forge(["--container", "task"]).expect(0);
    let log = boxes.run_folder().join("task/a/1/stdout.log");
    let told = std::fs::read_to_string(log).unwrap();
    let told: Vec<i32> = told.lines().map(|it| it.parse().unwrap()).collect();
    assert!(matches!(told[..], [1000, ..500]), "{told:?}");
}

#[test]
fn an_interrupt_leaves_no_container() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let Some(boxes) = Boxes::of(SLEEPS) else {
            return;
        };
        let child = boxes.start(["--container", "task"]);
        let run = boxes.wait_for_candidate();
        assert_eq!(boxes.alive(&run).len(), 1);
        signal(&child, name);
        finish(child).expect(code);
        assert_eq!(boxes.alive(&run), [""; 0]);
        let trial = boxes.run_folder().join("task/a/1/trial.json");
        assert_eq!(read_json(&trial)["error_kind"], "cancelled");
    }
}
