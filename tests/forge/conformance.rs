//! What every provider owes forge, as one list of cases.
//!
//! A provider joins with a [`Harness`] and one line: `conformance::cases!(its_harness().await);`, where the harness is
//! `None` when this machine cannot have it: each local isolation joins, and `FakeDaytona`, warm, cold, and without `tar`. Each case gets a fresh sandbox, which is deleted afterwards, and is then looked for.

use std::time::{Duration, Instant};

use forge::name::{RunId, SandboxName};
use forge::quantity::ByteCount;
use forge::sandbox::{
    Area, CommandEnd, Content, Networks, Presence, Provider, Sandbox, SandboxError, SandboxSpec,
    Stream, Trust, Upload,
};
use futures::future::BoxFuture;

use crate::support::{Heard, collect, collect_with, command, file, path, run, shell, wanted};

/// A provider under test, with whatever it needs to live as long as it.
pub(crate) trait Harness: Send + Sync {
    /// The provider.
    fn provider(&self) -> &dyn Provider;
    /// The run that its sandboxes are to belong to.
    fn run(&self) -> RunId;
    /// Whether every folder of the layout is made for the one sandbox, and empty at first. Where it is not,
    /// the provider keeps things of its own in forge's folder, and `TMPDIR` is that of the sandbox's system.
    fn owns_all_folders(&self) -> bool {
        true
    }
    /// Fails the test when anything is left once all sandboxes are deleted.
    fn assert_nothing_left(&self) -> BoxFuture<'_, ()>;
}

/// What a trusted candidate gets.
pub(crate) fn spec(run: RunId, what: &str) -> SandboxSpec {
    SandboxSpec {
        name: SandboxName::new(&run, 1, what),
        run,
        labels: std::collections::BTreeMap::new(),
        lifetime: Duration::from_secs(600),
        networks: Networks::default(),
        trust: Trust::Trusted,
        image: None,
        python: None,
        may_be_kept: false,
    }
}

/// A fresh sandbox.
pub(crate) async fn create(harness: &dyn Harness, what: &str) -> Box<dyn Sandbox> {
    let spec = spec(harness.run(), what);
    make(harness.provider(), &spec).await.unwrap()
}

/// Creates a sandbox, and waits until it is ready.
pub(crate) async fn make(
    provider: &dyn Provider,
    spec: &SandboxSpec,
) -> Result<Box<dyn Sandbox>, SandboxError> {
    provider.create(spec).await?.ready.await
}

/// Whether a sandbox is over, as the reaper would find it.
pub(crate) fn is_over(presence: &Presence) -> bool {
    matches!(presence, Presence::Gone | Presence::Absent)
}

/// Deletes a sandbox and makes sure that it is gone.
pub(crate) async fn delete(harness: &dyn Harness, sandbox: Box<dyn Sandbox>) {
    let id = sandbox.id().clone();
    drop(sandbox);
    let provider = harness.provider();
    let patience = Instant::now() + Duration::from_secs(30);
    let mut presence = provider.delete(&id).await.unwrap();
    loop {
        let listed = provider.list(&harness.run()).await.unwrap();
        let shown = listed.iter().find(|it| it.id == id);
        if shown.is_none_or(|it| is_over(&it.presence)) && is_over(&presence) {
            break;
        }
        assert!(Instant::now() < patience, "{id} is still there");
        tokio::time::sleep(Duration::from_millis(50)).await;
        presence = provider.look(&id).await.unwrap();
    }
    assert!(is_over(&provider.delete(&id).await.unwrap()), "once more");
}

