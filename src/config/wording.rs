//! What messages of all layers have in common: counted things, and characters that don't belong
//! into them.

/// So many of something.
pub fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Whether a terminal obeys a character instead of showing it, or shows nothing: control characters
/// and marks of direction.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
