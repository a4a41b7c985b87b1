//! What the golden files say, for tests.

use super::interval::Interval;
use super::{Cell, paired};
use serde_json::Value;

/// One of the two files.
pub(crate) fn golden(which: u8) -> Value {
    let text = match which {
        1 => include_str!("../../tests/golden/statistics-golden.json"),
        _ => include_str!("../../tests/golden/statistics-golden-2.json"),
    };
    serde_json::from_str(text).unwrap()
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_f64().unwrap())
        .collect()
}

#[track_caller]
pub(crate) fn close(got: f64, expected: f64, within: f64, what: &str) {
    assert!(
        (got - expected).abs() <= within,
        "{what}: {got}, not {expected}"
    );
}

#[track_caller]
pub(crate) fn interval(got: Option<Interval>, case: &Value) {
    match got {
        Some(got) => {
            close(got.low, case["lo"].as_f64().unwrap(), 1e-9, "low");
            close(got.high, case["hi"].as_f64().unwrap(), 1e-9, "high");
        }
        None => assert!(case["lo"].is_null(), "{case}"),
    }
}

/// Both sides of a case: objective by objective.
pub(crate) struct Sides {
    a: Vec<Vec<f64>>,
    b: Vec<Vec<f64>>,
}

impl Sides {
    pub(crate) fn of(a: &Value, b: &Value) -> Self {
        let side = |side: &Value| side.as_array().unwrap().iter().map(numbers).collect();
        Self {
            a: side(a),
            b: side(b),
        }
    }

    pub(crate) fn cells(&self) -> Vec<Cell<'_>> {
        paired(&self.a, &self.b)
    }
}
