//! Bundles before they are verified: one meaning, and not too large.
//!
//! The verifier accepts some bundles that two readers understand differently. Those are refused
//! here, before it sees them: two kinds of content or of key, a key of JSON that is there twice,
//! and more log entries than a signature needs. What a bundle must hold besides follows from the
//! trusted root (`root`).

use serde_json::Value;
use sigstore_verify::types::{Bundle, SignatureContent, bundle::VerificationMaterialContent};

use super::{claim::Claim, json};

/// The largest bundle or payload, in bytes.
pub(super) const BYTES_MAX: usize = 4 << 20;
/// The most log entries and the most timestamps of a bundle.
const ENTRIES_MAX: usize = 8;

/// The kinds of content, and of keys; a bundle has one of each.
const CONTENTS: [&str; 2] = ["messageSignature", "dsseEnvelope"];
const KEYS: [&str; 3] = ["certificate", "x509CertificateChain", "publicKey"];

/// A bundle of which every reader understands the same; nothing of it is verified.
#[derive(Debug)]
pub(super) struct WellFormed {
    pub(super) bundle: Bundle,
    /// Whether it was made of an older cosign's signature, which has no inclusion proof.
    pub(super) converted: bool,
    /// What the signature is over.
    pub(super) message: Vec<u8>,
    /// What the signed bytes say.
    pub(super) claim: Claim,
}

impl WellFormed {
    /// Reads a bundle as it was attached; the error says what is wrong with it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let bundle = bundle(bytes)?;
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
            converted: false,
            message,
            claim,
        })
    }

    /// Whether the bundle names a key, instead of carrying a certificate.
    pub(super) fn has_key(&self) -> bool {
        let content = &self.bundle.verification_material.content;
        matches!(content, VerificationMaterialContent::PublicKey(_))
    }
}

/// Reads a bundle of any content.
pub(super) fn bundle(bytes: &[u8]) -> Result<Bundle, String> {
    if bytes.len() > BYTES_MAX {
        return Err("the bundle has more than 4 MiB".to_owned());
    }
    let document = json::unique(bytes).map_err(|error| format!("malformed bundle: {error}"))?;
    one_meaning(&document)?;
    let bundle: Bundle =
        serde_json::from_value(document).map_err(|error| format!("malformed bundle: {error}"))?;
    few_entries(&bundle)?;
    Ok(bundle)
}

/// Refuses documents that have two meanings.
fn one_meaning(document: &Value) -> Result<(), String> {
    let given =
        |parent: &Value, keys: &[&str]| keys.iter().filter(|key| !parent[**key].is_null()).count();
    if given(document, &CONTENTS) != 1 {
        return Err("malformed bundle: not exactly one kind of content".to_owned());
    }
    if given(&document["verificationMaterial"], &KEYS) != 1 {
        return Err("malformed bundle: not exactly one kind of key or certificate".to_owned());
    }
    Ok(())
}

/// Refuses bundles that take long to verify: each entry costs signatures.
fn few_entries(bundle: &Bundle) -> Result<(), String> {
    let material = &bundle.verification_material;
    let stamps = &material.timestamp_verification_data.rfc3161_timestamps;
    for (what, count) in [
        ("log entries", material.tlog_entries.len()),
        ("timestamps", stamps.len()),
    ] {
        if count > ENTRIES_MAX {
            return Err(format!("malformed bundle: more than {ENTRIES_MAX} {what}"));
        }
    }
    Ok(())
}
