//! Parsed bundles, before they are verified.
//!
//! The verifier accepts some ambiguous bundles, which this module refuses: two kinds of content or of
//! key, duplicate keys of JSON, and more log entries than a signature needs. The trusted root
//! (`root`) determines the required evidence.
//!
//! Signatures of older cosign versions: a layer and its annotations, converted into a bundle.
//!
//! The payload is the layer; signature, certificates and log entry are its annotations (cosign,
//! `specs/SIGNATURE_SPEC.md`). The log entry has a signed promise instead of the inclusion proof that
//! every other bundle must have.
//!
//! Public keys of signers: parsed from PEM, with a sufficiently strong algorithm.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sigstore_verify::{
    crypto::{KeyAlgorithm, VerificationKey, validate_raw_public_key, verify_signature},
    types::{
        Bundle, DerPublicKey, HashAlgorithm, SignatureContent, bundle::VerificationMaterialContent,
    },
};

use super::{
    claim::{Claim, Proof, Refusal},
    json,
};
use crate::oci::Digest;

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
        let claim = Claim::from_statement(envelope.payload.as_bytes())?;
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

const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
const CHAIN: &str = "dev.sigstore.cosign/chain";
const BUNDLE: &str = "dev.sigstore.cosign/bundle";
const TIMESTAMP: &str = "dev.sigstore.cosign/rfc3161timestamp";

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
/// The maximum length of a chain.
const MAX_CERTIFICATES: usize = 8;

/// A layer of a `.sig` image.
#[derive(Debug, Clone)]
pub(crate) struct CosignLayer {
    pub payload: Vec<u8>,
    pub annotations: BTreeMap<String, String>,
}

