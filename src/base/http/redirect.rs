//! Targets of redirects (RFC 9110, section 15.4).

use reqwest::{
    Method, StatusCode, Url,
    header::{self, HeaderMap},
};

use super::{
    Call, SeeOther,
    address::{check_url, redacted},
};

/// The target of a redirect after `call`; `None` if the response is not one that is followed. The
/// error for an unsafe target is safe to show.
pub(super) fn redirect_target(
    status: StatusCode,
    headers: &HeaderMap,
    call: &Call,
) -> Result<Option<Url>, String> {
    if call.method != Method::GET || !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    if status == StatusCode::SEE_OTHER && call.see_other == SeeOther::Return {
        return Ok(None);
    }
    let mut locations = headers.get_all(header::LOCATION).iter();
    let (Some(location), None) = (locations.next(), locations.next()) else {
        return Err("the redirect has no target, or several".to_owned());
    };
    let Some(mut target) = location
        .to_str()
        .ok()
        .and_then(|location| call.url.join(location).ok())
    else {
        return Err("the redirect target is not a URL".to_owned());
    };
    target.set_fragment(None);
    check_url(&target)
        .map_err(|reason| format!("the redirect leads to {}, {reason}", redacted(&target)))?;
    if call.url.scheme() == "https" && target.scheme() != "https" {
        return Err(format!(
            "the redirect leads from https to {}, which is unsafe",
            redacted(&target)
        ));
    }
    Ok(Some(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target_of(url: &str, location: &str) -> Result<Option<String>, String> {
        let headers = [(header::LOCATION, location.parse().unwrap())]
            .into_iter()
            .collect();
        let call = Call::get(url.parse().unwrap(), 1);
        let target = redirect_target(StatusCode::TEMPORARY_REDIRECT, &headers, &call)?;
        Ok(target.map(String::from))
    }

    #[test]
    fn redirect_from_tls_to_plain_http_is_refused() {
        for (url, location, target) in [
            ("http://a/v2/x?y", "/z#part", "http://a/z"),
            ("http://a/v2/x", "https://b/z", "https://b/z"),
            ("https://a/v2/x", "//b/z?q", "https://b/z?q"),
        ] {
            assert_eq!(target_of(url, location), Ok(Some(target.to_owned())));
        }
        let error = target_of("https://a/v2/x", "http://a/z?signature=s3cret").unwrap_err();
        assert!(
            error.contains("http://a/z") && !error.contains("s3cret"),
            "{error}"
        );
        for location in ["ftp://b/", "http://u:p@b/", "http://u@b/", "http://["] {
            let error = target_of("http://a/", location).unwrap_err();
            assert!(!error.contains("u:p"), "{error}");
        }
    }

    #[test]
    fn see_other_is_returned_on_request() {
        let headers = [(header::LOCATION, "/x".parse().unwrap())]
            .into_iter()
            .collect();
        let follow = Call::get("http://a/".parse().unwrap(), 1);
        let keep = Call {
            see_other: SeeOther::Return,
            ..follow.clone()
        };
        for (status, call, followed) in [
            (StatusCode::SEE_OTHER, &follow, true),
            (StatusCode::SEE_OTHER, &keep, false),
            (StatusCode::TEMPORARY_REDIRECT, &keep, true),
        ] {
            let target = redirect_target(status, &headers, call).unwrap();
            assert_eq!(target.is_some(), followed, "{status}");
        }
    }

    #[test]
    fn only_get_and_redirect_statuses_are_followed() {
        let headers = [(header::LOCATION, "/x".parse().unwrap())]
            .into_iter()
            .collect();
        let get = Call::get("http://a/".parse().unwrap(), 1);
        for status in [200, 300, 304, 305, 306, 399] {
            let status = StatusCode::from_u16(status).unwrap();
            let target = redirect_target(status, &headers, &get);
            assert_eq!(target, Ok(None), "{status}");
        }
        let delete = Call {
            method: Method::DELETE,
            ..get
        };
        let target = redirect_target(StatusCode::FOUND, &headers, &delete);
        assert_eq!(target, Ok(None));
    }
}
