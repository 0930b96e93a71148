//! Cryptography for the verifier by ring, which TLS uses already.
//!
//! The verifier checks signatures over a hash, which ring cannot do: it hashes the message itself.
//! Each verification therefore has a scope with the message ([`with_message`]); the hash of another
//! message is refused, and so is every hash outside a scope. The provider is process-wide and
//! installed once. It only verifies.

use std::cell::RefCell;

use ring::{
    digest,
    signature::{self, UnparsedPublicKey, VerificationAlgorithm},
};
use sigstore_verify::{
    crypto::{CryptoProvider, Error, HashContext, Result, SigningScheme, install_default_provider},
    types::HashAlgorithm,
};

thread_local! {
    static MESSAGE: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

#[derive(Debug)]
struct Ring;

struct Hash(digest::Context);

/// Clears the message when it is dropped, so that a panic closes the scope.
struct Scope;

/// Installs the provider, unless it is already installed.
pub(super) fn install() {
    // An error means that this provider, the only one, is already installed.
    let _ = install_default_provider(&Ring);
}

/// Runs `work`, which can verify signatures over the hash of `message`.
pub(super) fn with_message<T>(message: &[u8], work: impl FnOnce() -> T) -> T {
    MESSAGE.with(|slot| slot.replace(Some(message.to_vec())));
    let _scope = Scope;
    work()
}

impl Drop for Scope {
    fn drop(&mut self) {
        MESSAGE.with(|slot| slot.replace(None));
    }
}

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finalize(self: Box<Self>) -> Vec<u8> {
        self.0.finish().as_ref().to_vec()
    }
}

impl CryptoProvider for Ring {
    fn hash(&self, algorithm: HashAlgorithm) -> Result<Box<dyn HashContext>> {
        Ok(Box::new(Hash(digest::Context::new(hashing(algorithm)?))))
    }

    fn verify_raw(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        data: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let key = UnparsedPublicKey::new(verification(scheme)?, key);
        key.verify(data, signature)
            .map_err(|_| Error::Verification(format!("{} signature invalid", scheme.name())))
    }

    fn verify_prehashed(
        &self,
        scheme: SigningScheme,
        key: &[u8],
        hash: &[u8],
        signature: &[u8],
    ) -> Result<()> {
        let hashing = hashing(
            scheme
                .hash_algorithm()
                .ok_or_else(|| Error::UnsupportedAlgorithm(scheme.name().to_owned()))?,
        )?;
        match MESSAGE.with(|slot| slot.borrow().clone()) {
            Some(message) if digest::digest(hashing, &message).as_ref() == hash => {
                self.verify_raw(scheme, key, &message, signature)
            }
            _ => Err(Error::Verification(
                "the signed message is unknown".to_owned(),
            )),
        }
    }
}

fn hashing(algorithm: HashAlgorithm) -> Result<&'static digest::Algorithm> {
    match algorithm {
        HashAlgorithm::Sha2256 => Ok(&digest::SHA256),
        HashAlgorithm::Sha2384 => Ok(&digest::SHA384),
        HashAlgorithm::Sha2512 => Ok(&digest::SHA512),
        other => Err(Error::UnsupportedAlgorithm(format!("{other:?}"))),
    }
}

fn verification(scheme: SigningScheme) -> Result<&'static dyn VerificationAlgorithm> {
    Ok(match scheme {
        SigningScheme::EcdsaP256Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        SigningScheme::EcdsaP256Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
        SigningScheme::EcdsaP384Sha256 => &signature::ECDSA_P384_SHA256_ASN1,
        SigningScheme::EcdsaP384Sha384 => &signature::ECDSA_P384_SHA384_ASN1,
        SigningScheme::Ed25519 => &signature::ED25519,
        SigningScheme::RsaPssSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        SigningScheme::RsaPssSha384 => &signature::RSA_PSS_2048_8192_SHA384,
        SigningScheme::RsaPssSha512 => &signature::RSA_PSS_2048_8192_SHA512,
        SigningScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SigningScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SigningScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        other => return Err(Error::UnsupportedAlgorithm(other.name().to_owned())),
    })
}

#[cfg(test)]
mod tests {
    use ring::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
    };

    use super::*;

    #[test]
    fn hash_is_verified_in_its_message_scope() {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random)
                .unwrap();
        let signed = key.sign(&random, b"message").unwrap();
        let hash = digest::digest(&digest::SHA256, b"message");
        let verify = |hash: &[u8]| {
            let public = key.public_key().as_ref();
            Ring.verify_prehashed(
                SigningScheme::EcdsaP256Sha256,
                public,
                hash,
                signed.as_ref(),
            )
        };
        with_message(b"message", || verify(hash.as_ref())).unwrap();
        let other = digest::digest(&digest::SHA256, b"other");
        assert!(with_message(b"message", || verify(other.as_ref())).is_err());
        assert!(with_message(b"other", || verify(hash.as_ref())).is_err());
        // Outside a scope.
        assert!(verify(hash.as_ref()).is_err());
    }
}
