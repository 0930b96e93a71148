//! The authorities and logs of a bundle that a trusted root does not list.
//!
//! Only refused bundles are inspected, to report the reason. An authority is identified by the
//! identifier of its key, because a new key does not change its name.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sigstore_verify::types::{
    Bundle, DerCertificate, TransparencyLogEntry, bundle::VerificationMaterialContent,
};
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{AuthorityKeyIdentifier, SignedCertificateTimestampList, SubjectKeyIdentifier},
};

use super::{
    bundle::ParsedBundle,
    claim::{Refusal, RootGap},
    root::Root,
};

/// The maximum length of a name from a certificate or a checkpoint, in characters.
const MAX_NAME: usize = 200;

impl Root {
    /// The refusal of a certificate with an authority or log outside of this root.
    pub(super) fn unknown_signer(&self, bundle: &Bundle) -> Option<Refusal> {
        let certificates = certificates(bundle);
        self.unknown_authority(&certificates)
            .or_else(|| self.unknown_log(bundle))
            .or_else(|| self.unknown_certificate_log(certificates.first()?))
    }

    /// The refusal of a log entry by a log that this root does not list.
    pub(super) fn unknown_log(&self, bundle: &Bundle) -> Option<Refusal> {
        let material = &bundle.verification_material;
        let timestamps = &material.timestamp_verification_data.rfc3161_timestamps;
        // A root without logs relies on timestamps.
        if self.trusted.tlogs.is_empty() && !timestamps.is_empty() {
            return None;
        }
        let mut entries = material.tlog_entries.iter();
        let entry = entries.find(|entry| !self.lists_log(entry))?;
        let id = shortened(&entry.log_id.key_id.to_string());
        let log = match origin(entry) {
            Some(origin) => format!("{origin} ({id})"),
            None => id,
        };
        Some(Refusal {
            reason: format!("unknown transparency log {log}"),
            gap: Some(RootGap::Log),
        })
    }

    /// The refusal of a certificate that is recorded only in logs that this root does not list.
    fn unknown_certificate_log(&self, certificate: &Certificate) -> Option<Refusal> {
        let (_, list) = certificate
            .tbs_certificate
            .get::<SignedCertificateTimestampList>()
            .ok()??;
        let mut unknown = None;
        for timestamp in list.parse_timestamps().ok()? {
            let id = timestamp.parse_timestamp().ok()?.log_id.key_id;
            let mut logs = self.trusted.ctlogs.iter();
            if logs.any(|log| log.log_id.key_id.as_bytes() == id) {
                return None;
            }
            unknown.get_or_insert(STANDARD.encode(id));
        }
        let id = unknown.filter(|_| !self.trusted.ctlogs.is_empty())?;
        Some(Refusal {
            reason: format!("unknown certificate transparency log ({id})"),
            gap: Some(RootGap::Log),
        })
    }

    /// Whether the root lists the log of an entry.
    fn lists_log(&self, entry: &TransparencyLogEntry) -> bool {
        let mut logs = self.trusted.tlogs.iter();
        logs.any(|log| log.log_id == entry.log_id)
    }

    fn unknown_authority(&self, presented: &[Certificate]) -> Option<Refusal> {
        for authority in &self.trusted.certificate_authorities {
            for entry in &authority.cert_chain.certificates {
                if let Some(issuer) = parsed(&entry.raw_bytes)
                    && presented
                        .iter()
                        .any(|issued| may_have_issued(&issuer, issued))
                {
                    return None;
                }
            }
        }
        let issued = presented.first()?;
        let name = shortened(&issued.tbs_certificate.issuer.to_string());
        let key = match issuing_key(issued) {
            Some(key) => format!(" (key {})", hex::encode(key)),
            None => String::new(),
        };
        Some(Refusal {
            reason: format!("unknown certificate authority {name}{key}"),
            gap: Some(RootGap::Authority),
        })
    }
}

/// Whether a root lists the authority or the log that is missing in the root of the refusal.
pub(super) fn is_gap_filled(roots: &[Root], refusal: &Refusal, parsed: &ParsedBundle) -> bool {
    let certificates = certificates(&parsed.bundle);
    match refusal.gap {
        Some(RootGap::Authority) => roots
            .iter()
            .any(|root| root.unknown_authority(&certificates).is_none()),
        Some(RootGap::Log) => {
            let mut entries = parsed.bundle.verification_material.tlog_entries.iter();
            let lists_entries = entries.all(|entry| roots.iter().any(|root| root.lists_log(entry)));
            let with_logs = roots.iter().filter(|root| !root.trusted.ctlogs.is_empty());
            let mut with_logs = with_logs.peekable();
            let lists_certificate = certificates.first().is_none_or(|certificate| {
                with_logs.peek().is_none()
                    || with_logs.any(|root| root.unknown_certificate_log(certificate).is_none())
            });
            lists_entries && lists_certificate
        }
        Some(RootGap::Period) | None => false,
    }
}

/// The certificates of a bundle, the signer's first.
fn certificates(bundle: &Bundle) -> Vec<Certificate> {
    match &bundle.verification_material.content {
        VerificationMaterialContent::Certificate(leaf) => {
            parsed(&leaf.raw_bytes).into_iter().collect()
        }
        VerificationMaterialContent::X509CertificateChain { certificates } => {
            let certificates = certificates.iter();
            certificates
                .filter_map(|entry| parsed(&entry.raw_bytes))
                .collect()
        }
        _ => Vec::new(),
    }
}

/// Whether the names and the key identifiers of two certificates are consistent with issuance.
fn may_have_issued(authority: &Certificate, certificate: &Certificate) -> bool {
    if authority.tbs_certificate.subject != certificate.tbs_certificate.issuer {
        return false;
    }
    match (key_of(authority), issuing_key(certificate)) {
        (Some(authority_key), Some(issuing_key)) => authority_key == issuing_key,
        _ => true,
    }
}

fn parsed(certificate: &DerCertificate) -> Option<Certificate> {
    Certificate::from_der(certificate.as_bytes()).ok()
}

/// The identifier of the key that a certificate was issued with.
fn issuing_key(certificate: &Certificate) -> Option<Vec<u8>> {
    let (_, extension) = certificate
        .tbs_certificate
        .get::<AuthorityKeyIdentifier>()
        .ok()??;
    Some(extension.key_identifier?.as_bytes().to_vec())
}

/// The identifier of the key of an authority.
fn key_of(authority: &Certificate) -> Option<Vec<u8>> {
    let (_, extension) = authority
        .tbs_certificate
        .get::<SubjectKeyIdentifier>()
        .ok()??;
    Some(extension.0.as_bytes().to_vec())
}

/// The name of a log, from the first line of its checkpoint.
fn origin(entry: &TransparencyLogEntry) -> Option<String> {
    let checkpoint = &entry.inclusion_proof.as_ref()?.checkpoint;
    let line = checkpoint.envelope().lines().next()?;
    (!line.is_empty()).then(|| shortened(line))
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_NAME).collect()
}
