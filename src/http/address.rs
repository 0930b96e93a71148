//! Addresses that servers name, and what of an address may be shown.

use std::net::IpAddr;

use reqwest::Url;

/// A URL that a server named: nothing but HTTP, and no credentials of its making.
pub fn check_url(url: &Url) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("which does not use HTTP");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user name in it");
    }
    Ok(())
}

/// A URL without what may be secret: user, query and fragment.
pub fn shown(url: &Url) -> String {
    let text = format!("{}://{}{}", url.scheme(), host_of(url), url.path());
    text.chars().take(200).collect()
}

/// Host and, if it is not the scheme's, port.
pub fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether a URL's host is this machine (RFC 6890, section 2.2.2; RFC 6761, section 6.3).
pub fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

/// Whether credentials may be sent to a URL: over TLS, or to this machine.
pub fn is_private(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_a_few_addresses_and_one_name() {
        let loopback = |text: &str| is_loopback(&text.parse().unwrap());
        for own in [
            "http://127.0.0.1:1/",
            "http://127.9.9.9/",
            "http://[::1]:1/",
            "http://localhost/",
            "http://127.1/",
            "http://LOCALHOST:1",
        ] {
            assert!(loopback(own), "{own}");
        }
        for other in [
            "http://128.0.0.1/",
            "http://localhost.example/",
            "http://127.0.0.1.example/",
            "http://[::2]/",
            "http://0.0.0.0/",
        ] {
            assert!(!loopback(other), "{other}");
        }
    }
}
