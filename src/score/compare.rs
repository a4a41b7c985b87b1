//! Texts compared line by line: for `equals` and `golden`.
//!
//! Promises: same texts, same verdict, in bounded time: what takes long is cut by counts of lines, never by
//! the clock. A line ends in LF or in CRLF, which is no difference. Blank space at the end of a text never
//! counts; for `golden`, nor does that at the end of a line.

use std::collections::HashMap;

use super::Points;
use super::evidence::without_mark;
use super::gate::quoted;
use super::quality::share;
use crate::quantity::counted;

/// Up to this many lines, [`golden`] compares in order; above, it only counts equal lines.
const MAX_LINES_IN_ORDER: usize = 20_000;

/// Whether a text is the expected one, and where they first differ.
pub(super) fn equals(text: &str, expected: &str) -> (Points, String) {
    let mut ours = lines(text);
    let mut theirs = lines(expected);
    let mut line = 0;
    let explanation = loop {
        line += 1;
        match (ours.next(), theirs.next()) {
            (None, None) => return (Points::FULL, "equal".to_owned()),
            (Some(ours), Some(theirs)) if ours == theirs => {}
            (Some(ours), Some(theirs)) => {
                break format!("line {line} {}", difference(ours, theirs));
            }
            (Some(ours), None) => break format!("line {line} is one too many: {}", quoted(ours)),
            (None, Some(theirs)) => break format!("line {line} is missing: {}", quoted(theirs)),
        }
    };
    (Points::ZERO, explanation)
}

/// The lines of a text, at least one, whether they end in LF or in CRLF; without the blank space at its end.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let lines = without_mark(text).trim_end().split('\n');
    lines.map(|line| line.strip_suffix('\r').unwrap_or(line))
}

/// How two lines differ, from the first character on in which they do.
fn difference(ours: &str, theirs: &str) -> String {
    if ours.trim_end() == theirs.trim_end() {
        return "differs in the blank space at its end".to_owned();
    }
    let same = ours.chars().zip(theirs.chars());
    let same: usize = same
        .take_while(|(ours, theirs)| ours == theirs)
        .map(|(c, _)| c.len_utf8())
        .sum();
    let column = ours[..same].chars().count() + 1;
    let (ours, theirs) = (&ours[same..], &theirs[same..]);
    let (mut shown, mut wanted) = (quoted(ours), quoted(theirs));
    if shown == wanted {
        // What cannot be seen is left out of a quotation.
        (shown, wanted) = (first(ours), first(theirs));
    }
    format!("differs from column {column} on: {shown} instead of {wanted}")
}

/// The first character, by its number.
fn first(text: &str) -> String {
    let number = |c| format!("U+{:04X}", u32::from(c));
    let end = || "the end of the line".to_owned();
    text.chars().next().map_or_else(end, number)
}

/// How much of the expected text is there, and how much besides: twice the lines in common, of all lines.
pub(super) fn golden(text: &str, expected: &str) -> (Points, String) {
    let lines = |text| str::lines(str::trim_end(without_mark(text)));
    let ours: Vec<&str> = lines(text).map(str::trim_end).collect();
    let theirs: Vec<&str> = lines(expected).map(str::trim_end).collect();
    if ours == theirs {
        return (Points::FULL, "equal to the expected file".to_owned());
    }
    let total = ours.len() + theirs.len();
    let (there, how) = if ours.len().max(theirs.len()) <= MAX_LINES_IN_ORDER {
        (common_in_order(&theirs, &ours), "")
    } else {
        (common_anywhere(&theirs, &ours), " in any order")
    };
    let wanted = counted(theirs.len(), "expected line", "expected lines");
    let explanation = format!("{there} of {wanted} there{how}, of {} in all", ours.len());
    (share(2 * there as u64, total as u64), explanation)
}

/// How many lines two texts have in common, in the same order.
fn common_in_order(old: &[&str], new: &[&str]) -> usize {
    similar::capture_diff_slices(similar::Algorithm::Myers, old, new)
        .iter()
        .map(|step| match step {
            similar::DiffOp::Equal { len, .. } => *len,
            similar::DiffOp::Delete { .. }
            | similar::DiffOp::Insert { .. }
            | similar::DiffOp::Replace { .. } => 0,
        })
        .sum()
}

