//! Plain YAML scalars that are not text for a reader.

/// Whether a plain tag is a number, a boolean, null or a date in YAML 1.1 or 1.2.
pub(in crate::core::pins) fn needs_quotes(tag: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "true", "false", "on", "off", "null"];
    WORDS.iter().any(|word| word.eq_ignore_ascii_case(tag)) || is_number(tag) || is_date(tag)
}

fn is_number(tag: &str) -> bool {
    if !tag.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let plain = tag.replace('_', "");
    let digits = |digits: &str, radix| {
        !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix))
    };
    let based = [("0x", 16), ("0X", 16), ("0o", 8), ("0b", 2)]
        .iter()
        .any(|(prefix, radix)| {
            let rest = plain.strip_prefix(prefix);
            rest.is_some_and(|rest| digits(rest, *radix))
        });
    based || plain.parse::<f64>().is_ok()
}

/// `2026-11-21`.
fn is_date(tag: &str) -> bool {
    let parts: Vec<_> = tag.split('-').collect();
    let digits = |part: &str, lengths: &[usize]| {
        lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    matches!(parts.as_slice(), [year, month, day]
        if digits(year, &[4]) && digits(month, &[1, 2]) && digits(day, &[1, 2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_stays_plain() {
        for tag in [
            "1234e56",
            "0012",
            "yes",
            "No",
            "on",
            "null",
            "1",
            "1.5",
            "1_000",
            "0x1f",
            "0o17",
            "1.",
            "2026-11-21",
            "1e5",
            "1e-5",
            "TRUE",
            "y",
        ] {
            assert!(needs_quotes(tag), "{tag}");
        }
        for tag in [
            "v1",
            "1.2.3",
            "1a",
            "sha-1",
            "main",
            "yesterday",
            "1234e56a",
            "nan",
            "inf",
            "0x",
            "0xg",
            "e5",
            "2026-11",
            "abcd-11-21",
            "20-11-21",
            "_1",
        ] {
            assert!(!needs_quotes(tag), "{tag}");
        }
    }
}
