//! Redaction: secrets out of every text and stream.
//!
//! Promises: every occurrence of a known secret becomes `***`, leftmost and longest first, however a
//! stream was cut into chunks; a stream keeps back only what may be the beginning of a secret, so memory
//! is bounded by the longest secret plus one chunk, and a line without the beginning of one is never
//! delayed; without secrets nothing is copied.
//!
//! A secret is also found with characters of it escaped as in JSON, literals, shells, URLs and HTML and, from
//! [`MIN_PART_BYTES`] on, in hex, as the Base64 or Base32 of it or of a longer text that it is in (such as Basic
//! credentials), with the line breaks of Base64, and, where it is not long, encoded twice; `forms` has them
//! all. Of a secret of several lines, each line that long is a secret of its own, for keys that are printed line
//! by line. Not found: a secret that was encrypted, compressed, reversed, spelled out or cut, whatever else
//! somebody thinks of who wants to hide it; nor one with escape sequences inside, so text that is to be made
//! plain is redacted after that, or again. Blank space and runs of `*` are no secrets: there is nothing
//! that `***` would hide. What is too short to be a secret is for the callers to tell, by [`is_too_short`].

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, OnceLock};

use aho_corasick::{AhoCorasick, MatchKind};

use crate::secret::Secret;

mod escape;
mod forms;

/// From this length on, in bytes, a line of a secret is a secret, and a secret is found encoded. Shorter ones
/// would be met by chance.
pub const MIN_PART_BYTES: usize = 8;

/// The least characters of a value that is replaced: a shorter one, such as `1`, `true` or `debug`, is in
/// texts that have nothing to do with it, and would take them, and numbers, apart.
pub const MIN_SECRET_CHARS: usize = 8;

/// Whether a value is too short to be taken for a secret; blank ones are none anyway.
#[must_use]
pub fn is_too_short(value: &str) -> bool {
    value.trim().chars().count() < MIN_SECRET_CHARS
}

/// What is said of a variable whose value [`is_too_short`].
#[must_use]
pub fn not_redacted(name: &str, remedy: &str) -> String {
    format!(
        "{name} is shorter than {MIN_SECRET_CHARS} characters, and is not redacted: such a text would be met by chance; {remedy}"
    )
}

/// What stands where a secret was.
pub const MASK: &str = "***";

/// What stands where something was cut out of a text, by [`short`](crate::plain::short) and its like.
const CUT: char = '…';
/// So many bytes of a secret beside [`CUT`] are a part of it; fewer are met by chance.
const PART: usize = 4;
/// The longest such part that is looked for: no text that was cut is much longer.
const MAX_PART: usize = 1024;

/// Replaces secrets. Cheap to clone.
#[derive(Clone, Default)]
pub struct Redactor(Option<Arc<Forms>>);

/// All forms of all secrets.
struct Forms {
    finder: AhoCorasick,
    /// In the order of their bytes: those with the same beginning are neighbours.
    sorted: Vec<String>,
    /// The same from back to front: those with the same end are neighbours. Only where something was cut.
    backwards: OnceLock<Vec<Vec<u8>>>,
    beginnings: Beginnings,
    longest: usize,
}

/// With which two bytes some form begins: a bit for each pair. Most places of a text are told apart by that alone.
struct Beginnings(Box<[u64]>);

impl Beginnings {
    fn of(forms: &[String]) -> Self {
        let mut bits = vec![0; (1 << 16) / 64].into_boxed_slice();
        for form in forms {
            if let [first, second, ..] = *form.as_bytes() {
                let pair = usize::from(u16::from_be_bytes([first, second]));
                bits[pair / 64] |= 1 << (pair % 64);
            }
        }
        Self(bits)
    }

    /// Whether some form may begin like this text, which has at least one byte. A single byte says nothing.
    fn may_be(&self, text: &[u8]) -> bool {
        let [first, second, ..] = *text else {
            return true;
        };
        let pair = usize::from(u16::from_be_bytes([first, second]));
        self.0[pair / 64] >> (pair % 64) & 1 == 1
    }
}

