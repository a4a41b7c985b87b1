//! `report.md`: the report for GitHub, as a file, a job summary or a comment.
//!
//! Promises: every value passes one escape function, because the template engine applies it and the
//! template has no way around it; so no value can make a heading, a link, an image, a mention, HTML, or
//! leave its cell.

use std::io::{self, Write};

use tera::{Context, Tera};

use super::Report;
use super::view::View;

const NAME: &str = "report.md";
/// The part about one objective: made and written for each by itself, because it is what is large.
const OBJECTIVE: &str = "objective.md";
/// What comes after those.
const RUN: &str = "run.md";

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let view = View::of(report);
    let whole = Context::from_serialize(&view).map_err(io::Error::other)?;
    let mut tera = engine(NAME, include_str!("templates/report.md"))?;
    tera.add_raw_templates([
        (OBJECTIVE, include_str!("templates/objective.md")),
        (RUN, include_str!("templates/run.md")),
    ])
    .map_err(io::Error::other)?;
    let mut render = |name, context: &Context| {
        let rendered = tera.render_to(name, context, &mut *to);
        rendered.map_err(io::Error::other)
    };
    render(NAME, &whole)?;
    for section in &view.sections {
        let mut context = Context::new();
        context.insert("section", section);
        render(OBJECTIVE, &context)?;
    }
    render(RUN, &whole)
}

/// What renders a template whose values are all escaped.
pub(super) fn engine(name: &'static str, template: &str) -> io::Result<Tera> {
    let mut tera = Tera::new();
    tera.autoescape_on([".md"]);
    tera.set_escape_fn(escape);
    tera.add_raw_template(name, template)
        .map_err(io::Error::other)?;
    Ok(tera)
}

/// Writes a text so that Markdown shows it as it is.
///
/// GitHub looks for mentions and issue numbers after Markdown, in what is shown, so no escape of Markdown
/// stops it: an invisible character has to stand between the sign and the word. An underscore inside a
/// word means nothing to Markdown, and stays readable.
fn escape(text: &str, to: &mut dyn Write) -> io::Result<()> {
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let rest = &text[at + c.len_utf8()..];
        let next = rest.chars().next().unwrap_or(' ');
        match c {
            '&' => to.write_all(b"&amp;")?,
            '<' => to.write_all(b"&lt;")?,
            '>' => to.write_all(b"&gt;")?,
            '@' if next.is_alphanumeric() => to.write_all("@\u{200b}".as_bytes())?,
            '#' if next.is_alphanumeric() => to.write_all("\\#\u{200b}".as_bytes())?,
            '_' if before.is_alphanumeric() && next.is_alphanumeric() => to.write_all(b"_")?,
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' | '#' => write!(to, "\\{c}")?,
            // No link is half made, whatever reads it.
            '(' if before == ']' => to.write_all(b"\\(")?,
            // `https://` and `www.` would become links.
            ':' if next == '/' => to.write_all(b"\\:")?,
            '.' if ends_with_www(&text[..at]) => to.write_all(b"\\.")?,
            _ => write!(to, "{c}")?,
        }
        before = c;
    }
    Ok(())
}

