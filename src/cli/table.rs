//! Plain tables: columns that line up, and nothing else.

use forge::plain;

/// What stands in one place.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    is_right: bool,
}

impl Cell {
    pub(super) fn left(text: impl AsRef<str>) -> Self {
        let text = plain::line(text.as_ref());
        let is_right = false;
        Self { text, is_right }
    }

    /// For numbers.
    pub(super) fn right(text: impl AsRef<str>) -> Self {
        let is_right = true;
        Self {
            is_right,
            ..Self::left(text)
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Sets rows below titles, if there are any; a column with nothing in any row is left out.
pub(super) fn table(titles: &[&str], rows: &[Vec<Cell>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let columns: Vec<usize> = (0..count)
        .filter(|at| {
            rows.iter()
                .any(|row| row.get(*at).is_some_and(|it| !it.text.is_empty()))
        })
        .collect();
    let title = |at: usize| titles.get(at).copied().unwrap_or_default();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(Cell::width);
        cells.chain([title(at).chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = columns.iter().map(|at| width(*at)).collect();
    let heads: Vec<Cell> = (0..count)
        .map(|at| {
            let is_right = rows
                .iter()
                .any(|row| row.get(at).is_some_and(|it| it.is_right));
            if is_right {
                Cell::right(title(at))
            } else {
                Cell::left(title(at))
            }
        })
        .collect();
    let mut text = String::new();
    let head = (!titles.is_empty()).then_some(&heads);
    for row in head.into_iter().chain(rows) {
        let mut line = String::new();
        for (at, width) in columns.iter().zip(&widths) {
            let Some(cell) = row.get(*at) else { continue };
            let room = " ".repeat(width - cell.width().min(*width));
            if !line.is_empty() || *at != columns[0] {
                line.push_str("  ");
            }
            if cell.is_right {
                line.push_str(&room);
                line.push_str(&cell.text);
            } else {
                line.push_str(&cell.text);
                line.push_str(&room);
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let rows = [
            vec![Cell::left(""), Cell::left("a"), Cell::right("1.0")],
            vec![Cell::left(""), Cell::left("bcd\u{1b}[2J"), Cell::right("–")],
        ];
        assert_eq!(
            table(&["", "name", "score"], &rows),
            "name  score\na       1.0\nbcd       –\n"
        );
        assert_eq!(table(&[], &rows), "a    1.0\nbcd    –\n");
        assert_eq!(table(&["name"], &[]), "\n");
    }
}
