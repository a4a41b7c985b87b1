//! `forge sweep --layers`: the images that runs have made in the container engine.

use std::time::Duration;

use forge::exit::ExitCode as End;
use forge::problem::Problems;
use forge::quantity::ByteCount;
use forge::sandbox::container::{ContainerOptions, Containers, Layer};

use super::SweepArgs;
use crate::cli::print::Printer;

/// Lists them, and deletes those that are old enough.
pub(super) async fn delete(args: &SweepArgs, printer: Printer) -> End {
    let variables = forge::settings::variables();
    let engine = forge::settings::engine(&variables)
        .and_then(|engine| forge::settings::connect(&engine, ContainerOptions::default()));
    let containers = match engine {
        Ok(containers) => containers,
        Err(problem) => {
            printer.note(&Problems::from(problem).to_string());
            return End::Usage;
        }
    };
    let layers = match containers.layers().await {
        Ok(layers) => layers,
        Err(error) => {
            printer.error(&error, error.hint.as_deref());
            return End::Incomplete;
        }
    };
    let now = jiff::Timestamp::now().as_second();
    let chosen: Vec<&Layer> = layers
        .iter()
        .filter(|layer| args.older_than.is_none_or(|least| age(layer, now) >= least))
        .collect();
    if chosen.is_empty() {
        printer.out("no layers to sweep\n");
        return End::Ok;
    }
    let mut end = End::Ok;
    for layer in chosen {
        let what = shown(layer, now);
        if args.dry_run {
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
