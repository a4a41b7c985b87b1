//! A sandbox from its creation to its deletion, as its provider tells it.

use crate::name::{RunId, SandboxName};
use crate::sandbox::{Area, Presence, Sandbox};

use super::commands::shout;
use super::hands::{collect, collect_with, file, run, shell, wanted};
use super::{Harness, Lack, create, delete, delete_by_id};

pub(super) async fn a_new_sandbox_is_empty(harness: &dyn Harness, sandbox: &dyn Sandbox) {
    let layout = sandbox.layout();
    let mut folders = vec![&layout.work, &layout.artifacts];
    if !harness.lacks().contains(&Lack::OwnFolders) {
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

pub(super) async fn a_sandbox_is_found_by_its_name_and_listed_by_its_run(
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

pub(super) async fn two_sandboxes_share_nothing(harness: &dyn Harness, sandbox: &dyn Sandbox) {
    let other = create(harness, "other").await;
    assert_ne!(sandbox.id(), other.id());
    let text = [file(Area::Work, "out.md", "mine\n", false)];
    sandbox.upload(&text).await.unwrap();
    let (home, skipped) = collect(&*other, &[]).await;
    assert_eq!((home.paths().len(), skipped.len()), (0, 0));
    shout(&*other, "echo other > out.md").await;
    let ids = [sandbox.id(), other.id()].map(Clone::clone);
    let listed = harness.provider().list(&harness.run()).await.unwrap();
    for id in &ids {
        let mine: Vec<_> = listed.iter().filter(|it| it.id == *id).collect();
        assert_eq!(mine.len(), 1, "{listed:?}");
        assert_eq!(mine[0].presence, Presence::Alive);
        let alive = harness.provider().look(id).await.unwrap();
        assert_eq!(alive, Presence::Alive);
    }
    delete(harness, other).await;
    let (home, _) = collect(sandbox, &[]).await;
    assert_eq!(home.files[0].2, b"mine\n");
}

pub(super) async fn a_deleted_sandbox_is_found_no_more(
    harness: &dyn Harness,
    sandbox: &dyn Sandbox,
) {
    let provider = harness.provider();
    let other = create(harness, "other").await;
    let id = other.id().clone();
    let listed = provider.list(&harness.run()).await.unwrap();
    let name = listed.into_iter().find(|it| it.id == id).unwrap().name;
    assert_eq!(provider.find(None, &name).await.unwrap(), Some(id));
    delete(harness, other).await;
    for run in [None, Some(&harness.run())] {
        assert_eq!(provider.find(run, &name).await.unwrap(), None);
    }
    shout(sandbox, "true").await;
}

pub(super) async fn what_is_at_hand_comes_home_when_its_sandbox_is_gone(
    harness: &dyn Harness,
    _: &dyn Sandbox,
) {
    let other = create(harness, "other").await;
    let what = wanted(&["*.json"]);
    assert!(!other.has_at_hand(&what));
    let artifacts = &other.layout().artifacts;
    let mut command = shell(&format!("echo out > out.md; echo 1 > {artifacts}/a.json"));
    command.then_collect = Some(what.clone());
    run(&*other, &command).await;
    assert!(!other.has_at_hand(&wanted(&["*"])));
    if other.has_at_hand(&what) {
        delete_by_id(harness, other.id()).await;
    }
    let (home, _) = collect_with(&*other, &what).await;
    assert_eq!(home.paths(), ["out.md", "a.json"]);
    delete(harness, other).await;
}
