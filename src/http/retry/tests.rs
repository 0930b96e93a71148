use super::*;
use crate::http::{FORGES, REGISTRIES};

const NINE: &str = "Thu, 01 Jan 1970 00:00:09 GMT";

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
}

fn epoch() -> SystemTime {
    UNIX_EPOCH
}

fn passing(policy: &Policy, status: u16, pairs: &[(&'static str, &str)]) -> Option<Again> {
    let status = StatusCode::from_u16(status).unwrap();
    policy.passing(status, &headers(pairs), b"", epoch)
}

#[expect(clippy::unnecessary_wraps, reason = "it reads as what is compared")]
fn seconds(n: u64) -> Option<Again> {
    Some(Again::After(Duration::from_secs(n)))
}

fn soon() -> Deadline {
    Deadline::after(Some(Duration::from_secs(1000)))
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    for policy in [&REGISTRIES, &FORGES] {
        let after = |value| passing(policy, 503, &[("retry-after", value)]);
        assert_eq!(after(" 7 "), seconds(7));
        assert_eq!(after("99999999999999999999999"), seconds(u64::MAX));
        assert_eq!(after(NINE), seconds(9));
        for odd in ["", "soon", "-1", "1.5"] {
            assert_eq!(after(odd), Some(Again::Later), "{odd}");
        }
        assert_eq!(passing(policy, 503, &[]), Some(Again::Later));
    }
}

#[test]
fn dates_are_measured_by_the_servers_clock() {
    let date = ("date", "Thu, 01 Jan 1970 00:00:05 GMT");
    for policy in [&REGISTRIES, &FORGES] {
        let after = |value| passing(policy, 429, &[("retry-after", value), date]);
        assert_eq!(after(NINE), seconds(4));
        assert_eq!(after("Thu, 01 Jan 1970 00:00:01 GMT"), seconds(0));
        assert_eq!(after("3"), seconds(3));
    }
    let used_up = ("x-ratelimit-remaining", "0");
    let reset = |value, date| {
        let reset = ("x-ratelimit-reset", value);
        passing(&FORGES, 403, &[used_up, reset, date])
    };
    assert_eq!(reset("9", date), seconds(4));
    assert_eq!(reset("9", ("date", "yesterday")), seconds(9));
    assert_eq!(reset("18446744073709551615", date), Some(Again::Later));
}

#[test]
fn only_githubs_limits_come_as_403() {
    let limited = [
        ("retry-after", "1"),
        ("x-ratelimit-remaining", "0"),
        ("x-other", ""),
    ];
    for (pair, after) in limited
        .into_iter()
        .zip([seconds(1), Some(Again::Later), None])
    {
        assert_eq!(passing(&FORGES, 403, &[pair]), after, "{pair:?}");
        assert_eq!(passing(&REGISTRIES, 403, &[pair]), None);
    }
    let says = |body: &str| {
        FORGES.passing(
            StatusCode::FORBIDDEN,
            &HeaderMap::new(),
            body.as_bytes(),
            epoch,
        )
    };
    assert_eq!(
        says(r#"{"message":"Secondary Rate Limit"}"#),
        Some(Again::Later)
    );
    assert_eq!(says(r#"{"message":"no access"}"#), None);
    // A registry's own header of that name means something else, or nothing.
    let pairs = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9")];
    assert_eq!(passing(&REGISTRIES, 429, &pairs), Some(Again::Later));
    for policy in [&REGISTRIES, &FORGES] {
        for (status, passes) in [
            (408, true),
            (500, true),
            (404, false),
            (401, false),
            (304, false),
        ] {
            assert_eq!(passing(policy, status, &[]).is_some(), passes, "{status}");
        }
    }
}

#[test]
fn pauses_double_and_chance_shortens_them_by_up_to_a_half() {
    for (failed, longest) in [(1, 500), (2, 1000), (3, 2000), (4, 4000)] {
        let pause = REGISTRIES.pause(Again::Later, failed, soon()).unwrap();
        assert!(
            pause <= Duration::from_millis(longest) && pause >= Duration::from_millis(longest / 2)
        );
    }
    let minute = Duration::from_secs(60);
    assert_eq!(
        REGISTRIES.pause(Again::After(minute), 1, soon()),
        Ok(minute)
    );
}

#[test]
fn there_is_an_end_to_trying() {
    let stop = |again, failed, until| REGISTRIES.pause(again, failed, until).unwrap_err();
    assert_eq!(stop(Again::Never, 1, soon()), Stop::Final);
    assert_eq!(stop(Again::Later, 5, soon()), Stop::Attempts(5));
    let (asked, longest) = (Duration::from_secs(61), Duration::from_secs(60));
    assert_eq!(
        stop(Again::After(asked), 1, soon()),
        Stop::LongWait { asked, longest }
    );
    let over = Deadline::after(Some(Duration::ZERO));
    assert_eq!(stop(Again::Later, 1, over), Stop::Deadline(1));
    assert!(
        FORGES
            .pause(Again::Later, 1, Deadline::after(FORGES.patience))
            .is_ok()
    );
}
