//! Trusted roots: trusted authorities and logs, and the verification of bundles within one root.
//!
//! A bundle is verified with the authorities and logs of a single root. The root determines the
//! required evidence, independent of the bundle: a root with logs requires a log entry with its
//! inclusion proof, a root without logs requires a timestamp, and a root with certificate
//! transparency logs requires their promise in the certificate. Verification sends no requests, and
//! uses the clock only to refuse times in the future.
//!
//! The current trusted roots of Sigstore and of GitHub, by The Update Framework (TUF 1.0).
//!
//! A TUF repository signs its files with keys that its root document lists. The first root document
//! comes with the program or from a file, and each later one is signed by the keys of the one before.
//! sigstore-tuf verifies signatures, thresholds, versions, expiry, lengths and hashes. The requests are
//! made by the client of registries, with its limits, proxies and log, and without credentials.
//!
//! The built-in trusted roots: snapshots at the time of the release, and the first root documents of
//! the TUF repositories with the current roots. The files are from an Apache-2.0 package.
//!
//! `scripts/roots` updates them from the published package.

use std::{error::Error as _, fmt, time::SystemTime};

use jiff::Timestamp;
use reqwest::Url;
use sigstore_tuf::{Repository, Updater, UpdaterConfig, transport::FetchFuture};
use sigstore_verify::{
    PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult, Verifier,
    crypto::parse_certificate_info,
    trust_root::TrustedRoot,
    types::{Artifact, Bundle, DerCertificate, Sha256Hash, TimeRange},
};

use super::{
    bundle::{ParsedBundle, PublicKey},
    claim::{Certificate, LogEntry, Proof, Refusal},
    provider,
};
use crate::{
    base::{
        error::{Class, Code, Error},
        http::address::redacted,
        text::words,
        untrusted::plain,
    },
    oci::{Digest, registry::Registries},
};

/// A trusted root.
pub(crate) struct Root {
    /// The name in the configuration.
    pub name: String,
    pub(super) trusted: TrustedRoot,
    verifier: Verifier,
}

/// The numbers of authorities and logs of a trusted root, and their last days of validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RootSummary {
    /// The number of certificate authorities.
    pub authorities: usize,
    /// The number of transparency logs.
    pub logs: usize,
    /// The number of timestamp authorities.
    pub timestamp_authorities: usize,
    /// The last end of a certificate authority.
    pub signing_until: Option<SystemTime>,
    /// The last end of a timestamp authority.
    pub timestamping_until: Option<SystemTime>,
}

impl RootSummary {
    /// The earlier last day.
    pub(crate) fn until(&self) -> Option<SystemTime> {
        let ends = [self.signing_until, self.timestamping_until];
        ends.into_iter().flatten().min()
    }
}

