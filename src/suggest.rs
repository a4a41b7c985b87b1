//! Did-you-mean: what somebody probably wanted to write.

/// Returns the known word that is nearest to `word`, when it is near enough to be a slip.
#[must_use]
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = word.to_lowercase();
    // A third of the letters may be wrong: `qualty` is `quality`, `cat` is not `dog`.
    let allowed = (word.chars().count() / 3).clamp(1, 4);
    known
        .into_iter()
        .map(|other| {
            let distance = strsim::damerau_levenshtein(&word, &other.to_lowercase());
            (distance, other)
        })
        .filter(|(distance, other)| *distance <= allowed && *distance < other.chars().count())
        .min()
        .map(|(_, other)| other)
}

/// Advice for an unknown word: the nearest known one, else all of them.
#[must_use]
pub fn advice<'k>(word: &str, known: impl IntoIterator<Item = &'k str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(other) => format!("did you mean `{other}`?"),
        None => format!("known are {}", list(known)),
    }
}

/// Words in backticks, with commas between them.
#[must_use]
pub fn list<'k>(words: impl IntoIterator<Item = &'k str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["quality", "weights", "speed", "at"];
        for (word, expected) in [
            ("qualty", Some("quality")),
            ("Wieghts", Some("weights")),
            ("spede", Some("speed")),
            ("colour", None),
            ("x", None),
            ("", None),
            ("ta", Some("at")),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
        assert_eq!(advice("dog", ["cat", "cow"]), "known are `cat`, `cow`");
    }
}
