//! Where redirects lead (RFC 9110, section 15.4).

use reqwest::{
    Method, StatusCode, Url,
    header::{self, HeaderMap},
};

use super::{
    Call,
    address::{check_url, shown},
};

/// Where a response to `call` leads, if it is a redirect that is followed; an error, fit to be
/// shown, if it leads where nobody should go.
pub(super) fn target(
    status: StatusCode,
    headers: &HeaderMap,
    call: &Call,
) -> Result<Option<Url>, String> {
    if call.method != Method::GET || !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let mut places = headers.get_all(header::LOCATION).iter();
    let (Some(place), None) = (places.next(), places.next()) else {
        return Err("the redirect has no target, or several".to_owned());
    };
    let next = place
        .to_str()
        .ok()
        .and_then(|place| call.url.join(place).ok());
    let Some(mut next) = next else {
        return Err("the redirect target is not a URL".to_owned());
    };
    next.set_fragment(None);
    check_url(&next)
        .map_err(|reason| format!("the redirect leads to {}, {reason}", shown(&next)))?;
    if call.url.scheme() == "https" && next.scheme() != "https" {
        return Err(format!(
            "the redirect leads from https to {}, which is unsafe",
            shown(&next)
        ));
    }
    Ok(Some(next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redirected(from: &str, to: &str) -> Result<Option<String>, String> {
        let headers = [(header::LOCATION, to.parse().unwrap())]
            .into_iter()
            .collect();
        let call = Call::get(from.parse().unwrap(), 1);
        let next = target(StatusCode::TEMPORARY_REDIRECT, &headers, &call);
        next.map(|url| url.map(|url| url.to_string()))
    }

    #[test]
    fn redirects_lead_to_http_and_never_from_tls_to_none() {
        let to = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(redirected("http://a/v2/x?y", "/z#part"), to("http://a/z"));
        assert_eq!(
            redirected("http://a/v2/x", "https://b/z"),
            to("https://b/z")
        );
        assert_eq!(redirected("https://a/v2/x", "//b/z?q"), to("https://b/z?q"));
        let unsafe_one = redirected("https://a/v2/x", "http://a/z?signature=s3cret").unwrap_err();
        assert!(
            unsafe_one.contains("http://a/z") && !unsafe_one.contains("s3cret"),
            "{unsafe_one}"
        );
        for bad in ["ftp://b/", "http://u:p@b/", "http://u@b/", "http://["] {
            let reason = redirected("http://a/", bad).unwrap_err();
            assert!(!reason.contains("u:p"), "{reason}");
        }
    }

    #[test]
    fn only_reading_follows_and_only_these_statuses() {
        let headers = [(header::LOCATION, "/x".parse().unwrap())]
            .into_iter()
            .collect();
        let get = Call::get("http://a/".parse().unwrap(), 1);
        for status in [200, 300, 304, 305, 306, 399] {
            let status = StatusCode::from_u16(status).unwrap();
            assert!(
                target(status, &headers, &get).unwrap().is_none(),
                "{status}"
            );
        }
        let delete = Call {
            method: Method::DELETE,
            ..get
        };
        assert!(
            target(StatusCode::FOUND, &headers, &delete)
                .unwrap()
                .is_none()
        );
    }
}
