//! Fuzzing of what Daytona answers: JSON, errors, status lines, and files in pieces.

use std::time::Duration;

use axum::http::{HeaderMap, Response, StatusCode};
use serde::de::DeserializeOwned;

use super::client::{decode, refuse};
use super::status::Status;
use super::toolbox::drain;
use super::usage::{Size, Usage, never_fits};
use super::wire::{
    AutoDestroy, Executed, KeyInfo, SandboxList, SandboxRow, ServerConfig, ToolboxUrl,
};
use crate::fuzz::{assert_plain, ends, fuzz};
use crate::sandbox::Presence;
use crate::sandbox::exchange::Answer;

fn json() -> HeaderMap {
    [("content-type", "application/json; charset=utf-8")]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

/// What cannot be read is told in a line.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    decode(&json(), bytes).unwrap_or_else(|trouble| {
        let told = trouble.message();
        assert_plain(&told);
        assert!(told.chars().count() < 500, "{} bytes", told.len());
        None
    })
}

fn row(row: &SandboxRow) {
    assert!(row.presence() == Presence::Alive || row.is_doomed());
    assert!(row.reason().chars().count() <= 310);
    assert_plain(&row.reason());
    ends(row.label("forge.run"));
    if let AutoDestroy::At(at) = &row.auto_destroy_at {
        ends(at.parse::<jiff::Timestamp>());
    }
}

#[test]
fn fuzz_answers() {
    // What makes no sense is quoted, however long it is.
    let long = format!(r#"{{"id": "a", "labels": "{}"}}"#, "x".repeat(5000));
    let samples: [&[u8]; 9] = [
        long.as_bytes(),
        br#"{"id":"a","name":"forge-1","state":"started","desiredState":"destroyed","errorReason":"no \u001b[1mrunner","labels":{"forge.run":"x"},"sandboxClass":"small","toolboxProxyUrl":"https://proxy.example/toolbox","autoDestroyAt":"2026-01-01T00:00:00Z","createdAt":"2026-01-01T00:00:00Z","updatedAt":"2026-01-01T00:00:00Z"}"#,
        br#"[{"id":"a","state":"build_failed"},{"id":"b","state":null,"autoDestroyAt":null}]"#,
        br#"{"items":[{"id":"a"}],"nextCursor":"x","total":1,"page":1}"#,
        br#"{"exitCode":-1,"result":"forge-status exited 0 12 0 0 none no "}"#,
        br#"{"name":"ci","permissions":["write:sandboxes"],"expiresAt":null,"organizationId":"o"}"#,
        br#"{"version":"0.190.0","defaultSnapshot":"s","rateLimit":{"a":{"ttl":60,"limit":10},"b":null}}"#,
        br#"{"url":"https://proxy.example"}"#,
        br#"{"regionUsage":[{"regionId":"eu","totalCpuQuota":10,"currentCpuUsage":4,"totalMemoryQuota":20,"currentMemoryUsage":8,"totalDiskQuota":30,"currentDiskUsage":3}]}"#,
    ];
    fuzz(file!(), &samples, |bytes| {
        read::<SandboxRow>(bytes).iter().for_each(row);
        match read::<SandboxList>(bytes) {
            Some(SandboxList::Bare(items) | SandboxList::Page { items, .. }) => {
                items.iter().for_each(row);
            }
            None => {}
        }
        read::<Executed>(bytes);
        read::<KeyInfo>(bytes);
        read::<ServerConfig>(bytes);
        read::<ToolboxUrl>(bytes);
        let size = Size {
            cpu: 1,
            memory: 1,
            disk: 3,
        };
        if let Some(usage) = read::<Usage>(bytes) {
            for pool in usage.pools() {
                ends(pool.fits(size));
            }
        }
        for status in [200, 400, 401, 403, 404, 409, 429, 500, 503] {
            let status = StatusCode::from_u16(status).unwrap();
            let told = refuse(status, &json(), bytes).message();
            assert_plain(&told);
            assert!(told.chars().count() < 1000, "{told}");
        }
        ends(never_fits(Some(size), &String::from_utf8_lossy(bytes)));
    });
}

#[test]
fn fuzz_status_line() {
    let samples: [&[u8]; 4] = [
        b"forge-status exited 0 1200000 0 0 packed yes \n",
        b"motd\nforge-status cannotstart 127 12 3 4 loose unable no such file\n",
        b"forge-status open 0 18446744073709551615 0 0 none no \n",
        b"forge-status timedout 0 1 18446744073709551615 1 none no x\n",
    ];
    let command = crate::sandbox::Command {
        programs: vec![vec!["sh".to_owned()]],
        arguments: Vec::new(),
        read: Vec::new(),
        env: std::collections::BTreeMap::new(),
        limit: Duration::from_secs(1),
        output_limit: crate::quantity::ByteCount::kib(64),
        stage: crate::sandbox::Stage::Run,
        then_collect: None,
    };
    fuzz(file!(), &samples, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Some(status) = Status::parse(&text, &command) {
            assert_plain(&format!("{:?}", status.end));
        }
    });
}

/// A part of a file, from a server that minds the range or not, and sends more, or less, than was asked for: what is
/// taken is the part, and never more.
#[test]
fn fuzz_ranges() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    fuzz(
        file!(),
        &[b"\x01\x05\x07abcdefghijklmnop", b"\x00\x00\xffabc"],
        |bytes| {
            let [minds, from, most, body @ ..] = bytes else {
                return;
            };
            let (minds, from, most) = (minds % 2 == 1, u64::from(*from), u64::from(*most));
            let status = if minds { 206 } else { 200 };
            let response = Response::builder()
                .status(status)
                .body(body.to_vec())
                .unwrap();
            let mut taken = Vec::new();
            let mut got = 0;
            let mut take = |bytes: &[u8]| {
                taken.extend_from_slice(bytes);
                Ok(())
            };
            let done = runtime.block_on(drain(
                Answer::bare(response),
                from,
                most,
                &mut got,
                &mut take,
            ));
            assert!(done.is_ok());
            let skipped = if minds {
                0
            } else {
                body.len().min(usize::from(bytes[1]))
            };
            let expected = &body[skipped..];
            let expected = &expected[..expected.len().min(usize::from(bytes[2]))];
            if most > 0 {
                assert_eq!((taken.as_slice(), got), (expected, expected.len() as u64));
            }
        },
    );
}
