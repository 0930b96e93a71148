//! Signatures of older cosign versions: a layer and its annotations, converted into a bundle.
//!
//! The payload is the layer; signature, certificates and log entry are its annotations (cosign,
//! `specs/SIGNATURE_SPEC.md`). The log entry has a signed promise instead of the inclusion proof that
//! every other bundle must have.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sigstore_verify::types::Bundle;

use super::{
    bundle::{MAX_BYTES, ParsedBundle},
    claim::Claim,
    json,
};

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
        let claim = Claim::of_payload(&self.payload)?;
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
