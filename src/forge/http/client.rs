//! The HTTP client: who is trusted, which proxy, and nothing on its own account.

use std::{sync::Arc, time::Duration};

use reqwest::Client;
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use rustls_platform_verifier::Verifier;

use super::Now;

/// How a forge is asked; all of it is handed in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long one attempt may take in all.
    pub whole: Duration,
    /// How often a request is tried, the first time included.
    pub attempts: u32,
    /// The pause before the second attempt; it doubles with each further one, and chance shortens it by up to a half.
    pub backoff: Duration,
    /// The longest time that a rate limit is waited for.
    pub longest_wait: Duration,
    /// Certificates that are trusted beside the system's.
    pub roots: Vec<CertificateDer<'static>>,
    /// Proxies, in the order that they are asked for.
    pub proxies: Vec<reqwest::Proxy>,
    /// The wall clock.
    pub now: Now,
}

impl Settings {
    /// The times of the documentation, nothing trusted but the system's roots, no proxy.
    pub fn new(now: Now) -> Self {
        Self {
            whole: Duration::from_secs(60),
            attempts: 5,
            backoff: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
            roots: Vec::new(),
            proxies: Vec::new(),
            now,
        }
    }

    /// A client that follows nothing and repeats nothing.
    pub(super) fn client(&self, tls: bool) -> Result<Client, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS can't be set up: {error}"))?;
        // Plain HTTP spares the reading of the system's roots.
        let mut config = if tls {
            let verifier = Verifier::new_with_extra_roots(self.roots.iter().cloned(), provider)
                .map_err(|error| format!("no root certificates can be loaded: {error}"))?;
            // "Dangerous" is any verifier of one's own; this one is the platform's.
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        } else {
            builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = Client::builder()
            .tls_backend_preconfigured(config)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(self.whole / 4)
            .user_agent(concat!("repin/", env!("CARGO_PKG_VERSION")));
        let client = self.proxies.iter().cloned().fold(client, reqwest::ClientBuilder::proxy);
        client.build().map_err(|error| format!("the HTTP client can't be built: {}", error.without_url()))
    }
}
