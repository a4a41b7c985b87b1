//! Python environments that are made once, as layers.

use std::time::Duration;

use forge::conformance::hands::{Heard, command, run};
use forge::conformance::{Harness as _, delete, make, spec};
use forge::installers::Installers;
use forge::name::{RelativePath, RunId};
use forge::sandbox::container::{Address, ContainerOptions, Containers, Layer};
use forge::sandbox::{
    CommandEnd, Image, Network, Networks, PreparedPython, PythonEnvironment, PythonLayer,
    PythonPackages, Sandbox, SandboxSpec,
};

use super::Box;
use super::images::images_of;
use crate::support::counting::Counting;
use crate::support::engine::{PYTHON, engine, engine_with_python};

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
        pythons: vec!["python3".to_owned()],
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

/// What no layer can be made for is made inside, where the trial's own variables are and its failure is told; nobody
/// tries it a second time.
#[tokio::test]
async fn what_cannot_be_made_is_tried_once_and_left_to_the_inside() {
    let Some(engine) = engine_with_python() else {
        return;
    };
    let proxy = Counting::before(&engine.socket());
    let options = ContainerOptions {
        image: Image::Named(PYTHON.to_owned()),
        ..ContainerOptions::default()
    };
    let harness = Box {
        provider: Containers::new(&Address::Socket(proxy.socket()), options).unwrap(),
        run: RunId::generate(),
    };
    let (_folder, layer) = wanted("no-such-package-anywhere==9\n");
    let made = || sandbox(&harness, &layer);
    let all = futures::join!(made(), made(), made());
    for (sandbox, prepared) in [all.0, all.1, all.2, made().await] {
        assert_eq!(prepared, None);
        delete(&harness, sandbox).await;
    }
    let calls = proxy.calls();
    let creates = calls.iter().filter(|it| it.ends_with("/create"));
    assert_eq!(creates.count(), 4 + 1, "{calls:?}");
    harness.assert_nothing_left().await;
}

/// Those that were made from an image with this label. Other tests make some too.
async fn python_layers(harness: &Box, marker: &str) -> Vec<Layer> {
    let own = images_of(engine().unwrap(), marker);
    let mut layers = harness.provider.layers().await.unwrap();
    let is_own = |layer: &Layer| own.iter().any(|it| it.ends_with(layer.id.as_str()));
    layers.retain(|layer| layer.what == "python" && is_own(layer));
    layers
}

#[tokio::test]
async fn an_environment_is_made_once_and_read_by_nobody_who_may_write_it() {
    let Some(engine) = engine_with_python() else {
        return;
    };
    let marker = RunId::generate().to_string();
    let options = ContainerOptions {
        image: Image::Built {
            dockerfile: format!("FROM {PYTHON}\nLABEL forge.test={marker}\n").into(),
            files: [].into(),
        },
        ..ContainerOptions::default()
    };
    let harness = Box {
        provider: engine.provider(options),
        run: RunId::generate(),
    };
    let (_folder, layer) = wanted("# one of a kind: 1\npip\n");
    let ((first, one), (second, two)) =
        futures::join!(sandbox(&harness, &layer), sandbox(&harness, &layer));
    assert_eq!(python_layers(&harness, &marker).await.len(), 1, "{one:?}");
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
    for layer in python_layers(&harness, &marker).await {
        harness.provider.delete_layer(&layer.id).await.unwrap();
    }
    assert_eq!(python_layers(&harness, &marker).await, []);

    // What takes files of the candidate's is made inside.
    let (_folder, layer) = wanted("./wheels/mine.whl\n");
    let (sandbox, prepared) = self::sandbox(&harness, &layer).await;
    assert_eq!(prepared, None);
    delete(&harness, sandbox).await;
    harness.assert_nothing_left().await;
}