impl Redactor {
    /// A redactor for these secrets.
    ///
    /// # Panics
    /// When they have more than two thousand million bytes together.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut forms = BTreeSet::new();
        for secret in secrets {
            forms::add_all(secret.expose(), &mut forms);
        }
        let sorted: Vec<String> = forms.into_iter().collect();
        let Some(longest) = sorted.iter().map(String::len).max() else {
            return Self(None);
        };
        #[expect(
            clippy::expect_used,
            reason = "fails only beyond two thousand million states, one a byte"
        )]
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&sorted)
            .expect("the secrets fit into an automaton");
        Self(Some(Arc::new(Forms {
            finder,
            beginnings: Beginnings::of(&sorted),
            backwards: OnceLock::new(),
            sorted,
            longest,
        })))
    }

    /// A text without its secrets, and without the parts of them that were left where it was cut: there is `…`.
    #[must_use]
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(forms) = &self.0 else {
            return Cow::Borrowed(text);
        };
        let mut clean = Cow::Borrowed(text);
        if forms.finder.is_match(text) {
            let mut replaced = String::with_capacity(text.len());
            forms
                .finder
                .replace_all_with(text, &mut replaced, |_, _, to| {
                    to.push_str(MASK);
                    true
                });
            clean = Cow::Owned(replaced);
        }
        if clean.contains(CUT) {
            clean = Cow::Owned(forms.without_parts(&clean));
        }
        clean
    }

    /// Bytes without their secrets.
    #[must_use]
    pub fn bytes<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        match &self.0 {
            Some(forms) if forms.finder.is_match(bytes) => {
                let mut clean = Vec::with_capacity(bytes.len());
                let replace = |_: &_, _: &[u8], to: &mut Vec<u8>| {
                    to.extend_from_slice(MASK.as_bytes());
                    true
                };
                forms
                    .finder
                    .replace_all_with_bytes(bytes, &mut clean, replace);
                Cow::Owned(clean)
            }
            Some(_) | None => Cow::Borrowed(bytes),
        }
    }

    /// The same for bytes that come in chunks.
    #[must_use]
    pub fn stream(&self) -> RedactStream {
        RedactStream {
            redactor: self.clone(),
            held: Vec::new(),
            found: false,
        }
    }

    /// Whether there are no secrets.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Redactor {
    /// Never the automaton, which spells the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms = self.0.as_ref().map_or(0, |forms| forms.sorted.len());
        write!(f, "Redactor({forms} forms)")
    }
}

/// Replaces secrets in bytes that come in chunks.
pub struct RedactStream {
    redactor: Redactor,
    /// The beginning of what may become a secret: shorter than the longest one.
    held: Vec<u8>,
    /// Whether something was replaced.
    found: bool,
}

impl RedactStream {
    /// Whether something was replaced so far.
    #[must_use]
    pub const fn has_replaced(&self) -> bool {
        self.found
    }

    /// What came and was not given on yet.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Takes the next chunk, and gives on what is certain by now.
    pub fn push(&mut self, chunk: &[u8], out: &mut impl FnMut(&[u8])) {
        let Some(forms) = &self.redactor.0 else {
            return give(chunk, out);
        };
        if self.held.is_empty() {
            let done = forms.settle(chunk, false, &mut self.found, out);
            self.held.extend_from_slice(&chunk[done..]);
        } else {
            self.held.extend_from_slice(chunk);
            let done = forms.settle(&self.held, false, &mut self.found, out);
            self.held.drain(..done);
        }
    }

    /// Gives on what was kept back: no more chunks will come.
    pub fn finish(&mut self, out: &mut impl FnMut(&[u8])) {
        let held = std::mem::take(&mut self.held);
        match &self.redactor.0 {
            Some(forms) => {
                forms.settle(&held, true, &mut self.found, out);
            }
            None => give(&held, out),
        }
    }
}

impl fmt::Debug for RedactStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedactStream({} bytes held)", self.held.len())
    }
}

