//! Public keys of signers: PEM in, of a kind that is strong enough.

use sigstore_verify::{
    crypto::{KeyAlgorithm, VerificationKey, validate_raw_public_key, verify_signature},
    types::{DerPublicKey, HashAlgorithm, SignatureContent},
};

use super::{
    bundle::WellFormed,
    proof::{Proof, Refusal},
};
use crate::oci::Digest;

/// The public key of a signer.
#[derive(Debug, Clone)]
pub struct PublicKey {
    pub(super) der: DerPublicKey,
    pub(super) algorithm: KeyAlgorithm,
}

impl PublicKey {
    /// Reads a PEM text (`PUBLIC KEY`); the error says what is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
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

    /// Verifies a bundle by this key alone: whoever signed it did so at any time, and nothing
    /// recorded it. The verifier demands a log entry or a timestamp, so it is not asked.
    pub(super) fn verify_unlogged(&self, checked: &WellFormed) -> Result<Proof, Refusal> {
        let (signature, scheme) = match &checked.bundle.content {
            SignatureContent::DsseEnvelope(envelope) => (
                &envelope.signature.sig,
                Ok(self.algorithm.default_signing_scheme()),
            ),
            // Cosign signs payloads by way of SHA-256, whatever the key.
            SignatureContent::MessageSignature(message) => (
                &message.signature,
                self.algorithm
                    .resolve_signing_scheme(HashAlgorithm::Sha2256),
            ),
            _ => return Err(Refusal::new("an unknown kind of content")),
        };
        scheme
            .and_then(|scheme| verify_signature(&self.der, &checked.message, signature, scheme))
            .map_err(|error| Refusal::new(error.to_string()))?;
        Ok(Proof {
            root: None,
            certificate: None,
            key: Some(self.digest()),
            time: None,
            log: None,
        })
    }

    /// The SHA-256 of its DER form.
    pub fn digest(&self) -> Digest {
        Digest::of(self.der.as_bytes())
    }
}
