//! The layout of text for a terminal: aligned tables and wrapped lines.
//!
//! A word, such as a digest or an address, is never broken, so that it can be copied.

use crate::base::untrusted::{padded, width};

/// The alignment of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    /// For numbers.
    Right,
}

/// Formats rows as lines with two blanks between the columns and no trailing blanks.
pub(crate) fn aligned(columns: &[Align], rows: &[Vec<String>]) -> String {
    let mut widths = vec![0; columns.len()];
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    let mut out = String::new();
    for row in rows {
        let mut cells = Vec::new();
        for ((cell, align), width) in row.iter().zip(columns).zip(&widths) {
            let blanks = padded(cell, *width);
            cells.push(match align {
                Align::Left => format!("{cell}{blanks}"),
                Align::Right => format!("{blanks}{cell}"),
            });
        }
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Splits a line at single blanks into lines of at most `columns` columns. A longer word gets a
/// separate line.
pub(crate) fn wrapped(line: &str, columns: usize) -> Vec<String> {
    fill(line.split(' '), columns)
}

/// Wraps a line and indents the result by `indent` blanks, or by fewer if a word is too long.
pub(crate) fn indented(line: &str, indent: usize, columns: usize) -> Vec<String> {
    indented_words(line.split(' '), indent, columns)
}

/// Wraps and indents words that may contain blanks, such as paths.
pub(crate) fn indented_words<'w>(
    words: impl IntoIterator<Item = &'w str>,
    indent: usize,
    columns: usize,
) -> Vec<String> {
    let mut lines = fill(words, columns.saturating_sub(indent));
    for line in &mut lines {
        let indent = indent.min(columns.saturating_sub(width(line)));
        line.insert_str(0, &" ".repeat(indent));
    }
    lines
}

fn fill<'w>(words: impl IntoIterator<Item = &'w str>, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(last) if width(last) + 1 + width(word) <= columns => {
                last.push(' ');
                last.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
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
    fn columns_use_display_width() {
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

    #[test]
    fn long_words_get_their_own_line() {
        let text = "a b 123456789012 c d e f";
        assert_eq!(wrapped(text, 7), ["a b", "123456789012", "c d e f"]);
        assert_eq!(wrapped("表表 表表", 8), ["表表", "表表"]);
        assert_eq!(wrapped("a  b", 4), ["a  b"]);
        assert_eq!(wrapped("", 1), [""]);
    }

    #[test]
    fn long_words_are_indented_less() {
        assert_eq!(
            indented("a b 123456 c 1234567890", 4, 8),
            ["    a b", "  123456", "    c", "1234567890"]
        );
        assert_eq!(indented("a b", 4, 2), [" a", " b"]);
        assert_eq!(indented_words(["(a", "b c)"], 1, 5), [" (a", " b c)"]);
        assert_eq!(indented("a b", 4, usize::MAX), ["    a b"]);
    }
}
