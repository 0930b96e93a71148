//! Dates as registries and forges write them (RFC 3339).

use std::time::SystemTime;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A date in UTC and whole seconds.
pub fn date(time: SystemTime) -> String {
    let date = OffsetDateTime::from(time).replace_nanosecond(0).unwrap();
    date.format(&Rfc3339).unwrap()
}
