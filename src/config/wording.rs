//! What messages of all layers have in common: counted things.

/// So many of something.
pub fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
