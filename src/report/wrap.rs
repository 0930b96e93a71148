//! Text for people in lines that fit a terminal. A word, such as a digest or an address, is never
//! broken, so that it can be copied.

use crate::untrusted::width;

/// Splits a line at single blanks into lines of at most so many columns; a longer word is a line of
/// its own.
pub fn wrapped(line: &str, columns: usize) -> Vec<String> {
    filled(line.split(' '), columns)
}

/// Wraps a line of text that is indented by so many blanks. A word that is too long for the indent
/// has a smaller one.
pub fn indented(line: &str, indent: usize, columns: usize) -> Vec<String> {
    indented_words(line.split(' '), indent, columns)
}

/// Wraps words that may contain blanks, such as paths.
pub fn indented_words<'w>(
    words: impl IntoIterator<Item = &'w str>,
    indent: usize,
    columns: usize,
) -> Vec<String> {
    let lines = filled(words, columns.saturating_sub(indent));
    let blanks = |line: &str| " ".repeat(indent.min(columns.saturating_sub(width(line))));
    lines
        .into_iter()
        .map(|line| blanks(&line) + &line)
        .collect()
}

fn filled<'w>(words: impl IntoIterator<Item = &'w str>, columns: usize) -> Vec<String> {
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
    fn long_words_are_alone_and_whole() {
        let text = "a b 123456789012 c d e f";
        assert_eq!(wrapped(text, 7), ["a b", "123456789012", "c d e f"]);
        assert_eq!(wrapped("表表 表表", 8), ["表表", "表表"]);
        assert_eq!(wrapped("a  b", 4), ["a  b"]);
        assert_eq!(wrapped("", 1), [""]);
    }

    #[test]
    fn long_words_have_a_smaller_indent() {
        assert_eq!(
            indented("a b 123456 c 1234567890", 4, 8),
            ["    a b", "  123456", "    c", "1234567890"]
        );
        assert_eq!(indented("a b", 4, 2), [" a", " b"]);
        assert_eq!(indented_words(["(a", "b c)"], 1, 5), [" (a", " b c)"]);
        assert_eq!(indented("a b", 4, usize::MAX), ["    a b"]);
    }
}
