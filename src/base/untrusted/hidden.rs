//! The characters that are invisible, or that control a terminal.

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
}
