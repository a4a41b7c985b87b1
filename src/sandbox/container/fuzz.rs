//! Fuzzing of what an engine answers: JSON, frames, lines.

use serde::de::DeserializeOwned;

use super::answers::{decode, said};
use super::frames::Frames;
use super::lines::{Lines, Part};
use super::wire::{Container, ContainerRow, CreatedContainer, Image, ImageRow, Info, Version};
use crate::fuzz::{assert_plain, ends, fuzz};
use crate::sandbox::Stream;

/// What cannot be read is told in a line.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    decode(bytes)
        .inspect_err(|told: &String| {
            assert_plain(told);
            assert!(told.chars().count() < 500, "{} bytes", told.len());
        })
        .ok()
}

#[test]
fn fuzz_answers() {
    // What makes no sense is quoted, however long it is.
    let long = format!(r#"{{"Id": ["{}"]}}"#, "x".repeat(5000));
    let long_text = format!(r#"{{"Id": "a", "State": "{}"}}"#, "x".repeat(5000));
    let samples: [&[u8]; 8] = [
        long.as_bytes(),
        long_text.as_bytes(),
        br#"{"Id":"a","State":{"Status":"running"},"Config":{"Labels":{"forge.run":"x"}},"NetworkSettings":{"Networks":{"none":{}}}}"#,
        br#"[{"Id":"a","State":"running","Labels":null}]"#,
        br#"{"message":"no such \u001b[1mimage","cause":"x"}"#,
        br#"{"Version":"27.0","Components":[{"Name":"Podman Engine"}]}"#,
        br#"{"SecurityOptions":["name=userns"],"CgroupVersion":"2"}"#,
        br#"{"Id":"sha256:a","RepoTags":["x:1"],"Labels":{},"Size":-1,"Created":9223372036854775807,"Config":{"User":"0"}}"#,
    ];
    fuzz(file!(), &samples, |bytes| {
        read::<CreatedContainer>(bytes);
        if let Some(container) = read::<Container>(bytes) {
            ends(container.networks());
        }
        read::<Vec<ContainerRow>>(bytes);
        read::<Image>(bytes);
        read::<Vec<ImageRow>>(bytes);
        read::<Version>(bytes);
        read::<Info>(bytes);
        let told = said(bytes);
        assert_plain(&told);
        assert!(told.chars().count() <= 410, "{told}");
    });
}

/// What came of the frames of some bytes, in pieces of some size.
fn framed(bytes: &[u8], size: usize) -> (Vec<u8>, Vec<u8>, bool) {
    let (mut frames, mut out, mut err) = (Frames::default(), Vec::new(), Vec::new());
    let is_fine = bytes.chunks(size).all(|piece| {
        let mut give = |stream, bytes: &[u8]| match stream {
            Stream::Stdout => out.extend_from_slice(bytes),
            Stream::Stderr => err.extend_from_slice(bytes),
        };
        frames.read(piece, &mut give).is_ok()
    });
    (out, err, is_fine)
}

#[test]
fn fuzz_frames() {
    let mut sample = Vec::new();
    for (stream, text) in [(1, "out"), (2, "err\n"), (1, ""), (1, "more"), (2, "!")] {
        sample.extend([stream, 0, 0, 0, 0, 0, 0, u8::try_from(text.len()).unwrap()]);
        sample.extend(text.bytes());
    }
    fuzz(
        file!(),
        &[&sample, b"\x01\0\0\0\xff\xff\xff\xffabc"],
        |bytes| {
            let whole = framed(bytes, bytes.len().max(1));
            assert!(whole.0.len() + whole.1.len() <= bytes.len());
            for size in [1, 3, 8, 13] {
                assert_eq!(framed(bytes, size), whole, "in pieces of {size}");
            }
        },
    );
}

/// What came of some bytes, in pieces of some size: what was given away, and the words of lines.
fn lined(bytes: &[u8], size: usize) -> (Vec<u8>, Vec<String>) {
    let (mut lines, mut given, mut words) = (Lines::new("tok"), Vec::new(), Vec::new());
    for piece in bytes.chunks(size) {
        lines.read(piece, &mut |part| match part {
            Part::Bytes(bytes) => given.extend_from_slice(bytes),
            Part::Line(line) => words.push(line.to_owned()),
        });
    }
    (given, words)
}

#[test]
fn fuzz_lines() {
    let long = [b"\ntok ".as_slice(), &[b'x'; 5000], b"\nafter"].concat();
    fuzz(
        file!(),
        &[
            b"out\ntok end 0\nmore\n\ntok",
            b"\n\ntok a\n\ntok b\n",
            &long,
        ],
        |bytes| {
            let whole = lined(bytes, bytes.len().max(1));
            let words: usize = whole.1.iter().map(String::len).sum();
            // What is no UTF-8 is shown by three bytes each.
            assert!(whole.0.len() + words <= 3 * bytes.len());
            for size in [1, 3, 7] {
                let pieces = lined(bytes, size);
                assert_eq!(pieces.1, whole.1, "in pieces of {size}");
                assert_eq!(pieces.0, whole.0, "in pieces of {size}");
            }
        },
    );
}