/// Makes one test of each case.
macro_rules! cases {
    ($harness:expr) => {
        $crate::conformance::cases!($harness;
            a_new_sandbox_is_empty
            a_sandbox_is_found_by_its_name_and_listed_by_its_run
            arguments_arrive_byte_for_byte
            the_environment_is_what_was_asked_for
            standard_input_is_closed
            the_streams_stay_apart
            output_over_the_limit_is_counted
            exit_codes_are_told
            a_signal_is_told
            the_first_program_that_exists_is_run
            missing_programs_are_named
            what_cannot_start_is_told
            the_limit_ends_the_whole_tree_and_keeps_what_was_written
            a_dropped_command_ends_and_its_sandbox_lives
            uploaded_files_arrive_and_replace
            a_file_of_this_machine_is_uploaded
            only_what_was_asked_for_comes_home
            names_that_are_no_plain_text_stay_away
            a_missing_artifact_is_nothing_to_tell
            what_is_not_a_regular_file_stays_away
            folders_that_are_links_are_not_entered
            too_much_stays_away
            an_empty_artifact_comes_home
        );
    };
    ($harness:expr; $($case:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(harness) = $harness else {
                    return;
                };
                let sandbox = $crate::conformance::create(&harness, stringify!($case)).await;
                $crate::conformance::$case(&harness, &*sandbox).await;
                $crate::conformance::delete(&harness, sandbox).await;
                $crate::conformance::Harness::assert_nothing_left(&harness).await;
            }
        )+
    };
}
pub(crate) use cases;

async fn shout(sandbox: &dyn Sandbox, script: &str) -> String {
    let (result, heard) = run(sandbox, &shell(script)).await;
    assert_eq!(
        result.end,
        CommandEnd::Exited(0),
        "{script}: {}",
        String::from_utf8_lossy(&heard.stderr)
    );
    heard.text()
}

/// A path of the layout as programs of the sandbox see it: `FakeDaytona` has another folder in its place.
async fn as_seen_inside(sandbox: &dyn Sandbox, path: &str) -> String {
    shout(sandbox, &format!("printf %s {path}")).await
}

pub(crate) async fn a_new_sandbox_is_empty(harness: &dyn Harness, sandbox: &dyn Sandbox) {
    let layout = sandbox.layout();
    let mut folders = vec![&layout.work, &layout.artifacts];
    if harness.owns_all_folders() {
        folders.extend([&layout.forge, &layout.tmp]);
    }
    for folder in folders {
        // Other folders of the layout may be below this one, as may be the sandbox itself below its `/tmp`.
        let others = [&layout.work, &layout.artifacts, &layout.forge];
        let below = others.map(|other| other.strip_prefix(&format!("{folder}/")));
        let expected: Vec<_> = below
            .into_iter()
            .flatten()
            .filter_map(|path| path.split('/').next())
            .collect();
        let listed = shout(sandbox, &format!("ls -A {folder}")).await;
        let strange: Vec<_> = listed
            .lines()
            .filter(|name| !expected.contains(name))
            .collect();
        assert_eq!(strange, [""; 0], "{folder}");
    }
    let script = format!(
        "pwd -P; cd {} && pwd -P; cd \"$HOME\" && pwd -P",
        layout.work
    );
    let said = shout(sandbox, &script).await;
    let [first, work, home] = said.lines().collect::<Vec<_>>()[..] else {
        panic!("{said}");
    };
    assert_eq!((first, home), (work, work));
}

pub(crate) async fn a_sandbox_is_found_by_its_name_and_listed_by_its_run(
    harness: &dyn Harness,
    sandbox: &dyn Sandbox,
) {
    let provider = harness.provider();
    let listed = provider.list(&harness.run()).await.unwrap();
    let mine = listed.iter().find(|it| it.id == *sandbox.id()).unwrap();
    let found = provider
        .find(Some(&harness.run()), &mine.name)
        .await
        .unwrap();
    assert_eq!(found.as_ref(), Some(sandbox.id()));
    let other = RunId::generate();
    assert_eq!(provider.list(&other).await.unwrap(), []);
    let name = SandboxName::new(&other, 1, "x");
    assert_eq!(
        provider.find(Some(&harness.run()), &name).await.unwrap(),
        None
    );
}

