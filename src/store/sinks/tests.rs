//! Where files are while they come home, and what is left of those that do not.

use std::mem::MaybeUninit;

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
