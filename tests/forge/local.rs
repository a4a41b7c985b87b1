//! This machine as a provider: conformance, with its keeper and without, and what only a hostile program
//! on the same machine can try.

use std::io::{BufRead as _, BufReader};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use forge::conformance::hands::{Heard, collect, command, file, run, shell};
use forge::conformance::{Harness, create, delete, make, spec};
use forge::name::RunId;
use forge::quantity::ByteCount;
use forge::sandbox::local::{Isolation, LocalOptions, LocalProvider, RootSandboxes};
use forge::sandbox::{
    Area, CommandEnd, ErrorKind, Network, Networks, OutputSink, Provider, Sandbox, Stream, Trust,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;

const FORGE: &str = env!("CARGO_BIN_EXE_forge");

struct Local {
    base: tempfile::TempDir,
    provider: LocalProvider,
    run: RunId,
}

fn provider(base: &Path, helper: Option<&str>, run: RunId) -> LocalProvider {
    provider_on(base, helper, run, Isolation::Process)
}

fn provider_on(
    base: &Path,
    helper: Option<&str>,
    run: RunId,
    isolation: Isolation,
) -> LocalProvider {
    let path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    let mut options = LocalOptions::new(base.to_owned(), path, helper.map(PathBuf::from));
    options.isolation = isolation;
    // What is tested is something else.
    options.root = RootSandboxes::Allow;
    LocalProvider::new(options, run)
}

fn local(helper: Option<&str>) -> Local {
    local_on(helper, Isolation::Process)
}

fn local_on(helper: Option<&str>, isolation: Isolation) -> Local {
    let base = tempfile::tempdir().unwrap();
    let run = RunId::generate();
    let provider = provider_on(base.path(), helper, run, isolation);
    Local {
        base,
        provider,
        run,
    }
}

fn kept() -> Local {
    local(Some(FORGE))
}

impl Harness for Local {
    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    fn run(&self) -> RunId {
        self.run
    }

    fn assert_nothing_left(&self) -> BoxFuture<'_, ()> {
        async {
            self.provider.rest().await;
            assert_eq!(marked(self.base.path()), [0; 0], "processes are left");
            let left: Vec<_> = std::fs::read_dir(self.base.path()).unwrap().collect();
            assert!(left.is_empty(), "{left:?}");
        }
        .boxed()
    }
}

impl Local {
    async fn end(&self, sandbox: Box<dyn Sandbox>) {
        delete(self, sandbox).await;
        self.assert_nothing_left().await;
    }
}

mod namespaces {
    forge::conformance_tests!(super::offered(super::Isolation::Namespaces));
}

mod landlock {
    forge::conformance_tests!(super::offered(super::Isolation::Landlock));
}

mod process {
    forge::conformance_tests!(super::offered(super::Isolation::Process));
}

mod without_helper {
    forge::conformance_tests!(Some(super::local(None)));
}

/// A rung, unless this machine does not offer it, which is said.
fn offered(isolation: Isolation) -> Option<Local> {
    let local = local_on(Some(FORGE), isolation);
    match futures::executor::block_on(local.provider.describe(None)) {
        Ok(_) => Some(local),
        Err(error) => {
            assert_ne!(isolation, Isolation::Process, "{error}");
            let test = std::thread::current();
            let why = error.to_string();
            crate::support::skipped(test.name().unwrap_or("a test"), &why);
            None
        }
    }
}

/// The processes whose environment speaks of this folder.
fn marked(base: &Path) -> Vec<u32> {
    let speaks = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mark = base.as_os_str().as_bytes();
        environ.windows(mark.len()).any(|window| window == mark)
    };
    let all = std::fs::read_dir("/proc").unwrap();
    let pids = all.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(speaks).collect()
}

async fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < patience, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.starts_with(" Z"))
}

/// The id that a program has written to a file of its working directory.
fn pid(sandbox: &dyn Sandbox, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("{}/{name}", sandbox.layout().work)).ok()?;
    text.ends_with('\n').then(|| text.trim().to_owned())
}

