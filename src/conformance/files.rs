//! Files, on their way in and on their way home.

use crate::quantity::ByteCount;
use crate::sandbox::{Area, CommandEnd, Content, Sandbox, Upload};

use super::Harness;
use super::commands::shout;
use super::hands::{collect, collect_with, command, file, path, run, shell, wanted};

pub(super) async fn uploaded_files_arrive_and_replace(_: &dyn Harness, sandbox: &dyn Sandbox) {
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

pub(super) async fn a_file_of_this_machine_is_uploaded(_: &dyn Harness, sandbox: &dyn Sandbox) {
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

pub(super) async fn only_what_was_asked_for_comes_home(_: &dyn Harness, sandbox: &dyn Sandbox) {
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

pub(super) async fn names_that_are_no_plain_text_stay_away(_: &dyn Harness, sandbox: &dyn Sandbox) {
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

pub(super) async fn a_missing_artifact_is_nothing_to_tell(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let mut what = wanted(&["metrics.json", "*/x"]);
    what.output = path("not/there/either.md");
    let (home, skipped) = collect_with(sandbox, &what).await;
    assert_eq!((home.paths().len(), skipped.len()), (0, 0));
}

pub(super) async fn what_is_not_a_regular_file_stays_away(_: &dyn Harness, sandbox: &dyn Sandbox) {
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

pub(super) async fn folders_that_are_links_are_not_entered(_: &dyn Harness, sandbox: &dyn Sandbox) {
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

pub(super) async fn too_much_stays_away(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let artifacts = &sandbox.layout().artifacts;
    let script = format!(
        "head -c 400 /dev/zero > out.md; cd {artifacts}; dd if=/dev/null of=sparse bs=1 seek=943718400 2>/dev/null; \
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

pub(super) async fn an_empty_artifact_comes_home(_: &dyn Harness, sandbox: &dyn Sandbox) {
    shout(sandbox, ": > out.md").await;
    let (home, _) = collect(sandbox, &[]).await;
    assert_eq!(home.files, [(Area::Work, "out.md".to_owned(), Vec::new())]);
}

pub(super) async fn what_was_announced_comes_home_the_same(_: &dyn Harness, sandbox: &dyn Sandbox) {
    let artifacts = &sandbox.layout().artifacts;
    let script = |text: &str| {
        let script = format!("echo {text} > out.md; echo {text} > {artifacts}/{text}");
        let mut announced = shell(&script);
        announced.then_collect = Some(wanted(&["*"]));
        announced
    };
    for (text, paths) in [
        ("one", &["out.md", "one"][..]),
        ("two", &["out.md", "one", "two"]),
    ] {
        let (result, _) = run(sandbox, &script(text)).await;
        assert_eq!(result.end, CommandEnd::Exited(0));
        let (home, skipped) = collect(sandbox, &["*"]).await;
        assert_eq!(home.paths(), paths);
        assert_eq!(home.files[0].2, format!("{text}\n").as_bytes());
        assert_eq!(skipped, [""; 0]);
    }
    // Nor is one held to it.
    let (home, _) = collect(sandbox, &["t*"]).await;
    assert_eq!(home.paths(), ["out.md", "two"]);
}
