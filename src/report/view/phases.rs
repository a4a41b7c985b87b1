//! How long the phases of trials took, as texts.

use serde::Serialize;

use crate::quantity::show_milliseconds;
use crate::summary::TrialRows;
use crate::summary::took::{PHASES, phases};

/// One phase, over all trials that had it.
#[derive(Debug, Serialize)]
pub(in crate::report) struct PhaseRow {
    pub(in crate::report) phase: &'static str,
    pub(in crate::report) trials: usize,
    pub(in crate::report) p50: String,
    pub(in crate::report) p90: String,
    pub(in crate::report) p95: String,
    pub(in crate::report) max: String,
}

/// The phases that there were, in their order.
pub(in crate::report) fn phase_rows(rows: TrialRows<'_>) -> Vec<PhaseRow> {
    let phases = phases(rows);
    let rows = PHASES.iter().filter_map(|key| {
        let it = phases.get(key)?;
        Some(PhaseRow {
            phase: key.trim_end_matches("_ms"),
            trials: it.count,
            p50: show_milliseconds(it.p50),
            p90: show_milliseconds(it.p90),
            p95: show_milliseconds(it.p95),
            max: show_milliseconds(it.max),
        })
    });
    rows.collect()
}
