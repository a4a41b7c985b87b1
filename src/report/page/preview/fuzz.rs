//! Fuzzing of previews: whatever an artifact has, nothing of it becomes markup of the page, and little is shown of much.

use super::{markdown, picture, tree};
use crate::fuzz::{ends, fuzz};

/// The most text that is shown of one.
const MOST: usize = 2000;

/// Only what the page itself writes is in it: no scripts, no styles, no frames, nothing that is loaded.
#[track_caller]
fn assert_harmless(markup: &str, bytes: &[u8]) {
    let small = markup.to_ascii_lowercase();
    for bad in [
        "<script",
        "<style",
        "<iframe",
        "<img",
        "<object",
        "<svg",
        "<link",
        "<base",
        "<form",
        "javascript:",
        " src=",
        " style=",
    ] {
        assert!(!small.contains(bad), "{bad}: {markup}");
    }
    let attributes = regex::Regex::new(r"<[a-z]+[^>]* on[a-z]+=").unwrap();
    assert!(!attributes.is_match(&small), "{markup}");
    // Escapes and tags are longer than what they stand for, each by so much.
    assert!(
        markup.len() <= 40 * bytes.len().min(4 * MOST) + 4096,
        "{} of {}",
        markup.len(),
        bytes.len()
    );
}

#[test]
fn fuzz_markdown() {
    let samples: [&[u8]; 3] = [
        b"# Title\n\n**bold** [link](https://x/?a&b \"t\") <https://y> ![i](a.png) [j](javascript:alert(1))\n\n- a\n  - b\n\n1. c\n\n> quote\n\n```html\n<script>x</script>\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n",
        b"<img src=x onerror=alert(1)> <!-- c --> <svg/onload=a> [a]: javascript:b\n\n[a][a] [x](data:text/html,<b>) [y](//evil) [z](../../x) [v](.)\n",
        b"[[[[[[[[a](b)](c)](d)\n***_**_***_~~x~~\n\n- [ ] todo\n- [x] done\n\n[^1]: note\n\nx[^1]\n\n$a$ $$b$$\n",
    ];
    fuzz(file!(), &samples, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        let (markup, _) = markdown::rendered(&text, "task/alpha/1", MOST);
        // Words of an artifact may be about these; as text they are escaped, and stay words.
        let markup = markup
            .replace("javascript:", "")
            .replace(" src=", "")
            .replace(" style=", "");
        assert_harmless(&markup, bytes);
        let links = regex::Regex::new(r#"href="([^"]*)""#).unwrap();
        for link in links.captures_iter(&markup) {
            let to = link[1].to_ascii_lowercase();
            let is_fine = ["http:", "https:", "mailto:", "./task/alpha/1"]
                .iter()
                .any(|it| to.starts_with(it));
            assert!(is_fine, "{to}");
            let path = to.replace("%2e", ".").replace('\\', "/");
            assert!(
                !to.starts_with("./") || !path.split('/').any(|part| part == ".."),
                "{to}"
            );
        }
    });
}

#[test]
fn fuzz_trees() {
    let samples: [&[u8]; 3] = [
        br#"{"a": [1, 2, {"b": "<script>"}], "c\u001b": null, "d": {"e": {"f": []}}}"#,
        b"a,b\n1,\"x,\ny\"\n<script>,=cmd()\n",
        b"a;b\n\"unclosed\n,,,,\n",
    ];
    fuzz(file!(), &samples, |bytes| {
        if let Ok(value) = serde_json::from_slice(bytes) {
            assert_harmless_text(&tree::json(&value, MOST), bytes);
        }
        if let Some(markup) = tree::csv(&String::from_utf8_lossy(bytes), MOST) {
            assert_harmless_text(&markup, bytes);
        }
    });
}

/// The same where text may have such words, escaped.
#[track_caller]
fn assert_harmless_text(markup: &str, bytes: &[u8]) {
    let markup = markup
        .replace("javascript:", "")
        .replace(" src=", "")
        .replace(" style=", "");
    assert_harmless(&markup, bytes);
}

#[test]
fn fuzz_pictures() {
    let samples: [&[u8]; 4] = [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01\0\0\0\x01\0\x08\x06\0\0\0",
        b"GIF89a\x10\0\x10\0\0\0\0",
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xc0\0\x11\x08\0\x10\0\x10\x03\x01",
        b"RIFF\x24\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x0f\0\0\x0f\0\0",
    ];
    fuzz(file!(), &samples, |bytes| ends(picture::find(bytes)));
}
