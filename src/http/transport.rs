//! Connections: who is trusted, which proxy, and nothing on their own account.
//!
//! Redirects, retries, decompression and deadlines are not done here. A client is built when its
//! first request is made; reading the system's roots takes longer than most runs' other work before
//! it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use reqwest::{Client, NoProxy, Proxy, Url};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::Verifier;

use crate::untrusted::Secrets;

/// How many connections to one host are kept, and how many requests to it are in progress at once.
pub(super) const IN_FLIGHT: usize = 8;
/// How many requests to a host are in progress at once over HTTP/2, where they share a connection and
/// the server states how many it takes at a time (RFC 9113, section 5.1.2).
pub(super) const STREAMS: usize = 32;

/// The connections of a run, shared by its clones.
#[derive(Debug, Clone)]
pub struct Transport(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    recipe: Recipe,
    plain: OnceLock<Result<Client, String>>,
    tls: OnceLock<Result<Client, String>>,
}

/// What clients are built from, checked once at the start.
#[derive(Debug)]
struct Recipe {
    roots: Vec<CertificateDer<'static>>,
    proxies: Vec<Proxy>,
    connect: Duration,
}

/// Invalid settings that prevent every request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file of additional roots.
    #[error("REPIN_CA_FILE {}: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A proxy variable; its value may hold a password and is not shown.
    #[error("the environment variable {0} is not a proxy URL")]
    Proxy(&'static str),
}

impl Transport {
    /// Connections that trust the system's roots and those of `ca_file`, and go through the proxies
    /// of the usual variables.
    ///
    /// `variable` looks up the first of several names that is set; a proxy's password becomes one
    /// of `secrets`; `progress` is how long a response may make none.
    pub fn new<'e>(
        ca_file: Option<&Path>,
        variable: impl Fn(&[&str]) -> Option<&'e str>,
        secrets: &Secrets,
        progress: Duration,
    ) -> Result<Self, SettingsError> {
        let roots = ca_file.map(certificates).transpose()?.unwrap_or_default();
        // Half of the time without progress, so that a second address can be tried before the
        // attempt is over.
        let recipe = Recipe {
            roots,
            proxies: proxies(variable, secrets)?,
            connect: progress / 2,
        };
        Ok(Self(Arc::new(Shared {
            recipe,
            plain: OnceLock::new(),
            tls: OnceLock::new(),
        })))
    }

    /// The client for `url`'s scheme; an error if no root certificates can be loaded.
    pub fn client(&self, url: &Url) -> Result<&Client, String> {
        let client = if url.scheme() == "http" {
            self.0.plain.get_or_init(|| self.0.recipe.plain())
        } else {
            self.0.tls.get_or_init(|| self.0.recipe.tls())
        };
        client.as_ref().map_err(Clone::clone)
    }
}

impl Recipe {
    /// A client for plain HTTP, which spares the reading of roots.
    fn plain(&self) -> Result<Client, String> {
        self.client(config(|builder| {
            Ok(builder.with_root_certificates(RootCertStore::empty()))
        })?)
    }

    /// A client for TLS that trusts the system's roots and the additional ones.
    fn tls(&self) -> Result<Client, String> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new_with_extra_roots(self.roots.iter().cloned(), provider)
            .map_err(|error| format!("cannot load root certificates: {error}"))?;
        // "Dangerous" is any verifier of one's own; this one is the platform's.
        self.client(config(|b| {
            Ok(b.dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier)))
        })?)
    }

    fn client(&self, tls: ClientConfig) -> Result<Client, String> {
        let builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(self.connect)
            .pool_max_idle_per_host(IN_FLIGHT)
            .user_agent(concat!("repin/", env!("CARGO_PKG_VERSION")));
        let builder = self
            .proxies
            .iter()
            .cloned()
            .fold(builder, reqwest::ClientBuilder::proxy);
        builder
            .build()
            .map_err(|error| format!("cannot create the HTTP client: {}", error.without_url()))
    }
}

type WantsVerifier = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;
type WantsClientCert = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn config(
    verify: impl FnOnce(WantsVerifier) -> Result<WantsClientCert, String>,
) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))?;
    let mut config = verify(builder)?.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The certificates of a PEM file, at least one, all of them usable as roots.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let wrong = |reason: String| SettingsError::CaFile {
        path: path.to_owned(),
        reason,
    };
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(format!("not valid PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(wrong(
            "the file contains no certificate (`-----BEGIN CERTIFICATE-----`)".to_owned(),
        ));
    }
    let mut store = RootCertStore::empty();
    for (number, certificate) in certificates.iter().enumerate() {
        let unusable = |error| {
            wrong(format!(
                "its certificate {} cannot be used as a root: {error}",
                number + 1
            ))
        };
        store.add(certificate.clone()).map_err(unusable)?;
    }
    Ok(certificates)
}

type Build = fn(Url) -> reqwest::Result<Proxy>;

/// The proxies of the usual variables; loopback addresses are reached without one.
fn proxies<'e>(
    variable: impl Fn(&[&str]) -> Option<&'e str>,
    secrets: &Secrets,
) -> Result<Vec<Proxy>, SettingsError> {
    const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";
    let listed = variable(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    let except = NoProxy::from_string(&format!("{listed},{LOOPBACK}"));
    let mut proxies = Vec::new();
    let kinds: [([&'static str; 2], Build); 3] = [
        (["http_proxy", "HTTP_PROXY"], Proxy::http),
        (["https_proxy", "HTTPS_PROXY"], Proxy::https),
        (["all_proxy", "ALL_PROXY"], Proxy::all),
    ];
    for (names, build) in kinds {
        let Some(text) = variable(&names) else {
            continue;
        };
        let wrong = || SettingsError::Proxy(names[0]);
        let text = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let url = Url::parse(&text).map_err(|_| wrong())?;
        secrets.hide_userinfo(url.username(), url.password().unwrap_or_default());
        proxies.push(build(url).map_err(|_| wrong())?.no_proxy(except.clone()));
    }
    Ok(proxies)
}
