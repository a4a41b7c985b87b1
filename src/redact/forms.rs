//! The forms in which a secret is looked for: as it is, and as programs commonly write it.

use std::collections::BTreeSet;

use data_encoding::{BASE32, BASE64, BASE64URL, Encoding, HEXLOWER, HEXUPPER};

use super::MIN_PART_BYTES;
use super::escape::{self, HTML};

/// The longest secret, in bytes, of which every place is looked at where its Base64 may be broken into lines.
const MAX_BROKEN: usize = 64;
/// The longest that is looked for encoded twice.
const MAX_TWICE: usize = 256;
/// The longest of which every character may be written as a number.
const MAX_SPELLED: usize = 1024;
/// How many letters of Base64 a line has: in PEM, and in MIME and of the usual program.
const COLUMNS: [usize; 2] = [64, 76];
/// How many digits of hex a line of `xxd -p` has.
const HEX_COLUMNS: usize = 60;
const LINE_BREAKS: [&str; 2] = ["\n", "\r\n"];

/// All forms of a secret, and of its longer lines when it has several.
pub(super) fn add_all(secret: &str, forms: &mut BTreeSet<String>) {
    add(secret, forms);
    // Files end in a line break that nobody prints with the secret.
    add(secret.trim(), forms);
    if secret.contains(['\n', '\r']) {
        secret
            .split(['\n', '\r'])
            .map(str::trim)
            .filter(|line| line.len() >= MIN_PART_BYTES)
            .for_each(|line| add(line, forms));
    }
}

fn add(secret: &str, forms: &mut BTreeSet<String>) {
    if secret.trim().is_empty() || secret.bytes().all(|byte| byte == b'*') {
        return;
    }
    add_escaped(secret, forms);
    if secret.len() < MIN_PART_BYTES {
        return;
    }
    add_encoded(secret.as_bytes(), forms);
    if secret.len() <= MAX_TWICE {
        add_twice(secret, forms);
    }
}

/// Most of it is as it is, and some characters are written in another way.
fn add_escaped(secret: &str, forms: &mut BTreeSet<String>) {
    forms.insert(secret.to_owned());
    forms.extend(escape::json(secret));
    forms.extend(escape::literals(secret));
    forms.extend(escape::shell(secret));
    forms.extend(escape::percent(secret));
    forms.extend(HTML.iter().flat_map(|table| table.escape(secret)));
}

/// Every byte is written in another way.
fn add_encoded(bytes: &[u8], forms: &mut BTreeSet<String>) {
    let spelled = bytes.len() <= MAX_SPELLED;
    for hex in [HEXLOWER.encode(bytes), HEXUPPER.encode(bytes)] {
        for before in ["\\x", "%"].iter().filter(|_| spelled) {
            let pairs = hex.as_bytes().chunks(2);
            forms.insert(
                pairs
                    .flat_map(|pair| before.bytes().chain(pair.iter().copied()))
                    .map(char::from)
                    .collect(),
            );
        }
        forms.insert(wrapped(&hex, HEX_COLUMNS, HEX_COLUMNS, "\n"));
        forms.insert(hex);
    }
    if spelled {
        forms.extend(escape::numeric_html(&String::from_utf8_lossy(bytes)));
    }
    for encoding in [&BASE64, &BASE64URL] {
        add_padded(encoding, bytes, forms);
        forms.extend(base64_within(encoding, bytes));
    }
    add_padded(&BASE32, bytes, forms);
    for within in within(&BASE32, bytes, 5, 5) {
        forms.insert(within.to_ascii_lowercase());
        forms.insert(within);
    }
    add_wrapped(bytes, forms);
}

fn add_padded(encoding: &Encoding, bytes: &[u8], forms: &mut BTreeSet<String>) {
    let encoded = encoding.encode(bytes);
    forms.insert(encoded.trim_end_matches('=').to_owned());
    // Base32 is written in small letters too; Base64 in small letters is no Base64.
    if encoding == &BASE32 {
        let small = encoded.to_ascii_lowercase();
        forms.insert(small.trim_end_matches('=').to_owned());
        forms.insert(small);
    }
    forms.insert(encoded);
}

fn base64_within(encoding: &Encoding, bytes: &[u8]) -> Vec<String> {
    within(encoding, bytes, 3, 6)
}

/// What the encoding of a longer text, such as `user:secret`, has in it for sure, whatever stands before and
/// after: one form for each place in a group of `group` bytes, of letters of `bits` bits.
fn within(encoding: &Encoding, bytes: &[u8], group: usize, bits: usize) -> Vec<String> {
    let at = |before: usize| {
        let mut text = vec![0; before];
        text.extend_from_slice(bytes);
        let encoded = encoding.encode(&text);
        let first = (before * 8).div_ceil(bits);
        let last = text.len() * 8 / bits;
        encoded.get(first..last).map(str::to_owned)
    };
    (0..group).filter_map(at).collect()
}

/// Base64 that is broken into lines: by itself, and, of shorter secrets, wherever it is in a longer text.
fn add_wrapped(bytes: &[u8], forms: &mut BTreeSet<String>) {
    let whole = BASE64.encode(bytes);
    for columns in COLUMNS {
        for line_break in LINE_BREAKS {
            forms.insert(wrapped(&whole, columns, columns, line_break));
            if bytes.len() > MAX_BROKEN {
                continue;
            }
            for within in base64_within(&BASE64, bytes) {
                for first in 1..within.len().min(columns + 1) {
                    forms.insert(wrapped(&within, first, columns, line_break));
                }
            }
        }
    }
}

/// ASCII text in lines of `columns` letters, the first one with `first`.
fn wrapped(text: &str, first: usize, columns: usize, line_break: &str) -> String {
    let (start, rest) = text.split_at(first.min(text.len()));
    let mut lines = start.to_owned();
    for line in rest.as_bytes().chunks(columns) {
        lines.push_str(line_break);
        lines.extend(line.iter().copied().map(char::from));
    }
    lines
}

/// Encoded, and that encoded again, each in the most usual way.
fn add_twice(secret: &str, forms: &mut BTreeSet<String>) {
    let bytes = secret.as_bytes();
    let base64 = BASE64.encode(bytes);
    let mut once: BTreeSet<String> = [
        base64.trim_end_matches('=').to_owned(),
        BASE64URL.encode(bytes).trim_end_matches('=').to_owned(),
        base64,
        HEXLOWER.encode(bytes),
        escape::plain_json(secret),
    ]
    .into();
    once.extend(escape::plain_percent(secret));
    once.extend(HTML.first().map(|it| it.escape(secret)).unwrap_or_default());
    // Basic credentials in a URL or a JSON text.
    let within = base64_within(&BASE64, bytes);
    for text in once.iter().chain(&within) {
        forms.extend(escape::json_twice(text));
        forms.extend(escape::percent_twice(text));
        forms.extend(HTML.first().into_iter().flat_map(|it| it.escape(text)));
    }
    for text in &once {
        add_padded(&BASE64, text.as_bytes(), forms);
    }
    for text in once.iter().chain(&within) {
        forms.insert(HEXLOWER.encode(text.as_bytes()));
        forms.extend(base64_within(&BASE64, text.as_bytes()));
    }
}
