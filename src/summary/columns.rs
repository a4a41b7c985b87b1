//! Columns: one figure of every trial, side by side.
//!
//! Promises: a column that nobody has a figure in takes no room, and no other takes more for a trial than its largest
//! figure needs.

/// Figures with fractions.
#[derive(Debug, Clone, Default)]
pub(super) struct Fractions(Vec<f64>);

impl Fractions {
    /// That there is none.
    const NONE: f64 = f64::NAN;

    pub(super) fn get(&self, at: usize) -> Option<f64> {
        self.0.get(at).copied().filter(|it| !it.is_nan())
    }

    /// Sets that of one trial of so many.
    pub(super) fn set(&mut self, at: usize, of: usize, figure: Option<f64>) {
        if figure.is_some() && self.0.is_empty() {
            self.0 = vec![Self::NONE; of];
        }
        if let Some(place) = self.0.get_mut(at) {
            *place = figure.unwrap_or(Self::NONE);
        }
    }
}

/// Whole numbers, each in as many bytes as the largest of them needs.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    bytes: Vec<u8>,
    width: usize,
}

impl Numbers {
    /// That there is none: what has only ones.
    const NONE: u8 = u8::MAX;

    pub(super) fn get(&self, at: usize) -> Option<u64> {
        let from = at.checked_mul(self.width)?;
        let kept = self.bytes.get(from..from + self.width)?;
        if kept.iter().all(|it| *it == Self::NONE) {
            return None;
        }
        let mut bytes = [0; size_of::<u64>()];
        bytes[..kept.len()].copy_from_slice(kept);
        Some(u64::from_le_bytes(bytes))
    }

    /// Sets that of one trial of so many. The largest number that there is counts as none.
    pub(super) fn set(&mut self, at: usize, of: usize, number: Option<u64>) {
        let bytes = number.unwrap_or(u64::MAX).to_le_bytes();
        if number.is_some() {
            self.widen(Self::width(number), of);
        }
        let from = at * self.width;
        if let Some(place) = self.bytes.get_mut(from..from + self.width) {
            place.copy_from_slice(&bytes[..self.width]);
        }
    }

    /// In how many bytes a number is not taken for none.
    fn width(number: Option<u64>) -> usize {
        let bits = number.map_or(0, |it| u64::BITS - it.saturating_add(1).leading_zeros());
        (bits.div_ceil(u8::BITS) as usize).min(size_of::<u64>())
    }

    fn widen(&mut self, width: usize, of: usize) {
        if width <= self.width {
            return;
        }
        let mut wider = Self {
            bytes: vec![Self::NONE; width * of],
            width,
        };
        if self.width > 0 {
            for (at, place) in wider.bytes.chunks_exact_mut(width).enumerate() {
                if let Some(number) = self.get(at) {
                    place.copy_from_slice(&number.to_le_bytes()[..width]);
                }
            }
        }
        *self = wider;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_back_however_large_the_others_are() {
        let numbers = [
            0,
            254,
            255,
            256,
            65_534,
            65_535,
            1 << 24,
            1 << 40,
            u64::MAX - 1,
        ];
        let mut column = Numbers::default();
        assert_eq!(column.get(0), None);
        for (at, number) in numbers.into_iter().enumerate() {
            column.set(at, 10, Some(number));
            for (at, earlier) in numbers.iter().enumerate().take(at + 1) {
                assert_eq!(column.get(at), Some(*earlier));
            }
            assert_eq!((column.get(at + 1), column.get(9)), (None, None));
        }
        column.set(3, 10, None);
        assert_eq!((column.get(3), column.get(10)), (None, None));
        column.set(3, 10, Some(7));
        assert_eq!(column.get(3), Some(7));
    }

    #[test]
    fn a_column_takes_what_its_largest_figure_needs() {
        let mut column = Numbers::default();
        for (number, bytes) in [
            (None, 0),
            (Some(254), 10),
            (Some(255), 20),
            (Some(1), 20),
            (Some(4_710_400), 30),
        ] {
            column.set(0, 10, number);
            assert_eq!(column.bytes.len(), bytes, "{number:?}");
        }
        let mut column = Fractions::default();
        column.set(0, 10, None);
        assert_eq!((column.0.len(), column.get(0)), (0, None));
        column.set(1, 10, Some(0.5));
        assert_eq!((column.get(0), column.get(1)), (None, Some(0.5)));
        column.set(1, 10, None);
        assert_eq!(column.get(1), None);
    }
}
