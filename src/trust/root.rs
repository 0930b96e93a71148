//! Trusted roots: trusted authorities and logs, and the verification of bundles within one root.
//!
//! A bundle is verified with the authorities and logs of a single root. The root determines the
//! required evidence, independent of the bundle: a root with logs requires a log entry with its
//! inclusion proof, a root without logs requires a timestamp, and a root with certificate
//! transparency logs requires their promise in the certificate. Verification sends no requests, and
//! uses the clock only to refuse times in the future.

use std::{fmt, time::SystemTime};

use sigstore_verify::{
    PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult, Verifier,
    crypto::parse_certificate_info,
    trust_root::TrustedRoot,
    types::{Artifact, Bundle, DerCertificate, Sha256Hash, TimeRange},
};

use super::{
    bundle::ParsedBundle,
    key::PublicKey,
    proof::{Certificate, LogEntry, Proof, Refusal},
    provider,
};
use crate::oci::Digest;

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