/// Starts something nasty that writes `pid`, and expects that it has not outlived its command.
async fn ends(script: &str, limit: Duration, end: CommandEnd) {
    let local = kept();
    let sandbox = create(&local, "nasty").await;
    let mut nasty = shell(script);
    nasty.limit = limit;
    let (result, _) = run(&*sandbox, &nasty).await;
    assert_eq!(result.end, end);
    // The scripts below last for an hour.
    let pid = pid(&*sandbox, "pid").unwrap();
    assert!(!is_alive(&pid), "{pid} is alive");
    assert_eq!(marked(local.base.path()), [0; 0]);
    local.end(sandbox).await;
}

const SOON: Duration = Duration::from_millis(400);
const LATER: Duration = Duration::from_secs(60);

#[tokio::test]
async fn grandchildren_that_hang_end_at_the_limit() {
    ends(
        "sh -c 'sleep 3600 & echo $! > pid; wait' & wait",
        SOON,
        CommandEnd::TimedOut,
    )
    .await;
}

#[tokio::test]
async fn ignoring_the_polite_signal_does_not_help() {
    let script = "trap '' TERM; echo $$ > pid; while :; do sleep 3600; done";
    ends(script, SOON, CommandEnd::TimedOut).await;
}

#[tokio::test]
async fn a_background_process_ends_with_its_program() {
    ends("sleep 3600 & echo $! > pid", LATER, CommandEnd::Exited(0)).await;
}

const DAEMON: &str = "setsid sh -c 'setsid sh -c \"echo \\$\\$ > pid; exec sleep 3600\" & exit 0'; \
    while [ ! -s pid ]; do sleep 0.01; done";

#[tokio::test]
async fn a_daemon_that_holds_the_output_ends_with_its_program() {
    ends(DAEMON, LATER, CommandEnd::Exited(0)).await;
}

#[tokio::test]
async fn a_daemon_without_environment_ends_with_its_program() {
    let script = "setsid env -i PATH=$PATH sh -c 'sleep 3600 & echo $! > pid'; exit 3";
    ends(script, LATER, CommandEnd::Exited(3)).await;
}

#[tokio::test]
async fn a_stopped_process_ends_with_its_program() {
    let script = "sleep 3600 & echo $! > pid; kill -STOP $!; exit 0";
    ends(script, LATER, CommandEnd::Exited(0)).await;
}

#[tokio::test]
async fn a_chain_of_forks_is_caught() {
    // Each link starts the next in a session of its own, and ends.
    let script = "cat > link <<'X'\n\
        echo $$ > pid.new; mv pid.new pid\n\
        setsid sh link &\n\
        X\n\
        sh link; sleep 0.1; echo caught";
    ends(script, LATER, CommandEnd::Exited(0)).await;
    ends(&format!("{script}; sleep 3600"), SOON, CommandEnd::TimedOut).await;
}

#[tokio::test]
async fn the_polite_signal_leaves_time_to_tidy_up() {
    let local = kept();
    let sandbox = create(&local, "tidy").await;
    let mut tidy = shell("trap 'echo tidied > out.md; exit 0' TERM; sleep 3600 & wait");
    tidy.limit = SOON;
    let (result, _) = run(&*sandbox, &tidy).await;
    assert_eq!(result.end, CommandEnd::TimedOut);
    let (home, _) = collect(&*sandbox, &[]).await;
    assert_eq!(home.files[0].2, b"tidied\n");
    local.end(sandbox).await;
}

/// Counts, and keeps nothing.
#[derive(Default)]
struct Counter(u64, u64);

impl OutputSink for Counter {
    fn write(&mut self, _: Stream, bytes: &[u8]) {
        self.0 += bytes.len() as u64;
    }