pub(crate) async fn arguments_arrive_byte_for_byte(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let long = "p\u{e4}r ".repeat(20_000)[..96 * 1024].to_owned();
    for text in [
        "",
        " ",
        "it's \"quoted\" `here` and \\ there",
        "$HOME ${HOME} $(date) %s ! # ~ * ? [a] {a,b} & ; | < > ()",
        "line\nline\r\n\ttab\n\n",
        "\u{1f389} caf\u{e9} \u{202e}",
        "--help",
        "\u{1}\u{7f}\u{1b}[31m",
        &long,
    ] {
        let mut printf = shell("printf %s, \"$#\" \"$@\"");
        printf.arguments.push("sh".to_owned());
        printf
            .arguments
            .extend([text.to_owned(), "last".to_owned()]);
        let (result, heard) = run(sandbox, &printf).await;
        assert_eq!(result.end, CommandEnd::Exited(0), "{text:?}");
        assert!(heard.text() == format!("2,{text},last,"), "{text:?}");
    }
}

pub(crate) async fn the_environment_is_what_was_asked_for(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let mut env = command(&["env", "-0"]);
    env.env
        .insert("FORGE_TRIAL".to_owned(), "a b\n=\"$x'".to_owned());
    env.env.insert("EMPTY".to_owned(), String::new());
    let (result, heard) = run(sandbox, &env).await;
    assert_eq!(result.end, CommandEnd::Exited(0));
    let text = heard.text();
    let mut seen: Vec<_> = text.trim_end_matches('\0').split('\0').collect();
    seen.sort_unstable();
    // A provider may say what its user is called.
    let names = ["USER=", "LOGNAME=", "GIT_CONFIG_SYSTEM="];
    seen.retain(|it| !names.iter().any(|name| it.starts_with(name)));
    let layout = sandbox.layout();
    let (home, tmp) = (
        format!("HOME={}", as_seen_inside(sandbox, &layout.work).await),
        format!("TMPDIR={}", as_seen_inside(sandbox, &layout.tmp).await),
    );
    let exact = ["EMPTY=", "FORGE_TRIAL=a b\n=\"$x'", &home, "LANG=C.UTF-8"];
    assert_eq!(seen[..4], exact);
    assert!(seen[4].starts_with("PATH=/"), "{}", seen[4]);
    assert_eq!(seen[5..], [tmp]);
}

pub(crate) async fn standard_input_is_closed(_: &dyn Harness, sandbox: &dyn Sandbox) {
    assert_eq!(shout(sandbox, "cat; echo end").await, "end\n");
}

pub(crate) async fn the_streams_stay_apart(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let script = "i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done";
    let (_, heard) = run(sandbox, &shell(script)).await;
    let lines = |word| {
        let lines: Vec<_> = (0..500).map(|i| format!("{word} {i}\n")).collect();
        lines.concat()
    };
    assert_eq!(heard.text(), lines("out"));
    assert_eq!(String::from_utf8_lossy(&heard.stderr), lines("err"));
}

pub(crate) async fn output_over_the_limit_is_counted(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let mut flood = shell("head -c 300000 /dev/zero | tr '\\0' x; printf err >&2");
    flood.output_limit = ByteCount(100_000);
    let (result, heard) = run(sandbox, &flood).await;
    assert_eq!(result.end, CommandEnd::Exited(0));
    assert_eq!(heard.stdout.len(), 100_000);
    assert_eq!(heard.dropped.get(&Stream::Stdout), Some(&200_000));
    assert_eq!(heard.stderr, b"err");
    assert_eq!(heard.dropped.get(&Stream::Stderr), None);
}

pub(crate) async fn exit_codes_are_told(_: &dyn Harness, sandbox: &dyn Sandbox) {
    for code in [0, 1, 2, 71, 100, 124, 125, 126, 127, 128, 137, 143, 255] {
        let (result, _) = run(sandbox, &shell(&format!("exit {code}"))).await;
        assert_eq!(result.end, CommandEnd::Exited(code));
    }
}

