//! How programs write single characters of a text in another way: JSON, literals, shells, URLs, HTML.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

/// Appends; writing to a text cannot fail.
fn put(text: &mut String, arguments: fmt::Arguments<'_>) {
    let _: fmt::Result = text.write_fmt(arguments);
}

/// What a character becomes; `None` when it stays.
fn replaced(text: &str, mut with: impl FnMut(char, &mut String) -> Option<()>) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if with(c, &mut out).is_none() {
            out.push(c);
        }
    }
    out
}

/// JSON strings: with `\/`, with what is not ASCII as `\u` escapes, and with those for what matters in HTML,
/// in digits of either case.
pub(super) fn json(text: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    for marks in ["", "<>&", "<>&'+", "<>&'\"+`"] {
        for slash in [false, true] {
            for ascii in [false, true] {
                for upper in [false, true] {
                    forms.insert(json_form(text, marks, slash, ascii, upper));
                }
            }
        }
    }
    forms
}

/// A JSON string in the form that most write.
pub(super) fn plain_json(text: &str) -> String {
    json_form(text, "", false, true, false)
}

/// What becomes of something encoded in a JSON string.
pub(super) fn json_twice(text: &str) -> [String; 2] {
    [false, true].map(|slash| json_form(text, "", slash, true, false))
}

fn json_form(text: &str, marks: &str, slash: bool, ascii: bool, upper: bool) -> String {
    let unit = |out: &mut String, unit: u16| {
        if upper {
            put(out, format_args!("\\u{unit:04X}"));
        } else {
            put(out, format_args!("\\u{unit:04x}"));
        }
    };
    replaced(text, |c, out| {
        match c {
            _ if marks.contains(c) || (ascii && !c.is_ascii()) => {
                for it in c.encode_utf16(&mut [0; 2]) {
                    unit(out, *it);
                }
            }
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' if slash => out.push_str("\\/"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if c < ' ' => unit(out, u16::try_from(u32::from(c)).unwrap_or(0)),
            _ => return None,
        }
        Some(())
    })
}

/// Literals of programming languages, between either kind of quotes, with bytes in hex or octal.
pub(super) fn literals(text: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    for quote in ['\'', '"'] {
        for bytes in [None, Some(false), Some(true)] {
            forms.insert(literal(text, quote, bytes));
        }
    }
    forms
}

/// `octal`: what is not ASCII as bytes, in octal or else in hex.
fn literal(text: &str, quote: char, octal: Option<bool>) -> String {
    replaced(text, |c, out| {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => put(out, format_args!("\\{c}")),
            c if !c.is_ascii() => {
                let octal = octal?;
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    if octal {
                        put(out, format_args!("\\{byte:03o}"));
                    } else {
                        put(out, format_args!("\\x{byte:02x}"));
                    }
                }
            }
            _ => return None,
        }
        Some(())
    })
}

/// Words of a shell: in single quotes, in double quotes, with a `\` before what is special.
pub(super) fn shell(text: &str) -> BTreeSet<String> {
    let before = |special: &dyn Fn(char) -> bool| {
        replaced(text, |c, out| {
            special(c).then(|| put(out, format_args!("\\{c}")))
        })
    };
    let special = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"_@%+=:./-".contains(c);
    [
        text.replace('\'', "'\\''"),
        text.replace('\'', "'\"'\"'"),
        before(&|c| "$`\"\\".contains(c)),
        before(&|c| "$`\"\\!".contains(c)),
        before(&special),
        before(&|c| c != ',' && special(c)),
    ]
    .into()
}

/// URLs: paths, queries, forms and whole ones, as the usual libraries write them, with digits of either case.
pub(super) fn percent(text: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    // All but RFC 3986's unreserved characters; without the slashes of a path; `encodeURIComponent`;
    // `encodeURI`; reserved characters as they are.
    for kept in ["", "/", "!'()*", ";,/?:@&=+$#!'()*", ":/?#[]@!$&'()*+,;="] {
        forms.insert(percent_encoded(text, kept));
    }
    // A form field, after RFC 3986 and as `URLSearchParams` has it.
    forms.insert(percent_encoded(text, "").replace("%20", "+"));
    let form = percent_encoded(text, "*").replace('~', "%7E");
    forms.insert(form.replace("%20", "+"));
    let lower: Vec<String> = forms.iter().map(|form| lower_digits(form)).collect();
    forms.extend(lower);
    forms
}

