//! Quantities that people write and read: byte counts and durations.
//!
//! Promises: what is printed can be parsed again; nothing here is negative or unbounded.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A number of bytes. Written `10MiB`, `64 KB` or `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteCount(pub u64);

impl ByteCount {
    /// `n` × 1,024 bytes.
    #[must_use]
    pub const fn kib(n: u64) -> Self {
        Self(n * 1024)
    }

    /// `n` × 1,048,576 bytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }
}

const UNITS: [(&str, u64); 9] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("b", 1),
];

/// A text that is not a number of bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a size such as `10MiB`, `64KB` or `4096`, got `{0}`")]
pub struct ByteCountError(String);

impl FromStr for ByteCount {
    type Err = ByteCountError;

    fn from_str(text: &str) -> Result<Self, ByteCountError> {
        let error = || ByteCountError(text.to_owned());
        let lower = text.trim().to_ascii_lowercase();
        let (digits, unit) = match lower.find(|c: char| !c.is_ascii_digit() && c != '.') {
            Some(at) => lower.split_at(at),
            None => (lower.as_str(), "b"),
        };
        let factor = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim())
            .ok_or_else(error)?
            .1;
        if let Ok(whole) = digits.parse::<u64>() {
            return whole.checked_mul(factor).map(Self).ok_or_else(error);
        }
        let value = digits.parse::<f64>().map_err(|_| error())? * factor as f64;
        // 2^63 is far above any disk and safely below where `as` would saturate.
        if !(0.0..9.2e18).contains(&value) {
            return Err(error());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "range checked"
        )]
        Ok(Self(value.round() as u64))
    }
}

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, size) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= size {
                let scaled = self.0 as f64 / size as f64;
                return if self.0.is_multiple_of(size) {
                    write!(f, "{scaled:.0} {unit}")
                } else {
                    write!(f, "{scaled:.1} {unit}")
                };
            }
        }
        write!(f, "{} B", self.0)
    }
}

/// Parses a duration such as `90s`, `5m`, `1h 30m` or `250ms`. A bare number is refused: its unit
/// would have to be guessed.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text.trim())
        .map_err(|_| format!("expected a duration such as `90s`, `5m` or `250ms`, got `{text}`"))?;
    if duration.is_zero() {
        return Err("a duration of zero leaves no time at all".to_owned());
    }
    // Far beyond any run, and safe to add to an `Instant`.
    if duration > Duration::from_secs(366 * 24 * 3600) {
        return Err(format!("`{text}` is more than a year"));
    }
    Ok(duration)
}

/// A duration for people: `0.42 s`, `12.3 s`, `2m 05s`, `1h 02m`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.2} s")
    } else if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = duration.as_secs();
        if whole < 3600 {
            format!("{}m {:02}s", whole / 60, whole % 60)
        } else {
            format!("{}h {:02}m", whole / 3600, whole % 3600 / 60)
        }
    }
}

/// A time in milliseconds as people write it: `12 ms`, `1.50 s`.
#[must_use]
pub fn show_milliseconds(milliseconds: u64) -> String {
    match milliseconds {
        0..1000 => format!("{milliseconds} ms"),
        1000.. => show_duration(Duration::from_millis(milliseconds)),
    }
}

/// How long ago something was, or is to be, for people: `30 days`, else as [`show_duration`].
#[must_use]
pub fn show_age(age: Duration) -> String {
    match age.as_secs() / (24 * 3600) {
        0 => show_duration(age),
        days => counted(days, "day", "days"),
    }
}

/// A number and the thing that it counts: `1 byte`, `5 bytes`.
pub fn counted<N: fmt::Display + Copy + PartialEq + From<u8>>(
    count: N,
    one: &str,
    many: &str,
) -> String {
    let noun = if count == N::from(1) { one } else { many };
    format!("{count} {noun}")
}

/// A p-value in words: `p = 0.004`.
#[must_use]
pub fn p_value(p: f64) -> String {
    if p < 0.001 {
        "p < 0.001".to_owned()
    } else if p < 0.1 {
        format!("p = {p:.3}")
    } else {
        format!("p = {p:.2}")
    }
}

/// A number with one decimal and its sign before it, as it is read and not computed with: `+3.7`, `−21.0`, `0.0`.
#[must_use]
pub fn signed(value: f64) -> String {
    let text = format!("{:.1}", value.abs());
    match text.as_str() {
        "0.0" => text,
        _ if value < 0.0 => format!("\u{2212}{text}"),
        _ => format!("+{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_its_sign_unless_it_is_nothing() {
        let all = [3.66, -21.0, -0.04, 0.0].map(signed);
        assert_eq!(all, ["+3.7", "\u{2212}21.0", "0.0", "0.0"]);
    }

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("10MiB", 10 << 20),
            ("1.5 KiB", 1536),
            ("64kb", 64_000),
            ("2 GB", 2_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(ByteCount(bytes)), "{text}");
        }
        for bad in [
            "",
            "MiB",
            "-1",
            "1 MB/s",
            "99999999999 TiB",
            "1e5",
            "NaN",
            "ten",
        ] {
            assert!(bad.parse::<ByteCount>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn sizes_are_shown_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (10 << 20, "10 MiB"),
            (1536, "1.5 KiB"),
        ] {
            assert_eq!(ByteCount(bytes).to_string(), text);
        }
    }

    #[test]
    fn durations_need_a_unit_and_a_value() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        for bad in ["", "5", "0s", "-1s", "soon", "900000000h"] {
            assert!(parse_duration(bad).is_err(), "{bad:?}");
        }
    }
}
