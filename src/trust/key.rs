//! Public keys of signers: parsed from PEM, with a sufficiently strong algorithm.

use sigstore_verify::{
    crypto::{KeyAlgorithm, VerificationKey, validate_raw_public_key, verify_signature},
    types::{DerPublicKey, HashAlgorithm, SignatureContent},
};

use super::{
    bundle::ParsedBundle,
    proof::{Proof, Refusal},
};
use crate::oci::Digest;

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
