//! What a registry's headers make repin do: where a listing continues, and where credentials go.
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
    challenge::{self, Challenge, Trust},
    tags,
};

/// The header once for each line of the input.
fn headers(name: &reqwest::header::HeaderName, input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}

/// `Link`: the next page is another one of the same registry, without credentials, and only where
/// the header says `next`.
pub fn link(input: &[u8]) {
    let page: Url = "https://ghcr.io/v2/a/tags/list?n=2".parse().unwrap();
    let headers = headers(&LINK, input);
    if let Ok(Some(next)) = tags::following(&headers, &page) {
        assert_eq!(next.origin(), page.origin());
        assert!(next != page && next.username().is_empty() && next.password().is_none());
        let message = input.to_ascii_lowercase();
        assert!(message.windows(4).any(|word| word == b"next") && message.contains(&b'>'));
    }
    // Any name of a page of this registry is found again.
    let mut following = page.clone();
    following.set_query(Some(&format!("last={}", String::from_utf8_lossy(input))));
    let path = following.as_str().trim_start_matches("https://ghcr.io");
    // A fragment or the end of a target would be part of the name.
    if following == page || path.contains(['#', '>']) || path.contains(",<") {
        return;
    }
    for target in [following.as_str(), path] {
        let value = HeaderValue::from_str(&format!("<{target}>; rel=\"next\"")).unwrap();
        let headers = [(LINK, value)].into_iter().collect();
        let found = tags::following(&headers, &page).map_err(|error| error.reason);
        assert_eq!(found, Ok(Some(following.clone())));
    }
}

/// `WWW-Authenticate`: credentials go to the registry's own token server alone.
pub fn challenge(input: &[u8]) {
    let headers = headers(&WWW_AUTHENTICATE, input);
    let Ok(Challenge::Bearer(bearer)) = challenge::parse(&headers) else {
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
        match challenge::realm(&bearer, &registry, Some("named:1")) {
            Ok((url, trust)) => {
                assert!(matches!(url.scheme(), "https") || registry.scheme() == "http");
                assert!(url.username().is_empty() && url.password().is_none());
                assert!(url.fragment().is_none());
                let host = url.host_str().unwrap();
                let hub = registry.host_str() == Some("registry-1.docker.io");
                let own = url.origin() == registry.origin()
                    || (hub && host == "auth.docker.io" && url.port().is_none())
                    || (host == "named" && url.port() == Some(1));
                assert_eq!(trust == Trust::Own, own, "{url}");
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