/// A part of a URL in the forms that most write: of a query, of a path, of a form.
pub(super) fn plain_percent(text: &str) -> [String; 3] {
    let all = percent_encoded(text, "");
    [percent_encoded(text, "/"), all.replace("%20", "+"), all]
}

/// What becomes of something encoded in a URL.
pub(super) fn percent_twice(text: &str) -> [String; 4] {
    let [path, form, all] = plain_percent(text);
    [lower_digits(&all), path, form, all]
}

fn percent_encoded(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || kept.contains(c) {
            encoded.push(c);
        } else {
            put(&mut encoded, format_args!("%{byte:02X}"));
        }
    }
    encoded
}

/// The two digits after each `%` in small letters.
fn lower_digits(encoded: &str) -> String {
    let mut left = 0;
    let lower = |c: char| {
        if c == '%' {
            left = 2;
            c
        } else if left > 0 {
            left -= 1;
            c.to_ascii_lowercase()
        } else {
            c
        }
    };
    encoded.chars().map(lower).collect()
}

/// What a way of escaping HTML writes for which characters, besides `&amp;`, `&lt;` and `&gt;`.
#[derive(Debug)]
pub(super) struct Html(&'static [(char, &'static str)]);

/// The usual ones, the most usual first.
pub(super) const HTML: [Html; 11] = [
    Html(&[('"', "&quot;"), ('\'', "&#x27;")]),
    Html(&[]),
    Html(&[('"', "&quot;")]),
    Html(&[('"', "&quot;"), ('\'', "&#39;")]),
    Html(&[('"', "&quot;"), ('\'', "&#039;")]),
    Html(&[('"', "&quot;"), ('\'', "&apos;")]),
    Html(&[('"', "&#34;"), ('\'', "&#39;")]),
    Html(&[('"', "&#34;"), ('\'', "&#39;"), ('+', "&#43;")]),
    Html(&[('"', "&quot;"), ('\'', "&#x27;"), ('/', "&#x2F;")]),
    Html(&[
        ('"', "&quot;"),
        ('\'', "&#x27;"),
        ('`', "&#x60;"),
        ('=', "&#x3D;"),
    ]),
    Html(&[
        ('"', "&quot;"),
        ('\'', "&#39;"),
        ('/', "&#x2F;"),
        ('`', "&#x60;"),
        ('=', "&#x3D;"),
    ]),
];

impl Html {
    /// With what is not ASCII as it is, and as numbers.
    pub(super) fn escape(&self, text: &str) -> BTreeSet<String> {
        let escape = |number: Option<Radix>| {
            replaced(text, |c, out| {
                let entity = self.0.iter().find(|it| it.0 == c).map(|it| it.1);
                match c {
                    '&' => out.push_str("&amp;"),
                    '<' => out.push_str("&lt;"),
                    '>' => out.push_str("&gt;"),
                    c if !c.is_ascii() => number?.put(c, out),
                    _ => out.push_str(entity?),
                }
                Some(())
            })
        };
        [
            None,
            Some(Radix::Decimal),
            Some(Radix::Hex),
            Some(Radix::Upper),
        ]
        .map(escape)
        .into()
    }
}

/// How a number is written.
#[derive(Debug, Clone, Copy)]
enum Radix {
    Decimal,
    Hex,
    Upper,
}

impl Radix {
    fn put(self, c: char, out: &mut String) {
        let number = u32::from(c);
        match self {
            Self::Decimal => put(out, format_args!("&#{number};")),
            Self::Hex => put(out, format_args!("&#x{number:x};")),
            Self::Upper => put(out, format_args!("&#x{number:X};")),
        }
    }
}

/// HTML with every character, or every one that is no letter or digit, as a number.
pub(super) fn numeric_html(text: &str) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    for radix in [Radix::Decimal, Radix::Hex, Radix::Upper] {
        for all in [true, false] {
            forms.insert(replaced(text, |c, out| {
                (all || !c.is_ascii_alphanumeric()).then(|| radix.put(c, out))
            }));
        }
    }
    forms
}
