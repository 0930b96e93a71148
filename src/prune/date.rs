//! Dates as registries and forges write them (RFC 3339).

use std::time::{Duration, SystemTime};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Reads a date.
pub fn parse(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text.trim(), &Rfc3339)
        .ok()
        .map(SystemTime::from)
}

/// Writes a date, in UTC and whole seconds.
pub fn show(at: SystemTime) -> String {
    let whole = OffsetDateTime::from(at).replace_nanosecond(0).ok();
    whole
        .and_then(|at| at.format(&Rfc3339).ok())
        .unwrap_or_else(|| "a date out of bounds".to_owned())
}

/// Before this nobody built an image: what tools write that leave the date out (1970, 1980), and no
/// date at all.
pub const FIRST: Duration = Duration::from_secs(1_356_998_400);

/// Whether `at` can be when an image was built: the first were in 2013.
pub fn is_one(at: SystemTime) -> bool {
    at >= SystemTime::UNIX_EPOCH + FIRST
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_any_offset_and_shown_in_utc() {
        for (text, shown) in [
            ("2024-05-06T07:08:09Z", "2024-05-06T07:08:09Z"),
            ("2024-05-06T07:08:09.123456789Z", "2024-05-06T07:08:09Z"),
            ("2024-05-06T09:08:09+02:00", "2024-05-06T07:08:09Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse(text).map(show).as_deref(), Some(shown));
        }
        for bad in [
            "",
            "yesterday",
            "2024-05-06",
            "2024-13-06T07:08:09Z",
            "1715000000",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn placeholder_dates_count_as_missing() {
        let one = |text| is_one(parse(text).unwrap());
        assert!(
            !one("1970-01-01T00:00:00Z")
                && !one("1980-01-01T00:00:01Z")
                && !one("0001-01-01T00:00:00Z")
        );
        assert!(!one("2012-12-31T23:59:59Z") && one("2013-01-01T00:00:00Z"));
    }
}
