//! Bundles of other projects: sigstore-conformance, GitHub's CLI and sigstore-go.
//!
//! `scripts/conformance` runs [`suites`]; `scripts/conformance.yaml` lists the reasons for differences.
//! repin accepts only statements, but most cases sign a file: this module passes their signatures to
//! the same verification.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sigstore_verify::types::SignatureContent;

use super::*;
use crate::{
    conformance::{Case, check, directories},
    trust::{
        bundle::{self, ParsedBundle},
        claim::{Claim, Proof},
    },
};

/// The expected subject and signer of a bundle.
struct Verification {
    /// The file that is signed, or that a statement is about; `None`: only its digest is used.
    file: Option<Vec<u8>>,
    digest: Digest,
    roots: Vec<Root>,
    key: Option<PublicKey>,
}

impl Verification {
    fn verify(&self, bytes: &[u8]) -> Result<Proof, String> {
        let bundle = bundle::parse(bytes)?;
        let parsed = match bundle.content {
            SignatureContent::MessageSignature(_) => ParsedBundle {
                bundle,
                is_converted: false,
                message: self.file.clone().unwrap_or_default(),
                claim: claim_about(self.digest),
            },
            _ => ParsedBundle::parse(bytes)?,
        };
        if !parsed.claim.is_about(self.digest) {
            return Err("it is about another digest".to_owned());
        }
        let now = SystemTime::now();
        let mut reason = "no root".to_owned();
        for root in &self.roots {
            let result = match &self.key {
                Some(key) => root.verify_key(&parsed, self.digest, key, now),
                None => root.verify_certificate(&parsed, self.digest, now),
            };
            match result {
                Ok(proof) => return Ok(proof),
                Err(refusal) => reason = refusal.reason,
            }
        }
        Err(reason)
    }
}

fn claim_about(digest: Digest) -> Claim {
    let payload = json!({ "critical": {
        "type": "cosign container image signature",
        "image": { "docker-manifest-digest": digest.to_string() },
    }});
    Claim::from_payload(payload.to_string().as_bytes()).unwrap()
}

fn roots(path: &Path) -> Result<Vec<Root>, String> {
    if path.exists() {
        return Root::parse("custom", &fs::read(path).unwrap());
    }
    Ok(vec![Root::built_in(BuiltIn::Sigstore)])
}

fn case(name: String, must_pass: bool, found: &Result<Proof, String>) -> Case {
    let difference = match found {
        Ok(_) if !must_pass => Some("is accepted".to_owned()),
        Err(reason) if must_pass => Some(format!("is refused: {reason}")),
        _ => None,
    };
    Case {
        name,
        difference,
        refusal: found.as_ref().err().cloned(),
    }
}

/// The directories of sigstore-conformance (`test/assets/bundle-verify/README.md`): each with the file
/// and with only its digest.
fn bundle_verify(assets: &Path) -> Vec<Case> {
    let beacon = "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/\
                  .github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main";
    let mut cases = Vec::new();
    for directory in entries(assets, Path::is_dir) {
        let name = directory.file_name().unwrap().to_str().unwrap();
        let text = |file: &str, default: &str| {
            let text = fs::read_to_string(directory.join(file));
            text.map_or_else(|_| default.to_owned(), |text| text.trim().to_owned())
        };
        let (identity, issuer) = (text("identity", beacon), text("issuer", ISSUER));
        let own = directory.join("artifact");
        let artifact = if own.exists() {
            own
        } else {
            assets.join("a.txt")
        };
        let artifact = fs::read(artifact).unwrap();
        let bundle = fs::read(directory.join("bundle.sigstore.json")).unwrap();
        for file in [Some(artifact.clone()), None] {
            let kind = if file.is_some() { "file" } else { "digest" };
            let found = || {
                let key = fs::read(directory.join("key.pub")).ok();
                let verification = Verification {
                    file: file.clone(),
                    digest: Digest::of(&artifact),
                    roots: roots(&directory.join("trusted_root.json"))?,
                    key: key.map(|key| PublicKey::parse(&key)).transpose()?,
                };
                let proof = verification.verify(&bundle)?;
                let signer = proof.certificate.as_ref();
                let signer =
                    signer.map(|found| (found.identity.as_deref(), found.issuer.as_deref()));
                let expected = (Some(identity.as_str()), Some(issuer.as_str()));
                if signer.is_some_and(|signer| signer != expected) {
                    return Err(format!("another signer: {signer:?}"));
                }
                Ok(proof)
            };
            let must_pass = !name.ends_with("_fail");
            cases.push(case(format!("{name}/{kind}"), must_pass, &found()));
        }
    }
    cases
}

/// Bundles in a directory, each verified for the first digest of its statement, with all of the roots.
/// A bundle must be refused if its file name contains a part of `refused`.
fn bundles_in(directory: &Path, known: &[PathBuf], refused: &[&str]) -> Vec<Case> {
    let mut cases = Vec::new();
    let is_bundle = |path: &Path| {
        let name = path.file_name().unwrap().to_string_lossy();
        (name.contains("undle") || name.contains(".sigstore.")) && !name.ends_with(".go")
    };
    for path in entries(directory, is_bundle) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let is_document = serde_json::from_str::<Value>(&text).is_ok();
        let bundles: Vec<&str> = if is_document {
            vec![&text]
        } else {
            text.lines().collect()
        };
        for (number, bundle) in bundles.into_iter().enumerate() {
            let mut all = vec![
                Root::built_in(BuiltIn::Sigstore),
                Root::built_in(BuiltIn::GitHub),
            ];
            for root in known {
                all.extend(roots(root).unwrap());
            }
            let found = subject(bundle).and_then(|digest| {
                let verification = Verification {
                    file: None,
                    digest,
                    roots: all,
                    key: None,
                };
                verification.verify(bundle.as_bytes())
            });
            let must_pass = !refused.iter().any(|part| name.contains(part));
            cases.push(case(format!("{name}/{}", number + 1), must_pass, &found));
        }
    }
    cases
}

/// The first digest in a bundle's statement.
fn subject(bundle: &str) -> Result<Digest, String> {
    let bundle: Value = serde_json::from_str(bundle).map_err(|error| error.to_string())?;
    let Some(payload) = bundle["dsseEnvelope"]["payload"].as_str() else {
        return Err("it is not a statement".to_owned());
    };
    let payload = STANDARD
        .decode(payload)
        .map_err(|error| error.to_string())?;
    let statement: Value = serde_json::from_slice(&payload).map_err(|error| error.to_string())?;
    let hex = statement["subject"][0]["digest"]["sha256"].as_str();
    hex.and_then(|hex| Digest::from_hex(hex).ok())
        .ok_or_else(|| "its subject has no SHA-256".to_owned())
}

fn entries(directory: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let files = fs::read_dir(directory).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| wanted(path));
    paths.sort();
    paths
}

#[test]
#[ignore = "scripts/conformance runs it on checkouts"]
fn suites() {
    for directory in directories() {
        let assets = directory.join("test/assets/bundle-verify");
        if assets.is_dir() {
            check("sigstore-conformance", bundle_verify(&assets));
        }
        let data = directory.join("pkg/cmd/attestation/test/data");
        if data.is_dir() {
            let root = data.join("trusted_root.json");
            check("cli", bundles_in(&data, &[root], &["missing", "invalid"]));
        }
        let data = directory.join("pkg/testing/data");
        if data.join("bundles").is_dir() {
            let roots = entries(&data.join("trusted-roots"), Path::is_file);
            let cases = bundles_in(&data.join("bundles"), &roots, &["2sigs"]);
            check("sigstore-go", cases);
        }
    }
}
