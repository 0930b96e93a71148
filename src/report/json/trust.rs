//! Signatures and attestations in the documents.

use std::fmt::Write as _;

use serde::Serialize;

use super::ErrorRow;
use crate::{
    checks,
    config::Requirement,
    oci::{Digest, Platform},
    trust::{Candidate, PolicyResult, SearchResult, SignedName},
    untrusted::plain,
};

/// `repin.trust/1`: who signed images.
#[derive(Debug, Serialize)]
pub struct TrustDocument {
    pub schema: &'static str,
    pub images: Vec<TrustImage>,
    pub errors: Vec<ErrorRow>,
}

/// What is attached to one digest.
#[derive(Debug, Serialize)]
pub struct TrustImage {
    pub name: String,
    pub digest: String,
    pub platform: Option<String>,
    pub candidates: Vec<TrustCandidate>,
    pub unread: usize,
}

/// One signature or attestation.
#[derive(Debug, Serialize)]
pub struct TrustCandidate {
    pub bundle: String,
    pub kind: Option<&'static str>,
    pub predicate_type: Option<String>,
    pub signer: Option<String>,
    pub issuer: Option<String>,
    pub source: Option<String>,
    pub source_ref: Option<String>,
    pub commit: Option<String>,
    pub trigger: Option<String>,
    pub runner: Option<String>,
    pub key: Option<String>,
    pub root: Option<String>,
    pub subject_name: Option<String>,
    pub verified: bool,
    pub satisfies: bool,
    pub reason: String,
}

impl TrustImage {
    /// What was found for a digest.
    pub fn of(
        name: &str,
        platform: Option<&Platform>,
        digest: Digest,
        found: &SearchResult,
    ) -> Self {
        Self {
            name: name.to_owned(),
            digest: digest.to_string(),
            platform: platform.map(ToString::to_string),
            candidates: found.candidates.iter().map(TrustCandidate::of).collect(),
            unread: found.unread,
        }
    }
}

impl TrustCandidate {
    fn of(candidate: &Candidate) -> Self {
        let verdict = &candidate.verdict;
        let proof = verdict.proof.as_ref();
        let certificate = proof.and_then(|proof| proof.certificate.as_ref());
        Self {
            bundle: candidate.blob.to_string(),
            kind: verdict.kind.map(Requirement::as_str),
            predicate_type: verdict.predicate_type.clone(),
            signer: certificate.and_then(|found| found.identity.clone()),
            issuer: certificate.and_then(|found| found.issuer.clone()),
            source: certificate.and_then(|found| found.source.clone()),
            source_ref: certificate.and_then(|found| found.source_ref.clone()),
            commit: certificate.and_then(|found| found.commit.clone()),
            trigger: certificate.and_then(|found| found.trigger.clone()),
            runner: certificate.and_then(|found| found.runner.clone()),
            key: proof.and_then(|proof| Some(proof.key?.to_string())),
            root: proof.and_then(|proof| proof.root.clone()),
            subject_name: match &verdict.signed_name {
                SignedName::Own(name) | SignedName::Other(name) if proof.is_some() => {
                    Some(name.clone())
                }
                _ => None,
            },
            verified: proof.is_some(),
            satisfies: matches!(verdict.result, PolicyResult::Satisfied(_)),
            reason: checks::candidate_reason(verdict),
        }
    }
}

impl TrustDocument {
    /// For people: a block for each digest, up to four lines for each candidate.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for image in &self.images {
            let platform = image
                .platform
                .as_deref()
                .map_or_else(String::new, |name| format!(" {}", plain(name)));
            let _ = writeln!(text, "{}{platform}  {}", image.name, image.digest);
            if image.candidates.is_empty() {
                text.push_str("  nothing is attached\n");
            }
            for candidate in &image.candidates {
                let kind = candidate.kind.or(candidate.predicate_type.as_deref());
                let kind = kind.map_or_else(|| "(unknown)".to_owned(), plain);
                let verdict = match (candidate.satisfies, candidate.verified) {
                    (true, _) => "meets the policy",
                    (false, true) => "verifies, does not meet the policy",
                    (false, false) => "does not verify",
                };
                let _ = writeln!(text, "  {}  {kind}: {verdict}", candidate.bundle);
                if let Some(name) = &candidate.subject_name {
                    let _ = writeln!(text, "    for {}", plain(name));
                }
                if let Some(commit) = &candidate.commit {
                    let _ = writeln!(text, "    commit {}", plain(commit));
                }
                let _ = writeln!(text, "    {}", candidate.reason);
            }
            if image.unread > 0 {
                let _ = writeln!(text, "  {} more were not read", image.unread);
            }
        }
        text
    }
}
