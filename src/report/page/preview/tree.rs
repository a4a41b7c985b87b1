//! JSON as a tree, and CSV as a table; both cut where they are long.

use serde_json::Value;

use super::super::markup::{escaped, line};

/// So many values of a tree, and so deep; so many characters of each.
const MAX_NODES: usize = 400;
const MAX_DEPTH: usize = 12;
const MAX_TEXT: usize = 200;
/// So many columns.
const MAX_COLUMNS: usize = 12;

/// A tree in about so many bytes.
pub(super) fn json(value: &Value, most: usize) -> String {
    let mut tree = Tree {
        markup: String::new(),
        nodes: 0,
        most,
    };
    tree.add(value, 0);
    format!("<div class=\"tree\">{}</div>\n", tree.markup)
}

struct Tree {
    markup: String,
    nodes: usize,
    most: usize,
}

impl Tree {
    fn is_full(&self) -> bool {
        self.nodes > MAX_NODES || self.markup.len() > self.most
    }

    fn add(&mut self, value: &Value, depth: usize) {
        self.nodes += 1;
        match value {
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                let text = escaped(&crate::plain::short(&value.to_string(), MAX_TEXT));
                add!(self.markup, "<code>{text}</code>");
            }
            Value::String(text) => {
                let text = line(text, MAX_TEXT);
                add!(self.markup, "<code>&quot;{text}&quot;</code>");
            }
            Value::Array(items) => {
                let all = items.iter().map(|it| (None, it));
                self.branch(&format!("[{}]", items.len()), all, items.len(), depth);
            }
            Value::Object(fields) => {
                let all = fields.iter().map(|(name, it)| (Some(name.as_str()), it));
                self.branch(&format!("{{{}}}", fields.len()), all, fields.len(), depth);
            }
        }
    }

    fn branch<'v>(
        &mut self,
        title: &str,
        parts: impl Iterator<Item = (Option<&'v str>, &'v Value)>,
        count: usize,
        depth: usize,
    ) {
        if count == 0 || depth >= MAX_DEPTH {
            add!(self.markup, "<code>{title}</code>");
            return;
        }
        let open = if depth < 2 { " open" } else { "" };
        add!(
            self.markup,
            "<details{open}><summary><code>{title}</code></summary><ul>"
        );
        let mut shown = 0;
        for (name, value) in parts {
            if self.is_full() {
                break;
            }
            self.markup.push_str("<li>");
            if let Some(name) = name {
                add!(self.markup, "<b>{}</b>: ", line(name, MAX_TEXT));
            }
            self.add(value, depth + 1);
            self.markup.push_str("</li>");
            shown += 1;
        }
        if shown < count {
            add!(self.markup, "<li>… {} more</li>", count - shown);
        }
        self.markup.push_str("</ul></details>");
    }
}

/// A table in about so many bytes; `None` of what makes none.
pub(super) fn csv(text: &str, most: usize) -> Option<String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut markup = String::from(
        "<div class=\"wide\" role=\"group\" tabindex=\"0\" aria-label=\"The artifact as a table\"><table><tbody>",
    );
    let (mut rows, mut more) = (0, 0);
    for record in reader.records() {
        let record = record.ok()?;
        if markup.len() > most || rows >= 50 {
            more += 1;
            continue;
        }
        rows += 1;
        markup.push_str("<tr>");
        for field in record.iter().take(MAX_COLUMNS) {
            add!(markup, "<td>{}</td>", line(field, 120));
        }
        if record.len() > MAX_COLUMNS {
            markup.push_str("<td>…</td>");
        }
        markup.push_str("</tr>");
    }
    markup.push_str("</tbody></table></div>\n");
    if more > 0 {
        add!(markup, "<p class=\"soft\">… {more} more lines</p>\n");
    }
    (rows > 0).then_some(markup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_cut_and_text_is_text() {
        let bomb: Value =
            serde_json::from_str(&format!("[{}]", vec!["[1]"; 9000].join(","))).unwrap();
        let tree = json(&bomb, 1_000_000);
        assert!(
            tree.len() < 60_000 && tree.contains("more</li>"),
            "{}",
            tree.len()
        );
        let hostile: Value = serde_json::from_str(r#"{"<b>": "</code><script>"}"#).unwrap();
        let tree = json(&hostile, 1000);
        assert!(
            !tree.contains("<script") && tree.contains("&lt;b&gt;"),
            "{tree}"
        );
        let table = csv("a,b\n<script>,2\n", 1000).unwrap();
        assert!(
            table.contains("<td>&lt;script&gt;</td><td>2</td>"),
            "{table}"
        );
    }
}