    fn dropped(&mut self, _: Stream, bytes: u64) {
        self.1 += bytes;
    }
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    status.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[tokio::test]
async fn a_gigabyte_of_output_costs_no_memory_and_blocks_nobody() {
    let local = kept();
    let sandbox = create(&local, "flood").await;
    let mut flood = shell("head -c 1000000000 /dev/zero");
    flood.output_limit = ByteCount::mib(1);
    let before = resident();
    let mut counter = Counter::default();
    let result = sandbox.run(&flood, &mut counter).await.unwrap();
    assert_eq!(result.end, CommandEnd::Exited(0));
    assert_eq!((counter.0, counter.1), (1 << 20, 1_000_000_000 - (1 << 20)));
    // Other tests run meanwhile in the same process.
    assert!(resident().saturating_sub(before) < 200 << 20);
    local.end(sandbox).await;
}

#[tokio::test]
async fn every_exit_code_is_told() {
    let local = kept();
    let sandbox = create(&local, "codes").await;
    for code in 0..=255 {
        let (result, _) = run(&*sandbox, &shell(&format!("exit {code}"))).await;
        assert_eq!(result.end, CommandEnd::Exited(code));
    }
    local.end(sandbox).await;
}

#[tokio::test]
async fn usage_and_time_are_those_of_the_program() {
    let local = kept();
    let sandbox = create(&local, "usage").await;
    let script = "head -c 50000000 /dev/zero | tail -c 50000000 | wc -c; sleep 0.1";
    let (result, _) = run(&*sandbox, &shell(script)).await;
    assert!(result.took >= Duration::from_millis(100));
    assert!(
        result.usage.peak_memory_bytes.unwrap() > 50_000_000,
        "{result:?}"
    );
    assert!(result.usage.cpu_milliseconds.is_some());
    local.end(sandbox).await;
}

#[tokio::test]
async fn an_environment_too_long_for_the_system_cannot_start() {
    let local = kept();
    let sandbox = create(&local, "long").await;
    let (result, _) = run(&*sandbox, &command(&["true", &"x".repeat(200_000)])).await;
    assert!(matches!(&result.end, CommandEnd::CannotStart(why) if why.contains("too long")));
    let (result, _) = run(&*sandbox, &command(&["true", "a\0b"])).await;
    assert!(matches!(&result.end, CommandEnd::CannotStart(_)));
    local.end(sandbox).await;
}

#[tokio::test]
async fn a_keeper_says_nothing_of_its_program_in_its_arguments_and_environment() {
    let local = kept();
    let sandbox = create(&local, "spy").await;
    // A program of root has another user, and may not even look.
    let mut spy =
        shell("tr '\\0' ' ' < /proc/$PPID/cmdline; cat /proc/$PPID/environ 2>/dev/null | wc -c");
    spy.env.insert("SECRET".to_owned(), "s3cret".to_owned());
    let (_, heard) = run(&*sandbox, &spy).await;
    assert!(heard.text().ends_with("forge __sandbox 0\n"), "{heard:?}");
    local.end(sandbox).await;
}

#[tokio::test]
async fn a_program_starts_with_default_signals_and_no_descriptors_of_ours() {
    let local = kept();
    let sandbox = create(&local, "clean").await;
    let script = "sed -n 's/^Sig[BI][lg][kn]:.//p' /proc/self/status; ls /proc/$$/fd";
    let (_, heard) = run(&*sandbox, &shell(script)).await;
    let text = heard.text();
    let lines: Vec<_> = text.lines().collect();
    for mask in &lines[..2] {
        // Above are those of the C library.
        let mask = u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff;
        assert_eq!(mask, 0, "{mask:b}");
    }
    assert_eq!(lines[2..], ["0", "1", "2"]);
    local.end(sandbox).await;
}

#[tokio::test]
async fn a_dropped_command_is_over_when_its_sandbox_is_deleted() {
    let local = kept();
    for script in [
        DAEMON.to_owned() + "; sleep 3600",
        "trap '' TERM; echo $$ > pid; sleep 3600".into(),
    ] {
        let sandbox = create(&local, "dropped").await;
        let mut heard = Heard::default();
        let nasty = shell(&script);
        {
            let mut ran = sandbox.run(&nasty, &mut heard);
            let started = wait_for("the start", || pid(&*sandbox, "pid").is_some());
            tokio::select! {
                _ = &mut ran => panic!("it ended by itself"),
                () = started => {}
            }
        }
        let pid = pid(&*sandbox, "pid").unwrap();
        local.end(sandbox).await;
        assert!(!is_alive(&pid), "{pid} is alive");
    }
}

#[tokio::test]
async fn a_command_dropped_at_any_moment_leaves_nothing() {
    let local = kept();
    for moment in 0..40 {
        let sandbox = create(&local, "moment").await;
        let mut heard = Heard::default();
        let slow = shell("setsid sleep 3600 & sleep 3600");
        let ran = sandbox.run(&slow, &mut heard);
        let limit = Duration::from_micros(moment * 250);
        assert!(tokio::time::timeout(limit, ran).await.is_err());
        local.end(sandbox).await;
    }
}

#[tokio::test]
async fn a_program_whose_keeper_is_killed_ends_and_is_told_as_lost() {
    let local = kept();
    let sandbox = create(&local, "bereft").await;
    let mut heard = Heard::default();
    let script = shell("echo $PPID > keeper; sleep 3600 & echo $! > pid; sleep 3600");
    let killed = async {
        wait_for("the start", || pid(&*sandbox, "pid").is_some()).await;
        let keeper = pid(&*sandbox, "keeper").unwrap().parse().unwrap();
        let keeper = rustix::process::Pid::from_raw(keeper).unwrap();
        rustix::process::kill_process(keeper, rustix::process::Signal::KILL).unwrap();
    };
    let (ran, ()) = futures::join!(sandbox.run(&script, &mut heard), killed);
    let error = ran.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Lost, "{error}");
    assert_eq!(marked(local.base.path()), [0; 0]);
    assert!(!is_alive(&pid(&*sandbox, "pid").unwrap()));
    let (result, _) = run(&*sandbox, &shell("exit 4")).await;
    assert_eq!(result.end, CommandEnd::Exited(4));
    local.end(sandbox).await;
}