impl Root {
    /// Parses a `trusted_root.json`, or each line of a `.jsonl`, into at least one root.
    pub(crate) fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Self>, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        // A single document may have many lines; multiple documents have one line each.
        let file_error = match super::json::unique(bytes) {
            Ok(document) => return Ok(vec![Self::from_document(name, document)?]),
            Err(error) => error,
        };
        let mut roots = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            match super::json::unique(line.as_bytes()) {
                Ok(document) => roots.push(Self::from_document(name, document)?),
                // The message of the parser is omitted, because it may contain text of the file.
                Err(error) => {
                    let (line, column) = match index {
                        0 => (file_error.line(), file_error.column()),
                        _ => (index + 1, error.column()),
                    };
                    return Err(format!(
                        "it is not a trusted root: line {line}, column {column}"
                    ));
                }
            }
        }
        if roots.is_empty() {
            return Err("it is empty".to_owned());
        }
        Ok(roots)
    }

    fn from_document(name: &str, document: serde_json::Value) -> Result<Self, String> {
        provider::install();
        let trusted: TrustedRoot = serde_json::from_value(document)
            .map_err(|_| "it is not a trusted root (`application/vnd.dev.sigstore.trustedroot`)")?;
        let is_empty = trusted.certificate_authorities.is_empty()
            && trusted.tlogs.is_empty()
            && trusted.timestamp_authorities.is_empty();
        if is_empty {
            return Err(
                "it lists no certificate authority, no transparency log and no timestamp authority"
                    .to_owned(),
            );
        }
        let verifier = Verifier::new(&trusted).map_err(|error| error.to_string())?;
        Ok(Self {
            name: name.to_owned(),
            trusted,
            verifier,
        })
    }

    /// Verifies a bundle with a certificate, about `subject`.
    pub(super) fn verify_certificate(
        &self,
        parsed: &ParsedBundle,
        subject: Digest,
        now: SystemTime,
    ) -> Result<Proof, Refusal> {
        self.certificate_proof(parsed, subject, now)
            .map_err(|refusal| self.unknown_signer(&parsed.bundle).unwrap_or(refusal))
    }

    fn certificate_proof(
        &self,
        parsed: &ParsedBundle,
        subject: Digest,
        now: SystemTime,
    ) -> Result<Proof, Refusal> {
        self.check_evidence(parsed)?;
        let mut policy = VerificationPolicy::any_identity();
        if self.trusted.tlogs.is_empty() {
            policy = policy.skip_tlog_unsafe();
        }
        if self.trusted.ctlogs.is_empty() {
            policy = policy.skip_sct();
        }
        let result = provider::with_message(&parsed.message, || {
            self.verifier
                .verify(artifact(parsed, subject), &parsed.bundle, &policy)
        })
        .map_err(|error| Refusal::from_error(&error))?;
        let info = match result.certificate() {
            Some(info) if result.certificate_verified() => info,
            _ => return Err(Refusal::new("its certificate was not verified")),
        };
        let claims = &info.ci_claims;
        let certificate = Certificate {
            identity: info.identity.as_ref().map(ToString::to_string),
            issuer: info.issuer.clone(),
            source: claims.source_repository_uri.clone(),
            commit: claims.source_repository_digest.clone(),
            source_ref: claims.source_repository_ref.clone(),
            trigger: (claims.build_trigger.clone())
                .or_else(|| claims.deprecated_github.workflow_trigger.clone()),
            runner: claims.runner_environment.clone(),
        };
        self.proof(parsed, &result, now, Some(certificate), None)
    }

    /// Verifies a bundle by a key, about `subject`.
    pub(super) fn verify_key(
        &self,
        parsed: &ParsedBundle,
        subject: Digest,
        key: &PublicKey,
        now: SystemTime,
    ) -> Result<Proof, Refusal> {
        self.key_proof(parsed, subject, key, now)
            .map_err(|refusal| self.unknown_log(&parsed.bundle).unwrap_or(refusal))
    }

    fn key_proof(
        &self,
        parsed: &ParsedBundle,
        subject: Digest,
        key: &PublicKey,
        now: SystemTime,
    ) -> Result<Proof, Refusal> {
        self.check_evidence(parsed)?;
        let mut policy = PublicKeyVerificationPolicy::new(key.der.clone());
        if self.trusted.tlogs.is_empty() {
            policy = policy.skip_tlog_unsafe();
        }
        let result = provider::with_message(&parsed.message, || {
            self.verifier
                .verify(artifact(parsed, subject), &parsed.bundle, &policy)
        })
        .map_err(|error| Refusal::from_error(&error))?;
        self.proof(parsed, &result, now, None, Some(key.digest()))
    }

    /// Requires the evidence that the verifier requires of some bundles only.
    fn check_evidence(&self, parsed: &ParsedBundle) -> Result<(), Refusal> {
        let material = &parsed.bundle.verification_material;
        if self.trusted.tlogs.is_empty() {
            let timestamps = &material.timestamp_verification_data.rfc3161_timestamps;
            if timestamps.is_empty() {
                return Err(Refusal::new(
                    "the timestamp is missing, which a root without logs requires",
                ));
            }
            return Ok(());
        }
        if material.tlog_entries.is_empty() {
            return Err(Refusal::new(
                "the log entry is missing, which the root requires",
            ));
        }
        for entry in &material.tlog_entries {
            let has_proof = if parsed.is_converted {
                entry.inclusion_promise.is_some()
            } else {
                entry.inclusion_proof.is_some()
            };
            if !has_proof {
                return Err(Refusal::new("a log entry is without its inclusion proof"));
            }
        }
        Ok(())
    }

    pub(crate) fn summary(&self) -> RootSummary {
        let TrustedRoot {
            certificate_authorities,
            timestamp_authorities,
            tlogs,
            ..
        } = &self.trusted;
        let signing = certificate_authorities.iter().filter_map(|authority| {
            let certificate = authority.cert_chain.certificates.first()?;
            end(&certificate.raw_bytes, authority.valid_for)
        });
        let timestamping = timestamp_authorities.iter().filter_map(|authority| {
            let certificate = authority.cert_chain.certificates.first()?;
            end(&certificate.raw_bytes, authority.valid_for)
        });
        RootSummary {
            authorities: certificate_authorities.len(),
            logs: tlogs.len(),
            timestamp_authorities: timestamp_authorities.len(),
            signing_until: signing.max(),
            timestamping_until: timestamping.max(),
        }
    }

    fn proof(
        &self,
        parsed: &ParsedBundle,
        result: &VerificationResult,
        now: SystemTime,
        certificate: Option<Certificate>,
        key: Option<Digest>,
    ) -> Result<Proof, Refusal> {
        let times = result.verified_timestamps();
        if let Some(late) = times.iter().find(|time| SystemTime::from(**time) > now) {
            return Err(Refusal::new(format!(
                "its signing time {late} is in the future"
            )));
        }
        if times.is_empty() && self.trusted.tlogs.is_empty() {
            return Err(Refusal::new("no timestamp was verified"));
        }
        Ok(Proof {
            root: Some(self.name.clone()),
            certificate,
            key,
            time: times.iter().min().map(ToString::to_string),
            log: self.log_entry(&parsed.bundle),
        })
    }

    /// The first log entry, if the root lists its log.
    fn log_entry(&self, bundle: &Bundle) -> Option<LogEntry> {
        let entry = bundle.verification_material.tlog_entries.first()?;
        let mut logs = self.trusted.tlogs.iter();
        let log = logs.find(|log| log.log_id == entry.log_id)?;
        Some(LogEntry {
            url: log.base_url.clone(),
            index: entry.log_index.get(),
        })
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Root").field(&self.name).finish()
    }
}

