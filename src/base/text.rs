//! Counts and lists in messages, and enums with words.
//!
//! Hexadecimal digits, and numbers of bytes.

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

/// A number of bytes with at most one decimal.
pub(crate) fn size(bytes: i128) -> String {
    const UNITS: [(&str, i128); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, size) in UNITS {
        if bytes >= size && unit == "KiB" {
            return format!("{} KiB", (bytes + size / 2) / size);
        }
        if bytes >= size {
            let tenths = (bytes * 10 + size / 2) / size;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

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

/// Whether all bytes are lowercase hexadecimal digits.
pub(crate) fn is_hex(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The value of each byte as a lowercase hexadecimal digit; 16 for other bytes.
const HEX_VALUES: [u8; 256] = {
    let mut values = [16; 256];
    let mut value = 0;
    while value < 16 {
        values[b"0123456789abcdef"[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// Decodes lowercase hexadecimal digits; `None` if `text` does not consist of two digits for each
/// of `bytes`. A history has millions of object ids, so the loop has no branch.
pub(crate) fn decode_hex(text: &[u8], bytes: &mut [u8]) -> Option<()> {
    if text.len() != 2 * bytes.len() {
        return None;
    }
    let mut all_values = 0;
    for (byte, digits) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        let high = HEX_VALUES[usize::from(digits[0])];
        let low = HEX_VALUES[usize::from(digits[1])];
        all_values |= high | low;
        *byte = high << 4 | low;
    }
    (all_values < 16).then_some(())
}

/// The value of hexadecimal digits without a sign.
pub(crate) fn hex_value(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_at_most_one_decimal() {
        let texts = [0, 1023, 12 * 1024, 1 << 20, 222_717_542, 3 << 30].map(size);
        assert_eq!(
            texts,
            ["0 B", "1023 B", "12 KiB", "1.0 MiB", "212.4 MiB", "3.0 GiB"]
        );
    }
}