#[tokio::test]
async fn a_helper_that_is_no_keeper_is_an_error_and_not_a_verdict() {
    for helper in ["/bin/true", "/bin/cat", "/nonexistent/forge"] {
        let local = local(Some(helper));
        let spec = spec(local.run, "helpless");
        let error = local.provider.create(&spec).await.unwrap_err().error;
        assert!(error.message.contains(helper), "{error}");
        local.assert_nothing_left().await;
    }
}

/// The forge that the next test kills. Not a test.
#[tokio::test]
#[ignore = "started by a_killed_forge_leaves_neither_processes_nor_files"]
async fn a_forge_to_be_killed() {
    let base = std::env::var_os("TMPDIR").unwrap();
    let run_id = RunId::generate();
    let provider = provider(Path::new(&base), Some(FORGE), run_id);
    let sandbox = make(&provider, &spec(run_id, "orphan")).await.unwrap();
    let (result, _) = run(
        &*sandbox,
        &shell(&format!("{DAEMON}; echo $$ > ready; sleep 3600")),
    )
    .await;
    panic!("it ended by itself: {result:?}");
}

#[tokio::test]
async fn a_killed_forge_leaves_neither_processes_nor_files() {
    let base = tempfile::tempdir().unwrap();
    let mut forge = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "local::a_forge_to_be_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("TMPDIR", base.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let ready = || {
        // What is there for the probe only may be gone by now.
        let run = std::fs::read_dir(base.path()).ok()?.next()?.ok()?.path();
        let sandbox = std::fs::read_dir(run).ok()?.next()?.ok()?.path();
        std::fs::metadata(sandbox.join("work/ready")).ok()
    };
    wait_for("the start", || ready().is_some()).await;
    assert!(!marked(base.path()).is_empty());
    forge.kill().unwrap();
    forge.wait().unwrap();
    wait_for("the end", || {
        marked(base.path()).is_empty() && std::fs::read_dir(base.path()).unwrap().next().is_none()
    })
    .await;
}