/// The end of an authority: of its certificate or of its validity in the root, whichever is first.
fn end(certificate: &DerCertificate, validity: Option<TimeRange>) -> Option<SystemTime> {
    let info = parse_certificate_info(certificate).ok()?;
    let ends = [
        Some(info.not_after),
        validity.and_then(|validity| validity.end),
    ];
    ends.into_iter().flatten().min().map(SystemTime::from)
}

/// The signed artifact: the payload of a converted signature, or the subject's digest of a statement.
fn artifact(parsed: &ParsedBundle, subject: Digest) -> Artifact<'_> {
    if parsed.is_converted {
        return Artifact::Blob(&parsed.message);
    }
    Sha256Hash::new(subject.bytes()).into()
}

/// The name of the trusted root in a repository.
const TARGET: &str = "trusted_root.json";
/// The maximum size of a trusted root, in bytes, as for a configured file.
const MAX_TARGET: u64 = 4 << 20;

const UNREACHABLE: &str = "check the network, the proxy (HTTPS_PROXY) and REPIN_CA_FILE; `repin trust update NAME --mirror URL` \
                           reads a mirror";

/// A TUF repository, at its own server or at a mirror.
#[derive(Debug, Clone)]
pub(crate) struct Mirror {
    registries: Registries,
    base: Url,
}

