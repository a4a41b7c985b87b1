//! Which measures are compared.

use std::collections::BTreeSet;

use super::sides::Sides;
use crate::rule::{Measure, Rule};

/// So many metrics that nobody asked for are compared, by name.
const METRICS: usize = 20;

/// What can fail a run, and what is shown besides.
pub(super) fn of(rule: &Rule, all: &[Sides<'_>]) -> Vec<Measure> {
    let show = rule.show.clone().unwrap_or_else(|| {
        let metrics: BTreeSet<String> = all.iter().flat_map(Sides::metrics).collect();
        let own = [Measure::Passed, Measure::Quality, Measure::Seconds];
        let metrics = metrics.into_iter().take(METRICS).map(Measure::Metric);
        own.into_iter().chain(metrics).collect()
    });
    let mut measures = Vec::new();
    for measure in rule.gate.iter().chain(&show) {
        if !measures.contains(measure) {
            measures.push(measure.clone());
        }
    }
    measures
}