#[tokio::test]
async fn what_a_dead_run_left_is_swept_with_its_processes() {
    let local = kept();
    let sandbox = create(&local, "dead").await;
    let tmp = sandbox.layout().tmp.clone();
    let mut left = std::process::Command::new("sleep")
        .arg("60")
        .env("TMPDIR", &tmp)
        .spawn()
        .unwrap();
    let base = local.base.path();
    assert_eq!(LocalProvider::sweep_dead(base, Duration::ZERO).unwrap(), 0);
    assert!(left.try_wait().unwrap().is_none(), "a live run was swept");
    drop(sandbox);
    drop(local.provider);
    // The spawner does it too. A process that another test is starting just now shares the hold until it
    // has become its program.
    let swept = || {
        LocalProvider::sweep_dead(base, Duration::ZERO).unwrap();
        std::fs::read_dir(base).unwrap().next().is_none()
    };
    wait_for("the sweep", swept).await;
    assert!(!left.wait().unwrap().success());
}

#[tokio::test]
async fn many_sandboxes_at_once_share_a_folder_that_goes_with_the_last() {
    let local = kept();
    let one = async |serial: u64| {
        for round in 0..10 {
            let mut spec = spec(local.run, "many");
            spec.name = forge::name::SandboxName::new(&local.run, serial * 100 + round, "many");
            let sandbox = make(&local.provider, &spec).await.unwrap();
            let (_, heard) = run(&*sandbox, &shell("echo $$; ls -A")).await;
            assert_eq!(heard.text().lines().count(), 1);
            delete(&local, sandbox).await;
        }
    };
    futures::future::join_all((0..8).map(one)).await;
    local.assert_nothing_left().await;
}

#[tokio::test]
async fn a_name_is_taken_once() {
    let local = kept();
    let twice = spec(local.run, "twice");
    let sandbox = make(&local.provider, &twice).await.unwrap();
    let error = local.provider.create(&twice).await.unwrap_err().error;
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
    local.end(sandbox).await;
}

#[tokio::test]
async fn guarantees_that_cannot_be_kept_are_refused() {
    let local = kept();
    let mut untrusted = spec(local.run, "untrusted");
    untrusted.trust = Trust::Untrusted;
    let mut allowed = spec(local.run, "allowed");
    let list = Network::Allow(vec!["10.0.0.0/8".to_owned()]);
    allowed.networks = Networks::same(list.clone());
    let mut only_setup = spec(local.run, "only-setup");
    only_setup.networks.setup = list;
    for spec in [untrusted, allowed, only_setup] {
        let error = local.provider.create(&spec).await.unwrap_err().error;
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        assert!(error.hint.is_some());
    }
    local.assert_nothing_left().await;
}

#[tokio::test]
async fn hostile_trees_are_deleted() {
    let local = kept();
    let sandbox = create(&local, "trees").await;
    let script = "mkdir -p a/b/c; touch a/b/c/d; ln -s / a/root; ln -s .. a/up; mkfifo a/fifo; \
        i=0; while [ $i -lt 2000 ]; do : > many$i; i=$((i+1)); done; \
        i=0; while [ $i -lt 1500 ]; do mkdir d && cd d || exit 1; i=$((i+1)); done; \
        cd \"$HOME\"; chmod 000 a/b/c a/b a; chmod 000 ../artifacts ../tmp; \
        chmod 000 .. 2>/dev/null; chmod 000 .";
    let (result, heard) = run(&*sandbox, &shell(script)).await;
    assert_eq!(result.end, CommandEnd::Exited(0), "{heard:?}");
    local.end(sandbox).await;
}

#[tokio::test]
async fn areas_that_were_replaced_by_links_are_not_followed() {
    let local = kept();
    let sandbox = create(&local, "swap").await;
    let outside = local.base.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("out.md"), "secret").unwrap();
    let script = format!(
        "mv ../artifacts ../a; ln -s {0} ../artifacts; ln -s {0} link; mv ../work ../w; ln -s {0} ../work",
        outside.display()
    );
    run(&*sandbox, &shell(&script)).await;
    let (home, _) = collect(&*sandbox, &["**"]).await;
    assert_eq!(home.paths(), [""; 0]);
    let planted = [file(Area::Work, "planted", "x", false)];
    // The program of a user can move its folders away; that of root has another user, and cannot.
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(sandbox.upload(&planted).await.is_err(), !is_root);
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    std::fs::remove_dir_all(&outside).unwrap();
    local.end(sandbox).await;
}

