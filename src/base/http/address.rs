//! URLs that servers supply, and their form in messages.

use std::net::{Ipv4Addr, Ipv6Addr};

use reqwest::Url;

/// Accepts an HTTP URL without credentials; the error completes "the URL is …".
pub(crate) fn check_url(url: &Url) -> Result<(), &'static str> {
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
        return Err("which does not use HTTP");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL with a user name in it");
    }
    Ok(())
}

/// A URL without user, query and fragment, which may contain secrets.
pub(crate) fn redacted(url: &Url) -> String {
    let text = format!("{}://{}{}", url.scheme(), host_of(url), url.path());
    text.chars().take(200).collect()
}

/// The host, with its port if that is not the scheme's default.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Whether `HOST` or `HOST:PORT` is this machine (RFC 6890, section 2.2.2; RFC 6761, section 6.3).
pub(crate) fn is_loopback(host: &str) -> bool {
    if let Some((address, port)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        let address = address.parse::<Ipv6Addr>();
        let has_port = port.is_empty() || port.starts_with(':');
        return has_port && address.is_ok_and(|address| address.is_loopback());
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<Ipv4Addr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Whether credentials may be sent to a URL: over TLS, or to this machine.
pub(crate) fn is_safe_for_credentials(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(&host_of(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_localhost_or_a_loopback_address() {
        for url in [
            "http://127.0.0.1:1/",
            "http://127.9.9.9/",
            "http://[::1]:1/",
            "http://localhost/",
            "http://127.1/",
            "http://LOCALHOST:1",
        ] {
            assert!(is_loopback(&host_of(&url.parse().unwrap())), "{url}");
        }
        for url in [
            "http://128.0.0.1/",
            "http://localhost.example/",
            "http://127.0.0.1.example/",
            "http://[::2]/",
            "http://0.0.0.0/",
        ] {
            assert!(!is_loopback(&host_of(&url.parse().unwrap())), "{url}");
        }
        for host in ["localhost:5000", "127.9.9.9", "[::1]:5000", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["::1", "[::1]x", "[127.0.0.1]", "localhost.example:5000", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
