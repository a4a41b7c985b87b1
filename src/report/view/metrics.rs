//! The candidates' own metrics as columns: the median over the trials with a verdict.

use std::collections::BTreeSet;

use super::{NOTHING, clean};
use crate::standings::Standing;

/// So many metrics get a column, in the order of their names.
const MAX_COLUMNS: usize = 8;

/// The names of the metrics that a table has columns for, and how many it has none for.
pub(super) fn names(standings: &[Standing]) -> (Vec<String>, usize) {
    let all: BTreeSet<&str> = standings
        .iter()
        .flat_map(|it| it.metrics.keys())
        .map(|it| &**it)
        .collect();
    let names: Vec<String> = all
        .iter()
        .take(MAX_COLUMNS)
        .map(|name| (*name).to_owned())
        .collect();
    (names, all.len().saturating_sub(MAX_COLUMNS))
}

/// A candidate's cells.
pub(super) fn cells(standing: &Standing, names: &[String]) -> Vec<String> {
    let value = |name: &String| standing.metrics.get(name.as_str()).copied();
    names
        .iter()
        .map(|name| value(name).map_or_else(|| NOTHING.to_owned(), figure))
        .collect()
}

/// Names as they head columns.
pub(super) fn titles(names: &[String]) -> Vec<String> {
    names.iter().map(|name| clean(name)).collect()
}

/// A number with as many digits as people read.
pub(in crate::report) fn figure(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs();
    if !(1e-4..1e15).contains(&size) {
        return format!("{value:.3e}");
    }
    let digits = [
        (1000.0, 0),
        (100.0, 1),
        (10.0, 2),
        (1.0, 3),
        (0.1, 4),
        (0.01, 5),
        (0.001, 6),
    ];
    let digits = digits
        .iter()
        .find(|(from, _)| size >= *from)
        .map_or(7, |(_, digits)| *digits);
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_shown_as_people_read_them() {
        for (value, shown) in [
            (0.0, "0"),
            (1234.0, "1234"),
            (1234.56, "1235"),
            (0.02, "0.02"),
            (0.123_456, "0.1235"),
            (3.0, "3"),
            (-2.5, "-2.5"),
            (1e-9, "1.000e-9"),
            (1e300, "1.000e300"),
        ] {
            assert_eq!(super::figure(value), shown);
        }
    }
}
