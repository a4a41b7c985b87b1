//! The normal distribution and Student's t: the only file that knows where they come from.
//!
//! `statrs` has the incomplete beta and error functions to 1e-14 (looked at beside it: `special`, `puruspe`, `libm`). Its own
//! quantiles of Student's t are not used: at the edges they panic, so they are found here by bisection of what is.

use statrs::distribution::{Continuous as _, ContinuousCDF as _, Normal};
use statrs::function::beta::checked_beta_reg;

/// The smallest chance whose quantile is asked for; below it, the quantile is that of this one.
const SMALLEST: f64 = 1e-15;

/// Φ: the share of a standard normal variable at or below `z`.
#[must_use]
pub fn normal(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

/// The density of a standard normal variable.
#[must_use]
pub fn normal_density(z: f64) -> f64 {
    Normal::standard().pdf(z)
}

/// The `z` with Φ(z) = `p`. What is below 1e-15, or as near to 1, is taken for that.
#[must_use]
pub fn normal_quantile(p: f64) -> f64 {
    quantile(p, normal)
}

/// The share of Student's t with `df` degrees of freedom (at least 1) at or below `t`.
#[must_use]
pub fn student(t: f64, df: usize) -> f64 {
    let df = df.max(1) as f64;
    let x = (df / t.mul_add(t, df)).clamp(0.0, 1.0);
    // Fails only for what is out of its range, such as NaN.
    let tails = checked_beta_reg(df / 2.0, 0.5, x).unwrap_or(1.0);
    if t > 0.0 {
        1.0 - tails / 2.0
    } else {
        tails / 2.0
    }
}

/// The quantile of Student's t; `p` as in [`normal_quantile`].
#[must_use]
pub fn student_quantile(p: f64, df: usize) -> f64 {
    quantile(p, |t| student(t, df))
}

/// The quantile of a distribution that is symmetric about 0.
fn quantile(p: f64, share: impl Fn(f64) -> f64) -> f64 {
    let p = p.clamp(SMALLEST, 1.0 - SMALLEST);
    // What is small is kept better than what is near 1.
    let (tail, sign) = if p > 0.5 { (1.0 - p, 1.0) } else { (p, -1.0) };
    if tail >= 0.5 {
        return 0.0;
    }
    let mut far = 1.0;
    while share(-far) > tail {
        far *= 2.0;
    }
    let mut near = 0.0;
    loop {
        let middle = f64::midpoint(near, far);
        if middle <= near || middle >= far {
            return sign * far;
        }
        if share(-middle) > tail {
            near = middle;
        } else {
            far = middle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::golden::{close, golden};

    #[test]
    fn quantiles_are_those_of_the_tables() {
        let golden = golden(1);
        for (key, value) in golden["t_quantiles"].as_object().unwrap() {
            let (p, df) = key.split_once(':').unwrap();
            let got = student_quantile(p.parse().unwrap(), df.parse().unwrap());
            close(got, value.as_f64().unwrap(), 1e-9, key);
        }
        for (p, value) in golden["normal_quantiles"].as_object().unwrap() {
            close(
                normal_quantile(p.parse().unwrap()),
                value.as_f64().unwrap(),
                1e-9,
                p,
            );
        }
    }

    #[test]
    fn a_quantile_is_the_inverse_at_the_edges_too() {
        for df in [1, 2, 3, 10, 1000, 100_000] {
            assert!(student_quantile(0.5, df).abs() < 1e-12);
            for p in [1e-12, 1e-4, 0.025, 0.3, 0.9, 0.999] {
                let at = student_quantile(p, df);
                close(student(at, df), p, 1e-9 * p, "student");
                close(student_quantile(1.0 - p, df) / at, -1.0, 1e-3, "mirror");
            }
        }
        for p in [0.0, 1.0, -1.0, 2.0, f64::NAN] {
            assert!(normal_quantile(p).is_finite(), "{p}");
            assert!(student_quantile(p, 0).is_finite(), "{p}");
        }
    }
}
