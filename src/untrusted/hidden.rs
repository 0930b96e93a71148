//! The characters that a reader does not see, or that a terminal obeys instead of showing them.

/// Whether a character is escaped before anyone reads it.
///
/// By Unicode's properties (version 16): control characters (Cc, among them escape and the line
/// breaks), line and paragraph separators (Zl, Zp), format characters (Cf: marks of direction,
/// joiners, byte order marks, tags), what is ignored by default where it is not supported
/// (`Default_Ignorable_Code_Point`: fillers, variation selectors, reserved invisible ranges), and
/// noncharacters, which no text holds.
///
/// Two kinds are shown as they are: the number and end marks that Unicode counts as format
/// characters although they are visible (`Prepended_Concatenation_Mark`), and the variation
/// selectors U+FE0E and U+FE0F, which only choose between a symbol's two looks and follow half of
/// all emoji. Look-alikes (a no-break space, a Cyrillic `а`) are visible; they are the reader's.
pub fn is_hidden(c: char) -> bool {
    match c {
        ' '..='~' => false,
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

    /// The ranges above against Unicode's own tables, which come with the regular expressions.
    #[test]
    fn the_set_is_unicodes_own() {
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
    fn misleading_characters_are_hidden_and_readable_ones_are_not() {
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