pub(crate) async fn a_signal_is_told(_: &dyn Harness, sandbox: &dyn Sandbox) {
    for signal in [9, 15] {
        let (result, _) = run(sandbox, &shell(&format!("kill -{signal} $$"))).await;
        assert_eq!(result.end, CommandEnd::Signalled(signal));
    }
}

pub(crate) async fn the_first_program_that_exists_is_run(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let mut tried = command(&["no-such-program", "1", "2"]);
    tried.programs.push(vec!["./nor-this".to_owned()]);
    tried
        .programs
        .push(vec!["printf".to_owned(), "%s+".to_owned()]);
    tried.programs.push(vec!["false".to_owned()]);
    let (result, heard) = run(sandbox, &tried).await;
    assert_eq!(
        (result.end, heard.text()),
        (CommandEnd::Exited(0), "1+2+".to_owned())
    );
}

pub(crate) async fn missing_programs_are_named(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let mut missing = command(&["no-such-program"]);
    missing
        .programs
        .push(vec!["./nor-this".to_owned(), "x".to_owned()]);
    let (result, _) = run(sandbox, &missing).await;
    let names = ["no-such-program", "./nor-this"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(result.end, CommandEnd::NotFound(names));
}

pub(crate) async fn what_cannot_start_is_told(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let files = [
        file(Area::Work, "plain", "#!/bin/sh\n", false),
        file(Area::Work, "orphan", "#!/no/such/interpreter\n", true),
    ];
    sandbox.upload(&files).await.unwrap();
    for program in ["./plain", "./orphan"] {
        let (result, _) = run(sandbox, &command(&[program])).await;
        assert!(
            matches!(&result.end, CommandEnd::CannotStart(_)),
            "{program}: {result:?}"
        );
    }
}

pub(crate) async fn the_limit_ends_the_whole_tree_and_keeps_what_was_written(
    _: &dyn Harness,
    sandbox: &dyn Sandbox,
) {
    let script = "(while :; do echo >> beat; sleep 0.05; done) & \
        echo partial > out.md; echo said; echo warned >&2; sleep 60";
    let mut slow = shell(script);
    slow.limit = Duration::from_millis(700);
    let (result, heard) = run(sandbox, &slow).await;
    assert_eq!(result.end, CommandEnd::TimedOut);
    assert!(result.took >= slow.limit);
    assert_eq!(
        (heard.text().as_str(), &heard.stderr[..]),
        ("said\n", &b"warned\n"[..])
    );
    let (home, skipped) = collect(sandbox, &[]).await;
    assert_eq!(
        home.files,
        [(Area::Work, "out.md".to_owned(), b"partial\n".to_vec())]
    );
    assert_eq!(skipped, [""; 0]);
    let still = "cp beat one; sleep 0.3; cmp one beat";
    shout(sandbox, still).await;
}

pub(crate) async fn a_dropped_command_ends_and_its_sandbox_lives(
    _: &dyn Harness,
    sandbox: &dyn Sandbox,
) {
    let mut heard = Heard::default();
    let slow = shell("echo here > out.md; sleep 60");
    let ran = sandbox.run(&slow, &mut heard);
    assert!(
        tokio::time::timeout(Duration::from_millis(500), ran)
            .await
            .is_err()
    );
    let (home, _) = collect(sandbox, &[]).await;
    assert_eq!(home.paths(), ["out.md"]);
}

pub(crate) async fn uploaded_files_arrive_and_replace(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let files = [
        file(Area::Work, "deep/er/agent.sh", "#!/bin/sh\nexit 1\n", false),
        file(Area::Forge, "prompt.md", "do \"it\"\n", false),
        file(Area::Artifacts, "seed", "", false),
        file(
            Area::Work,
            "deep/er/agent.sh",
            "#!/bin/sh\necho \"$0\" \"$1\"\n",
            true,
        ),
    ];
    sandbox.upload(&files).await.unwrap();
    let (result, heard) = run(sandbox, &command(&["./deep/er/agent.sh", "x"])).await;
    assert_eq!(result.end, CommandEnd::Exited(0));
    assert!(heard.text().ends_with("deep/er/agent.sh x\n"), "{heard:?}");
    let layout = sandbox.layout();
    let script = format!(
        "cat {}; test -f {}; test ! -x {}",
        layout.path(Area::Forge, &path("prompt.md")),
        layout.path(Area::Artifacts, &path("seed")),
        layout.path(Area::Forge, &path("prompt.md")),
    );
    assert_eq!(shout(sandbox, &script).await, "do \"it\"\n");
}

pub(crate) async fn a_file_of_this_machine_is_uploaded(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let here = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
    std::fs::write(here.path(), &bytes).unwrap();
    let upload = |content| Upload {
        area: Area::Work,
        path: path("out.md"),
        content,
        executable: false,
    };
    let file = upload(Content::File(here.path().to_owned()));
    sandbox.upload(std::slice::from_ref(&file)).await.unwrap();
    let (home, _) = collect(sandbox, &[]).await;
    assert!(home.files[0].2 == bytes);
    for bad in ["/nonexistent/file", "/dev"] {
        let file = upload(Content::File(bad.into()));
        assert!(sandbox.upload(&[file]).await.is_err(), "{bad}");
    }
}

pub(crate) async fn only_what_was_asked_for_comes_home(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let artifacts = &sandbox.layout().artifacts;
    let script = format!(
        "echo out > out.md; echo no > other.md; cd {artifacts}; mkdir -p charts/deep all/of/it; \
         for f in metrics.json charts/b.png charts/a.png charts/a.txt charts/deep/c.png \
         all/1 all/of/2 all/of/it/3 extra; do echo $f > $f; done"
    );
    shout(sandbox, &script).await;
    let (home, skipped) = collect(
        sandbox,
        &["charts/*.png", "metrics.json", "all/**", "none/*"],
    )
    .await;
    let expected = [
        "out.md",
        "all/1",
        "all/of/2",
        "all/of/it/3",
        "charts/a.png",
        "charts/b.png",
        "metrics.json",
    ];
    assert_eq!(home.paths(), expected);
    assert_eq!(home.files[4].2, b"charts/a.png\n");
    assert_eq!(
        (home.files[0].0, home.files[1].0),
        (Area::Work, Area::Artifacts)
    );
    assert_eq!(skipped, [""; 0]);
    let (home, _) = collect(sandbox, &["*"]).await;
    assert_eq!(home.paths(), ["out.md", "extra", "metrics.json"]);
    let (home, _) = collect(sandbox, &["{charts/deep,all}/[a-c1]*"]).await;
    assert_eq!(home.paths(), ["out.md", "all/1", "charts/deep/c.png"]);
}

pub(crate) async fn names_that_are_no_plain_text_stay_away(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let artifacts = &sandbox.layout().artifacts;
    // The second line of one name is the path of a file that nobody asked for.
    let script = format!(
        "echo fine > fine; echo private > private; cd {artifacts}; echo fine > fine.png; \
         echo x > \"$(printf 'back\\134141.png')\"; echo x > \"$(printf 'latin\\351.png')\"; \
         echo x > \"$(printf 'tab\\t.png')\"; n=$(printf 'two\\n'.); mkdir -p \"$n\"; \
         echo x > \"$n/private\"; echo x > \"$(printf 'line\\nline.png')\"; \
         echo x > \"$(printf 'two\\n-C..')\"; echo '  ' > '  .png'; echo x > '-C.png'"
    );
    shout(sandbox, &script).await;
    let (home, skipped) = collect(sandbox, &["*.png", "two*"]).await;
    assert_eq!(home.paths(), ["  .png", "-C.png", "fine.png"]);
    assert_eq!(home.files[2].2, b"fine\n");
    assert!(
        skipped
            .iter()
            .all(|it| it.ends_with(": has a name that is not plain text")),
        "{skipped:?}"
    );
    for name in [
        "back\\141.png",
        "latin\u{fffd}.png",
        "line\\nline.png",
        "tab\\t.png",
    ] {
        let told = skipped.iter().filter(|it| it.starts_with(name)).count();
        assert_eq!(told, 1, "{name}: {skipped:?}");
    }
    let (home, _) = collect(sandbox, &["**"]).await;
    assert_eq!(home.paths(), ["  .png", "-C.png", "fine.png"]);
}

pub(crate) async fn a_missing_artifact_is_nothing_to_tell(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let mut what = wanted(&["metrics.json", "*/x"]);
    what.output = path("not/there/either.md");
    let (home, skipped) = collect_with(sandbox, &what).await;
    assert_eq!((home.paths().len(), skipped.len()), (0, 0));
}

pub(crate) async fn what_is_not_a_regular_file_stays_away(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let artifacts = &sandbox.layout().artifacts;
    let script = format!(
        "ln -s /etc/passwd out.md; cd {artifacts}; ln -s /etc/passwd link; ln -s gone dangling; \
         mkfifo fifo; mkdir folder; echo fine > fine"
    );
    shout(sandbox, &script).await;
    let (home, skipped) = collect(sandbox, &["link", "dangling", "fifo", "folder", "fine"]).await;
    assert_eq!(home.paths(), ["fine"]);
    let names: Vec<_> = skipped
        .iter()
        .map(|it| it.split(':').next().unwrap())
        .collect();
    assert_eq!(
        names,
        ["dangling", "fifo", "folder", "link", "out.md"],
        "{skipped:?}"
    );
}

pub(crate) async fn folders_that_are_links_are_not_entered(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let artifacts = &sandbox.layout().artifacts;
    let script = format!(
        "mkdir real; echo secret > real/secret; ln -s real way; cd {artifacts}; \
         ln -s /etc etc; ln -s . loop"
    );
    shout(sandbox, &script).await;
    let mut what = wanted(&["etc/passwd", "loop/**", "etc/*"]);
    what.output = path("way/secret");
    let (home, skipped) = collect_with(sandbox, &what).await;
    assert_eq!(home.paths(), [""; 0]);
    let told = |name: &str| skipped.iter().any(|it| it.starts_with(name));
    assert!(told("way") && told("etc") && told("loop"), "{skipped:?}");
}

pub(crate) async fn too_much_stays_away(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let artifacts = &sandbox.layout().artifacts;
    let script = format!(
        "head -c 400 /dev/zero > out.md; cd {artifacts}; truncate -s 900M sparse; \
         head -c 500 /dev/zero > big; head -c 601 /dev/zero > bigger; echo a > x1; echo b > x2"
    );
    shout(sandbox, &script).await;
    let mut what = wanted(&["*"]);
    what.limit = ByteCount(1000);
    what.max_files = 3;
    let (home, skipped) = collect_with(sandbox, &what).await;
    assert_eq!(home.paths(), ["out.md", "big", "x1"]);
    let names: Vec<_> = skipped
        .iter()
        .map(|it| it.split(':').next().unwrap())
        .collect();
    assert_eq!(names, ["bigger", "sparse", "x2"], "{skipped:?}");
}

pub(crate) async fn an_empty_artifact_comes_home(_: &dyn Harness, sandbox: &dyn Sandbox) {
    shout(sandbox, ": > out.md").await;
    let (home, _) = collect(sandbox, &[]).await;
    assert_eq!(home.files, [(Area::Work, "out.md".to_owned(), Vec::new())]);
}