fn ends_with_www(text: &str) -> bool {
    let tail = text.len().checked_sub(3).and_then(|at| text.get(at..));
    tail.is_some_and(|tail| tail.eq_ignore_ascii_case("www"))
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::sample::*;
    use super::*;
    use crate::rule::{How, Question};

    #[test]
    fn markdown_shows_hostile_text_and_does_nothing() {
        for (hostile, shown) in [
            ("<img src=x onerror=y>", "&lt;img src=x onerror=y&gt;"),
            ("&lt;", "&amp;lt;"),
            ("a|b", "a\\|b"),
            (
                "**b** __c__ ~~d~~ `e` $f$",
                "\\*\\*b\\*\\* \\_\\_c\\_\\_ \\~\\~d\\~\\~ \\`e\\` \\$f\\$",
            ),
            (
                "[x](https://evil.example)",
                "\\[x\\]\\(https\\://evil.example)",
            ),
            ("www.evil.example WWW.x", "www\\.evil.example WWW\\.x"),
            (
                "@octocat a@b.example @ x",
                "@\u{200b}octocat a@\u{200b}b.example @ x",
            ),
            ("#12 # x", "\\#\u{200b}12 \\# x"),
            ("\\| \\", "\\\\\\| \\\\"),
            ("gamma_long_name 1.5 12:30", "gamma_long_name 1.5 12:30"),
            ("üww.x", "üww.x"),
        ] {
            let mut out = Vec::new();
            escape(hostile, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), shown, "{hostile:?}");
        }
    }

    #[test]
    fn no_value_reaches_the_page_unescaped() {
        let mut run = Run::new(&["alpha", "beta"], &["weekly"], 1);
        let hostile = "<b>|`x`\u{1b}[2J @you";
        run.plan.objectives[0].title = Some(hostile.to_owned());
        run.plan.mode = hostile.to_owned();
        run.plan.candidates[0].differs = vec![hostile.to_owned()];
        run.more.push(crate::event::EventKind::Warned {
            message: hostile.to_owned(),
        });
        run.add(passed(trial("alpha", "weekly", 1), 50.0));
        run.add(failed(trial("beta", "weekly", 1), hostile));
        let text = run.written(Format::Markdown);
        assert!(
            text.matches("&lt;b&gt;\\|\\`x\\` @\u{200b}you").count() >= 6,
            "{text}"
        );
        assert!(!text.contains("<b>|") && !text.contains("@you"), "{text}");
    }

    #[test]
    fn a_small_run_reads_from_the_winner_to_the_settings() {
        let mut run = Run::new(&["alpha", "beta"], &["weekly"], 1);
        run.add(passed(trial("alpha", "weekly", 1), 80.0));
        run.add(failed(trial("beta", "weekly", 1), "it has 5 bytes"));
        let expected = "\
# Winner: alpha with 86.0 points: nobody else passed the gates; that may be chance (p = 0.50); so few trials show no lead, \\`-k 3\\` could

## weekly

Winner: alpha with 86.0 points: nobody else passed the gates; that may be chance (p = 0.50); so few trials show no lead, \\`-k 3\\` could

Conditions: 1 trial for every candidate, at most 60.0 s each, network open; the score is 0.2 parts success, 0.6 parts quality, 0.2 parts speed.

| rank | candidate | score | gates passed | quality | speed | median time | note |
|---:|---|---:|---:|---:|---:|---:|---|
| 1–2 | **alpha** | 86.0 | 1/1 | 80.0 | 90.0 | 0.12 s |  |
| 1–2 | beta | 0.0 | 0/1 | – | – | 0.12 s | disqualified by min\\_bytes 11: it has 5 bytes |
";
        let expected = expected.replace("min\\_bytes", "min_bytes");
        let text = run.written(Format::Markdown);
        assert_eq!(text[..expected.len().min(text.len())], expected, "{text}");
        for part in [
            "\n\n### What failed\n\n| candidate | trial | what | why | folder |\n",
            "| beta | 1 | disqualified | min_bytes 11: it has 5 bytes | [weekly/beta/1](weekly/beta/1) |\n\n### How the scores came about\n\n",
            "| 80.0 | 2 | regex /^\\#/ | post has 12 links |\n\n</details>\n\n<details>",
            "<summary><b>beta</b>, trial 1</summary>\n\nAll of it: [weekly/beta/1](weekly/beta/1)\n\n",
            "\n\n## The run\n\n| | |\n",
            "| jobs | 4 | flag |\n\n</details>\n",
        ] {
            assert!(text.contains(part), "{part:?}\n{text}");
        }
    }

    #[test]
    fn the_verdict_comes_first_and_every_measure_has_a_row() {
        let text = regressed().written(Format::Markdown);
        let first = text.lines().next().unwrap();
        assert!(
            first.starts_with("# Verdict: REGRESSION  gamma lost "),
            "{first}"
        );
        assert!(first.contains("most of it on logs"), "{first}");
        for part in [
            "\n\nWinner: gamma with ",
            "\n\n## Verdicts\n\n| candidate | against | measure | verdict | effect | 95 % interval | p adjusted | sees |\n|---|",
            "\n| gamma | gamma@\u{200b}4f1c9e2 | score | REGRESSION | \u{2212}",
            "\n\nShown besides; these cannot fail the run:\n\n| candidate |",
            "\n\n## All objectives\n\n",
            "| rank | candidate | score | 95 % interval | gates passed |",
            "\n| – | gamma@\u{200b}4f1c9e2 | ",
            " | what gamma was |\n",
        ] {
            assert!(text.contains(part), "{part:?}\n{text}");
        }
        assert!(!text.contains("\n\n\n"), "{text}");
    }

    #[test]
    fn what_was_spared_has_its_row_with_the_reason_and_did_not_fail() {
        let mut run = Run::new(&["alpha"], &["weekly"], 2);
        run.add(passed(trial("alpha", "weekly", 1), 80.0));
        run.add(spared(trial("alpha", "weekly", 2), "it is certain"));
        let text = run.written(Format::Markdown);
        for part in [
            "\n\n1 spared of 2 trials, not needed: it is certain.\n\n",
            "\n| alpha | 2 | not_run: it is certain | – |",
            "trial 1 of 2, the only one with a verdict",
        ] {
            assert!(text.contains(part), "{part:?}\n{text}");
        }
        assert!(!text.contains("What failed") && !text.contains("Not everything"));
    }

    #[test]
    fn where_nothing_has_changed_nobody_is_said_to_have_lost() {
        let mut run = Run::new(&[], &["weekly"], 1);
        run.compared(Question::Baseline, "gamma", "gamma@4f1c9e2", How::Unchanged);
        let text = run.written(Format::Markdown);
        let begin = "# Verdict: UNCHANGED  gamma is what it was as gamma@\u{200b}4f1c9e2: nothing was run for it\n\n## Verdicts\n";
        assert!(text.starts_with(begin), "{text}");
        assert!(!text.contains("No winner"), "{text}");
    }
}
