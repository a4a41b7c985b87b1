//! Tables: of which every figure has one, so that nobody has to see it.

use super::markup::{escaped, number};

/// A cell.
pub(super) enum Cell {
    /// A text that is harmless already.
    Text(String),
    /// A number: all of it, and as it is shown. Without one, what stands for it.
    Number(Option<f64>, String),
    /// Several numbers, and how each is shown.
    Numbers(Vec<f64>, fn(f64) -> String),
    /// Between which a value lies.
    Between([(f64, String); 2]),
    /// Markup.
    Markup(String),
}

impl Cell {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Points, or whatever else has one decimal place.
    pub(super) fn tenths(value: Option<f64>) -> Self {
        Self::Number(value, shown(value))
    }

    fn markup(&self) -> (bool, String) {
        match self {
            Self::Text(text) => (false, escaped(text)),
            Self::Number(Some(value), shown) => (true, number(*value, shown)),
            Self::Number(None, shown) => (true, escaped(shown)),
            Self::Numbers(numbers, shown) => {
                let all = numbers.iter().map(|it| number(*it, &shown(*it)));
                (true, all.collect::<Vec<_>>().join(" "))
            }
            Self::Between([low, high]) => {
                let ends = [low, high].map(|(value, shown)| number(*value, shown));
                (true, ends.join(" to "))
            }
            Self::Markup(markup) => (false, markup.clone()),
        }
    }
}

/// A value with one decimal place.
pub(super) fn shown(value: Option<f64>) -> String {
    value.map_or_else(
        || super::NOTHING.to_owned(),
        |value| format!("{:.1}", value + 0.0),
    )
}

/// A table: its columns, and whether each is of numbers.
pub(super) struct Table {
    head: Vec<(String, bool)>,
    rows: Vec<(&'static str, Vec<Cell>)>,
}

impl Table {
    /// Titles that are harmless already; those of numbers begin with `#`.
    pub(super) fn new(titles: &[&str]) -> Self {
        let head = titles.iter().map(|title| match title.strip_prefix('#') {
            Some(title) => (title.to_owned(), true),
            None => ((*title).to_owned(), false),
        });
        Self {
            head: head.collect(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(("", cells));
    }

    /// The same with a class.
    pub(super) fn toned(&mut self, tone: &'static str, cells: Vec<Cell>) {
        self.rows.push((tone, cells));
    }

    /// As markup, in a box that scrolls where it is too wide; `name` says what it is to those who do not see it.
    pub(super) fn markup(&self, name: &str) -> String {
        let mut text = String::new();
        self.write(&mut text, name);
        text
    }

    /// The same, behind what is there.
    pub(super) fn write(&self, text: &mut String, name: &str) {
        add!(
            text,
            "<div class=\"wide\" role=\"group\" tabindex=\"0\" aria-label=\"{}\">\n<table>\n<thead><tr>",
            escaped(name)
        );
        for (title, is_number) in &self.head {
            let class = if *is_number { " class=\"n\"" } else { "" };
            add!(text, "<th{class}>{}</th>", escaped(title));
        }
        text.push_str("</tr></thead>\n<tbody>\n");
        for (tone, cells) in &self.rows {
            match *tone {
                "" => text.push_str("<tr>"),
                tone => add!(text, "<tr class=\"{tone}\">"),
            }
            for cell in cells {
                let (is_number, markup) = cell.markup();
                let class = if is_number { " class=\"n\"" } else { "" };
                add!(text, "<td{class}>{markup}</td>");
            }
            text.push_str("</tr>\n");
        }
        text.push_str("</tbody>\n</table>\n</div>\n");
    }
}
