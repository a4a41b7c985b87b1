//! Chance that depends on a seed only, for what is drawn instead of counted.

/// `SplitMix64` (Steele, Lea & Flood 2014): tiny, and the same on every machine and in every version.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A sequence that depends on the seed only.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Shuffles in place (Fisher and Yates; the bias of the remainder is below 2^-50 for our sizes).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            let bound = u64::try_from(at).unwrap_or(u64::MAX).saturating_add(1);
            let other = usize::try_from(self.next() % bound).unwrap_or(0);
            items.swap(at, other);
        }
    }

    /// A number from 0 to below 1, a multiple of 2^-53.
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 * 2.0_f64.powi(-53)
    }

    /// Whether something with this chance happens.
    pub fn passes(&mut self, chance: f64) -> bool {
        self.uniform() < chance
    }

    /// How many of `all` trials with this chance pass.
    pub fn passed(&mut self, chance: f64, all: u32) -> u32 {
        (0..all).map(|_| u32::from(self.passes(chance))).sum()
    }

    /// About how many of `all` trials with this chance pass: counted one by one where that is cheap, else a rounded normal number.
    pub fn about_passed(&mut self, chance: f64, all: u32) -> f64 {
        const COUNTED: u32 = 32;
        if all <= COUNTED {
            return f64::from(self.passed(chance, all));
        }
        let all = f64::from(all);
        let spread = (all * chance * (1.0 - chance)).max(0.0).sqrt();
        self.normal()
            .mul_add(spread, all * chance)
            .round()
            .clamp(0.0, all)
    }

    /// A number of the standard normal distribution (Marsaglia & Bray 1964).
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * square.ln() / square).sqrt();
            }
        }
    }

    /// A number of the gamma distribution with this shape, above 0 (Marsaglia & Tsang 2000).
    pub fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            // One shape more, and then less by a power of chance.
            return self.gamma(shape + 1.0) * self.uniform().powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = c.mul_add(x, 1.0).powi(3);
            let kept = 1.0 - self.uniform();
            if v > 0.0 && kept.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    /// A number of the beta distribution, for shapes above 0: by Jöhnk (1964) where both are at most 1, else of two gamma numbers.
    pub fn beta(&mut self, a: f64, b: f64) -> f64 {
        if a > 1.0 || b > 1.0 {
            let (x, y) = (self.gamma(a), self.gamma(b));
            return if x + y > 0.0 {
                x / (x + y)
            } else {
                a / (a + b)
            };
        }
        loop {
            let (x, y) = (self.uniform().powf(1.0 / a), self.uniform().powf(1.0 / b));
            if x + y <= 1.0 && x + y > 0.0 {
                return x / (x + y);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_has_the_means_that_it_should() {
        let mut random = Random::new(1);
        let mean = |draw: &mut dyn FnMut() -> f64| (0..20_000).map(|_| draw()).sum::<f64>() / 2e4;
        assert!((mean(&mut || random.uniform()) - 0.5).abs() < 0.01);
        assert!((mean(&mut || random.beta(0.9, 0.45)) - 2.0 / 3.0).abs() < 0.01);
        assert!((mean(&mut || f64::from(random.passed(0.3, 5))) - 1.5).abs() < 0.03);
        assert!((mean(&mut || random.about_passed(0.3, 5)) - 1.5).abs() < 0.03);
        assert!((mean(&mut || random.about_passed(0.3, 500)) - 150.0).abs() < 0.3);
        assert!(mean(&mut || random.normal()).abs() < 0.03);
        assert!((mean(&mut || random.normal().powi(2)) - 1.0).abs() < 0.04);
        for shape in [0.3, 1.0, 4.0] {
            assert!(
                (mean(&mut || random.gamma(shape)) - shape).abs() < 0.02 * shape.max(1.0) * 3.0
            );
        }
        for (a, b) in [(0.2, 5.0), (3.0, 2.0), (40.0, 10.0)] {
            let (m, v) = (a / (a + b), a * b / (a + b) / (a + b) / (a + b + 1.0));
            assert!((mean(&mut || random.beta(a, b)) - m).abs() < 0.01);
            let spread = mean(&mut || (random.beta(a, b) - m).powi(2));
            assert!((spread / v - 1.0).abs() < 0.1, "{a} {b}");
        }
    }
}
