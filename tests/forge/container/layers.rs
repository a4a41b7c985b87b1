//! Python environments that are made once, as layers.

use std::time::Duration;

use forge::conformance::hands::{Heard, command, run};
use forge::conformance::{Harness as _, delete, make, spec};
use forge::installers::Installers;
use forge::name::RelativePath;
use forge::sandbox::{
    CommandEnd, Network, Networks, PreparedPython, PythonEnvironment, PythonLayer, PythonPackages,
    Sandbox, SandboxSpec,
};

use super::{Box, with_python};
use crate::support::engine::PYTHON;

/// `pip` itself is in every environment: nobody has to be asked for it.
fn wanted(text: &str) -> (tempfile::TempDir, PythonLayer) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("requirements.txt"), text).unwrap();
    let environment = PythonEnvironment {
        python: None,
        packages: PythonPackages::File(RelativePath::parse("requirements.txt").unwrap()),
        installers: Installers::default(),
        limit: Duration::from_secs(120),
        offline: false,
    };
    let layer = PythonLayer {
        environment,
        folder: folder.path().to_owned(),
    };
    (folder, layer)
}

async fn sandbox(
    harness: &Box,
    layer: &PythonLayer,
) -> (std::boxed::Box<dyn Sandbox>, Option<PreparedPython>) {
    let spec = SandboxSpec {
        python: Some(layer.clone()),
        // No container of a layer needs one for what is there already.
        networks: Networks::same(Network::Block),
        ..spec(harness.run(), "layered")
    };
    let sandbox = make(harness.provider(), &spec).await.unwrap();
    let mut heard = Heard::default();
    let prepared = sandbox
        .prepare_python(&layer.environment, &mut heard)
        .await
        .unwrap();
    (sandbox, prepared)
}

async fn python_layers(harness: &Box) -> usize {
    let layers = harness.provider.layers().await.unwrap();
    layers.iter().filter(|layer| layer.what == "python").count()
}

#[tokio::test]
async fn an_environment_is_made_once_and_read_by_nobody_who_may_write_it() {
    let Some(harness) = with_python(PYTHON) else {
        return;
    };
    let (_folder, layer) = wanted("# one of a kind: 1\npip\n");
    let ((first, one), (second, two)) =
        futures::join!(sandbox(&harness, &layer), sandbox(&harness, &layer));
    assert_eq!(python_layers(&harness).await, 1, "{one:?}");
    for (sandbox, prepared) in [(first, one), (second, two)] {
        let prepared = prepared.unwrap();
        assert_eq!(prepared.end, CommandEnd::Exited(0), "{prepared:?}");
        let script = "import pip, sys, os; print(sys.prefix != sys.base_prefix, os.access(sys.prefix, os.W_OK), os.getuid())";
        let (result, heard) = run(&*sandbox, &command(&[&prepared.python, "-c", script])).await;
        assert_eq!(result.end, CommandEnd::Exited(0), "{heard:?}");
        assert_eq!(heard.text(), "True False 61357\n");
        delete(&harness, sandbox).await;
    }
    harness.assert_nothing_left().await;
    // It is there for the next run, and can be taken away.
    let layers = harness.provider.layers().await.unwrap();
    for layer in layers.iter().filter(|layer| layer.what == "python") {
        harness.provider.delete_layer(&layer.id).await.unwrap();
    }
    assert_eq!(python_layers(&harness).await, 0);

    // What an installer fails at is told, and leaves none.
    let (_folder, layer) = wanted("no-such-package-anywhere==9\n");
    let (sandbox, prepared) = sandbox(&harness, &layer).await;
    let prepared = prepared.unwrap();
    assert_eq!(prepared.end, CommandEnd::Exited(1), "{prepared:?}");
    assert!(
        prepared.said.contains("no-such-package-anywhere"),
        "{prepared:?}"
    );
    delete(&harness, sandbox).await;
    assert_eq!(python_layers(&harness).await, 0);

    // What takes files of the candidate's is made inside.
    let (_folder, layer) = wanted("./wheels/mine.whl\n");
    let (sandbox, prepared) = self::sandbox(&harness, &layer).await;
    assert_eq!(prepared, None);
    delete(&harness, sandbox).await;
    harness.assert_nothing_left().await;
}
