//! `forge sweep --layers`: the images that runs have made in the container engine.

use std::time::Duration;

use forge::exit::ExitCode as End;
use forge::problem::Problems;
use forge::quantity::ByteCount;
use forge::sandbox::container::{ContainerOptions, Containers, Layer};
use serde_json::{Value, json};

use super::SweepArgs;
use crate::cli::json;
use crate::cli::print::Printer;

/// Lists them, and deletes those that are old enough.
pub(super) async fn delete(args: &SweepArgs, printer: Printer) -> End {
    let variables = forge::settings::variables();
    let engine = forge::settings::engine(&variables)
        .and_then(|engine| forge::settings::connect(&engine, ContainerOptions::default()));
    let containers = match engine {
        Ok(containers) => containers,
        Err(problem) => {
            return json::refuse(printer, End::Usage, &Problems::from(problem));
        }
    };
    let layers = match containers.layers().await {
        Ok(layers) => layers,
        Err(error) => {
            return json::fail(printer, End::Incomplete, &error, error.hint.as_deref());
        }
    };
    let now = jiff::Timestamp::now().as_second();
    let chosen: Vec<&Layer> = layers
        .iter()
        .filter(|layer| args.older_than.is_none_or(|least| age(layer, now) >= least))
        .collect();
    if printer.is_for_programs() {
        let layers: Value = chosen.iter().map(|layer| described(layer, now)).collect();
        let document = json!({"layers": layers, "problems": []});
        return json::print(printer, End::Ok, json::tamed(document));
    }
    if chosen.is_empty() {
        printer.out("no layers to sweep\n");
        return End::Ok;
    }
    let mut end = End::Ok;
    for layer in chosen {
        let what = shown(layer, now);
        if args.rehearsal.dry_run {
            printer.out(&format!("would delete {what}\n"));
        } else if let Err(left) = one(&containers, layer).await {
            printer.note(&format!("forge: {what} is left: {left}"));
            end = End::Undeleted;
        } else {
            printer.out(&format!("deleted {what}\n"));
        }
    }
    end
}

async fn one(containers: &Containers, layer: &Layer) -> Result<(), String> {
    let deleted = containers.delete_layer(&layer.id).await;
    deleted.map_err(|error| forge::plain::line(&error.message))
}

fn described(layer: &Layer, now: i64) -> Value {
    json!({
        "name": layer.name,
        "id": layer.id,
        "what": layer.what,
        "bytes": layer.bytes,
        "age_seconds": age(layer, now).as_secs(),
        "would": "delete",
    })
}

fn age(layer: &Layer, now: i64) -> Duration {
    Duration::from_secs(u64::try_from(now.saturating_sub(layer.created)).unwrap_or(0))
}

/// `layer forge-layer:0123 (python, 34 MiB, 2h old)`
fn shown(layer: &Layer, now: i64) -> String {
    let name = layer.name.rsplit('/').next().unwrap_or(&layer.name);
    format!(
        "layer {} ({}, {}, {} old)",
        forge::plain::short(name, 60),
        layer.what,
        ByteCount(layer.bytes),
        forge::quantity::show_duration(age(layer, now))
    )
}
