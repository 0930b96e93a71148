//! Counts and lists in messages, and enums with words.

/// Declares an enum with a word for each variant.
macro_rules! words {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident {
            $($(#[$variant_attribute:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
        $visibility enum $name {
            $($(#[$variant_attribute])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            #[allow(dead_code, reason = "most enums are not listed")]
            $visibility const ALL: [Self; [$(Self::$variant),+].len()] = [$(Self::$variant),+];

            /// The word in documents, tables and messages.
            #[allow(dead_code, reason = "not every word is displayed")]
            $visibility const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}
pub(crate) use words;

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
