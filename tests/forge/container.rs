//! Containers as a provider, with a real engine.

use forge::name::RunId;
use forge::sandbox::Provider;
use forge::sandbox::container::Containers;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use crate::conformance::Harness;
use crate::support::engine::{BUSYBOX, engine};

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

    fn owns_all_folders(&self) -> bool {
        false
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
    crate::conformance::cases!(super::with(super::BUSYBOX));
}

mod own_user {
    crate::conformance::cases!(super::with("forge-test-own-user"));
}
