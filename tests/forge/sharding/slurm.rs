//! An array of jobs of a real Slurm, one node, as the README has it: one job is killed, and goes on when it is started
//! again.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{SHARDS, folder, merged, project};
use crate::resuming::without_times;
use crate::support::skipped;
use crate::support::workspace::{Workspace, pause};

const PROGRAMS: [&str; 3] = ["slurmctld", "slurmd", "sbatch"];

/// A cluster of this machine alone; gone when it is dropped.
struct Slurm {
    folder: tempfile::TempDir,
    daemons: Vec<Child>,
}

impl Slurm {
    /// `None`, loudly, where there is none and none may be installed.
    fn start(test: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            skipped(test, "a cluster of Slurm is only started by root");
            return None;
        }
        if !PROGRAMS.iter().all(|it| has(it)) && !installed() {
            skipped(
                test,
                "no Slurm: install slurmctld and slurmd, or set FORGE_TEST_INSTALL=1",
            );
            return None;
        }
        let mut this = Self {
            folder: tempfile::tempdir().unwrap(),
            daemons: Vec::new(),
        };
        this.configure();
        for (program, arguments) in [("slurmctld", &["-D", "-i"][..]), ("slurmd", &["-D"])] {
            let daemon = this.command(program).args(arguments).spawn().unwrap();
            this.daemons.push(daemon);
        }
        this.wait_until_idle();
        Some(this)
    }

    fn configure(&self) {
        let name = rustix::system::uname();
        let name = name.nodename().to_str().unwrap();
        let name = name.split('.').next().unwrap();
        let [control, node] = [free_port(), free_port()];
        let place = self.folder.path().display();
        // Nobody but this machine's root talks to it.
        let text = format!(
            "ClusterName=test\nSlurmctldHost={name}(127.0.0.1)\nSlurmctldPort={control}\nSlurmdPort={node}\n\
             CommunicationParameters=NoCtldInAddrAny,NoInAddrAny\nAuthType=auth/none\nCredType=cred/none\n\
             SlurmUser=root\nSlurmdUser=root\nStateSaveLocation={place}/state\nSlurmdSpoolDir={place}/spool\n\
             SlurmctldPidFile={place}/control.pid\nSlurmdPidFile={place}/node.pid\nSlurmctldLogFile={place}/control.log\n\
             SlurmdLogFile={place}/node.log\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nMpiDefault=none\nReturnToService=2\n\
             NodeName={name} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN\n\
             PartitionName=all Nodes=ALL Default=YES State=UP\n"
        );
        // It counts the cores that there are, and is to believe that there are more.
        let text = text + "SlurmdParameters=config_overrides\n";
        for below in ["state", "spool"] {
            std::fs::create_dir(self.folder.path().join(below)).unwrap();
        }
        std::fs::write(self.folder.path().join("slurm.conf"), text).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("SLURM_CONF", self.folder.path().join("slurm.conf"))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn wait_until_idle(&self) {
        let until = Instant::now() + Duration::from_secs(60);
        let is_idle = || {
            let mut sinfo = self.command("sinfo");
            let told = sinfo
                .args(["-h", "-o", "%t"])
                .stdout(Stdio::piped())
                .output();
            told.is_ok_and(|it| it.stdout.starts_with(b"idle"))
        };
        while !is_idle() {
            let log = std::fs::read_to_string(self.folder.path().join("control.log"));
            assert!(Instant::now() < until, "Slurm is not ready: {log:?}");
            pause();
        }
    }

    /// Runs an array of jobs to its end.
    fn array(&self, workspace: &Workspace, script: &Path, jobs: &str) {
        let out = self.folder.path().join("job-%a.log");
        let status = self
            .command("sbatch")
            .args(["--wait", "--array", jobs, "--output"])
            .arg(&out)
            .arg("--chdir")
            .arg(workspace.path("."))
            .arg(script)
            .status();
        let logs: Vec<String> = (1..=SHARDS)
            .map(|it| self.folder.path().join(format!("job-{it}.log")))
            .map(|it| std::fs::read_to_string(it).unwrap_or_default())
            .collect();
        assert!(status.unwrap().success(), "{logs:#?}");
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        // It stops its node first, and then itself.
        self.command("scontrol").arg("shutdown").status().ok();
        for daemon in &mut self.daemons {
            let until = Instant::now() + Duration::from_secs(20);
            while daemon.try_wait().is_ok_and(|it| it.is_none()) && Instant::now() < until {
                pause();
            }
            daemon.kill().ok();
            daemon.wait().ok();
        }
    }
}

/// A port that nobody has at the moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn has(program: &str) -> bool {
    let look = Command::new("sh")
        .args(["-c", "command -v \"$0\" >/dev/null", program])
        .status();
    look.is_ok_and(|status| status.success())
}

/// Only where somebody has said that this may be done.
fn installed() -> bool {
    let text = "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
                --no-install-recommends slurmctld slurmd slurm-client";
    let may = std::env::var_os("FORGE_TEST_INSTALL").is_some();
    may && Command::new("sh")
        .args(["-c", text])
        .output()
        .is_ok_and(|it| it.status.success())
        && PROGRAMS.iter().all(|it| has(it))
}

#[test]
fn an_array_of_jobs_comes_to_what_one_run_would() {
    let name = "sharding::slurm::an_array_of_jobs_comes_to_what_one_run_would";
    let Some(slurm) = Slurm::start(name) else {
        return;
    };
    let workspace = project(10, "0.02");
    let program = env!("CARGO_BIN_EXE_forge");
    // The third job is killed once, by itself.
    let script = format!(
        "#!/bin/sh\nexport FORGE_RESUME=auto FORGE_LOCAL_ROOT=allow TMPDIR={tmp}\n\
         set -- -q --no-progress -k4 --shard \"$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT\" \
         --artifacts \"machines/$SLURM_ARRAY_TASK_ID\"\n\
         if [ \"$SLURM_ARRAY_TASK_ID\" = {killed} ]; then\n  {program} \"$@\" &\n  \
         until grep -qs trial_finished \"machines/{killed}/latest/events.jsonl\"; do sleep 0.01; done\n  \
         kill -9 $!\n  wait\nfi\nexec {program} \"$@\"\n",
        tmp = workspace.path("tmp").display(),
        killed = super::busiest(10),
    );
    let workspace = workspace.file("part.sh", script);
    slurm.array(
        &workspace,
        &workspace.path("part.sh"),
        &format!("1-{SHARDS}"),
    );
    let journal = workspace
        .path(&folder(super::busiest(10)))
        .join("latest/events.jsonl");
    let text = std::fs::read_to_string(journal).unwrap();
    assert!(text.contains("\"event\":\"run_resumed\""), "{text}");
    merged(&workspace, 1..=SHARDS).expect(0);
    let in_parts = workspace.run_json();
    let seed = format!("--seed={}", in_parts["plan"]["seed"]);
    workspace.forge(["-k4", "-q", &seed]).expect(0);
    assert_eq!(
        without_times(&in_parts),
        without_times(&workspace.run_json())
    );
}
