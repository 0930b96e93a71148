//! Foreign text on a terminal and in JSON; how many columns a text takes.

use std::{fmt::Write as _, io};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::is_hidden;

/// Characters for each column that a shortened text may have: combining marks take no column, and a
/// text of nothing else is not short.
const MARKS: usize = 4;

/// Foreign text as a part of one line: every hidden character is escaped.
///
/// What is escaped already stays as it is, so that a text may pass twice.
pub fn plain(text: &str) -> String {
    replaced(text, is_hidden, escape)
}

/// Foreign text as one word of a command that people copy into a shell.
pub fn shell(text: &str) -> String {
    let text = plain(text);
    let needs_none = |c: char| c.is_ascii_alphanumeric() || "/._:+-".contains(c);
    if !text.is_empty() && text.chars().all(needs_none) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Foreign text as lines of a terminal: line feeds and tabs stay, and, if `colours` is set, the
/// colors (`ESC [ … m`) that the program itself added.
pub fn block(text: &str, colours: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c| is_hidden(c) && !matches!(c, '\n' | '\t')) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let colour = if colours { colour(rest) } else { 0 };
        if colour > 0 {
            out.push_str(&rest[..colour]);
            rest = &rest[colour..];
        } else if let Some(c) = rest.chars().next() {
            escape(&mut out, c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out + rest
}

/// How many bytes of a colour `text` begins with (ECMA-48, "Select graphic rendition").
fn colour(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else {
        return 0;
    };
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';');
    match end {
        Some(end) if parameters[end..].starts_with('m') => "\u{1b}[".len() + end + 1,
        _ => 0,
    }
}

/// The beginning of foreign text as a part of one line: at most `columns` wide, and an ellipsis
/// where something was cut.
pub fn short(text: &str, columns: usize) -> String {
    let text = plain(text);
    let end = fitting(text.chars(), columns);
    match text.char_indices().nth(end) {
        None => text,
        Some((at, _)) => format!("{}…", &text[..at]),
    }
}

/// The end of foreign text as a part of one line: an ellipsis where something was cut, and at most
/// `columns` more.
pub fn tail(text: &str, columns: usize) -> String {
    let text = plain(text);
    let from = text.chars().count() - fitting(text.chars().rev(), columns);
    if from == 0 {
        return text;
    }
    let end: String = text.chars().skip(from).collect();
    format!("…{end}")
}

/// How many of `characters` fit into so many columns.
fn fitting(characters: impl Iterator<Item = char>, columns: usize) -> usize {
    let mut used = 0;
    characters
        .take(columns.saturating_mul(MARKS))
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .count()
}

/// How many columns a text takes on a terminal.
pub fn width(text: &str) -> usize {
    text.width()
}

/// The blanks that bring `text` to so many columns.
pub fn padded(text: &str, columns: usize) -> String {
    " ".repeat(columns.saturating_sub(width(text)))
}

/// Writes a JSON document without hidden characters and without the beginning of a workflow command
/// (`##[`): they occur only in strings, where the escape means the same string.
pub fn json(document: &impl Serialize, out: impl io::Write) -> serde_json::Result<()> {
    document.serialize(&mut Serializer::with_formatter(out, Inert))
}

/// A text as such a string.
pub fn json_string(text: &str) -> String {
    let mut out = Vec::new();
    // Writing a string into memory does not fail.
    let _ = json(&text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Writes strings without what a reader of the text could obey.
struct Inert;

impl Formatter for Inert {
    fn write_string_fragment<W>(&mut self, out: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        if fragment
            .bytes()
            .all(|byte| matches!(byte, b' '..=b'~' if byte != b'['))
        {
            return out.write_all(fragment.as_bytes());
        }
        let number = |out: &mut String, c: char| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        };
        let shown = replaced(fragment, is_hidden, number).replace("##[", "##\\u005b");
        out.write_all(shown.as_bytes())
    }
}

/// Foreign text with every hidden character as its number, line breaks too.
pub fn code_points(text: &str) -> String {
    replaced(text, is_hidden, |out, c| out.extend(c.escape_unicode()))
}

fn replaced(text: &str, is: impl Fn(char) -> bool, with: impl Fn(&mut String, char)) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is(c) {
            with(&mut out, c);
        } else {
            out.push(c);
        }
    }
    out
}

fn escape(out: &mut String, c: char) {
    match c {
        '\0' => out.push_str("\\0"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        c => out.extend(c.escape_unicode()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_see_no_control_characters() {
        assert_eq!(plain("a\u{1b}[31m\nb\u{202e}"), "a\\u{1b}[31m\\nb\\u{202e}");
        assert_eq!(
            plain("\u{200b}\u{feff}\u{2028}\u{e0041}\u{61c}\u{9b}"),
            "\\u{200b}\\u{feff}\\u{2028}\\u{e0041}\\u{61c}\\u{9b}"
        );
        assert_eq!(plain(&plain("\t\r\0")), "\\t\\r\\0");
        assert_eq!(plain("\"it's\" \\ …é"), "\"it's\" \\ …é");
    }

    #[test]
    fn words_of_commands_are_quoted_where_a_shell_needs_it() {
        assert_eq!(shell("ghcr.io/acme/a:v1+2"), "ghcr.io/acme/a:v1+2");
        assert_eq!(shell(""), "''");
        assert_eq!(shell("it's"), r"'it'\''s'");
    }

    #[test]
    fn a_block_keeps_its_lines_and_only_our_colours() {
        let text = "a\tb\n\u{1b}[1;31mred\u{1b}[0m\r\u{202e}\n\u{1b}[2J\u{1b}]8;;x\u{7}\u{1b}[";
        assert_eq!(
            block(text, true),
            "a\tb\n\u{1b}[1;31mred\u{1b}[0m\\r\\u{202e}\n\\u{1b}[2J\\u{1b}]8;;x\\u{7}\\u{1b}["
        );
        assert_eq!(block("\u{1b}[31mx", false), "\\u{1b}[31mx");
    }

    #[test]
    fn cuts_count_columns() {
        assert_eq!(short("abc", 3), "abc");
        assert_eq!(short("abcd", 3), "abc…");
        assert_eq!(short("表表表", 4), "表表…");
        assert_eq!(short("表表表", 5), "表表…");
        assert_eq!(short("\u{1b}xyz", 7), "\\u{1b}x…");
        assert_eq!(tail("abcd", 3), "…bcd");
        assert_eq!(tail("表表表", 5), "…表表");
        assert_eq!(tail("a\nb", 9), "a\\nb");
        let marks = format!("a{}", "\u{301}".repeat(1000));
        assert!(short(&marks, 3).chars().count() <= 13);
    }

    #[test]
    fn documents_hold_the_same_strings() {
        let value = serde_json::json!({"a": "##[x]\u{1b}\u{202e}\u{e0041}\n\u{7f}"});
        let mut text = Vec::new();
        json(&value, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
        assert!(
            text.contains("##\\u005bx]\\u001b\\u202e\\udb40\\udc41\\n\\u007f"),
            "{text}"
        );
    }
}
