//! Where files are while they come home, and what is left of those that do not.

use std::mem::MaybeUninit;

use proptest::prelude::*;
use rustix::fs::inotify::{CreateFlags, ReadFlags, Reader, WatchFlags, add_watch, init};

use super::*;
use crate::name::{RunId, TrialId};
use crate::store::RunFolder;

fn trial(below: &Path) -> TrialFolder {
    let trial = TrialId {
        objective: "task".parse().unwrap(),
        candidate: "a".parse().unwrap(),
        repeat: 1,
    };
    let folder = RunFolder::create(below, &RunId::generate()).unwrap();
    let folder = folder.trial(&trial);
    folder.begin().unwrap();
    folder
}

fn arrivals(folder: &TrialFolder) -> ArtifactFiles {
    let output = RelativePath::parse("out.md").unwrap();
    let (redactor, base) = (Arc::default(), folder.path());
    ArtifactFiles::new(folder, &output, &redactor, false, base)
}

#[test]
fn what_comes_in_one_piece_is_written_where_it_belongs_and_what_is_cut_off_stays_nowhere() {
    let below = tempfile::tempdir().unwrap();
    let folder = trial(below.path());
    std::fs::create_dir(folder.path().join("files")).unwrap();
    let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    let events = WatchFlags::CREATE | WatchFlags::MOVED_TO;
    add_watch(&watch, folder.path().join("files"), events).unwrap();
    let mut home = arrivals(&folder);
    // The second is cut off by the third, and the artifact by the end.
    for (name, bytes) in [("small", 10), ("cut-off", 10), ("large", SMALL + 1)] {
        let path = RelativePath::parse(name).unwrap();
        home.begin(Area::Artifacts, &path, bytes).unwrap();
        home.write(b"some of it").unwrap();
        if name != "cut-off" {
            home.end().unwrap();
        }
    }
    home.begin(Area::Work, &RelativePath::parse("x.md").unwrap(), 10)
        .unwrap();
    drop(home);
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(&watch, &mut buffer);
    let mut seen = Vec::new();
    while let Ok(event) = reader.next() {
        let name = event.file_name().unwrap().to_str().unwrap().to_owned();
        seen.push((name, event.events().contains(ReadFlags::MOVED_TO)));
    }
    let expected = [("small", false), ("cut-off", false), ("large", true)];
    assert_eq!(seen, expected.map(|(name, moved)| (name.to_owned(), moved)));
    let names = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let left = ["large", "small"].map(str::to_owned);
    assert_eq!(names(&folder.path().join("files")), left.into());
    assert_eq!(names(folder.path()), ["files".to_owned()].into());
}

#[test]
fn what_is_in_the_way_is_replaced_and_never_written_through() {
    let below = tempfile::tempdir().unwrap();
    let folder = trial(below.path());
    let elsewhere = below.path().join("elsewhere");
    std::fs::write(&elsewhere, "mine").unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.path().join("out.md")).unwrap();
    let mut home = arrivals(&folder);
    home.begin(Area::Work, &RelativePath::parse("x.md").unwrap(), 3)
        .unwrap();
    home.write(b"new").unwrap();
    home.end().unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(read(&elsewhere), "mine");
    assert_eq!(read(&folder.path().join("out.md")), "new");
    assert!(!folder.path().join("out.md").is_symlink());
}

/// Arrivals without this secret, whose private folder would be in the other.
fn without(secret: &str, folder: &TrialFolder, base: &Path) -> ArtifactFiles {
    let output = RelativePath::parse("out.md").unwrap();
    let redactor = Arc::new(Redactor::new([crate::secret::Secret::new(secret)]));
    ArtifactFiles::new(folder, &output, &redactor, false, base)
}

fn send(home: &mut ArtifactFiles, area: Area, name: &str, chunks: &[&[u8]]) {
    let bytes = chunks.iter().map(|it| it.len() as u64).sum();
    let name = RelativePath::parse(name).unwrap();
    home.begin(area, &name, bytes).unwrap();
    for chunk in chunks {
        home.write(chunk).unwrap();
    }
    home.end().unwrap();
}

#[test]
fn what_has_no_secret_in_it_is_judged_where_it_is_at_home() {
    let below = tempfile::tempdir().unwrap();
    let base = tempfile::tempdir().unwrap();
    let folder = trial(below.path());
    let mut home = without("hunter2", &folder, base.path());
    send(&mut home, Area::Work, "x.md", &[b"hunter", b"3"]);
    send(&mut home, Area::Artifacts, "a/b", &[b"h"]);
    let left = home.into_left();
    assert_eq!(left.artifact, Some(folder.path().join("out.md")));
    assert_eq!(left.folder, folder.path().join("files"));
    assert_eq!(left.files[0].1, folder.path().join("files/a/b"));
    assert!(std::fs::read_dir(base.path()).unwrap().next().is_none());
}