impl Mirror {
    /// The repository at `base`, a URL with a final `/`.
    pub(crate) fn new(registries: Registries, base: Url) -> Self {
        Self { registries, base }
    }

    async fn fetch(&self, path: &str, max: u64) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        let url = self
            .base
            .join(path)
            .map_err(|error| sigstore_tuf::Error::transport(error.to_string()))?;
        self.registries.document(url, max).await.map_err(|error| {
            sigstore_tuf::Error::transport_with_source("request", error.help(UNREACHABLE))
        })
    }
}

impl Repository for Mirror {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max: u64) -> FetchFuture<'a> {
        Box::pin(self.fetch(name, max))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max: u64) -> FetchFuture<'a> {
        Box::pin(async move { self.fetch(&format!("targets/{path}"), max).await })
    }
}

/// Fetches the current trusted root of a repository, verified by the chain of root documents that
/// starts with `first`.
pub(crate) async fn current_root(
    mirror: Mirror,
    first: &[u8],
    now: SystemTime,
) -> Result<Vec<u8>, Error> {
    provider::install();
    let repository = redacted(&mirror.base);
    let fetch = async {
        let now = Timestamp::try_from(now)
            .map_err(|_| sigstore_tuf::Error::transport("the clock shows an impossible time"))?;
        let mut config = UpdaterConfig::default();
        config.target_max_length = MAX_TARGET;
        let mut updater = Updater::new(mirror, first)?.with_config(config);
        updater.refresh(now).await?;
        updater.get_target(TARGET, now).await
    };
    fetch.await.map_err(|error| problem(&error, &repository))
}

/// The error of the failed request, or of metadata that cannot be trusted.
fn problem(error: &sigstore_tuf::Error, repository: &str) -> Error {
    let source = error.source();
    if let Some(request) = source.and_then(|source| source.downcast_ref::<Error>()) {
        return request.clone();
    }
    let detail = source.map_or_else(String::new, |source| format!(": {source}"));
    let reason = plain(&format!("{error}{detail}"));
    let message = format!("cannot trust the TUF repository {repository}: {reason}");
    Error::new(Class::Unavailable, Code::ROOT_UNVERIFIED, message)
}

words! {
    /// A built-in trusted root.
    pub(crate) enum BuiltIn {
        /// Sigstore's public instance.
        Sigstore = "sigstore",
        /// GitHub's instance for private repositories.
        GitHub = "github",
    }
}

/// The package that contains the snapshots.
pub(crate) const BUILT_IN_SOURCE: &str = "sigstore-trust-root 0.15.1";
/// The publication date of the package.
pub(crate) const BUILT_IN_DATE: &str = "2026-10-23";

impl BuiltIn {
    /// The TUF repository that has the current root.
    pub(crate) fn repository(self) -> &'static str {
        match self {
            Self::Sigstore => "https://tuf-repo-cdn.sigstore.dev/",
            Self::GitHub => "https://tuf-repo.github.com/",
        }
    }

    /// The first in the chain of root documents of the TUF repository.
    pub(crate) fn first_root_document(self) -> &'static str {
        match self {
            Self::Sigstore => include_str!("roots/sigstore.tuf.json"),
            Self::GitHub => include_str!("roots/github.tuf.json"),
        }
    }

    /// The snapshot.
    pub(crate) fn document(self) -> &'static str {
        match self {
            Self::Sigstore => include_str!("roots/sigstore.json"),
            Self::GitHub => include_str!("roots/github.json"),
        }
    }
}

impl Root {
    /// Parses a built-in root.
    pub(crate) fn built_in(root: BuiltIn) -> Self {
        let roots = Self::parse(root.as_str(), root.document().as_bytes());
        let root = roots.ok().and_then(|mut roots| roots.pop());
        root.expect("the tests parse both snapshots")
    }
}
