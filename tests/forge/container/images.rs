//! What containers are made from.

use std::sync::Arc;

use forge::conformance::hands::{run, shell};
use forge::conformance::{Harness as _, create, delete, make, spec};
use forge::name::{RelativePath, RunId};
use forge::sandbox::container::{ContainerOptions, Pull};
use forge::sandbox::{Area, CommandEnd, Content, ErrorKind, Image, Remains, SandboxSpec, Upload};

use super::{Box, with};
use crate::support::engine::{BUSYBOX, Engine, engine};

async fn refused(image: &str) -> forge::sandbox::SandboxError {
    let harness = with(image).unwrap();
    let spec = spec(harness.run(), "refused");
    let error = make(harness.provider(), &spec).await.unwrap_err();
    for left in harness.provider().list(&harness.run()).await.unwrap() {
        harness.provider().delete(&left.id).await.unwrap();
    }
    error
}

#[tokio::test]
async fn what_an_image_lacks_is_told_with_a_remedy() {
    if engine().is_none() {
        return;
    }
    for (image, what) in [
        ("forge-test-without-tar", "lacks env, tar"),
        ("forge-test-without-shell", "has no /bin/sh"),
    ] {
        let error = refused(image).await;
        assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
        assert!(error.message.contains(what), "{error}");
        assert!(error.hint.is_some(), "{error}");
    }
}

#[tokio::test]
async fn an_image_that_is_not_there_is_told_before_anything_exists() {
    let Some(engine) = engine() else { return };
    let options = ContainerOptions {
        image: Image::Named("forge-test-nowhere".to_owned()),
        pull: Pull::Never,
        ..ContainerOptions::default()
    };
    let harness = Box {
        provider: engine.provider(options),
        run: RunId::generate(),
    };
    let spec = spec(harness.run(), "nowhere");
    let failed = harness.provider().create(&spec).await.unwrap_err();
    assert_eq!(failed.remains, Remains::Nothing);
    assert!(
        failed
            .error
            .message
            .contains("`forge-test-nowhere` is not there"),
        "{}",
        failed.error
    );
    assert!(
        failed
            .error
            .hint
            .as_deref()
            .unwrap()
            .contains("docker pull"),
        "{}",
        failed.error
    );
}

fn built(marker: &str) -> Image {
    let text = "COPY marker /marker\nRUN echo";
    Image::Built {
        dockerfile: format!("FROM {BUSYBOX}\n{text} {marker} >/built\nLABEL forge.test={marker}\n")
            .into(),
        files: Arc::new([Upload {
            area: Area::Work,
            path: RelativePath::parse("marker").unwrap(),
            content: Content::Bytes(marker.as_bytes().into()),
            executable: false,
        }]),
    }
}

/// Of two of the same content the second is the first.
#[tokio::test]
async fn a_dockerfile_is_built_once_for_the_same_content() {
    let Some(engine) = engine() else { return };
    let marker = RunId::generate().to_string();
    let mut layers = Vec::new();
    for _ in 0..2 {
        // Nothing of the first is known to the second.
        let harness = Box {
            provider: engine.containers(BUSYBOX),
            run: RunId::generate(),
        };
        let spec = SandboxSpec {
            image: Some(built(&marker)),
            ..spec(harness.run(), "built")
        };
        let sandbox = make(harness.provider(), &spec).await.unwrap();
        let (result, heard) = run(&*sandbox, &shell("cat /marker /built")).await;
        assert_eq!(result.end, CommandEnd::Exited(0));
        assert_eq!(heard.text(), format!("{marker}{marker}\n"));
        delete(&harness, sandbox).await;
        layers.push(images_of(engine, &marker));
    }
    assert_eq!((layers[0].len(), &layers[1]), (1, &layers[0]));
    let provider = engine.containers(BUSYBOX);
    let all = provider.layers().await.unwrap();
    let known = all.iter().find(|it| layers[0][0].ends_with(it.id.as_str()));
    let layer = known.unwrap_or_else(|| panic!("{layers:?} is not in {all:?}"));
    assert_eq!(layer.what, "Dockerfile");
    provider.delete_layer(&layer.id).await.unwrap();
    provider.delete_layer(&layer.id).await.unwrap();
    assert_eq!(images_of(engine, &marker), [""; 0]);
}

/// What the engine has that was built with this marker. Other tests build too.
pub(super) fn images_of(engine: &Engine, marker: &str) -> Vec<String> {
    let filter = format!("label=forge.test={marker}");
    let arguments = ["images", "--quiet", "--no-trunc", "--filter", &filter];
    let listed = engine.podman().args(arguments).output().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed.lines().map(str::to_owned).collect()
}

/// Nobody reads it for each trial, nor waits for what is no file.
#[tokio::test]
async fn what_an_image_is_built_from_is_read_once() {
    let Some(harness) = with(BUSYBOX) else { return };
    let folder = tempfile::tempdir().unwrap();
    let marker = folder.path().join("marker");
    std::fs::write(&marker, RunId::generate().to_string()).unwrap();
    let image = Image::Built {
        dockerfile: format!("FROM {BUSYBOX}\nCOPY marker /marker\n").into(),
        files: Arc::new([Upload {
            area: Area::Work,
            path: RelativePath::parse("marker").unwrap(),
            content: Content::File(marker.clone()),
            executable: false,
        }]),
    };
    let spec = |what| SandboxSpec {
        image: Some(image.clone()),
        ..spec(harness.run(), what)
    };
    let first = make(harness.provider(), &spec("first")).await.unwrap();
    std::fs::remove_file(&marker).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&marker).status();
    assert!(made.unwrap().success());
    let patient = std::time::Duration::from_secs(60);
    let (second, spec) = (spec("second"), spec("third"));
    let second = tokio::time::timeout(patient, make(harness.provider(), &second)).await;
    delete(&harness, first).await;
    delete(&harness, second.unwrap().unwrap()).await;
    // Who knows nothing of it reads it, and does not wait for a writer.
    let other = with(BUSYBOX).unwrap();
    let refused = tokio::time::timeout(patient, make(other.provider(), &spec)).await;
    let error = refused.unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Machine, "{error}");
    harness.assert_nothing_left().await;
}

#[tokio::test]
async fn a_dockerfile_that_fails_is_told() {
    let Some(harness) = with(BUSYBOX) else { return };
    let spec = SandboxSpec {
        image: Some(Image::Built {
            dockerfile: format!("FROM {BUSYBOX}\nRUN echo so sorry; exit 3\n").into(),
            files: Arc::new([]),
        }),
        ..spec(harness.run(), "failing")
    };
    let failed = harness.provider().create(&spec).await.unwrap_err();
    assert_eq!(
        (failed.error.kind, failed.remains),
        (ErrorKind::Invalid, Remains::Nothing)
    );
    assert!(
        failed.error.to_string().contains("exit"),
        "{}",
        failed.error
    );
    harness.assert_nothing_left().await;
}

/// Only sandboxes that ask for another image get one.
#[tokio::test]
async fn an_image_of_its_own_is_taken() {
    let Some(harness) = with(BUSYBOX) else { return };
    let spec = SandboxSpec {
        image: Some(Image::Named("forge-test-own-user".to_owned())),
        ..spec(harness.run(), "own")
    };
    let own = make(harness.provider(), &spec).await.unwrap();
    let usual = create(&harness, "usual").await;
    for (sandbox, user) in [(&own, "65534\n"), (&usual, "61357\n")] {
        let (_, heard) = run(&**sandbox, &shell("id -u")).await;
        assert_eq!(heard.text(), user);
    }
    delete(&harness, own).await;
    delete(&harness, usual).await;
}
