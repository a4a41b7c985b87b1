//! Containers as a provider, with a real engine.

mod hostile;
mod images;
mod layers;
mod lives;

use forge::name::RunId;
use forge::sandbox::Provider;
use forge::sandbox::container::Containers;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::support::engine::{BASH, BUSYBOX, PYTHON, engine, engine_with_python};
use forge::conformance::{Harness, Lack};

struct Box {
    provider: Containers,
    run: RunId,
}

fn with(image: &str) -> Option<Box> {
    Some(Box {
        provider: engine()?.containers(image),
        run: RunId::generate(),
    })
}

impl Harness for Box {
    fn provider(&self) -> &dyn Provider {
        &self.provider
    }

    fn run(&self) -> RunId {
        self.run
    }

    fn lacks(&self) -> &[Lack] {
        &[Lack::OwnFolders]
    }

    fn assert_nothing_left(&self) -> BoxFuture<'_, ()> {
        async {
            let left = self.provider.list(&self.run).await.unwrap();
            assert!(left.is_empty(), "{left:?}");
        }
        .boxed()
    }
}

/// The same with one of the larger images.
fn with_python(image: &str) -> Option<Box> {
    engine_with_python()?;
    with(image)
}

/// `sh` is dash, or what this machine has.
mod dash {
    forge::conformance_tests!(super::with_python(super::PYTHON));
}

mod bash {
    forge::conformance_tests!(super::with_python(super::BASH));
}

mod busybox {
    forge::conformance_tests!(super::with(super::BUSYBOX));
}

mod own_user {
    forge::conformance_tests!(super::with("forge-test-own-user"));
}