/// How many lines two texts have in common, wherever they stand.
fn common_anywhere(old: &[&str], new: &[&str]) -> usize {
    let mut left: HashMap<&str, usize> = HashMap::with_capacity(old.len());
    for line in old {
        *left.entry(line).or_default() += 1;
    }
    new.iter()
        .filter(|line| match left.get_mut(**line) {
            Some(count @ 1..) => {
                *count -= 1;
                true
            }
            Some(0) | None => false,
        })
        .count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Comparison = fn(&str, &str) -> (Points, String);

    /// Points are compared in tenths.
    #[track_caller]
    fn check(compare: Comparison, expected: &str, content: &str, tenths: u16, words: &str) {
        let (points, explanation) = compare(content, expected);
        assert_eq!((points.tenths(), explanation.as_str()), (tenths, words));
    }

    #[test]
    fn equals_names_the_first_line_that_differs() {
        let expected = "one\ntwo x\nthree\n";
        for (content, tenths, words) in [
            ("one\ntwo x\nthree \n\n", 1000, "equal"),
            (
                "one\ntwo y\nthree",
                0,
                "line 2 differs from column 5 on: \"y\" instead of \"x\"",
            ),
            (
                "one\ntwo\0 x",
                0,
                "line 2 differs from column 4 on: U+0000 instead of U+0020",
            ),
            (
                "one\ntwo",
                0,
                "line 2 differs from column 4 on: \"\" instead of \" x\"",
            ),
            ("one\ntwo x", 0, "line 3 is missing: \"three\""),
            (
                "one\ntwo x\nthree\nfour",
                0,
                "line 4 is one too many: \"four\"",
            ),
            ("one\r\ntwo x\r\nthree\r\n", 1000, "equal"),
            ("\u{feff}one\ntwo x\nthree", 1000, "equal"),
            (
                "one\r\ntwo x \r\nthree",
                0,
                "line 2 differs in the blank space at its end",
            ),
            (
                "",
                0,
                "line 1 differs from column 1 on: \"\" instead of \"one\"",
            ),
        ] {
            check(equals, expected, content, tenths, words);
        }
    }

    #[test]
    fn golden_scores_the_similarity_of_lines() {
        let expected = "a\nb\nc\nd\n";
        for (content, tenths, words) in [
            ("a\r\nb \nc\nd\n\n", 1000, "equal to the expected file"),
            (
                "a\nx\nc\nd",
                750,
                "3 of 4 expected lines there, of 4 in all",
            ),
            ("a", 400, "1 of 4 expected lines there, of 1 in all"),
            (
                "d\nc\nb\na",
                250,
                "1 of 4 expected lines there, of 4 in all",
            ),
            (
                "a\nb\nc\nd\ne\ne\ne\ne",
                667,
                "4 of 4 expected lines there, of 8 in all",
            ),
            ("", 0, "0 of 4 expected lines there, of 0 in all"),
        ] {
            check(golden, expected, content, tenths, words);
        }
        check(golden, "", "\n", 1000, "equal to the expected file");
        check(
            golden,
            "\n",
            "x",
            0,
            "0 of 0 expected lines there, of 1 in all",
        );
    }

    #[test]
    fn very_long_files_are_compared_in_any_order() {
        let lines = |numbers: &mut dyn Iterator<Item = usize>| {
            let lines: Vec<String> = numbers.map(|n| n.to_string()).collect();
            lines.join("\n")
        };
        let expected = lines(&mut (0..30_000));
        let words = "20000 of 30000 expected lines there in any order, of 20001 in all";
        let text = lines(&mut (0..20_000).rev().chain([0]));
        check(golden, &expected, &text, 800, words);
    }

    #[test]
    fn the_hardest_files_that_are_compared_in_order_come_to_the_same_end_every_time() {
        let lines: Vec<String> = (0..MAX_LINES_IN_ORDER).map(|n| n.to_string()).collect();
        let up: Vec<&str> = lines.iter().map(String::as_str).collect();
        let down: Vec<&str> = up.iter().rev().copied().collect();
        assert_eq!(common_in_order(&up, &down), 1);

        let noise = |modulus| -> Vec<&str> {
            let bits = (0..MAX_LINES_IN_ORDER).map(|n| n * n % modulus % 2);
            bits.map(|bit| if bit == 0 { "a" } else { "b" }).collect()
        };
        let (old, new) = (noise(7919), noise(7907));
        let common = common_in_order(&old, &new);
        assert!(common > MAX_LINES_IN_ORDER / 2, "{common}");
        assert_eq!(common_in_order(&old, &new), common);
    }

    /// The textbook's table: the length of the longest common subsequence.
    fn longest_common(old: &[&str], new: &[&str]) -> usize {
        let mut row = vec![0; new.len() + 1];
        for a in old {
            let mut diagonal = 0;
            for (at, b) in new.iter().enumerate() {
                let above = row[at + 1];
                row[at + 1] = if a == b {
                    diagonal + 1
                } else {
                    above.max(row[at])
                };
                diagonal = above;
            }
        }
        row[new.len()]
    }

    proptest! {
        #[test]
        fn lines_in_common_are_counted_exactly(old in "([abc]\n){0,12}", new in "([abcd]\n){0,12}") {
            let old: Vec<&str> = old.lines().collect();
            let new: Vec<&str> = new.lines().collect();
            prop_assert_eq!(common_in_order(&old, &new), longest_common(&old, &new));
            prop_assert!(common_anywhere(&old, &new) >= common_in_order(&old, &new));
        }
    }
}