impl CosignLayer {
    pub(super) fn to_bundle(&self) -> Result<ParsedBundle, String> {
        if self.payload.len() > MAX_BYTES {
            return Err("the payload has more than 4 MiB".to_owned());
        }
        let claim = Claim::from_payload(&self.payload)?;
        let Some(signature) = self.annotation(SIGNATURE) else {
            return Err("malformed signature: the annotation is missing".to_owned());
        };
        let entry = self.annotation(BUNDLE).map(log_entry).transpose()?;
        let timestamp = self.annotation(TIMESTAMP).map(timestamp).transpose()?;
        // Version 0.1 requires a promise, which a signature with only a timestamp does not have.
        let version = if entry.is_some() { "0.1" } else { "0.2" };
        let mut material = self.key_or_certificates()?;
        material["tlogEntries"] = entry.into_iter().collect();
        let timestamps: Vec<Value> = timestamp.into_iter().collect();
        material["timestampVerificationData"] = json!({ "rfc3161Timestamps": timestamps });
        let hash = STANDARD.encode(Sha256::digest(&self.payload));
        let bundle = json!({
            "mediaType": format!("application/vnd.dev.sigstore.bundle+json;version={version}"),
            "verificationMaterial": material,
            "messageSignature": {
                "messageDigest": { "algorithm": "SHA2_256", "digest": hash },
                "signature": signature,
            },
        });
        let bundle: Bundle = serde_json::from_value(bundle)
            .map_err(|error| format!("malformed signature: {error}"))?;
        Ok(ParsedBundle {
            bundle,
            is_converted: true,
            message: self.payload.clone(),
            claim,
        })
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        let value = self.annotations.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    fn key_or_certificates(&self) -> Result<Value, String> {
        let Some(leaf) = self.annotation(CERTIFICATE) else {
            return Ok(json!({ "publicKey": { "hint": "" } }));
        };
        let mut chain = certificates(leaf)?;
        if chain.len() != 1 {
            return Err("malformed signature: not exactly one certificate".to_owned());
        }
        if let Some(issuers) = self.annotation(CHAIN) {
            chain.extend(certificates(issuers)?);
        }
        let chain: Vec<Value> = chain
            .iter()
            .map(|certificate| json!({ "rawBytes": certificate }))
            .collect();
        Ok(json!({ "x509CertificateChain": { "certificates": chain } }))
    }
}

/// The certificates of a PEM text, in base64.
fn certificates(pem: &str) -> Result<Vec<String>, String> {
    let malformed = || "malformed signature: a certificate is not PEM".to_owned();
    let mut certificates = Vec::new();
    for part in pem.split(BEGIN).skip(1) {
        let (body, _) = part.split_once(END).ok_or_else(malformed)?;
        let body: String = body.split_ascii_whitespace().collect();
        if certificates.len() == MAX_CERTIFICATES {
            return Err("malformed signature: a long chain of certificates".to_owned());
        }
        certificates.push(body);
    }
    if certificates.is_empty() {
        return Err(malformed());
    }
    Ok(certificates)
}

/// The log entry of the annotation `bundle`.
fn log_entry(text: &str) -> Result<Value, String> {
    let malformed = |defect: &str| format!("malformed log entry: {defect}");
    let bundle = json::unique(text.as_bytes()).map_err(|error| malformed(&error.to_string()))?;
    let payload = &bundle["Payload"];
    let number = |key: &str| {
        let number = payload[key].as_u64();
        number.ok_or_else(|| malformed(&format!("`{key}` is missing")))
    };
    let string = |value: &Value, key: &str| {
        let string = value[key].as_str().map(str::to_owned);
        string.ok_or_else(|| malformed(&format!("`{key}` is missing")))
    };
    let log_id = hex::decode(string(payload, "logID")?)
        .map_err(|_| malformed("`logID` is not hexadecimal"))?;
    let body = string(payload, "body")?;
    let decoded = STANDARD
        .decode(&body)
        .map_err(|_| malformed("`body` is not base64"))?;
    let kind = json::unique(&decoded).map_err(|error| malformed(&error.to_string()))?;
    Ok(json!({
        "logIndex": number("logIndex")?.to_string(),
        "logId": { "keyId": STANDARD.encode(log_id) },
        "kindVersion": { "kind": string(&kind, "kind")?, "version": string(&kind, "apiVersion")? },
        "integratedTime": number("integratedTime")?.to_string(),
        "inclusionPromise": { "signedEntryTimestamp": string(&bundle, "SignedEntryTimestamp")? },
        "canonicalizedBody": body,
    }))
}

/// The timestamp of the annotation `rfc3161timestamp`.
fn timestamp(text: &str) -> Result<Value, String> {
    let document =
        json::unique(text.as_bytes()).map_err(|error| format!("malformed timestamp: {error}"))?;
    match document["SignedRFC3161Timestamp"].as_str() {
        Some(timestamp) => Ok(json!({ "signedTimestamp": timestamp })),
        None => Err("malformed timestamp: it is missing".to_owned()),
    }
}

#[derive(Debug, Clone)]
pub(crate) struct PublicKey {
    pub(super) der: DerPublicKey,
    pub(super) algorithm: KeyAlgorithm,
}

impl PublicKey {
    /// Parses a PEM text (`PUBLIC KEY`).
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        super::provider::install();
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        if text.contains("PRIVATE KEY") {
            return Err(
                "it is a private key; name the public key, and keep this one out of the repository"
                    .to_owned(),
            );
        }
        // The parser's own message may contain a line of the file.
        let der = DerPublicKey::from_pem(text)
            .map_err(|_| "it is not a public key in PEM (`-----BEGIN PUBLIC KEY-----`)")?;
        let algorithm = KeyAlgorithm::from_spki(&der).map_err(|error| error.to_string())?;
        if !matches!(
            algorithm,
            KeyAlgorithm::EcdsaP256
                | KeyAlgorithm::EcdsaP384
                | KeyAlgorithm::Ed25519
                | KeyAlgorithm::Rsa
        ) {
            return Err("expected ECDSA P-256 or P-384, Ed25519 or RSA".to_owned());
        }
        let key = VerificationKey::from_spki(&der).map_err(|error| error.to_string())?;
        validate_raw_public_key(key.scheme(), key.as_bytes()).map_err(|error| error.to_string())?;
        Ok(Self { der, algorithm })
    }

    /// Verifies only the signature by this key: the signing time is unknown, and the signature is not
    /// logged. The verifier requires a log entry or a timestamp, so it is not used.
    pub(super) fn verify_unlogged(&self, parsed: &ParsedBundle) -> Result<Proof, Refusal> {
        let (signature, scheme) = match &parsed.bundle.content {
            SignatureContent::DsseEnvelope(envelope) => (
                &envelope.signature.sig,
                Ok(self.algorithm.default_signing_scheme()),
            ),
            // Cosign hashes payloads with SHA-256 for every key.
            SignatureContent::MessageSignature(message) => (
                &message.signature,
                self.algorithm
                    .resolve_signing_scheme(HashAlgorithm::Sha2256),
            ),
            _ => return Err(Refusal::new("an unknown kind of content")),
        };
        scheme
            .and_then(|scheme| verify_signature(&self.der, &parsed.message, signature, scheme))
            .map_err(|error| Refusal::new(error.to_string()))?;
        Ok(Proof {
            root: None,
            certificate: None,
            key: Some(self.digest()),
            time: None,
            log: None,
        })
    }

    /// The SHA-256 of the DER form.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(self.der.as_bytes())
    }
}
