//! Fuzzing of what a far end leaves: archives, and notes of what is behind the other.

use std::io::Cursor;

use super::bundle::{Index, Kind, index, loose_index};
use crate::archive::Writer;
use crate::fuzz::fuzz;
use crate::name::RelativePath;

/// What is said to be in there is in there.
fn assert_inside(entries: &Index, total: u64, most: usize) {
    assert!(entries.len() <= most);
    for (name, kind) in entries {
        assert!(!name.is_empty());
        if let Kind::File(span) = kind {
            let end = span.offset.checked_add(span.bytes);
            assert!(
                end.is_some_and(|end| end <= total),
                "{name}: {span:?} of {total}"
            );
        }
    }
}

#[test]
fn fuzz_bundle() {
    let mut writer = Writer::new(Vec::new());
    for (name, mut content) in [
        ("work/post.md", &b"post"[..]),
        ("artifacts/a/b.png", &[0; 600]),
    ] {
        let path = RelativePath::parse(name).unwrap();
        writer
            .file(&path, false, content.len() as u64, &mut content)
            .unwrap();
    }
    let sample = writer.finish().unwrap();
    fuzz(file!(), &[&sample], |bytes| {
        let entries = index(&mut Cursor::new(bytes)).unwrap();
        assert_inside(&entries, bytes.len() as u64, bytes.len() / 512 + 1);
    });
}

#[test]
fn fuzz_loose_bundle() {
    let samples: [&[u8]; 2] = [
        b"forge ./\0file 3 ./a\0file 0 ./e m\npty\0file 4 ./x\xff\0large ./b\0file 5 ./c\0",
        b"file 18446744073709551615 ./a\0file 1 ./b\0",
    ];
    fuzz(file!(), &samples, |bytes| {
        for total in [0, 5, 11, u64::MAX] {
            assert_inside(&loose_index(bytes, total), total, bytes.len());
        }
    });
}