impl Forms {
    /// Gives on as much of `data` as no further byte can change, and returns how much that was.
    fn settle(
        &self,
        data: &[u8],
        last: bool,
        found: &mut bool,
        out: &mut impl FnMut(&[u8]),
    ) -> usize {
        let mut at = 0;
        loop {
            let open = if last {
                data.len()
            } else {
                self.open_end(data, at)
            };
            // At or after `open`, one that starts earlier or ends later may still come.
            let certain = self
                .finder
                .find(&data[at..])
                .map(|found| (at + found.start(), at + found.end()))
                .filter(|(start, _)| *start < open);
            let Some((start, end)) = certain else {
                give(&data[at..open], out);
                return open;
            };
            give(&data[at..start], out);
            give(MASK.as_bytes(), out);
            *found = true;
            at = end;
        }
    }

    /// A text that was cut, without the parts of secrets that are left beside the places.
    fn without_parts(&self, text: &str) -> String {
        let mut clean = String::with_capacity(text.len());
        let mut pieces = text.split(CUT).enumerate().peekable();
        while let Some((at, piece)) = pieces.next() {
            let mut piece = piece;
            let is_cut = pieces.peek().is_some();
            if at > 0 {
                clean.push(CUT);
                if is_cut && self.has_form_around(piece.trim_matches(' ')) {
                    clean.push_str(MASK);
                    continue;
                }
                let word = piece.trim_start_matches(' ');
                let part = self.end_of_form(word);
                if part > 0 {
                    clean.push_str(&piece[..piece.len() - word.len()]);
                    clean.push_str(MASK);
                    piece = &word[part..];
                }
            }
            let word = piece.trim_end_matches(' ');
            match self.beginning_of_form(word).filter(|_| is_cut) {
                Some(start) => {
                    clean.push_str(&piece[..start]);
                    clean.push_str(MASK);
                    clean.push_str(&piece[word.len()..]);
                }
                None => clean.push_str(piece),
            }
        }
        clean
    }

    /// Whether a text that was cut at both ends is a part of a form.
    fn has_form_around(&self, text: &str) -> bool {
        text.len() >= PART && self.sorted.iter().any(|form| form.contains(text))
    }

    /// Where the longest part begins that a text ends with and a form begins with.
    fn beginning_of_form(&self, text: &str) -> Option<usize> {
        let most = self.longest.min(MAX_PART);
        let first = text.len().saturating_sub(most);
        let last = text.len().checked_sub(PART)?;
        (first..=last).find(|start| {
            text.is_char_boundary(*start) && self.is_beginning(&text.as_bytes()[*start..])
        })
    }

    /// How long the longest part is that a text begins with and a form ends with.
    fn end_of_form(&self, text: &str) -> usize {
        let backwards = self.backwards.get_or_init(|| {
            let turned = |form: &String| form.bytes().rev().collect();
            let mut all: Vec<Vec<u8>> = self.sorted.iter().map(turned).collect();
            all.sort_unstable();
            all
        });
        let most = text.len().min(self.longest).min(MAX_PART);
        let is_end = |length: &usize| {
            let Some(part) = text.get(..*length) else {
                return false;
            };
            let turned: Vec<u8> = part.bytes().rev().collect();
            let next = backwards.partition_point(|form| *form <= turned);
            backwards
                .get(next)
                .is_some_and(|form| form.starts_with(&turned))
        };
        (PART..=most).rev().find(is_end).unwrap_or(0)
    }

    /// Where, from `at` on, the first form begins that the end of `data` cuts off.
    fn open_end(&self, data: &[u8], at: usize) -> usize {
        let first = at.max((data.len() + 1).saturating_sub(self.longest));
        (first..data.len())
            .find(|start| self.is_beginning(&data[*start..]))
            .unwrap_or(data.len())
    }

    /// Whether some form goes on after this.
    fn is_beginning(&self, bytes: &[u8]) -> bool {
        if !self.beginnings.may_be(bytes) {
            return false;
        }
        let next = self.sorted.partition_point(|form| form.as_bytes() <= bytes);
        self.sorted
            .get(next)
            .is_some_and(|form| form.as_bytes().starts_with(bytes))
    }
}

