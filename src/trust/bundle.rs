//! Parsed bundles, before they are verified.
//!
//! The verifier accepts some ambiguous bundles, which this module refuses: two kinds of content or of
//! key, duplicate keys of JSON, and more log entries than a signature needs. The trusted root
//! (`root`) determines the required evidence.

use serde_json::Value;
use sigstore_verify::types::{Bundle, SignatureContent, bundle::VerificationMaterialContent};

use super::{claim::Claim, json};

/// The maximum size of a bundle or payload, in bytes.
pub(super) const MAX_BYTES: usize = 4 << 20;
/// The maximum number of log entries, and of timestamps, in a bundle.
const MAX_ENTRIES: usize = 8;

/// The kinds of content. A bundle has exactly one of them, and one of [`KEYS`].
const CONTENTS: [&str; 2] = ["messageSignature", "dsseEnvelope"];
const KEYS: [&str; 3] = ["certificate", "x509CertificateChain", "publicKey"];

/// An unambiguous bundle, not verified.
#[derive(Debug)]
pub(super) struct ParsedBundle {
    pub(super) bundle: Bundle,
    /// Whether the bundle was converted from an older cosign's signature, which has no inclusion proof.
    pub(super) is_converted: bool,
    /// The signed bytes.
    pub(super) message: Vec<u8>,
    pub(super) claim: Claim,
}

impl ParsedBundle {
    /// Parses an attached bundle, which must contain a statement.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let bundle = parse(bytes)?;
        let SignatureContent::DsseEnvelope(envelope) = &bundle.content else {
            return Err("it signs bytes that are not attached, not a statement".to_owned());
        };
        if envelope.payload_type != "application/vnd.in-toto+json" {
            return Err("its payload is not an in-toto statement".to_owned());
        }
        let claim = Claim::of_statement(envelope.payload.as_bytes())?;
        let message = envelope.pae();
        Ok(Self {
            bundle,
            is_converted: false,
            message,
            claim,
        })
    }

    /// Whether the signature is by a key instead of a certificate.
    pub(super) fn has_key(&self) -> bool {
        let content = &self.bundle.verification_material.content;
        matches!(content, VerificationMaterialContent::PublicKey(_))
    }
}

/// Parses a bundle with any content.
pub(super) fn parse(bytes: &[u8]) -> Result<Bundle, String> {
    if bytes.len() > MAX_BYTES {
        return Err("the bundle has more than 4 MiB".to_owned());
    }
    let document = json::unique(bytes).map_err(|error| format!("malformed bundle: {error}"))?;
    check_unambiguous(&document)?;
    let bundle: Bundle =
        serde_json::from_value(document).map_err(|error| format!("malformed bundle: {error}"))?;
    check_entries(&bundle)?;
    Ok(bundle)
}

fn check_unambiguous(document: &Value) -> Result<(), String> {
    let count =
        |parent: &Value, keys: &[&str]| keys.iter().filter(|key| !parent[**key].is_null()).count();
    if count(document, &CONTENTS) != 1 {
        return Err("malformed bundle: not exactly one kind of content".to_owned());
    }
    if count(&document["verificationMaterial"], &KEYS) != 1 {
        return Err("malformed bundle: not exactly one kind of key or certificate".to_owned());
    }
    Ok(())
}

/// Refuses bundles with many entries: each entry costs the verification of signatures.
fn check_entries(bundle: &Bundle) -> Result<(), String> {
    let material = &bundle.verification_material;
    let timestamps = &material.timestamp_verification_data.rfc3161_timestamps;
    for (noun, count) in [
        ("log entries", material.tlog_entries.len()),
        ("timestamps", timestamps.len()),
    ] {
        if count > MAX_ENTRIES {
            return Err(format!("malformed bundle: more than {MAX_ENTRIES} {noun}"));
        }
    }
    Ok(())
}
