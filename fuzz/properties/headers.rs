//! The effects of a registry's headers: the next page of a listing, and the receiver of credentials.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic is the finding"
)]

use reqwest::{
    Url,
    header::{HeaderMap, HeaderValue, LINK, WWW_AUTHENTICATE},
};

use super::{
    auth::{self, Challenge, Trust},
    tags,
};

/// One header for each line of the input.
fn headers(name: &reqwest::header::HeaderName, input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}

/// `Link`: the next page is another page of the same registry, without credentials, and only with
/// the relation `next`.
pub fn link(input: &[u8]) {
    let page: Url = "https://ghcr.io/v2/a/tags/list?n=2".parse().unwrap();
    let headers = headers(&LINK, input);
    if let Ok(Some(next)) = tags::next_page(&headers, &page) {
        assert_eq!(next.origin(), page.origin());
        assert!(next != page && next.username().is_empty() && next.password().is_none());
        let message = input.to_ascii_lowercase();
        assert!(message.windows(4).any(|word| word == b"next") && message.contains(&b'>'));
    }
    // A link to any page of this registry is accepted.
    let mut target = page.clone();
    target.set_query(Some(&format!("last={}", String::from_utf8_lossy(input))));
    let path = target.as_str().trim_start_matches("https://ghcr.io");
    // These characters would end the target or start a fragment.
    if target == page || path.contains(['#', '>']) || path.contains(",<") {
        return;
    }
    for link in [target.as_str(), path] {
        let value = HeaderValue::from_str(&format!("<{link}>; rel=\"next\"")).unwrap();
        let headers = [(LINK, value)].into_iter().collect();
        let found = tags::next_page(&headers, &page).map_err(|error| error.reason);
        assert_eq!(found, Ok(Some(target.clone())));
    }
}

/// `WWW-Authenticate`: only the registry's own token server receives credentials.
pub fn challenge(input: &[u8]) {
    let headers = headers(&WWW_AUTHENTICATE, input);
    let Ok(Challenge::Bearer(bearer)) = auth::parse(&headers) else {
        return;
    };
    assert!(
        String::from_utf8_lossy(input)
            .to_lowercase()
            .contains("realm")
    );
    for registry in [
        "https://ghcr.io/v2/",
        "https://registry-1.docker.io/",
        "http://127.0.0.1:5000/",
    ] {
        let registry: Url = registry.parse().unwrap();
        match auth::token_server(&bearer, &registry, Some("named:1")) {
            Ok((url, trust)) => {
                assert!(matches!(url.scheme(), "https") || registry.scheme() == "http");
                assert!(url.username().is_empty() && url.password().is_none());
                assert!(url.fragment().is_none());
                let host = url.host_str().unwrap();
                let is_hub = registry.host_str() == Some("registry-1.docker.io");
                let is_own = url.origin() == registry.origin()
                    || (is_hub && host == "auth.docker.io" && url.port().is_none())
                    || (host == "named" && url.port() == Some(1));
                assert_eq!(trust == Trust::Own, is_own, "{url}");
            }
            Err(error) => {
                assert!(
                    !error.reason.contains(char::is_control),
                    "{:?}",
                    error.reason
                );
            }
        }
    }
}
