//! Connections: trusted roots and proxies.
//!
//! [`super::client`] handles redirects, retries and deadlines. The library's client is created for
//! the first request, because loading the system's roots is slow and many runs need no connection.
//!
//! Targets of redirects (RFC 9110, section 15.4).
//!
//! A request to send, and a final response.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::{
    Client, Method, NoProxy, Proxy, StatusCode, Url,
    header::{self, HeaderMap, HeaderValue},
};
use rustls::{
    ClientConfig, RootCertStore, WantsVerifier,
    client::WantsClientCert,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_native_certs::load_native_certs;
use rustls_platform_verifier::Verifier;

use super::{
    Body,
    address::{check_url, redacted},
};
use crate::base::{input_file, untrusted::Secrets};

/// The maximum number of connections to a host, and of concurrent requests over HTTP/1.1.
pub(super) const CONNECTIONS: usize = 8;
/// The maximum number of concurrent requests to a host over HTTP/2, where they share a connection
/// and the server limits its streams (RFC 9113, section 5.1.2).
pub(super) const STREAMS: usize = 32;

/// The maximum size of a file of certificates, in bytes. The system's bundle has a quarter of a megabyte.
const MAX_CA_FILE: u64 = 16 * 1024 * 1024;

/// The connections of a run; clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Transport(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: ClientSettings,
    plain: OnceLock<Result<Client, String>>,
    tls: OnceLock<Result<Client, String>>,
}

/// The settings of the library's clients.
#[derive(Debug)]
struct ClientSettings {
    /// A file of roots in addition to the system's.
    ca_file: Option<PathBuf>,
    /// The roots in the file, which a run without connections does not read.
    roots: OnceLock<Result<Vec<CertificateDer<'static>>, SettingsError>>,
    proxies: Vec<Proxy>,
    connect_timeout: Duration,
}

/// Invalid settings that prevent every request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The file of additional roots.
    #[error("REPIN_CA_FILE {}: {reason}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// The cause of the error.
        reason: String,
    },
    /// A proxy variable. Its value may contain a password and is not shown.
    #[error("the environment variable {0} is not a proxy URL")]
    Proxy(&'static str),
}

impl Transport {
    /// Connections that trust the system's roots and those of `ca_file`, and use the proxies of the
    /// usual variables.
    ///
    /// `variable` returns the first of several variables that is set. Passwords of proxies are
    /// added to `secrets`.
    pub(crate) fn new<'e>(
        ca_file: Option<&Path>,
        variable: impl Fn(&[&str]) -> Option<&'e str>,
        secrets: &Secrets,
        stall_timeout: Duration,
    ) -> Result<Self, SettingsError> {
        let settings = ClientSettings {
            ca_file: ca_file.map(Path::to_owned),
            roots: OnceLock::new(),
            proxies: proxies(variable, secrets)?,
            // The other half remains for a second address of the host.
            connect_timeout: stall_timeout / 2,
        };
        Ok(Self(Arc::new(Shared {
            settings,
            plain: OnceLock::new(),
            tls: OnceLock::new(),
        })))
    }

    /// Reads the file of additional roots, once.
    pub(crate) fn read_roots(&self) -> Result<(), SettingsError> {
        self.0.settings.roots().map(drop)
    }

    /// The client for `url`'s scheme; an error if no root certificates can be loaded.
    pub(crate) fn client(&self, url: &Url) -> Result<&Client, String> {
        let client = if url.scheme() == "http" {
            self.0.plain.get_or_init(|| self.0.settings.plain_client())
        } else {
            self.0.tls.get_or_init(|| self.0.settings.tls_client())
        };
        client.as_ref().map_err(Clone::clone)
    }
}

impl ClientSettings {
    fn roots(&self) -> Result<&[CertificateDer<'static>], SettingsError> {
        let roots = self.roots.get_or_init(|| match &self.ca_file {
            Some(path) => read_certificates(path),
            None => Ok(Vec::new()),
        });
        roots.as_deref().map_err(Clone::clone)
    }

    /// A client for plain HTTP, which loads no roots.
    fn plain_client(&self) -> Result<Client, String> {
        let tls = tls_builder()?.with_root_certificates(RootCertStore::empty());
        self.client(tls)
    }

    /// A client for TLS that trusts the system's roots and the additional ones.
    fn tls_client(&self) -> Result<Client, String> {
        let provider = Arc::new(ring::default_provider());
        let roots = self.roots().map_err(|error| error.to_string())?;
        let verifier = Verifier::new_with_extra_roots(roots.iter().cloned(), provider)
            .map_err(|error| format!("cannot load root certificates: {error}"))?;
        // rustls calls every custom verifier dangerous; this one is the platform's.
        let tls = tls_builder()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        self.client(tls)
    }

    fn client(&self, tls: TlsBuilder<WantsClientCert>) -> Result<Client, String> {
        let mut tls = tls.with_no_client_auth();
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(CONNECTIONS)
            .user_agent(concat!("repin/", env!("CARGO_PKG_VERSION")));
        for proxy in &self.proxies {
            builder = builder.proxy(proxy.clone());
        }
        builder
            .build()
            .map_err(|error| format!("cannot create the HTTP client: {}", error.without_url()))
    }
}

type TlsBuilder<State> = rustls::ConfigBuilder<ClientConfig, State>;

fn tls_builder() -> Result<TlsBuilder<WantsVerifier>, String> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("cannot set up TLS: {error}"))
}

