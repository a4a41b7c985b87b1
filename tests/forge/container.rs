//! Containers as a provider, with a real engine.

mod hostile;
mod images;
mod lives;

use forge::name::RunId;
use forge::sandbox::Provider;
use forge::sandbox::container::Containers;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::support::engine::{BUSYBOX, engine};
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

mod busybox {
    forge::conformance_tests!(super::with(super::BUSYBOX));
}

mod own_user {
    forge::conformance_tests!(super::with("forge-test-own-user"));
}
