//! Counts and lists in messages.

/// The first `most` names and the number of the others, such as `a, b and 2 more`.
pub(crate) fn few(names: impl ExactSizeIterator<Item = impl Into<String>>, most: usize) -> String {
    let more = names.len().saturating_sub(most);
    let listed: Vec<String> = names.take(most).map(Into::into).collect();
    match more {
        0 => listed.join(", "),
        _ => format!("{} and {more} more", listed.join(", ")),
    }
}

/// A count with its noun, such as `1 pin`, `2 pins` or `2 directories`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    match (count, noun.strip_suffix("ry")) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ries"),
        (_, None) => format!("{count} {noun}s"),
    }
}