fn give(bytes: &[u8], out: &mut impl FnMut(&[u8])) {
    if !bytes.is_empty() {
        out(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        Redactor::new(secrets.iter().map(|secret| Secret::new(*secret)))
    }

    fn streamed<'a>(redactor: &Redactor, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let mut out = Vec::new();
        let mut stream = redactor.stream();
        for chunk in chunks {
            stream.push(chunk, &mut |bytes| out.extend_from_slice(bytes));
        }
        stream.finish(&mut |bytes| out.extend_from_slice(bytes));
        out
    }

    /// At once, as bytes, and in chunks of every size.
    fn check(secrets: &[&str], text: &str, clean: &str) {
        let redactor = redactor(secrets);
        assert_eq!(redactor.text(text), clean, "{secrets:?} in {text:?}");
        assert_eq!(redactor.bytes(text.as_bytes()), clean.as_bytes());
        for size in 1..=text.len().max(1) {
            let out = streamed(&redactor, text.as_bytes().chunks(size));
            assert_eq!(String::from_utf8_lossy(&out), clean, "chunks of {size}");
        }
    }

    #[test]
    fn every_occurrence_is_replaced_leftmost_and_longest() {
        for (secrets, text, clean) in [
            (&["hunter2"][..], "hunter2, hunter2!", "***, ***!"),
            (&["abc", "abcdef"], "abcdef abcde abc", "*** ***de ***"),
            (&["abcd", "cdef"], "abcdef", "***ef"),
            (&["bcd", "abcde"], "abcdx abcde", "a***x ***"),
            (&["aab"], "aaab", "a***"),
            (&["a*b"], "a*b", "***"),
            (&["", "  ", "*", "****"], "a  * b", "a  * b"),
            (&["pässwörd"], "x pässwörd", "x ***"),
            (&[], "nothing", "nothing"),
        ] {
            check(secrets, text, clean);
        }
    }

    #[test]
    fn encoded_secrets_are_replaced() {
        let check = |secret, shown: &str| check(&[secret], &format!("<{shown}>"), "<***>");
        check("say \"hi\"", "say \\\"hi\\\"");
        check("käse", "k\\u00e4se");
        check("key🔑", "key\\ud83d\\udd11");
        check("a/b c!", "a%2Fb%20c%21");
        check("a/b c!", "a/b%20c%21");
        check("a/b c!", "a%2Fb%20c!");
        check("a/b c", "a%2Fb+c");
        check("a~*b c", "a%7E*b+c");
        check("secret?>", "c2VjcmV0Pz4=");
        check("secret?>", "c2VjcmV0Pz4");
        check("secret??", "c2VjcmV0Pz8=");
        check("secr\u{7f}\u{7f}\u{7f}~", "c2Vjcn9/f34=");
        check("secr\u{7f}\u{7f}\u{7f}~", "c2Vjcn9_f34=");
        check("a/b\"c'd<e", "a\\/b\\\"c'd\\u003ce");
        check("a/b\"c'd<e", "a\\/b\\u0022c\\u0027d\\u003Ce");
        check("a/b\"c'd<e", "a/b&quot;c&#39;d&lt;e");
        check("a/b\"c'd<e", "a&#x2F;b&quot;c&#x27;d&lt;e");
        check("a/b\"c'd<e", "a/b\"c'\\''d<e");
        check("a/b c'd<e", "a/b\\ c\\'d\\<e");
        check("a/b c'd<e", "a%2fb%20c%27d%3ce");
        check("a/b c'd<e", "a%252Fb%2520c%2527d%253Ce");
        check("käse-käse", "k\\xc3\\xa4se-k\\xc3\\xa4se");
        check(
            "käse-käse",
            "k&#228;se-k&#xe4;se".replace("&#xe4;", "&#228;").as_str(),
        );
        check("hunter22", "68756e7465723232");
        check("secret-J", "7365637265742D4A");
        check("hunter22", "\\x68\\x75\\x6e\\x74\\x65\\x72\\x32\\x32");
        check("hunter22", "NB2W45DFOIZDE===");
        check("hunter22", "nb2w45dfoizde");
        check("hunter22", "YUhWdWRHVnlNakk9");
        check("hunter22", "&#104;&#117;&#110;&#116;&#101;&#114;&#50;&#50;");
    }

    #[test]
    fn what_is_encoded_twice_in_usual_ways_is_found() {
        let secret = "p/+a&ss\"w<o>rd'=%x\\y z";
        // With two of JSON, URL, form, HTML, hex and Base64, as Python's libraries write them.
        for shown in [
            "p/+a&ss\\\\\\\"w<o>rd'=%x\\\\\\\\y z",
            "p%2F%2Ba%26ss%5C%22w%3Co%3Erd%27%3D%25x%5C%5Cy%20z",
            "p%2F%2Ba%26ss%5C%22w%3Co%3Erd%27%3D%25x%5C%5Cy+z",
            "p/+a&amp;ss\\&quot;w&lt;o&gt;rd&#x27;=%x\\\\y z",
            "702f2b612673735c22773c6f3e7264273d25785c5c79207a",
            "cC8rYSZzc1widzxvPnJkJz0leFxceSB6",
            "p%2F%2Ba%26ss%22w%3Co%3Erd%27%3D%25x%5Cy%20z",
            "p%252F%252Ba%2526ss%2522w%253Co%253Erd%2527%253D%2525x%255Cy%2520z",
            "p%252F%252Ba%2526ss%2522w%253Co%253Erd%2527%253D%2525x%255Cy%2520z",
            "p%2F%2Ba%26ss%22w%3Co%3Erd%27%3D%25x%5Cy%20z",
            "70253246253242612532367373253232772533436f253345726425323725334425323578253543792532307a",
            "cCUyRiUyQmElMjZzcyUyMnclM0NvJTNFcmQlMjclM0QlMjV4JTVDeSUyMHo=",
            "p%2F%2Ba%26ss%22w%3Co%3Erd%27%3D%25x%5Cy+z",
            "p%252F%252Ba%2526ss%2522w%253Co%253Erd%2527%253D%2525x%255Cy%2Bz",
            "p%252F%252Ba%2526ss%2522w%253Co%253Erd%2527%253D%2525x%255Cy%2Bz",
            "p%2F%2Ba%26ss%22w%3Co%3Erd%27%3D%25x%5Cy+z",
            "70253246253242612532367373253232772533436f253345726425323725334425323578253543792b7a",
            "cCUyRiUyQmElMjZzcyUyMnclM0NvJTNFcmQlMjclM0QlMjV4JTVDeSt6",
            "p/+a&amp;ss&quot;w&lt;o&gt;rd&#x27;=%x\\\\y z",
            "p%2F%2Ba%26amp%3Bss%26quot%3Bw%26lt%3Bo%26gt%3Brd%26%23x27%3B%3D%25x%5Cy%20z",
            "p%2F%2Ba%26amp%3Bss%26quot%3Bw%26lt%3Bo%26gt%3Brd%26%23x27%3B%3D%25x%5Cy+z",
            "p/+a&amp;amp;ss&amp;quot;w&amp;lt;o&amp;gt;rd&amp;#x27;=%x\\y z",
            "702f2b6126616d703b73732671756f743b77266c743b6f2667743b726426237832373b3d25785c79207a",
            "cC8rYSZhbXA7c3MmcXVvdDt3Jmx0O28mZ3Q7cmQmI3gyNzs9JXhceSB6",
            "702f2b6126737322773c6f3e7264273d25785c79207a",
            "702f2b6126737322773c6f3e7264273d25785c79207a",
            "702f2b6126737322773c6f3e7264273d25785c79207a",
            "702f2b6126737322773c6f3e7264273d25785c79207a",
            "3730326632623631323637333733323237373363366633653732363432373364323537383563373932303761",
            "NzAyZjJiNjEyNjczNzMyMjc3M2M2ZjNlNzI2NDI3M2QyNTc4NWM3OTIwN2E=",
            "cC8rYSZzcyJ3PG8+cmQnPSV4XHkgeg==",
            "cC8rYSZzcyJ3PG8%2BcmQnPSV4XHkgeg%3D%3D",
            "cC8rYSZzcyJ3PG8%2BcmQnPSV4XHkgeg%3D%3D",
            "cC8rYSZzcyJ3PG8+cmQnPSV4XHkgeg==",
            "6343387259535a7a63794a335047382b636d516e5053563458486b6765673d3d",
            "Y0M4cllTWnpjeUozUEc4K2NtUW5QU1Y0WEhrZ2VnPT0=",
        ] {
            check(&[secret], &format!("<{shown}>"), "<***>");
        }
        // Basic credentials in a file of registries, which is in Base64 again.
        let registries = "eyJhdXRoIjogImJXVTZjQzhyWVNaemN5SjNQRzgrY21RblBTVjRYSGtnZWc9PSJ9";
        let redactor = redactor(&[secret]);
        assert!(redactor.text(registries).contains("***"));
    }

    #[test]
    fn a_secret_is_found_in_the_base64_of_a_longer_text() {
        for (text, clean) in [
            // `user:hunter22`, `me:hunter22`, `x:hunter22!`, `:hunter22`
            ("Basic dXNlcjpodW50ZXIyMg==", "Basic dXNlcj***=="),
            ("Basic bWU6aHVudGVyMjI=", "Basic bWU6***"),
            ("Basic eDpodW50ZXIyMiE=", "Basic eDp***E="),
        ] {
            let redactor = redactor(&["hunter22"]);
            let found = redactor.text(text);
            assert!(found.contains("***"), "{text}: {found}");
            assert!(found.len() <= clean.len() + 4, "{text}: {found}");
        }
    }

    #[test]
    fn base64_is_found_wherever_it_is_broken_into_lines() {
        let secret = "sk-live-0123456789abcdefghijklmnopqrstuvwxyz";
        let redactor = redactor(&[secret]);
        for columns in [64, 76] {
            for before in 0..80 {
                let text = format!("{}{secret}{}", "x".repeat(before), "y".repeat(50));
                let encoded = data_encoding::BASE64.encode(text.as_bytes());
                for line_break in ["\n", "\r\n"] {
                    let lines: Vec<&str> = encoded
                        .as_bytes()
                        .chunks(columns)
                        .map(|line| std::str::from_utf8(line).unwrap())
                        .collect();
                    let lines = lines.join(line_break);
                    assert_eq!(redactor.text(&lines).matches("***").count(), 1, "{lines}");
                }
            }
        }
    }

    #[test]
    fn the_number_of_forms_is_bounded() {
        for (secret, most) in [
            ("hunter22".to_owned(), 200),
            (
                "sk-live-0123456789abcdefghijklmnopqrstuvwxyz".to_owned(),
                1000,
            ),
            ("a/b+c=\"d'".repeat(12), 400),
            ("k".repeat(5000), 100),
        ] {
            let mut all = BTreeSet::new();
            forms::add_all(&secret, &mut all);
            assert!(all.len() < most, "{} bytes: {}", secret.len(), all.len());
        }
    }

    #[test]
    fn short_values_are_known() {
        for (value, short) in [
            ("1", true),
            ("true", true),
            ("1234567", true),
            ("12345678", false),
            (" 1234567 \n", true),
            ("pässwör", true),
            ("pässwörd", false),
        ] {
            assert_eq!(is_too_short(value), short, "{value:?}");
        }
    }

    #[test]
    fn a_key_is_replaced_whole_line_by_line_and_without_its_last_line_break() {
        let pem = "-----BEGIN KEY-----\r\nMIIEvQIBADAN\r\nxyz=\r\n-----END KEY-----\r\n";
        for (text, clean) in [
            (pem, "***"),
            (pem.trim_end(), "***"),
            (" 1: MIIEvQIBADAN\n 2: xyz=\n", " 1: ***\n 2: xyz=\n"),
            ("-----BEGIN KEY-----\nMIIEvQIBADAN\n", "***\n***\n"),
        ] {
            check(&[pem], text, clean);
        }
        check(&["short\n"], "short", "***");
    }

    #[test]
    fn what_cannot_become_a_secret_is_given_on_at_once() {
        let mut stream = redactor(&["sk-secret"]).stream();
        let mut out = String::new();
        let mut push = |stream: &mut RedactStream, chunk: &str| {
            stream.push(chunk.as_bytes(), &mut |bytes| {
                out.push_str(&String::from_utf8_lossy(bytes));
            });
            out.clone()
        };
        assert_eq!(push(&mut stream, "working\nsk"), "working\n");
        assert_eq!(push(&mut stream, "-sec"), "working\n");
        assert_eq!(push(&mut stream, "ond"), "working\nsk-second");
        assert_eq!(push(&mut stream, " sk-secret"), "working\nsk-second ***");
    }

    #[test]
    fn without_secrets_nothing_is_copied() {
        let none = redactor(&[]);
        assert!(matches!(none.text("x"), Cow::Borrowed("x")));
        let chunk = b"chunk";
        none.stream().push(chunk, &mut |bytes| {
            assert!(std::ptr::eq(bytes.as_ptr(), chunk.as_ptr()));
        });
    }

    #[test]
    fn what_is_left_of_a_secret_where_a_text_was_cut_is_replaced() {
        use crate::plain::{ends, last, short};
        let secret =
            "sk-proj-r74iz8G7e8aGs5qnG45GBjqj3Aaek7cvbtG8ADB6EizgciHpsDvC2A6y47C7qxbt8kw466g";
        let redactor = redactor(&[secret, "pässwörd-4711-geheim"]);
        let text = format!("it is \"{secret}\", not x: {}", "y".repeat(80));
        for max in 4..150 {
            for cut in [short(&text, max), last(&text, max), ends(&text, max)] {
                let clean = redactor.text(&cut);
                let longest = (PART..secret.len())
                    .rev()
                    .find(|n| (0..=secret.len() - n).any(|at| clean.contains(&secret[at..at + n])));
                assert_eq!(longest, None, "{max}: {cut:?}: {clean:?}");
            }
        }
        for (text, clean) in [
            ("x pässwö… y", "x ***… y"),
            ("x pässwö … geheim y", "x *** … *** y"),
            ("… geheim", "… ***"),
            ("x p… eim… y", "x p… eim… y"),
            ("is …örd-47…, not", "is …***…, not"),
            ("[Run] Executing…", "[Run] Executing…"),
            ("…", "…"),
        ] {
            assert_eq!(redactor.text(text), clean, "{text}");
        }
        assert_eq!(Redactor::default().text("pässwö…"), "pässwö…");
    }

    #[test]
    fn nothing_shows_the_secrets_when_debugged() {
        let redactor = redactor(&["hunter22"]);
        let mut stream = redactor.stream();
        stream.push(b"hunter2", &mut |_| {});
        assert_eq!(format!("{stream:?}"), "RedactStream(7 bytes held)");
        assert!(!format!("{redactor:?}").contains("hunter"));
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference_and_no_secret_survives(
            secrets in proptest::collection::vec("[ab\"ä/]{0,5}|[ab]{8,12}\n?[ab]{0,12}", 0..6),
            pieces in proptest::collection::vec((0_usize..8, "[ab\"ä/\n]{0,6}"), 0..12),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let text: String = pieces
                .iter()
                .flat_map(|(at, filler)| [secrets.get(*at).map_or("", |s| s), filler])
                .collect();
            let redactor = Redactor::new(secrets.iter().cloned().map(Secret::new));
            let whole = redactor.bytes(text.as_bytes());

            let mut cuts: Vec<usize> = cuts
                .iter()
                .map(|cut| cut.index(text.len() + 1))
                .chain([0, text.len()])
                .collect();
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]);
            prop_assert_eq!(&streamed(&redactor, chunks), &*whole);

            let text = redactor.text(&text);
            prop_assert_eq!(text.as_bytes(), &*whole);
            for secret in secrets.iter().filter(|secret| !secret.trim().is_empty()) {
                prop_assert!(!text.contains(secret.as_str()), "{:?} in {:?}", secret, text);
            }
        }

        #[test]
        fn a_stream_holds_less_than_the_longest_form(
            secret in "[ab]{1,12}",
            chunks in proptest::collection::vec("[ab]{0,9}", 0..9),
        ) {
            let redactor = redactor(&[&secret]);
            let longest = redactor.0.as_ref().map_or(0, |forms| forms.longest);
            let mut stream = redactor.stream();
            for chunk in chunks {
                stream.push(chunk.as_bytes(), &mut |_| {});
                prop_assert!(stream.held.len() < longest);
            }
        }
    }
}
