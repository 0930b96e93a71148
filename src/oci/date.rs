//! Dates as registries and forges write them (RFC 3339).

use std::time::{Duration, SystemTime};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Parses a date.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text.trim(), &Rfc3339)
        .ok()
        .map(SystemTime::from)
}

/// Formats a date, in UTC and whole seconds.
pub(crate) fn format(date: SystemTime) -> String {
    if date > last() {
        return "a date out of bounds".to_owned();
    }
    offset(date)
        .replace_nanosecond(0)
        .ok()
        .and_then(|date| date.format(&Rfc3339).ok())
        .unwrap_or_else(|| "a date out of bounds".to_owned())
}

/// The time of seconds since 1970; `None` before then.
pub(crate) fn from_seconds(seconds: i64) -> Option<SystemTime> {
    let seconds = u64::try_from(seconds).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The time for a text without seconds: rounded up to a minute, so that a period has ended then.
pub(crate) fn end_of_period(time: SystemTime) -> SystemTime {
    time + Duration::from_secs(59)
}

/// A time as a date with an offset. A clock may be beyond the year 9999, which neither this type nor HTTP can
/// express: it counts as the last second of that year.
pub(crate) fn offset(time: SystemTime) -> OffsetDateTime {
    OffsetDateTime::from(time.min(last()))
}

/// The last second of the year 9999.
fn last() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799)
}

/// 2013, the year of the first container images. An earlier date is a placeholder, such as 1970 or
/// 1980.
pub(crate) const FIRST_BUILD: Duration = Duration::from_secs(1_356_998_400);

/// Whether `date` may be the date of a build, and not a placeholder.
pub(crate) fn is_build_date(date: SystemTime) -> bool {
    date >= SystemTime::UNIX_EPOCH + FIRST_BUILD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_formatted_in_utc() {
        for (text, formatted) in [
            ("2024-05-06T07:08:09Z", "2024-05-06T07:08:09Z"),
            ("2024-05-06T07:08:09.123456789Z", "2024-05-06T07:08:09Z"),
            ("2024-05-06T09:08:09+02:00", "2024-05-06T07:08:09Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse(text).map(format).as_deref(), Some(formatted));
        }
        for malformed in [
            "",
            "yesterday",
            "2024-05-06",
            "2024-13-06T07:08:09Z",
            "1715000000",
        ] {
            assert_eq!(parse(malformed), None, "{malformed}");
        }
    }

    #[test]
    fn clock_beyond_the_year_9999_is_expressed() {
        let end = parse("9999-12-31T23:59:59Z").unwrap();
        assert_eq!(end, last());
        assert_eq!(format(end), "9999-12-31T23:59:59Z");
        for more in [1, 86_400 * 366, 86_400 * 366 * 100_000] {
            let beyond = end + Duration::from_secs(more);
            assert_eq!(format(beyond), "a date out of bounds");
            assert_eq!(offset(beyond), offset(end));
        }
    }

    #[test]
    fn placeholders_are_no_build_dates() {
        let is_build = |text| is_build_date(parse(text).unwrap());
        assert!(
            !is_build("1970-01-01T00:00:00Z")
                && !is_build("1980-01-01T00:00:01Z")
                && !is_build("0001-01-01T00:00:00Z")
        );
        assert!(!is_build("2012-12-31T23:59:59Z") && is_build("2013-01-01T00:00:00Z"));
    }
}
