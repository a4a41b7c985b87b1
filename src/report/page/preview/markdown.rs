//! Markdown of artifacts, rendered. The one file that knows `pulldown-cmark`.
//!
//! Promises: only the few tags that are written here come out, none with an attribute of the artifact but the addresses
//! of links, which lead to the web, to a mailbox, or to a file of the trial; HTML in Markdown is shown as text; pictures
//! are named and not loaded; what is nested too deeply is flat.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::super::markup::{address, block, escaped};

/// So deeply may things be in one another.
const MAX_DEPTH: usize = 24;

/// Renders a text into about so many bytes; `folder` is the trial's, from the run's. Returns whether that is all.
pub(super) fn rendered(text: &str, folder: &str, most: usize) -> (String, bool) {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut page = Page {
        markup: String::new(),
        open: Vec::new(),
        folder,
        picture: None,
    };
    let mut whole = true;
    for event in Parser::new_ext(text, options) {
        if page.markup.len() > most {
            whole = false;
            break;
        }
        page.take(event);
    }
    while let Some(close) = page.open.pop() {
        page.markup.push_str(close);
    }
    (page.markup, whole)
}

struct Page<'a> {
    markup: String,
    /// What closes what is open.
    open: Vec<&'static str>,
    folder: &'a str,
    /// The address of the picture that is being named.
    picture: Option<String>,
}

impl Page<'_> {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.begin(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::InlineMath(text) | Event::DisplayMath(text) => {
                self.words(&text);
            }
            Event::Code(text) => {
                self.markup.push_str("<code>");
                self.words(&text);
                self.markup.push_str("</code>");
            }
            // Shown and not obeyed.
            Event::Html(text) | Event::InlineHtml(text) => self.words(&text),
            Event::FootnoteReference(name) => self.words(&name),
            Event::SoftBreak => self.markup.push(' '),
            Event::HardBreak => self.markup.push_str("<br>"),
            Event::Rule => self.markup.push_str("<hr>"),
            Event::TaskListMarker(done) => self.markup.push_str(if done { "☑ " } else { "☐ " }),
        }
    }

    fn words(&mut self, text: &str) {
        self.markup.push_str(&block(text, usize::MAX).0);
    }

    fn begin(&mut self, tag: &Tag<'_>) {
        if self.open.len() >= MAX_DEPTH {
            self.open.push("");
            return;
        }
        let (open, close) = match tag {
            Tag::Paragraph => ("<p>", "</p>"),
            // Not headings: those of the page are of the page.
            Tag::Heading { .. } => ("<p class=\"heading\">", "</p>"),
            Tag::BlockQuote(_) => ("<blockquote>", "</blockquote>"),
            Tag::CodeBlock(_) => ("<pre tabindex=\"0\">", "</pre>"),
            Tag::List(Some(_)) => ("<ol>", "</ol>"),
            Tag::List(None) => ("<ul>", "</ul>"),
            Tag::Item => ("<li>", "</li>"),
            Tag::Emphasis => ("<em>", "</em>"),
            Tag::Strong => ("<strong>", "</strong>"),
            Tag::Strikethrough => ("<del>", "</del>"),
            Tag::Table(_) => ("<table>", "</table>"),
            Tag::TableHead | Tag::TableRow => ("<tr>", "</tr>"),
            Tag::TableCell => ("<td>", "</td>"),
            Tag::Link { dest_url, .. } => {
                match self.target(dest_url) {
                    Some(target) => {
                        add!(
                            self.markup,
                            "<a rel=\"noopener noreferrer nofollow\" href=\"{}\">",
                            escaped(&target)
                        );
                        // One without words could not be followed, nor heard of.
                        self.markup.push_str("<span class=\"unseen\">link: </span>");
                        self.open.push("</a>");
                    }
                    None => self.open.push(""),
                }
                return;
            }
            Tag::Image { dest_url, .. } => {
                self.picture = Some(dest_url.to_string());
                self.markup.push_str("[picture: ");
                self.open.push("");
                return;
            }
            Tag::HtmlBlock
            | Tag::FootnoteDefinition(_)
            | Tag::DefinitionList
            | Tag::DefinitionListTitle
            | Tag::DefinitionListDefinition
            | Tag::Superscript
            | Tag::Subscript
            | Tag::MetadataBlock(_) => ("<span>", "</span>"),
        };
        self.markup.push_str(open);
        self.open.push(close);
    }

    fn end(&mut self, tag: TagEnd) {
        if tag == TagEnd::Image
            && let Some(address) = self.picture.take()
        {
            self.words(&format!(" {}]", crate::plain::short(&address, 200)));
        }
        if let Some(close) = self.open.pop() {
            self.markup.push_str(close);
        }
    }

    /// Where a link may lead.
    fn target(&self, url: &str) -> Option<String> {
        let is_clean = !url.is_empty() && !url.chars().any(|c| c.is_control() || c.is_whitespace());
        let scheme = url
            .split_once(':')
            .map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            _ if !is_clean || url.len() > 2000 => None,
            Some("http" | "https" | "mailto") => Some(url.to_owned()),
            Some(_) => None,
            // A part of a document that is not this one.
            None if url.starts_with(['#', '?', '/']) => None,
            None => address(&format!("{}/{url}", self.folder)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        rendered(text, "weekly/alpha/1", 10_000).0
    }

    #[test]
    fn what_is_usual_is_rendered() {
        let text = "# Title\n\n- **one** `x`\n- [two](https://a.example/?b=1&c)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n";
        assert_eq!(
            of(text),
            "<p class=\"heading\">Title</p><ul><li><strong>one</strong> <code>x</code></li>\
             <li><a rel=\"noopener noreferrer nofollow\" href=\"https://a.example/?b=1&amp;c\">\
             <span class=\"unseen\">link: </span>two</a></li></ul>\
             <table><tr><td>a</td><td>b</td></tr><tr><td>1</td><td>2</td></tr></table>"
        );
    }

    #[test]
    fn nothing_of_an_artifact_does_anything() {
        for hostile in [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "a <svg/onload=alert(1)> b",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](java\u{1}script:alert(1))",
            "[x](data:text/html,<script>)",
            "[x](vbscript:x)",
            "[x](//evil.example/)",
            "[x](../../../secret)",
            "<javascript:alert(1)>",
            "![x](https://evil.example/pixel.png)",
            "[x]: javascript:alert(1)\n\n[x]",
        ] {
            let markup = of(hostile);
            for bad in ["<script", "<img", "<svg", "href", "src="] {
                let is_text = bad == "src=" && hostile.starts_with("<img");
                assert!(is_text || !markup.contains(bad), "{hostile}: {markup}");
            }
        }
        assert!(
            of("[x](files/a b.md)").contains("href")
                || of("[x](files/a.md)").contains("href=\"./weekly/alpha/1/files/a.md\"")
        );
    }

    #[test]
    fn a_bomb_stays_flat_and_short() {
        let deep = rendered(&"> ".repeat(5000), "f", 10_000).0;
        assert!(deep.matches("<blockquote>").count() <= MAX_DEPTH);
        let opened = deep.matches("<blockquote>").count();
        assert_eq!(opened, deep.matches("</blockquote>").count());
        let (long, whole) = rendered(&"# x\n".repeat(100_000), "f", 1000);
        assert!(!whole && long.len() < 1200);
    }
}
