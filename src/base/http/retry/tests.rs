use super::*;
use crate::base::http::{FORGES, REGISTRIES};

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

/// The advice for a response without a body.
fn advice(policy: &Policy, status: u16, pairs: &[(&'static str, &str)]) -> Option<RetryAdvice> {
    let status = StatusCode::from_u16(status).unwrap();
    policy.temporary_failure(status, &headers(pairs), b"", epoch)
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "callers compare it with an option"
)]
fn limit(seconds: Option<u64>) -> Option<RetryAdvice> {
    Some(RetryAdvice::Limited(seconds.map(Duration::from_secs)))
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "callers compare it with an option"
)]
fn seconds(n: u64) -> Option<RetryAdvice> {
    Some(RetryAdvice::After(Duration::from_secs(n)))
}

fn soon() -> Deadline {
    Deadline::after(Some(Duration::from_secs(1000)))
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    for policy in [&REGISTRIES, &FORGES] {
        let after = |value| advice(policy, 503, &[("retry-after", value)]);
        assert_eq!(after(" 7 "), seconds(7));
        assert_eq!(after("99999999999999999999999"), seconds(u64::MAX));
        assert_eq!(after(NINE), seconds(9));
        for odd in ["", "soon", "-1", "1.5"] {
            assert_eq!(after(odd), Some(RetryAdvice::Later), "{odd}");
        }
        assert_eq!(advice(policy, 503, &[]), Some(RetryAdvice::Later));
    }
}

#[test]
fn waits_until_dates_use_the_servers_clock() {
    let date = ("date", "Thu, 01 Jan 1970 00:00:05 GMT");
    for policy in [&REGISTRIES, &FORGES] {
        let after = |value| advice(policy, 503, &[("retry-after", value), date]);
        assert_eq!(after(NINE), seconds(4));
        assert_eq!(after("Thu, 01 Jan 1970 00:00:01 GMT"), seconds(0));
        assert_eq!(after("3"), seconds(3));
    }
    for [remaining, end] in [
        ["x-ratelimit-remaining", "x-ratelimit-reset"],
        ["ratelimit-remaining", "ratelimit-reset"],
    ] {
        let reset = |value, date| advice(&FORGES, 403, &[(remaining, "0"), (end, value), date]);
        assert_eq!(reset("9", date), limit(Some(4)));
        assert_eq!(reset("9", ("date", "yesterday")), limit(Some(9)));
        assert_eq!(reset("18446744073709551615", date), limit(None));
    }
    let after = |value| advice(&FORGES, 429, &[("retry-after", value), date]);
    assert_eq!(after(NINE), limit(Some(4)));
    assert_eq!(after("3"), limit(Some(3)));
    assert_eq!(after("soon"), limit(None));
}

