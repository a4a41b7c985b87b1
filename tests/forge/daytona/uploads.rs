//! What goes into a sandbox, and what that takes of this machine.

use std::time::Duration;

use forge::name::RelativePath;
use forge::sandbox::{Area, Content, Upload};

use super::Setup;
use crate::support::allocations::counted;
use crate::support::fake_daytona::Route;

/// As many as make a folder of a usual size, each as large as one that is read at once.
const FILES: usize = 500;
const BYTES: usize = 64 << 10;

#[test]
fn many_small_files_are_sent_without_being_in_memory_together() {
    let setup = Setup::started(true);
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<Upload> = (0..FILES)
        .map(|index| {
            let name = format!("{index}.bin");
            let path = folder.path().join(&name);
            std::fs::write(&path, vec![b'x'; BYTES]).unwrap();
            Upload {
                area: Area::Work,
                path: RelativePath::parse(&name).unwrap(),
                content: Content::File(path),
                executable: false,
            }
        })
        .collect();
    // On this thread alone, whose memory is counted.
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let sandbox = runtime.block_on(setup.sandbox());
    let upload =
        async { tokio::time::timeout(Duration::from_secs(60), sandbox.upload(&files)).await };
    let (sent, asked) = counted(|| runtime.block_on(upload));
    sent.unwrap().unwrap();
    assert_eq!(setup.fake.requests_to(Route::BulkUpload), 1);
    let home = setup.fake.home(sandbox.id().as_str()).unwrap();
    let there = std::fs::read_dir(home).unwrap().count();
    assert_eq!(there, FILES);
    let all = (FILES * BYTES) as u64;
    assert!(
        asked.most < all / 8,
        "{} of {all} bytes at once",
        asked.most
    );
    runtime.block_on(setup.delete(sandbox.as_ref()));
}
