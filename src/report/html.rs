//! `report.html`: the report for a browser, in one file.
//!
//! Promises: it loads nothing and runs nothing, and says so to the browser (its policy forbids both);
//! every value is escaped by the template engine.

use std::io::{self, Write};

use tera::{Context, Tera};

use super::Report;
use super::view::View;

const NAME: &str = "report.html";

pub(super) fn write(report: &Report<'_>, to: &mut dyn Write) -> io::Result<()> {
    let mut tera = Tera::new();
    tera.add_raw_template(NAME, include_str!("templates/report.html"))
        .map_err(io::Error::other)?;
    let context = Context::from_serialize(&View::of(report)).map_err(io::Error::other)?;
    tera.render_to(NAME, &context, to).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::super::Format;
    use super::super::sample::*;

    #[test]
    fn the_page_loads_nothing_and_runs_nothing() {
        let mut run = Run::new(&["alpha", "beta"], &["weekly", "daily"], 1);
        let hostile =
            "</title><script>alert(1)</script>\" onload='x' <img src=http://evil.example>";
        run.plan.objectives[0].title = Some(hostile.to_owned());
        for objective in ["weekly", "daily"] {
            run.add(full(trial("alpha", objective, 1)));
            run.add(failed(trial("beta", objective, 1), hostile));
        }
        let text = run.written(Format::Html);
        assert!(text.contains("default-src 'none'; style-src 'unsafe-inline'"));
        assert!(text.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&#39;x&#39;"));
        for bad in ["<script", "<img", "<link", "src=\"", "url(", "@import"] {
            assert!(!text.contains(bad), "{bad}");
        }
        // Nothing but the files of this run.
        assert_eq!(
            text.matches("href=").count(),
            text.matches("href=\"./").count()
        );
        assert_eq!(text.matches("</title>").count(), 1);
    }

    #[test]
    fn what_is_opened_is_closed() {
        let mut run = Run::new(&["alpha", "beta"], &["weekly", "daily"], 2);
        run.add(full(trial("alpha", "weekly", 1)));
        run.add(failed(trial("beta", "weekly", 1), "x"));
        run.add(spared(trial("beta", "weekly", 2), "x"));
        for run in [run, regressed()] {
            let text = run.written(Format::Html);
            for tag in [
                "table", "tbody", "thead", "tr", "td", "div", "details", "summary", "ul", "p", "h1",
            ] {
                let opened = text.matches(&format!("<{tag}>")).count()
                    + text.matches(&format!("<{tag} ")).count();
                let closed = text.matches(&format!("</{tag}>")).count();
                assert_eq!(opened, closed, "{tag}");
            }
        }
    }

    #[test]
    fn the_verdict_is_the_title_and_the_first_heading() {
        let text = regressed().written(Format::Html);
        for part in [
            "<title>Verdict: REGRESSION  gamma lost ",
            "<h1 class=\"bad\">Verdict: REGRESSION  gamma lost ",
            "<p class=\"best\">Winner: gamma with ",
            "<td>score</td><td class=\"bad\">REGRESSION</td><td class=\"n\">\u{2212}",
            "<th class=\"n\">95 % interval",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}