#[test]
fn only_github_limits_with_403() {
    let limited = [
        ("retry-after", "1"),
        ("x-ratelimit-remaining", "0"),
        ("x-other", ""),
    ];
    for (pair, after) in limited.into_iter().zip([limit(Some(1)), limit(None), None]) {
        assert_eq!(advice(&FORGES, 403, &[pair]), after, "{pair:?}");
        assert_eq!(advice(&REGISTRIES, 403, &[pair]), None);
    }
    let advice_for = |status, body: &str| {
        FORGES.temporary_failure(status, &HeaderMap::new(), body.as_bytes(), epoch)
    };
    for text in [
        r#"{"message":"You have exceeded a Secondary Rate Limit."}"#,
        r#"{"message":"API rate limit exceeded for user ID 1."}"#,
        "You have triggered an abuse detection mechanism.",
    ] {
        assert_eq!(
            advice_for(StatusCode::FORBIDDEN, text),
            limit(None),
            "{text}"
        );
    }
    for text in [
        r#"{"message":"no access"}"#,
        r#"{"message":"Resource not accessible","documentation_url":"https://x/rate-limit"}"#,
        r#"{"message":"was submitted too quickly"}"#,
    ] {
        assert_eq!(advice_for(StatusCode::FORBIDDEN, text), None, "{text}");
    }
    let invalid = |text: &str| advice_for(StatusCode::UNPROCESSABLE_ENTITY, text);
    let too_quick =
        r#"{"message":"Validation Failed","errors":[{"message":"was submitted too quickly"}]}"#;
    assert_eq!(invalid(too_quick), limit(None));
    assert_eq!(invalid(r#"{"message":"Validation Failed"}"#), None);
    // These headers are GitHub's; a registry may use them differently.
    let pairs = [("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "9")];
    assert_eq!(advice(&REGISTRIES, 429, &pairs), Some(RetryAdvice::Later));
    for policy in [&REGISTRIES, &FORGES] {
        for (status, is_temporary) in [
            (408, true),
            (500, true),
            (404, false),
            (401, false),
            (304, false),
        ] {
            assert_eq!(
                advice(policy, status, &[]).is_some(),
                is_temporary,
                "{status}"
            );
        }
    }
}

#[test]
fn pauses_double_with_up_to_half_jitter() {
    for (failed, longest) in [(1, 500), (2, 1000), (3, 2000), (4, 4000)] {
        let pause = REGISTRIES
            .pause(RetryAdvice::Later, failed, soon())
            .unwrap();
        assert!(
            pause <= Duration::from_millis(longest) && pause >= Duration::from_millis(longest / 2)
        );
    }
    let minute = Duration::from_secs(60);
    assert_eq!(
        REGISTRIES.pause(RetryAdvice::After(minute), 1, soon()),
        Ok(minute)
    );
}

#[test]
fn retries_end() {
    let stop = |retry, failed, until| REGISTRIES.pause(retry, failed, until).unwrap_err();
    assert_eq!(stop(RetryAdvice::Never, 1, soon()), StopReason::Final);
    assert_eq!(stop(RetryAdvice::Later, 5, soon()), StopReason::Attempts(5));
    let (requested, longest) = (Duration::from_secs(61), Duration::from_secs(60));
    assert_eq!(
        stop(RetryAdvice::After(requested), 1, soon()),
        StopReason::LongWait { requested, longest }
    );
    let over = Deadline::after(Some(Duration::ZERO));
    assert_eq!(stop(RetryAdvice::Later, 1, over), StopReason::Deadline(1));
    assert!(
        FORGES
            .pause(RetryAdvice::Later, 1, Deadline::after(FORGES.patience))
            .is_ok()
    );
}

#[test]
fn pauses_for_limits_without_end_double() {
    let pause =
        |requested, limits, until| FORGES.pause(RetryAdvice::Limited(requested), limits, until);
    let minute = Duration::from_secs(60);
    for (limits, minutes) in [(1, 1), (2, 2), (3, 4), (4, 8)] {
        assert_eq!(pause(None, limits, soon()), Ok(minute * minutes));
    }
    let requested = Duration::from_secs(300);
    assert_eq!(pause(Some(requested), 9, soon()), Ok(requested));
    assert!(pause(Some(Duration::ZERO), 1, soon()).unwrap() > Duration::ZERO);
}

#[test]
fn wait_past_the_deadline_is_refused() {
    let until = Deadline::after(Some(Duration::from_secs(30)));
    let past = |reason, wait| Err(StopReason::PastDeadline { reason, wait });
    let (reason, minute) = (WaitReason::Limit, Duration::from_secs(60));
    assert_eq!(
        FORGES.pause(RetryAdvice::Limited(None), 1, until),
        past(reason, minute)
    );
    // So is a wait that exceeds the clock's range.
    let forever = Duration::from_secs(u64::MAX);
    assert_eq!(
        FORGES.pause(RetryAdvice::Limited(Some(forever)), 1, until),
        past(reason, forever)
    );
    assert_eq!(
        FORGES.pause(RetryAdvice::After(minute), 1, until),
        past(WaitReason::Busy, minute)
    );
}

#[test]
fn graphql_rate_limit_in_a_success_is_recognized() {
    let advice_for = |path: &str, body: &str| {
        let url = format!("https://h{path}").parse().unwrap();
        FORGES.graphql_rate_limit(&url, &HeaderMap::new(), body.as_bytes(), epoch)
    };
    for error in [
        r#"{"type":"RATE_LIMITED","message":"x"}"#,
        r#"{"message":"You have exceeded a secondary rate limit."}"#,
        r#"{"type":"UNPROCESSABLE","message":"was submitted too quickly"}"#,
    ] {
        let body = format!(r#"{{"data":null,"errors":[{error}]}}"#);
        assert_eq!(advice_for("/graphql", &body), limit(None), "{error}");
        assert_eq!(advice_for("/repos/a/b", &body), None);
    }
    let other = r#"{"data":{"x":"RATE_LIMITED"},"errors":[{"type":"FORBIDDEN","message":"no"}]}"#;
    assert_eq!(advice_for("/graphql", other), None);
}
