//! The evidence that an image is trusted, as in JSON documents.

use serde::{Deserialize, Serialize};

use super::DigestSignatures;
use crate::{
    oci::Revision,
    trust::{Binding, Candidate, PolicyResult, Requirement, Verify},
};

/// The evidence that one digest of an image is trusted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct VerifiedRow {
    pub require: String,
    pub subject: String,
    pub platform: Option<String>,
    pub bundle: String,
    pub predicate_type: Option<String>,
    pub signer: Option<String>,
    pub issuer: Option<String>,
    pub source: Option<String>,
    pub commit: Option<String>,
    pub commit_bound: bool,
    pub runner: Option<String>,
    pub key: Option<String>,
    pub root: Option<String>,
    pub time: Option<String>,
    pub log: Option<LogRow>,
}

/// An entry of a transparency log.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LogRow {
    pub url: String,
    pub index: u64,
}

impl VerifiedRow {
    /// A row for each required kind that is met.
    pub(crate) fn rows(
        signatures: &DigestSignatures<'_>,
        verify: &Verify,
        revision: &Revision,
    ) -> Vec<Self> {
        let proven = signatures.proven(verify).into_iter();
        proven
            .filter_map(|(kind, candidate)| Self::new(signatures, kind, candidate, revision))
            .collect()
    }

    fn new(
        signatures: &DigestSignatures<'_>,
        kind: Requirement,
        candidate: &Candidate,
        revision: &Revision,
    ) -> Option<Self> {
        let verdict = &candidate.verdict;
        let proof = verdict.proof.as_ref()?;
        let certificate = proof.certificate.as_ref();
        let commit_bound = verdict.result == PolicyResult::Satisfied(Binding::Bound);
        // A bound commit may come from the predicate instead of the certificate.
        let commit = if commit_bound {
            Some(revision.to_string())
        } else {
            certificate.and_then(|found| found.commit.clone())
        };
        Some(Self {
            require: kind.as_str().to_owned(),
            subject: signatures.digest.to_string(),
            platform: signatures.platform.map(ToString::to_string),
            bundle: candidate.blob.to_string(),
            predicate_type: verdict.predicate_type.clone(),
            signer: certificate.and_then(|found| found.identity.clone()),
            issuer: certificate.and_then(|found| found.issuer.clone()),
            source: certificate.and_then(|found| found.source.clone()),
            commit,
            commit_bound,
            runner: certificate.and_then(|found| found.runner.clone()),
            key: proof.key.map(|key| key.to_string()),
            root: proof.root.clone(),
            time: proof.time.clone(),
            log: proof.log.as_ref().map(|log| LogRow {
                url: log.url.clone(),
                index: log.index,
            }),
        })
    }
}
