//! Trusted roots: the authorities and logs whose word counts, and bundles verified within one.
//!
//! Nothing is mixed between roots. What a bundle must hold follows from the root and never from
//! what the bundle lacks: a root with logs demands a log entry with its inclusion proof, one without
//! demands a timestamp, one with certificate transparency logs demands their promise in the
//! certificate. Nothing is fetched, and no clock decides but to refuse times in the future.

use std::{fmt, time::SystemTime};

use sigstore_verify::{
    PublicKeyVerificationPolicy, VerificationPolicy, VerificationResult, Verifier,
    crypto::parse_certificate_info,
    trust_root::TrustedRoot,
    types::{Artifact, Bundle, DerCertificate, Sha256Hash, TimeRange, TransparencyLogEntry},
};

use super::{
    bundle::WellFormed,
    key::PublicKey,
    proof::{Certificate, LogEntry, Proof, Refusal},
    provider,
};
use crate::oci::Digest;

/// One trusted root.
pub struct Root {
    /// As it is configured.
    pub name: String,
    pub(super) trusted: TrustedRoot,
    verifier: Verifier,
}

/// Whose word counts in a root, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootAge {
    /// How many certificate authorities it has.
    pub authorities: usize,
    /// How many transparency logs.
    pub logs: usize,
    /// How many timestamp authorities.
    pub timestamp_authorities: usize,
    /// The end of the youngest certificate that issues signing certificates.
    pub signing_until: Option<SystemTime>,
    /// The end of the youngest certificate that stamps.
    pub stamping_until: Option<SystemTime>,
}

impl RootAge {
    /// The end that comes first.
    pub fn until(&self) -> Option<SystemTime> {
        let ends = [self.signing_until, self.stamping_until];
        ends.into_iter().flatten().min()
    }
}

