//! Aligned tables for people.

use crate::untrusted::{padded, width};

/// How the cells of a column are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// To the left.
    Left,
    /// To the right: numbers.
    Right,
}

/// Rows as aligned lines, two blanks between the columns, no blanks at the ends. The first row is
/// the heading.
pub fn aligned(columns: &[Align], rows: &[Vec<String>]) -> String {
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns.len()).map(widest).collect();
    let mut out = String::new();
    for row in rows {
        let cells =
            row.iter()
                .zip(columns)
                .zip(&widths)
                .map(|((cell, align), &width)| match align {
                    Align::Left => format!("{cell}{}", padded(cell, width)),
                    Align::Right => format!("{}{cell}", padded(cell, width)),
                });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [
            vec!["IMAGE".into(), "PINS".into(), "TO".into()],
            vec!["fix".into(), "12".into(), String::new()],
        ];
        assert_eq!(
            aligned(&[Align::Left, Align::Right, Align::Left], &rows),
            "IMAGE  PINS  TO\nfix      12\n"
        );
    }

    #[test]
    fn columns_are_as_wide_as_they_look() {
        let rows = [
            vec!["表".into(), "a".into()],
            vec!["abc".into(), "b".into()],
            vec!["e\u{301}".into(), "c".into()],
        ];
        assert_eq!(
            aligned(&[Align::Right, Align::Left], &rows),
            " 表  a\nabc  b\n  e\u{301}  c\n"
        );
    }
}