#[test]
fn where_a_secret_was_in_a_file_or_its_name_all_files_are_judged_in_one_folder_as_they_came() {
    let below = tempfile::tempdir().unwrap();
    let base = tempfile::tempdir().unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    for bad in ["in it: hunter2!", "nothing"] {
        let folder = trial(below.path());
        let mut home = without("hunter2", &folder, base.path());
        send(&mut home, Area::Work, "x.md", &[b"the artifact"]);
        send(&mut home, Area::Artifacts, "d/before", &[b"1"]);
        let name = if bad == "nothing" { "hunter2" } else { "bad" };
        send(&mut home, Area::Artifacts, name, &[bad.as_bytes()]);
        send(&mut home, Area::Artifacts, "d/after", &[b"2"]);
        let redacted: Vec<bool> = home.files.iter().map(|it| it.redacted).collect();
        let left = home.into_left();
        assert_eq!(left.artifact, Some(folder.path().join("out.md")));
        assert!(left.folder.starts_with(base.path()));
        for (name, text) in [("d/before", "1"), (name, bad), ("d/after", "2")] {
            assert_eq!(read(&left.folder.join(name)), text);
            let file = left.files.iter().find(|it| it.0.as_str() == name).unwrap();
            assert_eq!(file.1, left.folder.join(name));
        }
        // A name that is not what it was counts too: nobody can judge it by what is at home.
        assert_eq!(redacted, [false, true, false]);
        let clean = if bad == "nothing" { "***" } else { "bad" };
        let text = read(&folder.path().join("files").join(clean));
        assert_eq!(text, bad.replace("hunter2", "***"));
        drop(left);
        assert!(std::fs::read_dir(base.path()).unwrap().next().is_none());
    }
}

#[test]
fn names_that_are_the_same_without_their_secrets_meet_nobody_in_their_way() {
    let below = tempfile::tempdir().unwrap();
    let base = tempfile::tempdir().unwrap();
    for (secret, names, expected) in [
        (
            "hunter2",
            &["hunter2", "***/f", "***-2", "***/g"][..],
            &["***", "***-2/f", "***-2-2", "***-2/g"][..],
        ),
        (
            "hunter2",
            &["a/hunter2/x", "a/***"],
            &["a/***/x", "a/***-2"],
        ),
        ("files/hunter2", &["files/hunter2"], &["***"]),
        ("files/hunter2", &["hunter2"], &["***"]),
    ] {
        let folder = trial(below.path());
        let mut home = without(secret, &folder, base.path());
        for name in names {
            send(&mut home, Area::Artifacts, name, &[b"in ", name.as_bytes()]);
        }
        let paths: Vec<_> = home.files.iter().map(|it| it.path.clone()).collect();
        let expected: Vec<_> = expected.iter().map(|it| format!("files/{it}")).collect();
        assert_eq!(paths, expected);
        for (file, name) in home.files.iter().zip(names) {
            let text = std::fs::read_to_string(folder.path().join(&file.path)).unwrap();
            assert_eq!(text, format!("in {name}").replace(secret, "***"));
            assert_eq!(
                file.redacted,
                file.path != format!("files/{name}"),
                "{name}"
            );
        }
    }
}

proptest! {
    #[test]
    fn what_is_judged_is_what_came_however_it_came(
        parts in proptest::collection::vec("(hunter2|hun|t|er2|x{0,9}|2hunter)", 0..12),
        size in 1..9_usize,
        announced in prop_oneof![Just(0), Just(SMALL + 1)],
    ) {
        let below = tempfile::tempdir().unwrap();
        let folder = trial(below.path());
        let mut home = without("hunter2", &folder, below.path());
        let text = parts.concat();
        home.begin(Area::Work, &RelativePath::parse("x.md").unwrap(), announced).unwrap();
        for chunk in text.as_bytes().chunks(size) {
            home.write(chunk).unwrap();
        }
        home.end().unwrap();
        let left = home.into_left();
        let judged = left.artifact.clone().unwrap();
        prop_assert_eq!(std::fs::read_to_string(&judged).unwrap(), text.as_str());
        let saved = std::fs::read_to_string(folder.path().join("out.md")).unwrap();
        prop_assert_eq!(&saved, &text.replace("hunter2", "***"));
        prop_assert_eq!(judged == folder.path().join("out.md"), saved == text);
    }
}