impl Root {
    /// Reads a `trusted_root.json`, or each line of a `.jsonl`; at least one root.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Vec<Self>, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        // A document may take many lines; several documents take one line each.
        let whole = match super::json::unique(bytes) {
            Ok(document) => return Ok(vec![Self::of(name, document)?]),
            Err(error) => error,
        };
        let mut roots = Vec::new();
        for (at, line) in text.lines().enumerate() {
            if line.trim().is_empty() {
                continue;
            }
            let document = super::json::unique(line.as_bytes());
            // The parser's own message may contain text of the file.
            let document = document.map_err(|error| {
                let (line, column) = match at {
                    0 => (whole.line(), whole.column()),
                    _ => (at + 1, error.column()),
                };
                format!("it is not a trusted root: line {line}, column {column}")
            })?;
            roots.push(Self::of(name, document)?);
        }
        if roots.is_empty() {
            return Err("it is empty".to_owned());
        }
        Ok(roots)
    }

    fn of(name: &str, document: serde_json::Value) -> Result<Self, String> {
        provider::install();
        let trusted: TrustedRoot = serde_json::from_value(document)
            .map_err(|_| "it is not a trusted root (`application/vnd.dev.sigstore.trustedroot`)")?;
        let nobody = trusted.certificate_authorities.is_empty()
            && trusted.tlogs.is_empty()
            && trusted.timestamp_authorities.is_empty();
        if nobody {
            return Err("it trusts nobody: no authority and no log".to_owned());
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
        checked: &WellFormed,
        subject: Digest,
        now: SystemTime,
    ) -> Result<Proof, Refusal> {
        self.certificate_proof(checked, subject, now)
            .map_err(|refusal| self.unknown_signer(&checked.bundle).unwrap_or(refusal))
    }

    fn certificate_proof(
        &self,
        checked: &WellFormed,
        subject: Digest,
        now: SystemTime,
    ) -> Result<Proof, Refusal> {
        self.demand(checked)?;
        let mut policy = VerificationPolicy::any_identity();
        if self.trusted.tlogs.is_empty() {
            policy = policy.skip_tlog_unsafe();
        }
        if self.trusted.ctlogs.is_empty() {
            policy = policy.skip_sct();
        }
        let result = provider::with_message(&checked.message, || {
            self.verifier
                .verify(artifact(checked, subject), &checked.bundle, &policy)
        });
        let result = result.map_err(|error| Refusal::of(&error))?;
        let info = result
            .certificate()
            .filter(|_| result.certificate_verified());
        let info = info.ok_or_else(|| Refusal::new("its certificate was not verified"))?;
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
        self.proof(checked, &result, now, Some(certificate), None)
    }

    /// Verifies a bundle by a key, about `subject`.
    pub(super) fn verify_key(
        &self,
        checked: &WellFormed,
        subject: Digest,
        key: &PublicKey,
        now: SystemTime,
    ) -> Result<Proof, Refusal> {
        self.key_proof(checked, subject, key, now)
            .map_err(|refusal| self.unknown_log(&checked.bundle).unwrap_or(refusal))
    }

    fn key_proof(
        &self,
        checked: &WellFormed,
        subject: Digest,
        key: &PublicKey,
        now: SystemTime,
    ) -> Result<Proof, Refusal> {
        self.demand(checked)?;
        let mut policy = PublicKeyVerificationPolicy::new(key.der.clone());
        if self.trusted.tlogs.is_empty() {
            policy = policy.skip_tlog_unsafe();
        }
        let result = provider::with_message(&checked.message, || {
            self.verifier
                .verify(artifact(checked, subject), &checked.bundle, &policy)
        });
        let result = result.map_err(|error| Refusal::of(&error))?;
        self.proof(checked, &result, now, None, Some(key.digest()))
    }

    /// What this root demands of every bundle, and the verifier only of some.
    fn demand(&self, checked: &WellFormed) -> Result<(), Refusal> {
        let material = &checked.bundle.verification_material;
        if self.trusted.tlogs.is_empty() {
            let stamps = &material.timestamp_verification_data.rfc3161_timestamps;
            return if stamps.is_empty() {
                Err(Refusal::new(
                    "the timestamp is missing, which a root without logs demands",
                ))
            } else {
                Ok(())
            };
        }
        if material.tlog_entries.is_empty() {
            return Err(Refusal::new(
                "the log entry is missing, which the root demands",
            ));
        }
        let proven = |entry: &TransparencyLogEntry| {
            if checked.converted {
                entry.inclusion_promise.is_some()
            } else {
                entry.inclusion_proof.is_some()
            }
        };
        if material.tlog_entries.iter().all(proven) {
            Ok(())
        } else {
            Err(Refusal::new("a log entry is without its inclusion proof"))
        }
    }

    /// Whose word counts, and until when.
    pub fn age(&self) -> RootAge {
        let signing = self.trusted.certificate_authorities.iter();
        let signing = signing.map(|authority| {
            let certificates = authority.cert_chain.certificates.first();
            end(
                certificates.map(|entry| &entry.raw_bytes),
                authority.valid_for,
            )
        });
        let stamping = self.trusted.timestamp_authorities.iter();
        let stamping = stamping.map(|authority| {
            let certificates = authority.cert_chain.certificates.first();
            end(
                certificates.map(|entry| &entry.raw_bytes),
                authority.valid_for,
            )
        });
        RootAge {
            authorities: self.trusted.certificate_authorities.len(),
            logs: self.trusted.tlogs.len(),
            timestamp_authorities: self.trusted.timestamp_authorities.len(),
            signing_until: signing.flatten().max(),
            stamping_until: stamping.flatten().max(),
        }
    }

    fn proof(
        &self,
        checked: &WellFormed,
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
            log: self.log_entry(&checked.bundle),
        })
    }

    /// The first log entry, where it is of a log that the root knows.
    fn log_entry(&self, bundle: &Bundle) -> Option<LogEntry> {
        let entry = bundle.verification_material.tlog_entries.first()?;
        let log = self
            .trusted
            .tlogs
            .iter()
            .find(|log| log.log_id == entry.log_id)?;
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

/// When an authority ends: its certificate, or its window in the root, whichever is first.
fn end(certificate: Option<&DerCertificate>, window: Option<TimeRange>) -> Option<SystemTime> {
    let info = parse_certificate_info(certificate?).ok()?;
    let ends = [Some(info.not_after), window.and_then(|window| window.end)];
    ends.into_iter().flatten().min().map(SystemTime::from)
}

/// What was signed, as the verifier takes it: a statement is about a digest, a converted signature
/// is over its payload.
fn artifact(checked: &WellFormed, subject: Digest) -> Artifact<'_> {
    if checked.converted {
        return Artifact::Blob(&checked.message);
    }
    Sha256Hash::new(subject.bytes()).into()
}