/// Loads the certificates of a PEM file: at least one, and all usable as roots.
fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    let invalid = |reason: String| SettingsError::CaFile {
        path: path.to_owned(),
        reason,
    };
    let bytes = input_file::read(path, MAX_CA_FILE).map_err(|error| invalid(error.to_string()))?;
    let certificates = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| invalid(format!("not valid PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(invalid(
            "the file contains no certificate (`-----BEGIN CERTIFICATE-----`)".to_owned(),
        ));
    }
    let mut store = RootCertStore::empty();
    for (index, certificate) in certificates.iter().enumerate() {
        if let Err(error) = store.add(certificate.clone()) {
            return Err(invalid(format!(
                "its certificate {} cannot be used as a root: {error}",
                index + 1
            )));
        }
    }
    Ok(certificates)
}

/// The roots of the system and those of a file, as PEM, for a program that takes only one file. Like for requests, a
/// system without roots is no error.
pub(crate) fn roots_with(ca_file: &Path) -> Result<String, SettingsError> {
    let additional = read_certificates(ca_file)?;
    let of_system = load_native_certs();
    let mut text = String::new();
    for certificate in of_system.certs.iter().chain(&additional) {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(certificate).as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    Ok(text)
}

type ProxyConstructor = fn(Url) -> reqwest::Result<Proxy>;

/// The proxies of the usual variables. Loopback addresses are contacted directly, and so are the servers of credentials
/// for containers on ECS and EKS, whose addresses exist only on the host (AWS SDKs and Tools Reference Guide, "Container
/// credential provider").
fn proxies<'e>(
    variable: impl Fn(&[&str]) -> Option<&'e str>,
    secrets: &Secrets,
) -> Result<Vec<Proxy>, SettingsError> {
    const DIRECT: &str = "localhost,127.0.0.0/8,::1,169.254.170.2,169.254.170.23,fd00:ec2::23";
    let exceptions = variable(&["no_proxy", "NO_PROXY"]).unwrap_or_default();
    let no_proxy = NoProxy::from_string(&format!("{exceptions},{DIRECT}"));
    let mut proxies = Vec::new();
    let kinds: [([&'static str; 2], ProxyConstructor); 3] = [
        (["http_proxy", "HTTP_PROXY"], Proxy::http),
        (["https_proxy", "HTTPS_PROXY"], Proxy::https),
        (["all_proxy", "ALL_PROXY"], Proxy::all),
    ];
    for (names, new_proxy) in kinds {
        let Some(value) = variable(&names) else {
            continue;
        };
        let invalid = || SettingsError::Proxy(names[0]);
        let url = if value.contains("://") {
            Url::parse(value)
        } else {
            Url::parse(&format!("http://{value}"))
        };
        let url = url.map_err(|_| invalid())?;
        secrets.hide_userinfo(url.username(), url.password().unwrap_or_default());
        let proxy = new_proxy(url).map_err(|_| invalid())?;
        proxies.push(proxy.no_proxy(no_proxy.clone()));
    }
    Ok(proxies)
}

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

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) url: Url,
    /// The credentials; a redirect to another origin drops them.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) headers: HeaderMap,
    /// The request body. Its type is in `headers`; a redirect never carries it.
    pub(crate) content: Option<String>,
    /// The treatment of a successful response's body.
    pub(crate) body: BodyMode,
    pub(crate) see_other: SeeOther,
    pub(crate) idempotency: Idempotency,
    pub(crate) effect: Effect,
    /// The maximum number of attempts, if it is lower than the policy's.
    pub(crate) attempts: Option<u32>,
}

/// The treatment of a successful response's body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BodyMode {
    /// Read it; more bytes than this are an error.
    Buffer(u64),
    /// Return it unread.
    Stream,
}

/// The treatment of 303 (See Other): it refers to another resource, and not to another location of
/// the requested one (RFC 9110, section 15.4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeeOther {
    /// Like any other redirect.
    Follow,
    /// Return it as the final response.
    Return,
}

/// Whether a request may be carried out twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Idempotency {
    /// The second time changes nothing.
    Repeatable,
    /// It is retried only if the first attempt certainly had no effect.
    Once,
}

/// Whether a request changes something on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// No effect on the server, with any method.
    Read,
    /// It may change something.
    Write,
}

/// A final response: a retry would not change it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The URL of the response, after redirects.
    pub(crate) url: Url,
    /// The body; of an error, the part that the policy inspects.
    pub(crate) body: Body,
    /// Whether an earlier attempt may have had its effect although its response was lost.
    pub(crate) is_repeat: bool,
}

impl Call {
    /// A GET of `url` for a document of at most `max` bytes.
    pub(crate) fn get(url: Url, max: u64) -> Self {
        Self {
            method: Method::GET,
            url,
            authorization: None,
            headers: HeaderMap::new(),
            content: None,
            body: BodyMode::Buffer(max),
            see_other: SeeOther::Follow,
            idempotency: Idempotency::Repeatable,
            effect: Effect::Read,
            attempts: None,
        }
    }
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
    fn servers_on_the_host_are_contacted_directly() {
        let secrets = Secrets::default();
        let variable = |names: &[&str]| names.contains(&"http_proxy").then_some("proxy.example");
        let proxies = format!("{:?}", proxies(variable, &secrets).unwrap());
        for address in ["::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"] {
            let mut exceptions = proxies.split([',', '"']);
            assert!(
                exceptions.any(|exception| exception == address),
                "{address}: {proxies}"
            );
        }
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
