//! Durations of the configuration and the command line: `14d`, `36h`, `30m`, `90s`.

use std::time::Duration;

/// A malformed duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "malformed duration `{0}`: expected a whole number and one of the units d, h, m, s, such as `14d`"
)]
pub(crate) struct DurationError(String);

/// Parses a duration of at most 36,500 days.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError(text.to_owned());
    let unit = text.chars().last().ok_or_else(malformed)?;
    let seconds: u64 = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(malformed()),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(malformed());
    }
    let number: u64 = digits.parse().map_err(|_| malformed())?;
    match number.checked_mul(seconds) {
        Some(total) if total <= 36_500 * 86_400 => Ok(Duration::from_secs(total)),
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_is_a_number_and_a_unit() {
        assert_eq!(parse("14d"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        for bad in [
            "",
            "14",
            "d",
            "1.5h",
            "-1d",
            "1w",
            "1 d",
            "+1d",
            "99999999999999999999d",
            "36501d",
            "1ä",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
