//! What a bench has found: tables, in Markdown for people, and as JSON in `target/bench/NAME.json` for programs.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde_json::{Map, Value, json};

/// A table; what a column is measured in is in its head.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    heads: Vec<String>,
    rows: Vec<Vec<Value>>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>, heads: &[&str]) -> Self {
        Self {
            title: title.into(),
            heads: heads.iter().map(|it| (*it).to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row: texts, numbers, and `null` for what is not known.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = Value>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn markdown(&self) -> String {
        let texts: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(text).collect())
            .collect();
        let all = || std::iter::once(&self.heads).chain(&texts);
        let width = |column: usize| {
            let cells = all().filter_map(|row| row.get(column));
            cells.map(|it| it.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (it, width))| match column {
                0 => format!(" {it:<width$} |"),
                _ => format!(" {it:>width$} |"),
            });
            format!("|{}\n", cells.collect::<String>())
        };
        let rule = widths
            .iter()
            .enumerate()
            .map(|(column, width)| match column {
                0 => format!(" {} |", "-".repeat(*width)),
                _ => format!(" {}: |", "-".repeat(width.saturating_sub(1))),
            });
        let rule = format!("|{}\n", rule.collect::<String>());
        let mut lines = all().map(line);
        let head = lines.next().unwrap_or_default();
        format!(
            "\n{}\n\n{head}{rule}{}",
            self.title,
            lines.collect::<String>()
        )
    }

    fn json(&self) -> Value {
        let row = |row: &Vec<Value>| {
            let cells = self.heads.iter().cloned().zip(row.iter().cloned());
            Value::Object(cells.collect::<Map<String, Value>>())
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({"title": self.title, "rows": rows})
    }
}

/// A cell as people read it.
fn text(cell: &Value) -> String {
    match cell {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => {
            format!("{:.2}", number.as_f64().unwrap_or_default())
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => cell.to_string(),
    }
}

/// Prints the tables of a bench, and writes them down.
pub(crate) fn show(bench: &str, tables: &[Table]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for table in tables {
        write!(out, "{}", table.markdown())?;
    }
    out.flush()?;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let tables: Vec<Value> = tables.iter().map(Table::json).collect();
    let document = json!({
        "bench": bench,
        "forge_version": env!("CARGO_PKG_VERSION"),
        "cores": cores,
        "tables": tables,
    });
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{bench}.json"));
    fs::write(&file, format!("{document:#}\n"))?;
    writeln!(io::stderr(), "\nas JSON: {}", file.display())
}
