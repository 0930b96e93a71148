//! Escapes external text for terminals and JSON, and measures its width.
//!
//! The characters that are invisible, or that control a terminal.

use std::{borrow::Cow, fmt::Write as _, io};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::masked_urls;

/// The maximum number of characters for each column of a shortened text: combining marks have no
/// width, so a limit of the width does not limit the length.
const CHARACTERS_PER_COLUMN: usize = 4;

/// Escapes hidden characters, including line breaks, and masks the tokens in URLs. Doing so twice has the
/// same result.
pub(crate) fn plain(text: &str) -> String {
    masked_and_escaped(text, escape).into_owned()
}

/// Shortens a date to the minute, with its offset from UTC. Every time in text has this form.
pub(crate) fn to_minute(date: &str) -> String {
    match (date.get(..16), date.get(19..)) {
        (Some(minute), Some(offset)) if minute.as_bytes()[10] == b'T' => {
            let offset = if offset == "+00:00" { "Z" } else { offset };
            plain(&format!("{} {}{offset}", &minute[..10], &minute[11..]))
        }
        _ => plain(date),
    }
}

/// Quotes external text as one word of a shell command.
pub(crate) fn shell(text: &str) -> String {
    let text = plain(text);
    if !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/._:+-".contains(c))
    {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Escapes the lines of a text: line feeds and tabs remain, and, if `colors` is set, the program's
/// colors (`ESC [ … m`).
pub(crate) fn block(text: &str, colors: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(hidden) = rest.find(|c| is_hidden(c) && !matches!(c, '\n' | '\t')) {
        out.push_str(&rest[..hidden]);
        rest = &rest[hidden..];
        let color = if colors { color_length(rest) } else { 0 };
        if color > 0 {
            out.push_str(&rest[..color]);
            rest = &rest[color..];
        } else if let Some(c) = rest.chars().next() {
            escape(&mut out, c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out + rest
}

/// The length of the color at the start of a text (ECMA-48, "Select graphic rendition"); 0 without
/// one.
fn color_length(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\u{1b}[") else {
        return 0;
    };
    let end = parameters.find(|c: char| !c.is_ascii_digit() && c != ';');
    match end {
        Some(end) if parameters[end..].starts_with('m') => "\u{1b}[".len() + end + 1,
        _ => 0,
    }
}

/// Escapes a text and shortens it to its first `columns` columns, followed by an ellipsis.
pub(crate) fn short(text: &str, columns: usize) -> String {
    let text = plain(text);
    let end = fitting(text.chars(), columns);
    match text.char_indices().nth(end) {
        None => text,
        Some((cut, _)) => format!("{}…", &text[..cut]),
    }
}

/// Escapes a text and shortens it to its last `columns` columns, after an ellipsis.
pub(crate) fn tail(text: &str, columns: usize) -> String {
    let text = plain(text);
    let from = text.chars().count() - fitting(text.chars().rev(), columns);
    if from == 0 {
        return text;
    }
    let end: String = text.chars().skip(from).collect();
    format!("…{end}")
}

/// The number of characters that fit into `columns`.
fn fitting(characters: impl Iterator<Item = char>, columns: usize) -> usize {
    let mut used = 0;
    characters
        .take(columns.saturating_mul(CHARACTERS_PER_COLUMN))
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= columns
        })
        .count()
}

/// The width of a text on a terminal, in columns.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The spaces after `text` that fill `columns`.
pub(crate) fn padded(text: &str, columns: usize) -> String {
    " ".repeat(columns.saturating_sub(width(text)))
}

/// Writes a JSON document, and escapes hidden characters and the start of a workflow command
/// (`##[`). Both occur only in strings, so the document has the same value.
pub(crate) fn json(document: &impl Serialize, out: impl io::Write) -> serde_json::Result<()> {
    document.serialize(&mut Serializer::with_formatter(out, Inert))
}

/// A JSON document on one line, with its line break.
pub(crate) fn json_line(document: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    json(document, &mut bytes)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A JSON string with the same escapes.
pub(crate) fn json_string(text: &str) -> String {
    let mut out = Vec::new();
    // Writing a string to memory cannot fail.
    let _ = json(&text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Escapes hidden characters and workflow commands in strings.
struct Inert;

impl Formatter for Inert {
    fn write_string_fragment<W>(&mut self, out: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let escaped = masked_and_escaped(fragment, |out, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        });
        // `str::replace` would copy each of possibly millions of fragments.
        for part in escaped.split_inclusive('[') {
            match part.strip_suffix("##[") {
                Some(before) => write!(out, "{before}##\\u005b")?,
                None => out.write_all(part.as_bytes())?,
            }
        }
        Ok(())
    }
}

/// Masks the secrets in URLs, and escapes hidden characters, including line breaks, as `\u{…}`.
pub(crate) fn code_points(text: &str) -> String {
    masked_and_escaped(text, |out, c| out.extend(c.escape_unicode())).into_owned()
}

/// Masks the secrets in URLs, and replaces each hidden character.
fn masked_and_escaped(text: &str, write: impl Fn(&mut String, char)) -> Cow<'_, str> {
    let text = masked_urls(text);
    // Almost all texts consist of printable ASCII characters; a scan may have millions of them.
    if text
        .bytes()
        .fold(true, |all, byte| all & matches!(byte, b' '..=b'~'))
    {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            write(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
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

/// Whether a character is escaped in every output.
///
/// By Unicode's properties (version 16): control characters (Cc, including escape and line breaks),
/// line and paragraph separators (Zl, Zp), format characters (Cf: direction marks, joiners, byte
/// order marks, tags), default-ignorable characters (`Default_Ignorable_Code_Point`: fillers,
/// variation selectors, reserved invisible ranges), and noncharacters.
///
/// There are two exceptions. The number and end marks are visible, although Unicode classifies them
/// as format characters (`Prepended_Concatenation_Mark`). The variation selectors U+FE0E and U+FE0F
/// select one of two glyphs, and follow half of all emoji. Look-alikes (a no-break space, a Cyrillic
/// `а`) are visible and not escaped.
pub(crate) fn is_hidden(c: char) -> bool {
    match c {
        _ if c.is_control() => true,
        '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{3164}'
        | '\u{fdd0}'..='\u{fdef}'
        | '\u{fe00}'..='\u{fe0d}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        _ => u32::from(c) & 0xfffe == 0xfffe,
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::*;

    #[test]
    fn only_texts_with_hidden_characters_are_copied() {
        for (text, is_copied) in [("a ~", false), ("a\n", true), ("\u{7f}", true)] {
            let replaced = masked_and_escaped(text, escape);
            assert_eq!(matches!(replaced, Cow::Owned(_)), is_copied, "{text:?}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(plain("a\u{1b}[31m\nb\u{202e}"), "a\\u{1b}[31m\\nb\\u{202e}");
        assert_eq!(
            plain("\u{200b}\u{feff}\u{2028}\u{e0041}\u{61c}\u{9b}"),
            "\\u{200b}\\u{feff}\\u{2028}\\u{e0041}\\u{61c}\\u{9b}"
        );
        assert_eq!(plain(&plain("\t\r\0")), "\\t\\r\\0");
        assert_eq!(plain("\"it's\" \\ …é"), "\"it's\" \\ …é");
    }

    #[test]
    fn shell_words_are_quoted_if_required() {
        assert_eq!(shell("ghcr.io/acme/a:v1+2"), "ghcr.io/acme/a:v1+2");
        assert_eq!(shell(""), "''");
        assert_eq!(shell("it's"), r"'it'\''s'");
    }

    #[test]
    fn block_keeps_only_lines_and_colors() {
        let text = "a\tb\n\u{1b}[1;31mred\u{1b}[0m\r\u{202e}\n\u{1b}[2J\u{1b}]8;;x\u{7}\u{1b}[";
        assert_eq!(
            block(text, true),
            "a\tb\n\u{1b}[1;31mred\u{1b}[0m\\r\\u{202e}\n\\u{1b}[2J\\u{1b}]8;;x\\u{7}\\u{1b}["
        );
        assert_eq!(block("\u{1b}[31mx", false), "\\u{1b}[31mx");
    }

    #[test]
    fn text_is_shortened_to_columns() {
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
    fn json_escapes_keep_the_value() {
        let value = serde_json::json!({"a": "a[b]##[x]c###[\u{1b}\u{202e}\u{e0041}\n\u{7f}"});
        let mut text = Vec::new();
        json(&value, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
        assert!(
            text.contains("a[b]##\\u005bx]c###\\u005b\\u001b\\u202e\\udb40\\udc41\\n\\u007f"),
            "{text}"
        );
    }

    /// Compares the ranges with Unicode's tables in the `regex` crate.
    #[test]
    fn hidden_characters_match_unicode() {
        let hidden = Regex::new(
            r"^[[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}]--[\p{Prepended_Concatenation_Mark}\x{fe0e}\x{fe0f}]]$",
        )
        .unwrap();
        let mut buffer = [0; 4];
        let different: Vec<_> = (char::MIN..=char::MAX)
            .filter(|c| is_hidden(*c) != hidden.is_match(c.encode_utf8(&mut buffer)))
            .collect();
        assert_eq!(different, [] as [char; 0]);
    }

    #[test]
    fn only_misleading_characters_are_hidden() {
        for c in [
            '\0',
            '\t',
            '\n',
            '\r',
            '\u{1b}',
            '\u{7f}',
            '\u{85}',
            '\u{9b}',
            '\u{ad}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202a}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{2069}',
            '\u{3164}',
            '\u{feff}',
            '\u{fffe}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{e007f}',
            '\u{e0100}',
            '\u{10ffff}',
        ] {
            assert!(is_hidden(c), "{c:?}");
        }
        for c in [
            ' ', '~', '\u{a0}', 'é', '表', '…', '→', '\u{fe0f}', '🐛', '\u{600}',
        ] {
            assert!(!is_hidden(c), "{c:?}");
        }
    }

    #[test]
    fn dates_are_shortened_to_the_minute() {
        assert_eq!(
            to_minute("2026-11-20T14:02:11+01:00"),
            "2026-11-20 14:02+01:00"
        );
        assert_eq!(to_minute("2026-11-20T14:02:11Z"), "2026-11-20 14:02Z");
        assert_eq!(to_minute("2026-11-20T14:02:11+00:00"), "2026-11-20 14:02Z");
        assert_eq!(to_minute("no\u{1b}"), "no\\u{1b}");
    }
}