#[tokio::test]
async fn uploads_replace_links_instead_of_writing_through_them() {
    let local = kept();
    let sandbox = create(&local, "plant").await;
    let outside = local.base.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("victim"), "before").unwrap();
    let script = format!(
        "ln -s {0}/victim file; ln -s {0} folder; mkfifo fifo",
        outside.display()
    );
    run(&*sandbox, &shell(&script)).await;
    let files = ["file", "folder/victim", "folder/new", "fifo"];
    let files = files.map(|path| file(Area::Work, path, "after", false));
    sandbox.upload(&files).await.unwrap();
    assert_eq!(
        std::fs::read_to_string(outside.join("victim")).unwrap(),
        "before"
    );
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    let (_, heard) = run(&*sandbox, &shell("cat file folder/victim folder/new fifo")).await;
    assert_eq!(heard.text(), "after".repeat(4));
    std::fs::remove_dir_all(&outside).unwrap();
    local.end(sandbox).await;
}

#[tokio::test]
async fn artifacts_with_names_that_are_not_text_are_told() {
    let local = kept();
    let sandbox = create(&local, "names").await;
    let script = "cd ../artifacts; printf x > \"$(printf 'bad\\377')\"; \
        printf x > \"$(printf 'new\\nline')\"; printf x > good; printf x > 'back\\slash'";
    run(&*sandbox, &shell(script)).await;
    let (home, skipped) = collect(&*sandbox, &["*"]).await;
    assert_eq!(home.paths(), ["good"]);
    assert_eq!(skipped.len(), 3, "{skipped:?}");
    assert!(skipped.iter().all(|it| !it.contains('\n')), "{skipped:?}");
    local.end(sandbox).await;
}

#[tokio::test]
async fn endless_folders_of_artifacts_are_given_up_on() {
    let local = kept();
    let sandbox = create(&local, "endless").await;
    let script = "cd ../artifacts; echo x > first; \
        i=0; while [ $i -lt 100 ]; do mkdir d; cd d; i=$((i+1)); done; echo x > last";
    run(&*sandbox, &shell(script)).await;
    let (home, skipped) = collect(&*sandbox, &["**"]).await;
    assert_eq!(home.paths(), ["first"]);
    assert_eq!(skipped.len(), 1, "{skipped:?}");
    local.end(sandbox).await;
}

#[tokio::test]
async fn a_helper_is_known_by_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let forge = folder.path().join("forge");
    let path = folder.path().to_str().unwrap();
    let find = || forge::sandbox::local::find_helper(path);
    std::os::unix::fs::symlink("/bin/true", &forge).unwrap();
    assert_eq!(find().await, None);
    std::fs::remove_file(&forge).unwrap();
    std::os::unix::fs::symlink(FORGE, &forge).unwrap();
    assert_eq!(find().await, Some(forge));
}

#[test]
fn a_keeper_that_was_given_no_socket_says_what_it_is_and_ends() {
    let keeper = std::process::Command::new(FORGE)
        .arg("__sandbox")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(keeper.status.code(), Some(76));
    assert_eq!(BufReader::new(&keeper.stdout[..]).lines().count(), 0);
}

/// A helper that is ended when it is first started, as by somebody who may signal it.
#[tokio::test]
async fn a_helper_that_is_killed_while_the_level_is_chosen_is_started_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let base = tempfile::tempdir().unwrap();
    let (script, mark) = (base.path().join("helper"), base.path().join("mark"));
    let text = format!(
        "#!/bin/sh\n[ -e '{0}' ] && exec '{FORGE}' \"$@\"\n: > '{0}'\nkill -9 $$\n",
        mark.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let run = base.path().join("sandboxes");
    std::fs::create_dir(&run).unwrap();
    let path = "/usr/bin:/bin".to_owned();
    let best = LocalProvider::new(
        LocalOptions::new(run.clone(), path.clone(), Some(FORGE.into())),
        RunId::generate(),
    );
    let provider = LocalProvider::new(
        LocalOptions::new(run, path, Some(script)),
        RunId::generate(),
    );
    let told = provider.describe(None).await.unwrap();
    assert!(mark.exists());
    assert_eq!(told, best.describe(None).await.unwrap());
}
