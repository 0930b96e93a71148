//! Dates of commits as text.

use std::time::{Duration, SystemTime};

use crate::oci::date;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Units of time: the least number of seconds for which a unit is used, its length and its name. Each unit
/// is used from a count of two, which is more precise than one of the next unit.
const UNITS: [(u64, u64, &str); 5] = [
    (730 * DAY, 365 * DAY, "year"),
    (60 * DAY, 30 * DAY, "month"),
    (2 * DAY, DAY, "day"),
    (2 * HOUR, HOUR, "hour"),
    (2 * MINUTE, MINUTE, "minute"),
];

/// Shortens a date to the day.
pub(crate) fn day(date: &str) -> String {
    let day = date.chars().take("YYYY-MM-DD".len()).collect::<String>();
    crate::base::untrusted::plain(&day)
}

/// Shortens a date to the minute, with its offset from UTC.
pub(crate) fn to_minute(date: &str) -> String {
    match (date.get(..16), date.get(19..)) {
        (Some(minute), Some(offset)) if minute.as_bytes()[10] == b'T' => {
            let offset = if offset == "+00:00" { "Z" } else { offset };
            format!("{} {}{offset}", &minute[..10], &minute[11..])
        }
        _ => crate::base::untrusted::plain(date),
    }
}

/// The age of a date; `None` if the date is malformed.
pub(crate) fn ago(date: &str, now: SystemTime) -> Option<String> {
    Some(match now.duration_since(date::parse(date)?) {
        Ok(passed) if passed < Duration::from_secs(2 * MINUTE) => "just now".to_owned(),
        Ok(passed) => format!("{} ago", span(passed)),
        Err(_) => "in the future, by this machine's clock".to_owned(),
    })
}

/// The time between two dates; `None` if one is malformed, or the second is earlier.
pub(crate) fn between(from: &str, to: &str) -> Option<String> {
    let passed = date::parse(to)?.duration_since(date::parse(from)?).ok()?;
    Some(span(passed))
}

fn span(passed: Duration) -> String {
    let seconds = passed.as_secs();
    match UNITS.iter().find(|(least, ..)| seconds >= *least) {
        Some((_, unit, name)) => format!("{} {name}s", seconds / unit),
        None if seconds < MINUTE => "less than a minute".to_owned(),
        None => "1 minute".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_use_the_most_precise_unit() {
        let now = date::parse("2026-11-21T09:00:00Z").unwrap();
        for (date, age) in [
            ("2026-11-21T08:59:01Z", "just now"),
            ("2026-11-21T08:57:00Z", "3 minutes ago"),
            ("2026-11-21T07:01:00Z", "119 minutes ago"),
            ("2026-11-20T10:00:00+01:00", "24 hours ago"),
            ("2026-11-19T09:00:00Z", "2 days ago"),
            ("2026-09-22T09:00:00Z", "2 months ago"),
            ("2024-11-21T09:00:00Z", "2 years ago"),
            (
                "2026-11-21T09:00:01Z",
                "in the future, by this machine's clock",
            ),
        ] {
            assert_eq!(ago(date, now).as_deref(), Some(age), "{date}");
        }
        assert_eq!(ago("yesterday", now), None);
        assert_eq!(
            between("2026-11-21T09:00:00Z", "2026-11-21T08:00:00Z"),
            None
        );
        assert_eq!(
            between("2026-11-18T08:00:00Z", "2026-11-21T09:00:00+01:00").as_deref(),
            Some("3 days")
        );
        for (to, passed) in [
            ("09:00:59Z", "less than a minute"),
            ("09:01:00Z", "1 minute"),
        ] {
            let to = format!("2026-11-21T{to}");
            assert_eq!(
                between("2026-11-21T09:00:00Z", &to).as_deref(),
                Some(passed)
            );
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
