//! How long most of many things took, and the longest.

use serde::Serialize;

/// Percentiles by nearest rank: each is a value that was seen (NIST handbook, 2.6.2.2, without interpolation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many values there are.
    pub count: usize,
    /// Half of them are no larger.
    pub p50: u64,
    /// 90 % of them are no larger.
    pub p90: u64,
    /// 95 % of them are no larger.
    pub p95: u64,
    /// The largest.
    pub max: u64,
}

impl Spread {
    /// That of these values, which are put in order; `None` of none.
    #[must_use]
    pub fn of<T: Copy + Ord + Into<u64>>(values: &mut [T]) -> Option<Self> {
        values.sort_unstable();
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1);
            values.get(rank - 1).copied().map(Into::into)
        };
        Some(Self {
            count: values.len(),
            p50: at(50)?,
            p90: at(90)?,
            p95: at(95)?,
            max: (*values.last()?).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_seen() {
        let spread = |values: &mut [u64]| {
            let it = Spread::of(values)?;
            Some([it.p50, it.p90, it.p95, it.max])
        };
        assert_eq!(spread(&mut []), None);
        assert_eq!(spread(&mut [7]), Some([7; 4]));
        assert_eq!(spread(&mut [4, 1, 3, 2]), Some([2, 4, 4, 4]));
        let mut hundred: Vec<u64> = (1..=100).rev().collect();
        assert_eq!(spread(&mut hundred), Some([50, 90, 95, 100]));
    }
}
