//! What containers are made from.

use std::sync::Arc;

use forge::conformance::hands::{run, shell};
use forge::conformance::{Harness as _, create, delete, make, spec};
use forge::name::{RelativePath, RunId};
use forge::sandbox::container::{ContainerOptions, Pull};
use forge::sandbox::{Area, CommandEnd, Content, ErrorKind, Image, Remains, SandboxSpec, Upload};

use super::{Box, with};
use crate::support::engine::{BUSYBOX, engine};

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
    Image::Built {
        dockerfile: format!("FROM {BUSYBOX}\nCOPY marker /marker\nRUN echo {marker} >/built\n")
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
        let mut all = harness.provider.layers().await.unwrap();
        all.retain(|layer| layer.what == "Dockerfile");
        layers.push(all.into_iter().map(|layer| layer.id).collect::<Vec<_>>());
    }
    let new: Vec<_> = layers[1]
        .iter()
        .filter(|it| !layers[0].contains(it))
        .collect();
    assert!(!layers[0].is_empty() && new.is_empty(), "{layers:?}");
    let provider = engine.containers(BUSYBOX);
    for id in &layers[0] {
        provider.delete_layer(id).await.unwrap();
        provider.delete_layer(id).await.unwrap();
    }
    let left = provider.layers().await.unwrap();
    assert!(
        left.iter().all(|layer| layer.what != "Dockerfile"),
        "{left:?}"
    );
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
